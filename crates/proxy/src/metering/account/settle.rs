//! The end of a request: what it used is settled with the limits and stands in the ledger, once.

use std::time::Duration;

use ai_api_converter::{Format, Usage};
use opm_ledger::{Billed, Ending, Metered, Outcome, PicoUsd, Ticket, unix_ms};
use opm_limits::{Dimension, Reservation};

use super::{Account, Bill, Seen, Task, millis};

/// What the limits count of a request that is over.
enum Counted {
    /// What the ledger records.
    AsRecorded,
    /// More: the upper bound of what was seen.
    Most(Box<Usage>),
    /// All that was reserved.
    AsReserved,
}

impl<'a> Account<'a> {
    /// The answer is there, whole: to be called before its last byte goes to the client.
    pub(crate) async fn answered(&mut self, status: u16, seen: &Seen, first: Duration) {
        if self.bill.is_some() {
            return;
        }
        self.refine_unless_reported(seen);
        let usage = self.metered(seen, true);
        // What nobody counts is billed all the same.
        let billed = if usage.usage().is_empty() && self.asked.task != Task::Other {
            Billed::No
        } else {
            Billed::Yes
        };
        let ending = Ending {
            outcome: Outcome::Finished,
            status,
            billed,
            usage,
            ttft_ms: Some(millis(first)),
            ..Ending::default()
        };
        if let Some(to) = self.destination
            && let (Some(input), Some(output)) = (seen.reported.input, seen.reported.output)
        {
            let likely = self.expected.map_or(0, |expected| expected.likely);
            self.metering.learned.learn(to.model, likely, input, output);
        }
        // What the provider did not count is counted at its upper bound by the limits.
        let counted = match (seen.reported.input, seen.reported.output) {
            _ if !self.asked.task.is_counted() => Counted::AsRecorded,
            (Some(_), Some(_)) => Counted::AsRecorded,
            _ => Counted::Most(Box::new(self.most(seen, ending.usage.usage(), 0))),
        };
        if let Some(ticket) = self.close(ending, counted) {
            self.durable(ticket).await;
        }
    }

    /// The answer broke off: the client left, or the upstream did.
    pub(crate) async fn interrupted(
        &mut self,
        outcome: Outcome,
        status: u16,
        seen: &Seen,
        first: Option<Duration>,
    ) {
        self.refine_unless_reported(seen);
        let usage = self.metered(seen, seen.complete);
        let billed = match self.sent && self.asked.task != Task::Free {
            false => Billed::No,
            true if seen.complete => Billed::Yes,
            true => Billed::Estimated,
        };
        let ending = Ending {
            outcome,
            status,
            billed,
            usage,
            ttft_ms: first.map(millis),
            ..Ending::default()
        };
        let counted = match seen.likely {
            _ if seen.complete => Counted::AsRecorded,
            // Nothing was seen, but the model may have thought, or be about to answer: it may use all that it was granted.
            0 => Counted::AsReserved,
            _ => {
                let on_its_way = seen.most / 4 + 64;
                Counted::Most(Box::new(self.most(seen, ending.usage.usage(), on_its_way)))
            }
        };
        if let Some(ticket) = self.close(ending, counted) {
            self.durable(ticket).await;
        }
    }

    /// The upper bound of what was used, with so many output tokens that were on their way; never more than the request was held to.
    fn most(&self, seen: &Seen, usage: &Usage, on_its_way: u64) -> Usage {
        let input = self.need.map(|need| need.input.most);
        let held_to = self
            .output_most
            .map_or(u64::MAX, |most| most.saturating_mul(self.choices()));
        let output = seen.most.saturating_add(on_its_way).min(held_to);
        Usage {
            input: seen.reported.input.or(input).or(usage.input),
            output: usage.output.max(Some(output)),
            ..usage.clone()
        }
    }

    /// The client left before anything was sent to it, or the process must: then it is `expired`.
    pub(crate) async fn abandoned(&mut self, expired: bool) {
        let (outcome, status) = if expired {
            (Outcome::Aborted, 503)
        } else {
            (Outcome::ClientGone, 499)
        };
        if self.sent {
            let presumed = self.presumed();
            let seen = Seen {
                reported: self.told.take().unwrap_or_default(),
                // A stream that nothing has come of yet ends with its client; a whole answer is written all the same.
                presumed: presumed.output.filter(|_| !self.asked.stream),
                ..Seen::default()
            };
            self.interrupted(outcome, status, &seen, None).await;
        } else {
            self.failed(status).await;
        }
    }

    /// No try has answered, but we have, at no cost: to be called before the answer goes out.
    pub(crate) async fn answered_here(&mut self) {
        if let (Some(entry), Some(missed)) = (&mut self.entry, self.missed.take()) {
            entry.attempt(missed);
        }
        let took = self.asked.started.elapsed();
        self.answered(200, &Seen::default(), took).await;
    }

