//! Error documents in any shape that providers and proxies use (wire.md 6.1).

use super::wait::go_duration;
use crate::json::{Kind, Reader};

/// What an error document says, whatever its shape.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamError {
    /// The sentence.
    pub message: String,
    /// `type` or `status`.
    pub kind: String,
    /// `code`.
    pub code: String,
    /// A number between 400 and 599 that stands for a status.
    pub status: Option<u16>,
    /// `retryDelay` of Google, milliseconds.
    pub retry_delay: Option<u64>,
    /// `param`.
    pub param: Option<String>,
    /// The words of its details (quota ids, reasons).
    pub details: String,
}

/// Reads an error document; `None` if the body is none.
#[must_use]
pub fn document(body: &str) -> Option<UpstreamError> {
    let mut error = UpstreamError::default();
    let mut found = false;
    let mut reader = Reader::new(body.trim_start_matches('\u{feff}'));
    match reader.kind() {
        Kind::Array => reader
            .array(|reader, _| {
                if reader.kind() == Kind::Object && !found {
                    return top(reader, &mut error, &mut found);
                }
                reader.skip()
            })
            .ok()?,
        Kind::Object => top(&mut reader, &mut error, &mut found).ok()?,
        _ => return None,
    }
    found.then_some(error)
}

fn top(reader: &mut Reader<'_>, error: &mut UpstreamError, found: &mut bool) -> Result<(), crate::Error> {
    let mut loose = UpstreamError::default();
    let mut is_error = false;
    let mut has_answer = false;
    reader.object(|reader, key| {
        match (key.as_ref(), reader.kind()) {
            ("error", Kind::Object) => {
                *found = true;
                inner(reader, error)?;
            }
            ("error" | "detail" | "msg" | "error_msg", Kind::String) => {
                *found = true;
                let text = reader.text()?.decode().into_owned();
                if error.message.is_empty() {
                    error.message = text;
                }
            }
            // FastAPI lists what is wrong, others say it in an object.
            ("detail" | "errors", Kind::Array) => *found |= list(reader, error)?,
            ("detail", Kind::Object) => {
                *found = true;
                inner(reader, error)?;
            }
            ("message", Kind::String) => loose.message = reader.text()?.decode().into_owned(),
            ("type" | "object", Kind::String) => is_error |= reader.text()?.is("error"),
            ("code" | "status", Kind::String | Kind::Number) => code(reader, &mut loose)?,
            ("param", Kind::String) => loose.param = Some(reader.text()?.decode().into_owned()),
            ("choices" | "candidates" | "output" | "content" | "delta", _) => {
                has_answer = true;
                reader.skip()?;
            }
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    if !*found && !has_answer && (is_error || !loose.message.is_empty()) {
        *found = true;
        *error = loose;
    } else if *found {
        // A proxy states the status beside the error.
        error.status = error.status.or(loose.status);
    }
    Ok(())
}

fn list(reader: &mut Reader<'_>, error: &mut UpstreamError) -> Result<bool, crate::Error> {
    let mut any = false;
    reader.array(|reader, _| {
        let mut one = UpstreamError::default();
        match reader.kind() {
            Kind::String => one.message = reader.text()?.decode().into_owned(),
            Kind::Object => inner(reader, &mut one)?,
            _ => return reader.skip(),
        }
        if !std::mem::replace(&mut any, true) {
            *error = one;
        }
        Ok(())
    })?;
    Ok(any)
}

fn inner(reader: &mut Reader<'_>, error: &mut UpstreamError) -> Result<(), crate::Error> {
    reader.object(|reader, key| {
        match (key.as_ref(), reader.kind()) {
            ("message" | "msg", Kind::String) => error.message = reader.text()?.decode().into_owned(),
            ("type", Kind::String) => error.kind = reader.text()?.decode().into_owned(),
            ("param", Kind::String) => error.param = Some(reader.text()?.decode().into_owned()),
            ("code" | "status", Kind::String | Kind::Number) => code(reader, error)?,
            ("details", Kind::Array | Kind::Object) => {
                let raw = reader.raw()?;
                raw.get().clone_into(&mut error.details);
                error.retry_delay = delay(raw.get());
            }
            // A gateway's error around the provider's own.
            ("error" | "innererror", Kind::Object) => inner(reader, error)?,
            _ => reader.skip()?,
        }
        Ok(())
    })
}

/// `code` and `status` are numbers or words.
fn code(reader: &mut Reader<'_>, error: &mut UpstreamError) -> Result<(), crate::Error> {
    let word = if reader.kind() == Kind::Number {
        reader.number()?.get().to_owned()
    } else {
        reader.text()?.decode().into_owned()
    };
    if let Ok(number) = word.parse::<u16>() {
        error.status = Some(number)
            .filter(|status| (400..600).contains(status))
            .or(error.status);
        return Ok(());
    }
    if error.kind.is_empty() && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_') {
        error.kind = word;
    } else {
        error.code = word;
    }
    Ok(())
}

/// `"retryDelay":"34s"` in milliseconds.
fn delay(details: &str) -> Option<u64> {
    let behind = details.split("\"retryDelay\"").nth(1)?;
    let text = behind.split('"').nth(1)?;
    go_duration(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_every_shape_are_read() {
        for body in [
            r#"{"error":{"message":"boom","type":"x"}}"#,
            r#"{"error":"boom"}"#,
            r#"{"type":"error","error":{"type":"x","message":"boom"}}"#,
            r#"[{"error":{"code":400,"message":"boom","status":"INVALID_ARGUMENT"}}]"#,
            r#"{"object":"error","message":"boom"}"#,
            r#"{"detail":"boom"}"#,
            r#"{"detail":[{"loc":["body"],"msg":"boom","type":"missing"}]}"#,
            r#"{"detail":{"message":"boom"}}"#,
            r#"{"errors":["boom"]}"#,
            r#"{"errors":[{"message":"boom","code":7003}]}"#,
            r#"{"error_msg":"boom","error_code":17}"#,
            r#"{"msg":"boom"}"#,
            r#"{"success":false,"error":{"message":"boom","status":500}}"#,
            r#"{"code":400,"message":"boom"}"#,
            r#"{"error":{"error":{"message":"boom"}}}"#,
            "\u{feff}{\"error\":{\"message\":\"boom\",\"code\":1.5}}",
        ] {
            assert_eq!(
                document(body).map(|error| error.message).as_deref(),
                Some("boom"),
                "{body}"
            );
        }
        for body in [
            r#"{"id":"x","choices":[],"message":"no"}"#,
            "<html>",
            "",
            "[]",
            r#"{"errors":[]}"#,
            r#"{"usage":{}}"#,
        ] {
            assert_eq!(document(body), None, "{body}");
        }
    }

    #[test]
    fn statuses_stand_in_numbers_strings_and_beside_the_error() {
        let status = |body: &str| document(body).and_then(|error| error.status);
        assert_eq!(status(r#"{"error":{"message":"m","code":429}}"#), Some(429));
        assert_eq!(status(r#"{"error":{"message":"m","code":"429"}}"#), Some(429));
        assert_eq!(status(r#"{"error":{"message":"m","status":500}}"#), Some(500));
        assert_eq!(
            status(r#"{"statusText":"x","status":502,"error":"m"}"#),
            Some(502)
        );
        assert_eq!(status(r#"{"error":{"message":"m","code":7003}}"#), None);
    }
}
