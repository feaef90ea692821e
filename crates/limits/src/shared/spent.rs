//! What a ledger knows of budgets, and how a store that has lost its data is told it: each instance tells its own part, which nobody knows
//! as well; for those that have ended others tell what is known of them, each the same, and the store counts it once.

use std::sync::Arc;

use super::backlog::{Backlog, Correction};
use super::{Shared, signed};
use crate::charge::Ask;
use crate::limiter::{Core, Spender};
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
    /// Its end.
    pub(super) end: u64,
    pub(super) amount: u64,
    pub(super) by: By,
}

/// By whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// This instance, of those that have each a ledger of its own.
    Instance,
    /// All that have a common ledger.
    Everybody,
    /// And each of them.
    Each(Parts),
}

/// What each has spent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parts {
    /// As the script reads it: `name=amount;…`.
    pub(super) list: Arc<str>,
    /// How many.
    count: usize,
    /// It is for a store that has lost its data.
    pub(super) is_anew: bool,
}

impl Raise {
    fn new(ask: &Ask, bounds: Bounds, by: By) -> Self {
        Raise {
            key: ask.key,
            place: bounds.start,
            end: bounds.end,
            amount: ask.amount,
            by,
        }
    }

    /// The same for a store that has lost its data.
    pub(super) fn to_anew(&self) -> Self {
        let mut raise = self.clone();
        if let By::Each(parts) = &mut raise.by {
            parts.is_anew = true;
        }
        raise
    }

    /// How much it is to tell.
    pub(super) fn weight(&self) -> usize {
        match &self.by {
            By::Each(parts) => parts.count.max(1),
            By::Instance | By::Everybody => 1,
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
    /// Raises what is spent to at least what a ledger knows of the period of `at`, if that is the current one. At the start the store must
    /// not decide before it has been told.
    pub(crate) fn raise(&self, core: &Core, ask: &Ask, spender: Spender<'_>, at: u64) {
        let now = self.now();
        let period = ask.rule.bounds_at(now);
        let Some(bounds) = period.filter(|_| ask.rule.bounds_at(at) == period) else {
            return;
        };
        let mut backlog = self.backlog.lock();
        match spender {
            Spender::Instance => {
                self.raise_own(core, &mut backlog, ask);
                // Else it is told as a part: those of the others are too.
                if !self.has_forgotten(&backlog) {
                    backlog.raise(Raise::new(ask, bounds, By::Instance));
                }
            }
            Spender::Each(parts) => self.raise_each(core, &mut backlog, (ask, bounds), parts),
        }
        if !self.is_restored() {
            let is_forgotten = self.has_forgotten(&backlog);
            backlog.outage.trip(now, is_forgotten);
        }
        drop(backlog);
        self.wake.notify_one();
    }

    /// What all have spent, and each of them.
    fn raise_each(
        &self,
        core: &Core,
        backlog: &mut Backlog,
        (ask, bounds): (&Ask, Bounds),
        parts: &[(&str, u64)],
    ) {
        let units = |amount: u64| ask.rule.dimension().units(amount);
        let life = self.life();
        let own = parts.iter().find(|(name, _)| *name == life && !name.is_empty());
        if let Some((_, amount)) = own {
            let amount = units(*amount);
            let ask = Ask {
                amount,
                ..ask.clone()
            };
            self.raise_own(core, backlog, &ask);
        }
        let is_start = !self.is_restored();
        if is_start {
            let (free, at) = (ask.rule.units().saturating_sub(ask.amount), self.now());
            core.table.record(ask, bounds.start, 0, Seen { free, at }, at);
        }
        let list = parts
            .iter()
            .map(|(name, amount)| format!("{name}={};", units(*amount)));
        let is_anew = self.has_forgotten(backlog) || backlog.recalls.is_some();
        let each = By::Each(Parts {
            list: list.collect::<String>().into(),
            count: parts.len(),
            is_anew,
        });
        let each = Raise::new(ask, bounds, each);
        backlog.of_others(each.clone());
        // A store that has its data knows the parts.
        if is_anew || is_start {
            backlog.raise(each);
        }
        backlog.raise(Raise::new(ask, bounds, By::Everybody));
    }

    /// In the table; a store that has forgotten this instance is told it as its part.
    fn raise_own(&self, core: &Core, backlog: &mut Backlog, ask: &Ask) {
        let raised = core.table.raise(ask, self.now());
        if let (Some((held, missing)), Some(others)) = (&raised, &mut backlog.of_others_here) {
            *others.entry((held.key, held.place)).or_default() += missing;
            return;
        }
        let Some((held, missing)) = raised.filter(|_| self.has_forgotten(backlog)) else {
            return;
        };
        let correction = Correction {
            kept: held.kept,
            delta: signed(missing),
            create: true,
            whole: true,
        };
        backlog.merge((held.key, held.place), correction);
    }

    /// Somebody who has spent may have ended, or the store has lost its data: what the common ledger knows is to be told.
    pub(super) fn is_stale(&self) {
        if self.has_common_ledger {
            self.stale.notify_one();
        }
    }

    /// Waits until that is so; returns when the data were lost, if they were.
    pub(crate) async fn stale(&self) -> Option<u64> {
        self.stale.notified().await;
        self.backlog.lock().recalls
    }

    /// All is told that the common ledger knows since the data were lost.
    pub(crate) fn recalled(&self, since: Option<u64>) {
        let mut backlog = self.backlog.lock();
        if backlog.recalls == since {
            backlog.recalls = None;
        }
        drop(backlog);
        self.wake.notify_one();
    }
}
