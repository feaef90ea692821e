//! OpenAI: Chat Completions and Responses.

use serde_json::{Value, json};

use crate::answer::{
    Asked, CACHED, INPUT, OUTPUT, Piece, Plan, REASONING, Stop, fragments, nothing, text, texts, thinks,
};

fn list<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value
        .get(name)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn word(value: &Value, name: &str) -> String {
    value
        .get(name)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

pub(crate) fn asked_chat(body: &Value) -> Asked {
    let mut asked = Asked {
        model: word(body, "model"),
        ..Asked::default()
    };
    for message in list(body, "messages") {
        let content = message.get("content").cloned().unwrap_or_default();
        match message.get("role").and_then(Value::as_str) {
            Some("user") => {
                asked.text = texts(&content);
                asked.results.clear();
                asked.images = content.as_array().map_or(0, |parts| {
                    parts
                        .iter()
                        .filter(|part| part.get("image_url").is_some())
                        .count()
                });
            }
            Some("tool") => asked.results.push(texts(&content)),
            _ => {}
        }
    }
    for tool in list(body, "tools") {
        if let Some(function) = tool.get("function") {
            asked.tools.push((
                word(function, "name"),
                function.get("parameters").cloned().unwrap_or_else(nothing),
            ));
        }
    }
    asked.may_call = body.get("tool_choice") != Some(&json!("none"));
    asked.json = body
        .get("response_format")
        .is_some_and(|format| format["type"] != "text");
    asked.thinking = body
        .get("reasoning_effort")
        .is_some_and(|effort| effort != "none");
    asked
}

pub(crate) fn asked_responses(body: &Value) -> Asked {
    let mut asked = Asked {
        model: word(body, "model"),
        ..Asked::default()
    };
    if let Some(text) = body.get("input").and_then(Value::as_str) {
        asked.text = text.to_owned();
    }
    for item in list(body, "input") {
        let content = item.get("content").cloned().unwrap_or_default();
        match item.get("type").and_then(Value::as_str).unwrap_or("message") {
            "message" if item.get("role") == Some(&json!("user")) => {
                asked.text = texts(&content);
                asked.results.clear();
                asked.images = content.as_array().map_or(0, |parts| {
                    parts
                        .iter()
                        .filter(|part| part.get("image_url").is_some())
                        .count()
                });
            }
            "function_call_output" => asked
                .results
                .push(texts(item.get("output").unwrap_or(&Value::Null))),
            _ => {}
        }
    }
    for tool in list(body, "tools")
        .iter()
        .filter(|tool| tool["type"] == "function")
    {
        asked.tools.push((
            word(tool, "name"),
            tool.get("parameters").cloned().unwrap_or_else(nothing),
        ));
    }
    asked.may_call = body.get("tool_choice") != Some(&json!("none"));
    asked.json = body
        .pointer("/text/format/type")
        .is_some_and(|kind| kind != "text");
    asked.thinking = body
        .pointer("/reasoning/effort")
        .is_some_and(|effort| effort != "none");
    asked
}

pub(crate) fn chat_usage(plan: &Plan) -> Value {
    let reasoning = if thinks(plan) { REASONING } else { 0 };
    json!({"prompt_tokens": INPUT, "completion_tokens": OUTPUT, "total_tokens": INPUT + OUTPUT,
        "prompt_tokens_details": {"cached_tokens": CACHED, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": reasoning, "audio_tokens": 0, "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0}})
}

pub(crate) fn finish(plan: &Plan) -> &'static str {
    match plan.stop {
        Stop::End => "stop",
        Stop::Length => "length",
        Stop::Tools => "tool_calls",
        Stop::Refusal => "content_filter",
    }
}

pub(crate) fn chat(asked: &Asked, plan: &Plan) -> Value {
    let mut message = json!({"role": "assistant", "content": text(plan), "refusal": null, "annotations": []});
    let mut calls = Vec::new();
    for piece in &plan.pieces {
        match piece {
            Piece::Call { id, name, arguments } => {
                calls.push(
                    json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}),
                );
            }
            Piece::Thinking(thought) => message["reasoning_content"] = json!(thought),
            Piece::Text(_) => {}
        }
    }
    if !calls.is_empty() {
        message["tool_calls"] = json!(calls);
    }
    json!({"id": "chatcmpl-mock1", "object": "chat.completion", "created": 1_790_000_000, "model": asked.model,
        "choices": [{"index": 0, "message": message, "logprobs": null, "finish_reason": finish(plan)}],
        "usage": chat_usage(plan), "service_tier": "default", "system_fingerprint": "fp_mock"})
}

