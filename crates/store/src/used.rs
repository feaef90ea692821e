//! What was used in the time that limits still count: by whom and when, for a gateway that starts.

use crate::usage::Width;

/// Where it is read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsedFrom {
    /// Attempts, by the time at which they began; a later one of its request, whose beginning is not kept, by its end.
    Attempts,
    /// Sums, by the last millisecond of their spans: less to read, and never too early either.
    Sums(Width),
}

/// A question about what was used.
#[derive(Clone, Copy, Debug)]
pub struct UsedQuery {
    /// From where.
    pub from: UsedFrom,
    /// Unix milliseconds; what ended then or later. For sums, spans that ended then or later.
    pub since_ms: i64,
    /// Unix milliseconds; what ended before.
    pub until_ms: i64,
    /// Milliseconds: what falls into the same multiple is one answer.
    pub step_ms: i64,
}

/// What was used by one caller, of one model, at one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Used {
    /// Id of the client key.
    pub key_id: String,
    /// The user behind it.
    pub user: String,
    /// The model as the client named it.
    pub model: String,
    /// Name of the channel.
    pub channel: String,
    /// Unix milliseconds; the first of the step in which it was used. Less than `since_ms` for what began before.
    pub step_start_ms: i64,
    /// Tokens, those that may have been used unseen included.
    pub tokens: i64,
    /// Tries that are not known to have failed before the model worked: for limits of requests each is one.
    pub requests: i64,
}
