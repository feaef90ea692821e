//! What a ledger knows of budgets, and how a store that has lost its data is told it: each instance tells its own part, which nobody knows
//! as well; for those that have ended others tell what is known of them, each the same, and the store counts it once.

use std::sync::Arc;

use super::backlog::{Backlog, Correction};
use super::{Shared, signed};
use crate::charge::Ask;
use crate::limiter::{Core, Spender};
use crate::meter::Kept;
use crate::period::Bounds;
use crate::share::Seen;
use crate::subject::Key;

/// Longest that an instance stays on its own, milliseconds after lost data, until the common ledger was read again.
const RECALLS_MS: u64 = 5_000;

/// What is spent of a budget at least.
#[derive(Clone, Debug)]
pub(super) struct Raise {
    pub(super) key: Key,
    /// The start of the period.
    pub(super) place: u64,
    pub(super) kept: Kept,
    pub(super) amount: u64,
    pub(super) by: By,
}

/// By whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// This instance, of those that have each a ledger of its own.
    Instance,
    /// All together.
    Everybody,
    /// One of those that have a common ledger. `anew`: it is for a store that has lost its data.
    One { id: Arc<str>, anew: bool },
}

impl Raise {
    fn new(ask: &Ask, bounds: Bounds, by: By) -> Self {
        Raise {
            key: ask.key,
            place: bounds.start,
            kept: Kept::Spent { end: bounds.end },
            amount: ask.amount,
            by,
        }
    }

    /// The same for a store that has lost its data.
    pub(super) fn to_anew(&self) -> Self {
        let mut raise = self.clone();
        if let By::One { anew, .. } = &mut raise.by {
            *anew = true;
        }
        raise
    }

    /// The kind of the script, and what it is told of who has spent it.
    pub(super) fn kind(&self) -> (&'static str, &str, bool) {
        match &self.by {
            By::Instance => ("m", "", false),
            By::Everybody => ("s", "", false),
            By::One { id, anew } => ("c", id, *anew),
        }
    }
}

impl Backlog {
    /// True if the common ledger is being read for a store that lost its data.
    pub(super) fn still_recalls(&self, now: u64) -> bool {
        self.recalls
            .is_some_and(|since| now < since.saturating_add(RECALLS_MS))
    }
}

impl Shared {
    /// Raises what is spent to at least what a ledger knows.
    pub(crate) fn raise(&self, core: &Core, ask: &Ask, spender: Spender<'_>) {
        let now = self.now();
        let Some(bounds) = ask.rule.bounds_at(now) else {
            return;
        };
        let mut backlog = self.backlog.lock();
        let is_forgotten = self.has_forgotten(&backlog);
        match spender {
            Spender::Instance => {
                self.raise_own(core, &mut backlog, ask, Raise::new(ask, bounds, By::Instance))
            }
            Spender::One(id) => {
                let id: Arc<str> = id.into();
                let is_own = !id.is_empty() && *id == *self.life();
                let anew = is_forgotten || backlog.recalls.is_some();
                let by = By::One {
                    id: Arc::clone(&id),
                    anew,
                };
                let raise = Raise::new(ask, bounds, by);
                if is_own {
                    self.raise_own(core, &mut backlog, ask, raise);
                } else {
                    backlog.of_other(&id, raise.clone());
                    backlog.raise(raise);
                }
            }
            Spender::Everybody => {
                let free = ask.rule.units().saturating_sub(ask.amount);
                core.table
                    .record(ask, bounds.start, 0, Seen { free, at: now }, now);
                backlog.raise(Raise::new(ask, bounds, By::Everybody));
            }
        }
        if is_forgotten {
            backlog.outage.trip(now, true);
        }
        drop(backlog);
        self.wake.notify_one();
    }

    fn raise_own(&self, core: &Core, backlog: &mut Backlog, ask: &Ask, raise: Raise) {
        let Some((held, missing)) = core.table.raise(ask, self.now()) else {
            return;
        };
        if !self.has_forgotten(backlog) {
            return backlog.raise(raise);
        }
        // The others tell their parts too.
        let correction = Correction {
            kept: held.kept,
            delta: signed(missing),
            create: true,
            whole: true,
        };
        backlog.merge((held.key, held.place), correction);
    }

    /// Waits until the store has lost its data, and the common ledger is to be read; says when that was, by the store's clock.
    pub(crate) async fn forgotten(&self) -> u64 {
        loop {
            self.forgot.notified().await;
            let recalls = self.backlog.lock().recalls;
            if let Some(since) = recalls {
                return since;
            }
        }
    }

    /// All is told that the common ledger knows since the data were lost.
    pub(crate) fn recalled(&self, since: u64) {
        let mut backlog = self.backlog.lock();
        if backlog.recalls == Some(since) {
            backlog.recalls = None;
        }
        drop(backlog);
        self.wake.notify_one();
    }
}
