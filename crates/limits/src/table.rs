//! The meters of one process: bounded, sharded, all or nothing.
//!
//! A request locks the shards of all its subjects in ascending order (no deadlock), decides, charges, unlocks.
//! A subject that is refused is not stored. When a shard is full of subjects that still count, new ones share one
//! *overflow* meter per rule: all of them together stay within the limit of one, so none exceeds it. A subject that
//! gets a meter of its own while the overflow still counts may have used it before; until that has aged out, the
//! overflow's older costs count against it.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use parking_lot::{Mutex, MutexGuard};
use smallvec::SmallVec;

use crate::charge::{Ask, Cause, PerCharge, Refused, Standing, until};
use crate::grant::grant;
use crate::meter::{Kept, Meter};
use crate::rule::{Dimension, OnFailure, Over, Rule};
use crate::share::{Alone, Sight, first_cap};
use crate::subject::Key;

const SHARDS: usize = 64;

/// A full shard looks for idle subjects at most this often, in milliseconds.
const SWEEP_EVERY_MS: u64 = 1_000;

/// A key is a keyed hash already.
#[derive(Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }

    fn write_u128(&mut self, value: u128) {
        self.0 = value as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

struct Subject {
    meter: Meter,
    /// Where in the overflow this subject's older costs may be; 0: nowhere.
    wary_until: u64,
    sight: Sight,
}

#[derive(Default)]
struct Shard {
    subjects: HashMap<Key, Subject, BuildHasherDefault<AsIs>>,
    /// By the tag of the rule.
    overflow: HashMap<u64, Meter, BuildHasherDefault<AsIs>>,
    sweep_at_len: usize,
    swept_at: u64,
}

/// What a reservation holds of one meter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub(crate) key: Key,
    pub(crate) dimension: Dimension,
    pub(crate) strict: bool,
    pub(crate) place: u64,
    pub(crate) amount: u64,
    pub(crate) kept: Kept,
    /// The tag of the rule whose overflow was charged.
    overflow: Option<u64>,
}

/// What was admitted.
pub(crate) struct Granted {
    pub(crate) held: PerCharge<Held>,
    pub(crate) standings: PerCharge<Standing>,
}

pub(crate) struct Table {
    shards: Box<[Mutex<Shard>; SHARDS]>,
    per_shard: usize,
}

type Locked<'t> = SmallVec<[(usize, MutexGuard<'t, Shard>); 4]>;

/// What one charge meets.
struct Sought {
    used: u64,
    most: u64,
}

impl Table {
    pub(crate) fn new(subjects: usize) -> Self {
        Table {
            shards: Box::new(std::array::from_fn(|_| Mutex::default())),
            per_shard: subjects.div_ceil(SHARDS).max(1),
        }
    }

    /// Charges all asks or none. `alone` says that the shared store is away.
    pub(crate) fn reserve(&self, asks: &[Ask], now: u64, alone: Option<&Alone>) -> Result<Granted, Refused> {
        if let Some(ask) = asks
            .iter()
            .find(|ask| alone.is_some() && ask.rule.policy() == OnFailure::Deny)
        {
            return Err(unchecked(&ask.rule));
        }
        let mut locked = self.lock(asks);
        let sought: PerCharge<Sought> = asks
            .iter()
            .map(|ask| {
                locked
                    .shard(ask.key)
                    .map_or(Sought::NOTHING, |shard| shard.seek(ask, now, alone))
            })
            .collect();
        if let Some(refused) = refusal(&mut locked, asks, &sought, now) {
            return Err(refused);
        }
        let free: PerCharge<u64> = sought.iter().map(Sought::free).collect();
        let mut all = Granted {
            held: PerCharge::new(),
            standings: PerCharge::new(),
        };
        for ((ask, amount), sought) in asks.iter().zip(grant(asks, &free)).zip(&sought) {
            if let Some(shard) = locked.shard(ask.key) {
                let (held, clear_at) = shard.charge(ask, amount, now, self.per_shard);
                all.held.push(held);
                all.standings
                    .push(standing(&ask.rule, sought, amount, until(clear_at, now)));
            }
        }
        Ok(all)
    }

