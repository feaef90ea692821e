//! One shard of the table: meters by subject, and what happens when there are too many.
//!
//! When a shard is full of subjects that still count, new ones share one *overflow* meter per rule: all of them together
//! stay within the limit of one, so none exceeds it, and a flood of invented names shuts nobody out who is known. A
//! subject that gets a meter of its own while the overflow still counts may have used it before; until that has aged
//! out, the overflow's older costs count against it.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use smallvec::SmallVec;

use crate::charge::Ask;
use crate::meter::{Kept, Meter};
use crate::rule::{Dimension, Mode, OnFailure, Over, Rule};
use crate::share::{Seen, Sight, Terms};
use crate::subject::Key;

/// Fewer subjects than this are kept, idle or not.
const FIRST_SWEEP: usize = 64;
/// A full shard looks for idle subjects at most this often, in milliseconds.
const SWEEP_EVERY_MS: u64 = 1_000;

/// How soon a request is worth another try while the store is away.
pub(crate) const ASK_AGAIN: std::time::Duration = std::time::Duration::from_secs(1);

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
    /// The period of a budget and the highest of its thresholds that was reported in it.
    told: (u64, u8),
}

#[derive(Default)]
pub(crate) struct Shard {
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
    /// Its place is by the clock of this machine: the shared store had not told its own.
    pub(crate) is_by_own_clock: bool,
}

/// What one charge meets.
pub(crate) struct Sought {
    pub(crate) used: u64,
    pub(crate) most: u64,
}

impl Sought {
    pub(crate) const NOTHING: Sought = Sought { used: 0, most: 0 };

    pub(crate) fn free(&self) -> u64 {
        self.most.saturating_sub(self.used)
    }
}

