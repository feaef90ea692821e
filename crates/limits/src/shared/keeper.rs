//! The one background task of a shared limiter: heartbeat, connection, backlog, recovery.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisResult};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::backlog::Correction;
use super::generation::{made_at, read_name};
use super::telling::{Batch, Told, told};
use super::{Shared, eviction, signed, trouble};
use crate::heard::{Heard, News};
use crate::limiter::Core;
use crate::meter::LEASE_MS;
use crate::outage::REJOIN_MS;

/// How often an instance tells that it lives, and hears what the others use.
const BEAT: Duration = Duration::from_millis(100);
/// How often it asks while the store is away.
const PROBE: Duration = Duration::from_millis(100);
/// After this time without a heartbeat an instance counts as dead, in milliseconds.
const LIFETIME_MS: u64 = 10_000;
/// How often running requests renew their lease.
const RENEW: Duration = Duration::from_millis(LEASE_MS / 4);
/// How long a new connection may take.
const CONNECT: Duration = Duration::from_millis(500);
/// Probes on the old connection before a new one is tried beside it.
const PROBES_BEFORE_CONNECT: u32 = 3;
/// News of one heartbeat, at most and at first: on a slow line many would not be there in time.
const NEWS: usize = 512;
const FIRST_NEWS: usize = 64;
/// A call that is not answered by then never will be; its charges age out.
const LATE: Duration = Duration::from_secs(30);

/// A subject's name without what all have in front, what is used of it, and when that was.
type Published = (String, u64, u64);

/// What a heartbeat is told: the time, living instances, the generation, news, since when all of them are kept, how many others have
/// much to tell, until when all of this instance's earlier lives was known (0: nothing is), and how many calls it has counted.
type Reply = (u64, u64, String, Vec<Published>, u64, u64, u64, u64);

struct Keeper {
    core: Weak<Core>,
    random: u64,
    /// How long a heartbeat may take.
    patience: Duration,
    beats: u64,
    failed: u32,
    /// Up to when it has heard what the store publishes, how much it asks for at once, and whether there is more.
    heard_until: u64,
    page: usize,
    hears_more: bool,
    /// On its way; no second one before it is answered, so that corrections keep their order.
    sent: Option<(JoinHandle<Told>, Batch)>,
    renew_at: Instant,
}

/// Runs until the limiter is dropped.
pub(crate) async fn keep(core: Weak<Core>, random: u64, patience: Duration) {
    let mut keeper = Keeper::new(core, random, patience);
    let mut next = Instant::now();
    while let Some(core) = keeper.core.upgrade() {
        let Some(shared) = core.shared() else { return };
        if Instant::now() >= next {
            let answered = keeper.beat(&core, shared).await;
            let away = shared.backlog.lock().outage.alone().is_some();
            next = match answered {
                true if keeper.hears_more => Instant::now(),
                true if !away => Instant::now() + BEAT,
                _ => Instant::now() + PROBE,
            };
        }
        keeper.tell(&core, shared, next).await;
        // A short nap: while it sleeps it keeps a dropped limiter alive.
        let nap = next.saturating_duration_since(Instant::now()).min(PROBE);
        if timeout(nap, shared.wake.notified()).await.is_ok() && shared.probe.swap(false, Ordering::Relaxed) {
            next = Instant::now();
        }
    }
}

/// The first contact, so that a limiter starts together with the others where it can. No request waits for it: it may take longer.
pub(crate) async fn join(core: &Arc<Core>, random: u64) {
    let Some(shared) = core.shared() else { return };
    let mut keeper = Keeper::new(Arc::downgrade(core), random, CONNECT);
    keeper.failed = PROBES_BEFORE_CONNECT;
    if !keeper.beat(core, shared).await {
        shared.trip(false);
    }
}

impl Keeper {
    fn new(core: Weak<Core>, random: u64, patience: Duration) -> Self {
        Keeper {
            core,
            random,
            patience,
            beats: 0,
            failed: 0,
            heard_until: 0,
            page: FIRST_NEWS,
            hears_more: false,
            sent: None,
            renew_at: Instant::now() + RENEW,
        }
    }

