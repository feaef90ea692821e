//! What a caller is told when a limit refuses its request.

use std::sync::Arc;

use ai_api_converter::{Failure, FailureClass};
use opm_limits::{Cause, Dimension, Refused, Rule, Standing};

/// Who is refused.
#[derive(Debug)]
pub(crate) enum Denied {
    /// The request, wherever it went.
    Request(Failure),
    /// Its try at this channel; another one may take it. With how the limit stands that is reached.
    Channel(Failure, Option<Box<Standing>>),
}

impl Denied {
    /// A channel whose limits cannot count the request.
    pub(crate) fn channel(failure: Failure) -> Self {
        Denied::Channel(failure, None)
    }
}

/// A limit is reached, or cannot be checked.
pub(crate) fn reached(refused: &Refused) -> Failure {
    let (rule, seconds) = (&refused.rule, refused.retry_after.as_secs_f64());
    let standing = &refused.standing;
    let class = match (refused.cause, standing.dimension) {
        (Cause::Limit, Dimension::Money) => FailureClass::Billing,
        (Cause::Limit, _) => FailureClass::RateLimited,
        (Cause::Store, _) => FailureClass::Overloaded,
    };
    let what = match standing.dimension {
        Dimension::Tokens => format!("{} tokens", standing.limit),
        Dimension::Requests => format!("{} requests per minute", standing.limit),
        Dimension::Concurrency => format!("{} requests at a time", standing.limit),
        Dimension::Money => format!("{}", opm_ledger::PicoUsd(standing.limit)),
    };
    // «Please try again in 1.5s»: some clients read it.
    let text = match refused.cause {
        Cause::Limit => {
            format!("The limit `{rule}` of {what} is reached. Please try again in {seconds:.3}s.")
        }
        Cause::Store => format!(
            "The limit `{rule}` cannot be checked now and admits nothing unchecked. Please try again in {seconds:.3}s."
        ),
    };
    Failure {
        retry_after: Some(refused.retry_after),
        of_tokens: standing.dimension == Dimension::Tokens,
        ..Failure::new(class, text)
    }
}

/// A budget that must hold cannot count a model without a price.
pub(crate) fn unpriced(rule: &Arc<str>, model: &str) -> Failure {
    let model: String = model.chars().take(80).collect();
    let text = format!(
        "The model `{model}` has no known price, and the budget `{rule}` admits nothing it cannot count. \
         The operator can add the price under `prices:`."
    );
    Failure::new(FailureClass::Permission, text)
}

/// The prompt alone is more than the tightest of these limits ever allows.
pub(crate) fn too_small(input: u64, limit: Option<&Rule>) -> Denied {
    let limit = match limit {
        Some(rule) if rule.dimension() == Dimension::Money => {
            format!(
                "the budget `{}` of {}",
                rule.name(),
                opm_ledger::PicoUsd(rule.limit())
            )
        }
        Some(rule) => format!("the limit `{}` of {} tokens", rule.name(), rule.limit()),
        None => "the caller's limit".to_owned(),
    };
    let text = format!("The prompt of about {input} tokens is larger than {limit} ever allows.");
    Denied::Request(Failure::new(FailureClass::TooLarge, text))
}

/// The ledger is full, and the operator wants nothing served that cannot be recorded.
pub(crate) fn unrecorded() -> Failure {
    let text = "The gateway cannot record requests at the moment and was told not to serve without.";
    Failure::new(FailureClass::Overloaded, text)
}
