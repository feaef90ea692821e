//! The config file: what they typed ([`node`]), compiled to what we run ([`Config`]), with every problem at once ([`Problem`]).
//!
//! Nothing here touches the network, and the environment comes as an argument. Start reading at [`load`].

mod base_url;
mod compile;
mod config;
mod diagnostic;
mod env;
mod key;
mod limit;
mod node;
mod observability;
mod redis_url;
mod resilience;
mod section;
mod template;
mod units;

pub use base_url::BaseUrl;
pub use compile::{Named, add_stored, compile_env, compile_file, stored_limits};
pub use config::{
    Admin, Channel, ChannelState, Config, Ledger, Match, Models, Origin, Retention, Rule, Strategy, Timeouts,
    Tls, Vendor, matches_glob,
};
pub use diagnostic::{CODES, Problem, Severity, render, render_json};
pub use env::{Environment, VARIABLES};
pub use key::{ClientKey, KeyRefused, Proof};
pub use limit::{Budget, Limit, Limits, Mode, OnFailure, Per, Scope, Shared, Subject};
pub use observability::{Endpoint, Otlp, Sampler};
pub use resilience::{Breaker, Health, Retry, When};
pub use section::nearest;
pub use units::{duration, moment};

/// Exit code of an invalid configuration (sysexits EX_CONFIG).
pub const EXIT_CONFIG: u8 = 78;

/// Where a config file is looked for, in this order, when none is named.
pub const DEFAULT_PATHS: [&str; 2] = ["./opm.yaml", "/etc/opm/opm.yaml"];

/// The outcome of reading a configuration: all problems, and the result if none of them is an error.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration, if it is valid.
    pub config: Option<Config>,
    /// Errors and warnings, in the order of the file.
    pub problems: Vec<Problem>,
}

impl Loaded {
    pub(crate) fn new(config: Config, problems: Vec<Problem>) -> Self {
        let broken = problems.iter().any(|problem| problem.severity == Severity::Error);
        Loaded {
            config: (!broken).then_some(config),
            problems,
        }
    }
}