    /// One heartbeat; learns clock, instances, generation.
    async fn beat(&mut self, core: &Core, shared: &Shared) -> bool {
        let line = shared.line.lock().clone();
        let mut reply = None;
        if let Some(line) = line {
            reply = self.ask(core, shared, line).await;
        }
        let broken = shared.line.lock().is_none() || self.failed >= PROBES_BEFORE_CONNECT;
        if reply.is_none() && broken {
            reply = self.ask_anew(core, shared).await;
        }
        let Some((now, instances, generation, news, kept_since, others, known, calls)) = reply else {
            self.page = FIRST_NEWS;
            self.failed = self.failed.saturating_add(1);
            shared.trip(false);
            return false;
        };
        self.failed = 0;
        shared.trouble.lock().clear();
        let known = Some(known).filter(|known| *known > 0);
        let is_new = shared.answered(core, instances, (&generation, calls), known);
        let mut backlog = shared.backlog.lock();
        if others > 0 {
            let now = shared.now();
            backlog.outage.others_tell(now);
        }
        if is_new {
            self.heard_until = 0;
        }
        // On its own it hears nothing: a store that has lost its data knows a part only, until all have told theirs.
        self.hears_more = false;
        if backlog.outage.alone().is_none() {
            backlog.heard.forgot_until(kept_since);
            self.hear(&mut backlog.heard, &news, now);
        }
        true
    }

    /// Asks on a new connection, and keeps it if that is answered.
    async fn ask_anew(&mut self, core: &Core, shared: &Shared) -> Option<Reply> {
        let line = connect(shared).await?;
        let reply = self.ask(core, shared, line.clone()).await?;
        if !shared.looked_at_eviction.swap(true, Ordering::Relaxed) {
            tokio::spawn(eviction::check(line.clone()));
        }
        *shared.line.lock() = Some(line);
        self.give_up_old_line(shared);
        Some(reply)
    }

    /// What is still on its way there may never be answered: it is told again on the new connection.
    fn give_up_old_line(&mut self, shared: &Shared) {
        if let Some((task, batch)) = self.sent.take() {
            task.abort();
            shared.untold(batch);
        }
    }

    async fn ask(&mut self, core: &Core, shared: &Shared, mut line: MultiplexedConnection) -> Option<Reply> {
        self.beats = self.beats.wrapping_add(1);
        let asked = shared.elapsed();
        let (is_alone, tells, knows, (generation, calls)) = {
            let backlog = shared.backlog.lock();
            let is_alone = backlog.outage.alone().is_some();
            // What the store is asked for first is what it knew before.
            let is_asked = shared.is_restored() && !backlog.generation.is_empty();
            let is_told = !is_alone || (self.sent.is_none() && backlog.has_told_all());
            let known = match &*backlog.generation {
                "" => shared.noted_calls().unwrap_or_default(),
                _ => (Arc::clone(&backlog.generation), backlog.calls),
            };
            (
                is_alone,
                is_alone && (backlog.has_much() || backlog.still_recalls(shared.now())),
                is_asked && is_told,
                known,
            )
        };
        let mut call = shared.scripts.beat.prepare_invoke();
        call.key(&shared.common_keys()[..])
            .key(shared.common_key("instances"))
            .key(shared.common_key("heard-since"))
            .key(shared.common_key("telling"))
            .key(shared.common_key("lives"))
            .arg(&shared.instance)
            .arg(format!("{:016x}-{:x}", self.random, self.beats))
            .arg(LIFETIME_MS)
            .arg(self.heard_until)
            .arg(if is_alone { 0 } else { self.page })
            .arg(u8::from(tells))
            .arg(shared.life())
            .arg(if knows { shared.local_now() } else { 0 })
            .arg(&*generation)
            .arg(calls);
        let reply = timeout(self.patience, call.invoke_async::<Reply>(&mut line)).await;
        let reply = shared.told_why(reply.ok()?)?;
        shared.learn_first(core, reply.0, asked);
        Some(reply)
    }

    /// Notes what the store has published since the last heartbeat, at `now` by its clock.
    fn hear(&mut self, heard: &mut Heard, news: &[Published], now: u64) {
        for (name, used, at) in news {
            if let Some((key, period)) = read_name(name) {
                let (used, at) = (*used, *at);
                heard.hear(key, period, News { used, at });
            }
        }
        // Again from the same millisecond on: it may not have been over. A clock that was set back is not waited for.
        let last = news.last().map_or(0, |(_, _, at)| *at);
        self.heard_until = self.heard_until.max(last).min(now);
        self.hears_more = news.len() >= self.page && last <= now;
        if self.hears_more {
            self.page = self.page.saturating_mul(2).min(NEWS);
        }
    }

