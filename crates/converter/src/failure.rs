//! What the client of each format is told when something fails, and what an upstream's error means (wire.md section 6).

use std::borrow::Cow;
use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::format::Format;

mod classify;
mod document;
mod table;
mod upstream;
mod wait;
mod words;
mod write;

pub use document::{UpstreamError, document};
pub use upstream::from_upstream;

use table::row;

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
    /// A rate limit counts tokens: OpenAI's `type` then says `tokens` instead of `requests`.
    pub of_tokens: bool,
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
            of_tokens: false,
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
}

/// Waits longer than this are not offered for a retry (wire.md 6.3).
const MAX_WAIT: Duration = Duration::from_secs(60);
