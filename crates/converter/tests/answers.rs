//! Golden vectors of answers: one file per case, with facts about the output as JSON pointers (`null`: absent or null).
//! The numbers are those of conversion.md section 20.

#![expect(clippy::unwrap_used, reason = "tests may")]

use std::path::Path;

use ai_api_converter::{
    Answer, Dialect, Failure, Format, Options, Source, Target, convert_request, convert_response,
};
use serde_json::{Value, json};

fn format(case: &Value, name: &str) -> Format {
    case[name].as_str().unwrap().parse().unwrap()
}

/// The smallest request of a format; a vector may bring its own.
fn request(case: &Value, client: Format) -> Value {
    if !case["request"].is_null() {
        return case["request"].clone();
    }
    let tool = json!({"type": "object", "properties": {"a": {"type": "string"}}});
    match client {
        Format::Chat => {
            json!({"model": "m", "messages": [{"role": "user", "content": "x"}], "tools": [{"type": "function", "function": {"name": "f", "parameters": tool}}]})
        }
        Format::Responses => {
            json!({"model": "m", "input": "x", "tools": [{"type": "function", "name": "f", "parameters": tool}]})
        }
        Format::Messages => {
            json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}], "tools": [{"name": "f", "input_schema": tool}]})
        }
        Format::Gemini => {
            json!({"contents": [{"role": "user", "parts": [{"text": "x"}]}], "generationConfig": {"thinkingConfig": {"includeThoughts": true}}, "tools": [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": tool}]}]})
        }
    }
}

fn answer(case: &Value) -> Result<Answer, Failure> {
    let client = format(case, "to");
    let source = Source {
        format: client,
        model: (client == Format::Gemini).then_some("m"),
        stream: false,
        array: false,
    };
    let target = Target {
        format: format(case, "from"),
        dialect: match case["dialect"].as_str() {
            Some("deepseek") => Dialect::DeepSeek,
            Some("compat") => Dialect::Compat,
            _ => Dialect::Native,
        },
        model: "x",
        domain: 1,
    };
    let options = Options {
        request_id: "req1".into(),
        now: 1_700_000_000,
        ..Options::default()
    };
    let body = request(case, client).to_string();
    let context = convert_request(body.as_bytes(), &source, &target, &options)
        .unwrap()
        .context;
    let body = match case["in"].as_str() {
        Some(text) => text.to_owned(),
        None => case["in"].to_string(),
    };
    convert_response(body.as_bytes(), &context)
}

fn check(case: &Value) -> Result<(), String> {
    let answer = match (answer(case), case["failure"].as_str()) {
        (Err(failure), Some(class)) if format!("{:?}", failure.class) == class => return Ok(()),
        (Err(failure), _) => return Err(format!("failed: {:?} {}", failure.class, failure.message)),
        (Ok(_), Some(class)) => return Err(format!("did not fail with {class}")),
        (Ok(answer), None) => answer,
    };
    let out: Value = serde_json::from_slice(&answer.body).map_err(|error| error.to_string())?;
    for (pointer, wanted) in case["facts"].as_object().unwrap() {
        let found = out.pointer(pointer).cloned().unwrap_or(Value::Null);
        if found != *wanted {
            return Err(format!("{pointer}: expected {wanted}, found {found}\n{out}"));
        }
    }
    for text in case["contains"].as_array().into_iter().flatten() {
        let text = text.as_str().unwrap();
        if !String::from_utf8_lossy(&answer.body).contains(text) {
            return Err(format!("does not contain {text}\n{out}"));
        }
    }
    if let Some(finish) = case.get("native_finish")
        && *finish != json!(answer.native_finish)
    {
        return Err(format!(
            "native finish: expected {finish}, found {:?}",
            answer.native_finish
        ));
    }
    if let Some(dropped) = case.get("dropped")
        && *dropped != json!(answer.dropped)
    {
        return Err(format!("dropped: expected {dropped}, found {:?}", answer.dropped));
    }
    for (name, wanted) in case["usage"].as_object().into_iter().flatten() {
        let usage = &answer.usage;
        let found = match name.as_str() {
            "input" => usage.input,
            "output" => usage.output,
            "cache_read" => usage.cache_read,
            "cache_write" => usage.cache_write,
            "cache_write_short" => usage.cache_write_short,
            "cache_write_long" => usage.cache_write_long,
            "reasoning" => usage.reasoning,
            other => return Err(format!("the harness knows no counter {other}")),
        };
        if *wanted != json!(found) {
            return Err(format!("usage {name}: expected {wanted}, found {found:?}"));
        }
    }
    Ok(())
}

#[test]
fn every_vector_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/response");
    let mut failed = Vec::new();
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let case: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        count += 1;
        if let Err(why) = check(&case) {
            failed.push(format!("{}: {why}", path.file_stem().unwrap().to_string_lossy()));
        }
    }
    assert!(count >= 60, "only {count} vectors were found");
    assert!(
        failed.is_empty(),
        "{} of {count} failed\n{}",
        failed.len(),
        failed.join("\n\n")
    );
}
