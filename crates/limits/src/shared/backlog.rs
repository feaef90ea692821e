//! What the store has yet to be told.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::leavers::Leavers;
use super::spent::Raise;
use crate::heard::Heard;
use crate::meter::Kept;
use crate::outage::Outage;
use crate::shard::Held;
use crate::share::Alone;
use crate::subject::Key;

/// Corrections in one call.
pub(super) const BATCH: usize = 256;
/// Corrections kept at most. More is dropped and counted: costs then stay as they were reserved.
const CORRECTIONS_MAX: usize = 1 << 18;

/// The sum of all corrections of one place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Correction {
    pub(super) kept: Kept,
    pub(super) delta: i64,
    /// The store may not know this place yet.
    pub(super) create: bool,
    /// It is all that this instance has there, for a store that has lost its data.
    pub(super) whole: bool,
}

pub(super) struct Backlog {
    pub(super) outage: Outage,
    pub(super) leavers: Leavers,
    /// Names the data of the store: another one means that it was lost.
    pub(super) generation: Arc<str>,
    /// Of how many calls it has told: one that knows of fewer was taken back to older data.
    pub(super) calls: u64,
    pub(super) corrections: HashMap<(Key, u64), Correction>,
    /// What a ledger knows of budgets.
    pub(super) raised: Vec<Raise>,
    /// What all had spent when the common ledger was last read: a store without data is told it for those that have ended.
    others: HashMap<(Key, u64), Raise>,
    /// What other processes of this instance that still run had spent when this one began, by their ledger: they tell it themselves.
    pub(super) of_others_here: Option<HashMap<(Key, u64), u64>>,
    /// When the store lost its data, until the common ledger was read again.
    pub(super) recalls: Option<u64>,
    /// Requests that run now, by the subject they count for.
    pub(super) held: HashMap<Key, HashSet<u64>>,
    pub(super) entered: Vec<(Key, u64)>,
    pub(super) released: Vec<(Key, u64)>,
    /// Calls whose answer was lost: what they have taken of budgets is to be taken back.
    pub(super) unheard: Vec<u64>,
    /// All was told when the store was last to be told something.
    pub(super) told: bool,
    /// Until when the store was told of this instance's earlier lives when it answered first; `None`: it has not answered.
    pub(super) known_until: Option<Option<u64>>,
    /// Costs of earlier lives, and when they were, that such a store may not know.
    pub(super) unsure: Vec<(Held, u64)>,
    /// By how many milliseconds the clock was put forward when the store told its own; `None`: it has not.
    pub(super) clock_moved: Option<i64>,
    pub(super) dropped: u64,
    /// What the store told of subjects with its heartbeats.
    pub(super) heard: Heard,
}

impl Backlog {
    pub(super) fn new(instances: u64) -> Self {
        Backlog {
            outage: Outage::new(instances),
            leavers: Leavers::default(),
            generation: "".into(),
            calls: 0,
            corrections: HashMap::new(),
            raised: Vec::new(),
            others: HashMap::new(),
            of_others_here: None,
            recalls: None,
            held: HashMap::new(),
            entered: Vec::new(),
            released: Vec::new(),
            unheard: Vec::new(),
            told: false,
            known_until: None,
            unsure: Vec::new(),
            clock_moved: None,
            dropped: 0,
            heard: Heard::default(),
        }
    }

    /// The store of this generation has told of so many calls.
    pub(super) fn count(&mut self, generation: &str, calls: u64) {
        if *self.generation == *generation {
            self.calls = self.calls.max(calls);
        }
    }

    /// The terms on which this instance decides alone now.
    pub(super) fn alone(&self) -> Alone {
        let (outage, instances) = self.outage.history();
        self.outage.alone().copied().unwrap_or(Alone {
            outage,
            since: 0,
            instances,
        })
    }

    pub(super) fn add(&mut self, held: &Held, delta: i64, create: bool) {
        self.merge(
            (held.key, held.place),
            Correction {
                kept: held.kept,
                delta,
                create,
                whole: false,
            },
        );
    }

