//! What the API needs of the running gateway. The gateway implements it; tests have a fake one.

mod channel;
mod explanation;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use channel::{BreakerState, ChannelOrigin, ChannelView, KeyView, State, TestReport};
pub use explanation::{Ask, AttemptView, CandidateView, Explanation, SkippedView};

/// The running gateway, as the admin API sees it.
#[async_trait]
pub trait Control: Send + Sync + 'static {
    /// How it runs.
    fn status(&self) -> Status;

    /// Every channel of the configuration in force with its live state, in its order.
    fn channels(&self) -> Vec<ChannelView>;

    /// Where a request would go now, and why. Sends nothing.
    fn explain(&self, ask: &Ask) -> Explanation;

    /// Where a recent request went, and why; `None`: not remembered.
    fn past(&self, request_id: &str) -> Option<Explanation>;

    /// Reads file and store again and puts them in force, or changes nothing.
    ///
    /// # Errors
    /// Every problem of the new configuration.
    async fn reload(&self) -> Result<Reloaded, Vec<Problem>>;

    /// Takes over what was just written to the store, at once.
    ///
    /// # Errors
    /// Why not yet, as a sentence; the store keeps what was written.
    async fn refresh(&self) -> Result<(), String>;

    /// Sends one small request to the channel; `None`: no such channel.
    async fn test(&self, channel: &str, model: Option<&str>) -> Option<TestReport>;

    /// The whole gateway: not ready, refuses new requests, lets streams finish.
    fn drain(&self);

    /// Every problem that a channel of the store would have, put in the place of a stored one of the same name. `definition` is
    /// JSON text with the members of a channel in the config file, without name and keys; `keys` says how many it will have.
    fn check_channel(&self, name: &str, definition: &str, keys: usize) -> Vec<Problem>;

    /// Every problem that routes of the store would have: JSON text with the members of `routes` in the config file.
    fn check_routes(&self, definition: &str) -> Vec<Problem>;
}

/// How the gateway runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// Version of the program.
    pub version: String,
    /// Start, Unix seconds.
    pub started_at: i64,
    /// Where the configuration came from: a file's path, or `the environment`.
    pub config: String,
    /// New requests are refused, running ones finish.
    pub draining: bool,
    /// Requests under way, streams until their end.
    pub in_flight: u64,
    /// Revision of the store that is in force.
    pub revision: u64,
    /// Kind of store: `sqlite`, `postgres`, `memory`.
    pub storage: String,
    /// Number of channels in force.
    pub channels: usize,
    /// Callers need a client key.
    pub keys_required: bool,
}

/// What a reload did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reloaded {
    /// What changed, a short sentence each; empty: nothing.
    pub changed: Vec<String>,
    /// Warnings of the configuration now in force.
    pub warnings: Vec<Problem>,
    /// What was changed but takes effect after a restart only.
    pub needs_restart: Vec<String>,
}

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It cannot be used.
    Error,
    /// It can, but not all of it has an effect, or it is risky.
    Warning,
}

/// One problem of a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// How bad.
    pub severity: Severity,
    /// Stable code, `E012`.
    pub code: String,
    /// What is wrong. Never a secret.
    pub message: String,
    /// Line in the file, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// Column in the file, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

impl Problem {
    /// True if nothing can be put in force with it.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl From<&opm_config::Problem> for Problem {
    fn from(problem: &opm_config::Problem) -> Self {
        Problem {
            severity: match problem.severity {
                opm_config::Severity::Error => Severity::Error,
                opm_config::Severity::Warning => Severity::Warning,
            },
            code: problem.code.to_owned(),
            message: problem.message.clone(),
            line: problem.at.map(|(line, _, _)| line),
            column: problem.at.map(|(_, column, _)| column),
            help: problem.help.clone(),
        }
    }
}
