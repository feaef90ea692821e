//! Rules: what is counted, for whom, over which span, and what happens at the limit.

use std::hash::Hasher;
use std::sync::Arc;

use siphasher::sip::SipHasher24;

use crate::meter::LEASE_MS;
use crate::period::{Bounds, Period};
use crate::subject::{SubjectKind, SubjectKinds};
use crate::window::Window;

/// What a rule counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dimension {
    /// Tokens, input and output together.
    Tokens,
    /// Requests.
    Requests,
    /// Requests that run at the same time.
    Concurrency,
    /// Pico-USD (10^-12 $). Counted in steps of 1,000, rounded up, so that both backends can do exact integer
    /// arithmetic: a request counts at most 10^-9 $ too much, never too little.
    Money,
}

impl Dimension {
    fn scale(self) -> u64 {
        match self {
            Dimension::Money => 1_000,
            Dimension::Tokens | Dimension::Requests | Dimension::Concurrency => 1,
        }
    }

    /// An amount in what the meters count.
    pub(crate) fn units(self, amount: u64) -> u64 {
        amount.div_ceil(self.scale())
    }

    /// What the meters counted, as an amount.
    pub(crate) fn amount(self, units: u64) -> u64 {
        units.saturating_mul(self.scale())
    }
}

/// The span over which a rule counts.
#[derive(Clone, Debug)]
pub enum Over {
    /// Every trailing window.
    Window(Window),
    /// Each calendar period: budgets.
    Period(Period),
    /// While the request runs: concurrency.
    Open,
}

/// What is reserved before the true cost is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// An upper bound; the caller writes [`crate::Reservation::allowance`] into the upstream request. Never over.
    Strict,
    /// The likely cost, topped up while the answer streams. Over by what running requests use beyond their estimate.
    Estimate,
}

/// What happens while the shared store does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// Each instance admits its share of the limit.
    Local,
    /// Nothing is admitted.
    Deny,
    /// Everything is admitted, and counted when the store is back.
    Allow,
}

/// What happens at the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtLimit {
    /// The request is refused.
    Block,
    /// It is counted and admitted; the thresholds are reported.
    Warn,
}

/// A limit. Its name is what `rate_limit_exceeded_total{limit}` and error texts show, and with dimension, subjects and
/// span it is the rule's identity: changing only the limit keeps what has been counted.
#[derive(Clone, Debug)]
pub struct Rule {
    name: Arc<str>,
    dimension: Dimension,
    over: Over,
    by: SubjectKinds,
    limit: u64,
    mode: Mode,
    on_failure: OnFailure,
    at_limit: AtLimit,
    warn_at: Box<[u8]>,
    tag: u64,
}

/// Why a rule cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleProblem {
    /// A window that is too short or too long.
    #[error("a window must be between 1 second and 31 days long")]
    Window,
    /// Zero, or more than the counters can hold exactly.
    #[error("a limit must be between 1 and 9,007,199,254,740,991 (money: 9,007,199 USD)")]
    Limit,
    /// A time zone nobody knows.
    #[error("no time zone is named {0:?}; IANA names such as Asia/Shanghai or UTC are known")]
    Zone(String),
    /// Concurrency over a window, or something else without one.
    #[error("concurrency is counted while requests run; everything else over a window or a period")]
    Span,
    /// A threshold that is not a percentage.
    #[error("a warning threshold must be between 1 and 100 %")]
    Threshold,
}

/// Redis computes with doubles: integers are exact up to here.
pub(crate) const UNITS_MAX: u64 = (1 << 53) - 1;

impl Rule {
    /// A rule for everybody together, `strict`, `local`, blocking. `limit` is in tokens, requests or pico-USD.
    ///
    /// # Errors
    /// [`RuleProblem::Limit`], [`RuleProblem::Span`].
    pub fn new(name: &str, dimension: Dimension, limit: u64, over: Over) -> Result<Self, RuleProblem> {
        let units = limit.checked_div(dimension.scale()).unwrap_or_default();
        if !(1..=UNITS_MAX).contains(&units) {
            return Err(RuleProblem::Limit);
        }
        if (dimension == Dimension::Concurrency) != matches!(over, Over::Open) {
            return Err(RuleProblem::Span);
        }
        let mut rule = Rule {
            name: name.into(),
            dimension,
            over,
            by: SubjectKinds::default(),
            limit: units,
            mode: Mode::Strict,
            on_failure: OnFailure::Local,
            at_limit: AtLimit::Block,
            warn_at: Box::default(),
            tag: 0,
        };
        rule.tag = rule.identity();
        Ok(rule)
    }

    /// Counts separately for each value of these subjects: none, one, a pair or more.
    #[must_use]
    pub fn by(mut self, kinds: &[SubjectKind]) -> Self {
        self.by = kinds.iter().copied().collect();
        self.tag = self.identity();
        self
    }

    /// Sets the reservation mode.
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// Sets the policy for a store that does not answer.
    #[must_use]
    pub fn on_failure(mut self, policy: OnFailure) -> Self {
        self.on_failure = policy;
        self
    }

    /// Sets what happens at the limit.
    #[must_use]
    pub fn at_limit(mut self, at_limit: AtLimit) -> Self {
        self.at_limit = at_limit;
        self
    }

    /// Reports the crossing of these percentages of the limit by [`crate::Limiter::crossing`].
    ///
    /// # Errors
    /// A percentage of 0 or above 100.
    pub fn warn_at(mut self, percentages: &[u8]) -> Result<Self, RuleProblem> {
        if percentages.iter().any(|percent| !(1..=100).contains(percent)) {
            return Err(RuleProblem::Threshold);
        }
        self.warn_at = percentages.into();
        Ok(self)
    }

