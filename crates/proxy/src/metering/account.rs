//! The account of one request: what it holds at the limiter, what it writes into the ledger. It is closed exactly once, whichever
//! way the request ends; dropped open, the ledger settles it as aborted and the limits keep what the upstream may have billed.

use std::time::{Duration, Instant};

use ai_api_converter::bound::OutputMember;
use ai_api_converter::estimate::{Expected, input_of};
use ai_api_converter::profile::profile;
use ai_api_converter::scan::Scan;
use ai_api_converter::{Failure, Format, Usage};
use bytes::Bytes;
use opm_config::Channel;
use opm_core::RequestId;
use opm_ledger::{
    Billed, Day, Ending, Entry, Metered, Outcome, PicoUsd, Start, Target, Ticket, Tier, Tokens, unix_ms,
};
use opm_limits::{Actual, Charge, Dimension, Reservation, Standing, Subjects};
use opm_routing::Stage;
use opm_telemetry::{ChannelMetrics, Metrics};
use tokio::sync::SemaphorePermit;

use super::Metering;
use super::need::{Need, Output, Price};
use super::refused::{Denied, reached, too_small, unpriced};
use super::rules::{Ruled, Who};
use crate::snapshot::Snapshot;

/// Output tokens after which the limits of a running answer are topped up, without a ledger whose checkpoints do it.
const TOP_UP: u64 = 256;

/// What is known of a request before it is sent anywhere.
pub(crate) struct Asked<'a> {
    pub(crate) id: &'a RequestId,
    pub(crate) format: Format,
    pub(crate) body: &'a Bytes,
    /// It makes the model write.
    pub(crate) generates: bool,
    pub(crate) scan: &'a Scan<'a>,
    /// When it came.
    pub(crate) started: Instant,
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
    /// The answer was read to its end, although its client had left.
    pub(crate) complete: bool,
}

