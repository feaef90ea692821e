//! Where telemetry is sent.

use opm_core::Secret;

use crate::base_url::BaseUrl;

/// OpenTelemetry over OTLP/HTTP.
#[derive(Clone, Debug, PartialEq)]
pub struct Otlp {
    /// The collector; `None`: nothing is sent.
    pub endpoint: Option<Endpoint>,
    /// Headers of every request to it.
    pub headers: Vec<(String, Secret)>,
    /// Send spans.
    pub traces: bool,
    /// Send measures.
    pub metrics: bool,
    /// Name of this service.
    pub service_name: String,
    /// Which requests get spans.
    pub sampler: Sampler,
}

/// A collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its address without a slash at the end; `/v1/traces` and `/v1/metrics` follow it.
    pub text: String,
    /// Where that is.
    pub at: BaseUrl,
}

/// Which requests get spans, as `OTEL_TRACES_SAMPLER` says it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampler {
    /// Where the caller is part of a trace, its sampled flag decides.
    pub parent_based: bool,
    /// Otherwise this share of requests, 0 to 1.
    pub ratio: f64,
}

impl Default for Sampler {
    fn default() -> Self {
        Sampler {
            parent_based: true,
            ratio: 1.0,
        }
    }
}

impl Default for Otlp {
    fn default() -> Self {
        Otlp {
            endpoint: None,
            headers: Vec::new(),
            traces: true,
            metrics: true,
            service_name: "opm".into(),
            sampler: Sampler::default(),
        }
    }
}

impl Otlp {
    /// The collector, if anything is to be sent to it.
    #[must_use]
    pub fn collector(&self) -> Option<&Endpoint> {
        self.endpoint.as_ref().filter(|_| self.traces || self.metrics)
    }
}
