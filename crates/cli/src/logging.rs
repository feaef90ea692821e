//! Logs: one line per request, nothing of Pingora's own request lines (they would hold paths and queries).

use tracing_subscriber::EnvFilter;
use tracing_subscriber::prelude::*;

/// Targets that are never more talkative than this, whatever RUST_LOG says: at debug they print whole headers.
const CAPPED: [&str; 6] = [
    "pingora_core=warn",
    "pingora_runtime=warn",
    "pingora_pool=warn",
    "h2=warn",
    "rustls=warn",
    "pingora_core::services::listening=error",
];

/// Starts logging to standard error.
pub(crate) fn start() {
    let wish = std::env::var("RUST_LOG").unwrap_or_else(|_| "info".into());
    let mut filter = EnvFilter::try_new(&wish).unwrap_or_else(|_| EnvFilter::new("info"));
    for cap in CAPPED {
        if let Ok(directive) = cap.parse() {
            filter = filter.add_directive(directive);
        }
    }
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_filter(filter);
    // A second start in the same process (tests) keeps the first logger.
    let _ = tracing_subscriber::registry().with(layer).try_init();
}
