//! What the client of each format is told when something fails, and what an upstream's error means (wire.md section 6).

use std::borrow::Cow;
use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::format::Format;
use crate::json::Writer;

mod upstream;

pub use upstream::{UpstreamError, document, from_upstream};

/// The canonical classes of failure (wire.md 6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureClass {
    /// The request is wrong.
    InvalidRequest,
    /// A member cannot be carried to the upstream's format.
    Unsupported,
    /// The prompt is longer than the model's context.
    ContextOverflow,
    /// The provider's content policy refused the prompt.
    ContentBlocked,
    /// The client's credential is missing or wrong.
    Auth,
    /// The client's budget at the gateway is used up.
    Billing,
    /// The client may not do this.
    Permission,
    /// No such model.
    ModelNotFound,
    /// No such path or object.
    NotFound,
    /// Wrong method.
    MethodNotAllowed,
    /// Conflict.
    Conflict,
    /// The body is too large.
    TooLarge,
    /// The body's type or coding is not understood.
    UnsupportedMedia,
    /// Well formed but not processable.
    Unprocessable,
    /// Too many requests or tokens.
    RateLimited,
    /// The upstream account used up its period.
    QuotaExhausted,
    /// The upstream is overloaded.
    Overloaded,
    /// The upstream or the gateway broke.
    ServerError,
    /// The upstream's answer is unreadable, empty or cut.
    UpstreamBad,
    /// The upstream refused the channel's credential.
    UpstreamAuth,
    /// The upstream account has a billing problem.
    UpstreamBilling,
    /// The upstream took too long.
    Timeout,
    /// The client took too long to send its request.
    ClientTimeout,
    /// No channel can serve now.
    NoChannel,
    /// Not built.
    NotImplemented,
    /// The client left.
    Cancelled,
}

impl FailureClass {
    /// Its word in metrics, logs and the admin API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            FailureClass::InvalidRequest => "invalid_request",
            FailureClass::Unsupported => "unsupported",
            FailureClass::ContextOverflow => "context_overflow",
            FailureClass::ContentBlocked => "content_blocked",
            FailureClass::Auth => "auth",
            FailureClass::Billing => "billing",
            FailureClass::Permission => "permission",
            FailureClass::ModelNotFound => "model_not_found",
            FailureClass::NotFound => "not_found",
            FailureClass::MethodNotAllowed => "method_not_allowed",
            FailureClass::Conflict => "conflict",
            FailureClass::TooLarge => "too_large",
            FailureClass::UnsupportedMedia => "unsupported_media",
            FailureClass::Unprocessable => "unprocessable",
            FailureClass::RateLimited => "rate_limited",
            FailureClass::QuotaExhausted => "quota_exhausted",
            FailureClass::Overloaded => "overloaded",
            FailureClass::ServerError => "server_error",
            FailureClass::UpstreamBad => "upstream_bad",
            FailureClass::UpstreamAuth => "upstream_auth",
            FailureClass::UpstreamBilling => "upstream_billing",
            FailureClass::Timeout => "timeout",
            FailureClass::ClientTimeout => "client_timeout",
            FailureClass::NoChannel => "no_channel",
            FailureClass::NotImplemented => "not_implemented",
            FailureClass::Cancelled => "cancelled",
        }
    }
}

/// A failure on its way to the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Its class: status, type and code of each format follow from it.
    pub class: FailureClass,
    /// The sentence for the client. Never holds a key, an address or an internal name.
    pub message: Cow<'static, str>,
    /// The member it is about: path in the client's spelling or a JSON pointer.
    pub param: Option<String>,
    /// A code that is finer than the class's (`empty_response`, `upstream_truncated`).
    pub code: Option<&'static str>,
    /// How long to wait before trying again.
    pub retry_after: Option<Duration>,
    /// HTTP status that the upstream sent, for the log.
    pub upstream_status: Option<u16>,
}

impl Failure {
    /// A failure of this class.
    pub fn new(class: FailureClass, message: impl Into<Cow<'static, str>>) -> Self {
        Failure {
            class,
            message: message.into(),
            param: None,
            code: None,
            retry_after: None,
            upstream_status: None,
        }
    }
}

impl From<Error> for Failure {
    /// A converter error as the client's mistake.
    fn from(error: Error) -> Self {
        let class = match error.kind() {
            ErrorKind::Unsupported => FailureClass::Unsupported,
            ErrorKind::Syntax | ErrorKind::Invalid | ErrorKind::Missing | ErrorKind::TooDeep => {
                FailureClass::InvalidRequest
            }
        };
        let param = (!error.pointer().is_empty()).then(|| error.pointer().to_owned());
        Failure {
            param,
            ..Failure::new(class, error.to_string())
        }
    }
}

impl Failure {
    /// HTTP status in a format.
    #[must_use]
    pub fn status(&self, format: Format) -> u16 {
        let row = row(self.class);
        match format {
            Format::Chat | Format::Responses => row.openai.0,
            Format::Messages => row.anthropic.0,
            Format::Gemini => row.gemini.0,
        }
    }

