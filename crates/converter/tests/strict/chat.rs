//! wire.md 3.1.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Check, Ending, Frame, Stable, need};

#[derive(Default)]
struct Choice {
    role: bool,
    tools: Vec<bool>,
    finish: Option<String>,
}

pub(crate) fn check(frames: &[Frame], ending: Ending) -> Check {
    let mut stable = Stable::default();
    let mut choices: BTreeMap<u64, Choice> = BTreeMap::new();
    let (mut usage, mut done, mut failed) = (false, false, false);
    for frame in frames {
        let value = match frame {
            Frame::Comment => continue,
            Frame::Done => {
                need(!done && !failed, || "a second end".into())?;
                done = true;
                continue;
            }
            Frame::Event(value) => value,
            other => return Err(format!("unexpected {other:?}")),
        };
        need(!done && !failed, || format!("{value} behind the end"))?;
        if value.get("error").is_some() {
            failed = true;
            need(
                value["error"]["message"].is_string() && value["error"]["type"].is_string(),
                || format!("no error object: {value}"),
            )?;
            continue;
        }
        for name in ["id", "created", "model"] {
            stable.same(name, &value[name])?;
        }
        need(value["object"] == "chat.completion.chunk", || {
            format!("object of {value}")
        })?;
        let list = value["choices"].as_array().ok_or("no choices")?;
        if list.is_empty() {
            need(!usage && value["usage"]["total_tokens"].is_u64(), || {
                format!("usage {value}")
            })?;
            need(choices.values().all(|choice| choice.finish.is_some()), || {
                "usage before the finish".into()
            })?;
            usage = true;
        }
        for choice in list {
            let index = choice["index"].as_u64().ok_or("no index")?;
            one(choices.entry(index).or_default(), choice)?;
        }
    }
    let finished = !choices.is_empty() && choices.values().all(|choice| choice.finish.is_some());
    match ending {
        Ending::Good => need(done && finished, || "no good end".into()),
        Ending::Error => need(failed && !done, || "no error at the end".into()),
    }
}

fn one(state: &mut Choice, choice: &Value) -> Check {
    let delta = choice["delta"].as_object().ok_or("no delta")?;
    if !std::mem::replace(&mut state.role, true) {
        need(delta.get("role").is_some_and(|role| role == "assistant"), || {
            format!("no role first: {choice}")
        })?;
    }
    for call in delta
        .get("tool_calls")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        tool(state, call)?;
    }
    if let Some(reason) = choice["finish_reason"].as_str() {
        need(state.finish.is_none(), || "a second finish".into())?;
        let called = matches!(reason, "tool_calls" | "function_call");
        need(
            !called || !state.tools.is_empty() || reason == "function_call",
            || format!("{reason} without calls"),
        )?;
        need(reason != "stop" || state.tools.is_empty(), || {
            "stop after calls".into()
        })?;
        state.finish = Some(reason.into());
    }
    Ok(())
}

fn tool(state: &mut Choice, call: &Value) -> Check {
    let index = usize::try_from(call["index"].as_u64().ok_or("no tool index")?).map_err(|_| "index")?;
    let kind = if call.get("custom").is_some() {
        "custom"
    } else {
        "function"
    };
    if index == state.tools.len() {
        state.tools.push(true);
        let named = call[kind]["name"].as_str().is_some_and(|name| !name.is_empty());
        let id = call["id"].as_str().is_some_and(|id| !id.is_empty());
        return need(id && named && call["type"] == kind, || {
            format!("first fragment {call}")
        });
    }
    need(index < state.tools.len(), || format!("a gap in front of {call}"))?;
    need(
        call.get("id").is_none() && call.get("type").is_none() && call[kind].get("name").is_none(),
        || format!("repeated head {call}"),
    )
}