impl Shard {
    /// What the ask would meet; stores nothing.
    pub(crate) fn seek(&mut self, ask: &Ask, now: u64, terms: Option<&Terms<'_>>) -> Sought {
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
                most: most(ask, terms, Some(&mut *subject), now),
            };
        }
        // Not stored yet. If the shard is full this is what it will share; if not, it may have used it before.
        let used = overflow.map_or(0, |overflow| {
            overflow.refresh(rule, now);
            overflow.used()
        });
        Sought {
            used,
            most: most(ask, terms, None, now),
        }
    }

    pub(crate) fn charge(&mut self, ask: &Ask, amount: u64, now: u64, capacity: usize) -> (Held, u64) {
        let (meter, overflow) = self.enter(ask, now, capacity);
        let place = meter.charge(now, amount);
        let kept = meter.kept();
        let clear_at = meter.clear_at(now);
        (Held::new(ask, place, amount, kept, overflow), clear_at)
    }

    /// The meter to charge, stored if there is room, else the overflow of the rule.
    fn enter(&mut self, ask: &Ask, now: u64, capacity: usize) -> (&mut Meter, Option<u64>) {
        let tag = ask.rule.tag();
        if self.subjects.len() >= self.crowded_at(capacity) && !self.subjects.contains_key(&ask.key) {
            self.make_room(now);
            // Invented users and models must not make keys and channels share.
            if self.subjects.len() >= capacity && !ask.rule.subjects().are_configured() {
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
            told: (0, 0),
        });
        (&mut subject.meter, None)
    }

    /// So many subjects are a reason to look for idle ones: the shard has doubled, or is full.
    fn crowded_at(&self, capacity: usize) -> usize {
        self.sweep_at_len.max(FIRST_SWEEP).min(capacity)
    }

    /// Forgets idle subjects, not too often.
    fn make_room(&mut self, now: u64) {
        if now < self.swept_at.saturating_add(SWEEP_EVERY_MS) {
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

    /// Charges a place that the shared store has decided.
    pub(crate) fn charge_at(
        &mut self,
        ask: &Ask,
        place: u64,
        amount: u64,
        now: u64,
        capacity: usize,
    ) -> Held {
        let (meter, overflow) = self.enter(ask, now, capacity);
        let period = match ask.rule.over() {
            Over::Period(period) => Some(period),
            Over::Window(_) | Over::Open => None,
        };
        meter.charge_at(place, amount, period);
        let kept = meter.kept();
        Held::new(ask, place, amount, kept, overflow)
    }

    /// The clock was put forward by so many milliseconds.
    pub(crate) fn move_clock(&mut self, ms: i64) {
        for subject in self.subjects.values_mut() {
            subject.meter.move_clock(ms);
            if let Some(window) = subject.meter.kept().window() {
                subject.wary_until = match subject.wary_until {
                    0 => 0,
                    slot => window.moved(slot, ms),
                };
            }
        }
        self.overflow.values_mut().for_each(|meter| meter.move_clock(ms));
    }

    pub(crate) fn see(&mut self, key: Key, seen: Seen) {
        if let Some(subject) = self.subjects.get_mut(&key) {
            subject.sight.seen = seen;
            subject.sight.shown = Some((subject.meter.period(), seen.free));
        }
    }

    /// Notes the cap of a subject that may be new since an outage began: what it uses meanwhile is not what it had before.
    pub(crate) fn set_cap(&mut self, key: Key, terms: &Terms<'_>, cap: u64) {
        if let Some(subject) = self.subjects.get_mut(&key) {
            subject.sight.set_cap(&terms.alone, cap);
        }
    }

    /// What is used under the rule: by this process, or by all as the shared store last said. Stores nothing.
    pub(crate) fn used(&mut self, ask: &Ask, now: u64) -> u64 {
        let own = self.seek(ask, now, None).used;
        let seen = self.subjects.get(&ask.key).and_then(|subject| {
            let (period, free) = subject.sight.shown?;
            (period == subject.meter.period()).then(|| ask.rule.units().saturating_sub(free))
        });
        own.max(seen.unwrap_or(0))
    }

    pub(crate) fn adjust(&mut self, held: &Held, delta: i64) {
        if let Some(meter) = self.meter_of(held) {
            meter.adjust(held.place, delta);
        }
    }

    /// The meter that holds a cost, if it is still there.
    fn meter_of(&mut self, held: &Held) -> Option<&mut Meter> {
        match held.overflow {
            Some(tag) => self.overflow.get_mut(&tag),
            None => self.subjects.get_mut(&held.key).map(|subject| &mut subject.meter),
        }
    }

    /// Moves a cost to a later slot of its window; false if its own is not there any more.
    pub(crate) fn renew(&mut self, held: &mut Held, slot: u64) -> bool {
        let moved = self
            .meter_of(held)
            .is_some_and(|meter| meter.postpone(held.place, slot, held.amount));
        if moved {
            held.place = slot;
        }
        moved
    }

    /// The thresholds that are reached and were not reported yet in this period. Subjects that share an overflow have none.
    pub(crate) fn crossing(&mut self, ask: &Ask, now: u64) -> Vec<u8> {
        let used = self.used(ask, now);
        let Some(highest) = ask.rule.reached(used).max() else {
            return Vec::new();
        };
        let Some(subject) = self.subjects.get_mut(&ask.key) else {
            return Vec::new();
        };
        let period = subject.meter.period();
        let told = match subject.told {
            (of, told) if of == period => told,
            _ => 0,
        };
        subject.told = (period, told.max(highest));
        let mut new: Vec<u8> = ask.rule.reached(used).filter(|percent| *percent > told).collect();
        new.sort_unstable();
        new
    }

    pub(crate) fn raise(&mut self, ask: &Ask, now: u64, capacity: usize) -> Option<(Held, u64)> {
        let (meter, overflow) = self.enter(ask, now, capacity);
        meter.refresh(&ask.rule, now);
        let missing = ask
            .amount
            .checked_sub(meter.used())
            .filter(|missing| *missing > 0)?;
        let place = meter.charge(now, missing);
        let kept = meter.kept();
        Some((Held::new(ask, place, ask.amount, kept, overflow), missing))
    }

    pub(crate) fn each(&self, now: u64, visit: &mut impl FnMut(Key, Kept, u64, u64)) {
        for (key, subject) in &self.subjects {
            if !subject.meter.is_idle(now) {
                for (place, amount) in subject.meter.places() {
                    visit(*key, subject.meter.kept(), place, amount);
                }
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.subjects.len()
    }

    /// When the ask would fit, and when all is free again.
    pub(crate) fn waits(&self, ask: &Ask, sought: &Sought, now: u64) -> (u64, u64) {
        let own = self.subjects.get(&ask.key);
        let overflow = self.overflow.get(&ask.rule.tag());
        // More may be used than the limit is: it was lowered, or the cost was more than was likely.
        let needed = sought.used.saturating_add(ask.least).saturating_sub(sought.most);
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

impl Held {
    /// The first millisecond at which it no longer counts; `None`: it is in no window.
    pub(crate) fn gone_at(&self) -> Option<u64> {
        self.kept.window().map(|window| window.gone_at(self.place))
    }

    /// The last millisecond of its slot; `None`: it is in no window, or nothing is held there.
    pub(crate) fn last_moment(&self) -> Option<u64> {
        let window = self.kept.window().filter(|_| self.amount > 0)?;
        Some(window.last_moment(self.place))
    }

    fn new(ask: &Ask, place: u64, amount: u64, kept: Kept, overflow: Option<u64>) -> Self {
        Held {
            key: ask.key,
            dimension: ask.rule.dimension(),
            strict: ask.rule.reserves() == Mode::Strict,
            place,
            amount,
            kept,
            overflow,
            is_by_own_clock: false,
        }
    }

    /// The clock was put forward by so many milliseconds.
    pub(crate) fn move_clock(&mut self, ms: i64) {
        if let Some(window) = self.kept.window() {
            self.place = window.moved(self.place, ms);
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
fn most(ask: &Ask, terms: Option<&Terms<'_>>, subject: Option<&mut Subject>, now: u64) -> u64 {
    let (rule, limit) = (&*ask.rule, ask.rule.units());
    if !rule.blocks() {
        return u64::MAX;
    }
    let Some(Terms { alone, heard }) = terms else {
        return limit;
    };
    if rule.policy() == OnFailure::Allow {
        return u64::MAX;
    }
    if rule.has_left(alone.since, now) {
        return alone.share(limit);
    }
    let first_cap = |own, seen: Seen| {
        let news = heard.of(rule, ask.key, alone.since);
        let is_complete = heard.is_complete(rule, seen.at, alone.since);
        alone.first_cap(limit, own, alone.free(limit, seen, news, is_complete))
    };
    let Some(subject) = subject else {
        return first_cap(0, Sight::default().seen);
    };
    subject.sight.cap(alone).unwrap_or_else(|| {
        let cap = first_cap(subject.meter.used(), subject.sight.seen);
        subject.sight.set_cap(alone, cap);
        cap
    })
}

/// With the overflow counting as well, the later of what each alone would need: never too early.
fn freed_at(meters: &[&Meter], needed: u64, now: u64) -> u64 {
    meters
        .iter()
        .map(|meter| meter.freed_at(needed, now))
        .max()
        .unwrap_or(now)
}