/// What a closed account says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bill {
    pub(crate) usage: Usage,
    /// `None`: the price is not known.
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
    need: Option<Need>,
    destination: Option<Destination<'a>>,
    price: Option<Price<'a>>,
    /// The rules that do not depend on the channel have admitted it.
    admitted: bool,
    held: Option<Reservation>,
    /// What is held of a channel, by its number.
    channel_held: Option<(usize, Reservation)>,
    /// What is left, for the client: the caller's limits first, so many of them, then the channel's.
    standings: (Vec<Standing>, usize),
    entry: Option<Entry>,
    /// A try is under way.
    sent: bool,
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
            need: None,
            destination: None,
            price: None,
            admitted: false,
            held: None,
            channel_held: None,
            standings: (Vec::new(), 0),
            entry: None,
            sent: false,
            missed: None,
            output_most: None,
            topped_up: 0,
            bill: None,
        }
    }

    /// Reserves what a try at a channel needs: the first time for the caller too, all in one step.
    pub(crate) async fn reserve(&mut self, to: Destination<'a>) -> Result<(), Denied> {
        if let Some(ledger) = self
            .metering
            .ledger
            .as_ref()
            .filter(|ledger| !ledger.is_accepting())
        {
            let bytes = ledger.health().bytes;
            tracing::error!(bytes, "the ledger is full: the request is refused");
            return Err(Denied::Request(super::refused::unrecorded()));
        }
        self.destination = Some(to);
        self.price = Some(self.price_at(to));
        let rules = &self.snapshot.rules;
        if self.admitted && rules.is_empty() {
            return Ok(());
        }
        let (who, name) = (self.who, to.channel.name.as_str());
        let mut charged: Vec<&Ruled> = Vec::new();
        if !self.admitted {
            charged.extend(rules.of_request(&who));
        }
        let own = charged.len();
        if self
            .channel_held
            .as_ref()
            .is_none_or(|(number, _)| *number != to.number)
        {
            self.channel_held = None;
            charged.extend(rules.of_channel(&who, (to.number, name)));
        }
        if !charged.is_empty() {
            self.charge(&charged, own, to).await?;
        }
        self.admitted = true;
        self.bound()
    }

    async fn charge(&mut self, charged: &[&Ruled], own: usize, to: Destination<'a>) -> Result<(), Denied> {
        let subjects = Subjects {
            key: Some(self.who.key),
            user: Some(self.who.user),
            model: Some(self.who.model),
            channel: Some(&to.channel.name),
        };
        let counts = |ruled: &&Ruled| matches!(ruled.rule.dimension(), Dimension::Tokens | Dimension::Money);
        if charged.iter().any(counts) {
            self.expect(to);
        }
        let price = self.price.unwrap_or_else(|| self.price_at(to));
        let mut charges = Vec::with_capacity(charged.len());
        for (at, ruled) in charged.iter().enumerate() {
            let rule = &ruled.rule;
            let amount = match &self.need {
                Some(need) => need.amount(rule, &price),
                None => Some(super::need::Amount { least: 1, most: 1 }),
            };
            let amount = match amount {
                Some(amount) => amount,
                None if rule.blocks() => return Err(Denied::at(at < own, unpriced(rule.name(), to.model))),
                None => super::need::Amount { least: 0, most: 0 },
            };
            charges.push(Charge::flexible(rule, &subjects, amount.least, amount.most));
        }
        let reserved = self.metering.limiter.reserve(&charges, unix_ms()).await;
        let reservation = reserved.map_err(|refused| {
            self.metrics.limit_exceeded(&refused.rule);
            self.standings.0.push(refused.standing);
            let at = charged
                .iter()
                .position(|ruled| *ruled.rule.name() == refused.rule);
            Denied::at(at.is_none_or(|at| at < own), reached(&refused))
        })?;
        for (ruled, standing) in charged.iter().zip(reservation.standings()) {
            self.warn(ruled, standing);
        }
        let (all, callers) = &mut self.standings;
        all.truncate(*callers);
        all.extend_from_slice(reservation.standings());
        *callers += own;
        let (held, rest) = reservation.split(own);
        if own > 0 {
            self.held = Some(held);
        }
        if charged.len() > own {
            self.channel_held = Some((to.number, rest));
        }
        Ok(())
    }

    fn warn(&self, ruled: &Ruled, standing: &Standing) {
        if let Some(percent) = standing.crossed {
            let limit = &**ruled.rule.name();
            self.metrics.budget_crossed(ruled.rule.name(), percent.into());
            tracing::warn!(
                limit,
                percent,
                key = self.who.key_name,
                "a budget has reached a threshold"
            );
        }
    }

    /// Estimates what the request will need at a channel.
    fn expect(&mut self, to: Destination<'_>) {
        let expected = self.input();
        let habit = self.metering.learned.of(to.model);
        let member = OutputMember::of(self.asked.format, to.format, to.channel.dialect);
        let given = member.given(self.asked.scan);
        let known = || profile(to.format, to.channel.dialect, to.model).max_output;
        let cap = to.channel.default_max_tokens.unwrap_or_else(known);
        let bounds = (given, self.choices(), cap);
        self.need = Some(Need::new(expected, habit, self.asked.generates, bounds));
    }

    /// The prices at a destination, looked up once.
    fn price_at(&self, to: Destination<'a>) -> Price<'a> {
        let provider = to.channel.vendor.as_str();
        let tier = self.asked.scan.tier;
        Price {
            rule: self
                .snapshot
                .rules
                .prices
                .rule(provider, to.model, Day::of_ms(unix_ms())),
            millionths: to.channel.cost_millionths,
            tier: tier.map_or(Tier::Standard, |tier| Tier::from_service_tier(tier.as_str())),
        }
    }

    /// Finds out to how much output strict rules hold the request.
    fn bound(&mut self) -> Result<(), Denied> {
        self.output_most = None;
        let (Some(need), Some(to)) = (&self.need, self.destination) else {
            return Ok(());
        };
        if need.output == Output::None {
            return Ok(());
        }
        let held = self
            .held
            .iter()
            .chain(self.channel_held.iter().map(|held| &held.1));
        let allowance = |dimension| held.clone().filter_map(|held| held.allowance(dimension)).min();
        let mut most = u64::MAX;
        if let Some(tokens) = allowance(Dimension::Tokens) {
            most = need
                .output_within(tokens)
                .ok_or_else(|| too_small(need.input.likely))?;
        }
        if let Some(money) = allowance(Dimension::Money) {
            let within = need.output_for(money, &self.price_at(to));
            most = most.min(within.ok_or_else(|| too_small(need.input.likely))?);
        }
        if most < u64::MAX {
            let most = need.stated().map_or(most, |stated| stated.min(most));
            self.output_most = Some((most / self.choices()).max(1));
        }
        Ok(())
    }

    /// Answers that are asked for at once.
    fn choices(&self) -> u64 {
        self.asked.scan.choices(self.asked.format).max(1)
    }

    /// The output to which the request is to be held, for each choice; `None`: as it is.
    pub(crate) fn output_most(&self) -> Option<u64> {
        self.output_most
    }

    /// The request is about to be sent: from now on the upstream may bill.
    pub(crate) async fn dispatch(&mut self) {
        self.sent = true;
        if let Some(held) = &mut self.held {
            held.sent();
        }
        if let Some((_, held)) = &mut self.channel_held {
            held.sent();
        }
        let (Some(ledger), Some(to)) = (&self.metering.ledger, self.destination) else {
            return;
        };
        let target = Target {
            channel: to.channel.name.clone(),
            upstream_model: to.model.to_owned(),
            format: Some(to.format),
        };
        let entry = match &mut self.entry {
            Some(entry) => {
                if let Some(ending) = self.missed.take() {
                    entry.attempt(ending);
                }
                entry.dispatch(target);
                entry
            }
            None => self.entry.insert(ledger.start(Start {
                request_id: self.asked.id.as_str().to_owned(),
                key: self.who.key.to_owned(),
                user: self.who.user.to_owned(),
                model: self.who.model.to_owned(),
                format: Some(self.asked.format),
                target: Some(target),
            })),
        };
        let ticket = entry.started();
        self.durable(ticket).await;
    }

    /// The try failed before anything reached the client.
    pub(crate) fn missed(&mut self, failure: &Failure, stage: Stage) {
        if !std::mem::take(&mut self.sent) {
            return;
        }
        let billed = if may_be_billed(failure, stage) {
            Billed::Estimated
        } else {
            Billed::No
        };
        self.missed = Some(Ending {
            outcome: Outcome::Failed,
            status: failure.upstream_status.unwrap_or(0),
            billed,
            cost: Some(PicoUsd(0)),
            total_ms: millis(self.asked.started.elapsed()),
            ..Ending::default()
        });
        // The next channel has limits of its own. What this one may have read stays counted.
        if let Some((_, held)) = self.channel_held.take() {
            give_back(held, billed, self.need.as_ref());
        }
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
        for held in self
            .held
            .iter_mut()
            .chain(self.channel_held.iter_mut().map(|held| &mut held.1))
        {
            held.top_up(so_far);
        }
    }

    /// The answer is there, whole: to be called before its last byte goes to the client.
    pub(crate) async fn answered(&mut self, status: u16, seen: &Seen, first: Duration) {
        if self.bill.is_some() {
            return;
        }
        let usage = self.metered(seen, true);
        let billed = if usage.usage().is_empty() {
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
        if let Some(expected) = self.expected
            && let Some(to) = self.destination
            && let (Some(input), Some(output)) = (seen.reported.input, seen.reported.output)
        {
            self.metering
                .learned
                .learn(to.model, expected.likely, input, output);
        }
        self.close(ending, None).await;
    }

    /// The answer broke off: the client left, or the upstream did.
    pub(crate) async fn interrupted(
        &mut self,
        outcome: Outcome,
        status: u16,
        seen: &Seen,
        first: Option<Duration>,
    ) {
        let usage = self.metered(seen, seen.complete);
        // The limits count what may have been made, not what was likely.
        let most = Usage {
            input: seen
                .reported
                .input
                .or(self.need.map(|need| need.input.most))
                .or(usage.usage().input),
            output: usage.usage().output.max(Some(seen.most)),
            ..usage.usage().clone()
        };
        let ending = Ending {
            outcome,
            status,
            billed: if self.sent { Billed::Estimated } else { Billed::No },
            usage,
            ttft_ms: first.map(millis),
            ..Ending::default()
        };
        self.close(ending, (!seen.complete).then_some(most)).await;
    }

    /// The client left before anything was sent to it.
    pub(crate) async fn abandoned(&mut self) {
        if self.sent {
            self.interrupted(Outcome::ClientGone, 499, &Seen::default(), None)
                .await;
        } else {
            self.failed(499).await;
        }
    }

    /// No try has answered: the client gets an error. To be called before it does.
    pub(crate) async fn failed(&mut self, status: u16) {
        if self.bill.is_some() {
            return;
        }
        let last = self.missed.take().unwrap_or_default();
        for held in self
            .held
            .take()
            .into_iter()
            .chain(self.channel_held.take().map(|held| held.1))
        {
            give_back(held, last.billed, self.need.as_ref());
        }
        self.bill = Some(Bill::default());
        let outcome = if status == 499 {
            Outcome::ClientGone
        } else {
            Outcome::Failed
        };
        let ending = Ending {
            outcome,
            status,
            cost: Some(PicoUsd(0)),
            total_ms: millis(self.asked.started.elapsed()),
            ..last
        };
        if let Some(entry) = self.entry.take() {
            let ticket = entry.end(ending);
            self.durable(ticket).await;
        }
    }

    /// Settles with the limits and the ledger, once. `most`: what the limits count, where it differs from what is recorded.
    async fn close(&mut self, mut ending: Ending, most: Option<Usage>) {
        if self.bill.is_some() {
            return;
        }
        let usage = ending.usage.usage().clone();
        ending.cost = self.cost(&usage);
        ending.total_ms = millis(self.asked.started.elapsed());
        let actual = match &most {
            Some(most) => self.actual(most, self.cost(most)),
            None => self.actual(&usage, ending.cost),
        };
        for held in self
            .held
            .take()
            .into_iter()
            .chain(self.channel_held.take().map(|held| held.1))
        {
            held.settle(actual);
        }
        if let Some(to) = self.destination {
            let model = self.snapshot.model_label(self.who.model);
            to.meters.used(model, &usage, ending.cost.map(|cost| cost.0));
        }
        self.bill = Some(Bill {
            usage,
            cost: ending.cost,
        });
        if let Some(entry) = self.entry.take() {
            let ticket = entry.end(ending);
            self.durable(ticket).await;
        }
    }

    /// What the closed account says; nothing while it is open.
    pub(crate) fn bill(&self) -> Bill {
        self.bill.clone().unwrap_or_default()
    }

    /// What is left of the limits, as headers.
    pub(crate) fn headers(&self) -> Vec<(&'static str, String)> {
        let standings = &self.standings.0;
        if standings.is_empty() {
            return Vec::new();
        }
        super::headers::headers(standings, self.asked.format, unix_ms())
    }

    /// Reported counters, completed by estimates where the upstream has reported nothing (yet).
    fn metered(&mut self, seen: &Seen, finished: bool) -> Metered {
        let mut reported = seen.reported.clone();
        // Messages report a first output token at the start: what came after counts too.
        if !finished && reported.output.is_none_or(|output| output < seen.likely) {
            reported.output = None;
        }
        let missing = reported.input.is_none() || reported.output.is_none();
        let mut metered = Metered::reported(reported);
        if missing && self.asked.generates && self.sent {
            metered.complete(&Usage {
                input: Some(self.input().likely),
                output: (seen.likely > 0).then_some(seen.likely),
                ..Usage::default()
            });
        }
        metered
    }

    /// The estimate of the input, made when it is first needed.
    fn input(&mut self) -> Expected {
        let asked = &self.asked;
        let upstream = self.destination.map_or(asked.format, |to| to.format);
        *self
            .expected
            .get_or_insert_with(|| input_of(asked.body, upstream))
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

    async fn durable(&self, ticket: Ticket) {
        if let Some(ledger) = &self.metering.ledger
            && (self.metering.sync_always || !ticket.is_written())
            && !ledger.durable(ticket).await
        {
            // Serving matters more than recording; what is lost is counted by the ledger.
            tracing::warn!(id = self.asked.id.as_str(), "a record is not safe yet");
        }
    }
}

/// May the provider bill a try that failed (promise P5)?
fn may_be_billed(failure: &Failure, stage: Stage) -> bool {
    use ai_api_converter::FailureClass as C;
    let worked = matches!(failure.class, C::ServerError | C::UpstreamBad | C::Timeout);
    worked && stage != Stage::Connect
}

fn give_back(held: Reservation, billed: Billed, need: Option<&Need>) {
    match (billed, need) {
        (Billed::No, _) | (_, None) => held.release(),
        (Billed::Yes | Billed::Estimated, Some(need)) => held.settle(Actual {
            tokens: need.input.likely,
            money: 0,
        }),
    }
}

pub(crate) fn millis(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}
