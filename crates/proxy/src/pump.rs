//! A stream on its way to the client: one loop, no task, no channel, no lock (architecture.md section 4).

use std::pin::{Pin, pin};
use std::time::{Duration, Instant};

use ai_api_converter::stream::{Progress, Stream};
use ai_api_converter::{Failure, FailureClass, Format};
use bytes::Bytes;
use http::HeaderMap;
use opm_ledger::Outcome;
use tokio::time::{Instant as Deadline, Sleep, sleep_until};

use crate::abandoned::rest_of_stream;
use crate::attempt::transport;
use crate::metering::account::{Account, Seen};
use crate::net::client::Client;
use crate::net::patience::rings;
use crate::net::upstream::{UpstreamErrorKind, UpstreamResponse};
use crate::waiting::waiting;

/// Silence after which the client gets a sign of life (wire.md 2.5).
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Gemini clients get theirs later: it is a chunk of its own.
const KEEP_ALIVE_GEMINI: Duration = Duration::from_secs(30);
/// After the upstream's head, so long is content waited for before the client's head leaves without it (wire.md 2.6).
const COMMIT_AFTER: Duration = Duration::from_secs(3);
/// The end is held so long for usage (wire.md 4.6).
const HELD_END: Duration = Duration::from_millis(500);

/// How a stream ended.
pub(crate) enum Ending {
    /// The client has all of it.
    Done,
    /// The client left.
    Gone,
    /// It failed after the client's head was sent; the client was told in its own format.
    Broken(Failure),
    /// It failed before anything was sent: another channel may be tried.
    Nothing(Failure),
}

/// One stream.
pub(crate) struct Pump<'p, 'a> {
    pub(crate) client: &'p mut Client,
    pub(crate) stream: &'p mut Stream,
    pub(crate) format: Format,
    /// Head of the client's answer.
    pub(crate) headers: HeaderMap,
    pub(crate) idle: Duration,
    /// When the whole request must be over.
    pub(crate) end: Deadline,
    /// When the client's head left.
    pub(crate) committed: &'p mut Option<Instant>,
    /// Time spent waiting for the upstream and the client.
    pub(crate) waited: &'p mut Duration,
    /// When the request was sent to the upstream.
    pub(crate) sent: Instant,
    pub(crate) account: &'p mut Account<'a>,
}

/// The upstream's last bytes are waited for so long, to keep its connection (wire.md 4.2).
const DRAIN_FOR: Duration = Duration::from_millis(50);

/// What a silent upstream is waited for.
#[derive(Clone, Copy)]
struct Times {
    /// Until something must be done about it.
    deadline: Deadline,
    /// Until it counts as broken.
    silence: Deadline,
}

enum Event {
    Chunk(Result<Option<Bytes>, Failure>),
    Gone,
    Timer,
    /// The whole request took too long.
    End,
}

impl Pump<'_, '_> {
    /// Runs the stream to its end.
    pub(crate) async fn run(mut self, mut response: UpstreamResponse<'_>) -> Ending {
        let mut out: Vec<u8> = Vec::with_capacity(4 * 1024);
        let mut committed = false;
        let mut held = false;
        let drain = self.client.drain();
        // Both are kept for the whole stream: to begin such a wait with every event would cost more than the event.
        let mut expired = pin!(drain.expired());
        let mut started = Deadline::now();
        let mut deadline = started + COMMIT_AFTER;
        let mut timer = pin!(sleep_until(deadline));
        let mut silent_since = started;
        loop {
            // Our own keep-alives must not make a silent upstream look alive.
            let times = Times {
                deadline,
                silence: silent_since + self.idle,
            };
            let next = self.next(&mut response, timer.as_mut(), expired.as_mut(), times);
            let event = next.await;
            let now = Deadline::now();
            *self.waited += now.duration_since(started);
            started = now;
            if matches!(event, Event::Chunk(_)) {
                silent_since = now;
            }
            let progress = match event {
                Event::Gone if committed && self.client.is_expired() => broken(
                    FailureClass::Overloaded,
                    "The gateway is shutting down; try again.",
                ),
                Event::Gone => return self.gone(&mut response).await,
                Event::End => broken(
                    FailureClass::Timeout,
                    "The request took longer than the gateway waits in all.",
                ),
                Event::Timer if held => self.stream.release(&mut out),
                Event::Timer if committed => {
                    self.stream.keep_alive(&mut out);
                    deadline = started + self.keep_alive_after();
                    if self.flush(&mut out).await.is_err() {
                        return self.gone(&mut response).await;
                    }
                    started = Deadline::now();
                    continue;
                }
                Event::Timer => Progress {
                    content: true,
                    ..Progress::default()
                },
                Event::Chunk(Ok(Some(chunk))) => self.stream.push(&chunk, &mut out),
                Event::Chunk(Ok(None)) => self.stream.end(&mut out),
                Event::Chunk(Err(failure)) => Progress {
                    failure: Some(failure),
                    content: committed,
                    ..Progress::default()
                },
            };
            if let Some(failure) = progress.failure {
                return self.failed(failure, committed, out).await;
            }
            if !committed && (progress.content || progress.ended) {
                committed = true;
                *self.committed = Some(Instant::now());
                if self.start().await.is_err() {
                    return self.gone(&mut response).await;
                }
            }
            if progress.ended || progress.terminal {
                // Recorded before the last word leaves: what the client has in full is in the ledger.
                let (seen, first) = (self.seen(), self.first_content());
                self.account.answered(200, &seen, first.unwrap_or_default()).await;
            }
            if committed && self.flush(&mut out).await.is_err() {
                return self.gone(&mut response).await;
            }
            if progress.ended {
                let finished = waiting(self.client.finish(), self.waited).await;
                waiting(response.drain(DRAIN_FOR), self.waited).await;
                return if finished.is_ok() {
                    Ending::Done
                } else {
                    Ending::Gone
                };
            }
            let likely = self.stream.output_estimate();
            let stream = &*self.stream;
            self.account.progress(likely, || seen(stream));
            held = progress.held;
            started = Deadline::now();
            if committed {
                let wait = if held { HELD_END } else { self.keep_alive_after() };
                deadline = started + wait;
            }
        }
    }