pub(crate) fn chat_events(body: &Value, asked: &Asked, plan: &Plan) -> Vec<String> {
    let include = body.pointer("/stream_options/include_usage") == Some(&json!(true));
    let mut events = Vec::new();
    let mut push = |delta: Value, finish: Value| {
        let mut chunk = json!({"id": "chatcmpl-mock1", "object": "chat.completion.chunk", "created": 1_790_000_000,
            "model": asked.model, "service_tier": "default", "system_fingerprint": "fp_mock",
            "choices": [{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}]});
        if include {
            chunk["usage"] = Value::Null;
        }
        events.push(format!("data: {chunk}\n\n"));
    };
    push(
        json!({"role": "assistant", "content": "", "refusal": null}),
        Value::Null,
    );
    let mut index = 0;
    for piece in &plan.pieces {
        match piece {
            Piece::Thinking(thought) => fragments(thought)
                .into_iter()
                .for_each(|part| push(json!({"reasoning_content": part}), Value::Null)),
            Piece::Text(text) => fragments(text)
                .into_iter()
                .for_each(|part| push(json!({"content": part}), Value::Null)),
            Piece::Call { id, name, arguments } => {
                push(
                    json!({"tool_calls": [{"index": index, "id": id, "type": "function", "function": {"name": name, "arguments": ""}}]}),
                    Value::Null,
                );
                for part in fragments(arguments) {
                    push(
                        json!({"tool_calls": [{"index": index, "function": {"arguments": part}}]}),
                        Value::Null,
                    );
                }
                index += 1;
            }
        }
    }
    push(json!({}), json!(finish(plan)));
    if include {
        let chunk = json!({"id": "chatcmpl-mock1", "object": "chat.completion.chunk", "created": 1_790_000_000, "model": asked.model,
            "choices": [], "usage": chat_usage(plan)});
        events.push(format!("data: {chunk}\n\n"));
    }
    events.push("data: [DONE]\n\n".into());
    events
}

fn response(body: &Value, asked: &Asked, status: &str, output: &[Value], plan: Option<&Plan>) -> Value {
    let usage = plan.map(|plan| {
        let reasoning = if thinks(plan) { REASONING } else { 0 };
        json!({"input_tokens": INPUT, "input_tokens_details": {"cached_tokens": CACHED, "cache_write_tokens": 0}, "output_tokens": OUTPUT,
            "output_tokens_details": {"reasoning_tokens": reasoning}, "total_tokens": INPUT + OUTPUT})
    });
    let reason = plan.and_then(|plan| match plan.stop {
        Stop::Length => Some("max_output_tokens"),
        _ => None,
    });
    json!({"id": "resp_mock1", "object": "response", "created_at": 1_790_000_000, "status": status, "background": false, "error": null,
        "incomplete_details": reason.map(|reason| json!({"reason": reason})), "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"), "model": asked.model, "output": output, "parallel_tool_calls": true,
        "previous_response_id": null, "reasoning": {"effort": null, "summary": null}, "service_tier": "default", "store": false,
        "temperature": 1.0, "text": {"format": {"type": "text"}}, "tool_choice": "auto", "tools": [], "top_p": 1.0,
        "truncation": "disabled", "usage": usage, "user": null, "metadata": {}})
}

fn items(body: &Value, plan: &Plan) -> Vec<Value> {
    let encrypted = list(body, "include")
        .iter()
        .any(|word| word == "reasoning.encrypted_content");
    let mut items = Vec::new();
    for (index, piece) in plan.pieces.iter().enumerate() {
        items.push(match piece {
            Piece::Thinking(thought) => {
                let mut item = json!({"id": format!("rs_{index}"), "type": "reasoning", "summary": [{"type": "summary_text", "text": thought}]});
                if encrypted {
                    item["encrypted_content"] = json!("ZW5jcnlwdGVk");
                }
                item
            }
            Piece::Text(text) if plan.stop == Stop::Refusal => json!({"id": format!("msg_{index}"), "type": "message", "status": "completed",
                "role": "assistant", "content": [{"type": "refusal", "refusal": text}]}),
            Piece::Text(text) => json!({"id": format!("msg_{index}"), "type": "message", "status": "completed", "role": "assistant",
                "content": [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}]}),
            Piece::Call { id, name, arguments } => json!({"id": format!("fc_{index}"), "type": "function_call", "status": "completed",
                "call_id": id, "name": name, "arguments": arguments}),
        });
    }
    items
}

