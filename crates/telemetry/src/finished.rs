//! What is told of a request when it is over, to whoever follows requests.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ai_api_converter::{Format, Particulars, Settings, Usage};

use crate::trace::Trace;

/// Follows requests.
pub trait Sink: Send + Sync {
    /// A request has come, perhaps with a `traceparent` header: says what is wanted of it. Must not wait.
    fn begin(&self, traceparent: Option<&str>) -> Following;

    /// Takes a request over. Called at the end of every request: it must not wait.
    fn finished(&self, request: Finished);
}

/// What is wanted of a request, decided when it comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Following {
    /// Its place in a trace; `None`: no request gets spans.
    pub trace: Option<Trace>,
    /// What its answer says of itself is to be noted.
    pub particulars: bool,
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
    /// How the client wants to be answered, if it gets a span.
    pub settings: Settings,
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
    /// What the answer said of itself, as far as it was asked for.
    pub particulars: Particulars,
    /// Its place in a trace, as [`Sink::begin`] made it.
    pub trace: Option<Trace>,
    /// The `tracestate` header that belongs to the caller's span.
    pub tracestate: Option<String>,
    /// Tries at channels; the last one decided.
    pub attempts: Vec<Attempt>,
}

/// A try at a channel.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Its span, where the request has a place in a trace.
    pub span: Option<NonZeroU64>,
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
