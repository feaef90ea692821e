//! Google Gemini.

use serde_json::{Value, json};

use crate::answer::{Asked, CACHED, INPUT, OUTPUT, Piece, Plan, REASONING, Stop, fragments, nothing, thinks};
use crate::server::raw;

fn list<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value
        .get(name)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

pub(crate) fn asked(body: &Value, model: &str) -> Asked {
    let mut asked = Asked {
        model: model.to_owned(),
        may_call: true,
        ..Asked::default()
    };
    for content in list(body, "contents")
        .iter()
        .filter(|content| content["role"] != "model")
    {
        let parts = list(content, "parts");
        let results: Vec<&Value> = parts
            .iter()
            .filter_map(|part| part.get("functionResponse"))
            .collect();
        if results.is_empty() {
            asked.results.clear();
            asked.text = parts.iter().filter_map(|part| part["text"].as_str()).collect();
            asked.images = parts
                .iter()
                .filter(|part| part.get("inlineData").is_some() || part.get("fileData").is_some())
                .count();
        }
        asked.results.extend(results.into_iter().map(|result| {
            let response = &result["response"];
            response["output"]
                .as_str()
                .map_or_else(|| response.to_string(), str::to_owned)
        }));
    }
    for tool in list(body, "tools") {
        for function in list(tool, "functionDeclarations") {
            let schema = ["parametersJsonSchema", "parameters_json_schema", "parameters"]
                .iter()
                .find_map(|name| function.get(*name))
                .cloned();
            asked.tools.push((
                function["name"].as_str().unwrap_or_default().to_owned(),
                schema.unwrap_or_else(nothing),
            ));
        }
    }
    asked.may_call = body.pointer("/toolConfig/functionCallingConfig/mode") != Some(&json!("NONE"));
    asked.json = body.pointer("/generationConfig/responseMimeType") == Some(&json!("application/json"));
    asked.thinking = body.pointer("/generationConfig/thinkingConfig/includeThoughts") == Some(&json!(true));
    asked
}

fn finish(plan: &Plan) -> &'static str {
    match plan.stop {
        Stop::End | Stop::Tools => "STOP",
        Stop::Length => "MAX_TOKENS",
        Stop::Refusal => "SAFETY",
    }
}

fn usage(plan: &Plan) -> Value {
    let thoughts = if thinks(plan) { REASONING } else { 0 };
    let mut usage = json!({"promptTokenCount": INPUT, "candidatesTokenCount": OUTPUT - thoughts, "totalTokenCount": INPUT + OUTPUT,
        "cachedContentTokenCount": CACHED, "promptTokensDetails": [{"modality": "TEXT", "tokenCount": INPUT}]});
    if thoughts > 0 {
        usage["thoughtsTokenCount"] = json!(thoughts);
    }
    usage
}

/// Only the first call of a step is signed.
fn call(id: &str, name: &str, arguments: &str, first: bool) -> Value {
    let mut part = json!({"functionCall": {"id": id, "name": name, "args": raw(arguments)}});
    if first {
        part["thoughtSignature"] = json!("c2lnbmF0dXJl");
    }
    part
}

fn chunk(asked: &Asked, parts: &[Value], finish: Option<&str>, usage: Option<Value>) -> Value {
    let mut candidate = json!({"content": {"parts": parts, "role": "model"}, "index": 0});
    if let Some(finish) = finish {
        candidate["finishReason"] = json!(finish);
    }
    let mut chunk =
        json!({"candidates": [candidate], "modelVersion": asked.model, "responseId": "mockresponse1"});
    if let Some(usage) = usage {
        chunk["usageMetadata"] = usage;
    }
    chunk
}

pub(crate) fn answer(asked: &Asked, plan: &Plan) -> Value {
    let mut first = true;
    let mut parts = Vec::new();
    for piece in &plan.pieces {
        parts.push(match piece {
            Piece::Thinking(thought) => json!({"text": thought, "thought": true}),
            Piece::Text(text) => json!({"text": text}),
            Piece::Call { id, name, arguments } => {
                call(id, name, arguments, std::mem::replace(&mut first, false))
            }
        });
    }
    chunk(asked, &parts, Some(finish(plan)), Some(usage(plan)))
}

pub(crate) fn events(asked: &Asked, plan: &Plan, sse: bool) -> Vec<String> {
    let mut first = true;
    let mut chunks = Vec::new();
    let prompt = json!({"promptTokenCount": INPUT, "totalTokenCount": INPUT});
    for piece in &plan.pieces {
        match piece {
            Piece::Thinking(thought) => {
                for part in fragments(thought) {
                    chunks.push(chunk(
                        asked,
                        &[json!({"text": part, "thought": true})],
                        None,
                        Some(prompt.clone()),
                    ));
                }
            }
            Piece::Text(text) => {
                for part in fragments(text) {
                    chunks.push(chunk(asked, &[json!({"text": part})], None, Some(prompt.clone())));
                }
            }
            Piece::Call { id, name, arguments } => {
                let part = call(id, name, arguments, std::mem::replace(&mut first, false));
                chunks.push(chunk(asked, &[part], None, Some(prompt.clone())));
            }
        }
    }
    chunks.push(chunk(
        asked,
        &[json!({"text": ""})],
        Some(finish(plan)),
        Some(usage(plan)),
    ));
    if sse {
        return chunks
            .iter()
            .map(|chunk| format!("data: {chunk}\r\n\r\n"))
            .collect();
    }
    let last = chunks.len() - 1;
    let framed = chunks.iter().enumerate().map(|(index, chunk)| {
        let before = if index == 0 { "[" } else { ",\r\n" };
        let after = if index == last { "]" } else { "" };
        format!("{before}{chunk}{after}")
    });
    framed.collect()
}
