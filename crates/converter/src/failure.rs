//! What the client of each format is told when something fails, and what an upstream's error means (wire.md section 6).

use std::borrow::Cow;
use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::format::Format;

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

/// HTTP status of a class in a format.
#[must_use]
pub fn status(class: FailureClass, format: Format) -> u16 {
    let _ = (class, format);
    500
}
