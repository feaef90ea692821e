//! What an upstream's error means (wire.md 6.1, 6.2, 6.4): any shape of body, by status, code and words.

use std::borrow::Cow;
use std::time::Duration;

use super::{Failure, FailureClass};
use crate::json::{Kind, Reader};

/// Longest wait that is believed.
const MAX_WAIT: Duration = Duration::from_secs(24 * 3600);
/// Characters of an upstream's message that are passed on.
const MAX_MESSAGE: usize = 2_000;

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
                if reader.kind() == Kind::Object {
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
                error.message = reader.text()?.decode().into_owned();
            }
            ("message", Kind::String) => loose.message = reader.text()?.decode().into_owned(),
            ("type" | "object", Kind::String) => is_error |= reader.text()?.is("error"),
            ("code" | "status", Kind::String | Kind::Number) => code(reader, &mut loose)?,
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
    }
    Ok(())
}

fn inner(reader: &mut Reader<'_>, error: &mut UpstreamError) -> Result<(), crate::Error> {
    reader.object(|reader, key| {
        match (key.as_ref(), reader.kind()) {
            ("message", Kind::String) => error.message = reader.text()?.decode().into_owned(),
            ("type", Kind::String) => error.kind = reader.text()?.decode().into_owned(),
            ("param", Kind::String) => error.param = Some(reader.text()?.decode().into_owned()),
            ("code" | "status", Kind::String | Kind::Number) => code(reader, error)?,
            ("details", Kind::Array | Kind::Object) => {
                let raw = reader.raw()?;
                error.details = raw.get().to_owned();
                error.retry_delay = delay(raw.get());
            }
            _ => reader.skip()?,
        }
        Ok(())
    })
}

/// `code` and `status` are numbers or words.
fn code(reader: &mut Reader<'_>, error: &mut UpstreamError) -> Result<(), crate::Error> {
    if reader.kind() == Kind::Number {
        let number = reader.u64()?;
        error.status = u16::try_from(number)
            .ok()
            .filter(|status| (400..600).contains(status))
            .or(error.status);
        return Ok(());
    }
    let word = reader.text()?.decode().into_owned();
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
    millis(text)
}

/// A Go-like duration: `34s`, `1.5s`, `120ms`, `6m0s`.
fn millis(text: &str) -> Option<u64> {
    let mut total = 0.0;
    let mut rest = text.trim();
    while !rest.is_empty() {
        let end = rest.find(|c: char| c.is_ascii_alphabetic())?;
        let (number, unit) = rest.split_at(end);
        let unit_end = unit
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(unit.len());
        let (unit, behind) = unit.split_at(unit_end);
        let factor = match unit {
            "ms" => 1.0,
            "s" => 1_000.0,
            "m" => 60_000.0,
            "h" => 3_600_000.0,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * factor;
        rest = behind;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float cast saturates at both ends"
    )]
    let total = total.ceil() as u64;
    Some(total)
}

/// How long the upstream asks to wait.
fn wait(header: &dyn Fn(&str) -> Option<String>, error: &UpstreamError) -> Option<Duration> {
    let from_header = || {
        let text = header("retry-after-ms")?;
        text.trim()
            .parse::<f64>()
            .ok()
            .filter(|value| *value > 0.0)
            .map(|value| value / 1000.0)
    };
    let seconds = || {
        header("retry-after")?
            .trim()
            .parse::<f64>()
            .ok()
            .filter(|value| *value > 0.0)
    };
    let wait = from_header()
        .or_else(seconds)
        .map(Duration::from_secs_f64)
        .or_else(|| error.retry_delay.map(Duration::from_millis))
        .or_else(|| {
            let (_, behind) = error.message.split_once("try again in ")?;
            let word = behind.split([' ', ',']).next()?.trim_end_matches('.');
            millis(word).map(Duration::from_millis)
        })?;
    (wait <= MAX_WAIT).then_some(wait)
}

/// An upstream's HTTP error (or in-band error, with its status guessed) as a failure.
///
/// `own_credential`: the channel's key was used, so that authentication and billing are the operator's business, not the caller's.
pub fn from_upstream(
    status: Option<u16>,
    header: &dyn Fn(&str) -> Option<String>,
    body: &[u8],
    own_credential: bool,
) -> Failure {
    let text = String::from_utf8_lossy(body);
    let error = document(&text).unwrap_or_default();
    let inner = error.status.or_else(|| status_of(&error));
    // A 200 with an error inside, and proxies that wrap the true status: the inner one is meant.
    let status = status.filter(|status| *status >= 400).or(inner).unwrap_or(502);
    let mut class = classify(status, &error);
    if !own_credential {
        class = match class {
            FailureClass::UpstreamAuth if status == 403 => FailureClass::Permission,
            FailureClass::UpstreamAuth => FailureClass::Auth,
            FailureClass::UpstreamBilling => FailureClass::Billing,
            other => other,
        };
    }
    let retry_after = if matches!(
        class,
        FailureClass::RateLimited | FailureClass::Overloaded | FailureClass::QuotaExhausted
    ) {
        wait(header, &error)
    } else {
        None
    };
    let message = message(class, &error);
    let param = error.param.filter(|_| speaks_of_the_request(class));
    Failure {
        param,
        retry_after,
        upstream_status: Some(status),
        ..Failure::new(class, message)
    }
}

