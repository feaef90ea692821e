//! A running request in the ledger.

use std::sync::Arc;

use opm_core::Format;

use crate::log::Log;
use crate::metered::Metered;
use crate::price::PicoUsd;
use crate::record::Kind;
use crate::row::{Billed, Outcome, Row};
use crate::ticket::Ticket;

/// A checkpoint is due after this time, milliseconds (promise P3).
const CHECKPOINT_MS: u64 = 1000;
/// A checkpoint is due after this many output tokens (promise P3).
const CHECKPOINT_TOKENS: u64 = 256;

/// What is known when a request begins.
#[derive(Clone, Debug, Default)]
pub struct Start {
    /// The gateway's request id.
    pub request_id: Arc<str>,
    /// Id of the client key; empty without one. Never the key.
    pub key: Arc<str>,
    /// The person behind the key; empty if unknown.
    pub user: Arc<str>,
    /// The model that the client asked for.
    pub model: Arc<str>,
    /// The client's format.
    pub format: Option<Format>,
    /// Where it goes first; `None` if it goes nowhere.
    pub target: Option<Target>,
    /// What it will probably use.
    pub expected: Expected,
}

/// What a try will probably use: what is recorded if the process dies before anything is known.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// The counters.
    pub usage: Metered,
    /// What that costs, at most.
    pub cost: Option<PicoUsd>,
    /// Tokens that the limits hold for it.
    pub held: u64,
    /// Money that budgets hold for it, pico-USD.
    pub held_cost: u64,
}

/// Where a try goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// Name of the channel.
    pub channel: Arc<str>,
    /// The model that it is asked for.
    pub upstream_model: Arc<str>,
    /// Its format.
    pub format: Option<Format>,
}

/// How a try or a request ended.
#[derive(Clone, Debug, Default)]
pub struct Ending {
    /// How.
    pub outcome: Outcome,
    /// HTTP status: of a request what the client saw, of an attempt what the upstream said; 0 if there was none.
    pub status: u16,
    /// Whether the provider bills it.
    pub billed: Billed,
    /// The counters.
    pub usage: Metered,
    /// What it costs; `None` if unknown.
    pub cost: Option<PicoUsd>,
    /// Tokens that the limits go on counting, where that is more than `usage` says.
    pub held: u64,
    /// Money that budgets go on counting, pico-USD, where that is more than `cost`.
    pub held_cost: u64,
    /// Time to the first byte of content, milliseconds.
    pub ttft_ms: Option<u32>,
    /// All of the time, milliseconds.
    pub total_ms: u32,
}

/// A request whose START is recorded. It writes exactly one END: by [`Entry::end`], or when it is dropped.
#[derive(Debug)]
#[must_use = "dropping it ends the request as aborted"]
pub struct Entry {
    log: Arc<Log>,
    row: Row,
    /// The oldest segment that recovery needs for this request.
    pin: u64,
    /// The current try has a row of its own; the end must not take its number.
    attempt_closed: bool,
    checkpoint_tokens: u64,
    start: Ticket,
    ended: bool,
}

impl Entry {
    pub(crate) fn new(log: Arc<Log>, start: Start) -> Self {
        let now = (log.options.clock)();
        let attempt = u32::from(start.target.is_some());
        let target = start.target.unwrap_or_default();
        let row = Row {
            request_id: start.request_id,
            attempt,
            started_ms: now,
            at_ms: now,
            key: start.key,
            user: start.user,
            model: start.model,
            upstream_model: target.upstream_model,
            channel: target.channel,
            format: start.format,
            upstream_format: target.format,
            usage: start.expected.usage,
            cost: start.expected.cost,
            held: start.expected.held,
            held_cost: start.expected.held_cost,
            ..Row::default()
        };
        let pin = log.pin();
        let ticket = log.append(Kind::Start, &row);
        Entry {
            log,
            row,
            pin,
            attempt_closed: false,
            checkpoint_tokens: 0,
            start: ticket,
            ended: false,
        }
    }

    /// The record of the start, or of the last try: to be waited for before a channel is asked.
    pub fn started(&self) -> Ticket {
        self.start
    }

    /// What is recorded so far.
    #[must_use]
    pub fn row(&self) -> &Row {
        &self.row
    }