pub(crate) fn responses(body: &Value, asked: &Asked, plan: &Plan) -> Value {
    let status = if plan.stop == Stop::Length {
        "incomplete"
    } else {
        "completed"
    };
    response(body, asked, status, &items(body, plan), Some(plan))
}

#[expect(
    clippy::too_many_lines,
    reason = "one event after another, as the protocol has them"
)]
pub(crate) fn responses_events(body: &Value, asked: &Asked, plan: &Plan) -> Vec<String> {
    let mut events = Vec::new();
    let mut push = |kind: &str, mut members: Value| {
        members["type"] = json!(kind);
        members["sequence_number"] = json!(events.len());
        events.push(format!("event: {kind}\ndata: {members}\n\n"));
    };
    let begun = response(body, asked, "in_progress", &[], None);
    push("response.created", json!({"response": begun}));
    push("response.in_progress", json!({"response": begun}));
    let done = items(body, plan);
    for (index, (piece, item)) in plan.pieces.iter().zip(&done).enumerate() {
        let id = item["id"].clone();
        let place = |extra: Value| {
            let mut members = json!({"item_id": id, "output_index": index});
            if let (Some(members), Some(extra)) = (members.as_object_mut(), extra.as_object()) {
                members.extend(extra.clone());
            }
            members
        };
        let mut added = item.clone();
        added["status"] = json!("in_progress");
        for (name, empty) in [
            ("content", json!([])),
            ("summary", json!([])),
            ("arguments", json!("")),
        ] {
            if added.get(name).is_some() {
                added[name] = empty;
            }
        }
        if let Some(added) = added.as_object_mut() {
            added.remove("encrypted_content");
        }
        push(
            "response.output_item.added",
            json!({"output_index": index, "item": added}),
        );
        match piece {
            Piece::Thinking(thought) => {
                push(
                    "response.reasoning_summary_part.added",
                    place(json!({"summary_index": 0, "part": {"type": "summary_text", "text": ""}})),
                );
                for part in fragments(thought) {
                    push(
                        "response.reasoning_summary_text.delta",
                        place(json!({"summary_index": 0, "delta": part})),
                    );
                }
                push(
                    "response.reasoning_summary_text.done",
                    place(json!({"summary_index": 0, "text": thought})),
                );
                push(
                    "response.reasoning_summary_part.done",
                    place(json!({"summary_index": 0, "part": {"type": "summary_text", "text": thought}})),
                );
            }
            Piece::Text(text) => {
                let refusal = plan.stop == Stop::Refusal;
                let part = |text: &str| {
                    if refusal {
                        json!({"type": "refusal", "refusal": text})
                    } else {
                        json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
                    }
                };
                push(
                    "response.content_part.added",
                    place(json!({"content_index": 0, "part": part("")})),
                );
                for piece in fragments(text) {
                    let kind = if refusal {
                        "response.refusal.delta"
                    } else {
                        "response.output_text.delta"
                    };
                    push(
                        kind,
                        place(json!({"content_index": 0, "delta": piece, "logprobs": []})),
                    );
                }
                if refusal {
                    push(
                        "response.refusal.done",
                        place(json!({"content_index": 0, "refusal": text})),
                    );
                } else {
                    push(
                        "response.output_text.done",
                        place(json!({"content_index": 0, "text": text, "logprobs": []})),
                    );
                }
                push(
                    "response.content_part.done",
                    place(json!({"content_index": 0, "part": part(text)})),
                );
            }
            Piece::Call { name, arguments, .. } => {
                for part in fragments(arguments) {
                    push(
                        "response.function_call_arguments.delta",
                        place(json!({"delta": part})),
                    );
                }
                push(
                    "response.function_call_arguments.done",
                    place(json!({"name": name, "arguments": arguments})),
                );
            }
        }
        push(
            "response.output_item.done",
            json!({"output_index": index, "item": item}),
        );
    }
    let (kind, status) = if plan.stop == Stop::Length {
        ("response.incomplete", "incomplete")
    } else {
        ("response.completed", "completed")
    };
    push(
        kind,
        json!({"response": response(body, asked, status, &done, Some(plan))}),
    );
    events
}
