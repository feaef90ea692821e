//! What we run: resolved, checked, immutable.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ai_api_converter::{Dialect, Format};
use opm_core::Secret;

use crate::base_url::BaseUrl;
use crate::key::ClientKey;
use crate::limit::{Limit, Limits, OnFailure, Shared};
use crate::observability::Otlp;
use crate::resilience::{Breaker, Health, Retry};

/// A whole configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it came from.
    pub origin: Origin,
    /// The proxy listener.
    pub listen: SocketAddr,
    /// The proxy listener was moved to loopback because anybody could have used the provider keys.
    pub loopback_only: bool,
    /// TLS of the proxy listener.
    pub tls: Option<Tls>,
    /// The metrics listener.
    pub metrics_listen: SocketAddr,
    /// The admin listener.
    pub admin: Admin,
    /// Where keys, channels and usage are kept; `None`: nothing outlives the process.
    pub storage: Option<String>,
    /// The file is read again when it changes.
    pub watch: bool,
    /// Networks whose `x-forwarded-for` is believed.
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// Largest request body, bytes.
    pub max_body: usize,
    /// Header that names the end user.
    pub user_header: String,
    /// How long a stop waits for running requests.
    pub drain: Duration,
    /// Upstream accounts.
    pub channels: Vec<Channel>,
    /// How candidates of equal standing are ordered.
    pub strategy: Strategy,
    /// Public name -> model.
    pub aliases: Vec<(String, String)>,
    /// Routes by model.
    pub rules: Vec<Rule>,
    /// How attempts follow one another.
    pub retry: Retry,
    /// Client keys.
    pub keys: Vec<ClientKey>,
    /// Id and name of the stored client keys that are revoked: what they used still counts.
    pub revoked_keys: Vec<(String, String)>,
    /// A key is needed: there are some, or there were.
    pub keys_required: bool,
    /// Limits beyond those of single keys and channels.
    pub limits: Vec<Limit>,
    /// Limits are shared with other instances.
    pub shared: Option<Shared>,
    /// What limits do that do not say, while the shared store does not answer. Not for budgets.
    pub on_failure: OnFailure,
    /// The operator's own prices: a JSON list as the ledger reads it.
    pub prices: Option<String>,
    /// How the ledger is kept.
    pub ledger: Ledger,
    /// How long usage is kept.
    pub retention: Retention,
    /// Where telemetry is sent.
    pub otlp: Otlp,
}

impl Config {
    /// The number of a channel: its place among them.
    #[must_use]
    pub fn channel_number(&self, name: &str) -> Option<usize> {
        self.channels.iter().position(|channel| channel.name == *name)
    }

    /// Moves the proxy to loopback where anybody could use provider keys; true if it had to.
    pub fn keep_to_loopback(&mut self) -> bool {
        let holds_keys = self.channels.iter().any(|channel| !channel.keys.is_empty());
        if !holds_keys || self.keys_required || self.listen.ip().is_loopback() {
            return false;
        }
        self.listen
            .set_ip(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));
        self.loopback_only = true;
        true
    }
}

/// How the ledger is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// Its directory; `None`: beside an SQLite store, `./opm.ledger` with Postgres, none without a store.
    pub directory: Option<PathBuf>,
    /// Every record is on the disk before the request goes on (`sync: always`); otherwise all of 100 ms share one sync.
    pub sync_always: bool,
    /// Largest size of what the store has not taken yet, bytes.
    pub max_bytes: u64,
    /// At that size requests are refused; otherwise their records are dropped and counted.
    pub refuse_when_full: bool,
}

impl Default for Ledger {
    fn default() -> Self {
        Ledger {
            directory: None,
            sync_always: false,
            max_bytes: 1 << 30,
            refuse_when_full: false,
        }
    }
}

/// How long usage is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// One row per attempt.
    pub requests: Duration,
    /// Sums by minute.
    pub minutes: Duration,
    /// Sums by hour, and budgets.
    pub hours: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        let days = |count: u64| Duration::from_secs(count * 86_400);
        Retention {
            requests: days(30),
            minutes: days(7),
            hours: days(400),
        }
    }
}

/// The admin listener.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The address was written down, not assumed.
    pub given: bool,
    /// Who holds it may do everything; `None`: the listener is not started, unless the store brings a token.
    pub token: Option<Secret>,
}

/// Where a configuration came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A file.
    File(PathBuf),
    /// Provider keys in the environment; how many.
    Environment(usize),
    /// Nothing at all: the callers' own credentials are passed through.
    Transparent,
}

/// Certificate and key of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// PEM file with the chain.
    pub cert: PathBuf,
    /// PEM file with the key.
    pub key: PathBuf,
}

/// Whose API a channel speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Vendor {
    /// OpenAI: Chat Completions, Responses, embeddings.
    OpenAi,
    /// Anthropic Messages.
    Anthropic,
    /// Google Gemini.
    Gemini,
}

impl Vendor {
    /// The word in the config file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Vendor::OpenAi => "openai",
            Vendor::Anthropic => "anthropic",
            Vendor::Gemini => "gemini",
        }
    }
}

