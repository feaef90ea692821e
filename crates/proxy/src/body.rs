//! The request body: read, decoded, scanned.

use ai_api_converter::scan::{Scan, Shape, scan};
use ai_api_converter::{Failure, FailureClass, Format};
use bytes::Bytes;

use crate::net::client::{BodyError, Client};

/// Reads the body; the failure is the client's.
pub(crate) async fn read(client: &mut Client, limit: usize) -> Result<Bytes, Option<Failure>> {
    client.body(limit).await.map_err(|error| match error {
        BodyError::TooLarge => Some(Failure::new(
            FailureClass::TooLarge,
            format!("The request body is larger than {} MiB.", limit >> 20),
        )),
        BodyError::Slow => Some(Failure::new(
            FailureClass::ClientTimeout,
            "The request body did not arrive in time: at least 1 KiB per second is expected.",
        )),
        BodyError::Framing => Some(Failure::new(
            FailureClass::InvalidRequest,
            "The chunked request body is malformed.",
        )),
        BodyError::Full => Some(Failure::new(
            FailureClass::Overloaded,
            "The gateway is reading as many request bodies as its memory allows; try again.",
        )),
        BodyError::Coding => Some(Failure::new(
            FailureClass::UnsupportedMedia,
            "The content-encoding of the request is not supported; use identity, gzip, deflate, br or zstd.",
        )),
        BodyError::Corrupt => Some(Failure::new(
            FailureClass::InvalidRequest,
            "The compressed request body is damaged.",
        )),
        BodyError::Gone => None,
    })
}

/// Scans the body; a body that is no JSON object is the client's mistake.
pub(crate) fn scanned(body: &[u8]) -> Result<Scan<'_>, Failure> {
    scan(body).map_err(Failure::from)
}

/// The format that a body's shape shows (wire.md 7.4).
pub(crate) fn format_of(shape: Shape) -> Option<Format> {
    if shape.contents {
        Some(Format::Gemini)
    } else if shape.input && !shape.messages {
        Some(Format::Responses)
    } else if shape.messages && shape.anthropic {
        Some(Format::Messages)
    } else if shape.messages {
        Some(Format::Chat)
    } else {
        None
    }
}

/// What a relayed body is changed in.
pub(crate) struct Edits<'e> {
    /// The model's name at the upstream; `None`: it does not stand in the body.
    pub(crate) model: Option<&'e str>,
    /// Streams of Chat and of old completions: usage is asked for.
    pub(crate) ask_usage: bool,
    /// Places inside the body that name the model once more.
    pub(crate) nested: &'e [(std::ops::Range<usize>, String)],
}

/// The body with another model name, everything else byte for byte; and, for streams of Chat and of old completions, with usage asked for.
pub(crate) fn relayed(body: &Bytes, scan: &Scan<'_>, wanted: &Edits<'_>) -> Bytes {
    let mut edits: Vec<(usize, usize, String)> = Vec::new();
    let comma = if scan.shape.empty { "" } else { "," };
    if let Some(model) = wanted.model {
        let same = scan.model.as_deref() == Some(model) && !scan.model_differs;
        for at in scan.model_at.iter().filter(|_| !same) {
            edits.push((at.start, at.end, quoted(model)));
        }
        if scan.model_at.is_empty() {
            let text = format!("\"model\":{}{comma}", quoted(model));
            edits.push((scan.members_at, scan.members_at, text));
        }
    }
    for (at, name) in wanted.nested {
        edits.push((at.start, at.end, quoted(name)));
    }
    if wanted.ask_usage && scan.include_usage != Some(true) {
        match &scan.ask_usage_at {
            Some((at, text)) => edits.push((at.start, at.end, (*text).into())),
            None => {
                let text = format!("\"stream_options\":{{\"include_usage\":true}}{comma}");
                edits.push((scan.members_at, scan.members_at, text));
            }
        }
    }
    if edits.is_empty() {
        return body.clone();
    }
    edits.sort_by_key(|edit| edit.0);
    let mut out = Vec::with_capacity(body.len() + 64);
    let mut from = 0;
    for (start, end, text) in edits {
        out.extend_from_slice(body.get(from..start).unwrap_or_default());
        out.extend_from_slice(text.as_bytes());
        from = end;
    }
    out.extend_from_slice(body.get(from..).unwrap_or_default());
    out.into()
}

