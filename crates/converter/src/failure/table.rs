//! Status, type and code of every class in every format: the table of wire.md 6.2.

use super::FailureClass;

/// Status, type and code of a class in each format (wire.md 6.2).
pub(super) struct Row {
    class: FailureClass,
    /// Status, type, code (empty: null).
    pub(super) openai: (u16, &'static str, &'static str),
    /// Status, type.
    pub(super) anthropic: (u16, &'static str),
    /// Code, status.
    pub(super) gemini: (u16, &'static str),
    /// May the client's SDK usefully try again?
    pub(super) retry: bool,
}

const fn line(
    class: FailureClass,
    openai: (u16, &'static str, &'static str),
    anthropic: (u16, &'static str),
    gemini: (u16, &'static str),
    retry: bool,
) -> Row {
    Row {
        class,
        openai,
        anthropic,
        gemini,
        retry,
    }
}

const INVALID: &str = "invalid_request_error";
const SERVER: &str = "server_error";

const TABLE: &[Row] = &[
    line(
        FailureClass::ServerError,
        (500, SERVER, "server_error"),
        (500, "api_error"),
        (500, "INTERNAL"),
        true,
    ),
    line(
        FailureClass::InvalidRequest,
        (400, INVALID, ""),
        (400, INVALID),
        (400, "INVALID_ARGUMENT"),
        false,
    ),
    line(
        FailureClass::Unsupported,
        (400, INVALID, "unsupported_parameter"),
        (400, INVALID),
        (400, "INVALID_ARGUMENT"),
        false,
    ),
    line(
        FailureClass::ContextOverflow,
        (400, INVALID, "context_length_exceeded"),
        (400, INVALID),
        (400, "INVALID_ARGUMENT"),
        false,
    ),
    line(
        FailureClass::ContentBlocked,
        (400, INVALID, "content_policy_violation"),
        (400, INVALID),
        (400, "INVALID_ARGUMENT"),
        false,
    ),
    line(
        FailureClass::Auth,
        (401, INVALID, "invalid_api_key"),
        (401, "authentication_error"),
        (400, "INVALID_ARGUMENT"),
        false,
    ),
    line(
        FailureClass::Billing,
        (429, "insufficient_quota", "insufficient_quota"),
        (402, "billing_error"),
        (429, "RESOURCE_EXHAUSTED"),
        false,
    ),
    line(
        FailureClass::Permission,
        (403, INVALID, "permission_denied"),
        (403, "permission_error"),
        (403, "PERMISSION_DENIED"),
        false,
    ),
    line(
        FailureClass::ModelNotFound,
        (404, INVALID, "model_not_found"),
        (404, "not_found_error"),
        (404, "NOT_FOUND"),
        false,
    ),
    line(
        FailureClass::NotFound,
        (404, INVALID, ""),
        (404, "not_found_error"),
        (404, "NOT_FOUND"),
        false,
    ),
    line(
        FailureClass::MethodNotAllowed,
        (405, INVALID, ""),
        (405, INVALID),
        (400, "INVALID_ARGUMENT"),
        false,
    ),
    line(
        FailureClass::Conflict,
        (409, INVALID, ""),
        (409, "conflict_error"),
        (409, "ABORTED"),
        true,
    ),
    line(
        FailureClass::TooLarge,
        (413, INVALID, "request_too_large"),
        (413, "request_too_large"),
        (413, "INVALID_ARGUMENT"),
        false,
    ),
    line(
        FailureClass::UnsupportedMedia,
        (415, INVALID, ""),
        (415, INVALID),
        (415, "INVALID_ARGUMENT"),
        false,
    ),
    line(
        FailureClass::Unprocessable,
        (422, INVALID, ""),
        (400, INVALID),
        (400, "INVALID_ARGUMENT"),
        false,
    ),
    line(
        FailureClass::RateLimited,
        (429, "requests", "rate_limit_exceeded"),
        (429, "rate_limit_error"),
        (429, "RESOURCE_EXHAUSTED"),
        true,
    ),
    line(
        FailureClass::QuotaExhausted,
        (429, "insufficient_quota", "insufficient_quota"),
        (429, "rate_limit_error"),
        (429, "RESOURCE_EXHAUSTED"),
        false,
    ),
    line(
        FailureClass::Overloaded,
        (503, "service_unavailable_error", "server_is_overloaded"),
        (529, "overloaded_error"),
        (503, "UNAVAILABLE"),
        true,
    ),
    line(
        FailureClass::UpstreamBad,
        (502, SERVER, "upstream_error"),
        (502, "api_error"),
        (503, "UNAVAILABLE"),
        true,
    ),
    line(
        FailureClass::UpstreamAuth,
        (502, SERVER, "upstream_auth_error"),
        (502, "api_error"),
        (503, "UNAVAILABLE"),
        false,
    ),
    line(
        FailureClass::UpstreamBilling,
        (503, SERVER, "upstream_quota_error"),
        (503, "api_error"),
        (503, "UNAVAILABLE"),
        false,
    ),
    line(
        FailureClass::Timeout,
        (504, SERVER, "timeout"),
        (504, "timeout_error"),
        (504, "DEADLINE_EXCEEDED"),
        true,
    ),
    line(
        FailureClass::ClientTimeout,
        (408, INVALID, ""),
        (408, INVALID),
        (504, "DEADLINE_EXCEEDED"),
        true,
    ),
    line(
        FailureClass::NoChannel,
        (503, "service_unavailable_error", "no_available_channel"),
        (529, "overloaded_error"),
        (503, "UNAVAILABLE"),
        true,
    ),
    line(
        FailureClass::NotImplemented,
        (501, INVALID, "not_implemented"),
        (400, INVALID),
        (501, "UNIMPLEMENTED"),
        false,
    ),
    line(
        FailureClass::Cancelled,
        (499, INVALID, ""),
        (499, INVALID),
        (499, "CANCELLED"),
        false,
    ),
];

/// The row of a class.
pub(super) fn row(class: FailureClass) -> &'static Row {
    const FIRST: &Row = &line(
        FailureClass::ServerError,
        (500, SERVER, "server_error"),
        (500, "api_error"),
        (500, "INTERNAL"),
        true,
    );
    TABLE.iter().find(|row| row.class == class).unwrap_or(FIRST)
}
