//! The account of one request: what it holds at the limiter, what it writes into the ledger. It is closed exactly once, whichever
//! way the request ends; dropped open, the ledger settles it as aborted and the limits keep what the upstream may have billed.

mod attempt;
mod reserve;
mod settle;

use std::time::{Duration, Instant};

use ai_api_converter::estimate::{Expected, input_of, rough_input_of};
use ai_api_converter::scan::Scan;
use ai_api_converter::{Format, Usage};
use bytes::Bytes;
use opm_config::Channel;
use opm_core::RequestId;
use opm_ledger::{Ending, Entry, PicoUsd, Ticket, Tier, Tokens, unix_ms};
use opm_limits::{Actual, Dimension, Reservation, Standing};
use opm_telemetry::{ChannelMetrics, Metrics};

use super::Metering;
use super::headers::Left;
use super::need::{Need, Price};
use super::rules::Who;
use crate::snapshot::Snapshot;

/// What is known of a request before it is sent anywhere.
pub(crate) struct Asked<'a> {
    pub(crate) id: &'a RequestId,
    pub(crate) format: Format,
    pub(crate) body: &'a Bytes,
    /// What it makes the model do.
    pub(crate) task: Task,
    pub(crate) scan: &'a Scan<'a>,
    pub(crate) stream: bool,
    /// When it came.
    pub(crate) started: Instant,
}

/// What a request makes a model do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// It reads and writes.
    Write,
    /// It reads: embeddings.
    Read,
    /// Something that is free: counting tokens, moderation.
    Free,
    /// Something that only the provider can count.
    Other,
}

impl Task {
    /// We can tell from the request what it uses, where nobody else does.
    pub(crate) fn is_counted(self) -> bool {
        matches!(self, Task::Write | Task::Read)
    }
}

/// Where a try goes.
#[derive(Clone, Copy)]
pub(crate) struct Destination<'a> {
    /// Its number.
    pub(crate) number: usize,
    pub(crate) channel: &'a Channel,
    pub(crate) meters: &'a ChannelMetrics,
    /// The model's name there.
    pub(crate) model: &'a str,
    pub(crate) format: Format,
}

/// What a stream has shown so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// As the upstream reported it.
    pub(crate) reported: Usage,
    /// Output tokens by our own count: likely, and at most.
    pub(crate) likely: u64,
    pub(crate) most: u64,
    /// Output tokens that are presumed, where nothing could be seen.
    pub(crate) presumed: Option<u64>,
    /// The answer was read to its end, or to where all of it was counted, although its client or the upstream had left.
    pub(crate) complete: bool,
}

/// What a closed account says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bill {
    pub(crate) usage: Usage,
    /// Of all tries; `None`: the price is not known.
    pub(crate) cost: Option<PicoUsd>,
}

/// The account of a request.
pub(crate) struct Account<'a> {
    metering: &'a Metering,
    snapshot: &'a Snapshot,
    metrics: &'a Metrics,
    who: Who<'a>,
    asked: Asked<'a>,
    expected: Option<Expected>,
    /// The estimate is a rough one.
    rough: bool,
    need: Option<Need>,
    destination: Option<Destination<'a>>,
    price: Option<Price<'a>>,
    /// The rules that do not depend on the channel have admitted it.
    admitted: bool,
    /// A try before may have used what was reserved for it.
    again: bool,
    /// When the limits began to count what is held.
    counted: Instant,
    held: Option<Reservation>,
    /// What is held of a channel, by its number.
    channel_held: Option<(usize, Reservation)>,
    /// What is left, for the client: the caller's limits first, so many of them, then the channel's.
    standings: (Vec<Standing>, usize),
    entry: Option<Entry>,
    /// A try is under way.
    sent: bool,
    /// What the failed answer of a try says it has used.
    told: Option<Usage>,
    /// What tries before the last one have cost.
    spent: u64,
    /// How the last try failed, until it is known whether another one follows.
    missed: Option<Ending>,
    /// The output that strict rules leave it, for each choice.
    output_most: Option<u64>,
    /// Output tokens when the limits were last told.
    topped_up: u64,
    bill: Option<Bill>,
}

impl<'a> Account<'a> {
    pub(crate) fn new(
        metering: &'a Metering,
        snapshot: &'a Snapshot,
        metrics: &'a Metrics,
        who: Who<'a>,
        asked: Asked<'a>,
    ) -> Self {
        Account {
            metering,
            snapshot,
            metrics,
            who,
            asked,
            expected: None,
            rough: false,
            need: None,
            destination: None,
            price: None,
            admitted: false,
            again: false,
            counted: Instant::now(),
            held: None,
            channel_held: None,
            standings: (Vec::new(), 0),
            entry: None,
            sent: false,
            told: None,
            spent: 0,
            missed: None,
            output_most: None,
            topped_up: 0,
            bill: None,
        }
    }

