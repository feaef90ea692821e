//! What is known of the channels beyond their configuration: who is busy, slow, broken or out of keys. It outlives reloads: a channel
//! that keeps its name keeps its state.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use opm_config::{Channel, Config};
use parking_lot::Mutex;

use crate::affinity::Affinity;
use crate::breaker::{Admitted, Breaker, Millis, Standing};
use crate::latency::PeakEwma;
use crate::provider_keys::{Parked, ProviderKeys};
use crate::retry::RetryBudget;
use crate::rotation::Rotation;

/// The live side of one channel.
#[derive(Debug)]
pub struct ChannelLive {
    /// Its name.
    pub name: Arc<str>,
    in_flight: AtomicUsize,
    requests: AtomicU64,
    failures: AtomicU64,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    breaker: Breaker,
    latency: PeakEwma,
    keys: ProviderKeys,
}

/// One request under way at a channel; counts down when it goes.
#[derive(Debug)]
pub struct UnderWay(Arc<ChannelLive>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

impl ChannelLive {
    fn new(channel: &Channel) -> Self {
        ChannelLive {
            name: channel.name.as_str().into(),
            in_flight: AtomicUsize::new(0),
            requests: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            inner: Mutex::new(Inner {
                breaker: Breaker::new(channel.breaker),
                latency: PeakEwma::default(),
                keys: ProviderKeys::default(),
            }),
        }
    }

    fn adopt(&self, channel: &Channel) {
        let mut inner = self.inner.lock();
        inner.breaker.limit(channel.breaker);
        inner
            .keys
            .set(channel.keys.iter().map(opm_core::Secret::fingerprint));
    }

    /// Requests under way, streams until their end.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }

    /// Counts a request until the guard is dropped.
    #[must_use]
    pub fn enter(self: &Arc<Self>) -> UnderWay {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        self.requests.fetch_add(1, Ordering::Relaxed);
        UnderWay(Arc::clone(self))
    }

    /// How it stands with its breaker.
    #[must_use]
    pub fn standing(&self, now: Millis) -> Standing {
        self.inner.lock().breaker.standing(now)
    }

    /// Its breaker is closed and its last answer was good.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.inner.lock().breaker.is_well()
    }

    /// Leave to try it; with `force` in any case.
    pub fn admit(&self, now: Millis, force: bool) -> Option<Admitted> {
        let breaker = &mut self.inner.lock().breaker;
        breaker.admit(now).or_else(|| force.then(|| breaker.force()))
    }

    /// A try was good.
    pub fn succeeded(&self, now: Millis, admitted: Admitted) {
        self.inner.lock().breaker.succeeded(now, admitted);
    }

    /// A try failed through the channel's fault.
    pub fn failed(&self, now: Millis, admitted: Admitted, chance: f64) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.inner.lock().breaker.failed(now, admitted, chance);
    }

    /// A probe in the background told how the channel is; that also ends the pause of an open breaker.
    pub fn probed(&self, now: Millis, well: bool, chance: f64) {
        let breaker = &mut self.inner.lock().breaker;
        let admitted = breaker.force();
        if well {
            breaker.succeeded(now, admitted);
        } else if breaker.standing(now) == Standing::Closed || breaker.standing(now) == Standing::HalfOpen {
            breaker.failed(now, admitted, chance);
        } else {
            breaker.abandoned(admitted);
        }
    }

    /// A try told nothing about the channel.
    pub fn abandoned(&self, admitted: Admitted) {
        self.inner.lock().breaker.abandoned(admitted);
    }

    /// The time to the first token of an answer, milliseconds.
    pub fn observe(&self, now: Millis, time: f64) {
        self.inner.lock().latency.observe(now, time);
    }

    /// Recent time to first token, milliseconds.
    #[must_use]
    pub fn latency(&self, now: Millis) -> f64 {
        self.inner.lock().latency.get(now)
    }

    /// The next usable key; with `force` a parked one rather than none.
    pub fn take_key(&self, now: Millis, tried: &[usize], force: bool) -> Option<usize> {
        let keys = &mut self.inner.lock().keys;
        keys.take(now, tried)
            .or_else(|| keys.soonest(now).filter(|_| force && tried.is_empty()))
    }

    /// Leaves a key alone until then.
    pub fn park_key(&self, at: usize, until: Millis, why: Parked) {
        self.inner.lock().keys.park(at, until, why);
    }

    /// When the first key is free again, if all are parked.
    #[must_use]
    pub fn all_parked(&self, now: Millis) -> Option<(Millis, Parked)> {
        self.inner.lock().keys.all_parked(now)
    }

    /// Attempts since the start, and those that failed through the channel's fault.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (
            self.requests.load(Ordering::Relaxed),
            self.failures.load(Ordering::Relaxed),
        )
    }

    /// The parking of each key, in order.
    #[must_use]
    pub fn parkings(&self, now: Millis) -> Vec<Option<(Millis, Parked)>> {
        self.inner.lock().keys.parkings(now)
    }

    /// Parked keys, of how many.
    #[must_use]
    pub fn parked(&self, now: Millis) -> (usize, usize) {
        self.inner.lock().keys.parked(now)
    }
}

/// The live side of all channels, and what is decided across them.
#[derive(Debug, Default)]
pub struct Live {
    channels: Mutex<HashMap<String, Arc<ChannelLive>>>,
    /// Turns of `round_robin`.
    pub rotation: Rotation,
    /// Where conversations are served.
    pub affinity: Affinity,
    /// How many attempts may be repetitions.
    pub retries: RetryBudget,
    /// Held while a channel is chosen by the number of its requests, so that two choices never see the same number.
    pub choosing: Mutex<()>,
}

impl Live {
    /// The live sides of a configuration's channels, in its order. Channels that are gone are forgotten.
    pub fn adopt(&self, config: &Config) -> Vec<Arc<ChannelLive>> {
        let mut known = self.channels.lock();
        let mut list = Vec::with_capacity(config.channels.len());
        for channel in &config.channels {
            let live = known
                .entry(channel.name.clone())
                .or_insert_with(|| Arc::new(ChannelLive::new(channel)));
            live.adopt(channel);
            list.push(Arc::clone(live));
        }
        known.retain(|name, _| config.channels.iter().any(|channel| channel.name == *name));
        list
    }
}
