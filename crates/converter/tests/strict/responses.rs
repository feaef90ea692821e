//! wire.md 3.4.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Check, Ending, Frame, Stable, need};

#[derive(Default)]
struct State {
    next: u64,
    stable: Stable,
    created: bool,
    items: BTreeMap<u64, Item>,
    terminal: Option<String>,
}

#[derive(Default)]
struct Item {
    id: Value,
    kind: Value,
    call_id: Value,
    /// Text of each part and whether it is done.
    parts: Vec<(String, bool)>,
    text: String,
    text_done: bool,
    done: Option<Value>,
}

pub(crate) fn check(frames: &[Frame], ending: Ending) -> Check {
    let mut state = State::default();
    for frame in frames {
        match frame {
            Frame::Comment => {}
            Frame::Event(value) => event(&mut state, value).map_err(|why| format!("{why} at {value}"))?,
            other => return Err(format!("unexpected {other:?}")),
        }
    }
    match ending {
        Ending::Good => {
            let good = matches!(
                state.terminal.as_deref(),
                Some("response.completed" | "response.incomplete")
            );
            need(good, || "no good end".into())?;
            need(state.items.values().all(|item| item.done.is_some()), || {
                "an item is open".into()
            })
        }
        Ending::Error => need(state.terminal.as_deref() == Some("response.failed"), || {
            "no error".into()
        }),
    }
}

fn event(state: &mut State, value: &Value) -> Check {
    need(value["sequence_number"] == state.next, || {
        format!("sequence {}", state.next)
    })?;
    state.next += 1;
    need(state.terminal.is_none(), || "behind the end".into())?;
    let kind = value["type"].as_str().unwrap_or_default();
    need(state.created == (kind != "response.created"), || {
        "created first, and once".into()
    })?;
    match kind {
        "response.created" | "response.in_progress" => {
            state.created = true;
            lifecycle(state, value)?;
            need(value["response"]["status"] == "in_progress", || "status".into())
        }
        "response.completed" | "response.incomplete" | "response.failed" => terminal(state, value, kind),
        "response.output_item.added" => added(state, value),
        _ => {
            let output = value["output_index"].as_u64().ok_or("no output_index")?;
            let item = state.items.get_mut(&output).ok_or("the item was not announced")?;
            need(item.done.is_none(), || "the item is done".into())?;
            if kind == "response.output_item.done" {
                return done(item, &value["item"]);
            }
            need(value["item_id"] == item.id, || "another id".into())?;
            inside(item, value, kind)
        }
    }
}

fn lifecycle(state: &mut State, value: &Value) -> Check {
    let response = &value["response"];
    state.stable.same("id", &response["id"])?;
    state.stable.same("created_at", &response["created_at"])?;
    state.stable.same("model", &response["model"])?;
    need(
        response["object"] == "response" && response["output"].is_array(),
        || "response".into(),
    )?;
    for name in ["error", "incomplete_details", "usage"] {
        need(response.get(name).is_some(), || format!("no {name}"))?;
    }
    Ok(())
}

fn terminal(state: &mut State, value: &Value, kind: &str) -> Check {
    lifecycle(state, value)?;
    let response = &value["response"];
    need(response["status"] == kind.trim_start_matches("response."), || {
        "status".into()
    })?;
    let output: Vec<&Value> = response["output"].as_array().into_iter().flatten().collect();
    let items: Vec<&Value> = state
        .items
        .values()
        .filter_map(|item| item.done.as_ref())
        .collect();
    need(output == items, || "output is not the list of items".into())?;
    let usage = &response["usage"];
    if kind == "response.failed" {
        need(response["error"]["code"].is_string(), || "no error code".into())?;
    } else {
        let counted = usage["input_tokens"].is_u64()
            && usage["output_tokens"].is_u64()
            && usage["total_tokens"].is_u64()
            && usage["input_tokens_details"]["cached_tokens"].is_u64()
            && usage["output_tokens_details"]["reasoning_tokens"].is_u64();
        need(counted, || "usage".into())?;
    }
    state.terminal = Some(kind.into());
    Ok(())
}

