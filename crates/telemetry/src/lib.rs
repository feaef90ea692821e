//! The metric table: every name the gateway exports, in one place, and the registry behind `/metrics`.
//!
//! Labels come from the configuration only; a client cannot make a series grow.

mod metrics;

pub use metrics::{ChannelGauges, METRICS, Metrics, Outcome};
