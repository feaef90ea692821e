//! OpenTelemetry: the exporter of the configuration, over the connections that the gateway has anyway.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use opm_config::Config;
use opm_proxy::net::peer::{Address, EndpointPeer, HttpVersion};
use opm_proxy::net::upstream::{UpstreamRequest, Upstreams};
use opm_telemetry::otel::{Exporter, HttpClient, HttpError, Sampling, Settings};
use opm_telemetry::{Metrics, Sink};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::time::timeout;

/// To connect, and again for TLS.
const CONNECT: Duration = Duration::from_secs(3);
/// For the head of an answer, and between pieces of its body.
const ANSWER: Duration = Duration::from_secs(8);
/// For a request as a whole.
const PATIENCE: Duration = Duration::from_secs(10);
/// For what is left to send when the gateway stops.
const FAREWELL: Duration = Duration::from_secs(5);
/// Largest answer that is read, bytes: only a complaint stands in it.
const MOST: usize = 64 << 10;

/// What sends telemetry while the gateway runs.
pub(crate) struct Telemetry(Arc<Exporter>);

impl Telemetry {
    /// Who must be told of finished requests.
    pub(crate) fn sink(&self) -> Arc<dyn Sink> {
        self.0.clone()
    }

    /// Sends what is left, within a few seconds.
    pub(crate) fn stop(&self) {
        if !self.0.stop(FAREWELL) {
            tracing::warn!("the OpenTelemetry collector did not take the last spans and measures in time");
        }
    }
}

/// Starts sending, if the configuration names a collector. The requests are sent on `runtime`.
pub(crate) fn start(
    config: &Config,
    upstreams: Upstreams,
    runtime: &Handle,
    metrics: &Metrics,
) -> anyhow::Result<Option<Telemetry>> {
    let otlp = &config.otlp;
    let Some(collector) = otlp.collector() else {
        return Ok(None);
    };
    let settings = Settings {
        endpoint: collector.text.clone(),
        headers: otlp
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), value.expose().to_owned()))
            .collect(),
        traces: otlp.traces,
        metrics: otlp.metrics,
        service_name: otlp.service_name.clone(),
        service_version: env!("CARGO_PKG_VERSION"),
        sampling: Sampling {
            parent_based: otlp.sampler.parent_based,
            ratio: otlp.sampler.ratio,
        },
    };
    let address = Address {
        host: collector.at.host.clone(),
        port: collector.at.port,
        tls: collector.at.tls,
        version: HttpVersion::Auto,
    };
    let connection = Connection {
        upstreams,
        peer: EndpointPeer::new(&address, CONNECT, CONNECT),
        name: format!("{}:{}", collector.at.host, collector.at.port),
        refused: Mutex::default(),
    };
    let client = Client {
        connection: Arc::new(connection),
        runtime: runtime.clone(),
    };
    let exporter = Exporter::start(&settings, client, metrics.clone());
    let exporter = exporter.context("`observability.otlp` in the configuration")?;
    Ok(Some(Telemetry(Arc::new(exporter))))
}

struct Connection {
    upstreams: Upstreams,
    peer: EndpointPeer,
    name: String,
    /// Paths whose last request was not taken.
    refused: Mutex<BTreeSet<String>>,
}

/// The exporter's threads have no runtime: requests are sent on the gateway's.
struct Client {
    connection: Arc<Connection>,
    runtime: Handle,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.connection.name)
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let connection = Arc::clone(&self.connection);
        let sending = async move { timeout(PATIENCE, connection.send(request)).await };
        self.runtime.spawn(sending).await??
    }
}

impl Connection {
    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (head, body) = request.into_parts();
        let request = UpstreamRequest {
            method: head.method,
            path: head
                .uri
                .path_and_query()
                .map_or("/", |path| path.as_str())
                .to_owned(),
            headers: head.headers,
            body,
        };
        let sent = self.upstreams.send(&self.peer, &request, ANSWER).await;
        self.tell(
            &request.path,
            &match &sent {
                Ok(response) if response.status() < 300 => String::new(),
                Ok(response) => format!("status {}", response.status()),
                Err(error) => error.to_string(),
            },
        );
        let mut response = sent?;
        let mut answer = Response::builder().status(response.status());
        if let Some(wait) = response.header("retry-after") {
            answer = answer.header("retry-after", wait);
        }
        let body = response.body(MOST, ANSWER).await.unwrap_or_default();
        Ok(answer.body(body)?)
    }

    /// Says once that the collector does not take what is sent, and once that it does again. An empty text: it does.
    fn tell(&self, path: &str, why: &str) {
        let mut refused = self.refused.lock();
        let changed = if why.is_empty() {
            refused.remove(path)
        } else {
            refused.insert(path.to_owned())
        };
        let collector = &self.name;
        match (changed, why) {
            (false, _) => {}
            (true, "") => tracing::info!(
                collector,
                path,
                "the OpenTelemetry collector takes what is sent again"
            ),
            (true, why) => {
                tracing::warn!(
                    collector,
                    path,
                    "the OpenTelemetry collector does not take what is sent: {why}"
                );
            }
        }
    }
}
