//! `opm serve`: the gateway on Pingora.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::anyhow;
use arc_swap::ArcSwap;
use opm_config::Config;
use opm_proxy::net::drain::Drain;
use opm_proxy::net::service::{Listening, run_server};
use opm_proxy::net::upstream::Upstreams;
use opm_proxy::{Gateway, Snapshot};
use opm_telemetry::Metrics;

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
    };
    for address in [listening.proxy, listening.metrics]
        .into_iter()
        .filter(|_| !upgrade)
    {
        // Pingora panics on a port in use; this says it in words.
        std::net::TcpListener::bind(address)
            .map_err(|error| anyhow!("cannot listen on {address}: {error}"))?;
    }
    let metrics = Metrics::new();
    let drain = Drain::default();
    let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot::new(config)));
    let ca_file = std::env::var("SSL_CERT_FILE")
        .ok()
        .filter(|path| !path.is_empty());
    let live = Arc::clone(&snapshot);
    let reload = move || match again() {
        Ok((_, Some(config))) => {
            // Requests under way keep the snapshot they began with; listeners need a restart.
            live.store(Arc::new(Snapshot::new(config)));
            tracing::info!("configuration reloaded");
        }
        Ok((_, None)) => tracing::error!("the new configuration is not valid; the old one stays"),
        Err(error) => tracing::error!("the configuration could not be read, the old one stays: {error:#}"),
    };
    let gateway = Gateway::new(snapshot, Upstreams::new(ca_file), metrics.clone(), drain.clone());
    run_server(gateway, metrics, drain, &listening, Box::new(reload)).map_err(|error| anyhow!(error))
}