    /// Answers that are asked for at once.
    fn choices(&self) -> u64 {
        self.asked.scan.choices(self.asked.format).max(1)
    }

    /// The output to which the request is to be held, for each choice; `None`: as it is.
    pub(crate) fn output_most(&self) -> Option<u64> {
        self.output_most
    }

    /// What the closed account says; nothing while it is open.
    pub(crate) fn bill(&self) -> Bill {
        self.bill.clone().unwrap_or_default()
    }

    /// What is held, of the caller's limits and of the channel's.
    fn reservations(&self) -> impl Iterator<Item = &Reservation> {
        let channel = self.channel_held.iter().map(|(_, held)| held);
        self.held.iter().chain(channel)
    }

    /// The most of a dimension that strict rules let it use; `None`: no such rule.
    fn allowance(&self, dimension: Dimension) -> Option<u64> {
        let held = self.reservations();
        held.filter_map(|held| held.allowance(dimension)).min()
    }

    fn reservations_mut(&mut self) -> impl Iterator<Item = &mut Reservation> {
        let channel = self.channel_held.iter_mut().map(|(_, held)| held);
        self.held.iter_mut().chain(channel)
    }

    /// The same, to be ended.
    fn take_reservations(&mut self) -> impl Iterator<Item = Reservation> + use<> {
        let channel = self.channel_held.take().map(|(_, held)| held);
        self.held.take().into_iter().chain(channel)
    }

    /// What is left of the limits, as headers.
    pub(crate) fn headers(&self) -> Left {
        let standings = &self.standings.0;
        if standings.is_empty() {
            return Left::new();
        }
        super::headers::headers(standings, self.asked.format, unix_ms())
    }

    /// The estimate of the input, made when it is first needed.
    fn input(&mut self) -> Expected {
        let asked = &self.asked;
        let upstream = self.destination.map_or(asked.format, |to| to.format);
        let estimate = if self.rough { rough_input_of } else { input_of };
        *self
            .expected
            .get_or_insert_with(|| estimate(asked.body, upstream))
    }

    /// From now on the estimate is a good one, and what is held by the rough one is lowered.
    fn refine(&mut self) {
        if !std::mem::take(&mut self.rough) {
            return;
        }
        let (Some(rough), Some(before), Some(to)) = (self.expected.take(), self.need, self.destination)
        else {
            return;
        };
        let good = self.input();
        // Both are bounds.
        self.expected = Some(Expected {
            most: good.most.min(rough.most),
            ..good
        });
        self.expect(to);
        if let Some(after) = self.need {
            let by = self.over(&before, &after);
            self.reservations_mut().for_each(|held| held.lower(by));
        }
    }

    /// How much more one need reserves for the input than another one.
    fn over(&self, before: &Need, after: &Need) -> Actual {
        let money = |need: &Need| self.price.and_then(|price| price.input(&need.input));
        let money = money(before).zip(money(after));
        Actual {
            tokens: before.input.most.saturating_sub(after.input.most),
            money: money.map_or(0, |(before, after)| before.saturating_sub(after)),
        }
    }

    /// What the upstream does not say stays on record as we estimate it.
    fn refine_unless_reported(&mut self, seen: &Seen) {
        if seen.reported.input.is_none() {
            self.refine();
        }
    }

    fn cost(&self, usage: &Usage) -> Option<PicoUsd> {
        self.price?.of(&Tokens::from(usage), Tier::of(usage))
    }

    fn actual(&self, usage: &Usage, cost: Option<PicoUsd>) -> Actual {
        Actual {
            tokens: usage.total().unwrap_or(0),
            money: cost.map_or(0, |cost| cost.0),
        }
    }

    /// Tells the metrics of the channel what was used there.
    fn meter(&self, usage: &Usage, cost: Option<PicoUsd>) {
        if let Some(to) = self.destination {
            let model = self.snapshot.model_label(self.who.model);
            to.meters.used(model, usage, cost.map(|cost| cost.0));
        }
    }

    async fn durable(&self, ticket: Ticket) {
        if let Some(ledger) = &self.metering.ledger
            && !ledger.durable(ticket).await
        {
            // Serving matters more than recording. The ledger counts what is lost, and warns once while its disk fails.
            tracing::debug!(id = self.asked.id.as_str(), "a record is not safe yet");
        }
    }
}

pub(crate) fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}
