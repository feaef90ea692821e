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

/// The body with another model name, everything else byte for byte; and, for Chat streams, with usage asked for.
pub(crate) fn relayed(body: &Bytes, scan: &Scan<'_>, model: &str, ask_usage: bool) -> Bytes {
    let mut edits: Vec<(usize, usize, String)> = Vec::new();
    if let (Some(at), Some(name)) = (&scan.model_at, &scan.model)
        && name != model
    {
        let mut quoted = Vec::new();
        ai_api_converter::json::Writer::new(&mut quoted).str(model);
        edits.push((at.start, at.end, String::from_utf8_lossy(&quoted).into_owned()));
    }
    if ask_usage && scan.include_usage != Some(true) {
        match &scan.stream_options_at {
            Some(at) => edits.push((at.start, at.end, r#"{"include_usage":true}"#.into())),
            None => {
                let comma = if scan.shape.empty { "" } else { "," };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_model_and_the_stream_options_change() {
        let check = |body: &str, model: &str, ask: bool, wanted: &str| {
            let bytes = Bytes::from(body.to_owned());
            let out = relayed(&bytes, &scan(body.as_bytes()).unwrap(), model, ask);
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
            r#"{"stream_options":{"include_usage":true},"model":"b"}"#,
        );
        check(
            r#"{"stream_options":{"include_usage":true}}"#,
            "b",
            true,
            r#"{"stream_options":{"include_usage":true}}"#,
        );
    }
}
