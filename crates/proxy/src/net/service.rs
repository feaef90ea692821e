//! Starts the listeners and runs until the process is told to stop.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use opm_telemetry::Metrics;
use pingora_core::listeners::tls::TlsSettings;
use pingora_core::listeners::{L4BufferSettings, ListenerConfig};
use pingora_core::server::configuration::{Opt, ServerConf};
use pingora_core::server::{RunArgs, Server};
use pingora_core::services::listening::Service;

use super::client::Client;
use super::drain::{Drain, Signals};
use super::server::{Handler, HttpServer};

/// Read and write buffers of client connections, bytes: small reads keep idle connections small, writes take head and body of
/// ordinary answers together (pingora.md section 1, item 9).
const BUFFERS: (usize, usize) = (4 * 1024, 16 * 1024);

/// Where to listen.
#[derive(Clone, Debug)]
pub struct Listening {
    /// The proxy.
    pub proxy: SocketAddr,
    /// Certificate and key of the proxy.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// The metrics.
    pub metrics: SocketAddr,
    /// How long a stop waits for running requests.
    pub drain: Duration,
    /// Take the listeners over from a running process.
    pub upgrade: bool,
}

/// Runs the proxy and the metrics listener until a signal ends them.
///
/// # Errors
/// The certificate cannot be used.
pub fn run_server<H: Handler>(
    handler: H,
    metrics: Metrics,
    drain: Drain,
    listening: &Listening,
    reload: Box<dyn Fn() + Send + Sync>,
) -> Result<(), String> {
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let conf = ServerConf {
        threads,
        grace_period_seconds: Some(listening.drain.as_secs()),
        graceful_shutdown_timeout_seconds: Some(1),
        upgrade_sock: format!("/tmp/opm-{}.sock", listening.proxy.port()),
        ..ServerConf::default()
    };
    let opt = Opt {
        upgrade: listening.upgrade,
        ..Opt::default()
    };
    let mut server = Server::new_with_opt_and_conf(Some(opt), conf);
    server.bootstrap();
    let mut proxy = Service::new("proxy".into(), HttpServer::new(handler, drain.clone()));
    proxy.add_listener(listener(listening.proxy, listening.tls.as_ref())?);
    server.add_service(proxy);
    let mut exporter = Service::new(
        "metrics".into(),
        HttpServer::new(Exporter(metrics), Drain::default()),
    );
    exporter.threads = Some(1);
    exporter.add_listener(listener(listening.metrics, None)?);
    server.add_service(exporter);
    let signals = Signals {
        reload,
        drain,
        deadline: listening.drain,
    };
    server.run(RunArgs {
        shutdown_signal: Box::new(signals),
    });
    Ok(())
}

fn listener(address: SocketAddr, tls: Option<&(PathBuf, PathBuf)>) -> Result<ListenerConfig, String> {
    let config =
        ListenerConfig::tcp(address.to_string()).l4_buffer(L4BufferSettings::new(BUFFERS.0, BUFFERS.1));
    let Some((cert, key)) = tls else { return Ok(config) };
    let (cert, key) = (cert.to_string_lossy(), key.to_string_lossy());
    let mut settings = TlsSettings::intermediate(&cert, &key)
        .map_err(|error| format!("the certificate cannot be used: {error}"))?;
    settings.enable_h2();
    Ok(config.tls(settings))
}

/// Serves `/metrics`, nothing else.
struct Exporter(Metrics);

impl Handler for Exporter {
    fn handle<'c>(&'c self, client: &'c mut Client) -> Pin<Box<dyn Future<Output = ()> + Send + 'c>> {
        Box::pin(async move {
            let known = client.path() == "/metrics" && matches!(client.method(), "GET" | "HEAD");
            let (status, body) = if known {
                (200, self.0.render())
            } else {
                (404, "only /metrics is served here\n".into())
            };
            let kind = if known {
                "application/openmetrics-text; version=1.0.0; charset=utf-8"
            } else {
                "text/plain"
            };
            // A scraper that left needs no answer.
            let _ = client
                .respond(status, &[("content-type", kind)], body.into())
                .await;
        })
    }
}
