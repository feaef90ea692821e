//! What gathers for the store, in calls of many corrections.

use std::sync::Arc;

use super::backlog::{BATCH, Correction, Raise};
use super::{Shared, signed};
use crate::limiter::Core;
use crate::meter::{Kept, LEASE_MS};
use crate::subject::Key;

/// What one call tells the store.
#[derive(Default)]
pub(super) struct Batch {
    raised: Vec<Raise>,
    corrections: Vec<((Key, u64), Correction)>,
    entered: Vec<(Key, u64)>,
    released: Vec<(Key, u64)>,
    /// It is the last: with it the store knows all until then, milliseconds since 1970 by the clock of this machine.
    until: Option<u64>,
}

/// Tells a batch; true if the store has it.
pub(super) fn told(core: Arc<Core>, batch: &Batch) -> impl Future<Output = bool> + use<> {
    let lines: Vec<(String, &'static str, String, i64, bool, u64, u64)> = core
        .shared()
        .map(|shared| shared.lines(batch))
        .unwrap_or_default();
    let until = batch.until.unwrap_or(0);
    async move {
        let Some(shared) = core.shared() else { return false };
        let line = shared.line.lock().clone();
        let Some(mut line) = line else { return false };
        let mut call = shared.scripts.settle.prepare_invoke();
        call.key(&shared.common_keys()[..])
            .key(shared.common_key("lives"));
        for (key, kind, place, delta, create, a, b) in lines {
            call.key(key)
                .arg(kind)
                .arg(place)
                .arg(delta)
                .arg(i32::from(create))
                .arg(a)
                .arg(b);
        }
        call.arg(shared.life()).arg(until);
        call.invoke_async::<i64>(&mut line).await.is_ok()
    }
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
        if !backlog.has_much() && backlog.outage.may_rejoin(now) {
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
        let raised = backlog.raised.len().min(BATCH);
        let mut batch = Batch {
            raised: backlog.raised.drain(..raised).collect(),
            corrections,
            entered: take(&mut backlog.entered),
            released: take(&mut backlog.released),
            until: None,
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
        backlog.renew();
    }

    fn lines(&self, batch: &Batch) -> Vec<(String, &'static str, String, i64, bool, u64, u64)> {
        let raised = batch.raised.iter().filter_map(|raise| {
            let Kept::Spent { end } = raise.kept else {
                return None;
            };
            let (name, amount) = (self.key_name(raise.key, Some(raise.place)), signed(raise.amount));
            Some((
                name,
                "m",
                raise.place.to_string(),
                amount,
                true,
                0,
                end.min(1 << 52),
            ))
        });
        let corrections = batch.corrections.iter().filter_map(|((key, place), correction)| {
            let (name, kind, a, b) = match correction.kept {
                Kept::Ring(window) => (
                    self.key_name(*key, None),
                    "w",
                    window.width_ms(),
                    window.life_ms(),
                ),
                Kept::Spent { end } => (self.key_name(*key, Some(*place)), "p", 0, end.min(1 << 52)),
                Kept::Open => return None,
            };
            Some((
                name,
                kind,
                place.to_string(),
                correction.delta,
                correction.create,
                a,
                b,
            ))
        });
        let of = |kind| {
            move |(key, id): &(Key, u64)| {
                (
                    self.key_name(*key, None),
                    kind,
                    self.request_name(*id),
                    0,
                    false,
                    0,
                    LEASE_MS,
                )
            }
        };
        // A request that entered and left meanwhile is registered first, released then.
        raised
            .chain(corrections)
            .chain(batch.entered.iter().map(of("h")))
            .chain(batch.released.iter().map(of("r")))
            .collect()
    }
}
