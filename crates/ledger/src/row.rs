//! What the ledger knows about a request or about one attempt of it.

use std::sync::Arc;

use opm_core::Format;

use crate::metered::Metered;
use crate::price::PicoUsd;

/// How a request or an attempt ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It is still running.
    #[default]
    Open,
    /// The answer went to the client, whole.
    Finished,
    /// The client left before the end.
    ClientGone,
    /// The upstream broke off after the first byte.
    UpstreamCut,
    /// Refused or failed before the first byte.
    Failed,
    /// The process died; found by recovery.
    Crashed,
    /// The gateway let go of the request without ending it: a panic, or the deadline of a drain.
    Aborted,
}

impl Outcome {
    /// All of them, in the order of the record format. New ones go to the end.
    pub const ALL: [Outcome; 7] = [
        Outcome::Open,
        Outcome::Finished,
        Outcome::ClientGone,
        Outcome::UpstreamCut,
        Outcome::Failed,
        Outcome::Crashed,
        Outcome::Aborted,
    ];

    /// The name used in the store, the API and the dashboard.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Open => "open",
            Outcome::Finished => "finished",
            Outcome::ClientGone => "client_gone",
            Outcome::UpstreamCut => "upstream_cut",
            Outcome::Failed => "failed",
            Outcome::Crashed => "crashed",
            Outcome::Aborted => "aborted",
        }
    }
}

/// Whether the provider bills a try at a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Billed {
    /// No: it never reached the model.
    #[default]
    No,
    /// Yes: the upstream reported usage.
    Yes,
    /// Probably: the model may have worked before the failure; `usage` is an estimate.
    Estimated,
}

impl Billed {
    /// All of them, in the order of the record format. New ones go to the end.
    pub const ALL: [Billed; 3] = [Billed::No, Billed::Yes, Billed::Estimated];

    /// The name used in the store and the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Billed::No => "no",
            Billed::Yes => "yes",
            Billed::Estimated => "estimated",
        }
    }
}

/// One row: a request, or one failed attempt of it. `(request_id, attempt)` is unique over all rows.
///
/// Texts are cut at 256 bytes and hold no control characters once recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// The gateway's request id.
    pub request_id: Arc<str>,
    /// Which try this is, from 1; 0 if no channel was tried.
    pub attempt: u32,
    /// When the request was accepted, milliseconds since 1970.
    pub started_ms: u64,
    /// When this was recorded, milliseconds since 1970.
    pub at_ms: u64,
    /// Id of the client key; empty without one. Never the key.
    pub key: Arc<str>,
    /// The person behind the key; empty if unknown.
    pub user: Arc<str>,
    /// The model that the client asked for.
    pub model: Arc<str>,
    /// The model that the channel was asked for.
    pub upstream_model: Arc<str>,
    /// Name of the channel; empty if none was tried.
    pub channel: Arc<str>,
    /// The client's format.
    pub format: Option<Format>,
    /// The channel's format.
    pub upstream_format: Option<Format>,
    /// HTTP status: of the request what the client saw, or what a stream that broke off would have been told; of an attempt what the upstream
    /// said; 0 if there was none.
    pub status: u16,
    /// How it ended.
    pub outcome: Outcome,
    /// Whether the provider bills it.
    pub billed: Billed,
    /// The counters.
    pub usage: Metered,
    /// What it costs; `None` if the price of the model is unknown.
    pub cost: Option<PicoUsd>,
    /// Tokens that the limits hold of it, where that is more than `usage` says: what may have been used unseen.
    pub held: u64,
    /// Money that budgets hold of it, pico-USD, where that is more than it costs.
    pub held_cost: u64,
    /// Time to the first byte of content, milliseconds.
    pub ttft_ms: Option<u32>,
    /// All of the time, milliseconds.
    pub total_ms: u32,
}

impl Row {
    /// Tokens that the limits count.
    #[must_use]
    pub fn counted(&self) -> u64 {
        self.usage.usage().total().unwrap_or(0).max(self.held)
    }
}

/// A row that will not change any more and belongs into the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// True for the one row that settles the request, false for an attempt that failed before it.
    pub is_request: bool,
    /// The row.
    pub row: Row,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_the_tables_is_the_number_in_the_record() {
        for (index, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, index);
        }
        for (index, billed) in Billed::ALL.into_iter().enumerate() {
            assert_eq!(billed as usize, index);
        }
    }
}
