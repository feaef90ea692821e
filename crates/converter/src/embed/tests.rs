use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::*;
use crate::Dialect;

fn target(format: Format, dialect: Dialect, model: &str) -> Target<'_> {
    Target {
        format,
        dialect,
        model,
        domain: 1,
    }
}

fn to(format: Format) -> Target<'static> {
    target(format, Dialect::Native, "gemini-embedding-001")
}

fn source(format: Format) -> Source<'static> {
    Source {
        format,
        model: None,
        stream: false,
        array: false,
    }
}

fn convert(body: &Value, from: Format, to: &Target<'_>) -> Result<Embedded, Error> {
    request(
        body.to_string().as_bytes(),
        &source(from),
        to,
        &EmbedOptions::default(),
    )
}

fn parsed(body: &[u8]) -> Value {
    serde_json::from_slice(body).unwrap()
}

/// O61.
#[test]
fn three_texts_become_a_batch_and_come_back_as_base64() {
    let body = json!({"model": "text-embedding-3-small", "input": ["a", "é", "c"], "dimensions": 256, "encoding_format": "base64", "user": "u"});
    let embedded = convert(&body, Format::Chat, &to(Format::Gemini)).unwrap();
    assert_eq!(embedded.method.verb(), Some("batchEmbedContents"));
    assert_eq!(embedded.bodies.len(), 1);
    let sent = parsed(&embedded.bodies[0]);
    assert_eq!(sent["requests"].as_array().unwrap().len(), 3);
    assert_eq!(
        sent["requests"][1],
        json!({"model": "models/gemini-embedding-001", "content": {"parts": [{"text": "é"}]}, "outputDimensionality": 256})
    );
    assert!(embedded.report.is_empty());
    let upstream = json!({"embeddings": [{"values": [0.6, 0.8]}, {"values": [3, 4]}, {"values": [0, -2.0]}]});
    let answer = answer(&[upstream.to_string().as_bytes()], &embedded.context).unwrap();
    let out = parsed(&answer.body);
    assert_eq!(out["object"], "list");
    assert_eq!(out["model"], "text-embedding-3-small");
    assert_eq!(out["usage"], json!({"prompt_tokens": 0, "total_tokens": 0}));
    assert!(answer.usage.input.is_none(), "unknown");
    let floats = |index: usize| -> Vec<f32> {
        assert_eq!(out["data"][index]["index"], json!(index));
        assert_eq!(out["data"][index]["object"], "embedding");
        let bytes = STANDARD
            .decode(out["data"][index]["embedding"].as_str().unwrap())
            .unwrap();
        bytes
            .chunks_exact(4)
            .map(|chunk| f32::from_le_bytes(chunk.try_into().unwrap()))
            .collect()
    };
    assert_eq!(floats(0), [0.6, 0.8]);
    assert_eq!(floats(1), [0.6, 0.8], "scaled to unit length");
    assert_eq!(floats(2), [0.0, -1.0]);
}

