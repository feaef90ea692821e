//! wire.md 3.2.

use serde_json::Value;

use super::{Check, Ending, Frame, need};

#[derive(Default)]
struct State {
    started: bool,
    open: Option<(u64, String)>,
    next: u64,
    signed: bool,
    last: String,
    blocks: usize,
    tools: bool,
    json: String,
    reason: Option<String>,
    stopped: bool,
    failed: bool,
}

pub(crate) fn check(frames: &[Frame], ending: Ending) -> Check {
    let mut state = State::default();
    for frame in frames {
        let Frame::Event(value) = frame else {
            return Err(format!("unexpected {frame:?}"));
        };
        need(!state.stopped && !state.failed, || {
            format!("{value} behind the end")
        })?;
        event(&mut state, value).map_err(|why| format!("{why} at {value}"))?;
    }
    match ending {
        Ending::Good => need(state.stopped && state.reason.is_some(), || "no good end".into()),
        Ending::Error => need(state.failed, || "no error at the end".into()),
    }
}

fn event(state: &mut State, value: &Value) -> Check {
    let kind = value["type"].as_str().unwrap_or_default();
    need(
        state.started || matches!(kind, "message_start" | "ping" | "error"),
        || "no message_start".into(),
    )?;
    need(
        state.reason.is_none() || matches!(kind, "message_stop" | "ping" | "error"),
        || "something behind message_delta".into(),
    )?;
    match kind {
        "message_start" => {
            need(!std::mem::replace(&mut state.started, true), || {
                "a second start".into()
            })?;
            let message = &value["message"];
            need(
                message["role"] == "assistant" && message["type"] == "message",
                || "role".into(),
            )?;
            need(message["id"].is_string() && message["model"].is_string(), || {
                "id".into()
            })?;
            need(message["content"] == serde_json::json!([]), || "content".into())?;
            let usage = &message["usage"];
            let input = usage["input_tokens"].as_u64().unwrap_or(0)
                + usage["cache_read_input_tokens"].as_u64().unwrap_or(0);
            need(input > 0 && usage["output_tokens"].is_u64(), || "usage".into())
        }
        "content_block_start" => start(state, value),
        "content_block_delta" => delta(state, value),
        "content_block_stop" => stop(state, value),
        "message_delta" => {
            need(state.open.is_none(), || "an open block".into())?;
            need(value["usage"]["output_tokens"].is_u64(), || "usage".into())?;
            need(value["delta"].get("stop_sequence").is_some(), || {
                "stop_sequence".into()
            })?;
            let reason = value["delta"]["stop_reason"].as_str().ok_or("no reason")?;
            need(reason != "tool_use" || state.tools, || {
                "tool_use without calls".into()
            })?;
            need(reason != "end_turn" || !state.tools, || {
                "end_turn after calls".into()
            })?;
            let hidden = state.last == "redacted_thinking";
            need(!hidden || state.blocks == 0, || {
                "hidden thinking at the end".into()
            })?;
            state.reason = Some(reason.into());
            Ok(())
        }
        "message_stop" => {
            need(state.reason.is_some(), || "no message_delta".into())?;
            state.stopped = true;
            Ok(())
        }
        "ping" => Ok(()),
        "error" => {
            state.failed = true;
            need(
                value["error"]["type"].is_string() && value["request_id"].is_string(),
                || "error".into(),
            )
        }
        _ => Err("an unknown event".into()),
    }
}

fn start(state: &mut State, value: &Value) -> Check {
    need(state.open.is_none(), || "the block before is open".into())?;
    let index = value["index"].as_u64().ok_or("no index")?;
    need(index == state.next, || {
        format!("index {} was expected", state.next)
    })?;
    state.next += 1;
    let block = &value["content_block"];
    let kind = block["type"].as_str().unwrap_or_default();
    match kind {
        "text" => need(block["text"] == "", || "text in the start".into())?,
        "thinking" => need(block["thinking"] == "" && block["signature"] == "", || {
            "keys".into()
        })?,
        "redacted_thinking" => need(
            block["data"].as_str().is_some_and(|data| !data.is_empty()),
            || "data".into(),
        )?,
        "tool_use" => {
            let id = block["id"].as_str().unwrap_or_default();
            let good = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            need(!id.is_empty() && id.chars().all(good), || "id".into())?;
            need(
                block["name"].is_string() && block["input"] == serde_json::json!({}),
                || "input".into(),
            )?;
            state.tools = true;
        }
        _ => return Err("an unknown block".into()),
    }
    state.signed = false;
    state.json.clear();
    state.open = Some((index, kind.into()));
    Ok(())
}

fn delta(state: &mut State, value: &Value) -> Check {
    let (index, kind) = state.open.clone().ok_or("no open block")?;
    need(value["index"] == index, || "index".into())?;
    let delta = &value["delta"];
    let (wanted, member) = match delta["type"].as_str().unwrap_or_default() {
        "text_delta" => ("text", "text"),
        "thinking_delta" => ("thinking", "thinking"),
        "signature_delta" => ("thinking", "signature"),
        "input_json_delta" => ("tool_use", "partial_json"),
        _ => return Err("an unknown delta".into()),
    };
    need(wanted == kind, || format!("a delta of {wanted} in {kind}"))?;
    let text = delta[member].as_str().ok_or("no text")?;
    need(!text.is_empty(), || "an empty delta".into())?;
    need(!state.signed, || "something behind the signature".into())?;
    state.signed = member == "signature";
    state.json.push_str(text);
    Ok(())
}

fn stop(state: &mut State, value: &Value) -> Check {
    let (index, kind) = state.open.take().ok_or("no open block")?;
    need(value["index"] == index, || "index".into())?;
    need(kind != "thinking" || state.signed, || "no signature".into())?;
    need(kind == "redacted_thinking" || !state.json.is_empty(), || {
        "an empty block".into()
    })?;
    if kind == "text" || kind == "tool_use" {
        state.blocks += 1;
    }
    state.last = kind;
    Ok(())
}
