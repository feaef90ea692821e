//! What a request asks of a rule, and what it is told.

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use crate::rule::{Dimension, Rule};
use crate::subject::Subjects;

/// One list entry per charge of a request while it is decided; eight need no allocation.
pub(crate) type PerCharge<T> = SmallVec<[T; 8]>;

/// A rule, its subject, and the amount to reserve.
#[derive(Clone, Copy, Debug)]
pub struct Charge<'a> {
    pub(crate) rule: &'a Arc<Rule>,
    pub(crate) subjects: &'a Subjects<'a>,
    pub(crate) amount: u64,
    pub(crate) least: u64,
}

impl<'a> Charge<'a> {
    /// Reserves exactly this amount (tokens, requests, pico-USD). More than the limit is clamped to it, so that small
    /// limits work; in strict mode [`crate::Reservation::allowance`] then holds the answer to what was granted.
    #[must_use]
    pub fn new(rule: &'a Arc<Rule>, subjects: &'a Subjects<'a>, amount: u64) -> Self {
        Charge {
            rule,
            subjects,
            amount,
            least: amount,
        }
    }

    /// Reserves what is left, at most `amount` and at least `least`: for a request that names no maximum, in strict
    /// mode. All charges of one dimension whose `least` is below their `amount` are granted the same.
    #[must_use]
    pub fn flexible(rule: &'a Arc<Rule>, subjects: &'a Subjects<'a>, least: u64, amount: u64) -> Self {
        Charge {
            rule,
            subjects,
            amount,
            least: least.min(amount),
        }
    }
}

/// The numbers of one rule after a decision: what `x-ratelimit-*` headers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// What is counted.
    pub dimension: Dimension,
    /// The limit (tokens, requests, pico-USD).
    pub limit: u64,
    /// What is still free.
    pub remaining: u64,
    /// After this time the whole limit is free again if nothing else happens.
    pub reset: Duration,
}

/// Why a request was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The limit is reached.
    Limit,
    /// The shared store does not answer and the rule says `deny`.
    Store,
}

/// A refused request. Nothing was charged anywhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.text())]
pub struct Refused {
    /// The rule that refuses; of several, the one that refuses longest.
    pub rule: Arc<str>,
    /// Why.
    pub cause: Cause,
    /// Waiting exactly this long is enough if nobody else takes what becomes free; a millisecond less is not.
    /// An estimate for concurrency and while the store is away.
    pub retry_after: Duration,
    /// The numbers of that rule.
    pub standing: Standing,
}

impl Refused {
    fn text(&self) -> String {
        let wait = self.retry_after.as_secs_f64();
        match self.cause {
            Cause::Limit => format!("limit {:?} is reached: try again in {wait:.3} s", self.rule),
            Cause::Store => format!(
                "limit {:?} cannot be checked now and admits nothing unchecked: try again in {wait:.3} s",
                self.rule
            ),
        }
    }
}

/// A charge in the units of its meter, clamped.
#[derive(Clone)]
pub(crate) struct Ask {
    pub(crate) rule: Arc<Rule>,
    pub(crate) key: crate::subject::Key,
    pub(crate) amount: u64,
    pub(crate) least: u64,
}

impl Ask {
    fn new(charge: &Charge<'_>, secret: &[u8; 16]) -> Self {
        let rule = charge.rule;
        let most = match rule.dimension() {
            // A request runs once.
            Dimension::Concurrency => 1,
            _ if rule.blocks() => rule.units(),
            Dimension::Tokens | Dimension::Requests | Dimension::Money => crate::rule::UNITS_MAX,
        };
        Self::up_to(most, charge, secret)
    }

    /// Of what was used before: it may be more than the limit is now.
    pub(crate) fn of_past(charge: &Charge<'_>, secret: &[u8; 16]) -> Self {
        Self::up_to(crate::rule::UNITS_MAX, charge, secret)
    }

    fn up_to(most: u64, charge: &Charge<'_>, secret: &[u8; 16]) -> Self {
        let rule = charge.rule;
        Ask {
            rule: Arc::clone(rule),
            key: crate::subject::Key::new(secret, rule, charge.subjects),
            amount: rule.dimension().units(charge.amount).min(most),
            least: rule.dimension().units(charge.least).min(most),
        }
    }

    /// The asks of a request. A request is charged once per rule and subject: of two, the larger counts.
    pub(crate) fn all(charges: &[Charge<'_>], secret: &[u8; 16]) -> PerCharge<Ask> {
        let mut asks = PerCharge::<Ask>::new();
        for charge in charges {
            let ask = Ask::new(charge, secret);
            match asks.iter_mut().find(|other| other.key == ask.key) {
                Some(other) if other.amount < ask.amount => *other = ask,
                Some(_) => {}
                None => asks.push(ask),
            }
        }
        asks
    }
}

/// Milliseconds from one instant to a later one.
pub(crate) fn until(later: u64, now: u64) -> Duration {
    Duration::from_millis(later.saturating_sub(now))
}