fn quoted(text: &str) -> String {
    let mut out = Vec::new();
    ai_api_converter::json::Writer::new(&mut out).str(text);
    String::from_utf8_lossy(&out).into_owned()
}

/// The nested names of a model, as the upstream calls it. A body that names another model than the path is refused: the path was
/// authorised.
pub(crate) fn nested(
    body: &[u8],
    path: &str,
    upstream: &str,
) -> Result<Vec<(std::ops::Range<usize>, String)>, Failure> {
    let found = ai_api_converter::scan::nested_models(body).map_err(Failure::from)?;
    let bare = |name: &str| name.strip_prefix("models/").unwrap_or(name).to_owned();
    let other = found
        .iter()
        .any(|(_, name)| bare(name) != path && bare(name) != bare(upstream));
    if other {
        let text = "The body names another model than the path.";
        return Err(Failure {
            param: Some("model".into()),
            ..Failure::new(FailureClass::InvalidRequest, text)
        });
    }
    Ok(found
        .into_iter()
        .map(|(at, _)| (at, format!("models/{upstream}")))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_model_and_the_stream_options_change() {
        let check = |body: &str, model: &str, ask: bool, wanted: &str| {
            let bytes = Bytes::from(body.to_owned());
            let edits = Edits {
                model: Some(model),
                ask_usage: ask,
                nested: &[],
            };
            let out = relayed(&bytes, &scan(body.as_bytes()).unwrap(), &edits);
            assert_eq!(String::from_utf8(out.to_vec()).unwrap(), wanted);
        };
        check(
            r#" { "model" : "a", "x": 1.10 }"#,
            "a",
            false,
            r#" { "model" : "a", "x": 1.10 }"#,
        );
        check(
            r#"{"x":1,"model":"a"}"#,
            "b\"c",
            false,
            r#"{"x":1,"model":"b\"c"}"#,
        );
        check(
            r#"{"model":"a"}"#,
            "a",
            true,
            r#"{"stream_options":{"include_usage":true},"model":"a"}"#,
        );
        check(
            r#"{"stream_options":{"x":1},"model":"a"}"#,
            "b",
            true,
            r#"{"stream_options":{"include_usage":true,"x":1},"model":"b"}"#,
        );
        check(
            r#"{"stream_options":{ "x":1, "include_usage" : false,"y":2},"model":"a"}"#,
            "a",
            true,
            r#"{"stream_options":{ "x":1, "include_usage" : true,"y":2},"model":"a"}"#,
        );
        check(
            r#"{"stream_options":{ },"model":"a"}"#,
            "a",
            true,
            r#"{"stream_options":{"include_usage":true},"model":"a"}"#,
        );
        check(
            r#"{"stream_options":{"include_usage":true}}"#,
            "b",
            true,
            r#"{"model":"b","stream_options":{"include_usage":true}}"#,
        );
        check(
            r#"{"model":"a","stream_options": null }"#,
            "a",
            true,
            r#"{"model":"a","stream_options": {"include_usage":true} }"#,
        );
        check(
            r#"{"model":"a","model":"b"}"#,
            "b",
            false,
            r#"{"model":"b","model":"b"}"#,
        );
        check(r#"{}"#, "b", false, r#"{"model":"b"}"#);
    }

    #[test]
    fn nested_models_follow_the_path_and_must_not_contradict_it() {
        let body = br#"{"requests":[{"model":"models/x","content":{}}]}"#;
        let found = nested(body, "x", "gemini-embedding").unwrap();
        assert_eq!(found[0].1, "models/gemini-embedding");
        assert!(nested(body, "y", "y").is_err());
        assert!(nested(br#"{"generateContentRequest":{"model":"models/z"}}"#, "x", "x").is_err());
    }
}
