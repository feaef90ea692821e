//! What one subject has used under one rule.

use crate::period::{Bounds, Period};
use crate::ring::Ring;
use crate::rule::{Over, Rule};
use crate::window::Window;

/// A counter of one subject. The *place* of a cost is what settling needs to find it again: the slot of a window, the
/// start of a period.
#[derive(Clone)]
pub(crate) enum Meter {
    Ring(Ring),
    Open(u64),
    Spent { bounds: Bounds, sum: u64 },
}

/// How long after a request the concurrency of other instances may still be unknown, in milliseconds.
pub(crate) const LEASE_MS: u64 = 60_000;

impl Meter {
    pub(crate) fn new(rule: &Rule, now: u64) -> Self {
        match rule.over() {
            Over::Window(window) => Meter::Ring(Ring::new(*window)),
            Over::Open => Meter::Open(0),
            Over::Period(period) => Meter::Spent {
                bounds: period.bounds(now),
                sum: 0,
            },
        }
    }

    /// Brings it to `now`: old slots leave, a new period begins.
    pub(crate) fn refresh(&mut self, rule: &Rule, now: u64) {
        match (self, rule.over()) {
            (Meter::Ring(ring), _) => ring.refresh(now),
            (Meter::Spent { bounds, sum }, Over::Period(period)) if now >= bounds.end => {
                *bounds = period.bounds(now);
                *sum = 0;
            }
            _ => {}
        }
    }

    pub(crate) fn used(&self) -> u64 {
        match self {
            Meter::Ring(ring) => ring.used(),
            Meter::Open(held) => *held,
            Meter::Spent { sum, .. } => *sum,
        }
    }

    /// The start of the current period; 0 for what has none.
    pub(crate) fn period(&self) -> u64 {
        match self {
            Meter::Spent { bounds, .. } => bounds.start,
            Meter::Ring(_) | Meter::Open(_) => 0,
        }
    }

    /// The clock was put forward by so many milliseconds. Budgets stay in their period.
    pub(crate) fn move_clock(&mut self, ms: i64) {
        if let Meter::Ring(ring) = self {
            ring.move_clock(ms);
        }
    }

    /// What was used up to a place: only rings can tell, the others answer with all.
    pub(crate) fn used_until(&self, place: u64) -> u64 {
        match self {
            Meter::Ring(ring) => ring.used_until(place),
            Meter::Open(_) | Meter::Spent { .. } => self.used(),
        }
    }

    /// Charges now and returns the place.
    pub(crate) fn charge(&mut self, now: u64, amount: u64) -> u64 {
        match self {
            Meter::Ring(ring) => ring.charge(now, amount),
            Meter::Open(held) => {
                *held = held.saturating_add(amount);
                0
            }
            Meter::Spent { bounds, sum } => {
                *sum = sum.saturating_add(amount);
                bounds.start
            }
        }
    }

    /// Charges a place that another clock decided.
    pub(crate) fn charge_at(&mut self, place: u64, amount: u64, period: Option<&Period>) {
        match self {
            Meter::Ring(ring) => ring.charge_slot(place, amount),
            Meter::Open(held) => *held = held.saturating_add(amount),
            Meter::Spent { bounds, sum } => {
                if place > bounds.start {
                    *bounds = period.map_or(*bounds, |period| period.bounds(place));
                    *sum = 0;
                }
                if place == bounds.start {
                    *sum = sum.saturating_add(amount);
                }
            }
        }
    }

    /// Moves a cost to a later slot; false if its own is not there any more, or if it is no window.
    pub(crate) fn postpone(&mut self, from: u64, to: u64, amount: u64) -> bool {
        let Meter::Ring(ring) = self else { return false };
        let is_there = ring.adjust(from, i64::try_from(amount).map_or(i64::MIN, |amount| -amount));
        if is_there {
            ring.charge_slot(to, amount);
        }
        is_there
    }

    pub(crate) fn adjust(&mut self, place: u64, delta: i64) {
        match self {
            Meter::Ring(ring) => {
                ring.adjust(place, delta);
            }
            Meter::Open(held) => *held = held.saturating_add_signed(delta),
            Meter::Spent { bounds, sum } if bounds.start == place => *sum = sum.saturating_add_signed(delta),
            Meter::Spent { .. } => {}
        }
    }

    /// The first instant at which `needed` units more are free. Nobody knows when a running request ends: concurrency
    /// says one second.
    pub(crate) fn freed_at(&self, needed: u64, now: u64) -> u64 {
        const ASK_AGAIN_MS: u64 = 1_000;
        match self {
            Meter::Ring(ring) => ring.freed_at(needed).unwrap_or_else(|| ring.clear_at()),
            Meter::Open(_) => now.saturating_add(ASK_AGAIN_MS),
            Meter::Spent { bounds, .. } => bounds.end,
        }
    }

    /// The instant at which the whole limit is free again if nothing else happens.
    pub(crate) fn clear_at(&self, now: u64) -> u64 {
        match self {
            Meter::Ring(ring) if ring.used() == 0 => now,
            Meter::Ring(ring) => ring.clear_at(),
            Meter::Open(_) => now,
            Meter::Spent { bounds, .. } => bounds.end,
        }
    }

    /// True if forgetting it changes no decision.
    pub(crate) fn is_idle(&self, now: u64) -> bool {
        match self {
            Meter::Ring(ring) => ring.is_idle(now),
            Meter::Open(held) => *held == 0,
            Meter::Spent { bounds, sum } => *sum == 0 || bounds.end <= now,
        }
    }

    /// Every place that counts, with its amount.
    pub(crate) fn places(&self) -> Vec<(u64, u64)> {
        match self {
            Meter::Ring(ring) => ring.cells().filter(|cell| cell.1 > 0).collect(),
            // What is open is registered by its id, not by its sum.
            Meter::Open(_) => Vec::new(),
            Meter::Spent { bounds, sum } => vec![(bounds.start, *sum)],
        }
    }

    /// How the store keeps it.
    pub(crate) fn kept(&self) -> Kept {
        match self {
            Meter::Ring(ring) => Kept::Ring(ring.window()),
            Meter::Open(_) => Kept::Open,
            Meter::Spent { bounds, .. } => Kept::Spent { end: bounds.end },
        }
    }
}

/// What is needed to find and correct a cost where it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    Ring(Window),
    Open,
    Spent { end: u64 },
}

impl Kept {
    /// The window whose slots are its places; `None`: it has others.
    pub(crate) fn window(self) -> Option<Window> {
        match self {
            Kept::Ring(window) => Some(window),
            Kept::Open | Kept::Spent { .. } => None,
        }
    }
}
