//! What follows a failed attempt: promise P5 of reliability.md as a table, and the budget of repetitions. Pure.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ai_api_converter::{Failure, FailureClass};
use opm_config::{Retry, When};

use crate::provider_keys::Parked;

/// How far an attempt came before it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// No connection: nothing was sent.
    Connect,
    /// The head of the answer did not come in time.
    FirstByte,
    /// The provider answered with an error, or broke off before its answer.
    Answer,
    /// A stream that began with success said an error before its first content.
    FirstEvent,
}

/// What is done after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Verdict {
    /// The same channel once more: at once, or after a jittered pause.
    pub again: Option<Again>,
    /// The same channel with another of its keys.
    pub other_key: bool,
    /// The next channel.
    pub next: bool,
    /// It counts against the channel.
    pub counts: bool,
    /// The key is left alone for so long.
    pub park: Option<(Duration, Parked)>,
}

/// When the same channel is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// At once.
    Now,
    /// After a pause between the two limits of [`Retry`].
    Later,
}

/// Longest parking that a provider can ask for.
const MAX_PARK: Duration = Duration::from_secs(300);
/// A key that the provider refuses.
const REFUSED: Duration = Duration::from_secs(60);

/// The row of promise P5 for a failure.
#[must_use]
pub fn verdict(failure: &Failure, stage: Stage, retry: &Retry) -> Verdict {
    use FailureClass as C;
    let wait = failure.retry_after.filter(|_| retry.honor_retry_after);
    let on = |when: When| retry.when.contains(&when);
    let limited = |counts: bool| Verdict {
        other_key: on(When::RateLimited),
        next: on(When::RateLimited),
        counts,
        park: wait.map(|wait| (wait.min(MAX_PARK), Parked::Limited)),
        again: (wait.is_none() && on(When::RateLimited)).then_some(Again::Later),
    };
    let found = match (stage, failure.class) {
        // What this channel's format cannot carry, another's could. Nothing was sent.
        (_, C::Unsupported) => Verdict {
            next: true,
            ..Verdict::default()
        },
        (Stage::Connect, class) => Verdict {
            // A connection that was not accepted in time would not be the next time either.
            again: (on(When::Connect) && class != C::Timeout).then_some(Again::Now),
            next: on(When::Connect),
            counts: true,
            ..Verdict::default()
        },
        (Stage::FirstByte, _) => Verdict {
            next: on(When::FirstByteTimeout),
            counts: true,
            ..Verdict::default()
        },
        (_, C::RateLimited) => limited(wait.is_none()),
        (_, C::Overloaded) => Verdict {
            other_key: false,
            ..limited(true)
        },
        (_, C::QuotaExhausted | C::UpstreamBilling) => Verdict {
            other_key: on(When::RateLimited),
            next: on(When::RateLimited),
            park: Some((MAX_PARK, Parked::Limited)),
            ..Verdict::default()
        },
        (_, C::UpstreamAuth) => Verdict {
            other_key: on(When::Auth),
            next: on(When::Auth),
            park: Some((REFUSED, Parked::Refused)),
            ..Verdict::default()
        },
        // Where an answer was asked for, what is not found is the model.
        (_, C::ModelNotFound | C::NotFound) => Verdict {
            next: on(When::ModelNotFound),
            ..Verdict::default()
        },
        (_, C::ServerError | C::UpstreamBad | C::Timeout) => Verdict {
            next: on(When::ServerError),
            counts: true,
            ..Verdict::default()
        },
        _ => Verdict::default(),
    };
    match stage {
        // The stream was answered once: another channel may do better, this one has had its chance.
        Stage::FirstEvent => Verdict {
            again: None,
            counts: found.counts || found.next,
            ..found
        },
        _ => found,
    }
}

/// At most a fifth of the requests under way may be repeating themselves, but always three (promise P5): an outage must not be
/// multiplied by everybody's second tries. More may go to a channel that answers well: that is a failover, not an outage, and it
/// ends with that channel's first failure.
#[derive(Debug, Default)]
pub struct RetryBudget {
    requests: AtomicUsize,
    repeating: AtomicUsize,
}

const PERCENT: usize = 20;
const ALWAYS: usize = 3;
/// The same two numbers for channels that answer well.
const PERCENT_TO_WELL: usize = 60;
const ALWAYS_TO_WELL: usize = 10;

