//! `opm serve`: the gateway on Pingora.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use opm_config::{ChannelState, Config, EXIT_CONFIG, Origin};
use opm_core::Secret;
use opm_proxy::net::drain::Drain;
use opm_proxy::net::server::Handler;
use opm_proxy::net::service::{Beside, Listening, run_server};
use opm_proxy::net::site::Served;
use opm_proxy::net::upstream::Upstreams;
use opm_proxy::{Gateway, Parts, Snapshot};
use opm_routing::{Live, Standing};
use opm_store::{Location, StoreError};
use opm_telemetry::{ChannelGauges, Metrics};
use tokio::runtime::Runtime;
use tokio::time::timeout;

use super::{find, report};
use crate::args::Serve;
use crate::control::{Controls, unix_seconds};
use crate::health;
use crate::live::{LiveConfig, Read};
use crate::logging::{self, LogFormat};
use crate::metering::{self, Feeding};
use crate::opening;
use crate::otlp;
use crate::site::AdminSite;
use crate::watch::watch;
use crate::welcome::welcome;

pub(super) fn run(args: &Serve) -> anyhow::Result<ExitCode> {
    let found = find(args.config.as_deref())?;
    if let Some(code) = report(&found) {
        return Ok(code);
    }
    let config = found
        .loaded
        .config
        .ok_or_else(|| anyhow!("the configuration is not valid"))?;
    logging::start(args.log);
    let file = args.config.clone();
    let read: Box<Read> = Box::new(move || find(file.as_deref()).map(|found| found.loaded));
    start(config, (args.upgrade, args.log), read)
}

/// How long the store may take to let go of its connections, at the end.
const CLOSE: Duration = Duration::from_millis(500);

/// Runs the gateway until it is told to stop. `read` reads the configuration anew; a broken one changes nothing.
pub(super) fn start(
    config: Config,
    (upgrade, log): (bool, LogFormat),
    read: Box<Read>,
) -> anyhow::Result<ExitCode> {
    // Store, file watch and probes live on a runtime of their own: they never take a proxy thread.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("background")
        .enable_all()
        .build()
        .context("starting the background runtime")?;
    if let Err(error) = check_ca_file() {
        eprintln!("opm: {error:#}");
        return Ok(ExitCode::from(EXIT_CONFIG));
    }
    let kept = match opening::open(&config, &runtime) {
        Ok(kept) => kept,
        Err(error) => {
            eprintln!("opm: {error:#}");
            let is_away = error.downcast_ref().is_some_and(StoreError::is_away);
            return Ok(if is_away {
                ExitCode::FAILURE
            } else {
                ExitCode::from(EXIT_CONFIG)
            });
        }
    };
    let live = Arc::new(Live::default());
    let watched = watched_file(&config);
    let configured = runtime
        .block_on(LiveConfig::start(config, read, kept, Arc::clone(&live)))
        .context("reading the store")?;
    let configured = Arc::new(configured);
    let metered = metering::open(&configured.snapshot().load().config, configured.kept(), &runtime);
    let metering = match metered {
        Ok(metering) => metering,
        Err(error) => {
            eprintln!("opm: {error:#}");
            return Ok(ExitCode::FAILURE);
        }
    };
    let first = configured.snapshot().load_full();
    let feeding = match configured.kept() {
        Some(kept) => {
            runtime.block_on(metering::catch_up(&metering, kept, configured.snapshot()))?;
            Feeding::start(&metering, kept, configured.snapshot(), &runtime)
        }
        None => Feeding::start_alone(&metering, &first, &runtime),
    };
    // Who asks for JSON gets nothing else.
    if log == LogFormat::Json {
        let (proxy, channels) = (first.config.listen.to_string(), first.config.channels.len());
        tracing::info!(proxy, channels, "starting");
    } else {
        eprint!("{}", welcome(&first.config));
    }
    let listening = listening(&first, upgrade)?;
    let admin_address = admin_address(&first.config, upgrade)?;
    let metrics = Metrics::new();
    let connections = Upstreams::new(ca_file());
    let telemetry = otlp::start(&first.config, connections, runtime.handle(), &metrics)?;
    let parts = Parts {
        snapshot: Arc::clone(configured.snapshot()),
        live,
        upstreams: Arc::new(Upstreams::new(ca_file())),
        metrics,
        drain: Drain::default(),
        history: Arc::default(),
        used: Arc::default(),
        metering,
        sink: telemetry.as_ref().map(otlp::Telemetry::sink),
        clock: Instant::now(),
    };
    background(&runtime, &configured, &parts, watched);
    let admin = admin_address.and_then(|address| admin(&configured, &parts, address));
    let reloading = Arc::clone(&configured);
    let beside = Beside {
        metrics: parts.metrics.clone(),
        refresh: refresh(parts.clone(), feeding.as_ref().map(Feeding::rows)),
        admin,
        reload: Box::new(move || reload(&reloading)),
    };
    let drain = parts.drain.clone();
    run_server(Gateway::new(parts), drain, &listening, beside).map_err(|error| anyhow!(error))?;
    // Side by side: each may take some seconds.
    std::thread::scope(|scope| {
        scope.spawn(|| telemetry.iter().for_each(otlp::Telemetry::stop));
        if let Some(feeding) = feeding {
            runtime.block_on(feeding.finish());
        }
    });
    if let Some(kept) = configured.kept() {
        // A store that does not answer is not waited for any more.
        runtime.block_on(async { _ = timeout(CLOSE, kept.store.close()).await });
    }
    runtime.shutdown_timeout(CLOSE);
    Ok(ExitCode::SUCCESS)
}

