//! What an upstream's error means for the client (wire.md 6.1, 6.2).

use std::borrow::Cow;

use super::classify::{classify, status_of};
use super::document::{UpstreamError, document};
use super::wait::{is_stated, wait};
use super::{Failure, FailureClass};

/// Characters of an upstream's message that are passed on.
const MAX_MESSAGE: usize = 2_000;

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
    let mut class = classify(status, &error, is_stated(header));
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
    let of_tokens = error.kind == "tokens";
    let message = message(class, &error);
    let param = error.param.filter(|_| speaks_of_the_request(class));
    Failure {
        param,
        retry_after,
        of_tokens,
        upstream_status: Some(status),
        ..Failure::new(class, message)
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
