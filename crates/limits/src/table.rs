//! The meters of one process: bounded, sharded, all or nothing.
//!
//! A request locks the shards of all its subjects in ascending order (no deadlock), decides, charges, unlocks.
//! A subject that is refused is not stored.

use parking_lot::{Mutex, MutexGuard};
use smallvec::SmallVec;

use crate::charge::{Ask, Cause, PerCharge, Refused, Standing, until};
use crate::grant::grant;
use crate::meter::Kept;
use crate::rule::{OnFailure, Rule};
use crate::shard::{ASK_AGAIN, Held, Shard, Sought};
use crate::share::{Seen, Terms};
use crate::subject::Key;

const SHARDS: usize = 64;

/// What was admitted.
pub(crate) struct Granted {
    pub(crate) held: Vec<Held>,
    pub(crate) standings: Vec<Standing>,
}

pub(crate) struct Table {
    shards: Box<[Mutex<Shard>; SHARDS]>,
    per_shard: usize,
}

type Locked<'t> = SmallVec<[(usize, MutexGuard<'t, Shard>); 4]>;

impl Table {
    pub(crate) fn new(subjects: usize) -> Self {
        Table {
            shards: Box::new(std::array::from_fn(|_| Mutex::default())),
            per_shard: subjects.div_ceil(SHARDS).max(1),
        }
    }

    /// Charges all asks or none. `terms`: the shared store is away.
    pub(crate) fn reserve(
        &self,
        asks: &[Ask],
        now: u64,
        terms: Option<&Terms<'_>>,
    ) -> Result<Granted, Refused> {
        if let Some(ask) = asks
            .iter()
            .find(|ask| terms.is_some() && ask.rule.blocks() && ask.rule.policy() == OnFailure::Deny)
        {
            return Err(unchecked(&ask.rule));
        }
        let mut locked = self.lock(asks);
        let sought: PerCharge<Sought> = asks
            .iter()
            .map(|ask| {
                locked
                    .shard(ask.key)
                    .map_or(Sought::NOTHING, |shard| shard.seek(ask, now, terms))
            })
            .collect();
        if let Some(refused) = refusal(&mut locked, asks, &sought, now) {
            return Err(refused);
        }
        let free: PerCharge<u64> = sought.iter().map(Sought::free).collect();
        let mut all = Granted {
            held: Vec::with_capacity(asks.len()),
            standings: Vec::with_capacity(asks.len()),
        };
        for ((ask, amount), sought) in asks.iter().zip(grant(asks, &free)).zip(&sought) {
            if let Some(shard) = locked.shard(ask.key) {
                let (held, clear_at) = shard.charge(ask, amount, now, self.per_shard);
                if let Some(terms) = terms.filter(|_| sought.most <= ask.rule.units()) {
                    shard.set_cap(ask.key, terms, sought.most);
                }
                all.held.push(held);
                all.standings
                    .push(standing(&ask.rule, sought, amount, until(clear_at, now)));
            }
        }
        Ok(all)
    }

    /// Records what the shared store has admitted: this instance's own part, and what is free for all then.
    pub(crate) fn record(&self, ask: &Ask, place: u64, amount: u64, seen: Seen, now: u64) -> Held {
        let mut shard = self.shard_of(ask.key).lock();
        let held = shard.charge_at(ask, place, amount, now, self.per_shard);
        shard.see(ask.key, seen);
        held
    }

    /// Notes what the shared store says is free for all.
    pub(crate) fn see(&self, ask: &Ask, seen: Seen) {
        self.shard_of(ask.key).lock().see(ask.key, seen);
    }

    /// Corrects a cost; one that has aged out or was forgotten with its period stays gone.
    pub(crate) fn adjust(&self, held: &Held, delta: i64) {
        self.shard_of(held.key).lock().adjust(held, delta);
    }

    /// Moves a cost to a later slot; false if its own is not there any more.
    pub(crate) fn renew(&self, held: &mut Held, slot: u64) -> bool {
        self.shard_of(held.key).lock().renew(held, slot)
    }

    /// Raises what is spent to at least the amount asked; returns what was missing.
    pub(crate) fn raise(&self, ask: &Ask, now: u64) -> Option<(Held, u64)> {
        self.shard_of(ask.key).lock().raise(ask, now, self.per_shard)
    }