    /// May the client's SDK usefully try again? Long waits are not worth an SDK's sleep (wire.md 6.3).
    #[must_use]
    pub fn should_retry(&self) -> bool {
        row(self.class).retry && self.retry_after.is_none_or(|wait| wait <= MAX_WAIT)
    }

    /// Seconds for `retry-after`, rounded up.
    #[must_use]
    pub fn retry_after_seconds(&self) -> Option<u64> {
        let wait = self.retry_after.or_else(|| {
            let default = row(self.class).retry.then_some(2);
            default
                .filter(|_| {
                    matches!(
                        self.class,
                        FailureClass::Overloaded | FailureClass::RateLimited | FailureClass::NoChannel
                    )
                })
                .map(Duration::from_secs)
        })?;
        Some(wait.as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX))
    }

    /// May another channel do better? For failures of the request itself it may not.
    #[must_use]
    pub fn is_channels_fault(&self) -> bool {
        use FailureClass as C;
        matches!(
            self.class,
            C::RateLimited
                | C::QuotaExhausted
                | C::Overloaded
                | C::ServerError
                | C::UpstreamBad
                | C::UpstreamAuth
                | C::UpstreamBilling
                | C::Timeout
                | C::ModelNotFound
        )
    }

    /// The error body of a format.
    #[must_use]
    pub fn body(&self, format: Format, request_id: &str) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        let mut w = Writer::line(&mut out);
        self.write(&mut w, format, request_id);
        out
    }

    /// Writes the error document of a format: HTTP body and in-stream error alike.
    pub(crate) fn write(&self, w: &mut Writer<'_>, format: Format, request_id: &str) {
        match format {
            Format::Chat | Format::Responses => w.object(|w| {
                w.key("error").object(|w| {
                    let (_, kind, code) = row(self.class).openai;
                    w.key("message").str(&self.message);
                    w.key("type").str(kind);
                    match &self.param {
                        Some(param) => w.key("param").str(param),
                        None => w.key("param").null(),
                    }
                    match self.code.or((!code.is_empty()).then_some(code)) {
                        Some(code) => w.key("code").str(code),
                        None => w.key("code").null(),
                    }
                });
            }),
            Format::Messages => w.object(|w| {
                w.key("type").str("error");
                w.key("error").object(|w| {
                    w.key("type").str(row(self.class).anthropic.1);
                    w.key("message").str(&self.message);
                });
                w.key("request_id").str(request_id);
            }),
            Format::Gemini => w.object(|w| w.key("error").object(|w| self.gemini(w))),
        }
    }

    fn gemini(&self, w: &mut Writer<'_>) {
        let (code, status) = row(self.class).gemini;
        w.key("code").u64(u64::from(code));
        let wait = self.retry_after_seconds();
        match wait.filter(|_| self.should_retry()) {
            Some(seconds) => w
                .key("message")
                .str(&format!("{} Please retry in {seconds}s.", self.message)),
            None => w.key("message").str(&self.message),
        }
        w.key("status").str(status);
        w.key("details").array(|w| {
            if let Some(seconds) = wait {
                w.item().object(|w| {
                    w.key("@type").str("type.googleapis.com/google.rpc.RetryInfo");
                    w.key("retryDelay").str(&format!("{seconds}s"));
                });
            }
            if self.class == FailureClass::Auth {
                w.item().object(|w| {
                    w.key("@type").str("type.googleapis.com/google.rpc.ErrorInfo");
                    w.key("reason").str("API_KEY_INVALID");
                    w.key("domain").str("googleapis.com");
                });
            }
            if let Some(param) = &self.param {
                w.item().object(|w| {
                    w.key("@type").str("type.googleapis.com/google.rpc.BadRequest");
                    w.key("fieldViolations").array(|w| {
                        w.item().object(|w| {
                            w.key("field").str(param);
                            w.key("description").str(&self.message);
                        });
                    });
                });
            }
        });
    }

    /// `response.error` of a failed Responses stream: a code from the list that Codex and the SDKs know.
    pub(crate) fn write_responses_error(&self, w: &mut Writer<'_>) {
        use FailureClass as C;
        let code = match self.class {
            C::RateLimited => "rate_limit_exceeded",
            C::Overloaded | C::NoChannel => "server_is_overloaded",
            C::ContextOverflow => "context_length_exceeded",
            C::QuotaExhausted | C::Billing | C::UpstreamBilling => "insufficient_quota",
            C::ContentBlocked => "invalid_prompt",
            _ => "server_error",
        };
        w.object(|w| {
            w.key("code").str(code);
            w.key("message").str(&self.message);
        });
    }
}

/// Waits longer than this are not offered for a retry (wire.md 6.3).
const MAX_WAIT: Duration = Duration::from_secs(60);

/// Status, type and code of a class in each format (wire.md 6.2).
struct Row {
    class: FailureClass,
    openai: (u16, &'static str, &'static str),
    anthropic: (u16, &'static str),
    gemini: (u16, &'static str),
    retry: bool,
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

fn row(class: FailureClass) -> &'static Row {
    const FIRST: &Row = &line(
        FailureClass::ServerError,
        (500, SERVER, "server_error"),
        (500, "api_error"),
        (500, "INTERNAL"),
        true,
    );
    TABLE.iter().find(|row| row.class == class).unwrap_or(FIRST)
}