    /// Sends what has gathered until the next heartbeat is due.
    async fn tell(&mut self, core: &Arc<Core>, shared: &Shared, until: Instant) {
        if Instant::now() >= self.renew_at {
            self.renew_at = Instant::now() + RENEW;
            shared.backlog.lock().renew();
        }
        while self.is_told(shared).await && self.failed == 0 && Instant::now() < until {
            let Some(batch) = shared.next_batch() else { return };
            let call = told(Arc::clone(core), &batch);
            self.sent = Some((tokio::spawn(call), batch));
        }
    }

    /// True if nothing is on its way any more.
    async fn is_told(&mut self, shared: &Shared) -> bool {
        let Some((mut task, batch)) = self.sent.take() else {
            return true;
        };
        let patience = if self.failed == 0 {
            shared.timeout
        } else {
            Duration::ZERO
        };
        match timeout(patience, &mut task).await {
            Err(_) => self.sent = Some((task, batch)),
            Ok(Ok(Told::Yes { calls })) => {
                shared.backlog.lock().count(batch.generation(), calls);
                return true;
            }
            Ok(Ok(Told::OtherGeneration)) => {
                // All that it would have told is told anew.
                shared.lost(batch.generation());
                return false;
            }
            Ok(Ok(Told::No) | Err(_)) => shared.untold(batch),
        }
        shared.trip(false);
        false
    }
}

async fn connect(shared: &Shared) -> Option<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(Some(LATE));
    let connecting = async {
        let mut line = shared
            .client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        // Known scripts are called in one round trip.
        for script in shared.scripts.all() {
            script.load_async(&mut line).await?;
        }
        Ok(line)
    };
    // Several answers, of which each may take so long.
    let patience = CONNECT.max(shared.timeout.saturating_mul(5));
    let connected = timeout(patience, connecting).await;
    let late = |_| Err(trouble::late(shared.client.get_connection_info().addr()));
    shared.told_why(connected.unwrap_or_else(late))
}

impl Shared {
    /// What came; why nothing came is said once, and again when the store has answered meanwhile or the reason is another.
    fn told_why<T>(&self, came: RedisResult<T>) -> Option<T> {
        came.inspect_err(|error| {
            let why = trouble::words(error);
            let mut said = self.trouble.lock();
            if *said != why {
                tracing::warn!("the shared store of limits cannot be asked: {why}");
                *said = why;
            }
        })
        .ok()
    }

    /// The store answered. If it is another one than before, it is told all that this instance knows; true then.
    fn answered(
        &self,
        core: &Core,
        instances: u64,
        (generation, calls): (&str, u64),
        known: Option<u64>,
    ) -> bool {
        let now = self.now();
        let mut backlog = self.backlog.lock();
        let is_new = &*backlog.generation != generation;
        backlog.leavers.count(instances);
        if backlog.leavers.reads(now) {
            self.is_stale();
        }
        if is_new {
            backlog.calls = 0;
            let first = backlog.generation.is_empty();
            backlog.generation = generation.into();
            // Those who have told the one before of theirs may not have noticed yet.
            let is_young =
                first && self.memory.is_some() && now < made_at(generation).saturating_add(REJOIN_MS);
            if is_young {
                backlog.outage.trip(now, true);
            }
            if !first || self.met(core, &mut backlog, known) {
                backlog.outage.trip(now, true);
                backlog.begin_anew(now);
                core.table.each(now, &mut |key, kept, place, amount| {
                    let amount = backlog.own((key, place), amount);
                    backlog.merge(
                        (key, place),
                        Correction {
                            kept,
                            delta: signed(amount),
                            create: true,
                            whole: true,
                        },
                    );
                });
                backlog.renew();
                backlog.recalls = self.has_common_ledger.then_some(now);
                self.is_stale();
                tracing::warn!(
                    "the shared store of limits had lost its data: telling it what this instance admitted"
                );
            }
        }
        backlog.count(generation, calls);
        backlog.outage.answer(now, instances);
        is_new
    }
}