    /// Records what the shared store has admitted: this instance's own part, and what was free for all.
    pub(crate) fn record(&self, ask: &Ask, place: u64, amount: u64, free: u64, now: u64) -> Held {
        let mut shard = self.shard_of(ask.key).lock();
        let capacity = self.per_shard;
        let (meter, overflow) = shard.enter(ask, now, capacity);
        let period = match ask.rule.over() {
            Over::Period(period) => Some(period),
            Over::Window(_) | Over::Open => None,
        };
        meter.charge_at(place, amount, period);
        let kept = meter.kept();
        if let Some(subject) = shard.subjects.get_mut(&ask.key) {
            subject.sight.free = free;
        }
        Held::new(ask, place, amount, kept, overflow)
    }

    /// Corrects a cost; one that has aged out or was forgotten with its period stays gone.
    pub(crate) fn adjust(&self, held: &Held, delta: i64) {
        let mut shard = self.shard_of(held.key).lock();
        let meter = match held.overflow {
            Some(tag) => shard.overflow.get_mut(&tag),
            None => shard
                .subjects
                .get_mut(&held.key)
                .map(|subject| &mut subject.meter),
        };
        if let Some(meter) = meter {
            meter.adjust(held.place, delta);
        }
    }

    /// Raises what is spent to at least `amount`.
    pub(crate) fn raise(&self, ask: &Ask, now: u64) -> Option<(Held, u64)> {
        let mut shard = self.shard_of(ask.key).lock();
        let (meter, overflow) = shard.enter(ask, now, self.per_shard);
        meter.refresh(&ask.rule, now);
        let missing = ask
            .amount
            .checked_sub(meter.used())
            .filter(|missing| *missing > 0)?;
        let place = meter.charge(now, missing);
        let kept = meter.kept();
        Some((Held::new(ask, place, ask.amount, kept, overflow), missing))
    }

    /// Everything that still counts, by key and place.
    pub(crate) fn each(&self, now: u64, visit: &mut impl FnMut(Key, Kept, u64, u64)) {
        for shard in self.shards.iter() {
            let shard = shard.lock();
            for (key, subject) in &shard.subjects {
                if !subject.meter.is_idle(now) {
                    for (place, amount) in subject.meter.places() {
                        visit(*key, subject.meter.kept(), place, amount);
                    }
                }
            }
        }
    }

    /// How many subjects are stored.
    pub(crate) fn subjects(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().subjects.len()).sum()
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

impl Sought {
    const NOTHING: Sought = Sought { used: 0, most: 0 };

    fn free(&self) -> u64 {
        self.most.saturating_sub(self.used)
    }
}

impl Shard {
    /// What the ask would meet; stores nothing.
    fn seek(&mut self, ask: &Ask, now: u64, alone: Option<&Alone>) -> Sought {
        let rule = &*ask.rule;
        let overflow = self.overflow.get_mut(&rule.tag());
        if let Some(subject) = self.subjects.get_mut(&ask.key) {
            subject.meter.refresh(rule, now);
            let older = overflow.filter(|_| subject.wary_until > 0).map_or(0, |overflow| {
                overflow.refresh(rule, now);
                overflow.used_until(subject.wary_until)
            });
            return Sought {
                used: subject.meter.used().saturating_add(older),
                most: most(rule, alone, Some(subject), now),
            };
        }
        // Not stored yet. If the shard is full this is what it will share; if not, it may have used it before.
        let used = overflow.map_or(0, |overflow| {
            overflow.refresh(rule, now);
            overflow.used()
        });
        Sought {
            used,
            most: most(rule, alone, None, now),
        }
    }

    fn charge(&mut self, ask: &Ask, amount: u64, now: u64, capacity: usize) -> (Held, u64) {
        let (meter, overflow) = self.enter(ask, now, capacity);
        let place = meter.charge(now, amount);
        let kept = meter.kept();
        let clear_at = meter.clear_at(now);
        (Held::new(ask, place, amount, kept, overflow), clear_at)
    }

