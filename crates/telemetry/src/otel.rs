//! OpenTelemetry: finished requests as spans and measures, sent to a collector by OTLP over HTTP (protobuf).
//!
//! Names follow the conventions for generative AI (`semconv`). Prompts and answers are no part of [`crate::Finished`], so they
//! cannot be sent. Start reading at [`Exporter`].

mod exporter;
mod measures;
mod parent;
mod semconv;
mod span;
#[cfg(test)]
mod tests;

pub use exporter::{Exporter, StartError};
pub use opentelemetry_http::{HttpClient, HttpError};

/// Where to, and what.
#[derive(Clone)]
pub struct Settings {
    /// Address of the collector, without a slash at its end; `/v1/traces` and `/v1/metrics` follow it.
    pub endpoint: String,
    /// Headers of every request to it; their values may be secrets.
    pub headers: Vec<(String, String)>,
    /// Send spans.
    pub traces: bool,
    /// Send measures.
    pub metrics: bool,
    /// Name of this service.
    pub service_name: String,
    /// Its version.
    pub service_version: &'static str,
    /// Which requests get spans.
    pub sampling: Sampling,
}

/// Which requests get spans.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Where the caller is part of a trace, its sampled flag decides.
    pub parent_based: bool,
    /// Otherwise this share of requests, 0 to 1.
    pub ratio: f64,
}

impl Default for Sampling {
    fn default() -> Self {
        Sampling {
            parent_based: true,
            ratio: 1.0,
        }
    }
}
