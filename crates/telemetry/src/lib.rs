//! The metric table: every name the gateway exports, in one place, and the registry behind `/metrics`.
//!
//! Labels come from the configuration only; a client cannot make a series grow. What is told of a finished request to others is
//! [`Finished`]; `otel` sends it to an OpenTelemetry collector. Start reading at [`METRICS`].

mod channel;
mod dollars;
mod finished;
mod gauges;
mod labels;
mod metrics;
#[cfg(feature = "otel")]
pub mod otel;
mod registering;
mod table;
#[cfg(test)]
mod tests;
mod trace;

pub use channel::ChannelMetrics;
pub use finished::{Attempt, Finished, Following, Sink};
pub use gauges::{BudgetGauges, ChannelGauges, LedgerGauges, LimitsGauges};
pub use metrics::{Metrics, Outcome, Stage, StreamGuard};
pub use table::{Kind, LABELS, METRICS, Metric, metric_named};
pub use trace::Trace;