    /// The meter to charge, stored if there is room, else the overflow of the rule.
    fn enter(&mut self, ask: &Ask, now: u64, capacity: usize) -> (&mut Meter, Option<u64>) {
        let tag = ask.rule.tag();
        if !self.subjects.contains_key(&ask.key) {
            self.make_room(now, capacity);
            if self.subjects.len() >= capacity {
                let meter = self
                    .overflow
                    .entry(tag)
                    .or_insert_with(|| Meter::new(&ask.rule, now));
                return (meter, Some(tag));
            }
        }
        let overflow = &self.overflow;
        let subject = self.subjects.entry(ask.key).or_insert_with(|| Subject {
            meter: Meter::new(&ask.rule, now),
            wary_until: overflow.get(&tag).map_or(0, |_| wary_until(&ask.rule, now)),
            sight: Sight::default(),
        });
        (&mut subject.meter, None)
    }

    /// Forgets idle subjects when the shard has doubled or is full.
    fn make_room(&mut self, now: u64, capacity: usize) {
        const FIRST_SWEEP: usize = 64;
        let due = self.subjects.len() >= self.sweep_at_len.max(FIRST_SWEEP).min(capacity);
        if !due || now < self.swept_at.saturating_add(SWEEP_EVERY_MS) {
            return;
        }
        self.swept_at = now;
        self.subjects.retain(|_, subject| !subject.meter.is_idle(now));
        self.overflow.retain(|_, meter| !meter.is_idle(now));
        self.sweep_at_len = self.subjects.len().saturating_mul(2);
        if self.subjects.capacity() > self.sweep_at_len.saturating_mul(4).max(FIRST_SWEEP) {
            self.subjects.shrink_to(self.sweep_at_len);
        }
    }
}

impl Held {
    fn new(ask: &Ask, place: u64, amount: u64, kept: Kept, overflow: Option<u64>) -> Self {
        Held {
            key: ask.key,
            dimension: ask.rule.dimension(),
            strict: ask.rule.reserves() == crate::rule::Mode::Strict,
            place,
            amount,
            kept,
            overflow,
        }
    }
}

fn wary_until(rule: &Rule, now: u64) -> u64 {
    match rule.over() {
        Over::Window(window) => window.slot(now),
        Over::Period(_) | Over::Open => u64::MAX,
    }
}

/// The most that may be in use.
fn most(rule: &Rule, alone: Option<&Alone>, subject: Option<&mut Subject>, now: u64) -> u64 {
    let limit = rule.units();
    match (alone, subject) {
        _ if !rule.blocks() => u64::MAX,
        (None, _) => limit,
        (Some(_), _) if rule.policy() == OnFailure::Allow => u64::MAX,
        (Some(alone), Some(subject)) if !subject.meter.is_newer_than(alone.since, now) => {
            if subject.sight.outage != alone.outage {
                let free = subject.sight.free.min(limit);
                subject.sight.outage = alone.outage;
                subject.sight.cap = first_cap(limit, alone.instances, subject.meter.used(), free);
                // What was free is spent by this outage: the next one must have seen it anew.
                subject.sight.free = 0;
            }
            subject.sight.cap
        }
        (Some(alone), _) => first_cap(limit, alone.instances, limit, limit),
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
        crossed: rule.crossed(sought.used, used),
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

/// How soon a request is worth another try while the store is away.
pub(crate) const ASK_AGAIN: std::time::Duration = std::time::Duration::from_secs(1);

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
            crossed: None,
        },
    }
}

impl Shard {
    /// When the ask would fit, and when all is free again.
    fn waits(&self, ask: &Ask, sought: &Sought, now: u64) -> (u64, u64) {
        let own = self.subjects.get(&ask.key);
        let overflow = self.overflow.get(&ask.rule.tag());
        let needed = ask.least.saturating_sub(sought.free());
        let again = now.saturating_add(ASK_AGAIN.as_millis() as u64);
        let meters = || {
            own.map(|own| &own.meter)
                .into_iter()
                .chain(overflow.filter(|_| own.is_none_or(|own| own.wary_until > 0)))
        };
        let freed = if ask.least > sought.most {
            again
        } else {
            freed_at(&meters().collect::<SmallVec<[&Meter; 2]>>(), needed, now)
        };
        let clear = meters().map(|meter| meter.clear_at(now)).max().unwrap_or(now);
        (freed, clear)
    }
}

/// With the overflow counting as well, the later of what each alone would need: never too early.
fn freed_at(meters: &[&Meter], needed: u64, now: u64) -> u64 {
    meters
        .iter()
        .map(|meter| meter.freed_at(needed, now))
        .max()
        .unwrap_or(now)
}
