//! What happens when an upstream fails: attempts, breakers, probes (reliability.md, promises P5 and P6).

use std::time::Duration;

/// How attempts follow one another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Attempts per request, all channels together.
    pub attempts: u32,
    /// Shortest wait before the same channel is tried again.
    pub backoff_min: Duration,
    /// Longest.
    pub backoff_max: Duration,
    /// A wait that the upstream asks for is kept.
    pub honor_retry_after: bool,
    /// Failures after which another channel is tried.
    pub when: Vec<When>,
}

/// A kind of failure after which another channel may be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum When {
    /// No connection.
    Connect,
    /// Rate limits and used-up accounts.
    RateLimited,
    /// 5xx, broken and unreadable answers.
    ServerError,
    /// No first byte in time.
    FirstByteTimeout,
    /// The provider refused the channel's key.
    Auth,
    /// The provider does not know the model.
    ModelNotFound,
}

/// The words of `when`.
pub(crate) const WHEN: &[(&str, When)] = &[
    ("connect", When::Connect),
    ("429", When::RateLimited),
    ("5xx", When::ServerError),
    ("first_byte_timeout", When::FirstByteTimeout),
    ("auth", When::Auth),
    ("model_not_found", When::ModelNotFound),
];

impl Default for Retry {
    fn default() -> Self {
        Retry {
            attempts: 3,
            backoff_min: Duration::from_millis(250),
            backoff_max: Duration::from_secs(1),
            honor_retry_after: true,
            when: vec![
                When::Connect,
                When::RateLimited,
                When::ServerError,
                When::FirstByteTimeout,
                When::Auth,
            ],
        }
    }
}

/// When a channel is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// Failures in a row that open it.
    pub failures: u32,
    /// Window of the failure rate.
    pub window: Duration,
    /// Percent of failures in the window that open it.
    pub percent: u32,
    /// Requests in the window below which the rate says nothing.
    pub least: u32,
    /// How long it stays open the first time; doubled each time.
    pub open_min: Duration,
    /// How long at most.
    pub open_max: Duration,
}

impl Default for Breaker {
    fn default() -> Self {
        Breaker {
            failures: 5,
            window: Duration::from_secs(30),
            percent: 50,
            least: 20,
            open_min: Duration::from_secs(10),
            open_max: Duration::from_secs(300),
        }
    }
}

/// Background probes of a channel: its model list is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// How often.
    pub interval: Duration,
    /// Path below the version; `models` by default.
    pub path: String,
}
