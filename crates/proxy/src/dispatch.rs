//! The attempts of one request, until one commits (promise P5): this channel again, another of its keys, the next channel, or none.

use std::time::{Duration, Instant};

use ai_api_converter::{Failure, FailureClass};
use opm_config::Channel;
use opm_limits::Standing;
use opm_routing::{
    Admitted, Again, Candidate, ChannelLive, Counted, Parked, Plan, UnderWay, Verdict, verdict,
};
use opm_telemetry::ChannelMetrics;
use rand::Rng as _;

use crate::answer::{Given, give};
use crate::attempt::{Exchange, Missed};
use crate::endpoint::{call, is_converted};
use crate::gateway::{Gateway, Refused};
use crate::history::Tried;
use crate::metering::account::{Account, Destination};
use crate::metering::refused::Denied;
use crate::net::client::Client;
use crate::net::peer::EndpointPeer;
use crate::record::Record;
use crate::refusal::more_telling;
use crate::snapshot::Snapshot;
use crate::waiting::waiting;

/// The attempts of one request.
pub(crate) struct Dispatch<'d> {
    pub(crate) gateway: &'d Gateway,
    pub(crate) snapshot: &'d Snapshot,
    pub(crate) exchange: &'d Exchange<'d>,
    pub(crate) plan: &'d Plan,
    /// The conversation, for affinity.
    pub(crate) conversation: Option<u64>,
    /// The first candidate counts this request already.
    pub(crate) first: Option<UnderWay>,
}

/// Where an attempt goes.
#[derive(Clone, Copy)]
struct Place<'d> {
    channel: &'d Channel,
    peer: &'d EndpointPeer,
    live: &'d std::sync::Arc<ChannelLive>,
    candidate: &'d Candidate,
    meters: &'d ChannelMetrics,
}

/// What the candidates before have left.
#[derive(Default)]
struct Spent {
    attempts: u32,
    /// Candidates that are still to come.
    behind: usize,
    /// The failure that tells the caller most so far.
    failure: Option<Failure>,
    /// The limit of a channel that lets the request pass first.
    limited: Option<(Failure, Option<Box<Standing>>)>,
}

impl<'d> Place<'d> {
    fn destination(&self) -> Destination<'d> {
        Destination {
            number: self.candidate.channel,
            channel: self.channel,
            meters: self.meters,
            model: &self.candidate.model,
            format: self.candidate.format,
        }
    }
}

/// Whether anything is left to do after a candidate.
enum After {
    Answered,
    Gone,
    Next,
    Stop,
}

impl<'d> Dispatch<'d> {
    /// Tries the candidates in order.
    pub(crate) async fn run(
        mut self,
        client: &mut Client,
        record: &mut Record,
        account: &mut Account<'d>,
    ) -> Result<(), Refused> {
        let _request = self.gateway.live().retries.enter();
        let mut spent = Spent::default();
        for (at, candidate) in self.plan.candidates.iter().enumerate() {
            spent.behind = self.plan.candidates.len() - at - 1;
            let place = self
                .snapshot
                .channel(candidate.channel)
                .zip(self.snapshot.live.get(candidate.channel))
                .zip(self.snapshot.meters(candidate.channel, self.gateway.metrics()));
            let Some((((channel, peer), live), meters)) = place else {
                continue;
            };
            let place = Place {
                channel,
                peer,
                live,
                candidate,
                meters,
            };
            match self.candidate(client, place, &mut spent, record, account).await {
                After::Answered => return Ok(()),
                After::Gone => return Err(None),
                After::Next => {}
                After::Stop => break,
            }
        }
        let limited = || {
            let (failure, standing) = spent.limited?;
            account.limited(standing);
            Some(failure)
        };
        Err(Some(spent.failure.or_else(limited).unwrap_or_else(|| {
            Failure::new(FailureClass::NoChannel, "No channel can serve the request now.")
        })))
    }