/// Where the admin API is served; `None`: nobody could prove to be the operator, or another process has the usual port.
fn admin_address(config: &Config, upgrade: bool) -> anyhow::Result<Option<SocketAddr>> {
    let address = config.admin.listen;
    if admin_token(config)?.is_none() {
        if config.admin.given {
            eprintln!("  ! the admin API is not served: set `admin.token` or a `storage.url` of SQLite");
        }
        return Ok(None);
    }
    if config.admin_is_taken() && !config.admin.given {
        // The configuration's warning says so.
        return Ok(None);
    }
    if upgrade {
        return Ok(Some(address));
    }
    match std::net::TcpListener::bind(address) {
        Ok(_) => Ok(Some(address)),
        Err(error) if config.admin.given => Err(anyhow!("the admin API cannot listen on {address}: {error}")),
        Err(error) => {
            eprintln!("  ! the admin API is not served: {address}: {error}; set `admin.listen`");
            Ok(None)
        }
    }
}

/// The operator's token: from the configuration, else from the file beside the store, which is made on first use.
fn admin_token(config: &Config) -> anyhow::Result<Option<Secret>> {
    if let Some(token) = &config.admin.token {
        return Ok(Some(token.clone()));
    }
    let Some(url) = &config.storage else {
        return Ok(None);
    };
    Ok(opm_store::admin_token(&Location::parse(url)?)?)
}

fn admin(
    configured: &Arc<LiveConfig>,
    parts: &Parts,
    address: SocketAddr,
) -> Option<(SocketAddr, Box<dyn Handler>)> {
    let kept = configured.kept()?;
    let config = &configured.snapshot().load().config;
    let control = Controls {
        configured: Arc::clone(configured),
        parts: parts.clone(),
        upstreams: Upstreams::new(ca_file()),
        storage: match config.storage.as_deref() {
            None => "memory",
            Some(url) if url.starts_with("sqlite") => "sqlite",
            Some(_) => "postgres",
        },
        started_at: unix_seconds(),
    };
    let api = opm_admin::Api {
        control: Arc::new(control),
        store: Arc::clone(&kept.store),
        secrets: Arc::clone(&kept.secrets),
        token: admin_token(config).ok().flatten()?,
        clock: Arc::new(unix_seconds),
    };
    Some((address, Box::new(Served(AdminSite(opm_admin::router(api))))))
}

