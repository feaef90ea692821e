//! OpenAI's old completions: Chat's events with `text` in place of `delta`.

use serde_json::{Value, json};

use crate::answer::{Asked, Plan, fragments, text, texts};
use crate::openai::{chat_usage, finish};

pub(crate) fn asked(body: &Value) -> Asked {
    Asked {
        model: body["model"].as_str().unwrap_or_default().to_owned(),
        text: texts(&body["prompt"]),
        ..Asked::default()
    }
}

fn chunk(asked: &Asked, choices: Value) -> Value {
    json!({"id": "cmpl-mock1", "object": "text_completion", "created": 1_790_000_000, "model": asked.model, "choices": choices,
        "system_fingerprint": "fp_mock"})
}

fn choice(text: Value, finish: Value) -> Value {
    json!([{"text": text, "index": 0, "logprobs": null, "finish_reason": finish}])
}

pub(crate) fn answer(asked: &Asked, plan: &Plan) -> Value {
    let mut answer = chunk(asked, choice(text(plan).into(), finish(plan).into()));
    answer["usage"] = chat_usage(plan);
    answer
}

pub(crate) fn events(body: &Value, asked: &Asked, plan: &Plan) -> Vec<String> {
    let include = body.pointer("/stream_options/include_usage") == Some(&json!(true));
    let texts = fragments(&text(plan))
        .into_iter()
        .map(|part| choice(part.into(), Value::Null));
    let mut chunks: Vec<Value> = texts
        .chain([choice("".into(), finish(plan).into())])
        .map(|choices| chunk(asked, choices))
        .collect();
    if include {
        chunks.iter_mut().for_each(|chunk| chunk["usage"] = Value::Null);
        let mut last = chunk(asked, json!([]));
        last["usage"] = chat_usage(plan);
        chunks.push(last);
    }
    let mut events: Vec<String> = chunks.iter().map(|chunk| format!("data: {chunk}\n\n")).collect();
    events.push("data: [DONE]\n\n".into());
    events
}
