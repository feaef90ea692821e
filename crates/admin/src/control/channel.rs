//! A channel with its live state.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A channel in force with its live state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ChannelView {
    /// Its name.
    pub name: String,
    /// Whose API it speaks: `openai`, `anthropic`, `gemini`.
    pub format: String,
    /// What it serves: `chat`, `responses`, `messages`, `gemini`, `embeddings`; the preferred one first.
    pub apis: Vec<String>,
    /// Where it is.
    pub base_url: String,
    /// Where it was defined.
    pub origin: ChannelOrigin,
    /// What an operator switched it to.
    pub state: State,
    /// Share among equals.
    pub weight: u32,
    /// Higher first.
    pub priority: i64,
    /// Names and globs of the models it serves; `public -> upstream` where it renames.
    pub models: Vec<String>,
    /// Its provider keys; none: the caller's own credential is passed through.
    pub keys: Vec<KeyView>,
    /// Its circuit breaker.
    pub breaker: BreakerState,
    /// Milliseconds until an open breaker lets a probe through.
    pub retry_in_ms: Option<u64>,
    /// Requests under way, streams until their end.
    pub in_flight: u64,
    /// Recent time to first token, milliseconds; unknown before the first answer.
    pub time_to_first_token_ms: Option<u64>,
    /// Attempts since the start, if counted.
    pub requests: Option<u64>,
    /// Failed attempts since the start, if counted.
    pub failures: Option<u64>,
}

/// A provider key, without the key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeyView {
    /// What may be shown of it: prefix and last four characters.
    pub hint: String,
    /// It is left alone for so many milliseconds.
    pub parked_for_ms: Option<u64>,
    /// Why it is left alone: `rate_limited`, `quota`, `refused` …
    pub why: Option<String>,
}

/// Where a channel was defined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ChannelOrigin {
    /// In the config file: changed there only.
    #[default]
    File,
    /// At run time, in the store.
    Store,
    /// By environment variables.
    Environment,
}

/// What an operator switched a channel to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It serves.
    #[default]
    Enabled,
    /// It finishes what it has and gets nothing new.
    Draining,
    /// It gets nothing.
    Disabled,
}

/// The circuit breaker of a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BreakerState {
    /// It serves.
    #[default]
    Closed,
    /// Its pause is over; the next request is the probe.
    HalfOpen,
    /// It is left alone after failures.
    Open,
}

/// What a test request to a channel showed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TestReport {
    /// The channel.
    pub channel: String,
    /// Model that was asked for, named as at the upstream; absent if the channel names none.
    pub model: Option<String>,
    /// It answered as it should.
    pub ok: bool,
    /// HTTP status of the upstream, if it came that far.
    pub status: Option<u16>,
    /// Milliseconds to the first token.
    pub time_to_first_token_ms: Option<u64>,
    /// Milliseconds in all.
    pub total_ms: u64,
    /// What went wrong. Never a secret.
    pub error: Option<String>,
    /// Models that the upstream lists, if it lists any.
    pub models: Vec<String>,
}
