//! What is told of a request when it is over, to whoever follows requests.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ai_api_converter::{Format, Usage};

/// Follows finished requests.
pub trait Sink: Send + Sync {
    /// Takes a request over. Called at the end of every request: it must not wait.
    fn finished(&self, request: Finished);
}

/// A finished request that named a model. Nothing in it comes from prompts or answers.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The gateway's id of it.
    pub request_id: String,
    /// The client's format.
    pub format: Format,
    /// Short name of the API.
    pub api: &'static str,
    /// What was asked for: `chat`, `generate_content`, `embeddings` …
    pub operation: &'static str,
    /// Public model name as the client wrote it, of bounded length.
    pub model: String,
    /// The same as a label: a configured name or `other`.
    pub label: String,
    /// The answer was streamed.
    pub stream: bool,
    /// The client's output limit.
    pub max_tokens: Option<u64>,
    /// HTTP status sent to the client; 499 if it left.
    pub status: u16,
    /// Class of the failure that ended it.
    pub error: Option<&'static str>,
    /// When it came.
    pub started: SystemTime,
    /// All of its time.
    pub total: Duration,
    /// From its arrival to the first content.
    pub first_token: Option<Duration>,
    /// Tokens.
    pub usage: Usage,
    /// What it cost, in millionths of a millionth of a US dollar.
    pub cost_pico_usd: Option<u64>,
    /// Name of the client key.
    pub key: Option<String>,
    /// The client's `traceparent` header.
    pub traceparent: Option<String>,
    /// Tries at channels; the last one decided.
    pub attempts: Vec<Attempt>,
}

/// A try at a channel.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The channel.
    pub channel: Arc<str>,
    /// Who stands behind it, in the words of the GenAI conventions.
    pub provider: &'static str,
    /// Model name there.
    pub model: String,
    /// Format spoken there.
    pub format: Format,
    /// Host of the upstream.
    pub server_address: String,
    /// Port of the upstream.
    pub server_port: u16,
    /// `ok`, `broken`, `client_gone`, or the class of its failure.
    pub outcome: &'static str,
    /// HTTP status of the upstream, if it came that far.
    pub status: Option<u16>,
    /// From the request's arrival to the begin of the try.
    pub after: Duration,
    /// How long it took.
    pub time: Duration,
}

impl Attempt {
    /// The channel answered, though perhaps not to a client that was still there.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.outcome == "ok"
    }
}
