//! Anthropic Messages.

use serde_json::{Value, json};

use crate::answer::{
    Asked, CACHED, INPUT, OUTPUT, Piece, Plan, REASONING, Stop, fragments, nothing, texts, thinks,
};
use crate::server::raw;

fn list<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value
        .get(name)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

pub(crate) fn asked(body: &Value) -> Asked {
    let mut asked = Asked {
        model: body["model"].as_str().unwrap_or_default().to_owned(),
        ..Asked::default()
    };
    for message in list(body, "messages")
        .iter()
        .filter(|message| message["role"] == "user")
    {
        let content = &message["content"];
        let results: Vec<&Value> = list(message, "content")
            .iter()
            .filter(|block| block["type"] == "tool_result")
            .collect();
        if results.is_empty() {
            asked.results.clear();
            asked.text = texts(content);
            asked.images = list(message, "content")
                .iter()
                .filter(|block| block["type"] == "image")
                .count();
        }
        asked
            .results
            .extend(results.into_iter().map(|result| texts(&result["content"])));
    }
    for tool in list(body, "tools")
        .iter()
        .filter(|tool| tool.get("input_schema").is_some())
    {
        let name = tool["name"].as_str().unwrap_or_default().to_owned();
        asked
            .tools
            .push((name, tool.get("input_schema").cloned().unwrap_or_else(nothing)));
    }
    asked.may_call = body.pointer("/tool_choice/type") != Some(&json!("none"));
    asked.json = body.pointer("/output_config/format").is_some();
    asked.thinking = body
        .pointer("/thinking/type")
        .is_some_and(|kind| kind == "enabled" || kind == "adaptive");
    asked
}

fn stop(plan: &Plan) -> &'static str {
    match plan.stop {
        Stop::End => "end_turn",
        Stop::Length => "max_tokens",
        Stop::Tools => "tool_use",
        Stop::Refusal => "refusal",
    }
}

fn usage(plan: &Plan, output: u64) -> Value {
    let mut usage = json!({"input_tokens": INPUT - CACHED, "cache_creation_input_tokens": 0, "cache_read_input_tokens": CACHED,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0}, "output_tokens": output, "service_tier": "standard"});
    if thinks(plan) {
        usage["output_tokens_details"] = json!({"thinking_tokens": REASONING});
    }
    usage
}

pub(crate) fn message(asked: &Asked, plan: &Plan) -> Value {
    let blocks: Vec<Value> = plan
        .pieces
        .iter()
        .map(|piece| match piece {
            Piece::Thinking(thought) => {
                json!({"type": "thinking", "thinking": thought, "signature": "c2lnbmF0dXJl"})
            }
            Piece::Text(text) => json!({"type": "text", "text": text, "citations": null}),
            Piece::Call { id, name, arguments } => {
                json!({"type": "tool_use", "id": id, "name": name, "input": raw(arguments)})
            }
        })
        .collect();
    json!({"id": "msg_mock1", "type": "message", "role": "assistant", "model": asked.model, "content": blocks,
        "stop_reason": stop(plan), "stop_sequence": null, "usage": usage(plan, OUTPUT)})
}

pub(crate) fn events(asked: &Asked, plan: &Plan) -> Vec<String> {
    let mut events = Vec::new();
    let mut push = |kind: &str, mut members: Value| {
        members["type"] = json!(kind);
        events.push(format!("event: {kind}\ndata: {members}\n\n"));
    };
    let begun = json!({"id": "msg_mock1", "type": "message", "role": "assistant", "model": asked.model, "content": [],
        "stop_reason": null, "stop_sequence": null, "usage": usage(plan, 1)});
    push("message_start", json!({"message": begun}));
    push("ping", json!({}));
    for (index, piece) in plan.pieces.iter().enumerate() {
        let (start, deltas): (Value, Vec<Value>) = match piece {
            Piece::Thinking(thought) => {
                let mut deltas: Vec<Value> = fragments(thought)
                    .into_iter()
                    .map(|part| json!({"type": "thinking_delta", "thinking": part}))
                    .collect();
                deltas.push(json!({"type": "signature_delta", "signature": "c2lnbmF0dXJl"}));
                (
                    json!({"type": "thinking", "thinking": "", "signature": ""}),
                    deltas,
                )
            }
            Piece::Text(text) => {
                let deltas = fragments(text)
                    .into_iter()
                    .map(|part| json!({"type": "text_delta", "text": part}))
                    .collect();
                (json!({"type": "text", "text": ""}), deltas)
            }
            Piece::Call { id, name, arguments } => {
                let mut deltas = vec![json!({"type": "input_json_delta", "partial_json": ""})];
                deltas.extend(
                    fragments(arguments)
                        .into_iter()
                        .map(|part| json!({"type": "input_json_delta", "partial_json": part})),
                );
                (
                    json!({"type": "tool_use", "id": id, "name": name, "input": {}}),
                    deltas,
                )
            }
        };
        push(
            "content_block_start",
            json!({"index": index, "content_block": start}),
        );
        for delta in deltas {
            push("content_block_delta", json!({"index": index, "delta": delta}));
        }
        push("content_block_stop", json!({"index": index}));
    }
    push(
        "message_delta",
        json!({"delta": {"stop_reason": stop(plan), "stop_sequence": null}, "usage": usage(plan, OUTPUT)}),
    );
    push("message_stop", json!({}));
    events
}
