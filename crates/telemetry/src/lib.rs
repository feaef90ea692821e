//! The metric table: every name the gateway exports, in one place, and the registry behind `/metrics`.
//!
//! Labels come from the configuration only; a client cannot make a series grow. Start reading at [`METRICS`].

mod channel;
mod dollars;
mod gauges;
mod labels;
mod metrics;
mod registering;
mod table;
#[cfg(test)]
mod tests;

pub use channel::ChannelMetrics;
pub use gauges::{ChannelGauges, LedgerGauges, LimitsGauges};
pub use metrics::{Metrics, Outcome, StreamGuard};
pub use table::{Kind, METRICS, Metric, metric_named};
