//! What gathers for the store, in calls of many corrections.

use std::sync::Arc;

use super::backlog::{BATCH, Correction};
use super::spent::{By, Raise};
use super::{Shared, signed};
use crate::limiter::Core;
use crate::meter::{Kept, LEASE_MS};
use crate::subject::Key;

/// On its own for longer, milliseconds, an instance asks the common ledger what others have spent meanwhile.
const LONG_MS: u64 = 1_500;

/// What one call tells the store.
pub(super) struct Batch {
    raised: Vec<Raise>,
    corrections: Vec<((Key, u64), Correction)>,
    entered: Vec<(Key, u64)>,
    released: Vec<(Key, u64)>,
    unheard: Vec<u64>,
    /// It is the last: with it the store knows all until then, milliseconds since 1970 by the clock of this machine.
    until: Option<u64>,
    /// The store it is for.
    generation: Arc<str>,
}

impl Batch {
    pub(super) fn generation(&self) -> &Arc<str> {
        &self.generation
    }
}

/// Whether a store has a batch.
pub(super) enum Told {
    /// It has counted so many calls.
    Yes { calls: u64 },
    /// Nobody knows.
    No,
    /// It is another store by now, and has taken nothing.
    OtherGeneration,
}

/// Tells a batch.
pub(super) fn told(core: Arc<Core>, batch: &Batch) -> impl Future<Output = Told> + use<> {
    let lines: Vec<Line> = core
        .shared()
        .map(|shared| shared.lines(batch))
        .unwrap_or_default();
    let until = batch.until.unwrap_or(0);
    let generation = Arc::clone(&batch.generation);
    async move {
        let Some(shared) = core.shared() else {
            return Told::No;
        };
        let line = shared.line.lock().clone();
        let Some(mut line) = line else { return Told::No };
        let mut call = shared.scripts.settle.prepare_invoke();
        call.key(&shared.common_keys()[..])
            .key(shared.common_key("lives"))
            .key(shared.common_key("telling"));
        for line in lines {
            call.key(line.key)
                .arg(line.kind)
                .arg(line.place)
                .arg(line.delta)
                .arg(i32::from(line.flag))
                .arg(line.a)
                .arg(line.b);
        }
        call.arg(shared.life()).arg(until).arg(&*generation);
        match call.invoke_async::<i64>(&mut line).await {
            Ok(calls) => u64::try_from(calls).map_or(Told::OtherGeneration, |calls| Told::Yes { calls }),
            Err(_) => Told::No,
        }
    }
}

/// One correction as the script reads it.
struct Line {
    key: String,
    kind: &'static str,
    place: String,
    delta: i64,
    flag: bool,
    a: u64,
    b: u64,
}

impl Shared {
    /// What to tell next; lets the store decide again when that is the last of it.
    pub(super) fn next_batch(&self) -> Option<Batch> {
        if !self.is_restored() {
            // Told in parts, a start that is cut off would tell it again.
            return None;
        }
        let now = self.now();
        let mut backlog = self.backlog.lock();
        if !backlog.has_much() && !backlog.still_recalls(now) && backlog.outage.may_rejoin(now) {
            // Who has ended in so long a time has not told the store what he admitted, but fed it to the common ledger.
            let began = backlog.outage.alone().map_or(now, |alone| alone.since);
            if now.saturating_sub(began) >= LONG_MS {
                backlog.leavers.may_have_gone();
            }
            backlog.outage.rejoin();
            tracing::info!("the shared store of limits decides again");
            self.noting.notify_one();
        }
        if backlog.is_empty() {
            if !std::mem::replace(&mut backlog.told, true) {
                self.noting.notify_one();
            }
            return None;
        }
        backlog.told = false;
        let keys: Vec<(Key, u64)> = backlog.corrections.keys().take(BATCH).copied().collect();
        let corrections = keys
            .into_iter()
            .filter_map(|at| Some((at, backlog.corrections.remove(&at)?)))
            .collect();
        let take = |list: &mut Vec<(Key, u64)>| {
            let length = list.len().min(BATCH);
            list.drain(..length).collect()
        };
        let raised = backlog.raised_at_once();
        let mut batch = Batch {
            raised: backlog.raised.drain(..raised).collect(),
            corrections,
            entered: take(&mut backlog.entered),
            released: take(&mut backlog.released),
            unheard: {
                let length = backlog.unheard.len().min(BATCH);
                backlog.unheard.drain(..length).collect()
            },
            until: None,
            generation: Arc::clone(&backlog.generation),
        };
        batch.until = backlog.is_empty().then(|| self.local_now());
        Some(batch)
    }