fn listening(first: &Snapshot, upgrade: bool) -> anyhow::Result<Listening> {
    let config = &first.config;
    let listening = Listening {
        proxy: config.listen,
        tls: config.tls.clone().map(|tls| (tls.cert, tls.key)),
        metrics: config.metrics_listen,
        drain: config.drain,
        upgrade,
        upgrade_socket: std::env::temp_dir()
            .join(format!("opm-{}.sock", config.listen.port()))
            .to_string_lossy()
            .into_owned(),
    };
    for address in [listening.proxy, listening.metrics]
        .into_iter()
        .filter(|_| !upgrade)
    {
        // Pingora panics on a port in use; this says it in words.
        std::net::TcpListener::bind(address)
            .map_err(|error| anyhow!("cannot listen on {address}: {error}"))?;
    }
    Ok(listening)
}

/// The file to watch, if the configuration comes from one and wants it.
fn watched_file(config: &Config) -> Option<PathBuf> {
    match &config.origin {
        Origin::File(path) if config.watch && path.exists() => Some(path.clone()),
        _ => None,
    }
}

fn background(runtime: &Runtime, configured: &Arc<LiveConfig>, parts: &Parts, watched: Option<PathBuf>) {
    if configured.kept().is_some() {
        let following = Arc::clone(configured);
        runtime.spawn(async move { following.follow_store().await });
        let (configured, used) = (Arc::clone(configured), Arc::clone(&parts.used));
        runtime.spawn(async move { configured.keep_last_used(&used).await });
    }
    if let Some(path) = watched {
        let configured = Arc::clone(configured);
        runtime.spawn(watch(path, move || reload(&configured)));
    }
    runtime.spawn(health::probe(parts.clone(), Upstreams::new(ca_file())));
}

fn reload(configured: &LiveConfig) {
    match configured.reload() {
        Ok(reloaded) => {
            let changed = reloaded.changed.join(", ");
            tracing::info!(changed, "configuration reloaded");
            for name in reloaded.needs_restart {
                tracing::warn!("`{name}` changed; it takes effect after a restart");
            }
        }
        Err(problems) => {
            for problem in problems {
                let line = problem.at.map_or(0, |at| at.0);
                tracing::error!(code = problem.code, line, "{}", problem.message);
            }
            tracing::error!("the new configuration is not valid; the old one stays");
        }
    }
}

/// The connectors would panic over a file that is not there, and trust nobody with one that holds no certificate.
fn check_ca_file() -> anyhow::Result<()> {
    let Some(path) = ca_file() else { return Ok(()) };
    let text = std::fs::read(&path).with_context(|| format!("SSL_CERT_FILE: reading {path}"))?;
    let holds_one = String::from_utf8_lossy(&text).contains("-----BEGIN CERTIFICATE-----");
    anyhow::ensure!(
        holds_one,
        "SSL_CERT_FILE: {path} holds no certificate in PEM form"
    );
    Ok(())
}

pub(crate) fn ca_file() -> Option<String> {
    std::env::var("SSL_CERT_FILE")
        .ok()
        .filter(|path| !path.is_empty())
}

/// Sets the gauges of the channels before a scrape.
fn refresh(parts: Parts, rows: Option<Arc<AtomicU64>>) -> Box<dyn Fn() + Send + Sync> {
    Box::new(move || {
        let now = parts.now();
        let snapshot = parts.snapshot.load();
        let channels = snapshot.live.iter().zip(&snapshot.config.channels);
        let gauges = channels.map(|(live, channel)| {
            let breaker = match live.standing(now) {
                _ if channel.state != ChannelState::Enabled => None,
                Standing::Closed => Some(0),
                Standing::HalfOpen => Some(1),
                Standing::Open(_) => Some(2),
            };
            let gauges = ChannelGauges {
                in_flight: i64::try_from(live.in_flight()).unwrap_or(i64::MAX),
                breaker,
                parked: i64::try_from(live.parked(now).0).unwrap_or(i64::MAX),
            };
            (&*live.name, gauges)
        });
        parts.metrics.channels(gauges);
        let rows = metering::fed(rows.as_ref());
        metering::gauges(&parts.metering, rows, &snapshot, &parts.metrics);
    })
}