    /// Another try begins: to be called before it is sent. [`Entry::started`] has its record then.
    pub fn dispatch(&mut self, target: Target, expected: Expected) {
        self.row.usage = expected.usage;
        self.row.cost = expected.cost;
        (self.row.held, self.row.held_cost) = (expected.held, expected.held_cost);
        self.row.attempt += 1;
        self.row.channel = target.channel;
        self.row.upstream_model = target.upstream_model;
        self.row.upstream_format = target.format;
        self.attempt_closed = false;
        self.start = self.write_checkpoint();
    }

    /// The current try failed and another one may follow. Its cost is the provider's claim, not the client's.
    pub fn attempt(&mut self, ending: Ending) -> Ticket {
        if self.attempt_closed || self.row.attempt == 0 {
            self.row.attempt += 1;
        }
        self.attempt_closed = true;
        (self.row.usage, self.row.cost) = (Metered::default(), None);
        (self.row.held, self.row.held_cost) = (0, 0);
        let mut row = self.row.clone();
        self.stamp(&mut row, ending);
        self.log.append_now(Kind::Attempt, &row)
    }

    /// Remembers how far the request is, for the case that it is dropped, and writes a checkpoint if one is due: a second
    /// or 256 output tokens after the last. `now_ms` in milliseconds since 1970.
    pub fn progress(&mut self, now_ms: u64, usage: &Metered, cost: Option<PicoUsd>) {
        self.row.usage.clone_from(usage);
        self.row.cost = cost;
        if self.is_due(now_ms, usage.usage().output.unwrap_or(0)) {
            self.write_checkpoint();
        }
    }

    /// True if a checkpoint is due. Cheap: to be asked for every event before the usage is put together.
    #[must_use]
    pub fn is_due(&self, now_ms: u64, output_tokens: u64) -> bool {
        // A clock that was set back is no reason to wait.
        now_ms.abs_diff(self.row.at_ms) >= CHECKPOINT_MS
            || output_tokens.saturating_sub(self.checkpoint_tokens) >= CHECKPOINT_TOKENS
    }

    /// Writes a checkpoint, due or not.
    pub fn checkpoint(&mut self, usage: &Metered, cost: Option<PicoUsd>) -> Ticket {
        self.row.usage.clone_from(usage);
        self.row.cost = cost;
        self.write_checkpoint()
    }

    fn write_checkpoint(&mut self) -> Ticket {
        self.row.at_ms = (self.log.options.clock)();
        self.row.total_ms = since(self.row.started_ms, self.row.at_ms);
        self.checkpoint_tokens = self.row.usage.usage().output.unwrap_or(0);
        // The newest record is all that recovery needs; older segments need not wait for this request.
        let newer = self.log.pin();
        let ticket = self.log.append_now(Kind::Checkpoint, &self.row);
        // Without this record recovery still needs the one before it.
        let stale = if self.log.is_written(ticket) {
            std::mem::replace(&mut self.pin, newer)
        } else {
            newer
        };
        self.log.unpin(stale);
        ticket
    }

    /// The request is over. To be waited for ([`Ledger::durable`](crate::Ledger::durable)) before the last byte goes to the client.
    pub fn end(mut self, ending: Ending) -> Ticket {
        self.settle(ending)
    }

    fn settle(&mut self, ending: Ending) -> Ticket {
        self.ended = true;
        if self.attempt_closed {
            self.row.attempt += 1;
        }
        let mut row = std::mem::take(&mut self.row);
        self.stamp(&mut row, ending);
        self.log.append_end(&row, self.pin)
    }

    fn stamp(&self, row: &mut Row, ending: Ending) {
        row.at_ms = (self.log.options.clock)();
        row.outcome = ending.outcome;
        row.status = ending.status;
        row.billed = ending.billed;
        row.usage = ending.usage;
        row.cost = ending.cost;
        (row.held, row.held_cost) = (ending.held, ending.held_cost);
        row.ttft_ms = ending.ttft_ms;
        row.total_ms = ending.total_ms;
    }
}

fn since(from_ms: u64, to_ms: u64) -> u32 {
    u32::try_from(to_ms.saturating_sub(from_ms)).unwrap_or(u32::MAX)
}

impl Drop for Entry {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let now = (self.log.options.clock)();
        let ending = Ending {
            outcome: Outcome::Aborted,
            billed: self.row.usage.billed(),
            usage: std::mem::take(&mut self.row.usage),
            cost: self.row.cost,
            held: self.row.held,
            held_cost: self.row.held_cost,
            total_ms: since(self.row.started_ms, now),
            ..Ending::default()
        };
        _ = self.settle(ending);
        self.log.flush();
    }
}
