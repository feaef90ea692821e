use serde_json::{Value, json};

use super::*;

fn converted(body: &Value, from: Format, to: Format, dialect: Dialect, model: &str) -> Value {
    let source = Source {
        format: from,
        model: (from == Format::Gemini).then_some("m"),
        stream: false,
        array: false,
    };
    let target = Target {
        format: to,
        dialect,
        model,
        domain: 1,
    };
    let counting = request(body.to_string().as_bytes(), &source, &target, &Options::default())
        .unwrap()
        .unwrap();
    assert!(counting.report.is_empty(), "{:?}", counting.report);
    serde_json::from_slice(&counting.body).unwrap()
}

fn messages() -> Value {
    json!({
        "model": "claude-opus-4-6", "system": "be brief", "max_tokens": 5, "stop_sequences": ["x"], "temperature": 0.1,
        "messages": [{"role": "user", "content": "hi"}],
        "tools": [{"name": "f", "description": "d", "input_schema": {"type": "object", "properties": {"a": {"type": "string"}}}}],
    })
}

/// O63.
#[test]
fn messages_with_system_and_tools_are_counted_by_responses() {
    let body = converted(
        &messages(),
        Format::Messages,
        Format::Responses,
        Dialect::Native,
        "gpt-4.1",
    );
    assert_eq!(body["model"], "gpt-4.1");
    assert_eq!(body["tools"][0]["name"], "f");
    assert!(body["input"].is_array());
    let text = body.to_string();
    assert!(text.contains("be brief") && text.contains("\"hi\""), "{text}");
    for member in [
        "max_output_tokens",
        "stream",
        "store",
        "include",
        "temperature",
        "metadata",
    ] {
        assert!(body.get(member).is_none(), "{member} in {body}");
    }
}

/// O63.
#[test]
fn messages_with_system_and_tools_are_counted_by_gemini() {
    let body = converted(
        &messages(),
        Format::Messages,
        Format::Gemini,
        Dialect::Native,
        "gemini-2.5-flash",
    );
    let inner = &body["generateContentRequest"];
    assert_eq!(inner["model"], "models/gemini-2.5-flash");
    assert_eq!(inner["systemInstruction"]["parts"][0]["text"], "be brief");
    assert_eq!(inner["tools"][0]["functionDeclarations"][0]["name"], "f");
    assert_eq!(inner["contents"][0]["parts"][0]["text"], "hi");
    assert!(body.get("contents").is_none());
    let vertex = converted(
        &messages(),
        Format::Messages,
        Format::Gemini,
        Dialect::Vertex,
        "gemini-2.5-flash",
    );
    assert_eq!(vertex["systemInstruction"]["parts"][0]["text"], "be brief");
    assert!(vertex.get("generateContentRequest").is_none());
}

#[test]
fn gemini_in_both_forms_is_counted_by_messages() {
    let inner = json!({"model": "models/m", "contents": [{"role": "user", "parts": [{"text": "hi"}]}], "systemInstruction": {"parts": [{"text": "s"}]}});
    let short = json!({"contents": inner["contents"], "systemInstruction": inner["systemInstruction"]});
    for body in [json!({"generateContentRequest": inner}), short] {
        let body = converted(
            &body,
            Format::Gemini,
            Format::Messages,
            Dialect::Native,
            "claude-opus-4-6",
        );
        assert_eq!(body["model"], "claude-opus-4-6");
        assert_eq!(body["system"][0]["text"], "s");
        assert_eq!(body["messages"][0]["content"][0]["text"], "hi");
        assert!(body.get("max_tokens").is_none(), "{body}");
    }
}

#[test]
fn responses_are_counted_by_messages() {
    let body = json!({"model": "m", "instructions": "s", "input": "hi", "reasoning": {"effort": "high"}});
    let body = converted(
        &body,
        Format::Responses,
        Format::Messages,
        Dialect::Native,
        "claude-opus-4-7",
    );
    assert_eq!(body["thinking"]["type"], "adaptive");
    assert_eq!(body["output_config"]["effort"], "high");
}

#[test]
fn chat_upstreams_cannot_count() {
    let source = Source {
        format: Format::Messages,
        model: None,
        stream: false,
        array: false,
    };
    let target = Target {
        format: Format::Chat,
        dialect: Dialect::Native,
        model: "m",
        domain: 1,
    };
    let counting = request(
        messages().to_string().as_bytes(),
        &source,
        &target,
        &Options::default(),
    );
    assert!(counting.unwrap().is_none());
}

#[test]
fn answers_get_the_shape_of_the_client() {
    let gemini = br#"{"totalTokens":31,"cachedContentTokenCount":4,"promptTokensDetails":[]}"#;
    let text = |body: &[u8], client| String::from_utf8(answer(body, client).unwrap().body).unwrap();
    assert_eq!(text(gemini, Format::Messages), r#"{"input_tokens":31}"#);
    assert_eq!(
        text(gemini, Format::Responses),
        r#"{"object":"response.input_tokens","input_tokens":31}"#
    );
    let messages = br#"{"input_tokens":7}"#;
    assert_eq!(text(messages, Format::Gemini), r#"{"totalTokens":7}"#);
    for bad in ["{}", "[]", "<html>"] {
        let failure = answer(bad.as_bytes(), Format::Gemini).unwrap_err();
        assert_eq!(failure.class, FailureClass::UpstreamBad);
    }
    let error = br#"{"type":"error","error":{"type":"rate_limit_error","message":"slow"}}"#;
    let failure = answer(error, Format::Gemini).unwrap_err();
    assert_eq!(failure.class, FailureClass::RateLimited);
}

#[test]
fn every_counting_endpoint_gets_its_own_estimate() {
    let count =
        |body: &str, format| String::from_utf8(estimate(body.as_bytes(), format, 1.0).unwrap()).unwrap();
    let messages = count(
        r#"{"model":"m","messages":[{"role":"user","content":"four words of text"}]}"#,
        Format::Messages,
    );
    assert!(messages.starts_with(r#"{"input_tokens":"#), "{messages}");
    let inner = r#"{"contents":[{"parts":[{"text":"hi"}]}]}"#;
    let gemini = count(inner, Format::Gemini);
    assert!(gemini.starts_with(r#"{"totalTokens":"#), "{gemini}");
    let long = count(
        &format!(r#"{{"generateContentRequest":{inner}}}"#),
        Format::Gemini,
    );
    assert_eq!(long, gemini);
    assert!(estimate(b"{}", Format::Messages, 1.0).is_err());
}