    /// One channel: its keys in turn, and once more after a failure that may pass.
    async fn candidate(
        &mut self,
        client: &mut Client,
        place: Place<'d>,
        spent: &mut Spent,
        record: &mut Record,
        account: &mut Account<'d>,
    ) -> After {
        let mut keys: Vec<usize> = Vec::new();
        let mut again = false;
        loop {
            let Some(_permit) = self.permit(spent, place.live) else {
                return After::Stop;
            };
            let now = self.gateway.now();
            let Some(admitted) = place.live.admit(now, self.plan.last_resort) else {
                return After::Next;
            };
            let key = place.live.take_key(now, &keys, self.plan.last_resort);
            if key.is_none() && !place.channel.keys.is_empty() {
                place.live.abandoned(admitted);
                return After::Next;
            }
            if let Err(denied) = account.reserve(place.destination()).await {
                place.live.abandoned(admitted);
                return self.denied(denied, spent);
            }
            let under_way = self.first.take().unwrap_or_else(|| place.live.enter());
            record.channel = Some(place.candidate.channel);
            spent.attempts += 1;
            let missed = match self.once(client, place, key, admitted, record, account).await {
                Ok(()) => return After::Answered,
                Err(Missed::Gone) => return After::Gone,
                Err(Missed::Failed(failure, stage)) => (failure, stage),
            };
            drop(under_way);
            let (failure, stage) = missed;
            account.missed(&failure, stage);
            let verdict = verdict(&failure, stage, &self.snapshot.config.retry);
            if failure.class == FailureClass::Unsupported {
                // Nothing was sent.
                spent.attempts -= 1;
            }
            self.judge(place, key, admitted, &failure, verdict);
            spent.failure = Some(more_telling(spent.failure.take(), failure));
            // Whoever has not been asked yet comes before a second try of whoever has failed.
            let spare = self.spare(spent, verdict.next);
            if spare && verdict.other_key && key.is_some_and(|key| has_other(place.channel, &mut keys, key)) {
                continue;
            }
            match verdict
                .again
                .filter(|_| spare && !again && !self.plan.last_resort)
            {
                Some(when) => {
                    again = true;
                    if waiting(self.pause(client, when), &mut record.waited)
                        .await
                        .is_err()
                    {
                        return After::Gone;
                    }
                }
                None if verdict.next => return After::Next,
                None => return After::Stop,
            }
        }
    }

    /// A limit of the caller ends the request; one of the channel leaves it to the next.
    fn denied(&self, denied: Denied, spent: &mut Spent) -> After {
        match denied {
            Denied::Request(failure) => {
                spent.failure = Some(failure);
                After::Stop
            }
            Denied::Channel(failure, standing) => {
                // Without a time it never passes.
                let wait = |failure: &Failure| failure.retry_after.unwrap_or(Duration::MAX);
                let sooner = spent
                    .limited
                    .take()
                    .filter(|(other, _)| wait(other) <= wait(&failure));
                spent.limited = sooner.or(Some((failure, standing)));
                After::Next
            }
        }
    }

    /// Is an attempt left beside those that the candidates behind may need?
    fn spare(&self, spent: &Spent, next: bool) -> bool {
        let left = self.snapshot.config.retry.attempts.saturating_sub(spent.attempts);
        !next || usize::try_from(left).unwrap_or(usize::MAX) > spent.behind
    }

