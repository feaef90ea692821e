//! `opm serve`: the gateway on Pingora.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::anyhow;
use arc_swap::ArcSwap;
use opm_config::Config;
use opm_proxy::net::drain::Drain;
use opm_proxy::net::service::{Beside, Listening, run_server};
use opm_proxy::net::upstream::Upstreams;
use opm_proxy::{Gateway, Parts, Snapshot};
use opm_routing::{Live, Standing};
use opm_telemetry::{ChannelGauges, Metrics};

use super::{find, report};
use crate::args::Serve;
use crate::logging;
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
    eprint!("{}", welcome(&config));
    let file = args.config.clone();
    start(config, args.upgrade, move || {
        find(file.as_deref()).map(|found| (report(&found), found.loaded.config))
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Runs the gateway until it is told to stop.
///
/// `again` reads the configuration anew for SIGHUP: a broken one changes nothing.
pub(super) fn start(
    config: Config,
    upgrade: bool,
    again: impl Fn() -> anyhow::Result<(Option<ExitCode>, Option<Config>)> + Send + Sync + 'static,
) -> anyhow::Result<()> {
    logging::start();
    let listening = Listening {
        proxy: config.listen,
        tls: config.tls.clone().map(|tls| (tls.cert, tls.key)),
        metrics: config.metrics_listen,
        drain: config.drain,
        upgrade,
        upgrade_socket: format!("/tmp/opm-{}.sock", config.listen.port()),
    };
    for address in [listening.proxy, listening.metrics]
        .into_iter()
        .filter(|_| !upgrade)
    {
        // Pingora panics on a port in use; this says it in words.
        std::net::TcpListener::bind(address)
            .map_err(|error| anyhow!("cannot listen on {address}: {error}"))?;
    }
    let clock = Instant::now();
    let live = Arc::new(Live::default());
    let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot::new(config, &live, None)));
    let parts = Parts {
        snapshot: Arc::clone(&snapshot),
        live: Arc::clone(&live),
        upstreams: Arc::new(Upstreams::new(ca_file())),
        metrics: Metrics::new(),
        drain: Drain::default(),
        history: Arc::default(),
        clock,
    };
    let reload = move || match again() {
        Ok((_, Some(config))) => {
            // Requests under way keep the snapshot they began with; listeners need a restart.
            snapshot.store(Arc::new(Snapshot::new(config, &live, None)));
            tracing::info!("configuration reloaded");
        }
        Ok((_, None)) => tracing::error!("the new configuration is not valid; the old one stays"),
        Err(error) => tracing::error!("the configuration could not be read, the old one stays: {error:#}"),
    };
    let beside = Beside {
        metrics: parts.metrics.clone(),
        refresh: refresh(parts.clone()),
        admin: None,
        background: Vec::new(),
        reload: Box::new(reload),
    };
    let drain = parts.drain.clone();
    run_server(Gateway::new(parts), drain, &listening, beside).map_err(|error| anyhow!(error))
}

fn ca_file() -> Option<String> {
    std::env::var("SSL_CERT_FILE")
        .ok()
        .filter(|path| !path.is_empty())
}

/// Sets the gauges of the channels before a scrape.
fn refresh(parts: Parts) -> Box<dyn Fn() + Send + Sync> {
    Box::new(move || {
        let now = u64::try_from(parts.clock.elapsed().as_millis()).unwrap_or(u64::MAX);
        let snapshot = parts.snapshot.load();
        let gauges = snapshot.live.iter().map(|live| {
            let breaker = match live.standing(now) {
                Standing::Closed => 0,
                Standing::HalfOpen => 1,
                Standing::Open(_) => 2,
            };
            let gauges = ChannelGauges {
                in_flight: i64::try_from(live.in_flight()).unwrap_or(i64::MAX),
                breaker,
                parked: i64::try_from(live.parked(now).0).unwrap_or(i64::MAX),
            };
            (&*live.name, gauges)
        });
        parts.metrics.channels(gauges);
    })
}
