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
use pingora_core::services::background::background_service;
use pingora_core::services::listening::Service;

use super::budget::BodyBudget;
use super::client::Client;
use super::door::Door;
use super::drain::{Drain, Farewell, LAST_WORDS, LINGER, Signals};
use super::server::{Handler, HttpServer};

/// Read buffer of client connections, bytes: small reads keep idle connections small.
const READ_BUFFER: usize = 4 * 1024;
/// Write buffer below TLS, bytes: it takes the records of a small answer together. Without TLS the door holds small writes itself.
const WRITE_BUFFER: usize = 16 * 1024;

/// Memory for request bodies of the listeners beside the proxy, bytes.
const SMALL_BUDGET: usize = 16 << 20;

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
    /// The socket over which listeners are handed over; both processes must name the same.
    pub upgrade_socket: String,
}

/// Everything that runs beside the proxy itself.
pub struct Beside {
    /// Metrics of the whole process.
    pub metrics: Metrics,
    /// Called before each scrape, to set what is measured only then.
    pub refresh: Box<dyn Fn() + Send + Sync>,
    /// The admin API, if it is served.
    pub admin: Option<(SocketAddr, Box<dyn Handler>)>,
    /// What SIGHUP does.
    pub reload: Box<dyn Fn() + Send + Sync>,
}

/// Runs the proxy and what belongs to it until a signal ends them.
///
/// # Errors
/// The certificate cannot be used.
pub fn run_server<H: Handler>(
    handler: H,
    drain: Drain,
    listening: &Listening,
    beside: Beside,
) -> Result<(), String> {
    let mut server = server(listening);
    server.bootstrap();
    let door = Door::new(HttpServer::new(handler, drain.clone(), BodyBudget::of_memory()));
    let mut proxy = Service::new("proxy".into(), door);
    proxy.add_listener(listener(listening.proxy, listening.tls.as_ref())?);
    server.add_service(proxy);
    let exporter = Exporter {
        metrics: beside.metrics,
        refresh: beside.refresh,
    };
    server.add_service(small("metrics", exporter, listening.metrics)?);
    if let Some((address, admin)) = beside.admin {
        server.add_service(small("admin", admin, address)?);
    }
    let (done, over) = std::sync::mpsc::channel();
    let ran = done.clone();
    let farewell = Farewell {
        drain: drain.clone(),
        deadline: listening.drain,
        // Nobody listens any more if the server ended by itself.
        done: Box::new(move || {
            let _ = done.send(());
        }),
    };
    server.add_service(background_service("farewell", farewell));
    let signals = Signals {
        reload: beside.reload,
        drain,
        deadline: listening.drain,
        upgrade_socket: listening.upgrade_socket.clone(),
    };
    // After a hand-over Pingora sleeps for its whole grace period, whatever happens meanwhile; the farewell ends earlier.
    std::thread::Builder::new()
        .name("server".into())
        .spawn(move || {
            server.run(RunArgs {
                shutdown_signal: Box::new(signals),
            });
            let _ = ran.send(());
        })
        .map_err(|error| format!("the server's thread could not be started: {error}"))?;
    over.recv()
        .map_err(|_| "the server broke; the log says why".to_owned())
}

fn server(listening: &Listening) -> Server {
    let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let conf = ServerConf {
        threads,
        grace_period_seconds: Some((listening.drain + LAST_WORDS + LINGER * 2).as_secs()),
        graceful_shutdown_timeout_seconds: Some(1),
        upgrade_sock: listening.upgrade_socket.clone(),
        ..ServerConf::default()
    };
    let opt = Opt {
        upgrade: listening.upgrade,
        ..Opt::default()
    };
    Server::new_with_opt_and_conf(Some(opt), conf)
}

/// A listener that does not carry the traffic: one thread.
fn small<H: Handler>(name: &str, handler: H, address: SocketAddr) -> Result<Service<Door<H>>, String> {
    let server = HttpServer::new(handler, Drain::default(), BodyBudget::new(SMALL_BUDGET));
    let mut service = Service::new(name.into(), Door::new(server));
    service.threads = Some(1);
    service.add_listener(listener(address, None)?);
    Ok(service)
}

fn listener(address: SocketAddr, tls: Option<&(PathBuf, PathBuf)>) -> Result<ListenerConfig, String> {
    let write = if tls.is_some() { WRITE_BUFFER } else { 0 };
    let config = ListenerConfig::tcp(address.to_string());
    let config = config.l4_buffer(L4BufferSettings::new(READ_BUFFER, write));
    let Some((cert, key)) = tls else { return Ok(config) };
    let (cert, key) = (cert.to_string_lossy(), key.to_string_lossy());
    let mut settings = TlsSettings::intermediate(&cert, &key)
        .map_err(|error| format!("the certificate cannot be used: {error}"))?;
    settings.enable_h2();
    Ok(config.tls(settings))
}

/// Serves `/metrics`, nothing else.
struct Exporter {
    metrics: Metrics,
    refresh: Box<dyn Fn() + Send + Sync>,
}

impl Handler for Exporter {
    fn handle<'c>(&'c self, client: &'c mut Client) -> Pin<Box<dyn Future<Output = ()> + Send + 'c>> {
        Box::pin(async move {
            let known = client.path() == "/metrics" && matches!(client.method(), "GET" | "HEAD");
            let (status, body) = if known {
                (self.refresh)();
                (200, self.metrics.render())
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