/// The status that an in-band error's words stand for.
fn status_of(error: &UpstreamError) -> Option<u16> {
    let word = if error.kind.is_empty() {
        error.code.as_str()
    } else {
        error.kind.as_str()
    };
    let status = match word {
        "overloaded_error" => 529,
        "rate_limit_error" | "rate_limit_exceeded" | "RESOURCE_EXHAUSTED" | "requests" | "tokens" => 429,
        "authentication_error" | "UNAUTHENTICATED" => 401,
        "permission_error" | "PERMISSION_DENIED" => 403,
        "not_found_error" | "NOT_FOUND" => 404,
        "request_too_large" => 413,
        "invalid_request_error" | "INVALID_ARGUMENT" | "FAILED_PRECONDITION" | "invalid_prompt" => 400,
        "timeout_error" | "DEADLINE_EXCEEDED" => 504,
        "UNAVAILABLE" | "service_unavailable_error" | "server_is_overloaded" => 503,
        "api_error" | "server_error" | "INTERNAL" => 500,
        _ => return None,
    };
    Some(status)
}

const QUOTA_CODES: &[&str] = &[
    "insufficient_quota",
    "credit_balance_exhausted",
    "organization_spend_limit_exceeded",
    "project_spend_limit_exceeded",
    "organization_usage_limit_exceeded",
    "billing_hard_limit_reached",
];
const BILLING_WORDS: &[&str] = &[
    "credit balance",
    "enforced_spend_limit_reached",
    "ramp_limit_exceeded",
    "contract_spend_limit_reached",
    "billing",
];
const OVERFLOW_WORDS: &[&str] = &[
    "prompt is too long",
    "maximum context length",
    "context_length_exceeded",
    "context window",
    "input token count",
    "too many tokens",
    "exceeds the maximum number of tokens",
];
const POLICY_CODES: &[&str] = &["content_policy_violation", "content_filter", "invalid_prompt"];

fn classify(status: u16, error: &UpstreamError) -> FailureClass {
    use FailureClass as C;
    let lower = format!(
        "{} {} {} {}",
        error.message, error.code, error.kind, error.details
    )
    .to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let code = |codes: &[&str]| codes.contains(&error.code.as_str()) || codes.contains(&error.kind.as_str());
    match status {
        400 | 429 if code(QUOTA_CODES) => C::QuotaExhausted,
        429 if says(&["perday", "daily", "limit: 0", "quota_exhausted"]) => C::QuotaExhausted,
        429 if says(&["model_capacity_exhausted"]) => C::Overloaded,
        400 if says(&["api_key_invalid", "api key not valid"]) => C::UpstreamAuth,
        400 if says(BILLING_WORDS) => C::UpstreamBilling,
        400 | 413 if says(OVERFLOW_WORDS) => C::ContextOverflow,
        400 if code(POLICY_CODES) => C::ContentBlocked,
        400 => C::InvalidRequest,
        401 => C::UpstreamAuth,
        402 => C::UpstreamBilling,
        403 if says(BILLING_WORDS) => C::UpstreamBilling,
        403 => C::UpstreamAuth,
        404 if says(&["model", "deploymentnotfound"]) || error.kind == "NOT_FOUND" => C::ModelNotFound,
        404 => C::NotFound,
        408 | 504 | 522 | 524 => C::Timeout,
        409 => C::Conflict,
        413 => C::TooLarge,
        415 => C::UnsupportedMedia,
        422 => C::Unprocessable,
        429 => C::RateLimited,
        499 => C::Cancelled,
        503 | 529 => C::Overloaded,
        500 => C::ServerError,
        501 => C::NotImplemented,
        405..=499 => C::InvalidRequest,
        _ => C::UpstreamBad,
    }
}

fn speaks_of_the_request(class: FailureClass) -> bool {
    use FailureClass as C;
    matches!(
        class,
        C::InvalidRequest
            | C::ContextOverflow
            | C::ContentBlocked
            | C::ModelNotFound
            | C::NotFound
            | C::TooLarge
            | C::Unprocessable
            | C::Conflict
            | C::UnsupportedMedia
    )
}

