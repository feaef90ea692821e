//! One try: sent, failed, or on its way.

use std::sync::Arc;

use ai_api_converter::{Failure, Format, Usage};
use opm_ledger::{Billed, Ending, Expected, Metered, Outcome, Start, Target, unix_ms};
use opm_limits::{Dimension, Reservation};
use opm_routing::Stage;
use tokio::sync::SemaphorePermit;

use super::{Account, Seen, Task, millis};

/// Bytes of a request per token of its prompt, roughly (wire.md 9.1).
const BYTES_PER_TOKEN: u64 = 4;

/// Output tokens after which the limits of a running answer are topped up, without a ledger whose checkpoints do it.
const TOP_UP: u64 = 256;

impl<'a> Account<'a> {
    /// The request is about to be sent: from now on the upstream may bill.
    pub(crate) async fn dispatch(&mut self) {
        self.sent = true;
        self.reservations_mut().for_each(Reservation::sent);
        let (Some(ledger), Some(to)) = (&self.metering.ledger, self.destination) else {
            return;
        };
        let model: Arc<str> = self.who.model.into();
        let target = Target {
            channel: Arc::clone(to.meters.channel()),
            upstream_model: if to.model == &*model {
                Arc::clone(&model)
            } else {
                to.model.into()
            },
            format: Some(to.format),
        };
        let presumed = self.presumed();
        let expected = Expected {
            cost: self.cost(&presumed),
            usage: Metered::estimated(presumed),
            held: self.held(Dimension::Tokens),
            held_cost: self.held(Dimension::Money),
        };
        let entry = match &mut self.entry {
            Some(entry) => {
                if let Some(ending) = self.missed.take() {
                    entry.attempt(ending);
                }
                entry.dispatch(target, expected);
                entry
            }
            None => self.entry.insert(ledger.start(Start {
                request_id: self.asked.id.as_str().into(),
                key: shared(self.who.key),
                user: shared(self.who.user),
                model,
                format: Some(self.asked.format),
                target: Some(target),
                expected,
            })),
        };
        let ticket = entry.started();
        self.durable(ticket).await;
    }

    /// The client left before anything of the request went out: nobody bills that.
    pub(crate) fn unsent(&mut self) {
        self.sent = false;
    }

    /// The try failed before anything reached the client.
    pub(crate) fn missed(&mut self, failure: &Failure, stage: Stage) {
        if !std::mem::take(&mut self.sent) {
            return;
        }
        let told = self.told.take().filter(|usage| usage.total().is_some());
        let is_told = told.is_some();
        let worked = !is_told && may_have_worked(failure, stage);
        if worked {
            self.refine();
        }
        let usage = match told {
            Some(usage) => usage,
            None if worked => self.presumed(),
            None => Usage::default(),
        };
        let cost = self.cost(&usage);
        if worked || is_told {
            self.meter(&usage, cost);
            let cost = cost.map_or(0, |cost| cost.0);
            self.spent = self.spent.saturating_add(cost);
        }
        let actual = self.actual(&usage, cost);
        self.missed = Some(Ending {
            outcome: Outcome::Failed,
            status: failure.upstream_status.unwrap_or(0),
            billed: if is_told {
                Billed::Yes
            } else if worked || may_be_billed(failure, stage) {
                Billed::Estimated
            } else {
                Billed::No
            },
            cost,
            held: if worked { self.held(Dimension::Tokens) } else { 0 },
            held_cost: if worked { self.held(Dimension::Money) } else { 0 },
            usage: if is_told {
                Metered::reported(usage)
            } else {
                Metered::estimated(usage)
            },
            total_ms: millis(self.asked.started.elapsed()),
            ..Ending::default()
        });
        let channels = self.channel_held.take().map(|(_, held)| held);
        if is_told {
            // The next try needs reservations of its own.
            let all = channels.into_iter().chain(self.held.take());
            all.for_each(|held| held.settle(actual));
            (self.admitted, self.again) = (false, true);
        } else if worked {
            // Dropped, they stay counted, all but the concurrency. The next try needs reservations of its own.
            drop((channels, self.held.take()));
            (self.admitted, self.again) = (false, true);
        } else if let Some(held) = channels {
            held.release();
        }
    }