    /// No try has answered: the client gets an error. To be called before it does.
    pub(crate) async fn failed(&mut self, status: u16) {
        if self.bill.is_some() {
            return;
        }
        let last = self.missed.take();
        self.take_reservations().for_each(Reservation::release);
        let spent = Some(PicoUsd(self.spent)).filter(|spent| spent.0 > 0);
        self.bill = Some(Bill {
            cost: spent,
            ..Bill::default()
        });
        let outcome = if status == 499 {
            Outcome::ClientGone
        } else {
            Outcome::Failed
        };
        let ending = Ending {
            outcome,
            status,
            total_ms: millis(self.asked.started.elapsed()),
            ..last.unwrap_or(Ending {
                cost: Some(PicoUsd(0)),
                ..Ending::default()
            })
        };
        if let Some(entry) = self.entry.take() {
            let ticket = entry.end(ending);
            self.durable(ticket).await;
        }
    }

    /// Settles with the limits and the ledger, once. What is written there is not waited for: a future that held all of this would
    /// be moved with every request.
    fn close(&mut self, mut ending: Ending, counted: Counted) -> Option<Ticket> {
        if self.bill.is_some() {
            return None;
        }
        let usage = ending.usage.usage().clone();
        let is_uncounted = usage.is_empty() && ending.billed != Billed::No;
        ending.cost = self.cost(&usage).filter(|_| !is_uncounted);
        ending.total_ms = millis(self.asked.started.elapsed());
        let actual = match &counted {
            Counted::Most(most) => self.actual(most, self.cost(most)),
            Counted::AsRecorded | Counted::AsReserved => self.actual(&usage, ending.cost),
        };
        (ending.held, ending.held_cost) = match counted {
            Counted::AsRecorded => (0, 0),
            Counted::Most(_) => (actual.tokens, actual.money),
            Counted::AsReserved => (self.held(Dimension::Tokens), self.held(Dimension::Money)),
        };
        for mut held in self.take_reservations() {
            match counted {
                // Dropped, it stays as it is, all but the concurrency.
                Counted::AsReserved => held.top_up(actual),
                Counted::AsRecorded | Counted::Most(_) => held.settle(actual),
            }
        }
        self.warn();
        self.meter(&usage, ending.cost);
        let spent = self.spent;
        self.bill = Some(Bill {
            usage,
            cost: ending.cost.map(|cost| PicoUsd(cost.0.saturating_add(spent))),
        });
        self.entry.take().map(|entry| entry.end(ending))
    }

    /// Reports budgets that have reached a threshold.
    fn warn(&self) {
        let rules = &self.snapshot.rules;
        let Some(to) = self.destination.filter(|_| rules.has_budgets()) else {
            return;
        };
        let (now, subjects) = (unix_ms(), self.who.subjects(&to.channel.name));
        let of_channel = rules.of_channel(&self.who, (to.number, &to.channel.name));
        for ruled in rules.of_request(&self.who).chain(of_channel) {
            let crossed = self.metering.limiter.crossing(&ruled.rule, &subjects, now);
            for percent in &crossed {
                self.metrics
                    .budget_crossed(ruled.rule.name(), u32::from(*percent));
            }
            let Some(percent) = crossed.iter().max() else {
                continue;
            };
            let limit = &**ruled.rule.name();
            tracing::warn!(
                limit,
                percent,
                key = self.who.key_name,
                "a budget has reached a threshold"
            );
        }
    }

    /// Reported counters, completed by estimates where the upstream has reported nothing (yet).
    pub(super) fn metered(&mut self, seen: &Seen, finished: bool) -> Metered {
        let mut reported = seen.reported.clone();
        if !finished {
            // Which tier serves it comes with the end.
            reported.tier = reported.tier.or(self.asked.scan.tier);
        }
        let upstream = self.destination.map(|to| to.format);
        // Messages and Gemini report as they go: what came last is not all of it, and what was seen since counts too.
        let goes_on = matches!(upstream, Some(Format::Messages | Format::Gemini));
        let counts = self.asked.task.is_counted() && self.sent;
        let is_open = |output: &mut u64| counts && !finished && (goes_on || *output < seen.likely);
        let so_far = reported.output.take_if(is_open);
        let missing = reported.input.is_none() || reported.output.is_none();
        let mut metered = Metered::reported(reported);
        if missing && counts {
            metered.complete(&Usage {
                input: Some(self.input().likely),
                output: so_far
                    .max((seen.likely > 0).then_some(seen.likely))
                    .or(seen.presumed),
                ..Usage::default()
            });
        }
        metered
    }
}