/// The upstream's words where they are about the request; our own where they could name accounts, addresses or keys.
fn message(class: FailureClass, error: &UpstreamError) -> Cow<'static, str> {
    use FailureClass as C;
    if speaks_of_the_request(class) && !error.message.is_empty() {
        return error.message.chars().take(MAX_MESSAGE).collect::<String>().into();
    }
    Cow::Borrowed(match class {
        C::RateLimited => "The provider's rate limit is reached.",
        C::QuotaExhausted => "The provider account's quota is used up.",
        C::Overloaded => "The provider is overloaded.",
        C::Timeout => "The provider did not answer in time.",
        C::UpstreamAuth => "The gateway's credential was refused by the provider.",
        C::UpstreamBilling => "The gateway's account at the provider has a billing problem.",
        C::Auth => "The provider refused the credential.",
        C::Permission => "The provider denied permission.",
        C::Billing => "The provider refused the request for billing reasons.",
        C::ServerError => "The provider had an internal error.",
        C::UpstreamBad => "The provider's answer could not be used.",
        C::NotImplemented => "The provider does not offer this.",
        C::Cancelled => "The provider cancelled the request.",
        _ => "The provider refused the request.",
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Format;

    fn class(status: u16, body: &str) -> FailureClass {
        from_upstream(Some(status), &|_| None, body.as_bytes(), true).class
    }

    #[test]
    fn errors_of_every_shape_are_read() {
        for body in [
            r#"{"error":{"message":"boom","type":"x"}}"#,
            r#"{"error":"boom"}"#,
            r#"{"type":"error","error":{"type":"x","message":"boom"}}"#,
            r#"[{"error":{"code":400,"message":"boom","status":"INVALID_ARGUMENT"}}]"#,
            r#"{"object":"error","message":"boom"}"#,
            r#"{"detail":"boom"}"#,
            r#"{"code":400,"message":"boom"}"#,
        ] {
            assert_eq!(
                document(body).map(|error| error.message).as_deref(),
                Some("boom"),
                "{body}"
            );
        }
        assert_eq!(document(r#"{"id":"x","choices":[],"message":"no"}"#), None);
        assert_eq!(document("<html>"), None);
    }

    #[test]
    fn classes_follow_status_code_and_words() {
        use FailureClass as C;
        assert_eq!(
            class(429, r#"{"error":{"message":"m","code":"insufficient_quota"}}"#),
            C::QuotaExhausted
        );
        assert_eq!(class(429, "{}"), C::RateLimited);
        assert_eq!(class(529, "{}"), C::Overloaded);
        assert_eq!(
            class(
                400,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 9 tokens > 8 maximum"}}"#
            ),
            C::ContextOverflow
        );
        assert_eq!(class(401, "{}"), C::UpstreamAuth);
        assert_eq!(class(524, "<html>"), C::Timeout);
        assert_eq!(
            class(
                200,
                r#"{"type":"error","error":{"type":"overloaded_error","message":"m"}}"#
            ),
            C::Overloaded
        );
        assert_eq!(from_upstream(Some(401), &|_| None, b"{}", false).class, C::Auth);
    }

    #[test]
    fn waits_come_from_headers_details_and_words() {
        let wait = |name: &'static str, value: &'static str, body: &str| {
            from_upstream(
                Some(429),
                &|asked| (asked == name).then(|| value.to_owned()),
                body.as_bytes(),
                true,
            )
            .retry_after
        };
        assert_eq!(
            wait("retry-after-ms", "1500", "{}"),
            Some(Duration::from_millis(1500))
        );
        assert_eq!(wait("retry-after", "34", "{}"), Some(Duration::from_secs(34)));
        assert_eq!(wait("retry-after", "-5", "{}"), None);
        assert_eq!(
            wait(
                "x",
                "",
                r#"{"error":{"code":429,"message":"m","details":[{"retryDelay":"34s"}]}}"#
            ),
            Some(Duration::from_secs(34))
        );
        assert_eq!(
            wait("x", "", r#"{"error":{"message":"Please try again in 1.2s."}}"#),
            Some(Duration::from_millis(1200))
        );
    }

    #[test]
    fn every_class_has_a_row_and_long_waits_are_no_retry() {
        let mut failure = Failure::new(FailureClass::RateLimited, "m");
        failure.retry_after = Some(Duration::from_secs(86_400));
        assert!(!failure.should_retry());
        assert_eq!(failure.retry_after_seconds(), Some(86_400));
        failure.retry_after = Some(Duration::from_millis(1500));
        assert_eq!(
            (failure.should_retry(), failure.retry_after_seconds()),
            (true, Some(2))
        );
        assert_eq!(
            Failure::new(FailureClass::Overloaded, "m").status(Format::Messages),
            529
        );
        let body = String::from_utf8(failure.body(Format::Gemini, "req_1")).unwrap();
        assert!(
            body.contains("Please retry in 2s.") && body.contains("\"retryDelay\":\"2s\""),
            "{body}"
        );
    }
}