    /// Whatever comes first. A read that a timer interrupts loses nothing: what was read stands in the session's buffer.
    async fn next(
        &mut self,
        response: &mut UpstreamResponse<'_>,
        timer: Pin<&mut Sleep>,
        expired: Pin<&mut impl Future<Output = ()>>,
        times: Times,
    ) -> Event {
        let first = times.deadline.min(times.silence).min(self.end);
        tokio::select! {
            biased;
            chunk = response.next_chunk() => Event::Chunk(chunk.map_err(transport)),
            _ = self.client.left() => Event::Gone,
            () = expired => Event::Gone,
            () = rings(timer, first) => match first {
                _ if first == times.silence => Event::Chunk(Err(transport(UpstreamErrorKind::IdleTimeout.into()))),
                _ if first == self.end => Event::End,
                _ => Event::Timer,
            },
        }
    }

    fn keep_alive_after(&self) -> Duration {
        if self.format == Format::Gemini {
            KEEP_ALIVE_GEMINI
        } else {
            KEEP_ALIVE
        }
    }

    async fn start(&mut self) -> Result<(), crate::net::client::Gone> {
        let headers = std::mem::take(&mut self.headers);
        self.client.start_stream(200, headers).await
    }

    async fn flush(&mut self, out: &mut Vec<u8>) -> Result<(), crate::net::client::Gone> {
        if out.is_empty() {
            return Ok(());
        }
        let bytes = Bytes::copy_from_slice(out);
        out.clear();
        waiting(self.client.send(bytes), self.waited).await
    }

    async fn failed(mut self, failure: Failure, committed: bool, mut out: Vec<u8>) -> Ending {
        if !committed {
            return Ending::Nothing(failure);
        }
        let outcome = if self.client.is_expired() {
            Outcome::Aborted
        } else {
            Outcome::UpstreamCut
        };
        let (seen, first) = (self.seen(), self.first_content());
        let status = failure.status(self.format);
        self.account.interrupted(outcome, status, &seen, first).await;
        self.stream.fail(&failure, &mut out);
        let told = self.flush(&mut out).await.is_ok() && self.client.finish().await.is_ok();
        if told {
            Ending::Broken(failure)
        } else {
            Ending::Gone
        }
    }

    async fn gone(self, response: &mut UpstreamResponse<'_>) -> Ending {
        let place = self.account.may_drain().filter(|_| !self.client.is_expired());
        let drained = match place {
            Some(_place) => rest_of_stream(self.stream, response).await,
            None => false,
        };
        let (seen, first) = (self.seen(), self.first_content());
        let complete = seen.complete || drained;
        let seen = Seen { complete, ..seen };
        self.account
            .interrupted(Outcome::ClientGone, 499, &seen, first)
            .await;
        Ending::Gone
    }

    fn seen(&self) -> Seen {
        seen(self.stream)
    }

    /// From sending the request to the first content.
    fn first_content(&self) -> Option<Duration> {
        self.committed.map(|at| at.duration_since(self.sent))
    }
}

/// A stream that we end.
fn broken(class: FailureClass, text: &'static str) -> Progress {
    Progress {
        failure: Some(Failure::new(class, text)),
        ..Progress::default()
    }
}

fn seen(stream: &Stream) -> Seen {
    let reported = stream.usage().clone().believed();
    Seen {
        complete: stream.is_finished() && reported.output.is_some(),
        reported,
        likely: stream.output_estimate(),
        most: stream.output_most(),
        presumed: None,
    }
}
