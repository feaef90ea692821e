//! A binary that was built without OpenTelemetry (feature `otel`).

use std::sync::Arc;

use opm_config::Config;
use opm_proxy::net::upstream::Upstreams;
use opm_telemetry::{Metrics, Sink};
use tokio::runtime::Handle;

/// Nothing can be one.
pub(crate) enum Telemetry {}

impl Telemetry {
    pub(crate) fn sink(&self) -> Arc<dyn Sink> {
        match *self {}
    }

    pub(crate) fn stop(&self) {
        match *self {}
    }
}

/// Says that nothing is sent, if something should be.
pub(crate) fn start(
    config: &Config,
    _: Upstreams,
    _: &Handle,
    _: &Metrics,
) -> anyhow::Result<Option<Telemetry>> {
    if config.otlp.collector().is_some() {
        tracing::warn!("this `opm` was built without OpenTelemetry: nothing is sent to the collector");
    }
    Ok(None)
}
