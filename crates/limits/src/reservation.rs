//! What a request holds until it ends.

use std::sync::Arc;
use std::time::Duration;

use crate::charge::Standing;
use crate::limiter::Core;
use crate::rule::Dimension;
use crate::shard::Held;
use crate::table::Granted;

/// What a request really cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Actual {
    /// Input and output tokens.
    pub tokens: u64,
    /// Pico-USD.
    pub money: u64,
}

/// The costs of a running request. It ends in exactly one way: [`Reservation::settle`], [`Reservation::release`], or by
/// being dropped. Dropped before [`Reservation::sent`] everything is given back; after it the upstream may have billed,
/// and all but the concurrency stays reserved.
#[must_use = "a dropped reservation is given back"]
pub struct Reservation {
    core: Arc<Core>,
    // Not in place: a reservation is moved along with its request.
    held: Vec<Held>,
    standings: Vec<Standing>,
    sent: bool,
    ended: bool,
}

impl Reservation {
    pub(crate) fn new(core: &Arc<Core>, granted: Granted) -> Self {
        Reservation {
            core: Arc::clone(core),
            held: granted.held,
            standings: granted.standings,
            sent: false,
            ended: false,
        }
    }

    /// The numbers of every rule, in the order of the charges.
    #[must_use]
    pub fn standings(&self) -> &[Standing] {
        &self.standings
    }

    /// Moves the numbers of every rule behind others.
    pub fn tell_standings(&mut self, all: &mut Vec<Standing>) {
        if all.is_empty() {
            *all = std::mem::take(&mut self.standings);
        } else {
            all.append(&mut self.standings);
        }
    }

    /// The most that strict rules of this dimension let the request cost (tokens, pico-USD); `None`: no such rule.
    /// The caller bounds the upstream request by it.
    #[must_use]
    pub fn allowance(&self, dimension: Dimension) -> Option<u64> {
        let strict = self
            .held
            .iter()
            .filter(|held| held.strict && held.dimension == dimension);
        strict.map(|held| dimension.amount(held.amount)).min()
    }

    /// The most that any rule holds of this dimension at present (tokens, pico-USD); 0: no such rule.
    #[must_use]
    pub fn reserved(&self, dimension: Dimension) -> u64 {
        let held = self.held.iter().filter(|held| held.dimension == dimension);
        held.map(|held| dimension.amount(held.amount)).max().unwrap_or(0)
    }

    /// Parts it in two that end apart: the first `count` charges, and the others. For a request that may move from one
    /// channel to the next and keeps what was reserved for its caller.
    pub fn split(mut self, count: usize) -> (Reservation, Reservation) {
        let at = count.min(self.held.len());
        let rest = Reservation {
            core: Arc::clone(&self.core),
            held: self.held.split_off(at),
            standings: self.standings.split_off(at.min(self.standings.len())),
            sent: self.sent,
            ended: false,
        };
        (self, rest)
    }

    /// Gives back what it holds of a dimension, and keeps the rest.
    pub fn release_of(&mut self, dimension: Dimension) {
        for held in self.held.iter_mut().filter(|held| held.dimension == dimension) {
            set(&self.core, held, 0);
        }
        self.held.retain(|held| held.dimension != dimension);
    }

    /// Holds what another one held too, and ends for both.
    pub fn join(&mut self, mut other: Reservation) {
        self.held.append(&mut other.held);
        self.sent |= other.sent;
        other.ended = true;
    }

    /// From here on the upstream may bill.
    pub fn sent(&mut self) {
        self.sent = true;
    }

    /// Counts it from `now` on (milliseconds since 1970; with a shared store its clock counts) instead of from its admission: what
    /// reaches the upstream late must not leave its windows early. It is good for half a guard then. False if one of its windows has
    /// let go of it already: then it is to be released and reserved anew.
    pub fn renew(&mut self, now: u64) -> bool {
        let now = self.core.now(now);
        let stays = |held: &Held| held.gone_at().is_none_or(|gone| gone > now);
        self.held.iter().all(stays) && self.held.iter_mut().all(|held| self.core.renew(held, now))
    }

    /// For how long from `now` on it may be sent without [`Reservation::renew`]: while its slots last, so that it counts from the moment
    /// it is sent, and the whole guard is the network's. `None`: it is in no window.
    #[must_use]
    pub fn slack(&self, now: u64) -> Option<Duration> {
        let last = self.held.iter().filter_map(Held::last_moment).min()?;
        Some(Duration::from_millis(last.saturating_sub(self.core.now(now))))
    }

    /// Raises the costs to what is known so far, while an answer streams (every 256 output tokens). Never lowers.
    pub fn top_up(&mut self, so_far: Actual) {
        self.correct(so_far, |amount, known| amount.max(known));
    }

    /// Lowers what strict rules hold by so much, rounded down: the request is known better than when it was reserved.
    pub fn lower(&mut self, by: Actual) {
        for held in self.held.iter_mut().filter(|held| held.strict) {
            let by = match held.dimension {
                Dimension::Tokens => by.tokens,
                Dimension::Money => by.money,
                Dimension::Requests | Dimension::Concurrency => continue,
            };
            // Rounded up like what was reserved, and one unit back: never below what is needed.
            let units = held.dimension.units(by);
            let units = if held.dimension == Dimension::Money {
                units.saturating_sub(1)
            } else {
                units
            };
            set(&self.core, held, held.amount.saturating_sub(units));
        }
    }

    /// Ends it with the true cost.
    pub fn settle(mut self, actual: Actual) {
        self.correct(actual, |_, known| known);
        self.end();
    }

    /// Ends it without a cost: the upstream did not bill.
    pub fn release(mut self) {
        self.sent = false;
        self.end();
    }

    fn correct(&mut self, actual: Actual, choose: fn(u64, u64) -> u64) {
        for held in &mut self.held {
            let known = match held.dimension {
                Dimension::Tokens => actual.tokens,
                Dimension::Money => actual.money,
                Dimension::Requests | Dimension::Concurrency => continue,
            };
            let to = choose(held.amount, held.dimension.units(known));
            set(&self.core, held, to);
        }
        // The caller settles because the upstream has worked: requests stay counted.
        self.sent = true;
    }

    fn end(&mut self) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        for held in &mut self.held {
            if !self.sent || held.dimension == Dimension::Concurrency {
                set(&self.core, held, 0);
            }
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.end();
    }
}

impl std::fmt::Debug for Reservation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reservation")
            .field("held", &self.held)
            .field("sent", &self.sent)
            .finish_non_exhaustive()
    }
}

fn set(core: &Core, held: &mut Held, to: u64) {
    let signed = |amount: u64| i64::try_from(amount).unwrap_or(i64::MAX);
    let delta = signed(to).saturating_sub(signed(held.amount));
    if delta != 0 {
        core.adjust(held, delta);
        held.amount = to;
    }
}