    /// A batch that may or may not have arrived. Costs are told again: counted twice is safe. What would give back is
    /// not: it stays reserved until it ages out.
    pub(super) fn untold(&self, batch: Batch) {
        let mut backlog = self.backlog.lock();
        backlog.raised.extend(batch.raised);
        for (at, correction) in batch.corrections {
            if correction.delta > 0 {
                backlog.merge(at, correction);
            } else {
                backlog.dropped = backlog.dropped.saturating_add(1);
            }
        }
        backlog.released.extend(batch.released);
        backlog.unheard.extend(batch.unheard);
        backlog.renew();
    }

    fn lines(&self, batch: &Batch) -> Vec<Line> {
        let mut lines = Vec::new();
        let part = self.part();
        let name = |key: &Key| self.key_name(&batch.generation, *key, None);
        for raise in &batch.raised {
            let (place, amount) = ((raise.key, raise.place, raise.end), signed(raise.amount));
            match &raise.by {
                By::Instance => self.of_period(&mut lines, batch, place, ("m", "", amount, false)),
                By::Everybody => self.of_period(&mut lines, batch, place, ("s", "", amount, false)),
                By::Each(parts) => {
                    self.of_period(&mut lines, batch, place, ("c", &parts.list, 0, parts.is_anew));
                }
            }
        }
        for ((key, place), correction) in &batch.corrections {
            let (delta, create) = (correction.delta, correction.create);
            match correction.kept {
                Kept::Ring(window) => lines.push(Line {
                    key: name(key),
                    kind: "w",
                    place: place.to_string(),
                    delta,
                    flag: create,
                    a: window.width_ms(),
                    b: window.life_ms(),
                }),
                Kept::Spent { end } => {
                    let is_whole = correction.whole && !part.is_empty();
                    let kind = if is_whole { "t" } else { "p" };
                    self.of_period(
                        &mut lines,
                        batch,
                        (*key, *place, end),
                        (kind, &part, delta, create),
                    );
                }
                Kept::Open => {}
            }
        }
        lines.extend(batch.unheard.iter().map(|call| Line {
            key: self.call_name(*call),
            kind: "u",
            place: String::new(),
            delta: 0,
            flag: false,
            a: 0,
            b: 0,
        }));
        // A request that entered and left meanwhile is registered first, released then.
        let entered = batch.entered.iter().map(|open| ("h", open));
        let released = batch.released.iter().map(|open| ("r", open));
        lines.extend(entered.chain(released).map(|(kind, (key, id))| Line {
            key: name(key),
            kind,
            place: self.request_name(*id),
            delta: 0,
            flag: false,
            a: 0,
            b: LEASE_MS,
        }));
        lines
    }

    /// A correction of a period. Those that say who has spent need the list of whose parts are known too.
    fn of_period(
        &self,
        lines: &mut Vec<Line>,
        batch: &Batch,
        (key, place, end): (Key, u64, u64),
        (kind, who, delta, flag): (&'static str, &str, i64, bool),
    ) {
        let name = self.key_name(&batch.generation, key, Some(place));
        let line = |key, kind| Line {
            key,
            kind,
            place: who.to_owned(),
            delta,
            flag,
            a: 0,
            // A period without end must still be a time that the store can hold.
            b: end.min(1 << 52),
        };
        let parts = matches!(kind, "c" | "s" | "t").then(|| line(format!("{name}:parts"), "-"));
        lines.push(line(name, kind));
        lines.extend(parts);
    }
}