    /// The same on every instance and in every version: it is part of the keys in Redis.
    fn identity(&self) -> u64 {
        let mut hasher = SipHasher24::new();
        hasher.write(self.name.as_bytes());
        hasher.write(&[0xff, self.dimension as u8, self.by.bits()]);
        match &self.over {
            Over::Window(window) => hasher.write(&window.length_ms().to_le_bytes()),
            Over::Period(period) => {
                let (zone, every) = period.identity();
                hasher.write(zone.as_bytes());
                hasher.write(&[every]);
            }
            Over::Open => {}
        }
        hasher.finish()
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What it counts.
    #[must_use]
    pub fn dimension(&self) -> Dimension {
        self.dimension
    }

    /// The limit in tokens, requests or pico-USD.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.dimension.amount(self.limit)
    }

    /// How it reserves.
    #[must_use]
    pub fn reserves(&self) -> Mode {
        self.mode
    }

    /// For whom it counts separately.
    #[must_use]
    pub fn subjects(&self) -> SubjectKinds {
        self.by
    }

    /// The window over which it counts; `None` for budgets and concurrency.
    #[must_use]
    pub fn window(&self) -> Option<Window> {
        match self.over {
            Over::Window(window) => Some(window),
            Over::Period(_) | Over::Open => None,
        }
    }

    /// True if nothing that was admitted until `since` counts any more.
    pub(crate) fn has_left(&self, since: u64, now: u64) -> bool {
        match &self.over {
            Over::Window(window) => window.gone_at(window.slot(since)) <= now,
            Over::Period(period) => period.bounds(now).start > since,
            Over::Open => since.saturating_add(LEASE_MS) <= now,
        }
    }

    /// The start of the period of `now`; `None`: it is no budget.
    pub(crate) fn period_at(&self, now: u64) -> Option<u64> {
        self.bounds_at(now).map(|bounds| bounds.start)
    }

    /// The same with its end.
    pub(crate) fn bounds_at(&self, now: u64) -> Option<Bounds> {
        match &self.over {
            Over::Period(period) => Some(period.bounds(now)),
            Over::Window(_) | Over::Open => None,
        }
    }

    pub(crate) fn over(&self) -> &Over {
        &self.over
    }

    pub(crate) fn units(&self) -> u64 {
        self.limit
    }

    pub(crate) fn tag(&self) -> u64 {
        self.tag
    }

    pub(crate) fn policy(&self) -> OnFailure {
        self.on_failure
    }

    /// True if it refuses requests; false if it only reports.
    #[must_use]
    pub fn blocks(&self) -> bool {
        self.at_limit == AtLimit::Block
    }

    /// The thresholds that what is used (units) has reached, in no order.
    pub(crate) fn reached(&self, used: u64) -> impl Iterator<Item = u8> {
        let reached = move |percent: &u8| {
            u128::from(used).saturating_mul(100) >= u128::from(self.limit).saturating_mul((*percent).into())
        };
        self.warn_at.iter().copied().filter(reached)
    }

    /// True if thresholds are to be reported.
    pub(crate) fn warns(&self) -> bool {
        !self.warn_at.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::period::Every;

    fn minute() -> Over {
        Over::Window(Window::new(Duration::from_secs(60)).unwrap())
    }

    #[test]
    fn impossible_rules_are_refused() {
        let problem = |dimension, limit, over| Rule::new("x", dimension, limit, over).unwrap_err();
        assert_eq!(problem(Dimension::Tokens, 0, minute()), RuleProblem::Limit);
        assert_eq!(problem(Dimension::Money, 999, minute()), RuleProblem::Limit);
        assert_eq!(problem(Dimension::Tokens, u64::MAX, minute()), RuleProblem::Limit);
        assert_eq!(problem(Dimension::Concurrency, 1, minute()), RuleProblem::Span);
        assert_eq!(problem(Dimension::Requests, 1, Over::Open), RuleProblem::Span);
        let rule = Rule::new("x", Dimension::Tokens, 1, minute()).unwrap();
        assert_eq!(rule.warn_at(&[80, 101]).unwrap_err(), RuleProblem::Threshold);
    }

    #[test]
    fn the_identity_changes_with_what_is_counted_but_not_with_the_limit() {
        let tag = |name, limit, over, by: &[SubjectKind]| {
            Rule::new(name, Dimension::Tokens, limit, over)
                .unwrap()
                .by(by)
                .tag()
        };
        let day = Over::Period(Period::new(Every::Day, "UTC").unwrap());
        let base = tag("a", 1, minute(), &[]);
        assert_eq!(base, tag("a", 2, minute(), &[]));
        assert_ne!(base, tag("b", 1, minute(), &[]));
        assert_ne!(base, tag("a", 1, day, &[]));
        assert_ne!(base, tag("a", 1, minute(), &[SubjectKind::User]));
    }

    #[test]
    fn money_is_counted_in_steps_rounded_up() {
        assert_eq!(Dimension::Money.units(1), 1);
        assert_eq!(Dimension::Money.units(2_000), 2);
        assert_eq!(Dimension::Money.amount(2), 2_000);
        assert_eq!(Dimension::Tokens.units(7), 7);
    }

    #[test]
    fn every_threshold_that_is_reached_counts() {
        let rule = Rule::new("x", Dimension::Tokens, 1_000, minute()).unwrap();
        let rule = rule.warn_at(&[80, 50, 100]).unwrap();
        for (used, percents) in [
            (499, vec![]),
            (500, vec![50]),
            (999, vec![80, 50]),
            (5_000, vec![80, 50, 100]),
        ] {
            assert_eq!(rule.reached(used).collect::<Vec<_>>(), percents);
        }
    }
}