/// A request under way.
#[derive(Debug)]
pub struct Counted<'b>(&'b AtomicUsize);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl RetryBudget {
    /// Counts a request until the guard is dropped.
    #[must_use]
    pub fn enter(&self) -> Counted<'_> {
        self.requests.fetch_add(1, Ordering::AcqRel);
        Counted(&self.requests)
    }

    /// Leave to repeat an attempt, held until the guard is dropped.
    #[must_use]
    pub fn repeat(&self, to_well: bool) -> Option<Counted<'_>> {
        let (percent, always) = if to_well {
            (PERCENT_TO_WELL, ALWAYS_TO_WELL)
        } else {
            (PERCENT, ALWAYS)
        };
        let most = (self.requests.load(Ordering::Acquire) * percent / 100).max(always);
        let taken = self
            .repeating
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |repeating| {
                (repeating < most).then_some(repeating + 1)
            });
        taken.ok().map(|_| Counted(&self.repeating))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(class: FailureClass, seconds: Option<u64>) -> Failure {
        Failure {
            retry_after: seconds.map(Duration::from_secs),
            ..Failure::new(class, "x")
        }
    }

    #[test]
    fn the_rows_of_promise_p5() {
        use FailureClass as C;
        use Stage::{Answer, Connect, FirstByte, FirstEvent};
        let (now, later) = (Some(Again::Now), Some(Again::Later));
        let limited = |seconds| Some((Duration::from_secs(seconds), Parked::Limited));
        let refused = Some((Duration::from_secs(60), Parked::Refused));
        // class, Retry-After, stage -> again, other key, next, counts, park
        #[rustfmt::skip]
        let rows = [
            (C::UpstreamBad, None, Connect, now, false, true, true, None),
            (C::Timeout, None, Connect, None, false, true, true, None),
            (C::RateLimited, Some(7), Answer, None, true, true, false, limited(7)),
            (C::RateLimited, Some(9_999), Answer, None, true, true, false, limited(300)),
            (C::RateLimited, None, Answer, later, true, true, true, None),
            (C::Overloaded, None, Answer, later, false, true, true, None),
            (C::Overloaded, Some(2), Answer, None, false, true, true, limited(2)),
            (C::ServerError, None, Answer, None, false, true, true, None),
            (C::UpstreamBad, None, Answer, None, false, true, true, None),
            (C::Timeout, None, FirstByte, None, false, true, true, None),
            (C::UpstreamAuth, None, Answer, None, true, true, false, refused),
            (C::QuotaExhausted, None, Answer, None, true, true, false, limited(300)),
            (C::InvalidRequest, None, Answer, None, false, false, false, None),
            (C::ContextOverflow, None, Answer, None, false, false, false, None),
            (C::ContentBlocked, None, Answer, None, false, false, false, None),
            (C::ModelNotFound, None, Answer, None, false, false, false, None),
            (C::NotFound, None, Answer, None, false, false, false, None),
            (C::TooLarge, None, Answer, None, false, false, false, None),
            (C::Unsupported, None, Answer, None, false, true, false, None),
            (C::Overloaded, None, FirstEvent, None, false, true, true, None),
            (C::RateLimited, None, FirstEvent, None, true, true, true, None),
            (C::InvalidRequest, None, FirstEvent, None, false, false, false, None),
        ];
        for (class, wait, stage, again, other_key, next, counts, park) in rows {
            let wanted = Verdict {
                again,
                other_key,
                next,
                counts,
                park,
            };
            let found = verdict(&failure(class, wait), stage, &Retry::default());
            assert_eq!(found, wanted, "{class:?} {wait:?} {stage:?}");
        }
    }

    #[test]
    fn what_is_not_in_the_list_is_not_tried_elsewhere() {
        let never = Retry {
            when: Vec::new(),
            ..Retry::default()
        };
        for class in [
            FailureClass::ServerError,
            FailureClass::RateLimited,
            FailureClass::UpstreamAuth,
        ] {
            let found = verdict(&failure(class, None), Stage::Answer, &never);
            assert!(
                !found.next && !found.other_key && found.again.is_none(),
                "{class:?}"
            );
        }
        let models = Retry {
            when: vec![When::ModelNotFound],
            ..Retry::default()
        };
        assert!(
            verdict(
                &failure(FailureClass::ModelNotFound, None),
                Stage::Answer,
                &models
            )
            .next
        );
    }

    #[test]
    fn a_fifth_of_the_requests_may_repeat_but_always_three() {
        let budget = RetryBudget::default();
        let few = [budget.repeat(false), budget.repeat(false), budget.repeat(false)];
        assert!(few.iter().all(Option::is_some) && budget.repeat(false).is_none());
        assert!(
            budget.repeat(true).is_some(),
            "a channel that answers well may take more"
        );
        drop(few);
        let requests: Vec<_> = (0..50).map(|_| budget.enter()).collect();
        let many: Vec<_> = (0..20).filter_map(|_| budget.repeat(false)).collect();
        assert_eq!(many.len(), 10);
        drop((requests, many));
        assert!(budget.repeat(false).is_some());
    }
}
