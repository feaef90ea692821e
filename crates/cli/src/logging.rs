//! Logs: one line per request, nothing of Pingora's own request lines (they would hold paths and queries).

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::prelude::*;

use self::json::JsonLines;

mod json;

/// Targets that are never more talkative than this, whatever RUST_LOG says: at debug they print whole headers.
const CAPPED: [&str; 6] = [
    "pingora_core=warn",
    "pingora_runtime=warn",
    "pingora_pool=warn",
    "h2=warn",
    "rustls=warn",
    "pingora_core::services::listening=error",
];

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// For people on a terminal, JSON elsewhere
    #[default]
    Auto,
    /// For people
    Pretty,
    /// One JSON object a line
    Json,
}

/// Starts logging to standard error.
pub(crate) fn start(format: LogFormat) {
    let wish = std::env::var("RUST_LOG").unwrap_or_else(|_| "info".into());
    let mut filter = EnvFilter::try_new(&wish).unwrap_or_else(|_| EnvFilter::new("info"));
    for cap in CAPPED {
        if let Ok(directive) = cap.parse() {
            filter = filter.add_directive(directive);
        }
    }
    let json = match format {
        LogFormat::Json => true,
        LogFormat::Pretty => false,
        LogFormat::Auto => !std::io::stderr().is_terminal(),
    };
    let registry = tracing_subscriber::registry().with(filter);
    // A second start in the same process (tests) keeps the first logger.
    let _ = if json {
        registry.with(JsonLines(std::io::stderr)).try_init()
    } else {
        let pretty = tracing_subscriber::fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
            .with_target(false);
        registry.with(pretty).try_init()
    };
}
