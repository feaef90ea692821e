//! Requests that get no upstream, and the words for it.

use ai_api_converter::{Failure, FailureClass};
use opm_routing::NoRoute;

use crate::stage::path::Unrecognized;

pub(crate) fn unrecognized(error: &Unrecognized) -> Failure {
    match error {
        Unrecognized::NotFound(_) => Failure::new(
            FailureClass::NotFound,
            "Unknown path. Known are /v1/chat/completions, /v1/responses, /v1/messages, /v1beta/models/MODEL:generateContent and /v1/models.",
        ),
        Unrecognized::Method(wanted, _) => Failure::new(
            FailureClass::MethodNotAllowed,
            format!("This path is served with {wanted}."),
        ),
        Unrecognized::Invalid => Failure::new(FailureClass::InvalidRequest, "The path is malformed."),
    }
}

/// Nobody serves the request.
pub(crate) fn no_route(error: &NoRoute, model: &str) -> Failure {
    let model: String = model.chars().take(120).collect();
    match error {
        NoRoute::UnknownModel => Failure {
            param: Some("model".into()),
            ..Failure::new(
                FailureClass::ModelNotFound,
                format!("No channel serves the model `{model}`; GET /v1/models lists what is served."),
            )
        },
        NoRoute::ModelNotAllowed => Failure::new(
            FailureClass::Permission,
            format!("This key may not use the model `{model}`."),
        ),
        NoRoute::OtherApi => Failure::new(
            FailureClass::NotImplemented,
            format!("No channel offers this API for the model `{model}`."),
        ),
        NoRoute::SwitchedOff => Failure::new(
            FailureClass::NoChannel,
            format!("The channels of the model `{model}` are switched off."),
        ),
    }
}

/// The failure that tells the caller most: the last about the request itself, else a rate limit (of several the one that ends
/// first), else the first about an upstream.
pub(crate) fn more_telling(before: Option<Failure>, now: Failure) -> Failure {
    let limited = |failure: &Failure| failure.class == FailureClass::RateLimited;
    match before {
        Some(before) if limited(&before) && limited(&now) => {
            let sooner = now.retry_after.unwrap_or_default() < before.retry_after.unwrap_or_default();
            if sooner { now } else { before }
        }
        Some(before) if now.is_channels_fault() && (limited(&before) || !limited(&now)) => before,
        _ => now,
    }
}
