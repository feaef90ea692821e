//! Why a request goes, or went, where it does.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A request that might come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// Public model name.
    pub model: String,
    /// The client's format: `chat`, `responses`, `messages`, `gemini`; `None`: `chat`.
    pub format: Option<String>,
    /// Id or name of the client key.
    pub key: Option<String>,
    /// Request headers, names in lower case.
    pub headers: Vec<(String, String)>,
}

/// Why a request goes, or went, where it does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    /// Public model name.
    pub model: String,
    /// The client's format.
    pub format: Option<String>,
    /// Name of the client key.
    pub key: Option<String>,
    /// How equals were ordered.
    pub strategy: String,
    /// The route that matched, in words; absent: none.
    pub route: Option<String>,
    /// The first candidate was chosen because it knows the conversation.
    pub sticky: bool,
    /// All that could serve were broken or out of keys: the one that recovers first is tried all the same.
    pub last_resort: bool,
    /// Why nobody serves it, as a sentence.
    pub refusal: Option<String>,
    /// In the order in which they are tried.
    pub candidates: Vec<CandidateView>,
    /// The other channels, and why not.
    pub skipped: Vec<SkippedView>,
    /// What was tried; empty for a request that was not sent.
    pub attempts: Vec<AttemptView>,
    /// Status the client got; absent for a request that was not sent.
    pub status: Option<u16>,
    /// Arrival, Unix seconds; absent for a request that was not sent.
    pub at: Option<i64>,
}

/// A channel that can serve the request, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CandidateView {
    /// The channel.
    pub channel: String,
    /// Model name there.
    pub model: String,
    /// Format spoken there.
    pub format: String,
    /// Why it stands at this place, in words.
    pub reason: String,
}

/// A channel that was left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SkippedView {
    /// The channel.
    pub channel: String,
    /// Why, in words.
    pub reason: String,
}

/// One attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AttemptView {
    /// The channel.
    pub channel: String,
    /// `ok`, `client_gone`, or the kind of failure.
    pub outcome: String,
    /// HTTP status of the upstream, if it came that far.
    pub status: Option<u16>,
    /// How long it took, milliseconds.
    pub ms: u64,
}