    pub(super) fn merge(&mut self, at: (Key, u64), correction: Correction) {
        if self.corrections.len() >= CORRECTIONS_MAX && !self.corrections.contains_key(&at) {
            self.dropped = self.dropped.saturating_add(1);
            return;
        }
        self.corrections
            .entry(at)
            .and_modify(|known| {
                known.delta = known.delta.saturating_add(correction.delta);
                known.create |= correction.create;
                known.whole |= correction.whole;
            })
            .or_insert(correction);
    }

    /// The clock was put forward by so many milliseconds.
    pub(super) fn move_clock(&mut self, ms: i64) {
        self.outage.move_clock(ms);
        self.unsure.iter_mut().for_each(|(held, _)| held.move_clock(ms));
        for ((key, place), correction) in std::mem::take(&mut self.corrections) {
            let window = correction.kept.window();
            let place = window.map_or(place, |window| window.moved(place, ms));
            self.merge((key, place), correction);
        }
    }

    /// What is to be told of budgets is all that this instance has there.
    pub(super) fn is_whole(&mut self) {
        for correction in self.corrections.values_mut() {
            correction.whole = true;
        }
    }

    pub(super) fn raise(&mut self, raise: Raise) {
        self.raised.push(raise);
    }

    /// Of so much that is spent there, what this process is to tell.
    pub(super) fn own(&self, at: (Key, u64), amount: u64) -> u64 {
        let others = self.of_others_here.as_ref().and_then(|others| others.get(&at));
        amount.saturating_sub(others.copied().unwrap_or(0))
    }

    /// Remembers what all had spent.
    pub(super) fn of_others(&mut self, raise: Raise) {
        self.others.insert((raise.key, raise.place), raise);
    }

    /// The store has lost its data: nothing that was to be corrected is there.
    pub(super) fn begin_anew(&mut self, now: u64) {
        self.corrections.clear();
        self.released.clear();
        self.unheard.clear();
        self.unsure.clear();
        self.known_until = Some(None);
        self.others.retain(|_, spent| spent.end > now);
        self.raised = self.others.values().map(Raise::to_anew).collect();
    }

    /// Notes a running request that the store does not know.
    pub(super) fn hold(&mut self, key: Key, id: u64) {
        self.known(key, id);
        self.entered.push((key, id));
    }

    /// Notes a running request that the store has registered.
    pub(super) fn known(&mut self, key: Key, id: u64) {
        self.held.entry(key).or_default().insert(id);
    }

    pub(super) fn release(&mut self, key: Key, id: u64) {
        let empty = self.held.get_mut(&key).is_some_and(|ids| {
            ids.remove(&id);
            ids.is_empty()
        });
        if empty {
            self.held.remove(&key);
        }
        self.released.push((key, id));
    }

    /// Registers all running requests anew: their lease, or after lost data.
    pub(super) fn renew(&mut self) {
        let all = self
            .held
            .iter()
            .flat_map(|(key, ids)| ids.iter().map(|id| (*key, *id)));
        self.entered = all.collect();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.corrections.is_empty()
            && self.raised.is_empty()
            && self.entered.is_empty()
            && self.released.is_empty()
            && self.unheard.is_empty()
    }

    /// The store has all that was to be told.
    pub(super) fn has_told_all(&self) -> bool {
        self.told && self.is_empty()
    }

    /// How many of what is raised go into one call.
    pub(super) fn raised_at_once(&self) -> usize {
        let mut weight = 0_usize;
        let fits = self.raised.iter().take_while(|raise| {
            let before = weight;
            weight = weight.saturating_add(raise.weight());
            before == 0 || weight <= BATCH
        });
        fits.count()
    }

    /// More than goes into one call.
    pub(super) fn has_much(&self) -> bool {
        self.len() > BATCH
    }

    fn len(&self) -> usize {
        self.corrections
            .len()
            .saturating_add(self.raised.len())
            .saturating_add(self.entered.len())
            .saturating_add(self.released.len())
            .saturating_add(self.unheard.len())
    }
}