    /// The first attempt is free; the others need leave.
    fn permit(&self, spent: &Spent, live: &ChannelLive) -> Option<Option<Counted<'d>>> {
        if spent.attempts == 0 {
            return Some(None);
        }
        if spent.attempts >= self.snapshot.config.retry.attempts {
            return None;
        }
        self.gateway.live().retries.repeat(live.is_well()).map(Some)
    }

    async fn once(
        &self,
        client: &mut Client,
        place: Place<'d>,
        key: Option<usize>,
        admitted: Admitted,
        record: &mut Record,
        account: &mut Account<'d>,
    ) -> Result<(), Missed> {
        let started = Instant::now();
        let span = record.trace.as_deref_mut().map(|trace| {
            trace.attempt = rand::rng().random();
            trace.attempt
        });
        let (status, given) = self.send(client, place, key, record, account).await;
        let ended = Instant::now();
        let now = self.gateway.at(ended);
        let mut tried = |outcome, status| {
            place.meters.attempt(outcome);
            record.trail.attempts.push(Tried {
                span,
                channel: place.live.name.clone(),
                outcome,
                status,
                after: started.duration_since(record.started),
                time: ended.duration_since(started),
            });
        };
        match given {
            Ok(given) => {
                tried(if given.broken { "broken" } else { "ok" }, status);
                if record.status == 499 {
                    place.meters.client_abort();
                }
                if given.broken {
                    place.meters.upstream_cut();
                    place.live.failed(now, admitted, rand::rng().random());
                } else {
                    place.live.succeeded(now, admitted);
                }
                place.live.observe(now, given.first_token.as_secs_f64() * 1e3);
                place.meters.first_token(given.first_token);
                if let Some(conversation) = self.conversation {
                    self.gateway
                        .live()
                        .affinity
                        .set(conversation, &place.live.name, now);
                }
                record.first_token = Some(started.duration_since(record.started) + given.first_token);
                Ok(())
            }
            Err(Missed::Gone) => {
                tried("client_gone", status);
                place.meters.client_abort();
                place.live.abandoned(admitted);
                Err(Missed::Gone)
            }
            Err(Missed::Failed(failure, stage)) => {
                tried(failure.class.as_str(), failure.upstream_status.or(status));
                tracing::warn!(
                    id = self.exchange.id.as_str(),
                    channel = &*place.live.name,
                    class = failure.class.as_str(),
                    upstream_status = failure.upstream_status,
                    "attempt failed"
                );
                Err(Missed::Failed(failure, stage))
            }
        }
    }

    /// Sends the request and gives the client the answer. The status is the upstream's, if there was one.
    async fn send(
        &self,
        client: &mut Client,
        place: Place<'d>,
        key: Option<usize>,
        record: &mut Record,
        account: &mut Account<'d>,
    ) -> (Option<u16>, Result<Given, Missed>) {
        let target = (place.channel, place.peer);
        let upstreams = self.gateway.upstreams();
        if is_converted(self.exchange, place.candidate) {
            // Rare and large: boxed, it does not weigh on every request.
            let calling = Box::pin(call(
                client,
                self.exchange,
                upstreams,
                target,
                (place.candidate, key),
                record,
                account,
            ));
            let given = calling.await;
            return (given.is_ok().then_some(200), given);
        }
        let sending =
            self.exchange
                .attempt(client, upstreams, target, (place.candidate, key), record, account);
        let sent = Box::pin(sending).await;
        match sent {
            Ok(answered) => {
                let status = answered.response.status();
                let metrics = self.gateway.metrics();
                let giving = give(client, self.exchange, answered, metrics, record, account);
                let given = Box::pin(giving).await;
                (Some(status), given)
            }
            Err(missed) => (None, Err(missed)),
        }
    }

    /// What a failure means for the channel and its key.
    fn judge(
        &self,
        place: Place<'d>,
        key: Option<usize>,
        admitted: Admitted,
        failure: &Failure,
        verdict: Verdict,
    ) {
        let now = self.gateway.now();
        if verdict.counts {
            place.live.failed(now, admitted, rand::rng().random());
        } else if failure.is_channels_fault() || failure.class == FailureClass::Unsupported {
            place.live.abandoned(admitted);
        } else {
            // The provider answered, and the fault is the request's: the channel is well.
            place.live.succeeded(now, admitted);
        }
        if let Some((wait, why)) = verdict.park
            && let Some(key) = key
        {
            place.live.park_key(key, now + crate::record::millis(wait), why);
            let seconds = wait.as_secs();
            let channel = &*place.live.name;
            if why == Parked::Refused {
                tracing::error!(
                    channel,
                    key,
                    seconds,
                    "the provider refuses this key; it is left alone for a while"
                );
            } else {
                tracing::warn!(
                    channel,
                    key,
                    seconds,
                    "the provider limits this key; it is left alone for a while"
                );
            }
        }
    }

    /// Waits before the same channel is tried again, unless the client leaves meanwhile.
    async fn pause(&self, client: &mut Client, when: Again) -> Result<(), ()> {
        let retry = &self.snapshot.config.retry;
        let wait = match when {
            Again::Now => return Ok(()),
            Again::Later => {
                let span = retry.backoff_max.saturating_sub(retry.backoff_min);
                retry.backoff_min + span.mul_f64(rand::rng().random::<f64>())
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait.min(Duration::from_secs(10))) => Ok(()),
            _ = client.gone() => Err(()),
        }
    }
}

/// Notes a key as tried, if the channel has another one; the only key may be tried again.
fn has_other(channel: &Channel, tried: &mut Vec<usize>, key: usize) -> bool {
    let other = tried.len() + 1 < channel.keys.len();
    if other {
        tried.push(key);
    }
    other
}