/// One upstream account.
#[derive(Clone, Debug)]
pub struct Channel {
    /// Its name.
    pub name: String,
    /// Whose API it speaks.
    pub vendor: Vendor,
    /// Formats it speaks, the preferred one first.
    pub formats: Vec<Format>,
    /// It serves embeddings.
    pub embeddings: bool,
    /// What it does differently.
    pub dialect: Dialect,
    /// Where it is.
    pub base_url: BaseUrl,
    /// Its keys; none: the caller's credential is passed through.
    pub keys: Vec<Secret>,
    /// What it serves.
    pub models: Models,
    /// Share among equals.
    pub weight: u32,
    /// Higher first.
    pub priority: i64,
    /// How long it may take.
    pub timeouts: Timeouts,
    /// When it is left alone for a while.
    pub breaker: Breaker,
    /// Asked in the background whether it is well; `None`: only real requests tell.
    pub health: Option<Health>,
    /// What the operator switched it to at run time.
    pub state: ChannelState,
    /// HTTP/1.1 only.
    pub http1: bool,
    /// Headers sent with every request.
    pub headers: Vec<(String, String)>,
    /// Output limit written where the upstream demands one and the client gave none.
    pub default_max_tokens: Option<u64>,
    /// What may be used of it.
    pub limits: Limits,
    /// Answers whose client has left are read to their usage, for providers that bill them anyway.
    pub drains: bool,
    /// What it really costs, in millionths of the list price.
    pub cost_millionths: u64,
}

impl Channel {
    /// Which account reasoning state belongs to: hosts and names, never keys (conversion.md 7.2).
    #[must_use]
    pub fn domain(&self) -> u32 {
        let parts = [self.vendor.as_str(), "|", &self.base_url.host, "|", &self.name];
        let bytes = parts.into_iter().flat_map(str::bytes);
        // FNV-1a: stable over versions and machines, which the seals of running conversations need.
        bytes.fold(0x811c_9dc5, |hash: u32, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        })
    }

    /// The upstream's name of a public model; `None` if the channel does not serve it.
    #[must_use]
    pub fn upstream_model(&self, model: &str) -> Option<String> {
        match &self.models {
            Models::Globs(globs) => globs
                .iter()
                .any(|glob| matches_glob(glob, model))
                .then(|| model.to_owned()),
            Models::Map(map) => map
                .iter()
                .find(|(public, _)| matches_glob(public, model))
                .map(|(public, upstream)| rename(public, upstream, model)),
        }
    }
}

/// `a/*` -> `*` keeps what the star stood for; anything else is the upstream name itself.
fn rename(public: &str, upstream: &str, model: &str) -> String {
    let Some((prefix, suffix)) = public.split_once('*') else {
        return upstream.to_owned();
    };
    let star = model
        .strip_prefix(prefix)
        .and_then(|rest| rest.strip_suffix(suffix))
        .unwrap_or(model);
    upstream.replace('*', star)
}

/// `*` stands for any characters.
#[must_use]
pub fn matches_glob(glob: &str, text: &str) -> bool {
    let mut pieces = glob.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut pieces = pieces.peekable();
    if pieces.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return rest.ends_with(piece);
        }
        match rest.find(piece) {
            Some(at) => rest = rest.get(at + piece.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    true
}

/// What an operator switched a channel to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum ChannelState {
    /// It serves.
    #[default]
    Enabled,
    /// It finishes what it has and gets nothing new.
    Draining,
    /// It gets nothing.
    Disabled,
}

impl ChannelState {
    /// The word in the API, the store and the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            ChannelState::Enabled => "enabled",
            ChannelState::Draining => "draining",
            ChannelState::Disabled => "disabled",
        }
    }
}

/// What a channel serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Models {
    /// Names and globs, passed on as they are.
    Globs(Vec<String>),
    /// Public name (or glob) -> upstream name.
    Map(Vec<(String, String)>),
}

/// Time limits of a channel (promise P7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Name look-up and TCP.
    pub connect: Duration,
    /// TLS handshake, on top of it.
    pub tls: Duration,
    /// First byte of the answer.
    pub first_byte: Duration,
    /// Silence inside an answer.
    pub idle: Duration,
    /// A whole request without streaming, all attempts together.
    pub total: Duration,
    /// A whole streamed request.
    pub total_stream: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts {
            connect: Duration::from_secs(3),
            tls: Duration::from_secs(5),
            first_byte: Duration::from_secs(120),
            idle: Duration::from_secs(120),
            total: Duration::from_secs(600),
            total_stream: Duration::from_secs(3600),
        }
    }
}

/// How candidates of equal standing are ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Strategy {
    /// At random, by weight.
    #[default]
    Weighted,
    /// In turn, by weight.
    RoundRobin,
    /// In the order of the file.
    Failover,
    /// Fewest requests under way for its weight.
    LeastConnections,
    /// Lowest recent time to first token, of two picked at random.
    Latency,
}

impl Strategy {
    /// The word in the config file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Strategy::Weighted => "weighted",
            Strategy::RoundRobin => "round_robin",
            Strategy::Failover => "failover",
            Strategy::LeastConnections => "least_connections",
            Strategy::Latency => "latency",
        }
    }
}

/// A route: which channels serve a request.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Rule {
    /// What a request must be like. All of it must hold.
    pub matches: Match,
    /// Channel numbers, in order.
    pub channels: Vec<usize>,
    /// Channel number -> its own model name.
    pub models: Vec<(usize, String)>,
    /// Its own strategy.
    pub strategy: Option<Strategy>,
}

/// What a route asks of a request.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Match {
    /// Glob of the public model name.
    pub model: Option<String>,
    /// Header name and glob of its value.
    pub headers: Vec<(String, String)>,
    /// Glob of the client key's name.
    pub key: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_and_maps_keep_what_the_star_stood_for() {
        for (glob, text, wanted) in [
            ("gpt-*", "gpt-5.6-luna", true),
            ("o*-*", "o3-mini", true),
            ("o*-*", "o3", false),
            ("*", "", true),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "aXc", false),
            ("exact", "exactly", false),
        ] {
            assert_eq!(matches_glob(glob, text), wanted, "{glob} {text}");
        }
        assert_eq!(rename("up/*", "*", "up/m"), "m");
        assert_eq!(rename("fast", "gpt-5.6-luna", "fast"), "gpt-5.6-luna");
    }
}