#[test]
fn one_text_is_one_request_and_digits_stay() {
    let body = json!({"model": "m", "input": "a"});
    let embedded = convert(&body, Format::Chat, &to(Format::Gemini)).unwrap();
    assert_eq!(embedded.method, Method::EmbedContent);
    assert_eq!(
        parsed(&embedded.bodies[0]),
        json!({"model": "models/gemini-embedding-001", "content": {"parts": [{"text": "a"}]}})
    );
    let upstream = br#"{"embedding":{"values":[0.10,-1.5e-3]},"usageMetadata":{"promptTokenCount":7}}"#;
    let answer = answer(&[upstream], &embedded.context).unwrap();
    let text = String::from_utf8(answer.body).unwrap();
    assert!(text.contains(r#""embedding":[0.10,-1.5e-3]"#), "{text}");
    assert!(
        text.contains(r#""usage":{"prompt_tokens":7,"total_tokens":7}"#),
        "{text}"
    );
    assert_eq!(answer.usage.input, Some(7));
}

/// O62.
#[test]
fn a_single_gemini_request_gets_a_single_vector() {
    let body = json!({"model": "models/x", "content": {"parts": [{"text": "a"}, {"text": "b"}]}, "output_dimensionality": 3});
    let embedded = convert(
        &body,
        Format::Gemini,
        &target(Format::Chat, Dialect::Native, "text-embedding-3-large"),
    )
    .unwrap();
    assert_eq!(embedded.method, Method::Embeddings);
    assert_eq!(
        parsed(&embedded.bodies[0]),
        json!({"model": "text-embedding-3-large", "input": "a\nb", "dimensions": 3, "encoding_format": "float"})
    );
    let upstream = json!({"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [1.5, 2]}], "usage": {"prompt_tokens": 4, "total_tokens": 4}});
    let answer = answer(&[upstream.to_string().as_bytes()], &embedded.context).unwrap();
    assert_eq!(
        parsed(&answer.body),
        json!({"embedding": {"values": [1.5, 2]}, "usageMetadata": {"promptTokenCount": 4, "totalTokenCount": 4}})
    );
}

#[test]
fn a_gemini_batch_keeps_its_order_and_reads_base64() {
    let body = json!({"requests": [
        {"model": "models/x", "content": {"parts": [{"text": "a"}]}, "taskType": "RETRIEVAL_QUERY"},
        {"model": "models/x", "content": {"parts": [{"text": "b"}]}, "taskType": "RETRIEVAL_QUERY"}]});
    let embedded = convert(&body, Format::Gemini, &to(Format::Chat)).unwrap();
    assert_eq!(embedded.report.dropped, ["taskType"]);
    assert_eq!(parsed(&embedded.bodies[0])["input"], json!(["a", "b"]));
    let second = STANDARD.encode([0, 0, 0x80, 0x3f]);
    let upstream = json!({"data": [{"index": 1, "embedding": second}, {"index": 0, "embedding": [2]}]});
    let answer = answer(&[upstream.to_string().as_bytes()], &embedded.context).unwrap();
    assert_eq!(
        parsed(&answer.body),
        json!({"embeddings": [{"values": [2]}, {"values": [1]}]})
    );
}

#[test]
fn long_lists_are_cut_into_batches_whose_usage_is_summed() {
    let texts: Vec<String> = (0..250).map(|n| format!("t{n}")).collect();
    let body = json!({"model": "m", "input": texts});
    let embedded = convert(&body, Format::Chat, &to(Format::Gemini)).unwrap();
    assert_eq!(embedded.bodies.len(), 3);
    assert_eq!(
        parsed(&embedded.bodies[2])["requests"].as_array().unwrap().len(),
        50
    );
    let part = |count: usize, tokens: u64| {
        let list: Vec<Value> = (0..count).map(|n| json!({"values": [n]})).collect();
        json!({"embeddings": list, "usageMetadata": {"promptTokenCount": tokens}}).to_string()
    };
    let parts = [part(100, 5), part(100, 6), part(50, 7)];
    let parts: Vec<&[u8]> = parts.iter().map(String::as_bytes).collect();
    let whole = answer(&parts, &embedded.context).unwrap();
    assert_eq!(whole.usage.input, Some(18));
    assert_eq!(parsed(&whole.body)["data"][249]["index"], 249);
    let missing = answer(&parts[..2], &embedded.context).unwrap_err();
    assert_eq!(missing.class, FailureClass::UpstreamBad);
}

#[test]
fn vertex_takes_predict_for_older_models() {
    let body = json!({"model": "m", "input": ["a", "b"], "dimensions": 2, "task_type": "RETRIEVAL_DOCUMENT", "title": "T"});
    let old = target(Format::Gemini, Dialect::Vertex, "text-embedding-005");
    let embedded = convert(&body, Format::Chat, &old).unwrap();
    assert_eq!(embedded.method.verb(), Some("predict"));
    assert_eq!(
        parsed(&embedded.bodies[0]),
        json!({"instances": [{"content": "a", "task_type": "RETRIEVAL_DOCUMENT", "title": "T"}, {"content": "b", "task_type": "RETRIEVAL_DOCUMENT", "title": "T"}], "parameters": {"outputDimensionality": 2}})
    );
    let upstream = json!({"predictions": [{"embeddings": {"values": [1, 0], "statistics": {"token_count": 3.0, "truncated": false}}}, {"embeddings": {"values": [0, 1], "statistics": {"token_count": 4}}}]});
    let answer = answer(&[upstream.to_string().as_bytes()], &embedded.context).unwrap();
    assert_eq!(answer.usage.input, Some(7));
    let new = target(Format::Gemini, Dialect::Vertex, "gemini-embedding-2");
    let embedded = convert(&body, Format::Chat, &new).unwrap();
    assert_eq!(
        (embedded.method, embedded.bodies.len()),
        (Method::EmbedContent, 2)
    );
}

#[test]
fn what_cannot_be_embedded_is_refused_where_it_stands() {
    let gemini = to(Format::Gemini);
    for (body, pointer, kind) in [
        (json!({"model": "m", "input": ""}), "/input", ErrorKind::Invalid),
        (
            json!({"model": "m", "input": ["a", ""]}),
            "/input/1",
            ErrorKind::Invalid,
        ),
        (json!({"model": "m", "input": []}), "/input", ErrorKind::Invalid),
        (
            json!({"model": "m", "input": [1, 2]}),
            "/input/0",
            ErrorKind::Unsupported,
        ),
        (
            json!({"model": "m", "input": [[1], [2]]}),
            "/input/0",
            ErrorKind::Unsupported,
        ),
        (json!({"model": "m"}), "/input", ErrorKind::Missing),
        (
            json!({"model": "m", "input": "a", "encoding_format": "hex"}),
            "/encoding_format",
            ErrorKind::Invalid,
        ),
    ] {
        let error = convert(&body, Format::Chat, &gemini).unwrap_err();
        assert_eq!((error.pointer(), error.kind()), (pointer, kind), "{body}");
    }
    let image = json!({"content": {"parts": [{"inlineData": {"mimeType": "image/png", "data": "AA"}}]}});
    let error = convert(&image, Format::Gemini, &to(Format::Chat)).unwrap_err();
    assert_eq!(
        (error.pointer(), error.kind()),
        ("/content/parts/0", ErrorKind::Unsupported)
    );
    let uneven = json!({"requests": [{"content": {"parts": [{"text": "a"}]}, "outputDimensionality": 2}, {"content": {"parts": [{"text": "b"}]}}]});
    let error = convert(&uneven, Format::Gemini, &to(Format::Chat)).unwrap_err();
    assert_eq!(error.pointer(), "/requests/1/outputDimensionality");
    let odd = json!({"content": {"parts": [{"text": "a"}]}, "autoTruncate": true});
    let embedded = convert(&odd, Format::Gemini, &to(Format::Chat)).unwrap();
    assert_eq!(embedded.report.dropped, ["autoTruncate"]);
}

#[test]
fn bad_answers_are_failures() {
    let body = json!({"model": "m", "input": ["a", "b"]});
    let context = convert(&body, Format::Chat, &to(Format::Gemini)).unwrap().context;
    for bad in [
        "{}",
        "<html>",
        r#"{"embeddings":[{"values":[1]}]}"#,
        r#"{"embeddings":[{"values":[1]},{"values":["x"]}]}"#,
    ] {
        // Digits are passed on unread: only base64 has to look at them.
        let base64 = EmbedContext {
            base64: true,
            ..context.clone()
        };
        let failure = answer(&[bad.as_bytes()], &base64).unwrap_err();
        assert_eq!(failure.class, FailureClass::UpstreamBad, "{bad}");
    }
    let error = br#"{"error":{"code":429,"message":"slow down","status":"RESOURCE_EXHAUSTED"}}"#;
    let failure = answer(&[error], &context).unwrap_err();
    assert_ne!(failure.class, FailureClass::UpstreamBad);
}