    /// The answer of this try is a failure, and may say what it has used all the same. Only Responses do without output: elsewhere a count of
    /// the input stands in front of what failed then.
    pub(crate) fn told(&mut self, usage: Usage) {
        let of_responses = self.destination.is_some_and(|to| to.format == Format::Responses);
        let says = of_responses || usage.output.is_some_and(|output| output > 0);
        self.told = says.then_some(usage);
    }

    /// A part of the work of this try is done and counted, whatever becomes of the rest.
    pub(crate) fn worked(&mut self, usage: Usage) {
        self.told = Some(usage);
    }

    /// What the request probably uses, as long as nothing is known of its answer.
    pub(super) fn presumed(&mut self) -> Usage {
        let bytes = u64::try_from(self.asked.body.len()).unwrap_or(u64::MAX);
        // Exact enough for a record that says «estimated»: a request without limits does not pay for more.
        let input = self
            .need
            .map_or(bytes / BYTES_PER_TOKEN, |need| need.input.likely);
        let model = self.destination.map_or("", |to| to.model);
        let given = self.asked.scan.max_tokens;
        let output = (self.asked.task == Task::Write)
            .then(|| self.metering.learned.of(model).likely_output(given))
            .flatten();
        Usage {
            input: self.asked.task.is_counted().then_some(input),
            output,
            ..Usage::default()
        }
    }

    /// The most of a dimension that any limit holds for it. Recorded, because a limit that has been restarted must count that too.
    pub(super) fn held(&self, dimension: Dimension) -> u64 {
        let held = self.reservations();
        held.map(|held| held.reserved(dimension)).max().unwrap_or(0)
    }

    /// A place among the answers that are read to their end although their client has left, if the channel wants that.
    pub(crate) fn may_drain(&self) -> Option<SemaphorePermit<'a>> {
        let wanted = self.destination.is_some_and(|to| to.channel.drains);
        wanted.then(|| self.metering.drains.try_acquire().ok()).flatten()
    }

    /// A checkpoint, if one is due, and more of the limits, if the answer is longer than was likely. Cheap if nothing is due.
    pub(crate) fn progress(&mut self, likely: u64, seen: impl FnOnce() -> Seen) {
        let now = unix_ms();
        let due = match &self.entry {
            Some(entry) => entry.is_due(now, likely),
            None => self.held.is_some() && likely >= self.topped_up + TOP_UP,
        };
        if !due {
            return;
        }
        self.topped_up = likely;
        let seen = seen();
        let usage = self.metered(&seen, false);
        let cost = self.cost(usage.usage());
        if let Some(entry) = &mut self.entry {
            entry.progress(now, &usage, cost);
        }
        let so_far = self.actual(usage.usage(), cost);
        self.reservations_mut().for_each(|held| held.top_up(so_far));
    }
}

/// May the provider bill a try that failed (promise P5)?
fn may_be_billed(failure: &Failure, stage: Stage) -> bool {
    use ai_api_converter::FailureClass as C;
    matches!(failure.class, C::ServerError | C::UpstreamBad | C::Timeout)
        && failure.upstream_status != Some(503)
        && stage != Stage::Connect
}

/// May the model have worked before the try failed? An upstream that answers with an error has not; one that falls silent, or breaks
/// off after a good head, may have.
fn may_have_worked(failure: &Failure, stage: Stage) -> bool {
    use ai_api_converter::FailureClass as C;
    let silent = matches!(failure.class, C::UpstreamBad | C::Timeout) && failure.upstream_status.is_none();
    silent && stage != Stage::Connect
}

/// A text in memory of its own; none costs none.
fn shared(text: &str) -> Arc<str> {
    if text.is_empty() {
        Arc::default()
    } else {
        text.into()
    }
}
