//! One request's call to the store.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use redis::ScriptInvocation;

use super::{Shared, signed};
use crate::charge::{Ask, Cause, PerCharge, Refused, Standing};
use crate::limiter::Core;
use crate::meter::{Kept, LEASE_MS};
use crate::reservation::Reservation;
use crate::rule::{Over, Rule};
use crate::shard::Held;
use crate::share::Seen;
use crate::table::Granted;

/// What the store says.
pub(super) enum Answer {
    Granted(Box<Reservation>),
    Refused(Box<Refused>),
    /// It did not answer, or not in words we know.
    Away,
    /// It has lost its data.
    Lost,
}

/// How the store counts an ask: the arguments `kind`, `a`, `b` of the script, and the place it would charge.
struct Counted {
    kind: &'static str,
    place: u64,
    a: String,
    b: u64,
}

impl Shared {
    fn counted(&self, rule: &Rule, now: u64) -> Counted {
        match rule.over() {
            Over::Window(window) => Counted {
                kind: "w",
                place: 0,
                a: window.width_ms().to_string(),
                b: window.life_ms(),
            },
            Over::Period(period) => {
                let bounds = period.bounds(now);
                Counted {
                    kind: "p",
                    place: bounds.start,
                    a: String::new(),
                    // A period without end must still be a time that the store can hold.
                    b: bounds.end.min(1 << 52),
                }
            }
            Over::Open => {
                let id = self.ids.fetch_add(1, Ordering::Relaxed);
                Counted {
                    kind: "o",
                    place: id,
                    a: self.request_name(id),
                    b: LEASE_MS,
                }
            }
        }
    }

    fn prepare<'s>(
        &'s self,
        asks: &[Ask],
        counted: &[Counted],
        (id, generation): (u64, &str),
    ) -> ScriptInvocation<'s> {
        let mut call = self.scripts.reserve.prepare_invoke();
        call.key(&self.common_keys()[..])
            .key(self.call_name(id))
            .arg(generation);
        for (ask, counted) in asks.iter().zip(counted) {
            let period = (counted.kind == "p").then_some(counted.place);
            let limit = if ask.rule.blocks() {
                signed(ask.rule.units())
            } else {
                -1
            };
            call.key(self.key_name(generation, ask.key, period))
                .arg(counted.kind)
                .arg(ask.amount)
                .arg(ask.least)
                .arg(limit)
                .arg(ask.rule.dimension() as u8)
                .arg(&counted.a)
                .arg(counted.b);
        }
        call
    }

    /// The store may have charged a call whose answer never came: that is taken back. What is in a window ages out.
    fn unheard(&self, (id, generation): (u64, &str), asks: &[Ask], counted: &[Counted]) {
        let mut backlog = self.backlog.lock();
        if *backlog.generation != *generation {
            return;
        }
        for (ask, counted) in asks.iter().zip(counted) {
            if counted.kind == "o" {
                backlog.release(ask.key, counted.place);
            }
        }
        if counted.iter().any(|counted| counted.kind == "p") {
            backlog.unheard.push(id);
        }
        drop(backlog);
        self.wake.notify_one();
    }
}

/// Reserves in the store. Runs to its end even if nobody waits any more.
pub(super) async fn reserve(core: Arc<Core>, asks: PerCharge<Ask>, generation: Arc<str>) -> Answer {
    let Some(shared) = core.shared() else {
        return Answer::Away;
    };
    let line = shared.line.lock().clone();
    let Some(mut line) = line else { return Answer::Away };
    let counted: PerCharge<Counted> = asks
        .iter()
        .map(|ask| shared.counted(&ask.rule, shared.now()))
        .collect();
    let id = shared.ids.fetch_add(1, Ordering::Relaxed);
    let call = shared.prepare(&asks, &counted, (id, &generation));
    let asked = shared.elapsed();
    let reply: Vec<i64> = match call.invoke_async(&mut line).await {
        Ok(reply) => reply,
        Err(error) => {
            tracing::debug!(kind = ?error.kind(), "the shared store of limits answers with an error");
            shared.unheard((id, &generation), &asks, &counted);
            return Answer::Away;
        }
    };
    let numbers: Vec<u64> = reply
        .iter()
        .map(|number| u64::try_from(*number).unwrap_or(u64::MAX))
        .collect();
    let (Some(status), Some(now)) = (numbers.first(), numbers.get(1)) else {
        return Answer::Away;
    };
    shared.learn(*now, asked);
    let rest = numbers.get(2..).unwrap_or_default();
    match status {
        0 => refused(&core, &asks, rest, *now)
            .map_or(Answer::Away, |refused| Answer::Refused(Box::new(refused))),
        1 => granted(&core, shared, &asks, &counted, (*now, rest), &generation),
        _ => Answer::Lost,
    }
}

fn refused(core: &Core, asks: &[Ask], rest: &[u64], at: u64) -> Option<Refused> {
    let entries = rest.as_chunks::<3>().0;
    for (ask, [used, ..]) in asks.iter().zip(entries) {
        core.table.see(ask, seen(&ask.rule, *used, at));
    }
    let refusing = asks
        .iter()
        .zip(entries)
        .filter(|(_, [_, retry, _])| *retry != u64::MAX);
    let (ask, [used, retry, reset]) = refusing.max_by_key(|(_, [_, retry, _])| *retry)?;
    Some(Refused {
        rule: ask.rule.name().clone(),
        cause: Cause::Limit,
        retry_after: Duration::from_millis(*retry),
        standing: standing(&ask.rule, *used, *reset),
    })
}

fn granted(
    core: &Arc<Core>,
    shared: &Shared,
    asks: &[Ask],
    counted: &[Counted],
    (at, rest): (u64, &[u64]),
    generation: &Arc<str>,
) -> Answer {
    let now = shared.now();
    let mut all = Granted {
        held: Vec::with_capacity(asks.len()),
        standings: Vec::with_capacity(asks.len()),
    };
    let mut backlog = shared.backlog.lock();
    // Charged in data that was lost since: the store has to be told again.
    let stale = backlog.generation != *generation;
    let [calls, rest @ ..] = rest else {
        return Answer::Away;
    };
    backlog.count(generation, *calls);
    for ((ask, counted), [amount, used, reset, place]) in
        asks.iter().zip(counted).zip(rest.as_chunks::<4>().0)
    {
        let place = if counted.kind == "w" {
            *place
        } else {
            counted.place
        };
        let held: Held = core
            .table
            .record(ask, place, *amount, seen(&ask.rule, *used, at), now);
        match held.kept {
            _ if *amount == 0 => {}
            Kept::Open if stale => backlog.hold(held.key, held.place),
            Kept::Open => backlog.known(held.key, held.place),
            Kept::Ring(_) | Kept::Spent { .. } if stale => backlog.add(&held, signed(*amount), true),
            Kept::Ring(_) | Kept::Spent { .. } => {}
        }
        all.held.push(held);
        all.standings.push(standing(&ask.rule, *used, *reset));
    }
    drop(backlog);
    Answer::Granted(Box::new(Reservation::new(core, all)))
}

/// What the store has said of a subject, at its time.
fn seen(rule: &Rule, used: u64, at: u64) -> Seen {
    Seen {
        free: rule.units().saturating_sub(used),
        at,
    }
}

fn standing(rule: &Rule, used: u64, reset_ms: u64) -> Standing {
    Standing {
        dimension: rule.dimension(),
        limit: rule.limit(),
        remaining: rule.dimension().amount(rule.units().saturating_sub(used)),
        reset: Duration::from_millis(reset_ms),
    }
}
