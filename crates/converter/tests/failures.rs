//! The failure table of wire.md 6.2, row by row in all four formats, and how upstream errors find their class.

#![expect(clippy::unwrap_used, reason = "tests may")]

use std::time::Duration;

use ai_api_converter::failure::from_upstream;
use ai_api_converter::{Failure, FailureClass, Format};
use serde_json::{Value, json};

use FailureClass as C;

/// class; OpenAI status, type, code; Anthropic status, type; Gemini code, status; retry.
type Row = (
    C,
    (u16, &'static str, Option<&'static str>),
    (u16, &'static str),
    (u16, &'static str),
    bool,
);

const INVALID: &str = "invalid_request_error";
const ARGUMENT: &str = "INVALID_ARGUMENT";
const EXHAUSTED: &str = "RESOURCE_EXHAUSTED";

const TABLE: &[Row] = &[
    (
        C::InvalidRequest,
        (400, INVALID, None),
        (400, INVALID),
        (400, ARGUMENT),
        false,
    ),
    (
        C::Unsupported,
        (400, INVALID, Some("unsupported_parameter")),
        (400, INVALID),
        (400, ARGUMENT),
        false,
    ),
    (
        C::ContextOverflow,
        (400, INVALID, Some("context_length_exceeded")),
        (400, INVALID),
        (400, ARGUMENT),
        false,
    ),
    (
        C::ContentBlocked,
        (400, INVALID, Some("content_policy_violation")),
        (400, INVALID),
        (400, ARGUMENT),
        false,
    ),
    (
        C::Auth,
        (401, INVALID, Some("invalid_api_key")),
        (401, "authentication_error"),
        (400, ARGUMENT),
        false,
    ),
    (
        C::Billing,
        (429, "insufficient_quota", Some("insufficient_quota")),
        (402, "billing_error"),
        (429, "RESOURCE_EXHAUSTED"),
        false,
    ),
    (
        C::Permission,
        (403, INVALID, Some("permission_denied")),
        (403, "permission_error"),
        (403, "PERMISSION_DENIED"),
        false,
    ),
    (
        C::ModelNotFound,
        (404, INVALID, Some("model_not_found")),
        (404, "not_found_error"),
        (404, "NOT_FOUND"),
        false,
    ),
    (
        C::NotFound,
        (404, INVALID, None),
        (404, "not_found_error"),
        (404, "NOT_FOUND"),
        false,
    ),
    (
        C::MethodNotAllowed,
        (405, INVALID, None),
        (405, INVALID),
        (400, ARGUMENT),
        false,
    ),
    (
        C::Conflict,
        (409, INVALID, None),
        (409, "conflict_error"),
        (409, "ABORTED"),
        true,
    ),
    (
        C::TooLarge,
        (413, INVALID, Some("request_too_large")),
        (413, "request_too_large"),
        (413, ARGUMENT),
        false,
    ),
    (
        C::UnsupportedMedia,
        (415, INVALID, None),
        (415, INVALID),
        (415, ARGUMENT),
        false,
    ),
    (
        C::Unprocessable,
        (422, INVALID, None),
        (400, INVALID),
        (400, ARGUMENT),
        false,
    ),
    (
        C::RateLimited,
        (429, "requests", Some("rate_limit_exceeded")),
        (429, "rate_limit_error"),
        (429, "RESOURCE_EXHAUSTED"),
        true,
    ),
    (
        C::QuotaExhausted,
        (429, "insufficient_quota", Some("insufficient_quota")),
        (429, "rate_limit_error"),
        (429, "RESOURCE_EXHAUSTED"),
        false,
    ),
    (
        C::Overloaded,
        (503, "service_unavailable_error", Some("server_is_overloaded")),
        (529, "overloaded_error"),
        (503, "UNAVAILABLE"),
        true,
    ),
    (
        C::ServerError,
        (500, "server_error", Some("server_error")),
        (500, "api_error"),
        (500, "INTERNAL"),
        true,
    ),
    (
        C::UpstreamBad,
        (502, "server_error", Some("upstream_error")),
        (502, "api_error"),
        (503, "UNAVAILABLE"),
        true,
    ),
    (
        C::UpstreamAuth,
        (502, "server_error", Some("upstream_auth_error")),
        (502, "api_error"),
        (503, "UNAVAILABLE"),
        false,
    ),
    (
        C::UpstreamBilling,
        (503, "server_error", Some("upstream_quota_error")),
        (503, "api_error"),
        (503, "UNAVAILABLE"),
        false,
    ),
    (
        C::Timeout,
        (504, "server_error", Some("timeout")),
        (504, "timeout_error"),
        (504, "DEADLINE_EXCEEDED"),
        true,
    ),
    (
        C::ClientTimeout,
        (408, INVALID, None),
        (408, INVALID),
        (504, "DEADLINE_EXCEEDED"),
        true,
    ),
    (
        C::NoChannel,
        (503, "service_unavailable_error", Some("no_available_channel")),
        (529, "overloaded_error"),
        (503, "UNAVAILABLE"),
        true,
    ),
    (
        C::NotImplemented,
        (501, INVALID, Some("not_implemented")),
        (400, INVALID),
        (501, "UNIMPLEMENTED"),
        false,
    ),
];

fn body(failure: &Failure, format: Format) -> Value {
    serde_json::from_slice(&failure.body(format, "req_1")).unwrap()
}

#[test]
fn every_row_holds_in_every_format() {
    for (class, openai, anthropic, gemini, retry) in TABLE {
        let failure = Failure::new(*class, "boom");
        assert_eq!(failure.should_retry(), *retry, "{class:?}");
        for format in [Format::Chat, Format::Responses] {
            let error = &body(&failure, format)["error"];
            assert_eq!(failure.status(format), openai.0, "{class:?}");
            assert_eq!(
                (error["type"].as_str(), error["code"].as_str()),
                (Some(openai.1), openai.2),
                "{class:?}"
            );
            assert!(
                error["param"].is_null() && error["message"].is_string(),
                "{class:?}"
            );
        }
        let error = body(&failure, Format::Messages);
        assert_eq!(
            (failure.status(Format::Messages), error["error"]["type"].as_str()),
            (anthropic.0, Some(anthropic.1))
        );
        assert_eq!(
            (&error["type"], &error["request_id"]),
            (&json!("error"), &json!("req_1"))
        );
        let error = &body(&failure, Format::Gemini)["error"];
        assert_eq!(
            (failure.status(Format::Gemini), error["status"].as_str()),
            (gemini.0, Some(gemini.1)),
            "{class:?}"
        );
        assert_eq!(error["code"], gemini.0, "{class:?}");
        assert!(error["details"].is_array());
    }
}

#[test]
fn waits_are_told_in_every_language() {
    let mut failure = Failure::new(C::RateLimited, "Slow down.");
    failure.retry_after = Some(Duration::from_millis(33_200));
    assert_eq!(
        (failure.retry_after_seconds(), failure.should_retry()),
        (Some(34), true)
    );
    let gemini = &body(&failure, Format::Gemini)["error"];
    assert_eq!(gemini["message"], "Slow down. Please retry in 34s.");
    assert_eq!(gemini["details"][0]["retryDelay"], "34s");
    failure.retry_after = Some(Duration::from_secs(86_400));
    assert_eq!(
        (failure.retry_after_seconds(), failure.should_retry()),
        (Some(86_400), false)
    );
    assert_eq!(body(&failure, Format::Gemini)["error"]["message"], "Slow down.");
    let defaults = [
        (C::Overloaded, Some(2)),
        (C::NoChannel, Some(2)),
        (C::ServerError, None),
        (C::InvalidRequest, None),
    ];
    for (class, seconds) in defaults {
        assert_eq!(
            Failure::new(class, "m").retry_after_seconds(),
            seconds,
            "{class:?}"
        );
    }
}

#[test]
fn gemini_clients_get_the_details_that_they_look_for() {
    let detail = |failure: &Failure, at: usize| body(failure, Format::Gemini)["error"]["details"][at].clone();
    let auth = detail(&Failure::new(C::Auth, "m"), 0);
    assert_eq!(
        (&auth["reason"], &auth["@type"]),
        (
            &json!("API_KEY_INVALID"),
            &json!("type.googleapis.com/google.rpc.ErrorInfo")
        )
    );
    for class in [C::Billing, C::QuotaExhausted] {
        let quota = detail(&Failure::new(class, "m"), 0);
        assert!(
            quota["violations"][0]["quotaId"]
                .as_str()
                .unwrap()
                .contains("PerDay"),
            "{quota}"
        );
    }
    let mut failure = Failure::new(C::Unsupported, "m");
    failure.param = Some("logit_bias".into());
    assert_eq!(detail(&failure, 0)["fieldViolations"][0]["field"], "logit_bias");
    assert_eq!(body(&failure, Format::Chat)["error"]["param"], "logit_bias");
}

fn class(status: u16, body: &str) -> C {
    from_upstream(Some(status), &|_| None, body.as_bytes(), true).class
}

fn openai(code: &str, message: &str) -> String {
    json!({"error": {"message": message, "type": INVALID, "param": null, "code": code}}).to_string()
}

fn anthropic(kind: &str, message: &str) -> String {
    json!({"type": "error", "error": {"type": kind, "message": message}}).to_string()
}

fn google(status: &str, message: &str, details: Value) -> String {
    json!({"error": {"code": 429, "message": message, "status": status, "details": details}}).to_string()
}

#[test]
fn openai_errors_find_their_class() {
    for code in [
        "insufficient_quota",
        "credit_balance_exhausted",
        "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
        "billing_hard_limit_reached",
    ] {
        for status in [400, 429] {
            assert_eq!(
                class(status, &openai(code, "m")),
                C::QuotaExhausted,
                "{code} {status}"
            );
        }
    }
    for (status, code, message, wanted) in [
        (
            429,
            "rate_limit_exceeded",
            "Rate limit reached for requests per day",
            C::RateLimited,
        ),
        (429, "slow_down", "m", C::Overloaded),
        (503, "server_is_overloaded", "m", C::Overloaded),
        (400, "context_length_exceeded", "m", C::ContextOverflow),
        (400, "content_policy_violation", "m", C::ContentBlocked),
        (400, "content_filter", "m", C::ContentBlocked),
        (
            400,
            "",
            "Invalid schema for function 'get_billing_info'",
            C::InvalidRequest,
        ),
        (404, "model_not_found", "m", C::ModelNotFound),
        (404, "DeploymentNotFound", "m", C::ModelNotFound),
        (404, "", "No such response", C::NotFound),
        (401, "invalid_api_key", "m", C::UpstreamAuth),
        (403, "unsupported_country_region_territory", "m", C::UpstreamAuth),
        (402, "", "m", C::UpstreamBilling),
        (409, "", "m", C::Conflict),
        (413, "", "m", C::TooLarge),
        (415, "", "m", C::UnsupportedMedia),
        (422, "", "m", C::Unprocessable),
        (418, "", "m", C::InvalidRequest),
        (500, "", "m", C::ServerError),
        (501, "", "m", C::NotImplemented),
        (502, "", "m", C::UpstreamBad),
        (503, "", "m", C::Overloaded),
        (504, "", "m", C::Timeout),
        (408, "", "m", C::Timeout),
    ] {
        assert_eq!(
            class(status, &openai(code, message)),
            wanted,
            "{status} {code} {message}"
        );
    }
}

#[test]
fn anthropic_errors_find_their_class() {
    for code in [
        "enforced_spend_limit_reached",
        "ramp_limit_exceeded",
        "contract_spend_limit_reached",
    ] {
        let body = json!({"type": "error", "error": {"type": INVALID, "message": "m", "details": {"error_code": code}}});
        assert_eq!(class(400, &body.to_string()), C::UpstreamBilling, "{code}");
    }
    for (status, kind, message, wanted) in [
        (
            400,
            INVALID,
            "Your credit balance is too low to access the Anthropic API.",
            C::UpstreamBilling,
        ),
        (
            400,
            INVALID,
            "prompt is too long: 9 tokens > 8 maximum",
            C::ContextOverflow,
        ),
        (
            429,
            "rate_limit_error",
            "This request would exceed your organization's rate limit of 50 requests per minute",
            C::RateLimited,
        ),
        (
            429,
            "rate_limit_error",
            "You have reached your usage limit of this usage tier",
            C::QuotaExhausted,
        ),
        (529, "overloaded_error", "Overloaded", C::Overloaded),
        (413, "request_too_large", "m", C::TooLarge),
        (404, "not_found_error", "model: claude-x", C::ModelNotFound),
        (403, "permission_error", "m", C::UpstreamAuth),
    ] {
        assert_eq!(
            class(status, &anthropic(kind, message)),
            wanted,
            "{status} {kind} {message}"
        );
    }
    let stated = |name: &str| (name == "retry-after").then(|| "5".to_owned());
    let limited = anthropic("rate_limit_error", "the unified limit");
    assert_eq!(
        from_upstream(Some(429), &stated, limited.as_bytes(), true).class,
        C::RateLimited
    );
    assert_eq!(class(429, &limited), C::QuotaExhausted);
}

#[test]
fn google_errors_find_their_class() {
    let retry = json!([{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34s"}]);
    let limited = from_upstream(
        Some(429),
        &|_| None,
        google("RESOURCE_EXHAUSTED", "m", retry).as_bytes(),
        true,
    );
    assert_eq!(
        (limited.class, limited.retry_after),
        (C::RateLimited, Some(Duration::from_secs(34)))
    );
    for (status, kind, message, details, wanted) in google_cases() {
        assert_eq!(
            class(status, &google(kind, message, details)),
            wanted,
            "{status} {kind} {message}"
        );
    }
}

fn google_cases() -> Vec<(u16, &'static str, &'static str, Value, C)> {
    let quota = |id: &str| json!([{"violations": [{"quotaId": id}]}]);
    let reason = |reason: &str| json!([{"reason": reason}]);
    let none = || json!([]);
    vec![
        (
            429,
            EXHAUSTED,
            "m",
            quota("GenerateRequestsPerDayPerProject"),
            C::QuotaExhausted,
        ),
        (
            429,
            EXHAUSTED,
            "Quota exceeded, limit: 0, model: x",
            none(),
            C::QuotaExhausted,
        ),
        (
            429,
            EXHAUSTED,
            "m",
            quota("GenerateRequestsPerMinute"),
            C::RateLimited,
        ),
        (429, EXHAUSTED, "m", reason("QUOTA_EXHAUSTED"), C::QuotaExhausted),
        (
            429,
            EXHAUSTED,
            "m",
            reason("MODEL_CAPACITY_EXHAUSTED"),
            C::Overloaded,
        ),
        (
            400,
            "FAILED_PRECONDITION",
            "User location is not supported for the API use.",
            none(),
            C::UpstreamBilling,
        ),
        (
            400,
            "FAILED_PRECONDITION",
            "Please enable billing.",
            none(),
            C::UpstreamBilling,
        ),
        (
            400,
            ARGUMENT,
            "API key not valid.",
            reason("API_KEY_INVALID"),
            C::UpstreamAuth,
        ),
        (
            403,
            "PERMISSION_DENIED",
            "m",
            reason("SERVICE_DISABLED"),
            C::UpstreamAuth,
        ),
        (
            403,
            "PERMISSION_DENIED",
            "m",
            reason("BILLING_DISABLED"),
            C::UpstreamBilling,
        ),
        (
            404,
            "NOT_FOUND",
            "models/x is not found",
            none(),
            C::ModelNotFound,
        ),
        (499, "CANCELLED", "m", none(), C::Timeout),
        (503, "UNAVAILABLE", "m", none(), C::Overloaded),
        (504, "DEADLINE_EXCEEDED", "m", none(), C::Timeout),
        (
            400,
            ARGUMENT,
            "The input token count (9) exceeds the maximum number of tokens allowed (8).",
            none(),
            C::ContextOverflow,
        ),
    ]
}

#[test]
fn overflow_is_known_in_every_dialect() {
    for message in [
        "This model's maximum context length is 8192 tokens.",
        "Input is too long for requested model.",
        "Please reduce the length of the messages or completion.",
        "the request exceeds the available context size, try increasing it",
        "Trying to keep the first 9 tokens when context the overflows.",
        "This model's maximum prompt length is 8 but the request contains 9 tokens.",
        "Your request exceeded model token limit: 8",
        "Prompt exceeds max length",
        "Range of input length should be [1, 8]",
        "too many tokens: total number of tokens in the prompt cannot exceed 8",
        "`inputs` tokens + `max_new_tokens` must be <= 8",
    ] {
        assert_eq!(class(400, &openai("", message)), C::ContextOverflow, "{message}");
    }
}

#[test]
fn pages_of_proxies_are_never_shown() {
    for (status, wanted) in [
        (520, C::UpstreamBad),
        (521, C::UpstreamBad),
        (522, C::Timeout),
        (523, C::UpstreamBad),
        (524, C::Timeout),
        (525, C::UpstreamBad),
        (526, C::UpstreamBad),
        (527, C::UpstreamBad),
        (530, C::UpstreamBad),
        (403, C::UpstreamAuth),
        (400, C::InvalidRequest),
    ] {
        let failure = from_upstream(
            Some(status),
            &|_| None,
            b"<html><title>secret.host | 524</title></html>",
            true,
        );
        assert_eq!(failure.class, wanted, "{status}");
        assert!(
            !failure.message.contains("secret") && !failure.message.contains('<'),
            "{failure:?}"
        );
        assert_eq!(failure.upstream_status, Some(status));
    }
}

#[test]
fn in_band_errors_have_a_class_without_a_status() {
    let class = |body: &str| from_upstream(None, &|_| None, body.as_bytes(), true).class;
    for (body, wanted) in [
        (anthropic("overloaded_error", "m"), C::Overloaded),
        (anthropic("rate_limit_error", "m"), C::RateLimited),
        (anthropic("authentication_error", "m"), C::UpstreamAuth),
        (anthropic("api_error", "m"), C::ServerError),
        (anthropic("timeout_error", "m"), C::Timeout),
        (
            json!({"error": {"code": "server_is_overloaded", "message": "m"}}).to_string(),
            C::Overloaded,
        ),
        (
            json!({"error": {"code": "insufficient_quota", "message": "m"}}).to_string(),
            C::QuotaExhausted,
        ),
        (
            json!({"error": {"code": "context_length_exceeded", "message": "m"}}).to_string(),
            C::ContextOverflow,
        ),
        (
            json!({"error": {"code": "rate_limit_exceeded", "message": "m"}}).to_string(),
            C::RateLimited,
        ),
        (
            json!({"error": {"code": "hologram", "message": "m"}}).to_string(),
            C::UpstreamBad,
        ),
        (
            json!({"error": {"code": 503, "message": "m", "status": "UNAVAILABLE"}}).to_string(),
            C::Overloaded,
        ),
        (
            json!({"success": false, "error": {"message": "m", "status": 500}}).to_string(),
            C::ServerError,
        ),
        (json!({"detail": "m"}).to_string(), C::UpstreamBad),
    ] {
        assert_eq!(class(&body), wanted, "{body}");
    }
}

#[test]
fn the_clients_own_credential_is_the_clients_business() {
    for (status, wanted, shown) in [
        (401, C::Auth, 401),
        (403, C::Permission, 403),
        (402, C::Billing, 402),
    ] {
        let failure = from_upstream(Some(status), &|_| None, b"{}", false);
        assert_eq!((failure.class, failure.status(Format::Messages)), (wanted, shown));
    }
    let hidden = from_upstream(
        Some(401),
        &|_| None,
        openai("", "Incorrect API key provided: sk-abc").as_bytes(),
        true,
    );
    assert_eq!(
        (hidden.class, hidden.status(Format::Chat), hidden.should_retry()),
        (C::UpstreamAuth, 502, false)
    );
    assert!(!hidden.message.contains("sk-"));
}

#[test]
fn only_words_about_the_request_are_passed_on() {
    let said = |status: u16| {
        from_upstream(
            Some(status),
            &|_| None,
            openai("", "at acct_123 in 10.0.0.1").as_bytes(),
            true,
        )
        .message
        .into_owned()
    };
    for status in [400, 404, 409, 413, 422] {
        assert!(said(status).contains("acct_123"), "{status}");
    }
    for status in [401, 402, 403, 429, 500, 502, 503, 504, 529] {
        assert!(!said(status).contains("acct_123"), "{status}");
    }
}

#[test]
fn another_channel_is_tried_for_what_the_channel_did() {
    for (class, other) in [
        (C::RateLimited, true),
        (C::QuotaExhausted, true),
        (C::Overloaded, true),
        (C::ServerError, true),
        (C::UpstreamBad, true),
        (C::UpstreamAuth, true),
        (C::UpstreamBilling, true),
        (C::Timeout, true),
        (C::ModelNotFound, true),
        (C::InvalidRequest, false),
        (C::ContextOverflow, false),
        (C::ContentBlocked, false),
        (C::Auth, false),
        (C::Cancelled, false),
    ] {
        assert_eq!(Failure::new(class, "m").is_channels_fault(), other, "{class:?}");
    }
}

#[test]
fn a_limit_of_tokens_keeps_its_type() {
    let body = |kind: &str| {
        let upstream =
            json!({"error": {"type": kind, "code": "rate_limit_exceeded", "message": "m"}}).to_string();
        let failure = from_upstream(Some(429), &|_| None, upstream.as_bytes(), true);
        serde_json::from_slice::<Value>(&failure.body(Format::Chat, "id")).unwrap()
    };
    assert_eq!(body("tokens")["error"]["type"], "tokens");
    assert_eq!(body("requests")["error"]["type"], "requests");
    assert_eq!(body("")["error"]["type"], "requests");
}