fn added(state: &mut State, value: &Value) -> Check {
    let output = value["output_index"].as_u64().ok_or("no output_index")?;
    need(output == state.items.len() as u64, || "output_index".into())?;
    let item = &value["item"];
    need(item["id"].as_str().is_some_and(|id| !id.is_empty()), || {
        "no id".into()
    })?;
    need(item["status"] == "in_progress", || "status".into())?;
    if item["type"] == "function_call" || item["type"] == "custom_tool_call" {
        need(item["call_id"].is_string() && item["name"].is_string(), || {
            "call".into()
        })?;
    }
    state.items.insert(
        output,
        Item {
            id: item["id"].clone(),
            kind: item["type"].clone(),
            call_id: item["call_id"].clone(),
            ..Item::default()
        },
    );
    Ok(())
}

fn inside(item: &mut Item, value: &Value, kind: &str) -> Check {
    let index = value.get("content_index").or_else(|| value.get("summary_index"));
    let index = usize::try_from(index.and_then(Value::as_u64).unwrap_or(0)).unwrap_or(0);
    let message = item.kind == "message";
    match kind {
        "response.content_part.added" | "response.reasoning_summary_part.added" => {
            need(index == item.parts.len(), || "part number".into())?;
            need(item.parts.last().is_none_or(|(_, done)| *done), || {
                "the part before is open".into()
            })?;
            need(
                !message || value["part"]["type"] == "refusal" || value["part"]["annotations"].is_array(),
                || "annotations".into(),
            )?;
            item.parts.push((String::new(), false));
        }
        "response.output_text.delta" | "response.refusal.delta" | "response.reasoning_summary_text.delta" => {
            let (text, done) = item.parts.get_mut(index).ok_or("the part was not announced")?;
            need(!*done, || "the part is done".into())?;
            let delta = value["delta"].as_str().filter(|delta| !delta.is_empty());
            text.push_str(delta.ok_or("an empty delta")?);
            let logged = kind != "response.output_text.delta" || value["logprobs"].is_array();
            need(logged, || "logprobs".into())?;
        }
        "response.output_text.done" | "response.refusal.done" | "response.reasoning_summary_text.done" => {
            let member = if kind == "response.refusal.done" {
                "refusal"
            } else {
                "text"
            };
            let (text, _) = item.parts.get(index).ok_or("the part was not announced")?;
            need(value[member] == *text, || "not the sum of its deltas".into())?;
        }
        "response.content_part.done" | "response.reasoning_summary_part.done" => {
            let (text, done) = item.parts.get_mut(index).ok_or("the part was not announced")?;
            let whole = value["part"].get("text").or_else(|| value["part"].get("refusal"));
            need(whole.is_some_and(|whole| *whole == *text), || "part text".into())?;
            *done = true;
        }
        "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta" => {
            need(!item.text_done, || "the arguments are done".into())?;
            item.text.push_str(value["delta"].as_str().unwrap_or_default());
        }
        "response.function_call_arguments.done" | "response.custom_tool_call_input.done" => {
            let whole = value.get("arguments").or_else(|| value.get("input"));
            need(whole.is_some_and(|whole| *whole == *item.text), || {
                "arguments".into()
            })?;
            item.text_done = true;
        }
        "response.output_text.annotation.added" => {
            need(item.parts.get(index).is_some_and(|(_, done)| !done), || {
                "annotation".into()
            })?;
        }
        "response.web_search_call.in_progress"
        | "response.web_search_call.searching"
        | "response.web_search_call.completed" => need(item.kind == "web_search_call", || "kind".into())?,
        _ => return Err("an unknown event".into()),
    }
    Ok(())
}

fn done(item: &mut Item, value: &Value) -> Check {
    need(value["id"] == item.id && value["type"] == item.kind, || {
        "another item".into()
    })?;
    need(value["call_id"] == item.call_id, || "another call".into())?;
    need(value["status"] == "completed", || "status".into())?;
    need(item.parts.iter().all(|(_, done)| *done), || {
        "a part is open".into()
    })?;
    let texts: Vec<&str> = item.parts.iter().map(|(text, _)| text.as_str()).collect();
    let list = match value["type"].as_str().unwrap_or_default() {
        "message" => value["content"].as_array(),
        "reasoning" => value["summary"].as_array(),
        _ => None,
    };
    if let Some(list) = list {
        let found: Vec<&str> = list
            .iter()
            .filter_map(|part| part.get("text").or_else(|| part.get("refusal"))?.as_str())
            .collect();
        need(found == texts, || "parts".into())?;
    }
    if let Some(whole) = value.get("arguments").or_else(|| value.get("input")) {
        need(*whole == *item.text && item.text_done, || "arguments".into())?;
    }
    item.done = Some(value.clone());
    Ok(())
}