    /// The thresholds of a rule that were reached and not told yet.
    pub(crate) fn crossing(&self, ask: &Ask, now: u64) -> Vec<u8> {
        self.shard_of(ask.key).lock().crossing(ask, now)
    }

    /// What is used under a rule.
    pub(crate) fn used(&self, ask: &Ask, now: u64) -> u64 {
        self.shard_of(ask.key).lock().used(ask, now)
    }

    /// Counts a cost of an earlier process in the slot it belongs to, if that still counts.
    pub(crate) fn restore(&self, ask: &Ask, at: u64, now: u64) -> Option<Held> {
        let window = ask.rule.window()?;
        // What has happened cannot lie ahead; a slot that does would take all costs until its time comes.
        let slot = window.slot(at.min(now));
        if ask.amount == 0 || window.gone_at(slot) <= now {
            return None;
        }
        let mut shard = self.shard_of(ask.key).lock();
        Some(shard.charge_at(ask, slot, ask.amount, now, self.per_shard))
    }

    /// The clock was put forward by so many milliseconds.
    pub(crate) fn move_clock(&self, ms: i64) {
        self.shards.iter().for_each(|shard| shard.lock().move_clock(ms));
    }

    /// Everything that still counts, by key and place.
    pub(crate) fn each(&self, now: u64, visit: &mut impl FnMut(Key, Kept, u64, u64)) {
        for shard in self.shards.iter() {
            shard.lock().each(now, visit);
        }
    }

    /// How many subjects are stored.
    pub(crate) fn subjects(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }

    fn shard_of(&self, key: Key) -> &Mutex<Shard> {
        let [first, ..] = &*self.shards;
        self.shards.get(index(key)).unwrap_or(first)
    }

    fn lock(&self, asks: &[Ask]) -> Locked<'_> {
        let mut order: SmallVec<[usize; 8]> = asks.iter().map(|ask| index(ask.key)).collect();
        order.sort_unstable();
        order.dedup();
        order
            .into_iter()
            .filter_map(|at| Some((at, self.shards.get(at)?.lock())))
            .collect()
    }
}

/// The upper bits of a key choose its shard, the lower ones its place inside.
fn index(key: Key) -> usize {
    (key.0 >> 122) as usize
}

trait Shards {
    fn shard(&mut self, key: Key) -> Option<&mut Shard>;
}

impl Shards for Locked<'_> {
    fn shard(&mut self, key: Key) -> Option<&mut Shard> {
        let at = index(key);
        self.iter_mut()
            .find(|entry| entry.0 == at)
            .map(|entry| &mut *entry.1)
    }
}

fn standing(rule: &Rule, sought: &Sought, granted: u64, reset: std::time::Duration) -> Standing {
    let used = sought.used.saturating_add(granted);
    Standing {
        dimension: rule.dimension(),
        limit: rule.limit(),
        remaining: rule
            .dimension()
            .amount(rule.units().min(sought.most).saturating_sub(used)),
        reset,
    }
}

/// The refusal of the rule that refuses longest, if any does.
fn refusal(locked: &mut Locked<'_>, asks: &[Ask], sought: &[Sought], now: u64) -> Option<Refused> {
    let refusing = asks
        .iter()
        .zip(sought)
        .filter(|(ask, sought)| ask.least > sought.free());
    let waits = refusing.filter_map(|(ask, sought)| {
        let (freed, clear) = locked.shard(ask.key)?.waits(ask, sought, now);
        Some((freed, clear, ask, sought))
    });
    let (freed, clear, ask, sought) = waits.max_by_key(|wait| wait.0)?;
    Some(Refused {
        rule: ask.rule.name().clone(),
        cause: Cause::Limit,
        retry_after: until(freed, now),
        standing: standing(&ask.rule, sought, 0, until(clear, now)),
    })
}

fn unchecked(rule: &Rule) -> Refused {
    Refused {
        rule: rule.name().clone(),
        cause: Cause::Store,
        retry_after: ASK_AGAIN,
        standing: Standing {
            dimension: rule.dimension(),
            limit: rule.limit(),
            remaining: 0,
            reset: ASK_AGAIN,
        },
    }
}
