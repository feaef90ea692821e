//! Limits and the ledger of a running gateway: opened at the start, fed to the store while it runs, brought to rest at the end.

use std::future::ready;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use arc_swap::ArcSwap;
use opm_config::Config;
use opm_ledger::{Ledger, Options, Sink, Sync, WhenFull, unix_ms};
use opm_limits::{Limiter, SUBJECTS_MAX, SharedSettings};
use opm_proxy::{Metering, Snapshot};
use opm_store::{Location, Retention, Store};
use opm_telemetry::{BudgetGauges, LedgerGauges, LimitsGauges, Metrics};
use tokio::runtime::Runtime;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use crate::budgets::{self, has_common_store};
use crate::live::Kept;
use crate::restore::{self, Memory};
use crate::usage_sink::{Nowhere, UsageSink};

/// How often old usage is forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(3_600);
/// The same for a store in memory, which keeps little.
const FORGET_IN_MEMORY_EVERY: Duration = Duration::from_secs(10);
/// Attempts, and sums of each width, that a store in memory keeps: some 40 MB of each.
const MOST_IN_MEMORY: u32 = 100_000;

/// Opens the limiter and the ledger.
pub(crate) fn open(config: &Config, kept: Option<&Kept>, runtime: &Runtime) -> anyhow::Result<Metering> {
    let ledger = match directory(config, kept)? {
        Some(directory) => Some(open_ledger(config, directory)?),
        None => None,
    };
    let memory = ledger.as_ref();
    let memory = memory.map(|ledger| (ledger.directory().join("limits"), ledger.slot()));
    Ok(Metering {
        limiter: runtime.block_on(limiter(config, kept, memory))?,
        ledger,
        learned: Arc::default(),
        drains: opm_proxy::metering::drains(),
    })
}

/// Where the ledger lies; `None`: there is no store it could be brought to, and nobody wants it for itself.
fn directory(config: &Config, kept: Option<&Kept>) -> anyhow::Result<Option<PathBuf>> {
    if kept.is_none() || config.ledger.directory.is_some() {
        return Ok(config.ledger.directory.clone());
    }
    let Some(url) = &config.storage else {
        return Ok(Some(beside_process()));
    };
    let location = Location::parse(url)?;
    Ok(Some(match location.file() {
        Some(file) => file.with_extension("ledger"),
        None if location.is_in_memory() => beside_process(),
        None => PathBuf::from("opm.ledger"),
    }))
}

/// The store lives in memory: so long does the ledger.
fn beside_process() -> PathBuf {
    std::env::temp_dir().join(format!("opm-{}.ledger", std::process::id()))
}

fn open_ledger(config: &Config, directory: PathBuf) -> anyhow::Result<Ledger> {
    let defaults = Options::default();
    let options = Options {
        sync: if config.ledger.sync_always {
            Sync::Always
        } else {
            defaults.sync
        },
        max_bytes: config.ledger.max_bytes,
        keep: restore::kept_in_ledger(config),
        when_full: if config.ledger.refuse_when_full {
            WhenFull::Refuse
        } else {
            WhenFull::DropAndCount
        },
        ..defaults
    };
    let opened = Ledger::open(&directory, options);
    let (ledger, recovered) =
        opened.with_context(|| format!("opening the ledger in {}", directory.display()))?;
    if !recovered.crashed.is_empty() || recovered.unfed > 0 {
        let (crashed, rows) = (recovered.crashed.len(), recovered.unfed);
        tracing::info!(crashed, rows, "the ledger holds requests of an earlier run");
    }
    if recovered.corrupt_bytes > 0 || recovered.unreadable > 0 {
        let (bytes, records) = (recovered.corrupt_bytes, recovered.unreadable);
        let path = directory.display();
        tracing::error!(bytes, records, %path, "the ledger is damaged: what stood there of an earlier run is lost");
    }
    Ok(ledger)
}

async fn limiter(
    config: &Config,
    kept: Option<&Kept>,
    memory: Option<(PathBuf, u32)>,
) -> anyhow::Result<Limiter> {
    let Some(shared) = &config.shared else {
        return Ok(Limiter::memory(SUBJECTS_MAX));
    };
    // Instances on one store have one pepper; others share nothing but the namespace.
    let pepper = kept
        .filter(|_| has_common_store(config))
        .map(|kept| *kept.secrets.pepper.key());
    let hex = |pepper: [u8; 32]| pepper.iter().map(|byte| format!("{byte:02x}")).collect();
    let settings = SharedSettings {
        namespace: shared.namespace.clone(),
        timeout: shared.timeout,
        instances: shared.instances,
        secret: pepper.map(hex).unwrap_or_default(),
        beside: memory.as_ref().map_or(0, |(_, slot)| *slot),
        memory: memory.map(|(path, _)| path),
        has_common_ledger: kept.is_some() && has_common_store(config),
        ..SharedSettings::new(shared.redis_url.expose())
    };
    Limiter::shared(&settings, SUBJECTS_MAX, unix_ms())
        .await
        .map_err(|error| anyhow!("shared.redis_url: {error}"))
}

/// Brings what the ledger holds of an earlier run to the store, then tells the limiter what was spent of budgets and what was used in
/// the windows that still count it.
///
/// # Errors
/// The store does not tell what was spent: budgets could not hold.
pub(crate) async fn catch_up(
    metering: &Metering,
    kept: &Kept,
    snapshot: &Arc<ArcSwap<Snapshot>>,
) -> anyhow::Result<()> {
    let Some(ledger) = &metering.ledger else {
        return Ok(());
    };
    let memory = Memory::of(&snapshot.load().config);
    if memory == Memory::Ledger {
        // Before it is fed: what the store has taken may be deleted.
        restore::from_ledger(metering, &snapshot.load());
    }
    let sink = sink(metering, kept, snapshot, Arc::default(), Arc::default());
    ledger.feeder().run(sink, ready(())).await;
    if snapshot.load().rules.has_budgets() {
        let spendings = budgets::spendings(kept, budgets::TRIES).await;
        let spendings = spendings.context("what was spent of budgets cannot be read")?;
        budgets::tell(&spendings, &snapshot.load(), &metering.limiter);
    }
    if memory == Memory::Store {
        restore::from_store(metering, &*kept.store, &snapshot.load_full()).await;
    }
    metering.limiter.remember();
    metering.limiter.joined().await;
    Ok(())
}

fn sink(
    metering: &Metering,
    kept: &Kept,
    snapshot: &Arc<ArcSwap<Snapshot>>,
    rows: Arc<AtomicU64>,
    inherited: Arc<Notify>,
) -> UsageSink {
    let is_common = has_common_store(&snapshot.load().config);
    let spender = metering.limiter.name().filter(|_| is_common).map(Arc::from);
    let limiter = (metering.limiter.clone(), inherited);
    UsageSink::new(
        Arc::clone(&kept.store),
        Arc::clone(snapshot),
        rows,
        spender,
        limiter,
    )
}

/// The task that feeds the store.
pub(crate) struct Feeding {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
    rows: Arc<AtomicU64>,
}

impl Feeding {
    /// Starts it, and the one that forgets what is old.
    pub(crate) fn start(
        metering: &Metering,
        kept: &Kept,
        snapshot: &Arc<ArcSwap<Snapshot>>,
        runtime: &Runtime,
    ) -> Option<Self> {
        let ledger = metering.ledger.as_ref()?;
        let rows = Arc::new(AtomicU64::new(0));
        let inherited = Arc::new(Notify::new());
        let sink = sink(
            metering,
            kept,
            snapshot,
            Arc::clone(&rows),
            Arc::clone(&inherited),
        );
        runtime.spawn(budgets::inherit(
            metering.limiter.clone(),
            kept.clone(),
            Arc::clone(snapshot),
            inherited,
        ));
        if metering.limiter.is_shared() && has_common_store(&snapshot.load().config) {
            runtime.spawn(budgets::recall(
                metering.limiter.clone(),
                kept.clone(),
                Arc::clone(snapshot),
            ));
        }
        runtime.spawn(budgets::follow(
            metering.limiter.clone(),
            kept.clone(),
            Arc::clone(snapshot),
        ));
        runtime.spawn(forget(Arc::clone(&kept.store), Arc::clone(snapshot)));
        Some(Self::of(ledger, sink, rows, runtime))
    }

    /// Without a store: windows go on from the ledger, which forgets what they do not count any more.
    pub(crate) fn start_alone(metering: &Metering, snapshot: &Snapshot, runtime: &Runtime) -> Option<Self> {
        let ledger = metering.ledger.as_ref()?;
        restore::from_ledger(metering, snapshot);
        metering.limiter.remember();
        runtime.block_on(metering.limiter.joined());
        Some(Self::of(ledger, Nowhere, Arc::default(), runtime))
    }

    fn of(ledger: &Ledger, sink: impl Sink + 'static, rows: Arc<AtomicU64>, runtime: &Runtime) -> Self {
        let (stop, stopped) = oneshot::channel();
        let feeder = ledger.feeder();
        let task = runtime.spawn(async move {
            let stopped = async {
                // Dropped means stopped too.
                _ = stopped.await;
            };
            feeder.run(sink, stopped).await;
        });
        Feeding { stop, task, rows }
    }

    /// Rows that the store has taken.
    pub(crate) fn rows(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.rows)
    }

    /// Feeds what is left and ends.
    pub(crate) async fn finish(self) {
        // A feeder that has ended by itself has nobody listening.
        _ = self.stop.send(());
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the feeder of the store broke");
        }
    }
}

async fn forget(store: Arc<dyn Store>, snapshot: Arc<ArcSwap<Snapshot>>) {
    loop {
        let in_memory = !restore::is_stored(&snapshot.load().config);
        tokio::time::sleep(if in_memory {
            FORGET_IN_MEMORY_EVERY
        } else {
            FORGET_EVERY
        })
        .await;
        let kept = snapshot.load().config.retention;
        let now = unix_ms();
        let before = |age: Duration| {
            let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
            i64::try_from(now.saturating_sub(age)).unwrap_or(i64::MAX)
        };
        let retention = Retention {
            rows_before_ms: before(kept.requests),
            minutes_before: before(kept.minutes) / 1000,
            hours_before: before(kept.hours) / 1000,
            budgets_before: before(kept.hours) / 1000,
            most: in_memory.then_some(MOST_IN_MEMORY),
        };
        match store.forget_usage(&retention).await {
            Ok(0) => {}
            Ok(_) if in_memory => {}
            Ok(rows) => tracing::info!(rows, "old usage is forgotten"),
            Err(error) => tracing::warn!("old usage cannot be forgotten: {error}"),
        }
    }
}

/// Sets the gauges of limits and ledger before a scrape.
pub(crate) fn gauges(metering: &Metering, rows: u64, snapshot: &Snapshot, metrics: &Metrics) {
    let limits = metering.limiter.health();
    metrics.limits(&LimitsGauges {
        together: limits.together,
        outages: limits.outages.into(),
        instances: limits.instances,
        corrections_dropped: limits.dropped,
        subjects: u64::try_from(limits.subjects).unwrap_or(u64::MAX),
    });
    let budgets = snapshot
        .rules
        .spent(&snapshot.config, &metering.limiter, unix_ms())
        .collect::<Vec<_>>();
    metrics.budgets(budgets.iter().map(|budget| BudgetGauges {
        limit: &budget.limit,
        subject: budget.subject,
        period: budget.period,
        spent_pico_usd: budget.pico_usd,
        limit_pico_usd: budget.limit_pico_usd,
    }));
    if let Some(ledger) = &metering.ledger {
        let health = ledger.health();
        metrics.ledger(&LedgerGauges {
            bytes: health.bytes,
            backlog: health.backlog,
            dropped: health.dropped,
            write_errors: health.write_errors,
            sync_errors: health.sync_errors,
            stalls: health.stalls,
            failing: health.failing,
            full: health.full,
            rows_stored: rows,
        });
    }
    for (model, factor) in metering.learned.factors() {
        let label = snapshot.model_label(&model);
        if label == model {
            metrics.estimate_factor(label, factor);
        }
    }
}

/// Rows fed so far.
pub(crate) fn fed(rows: Option<&Arc<AtomicU64>>) -> u64 {
    rows.map_or(0, |rows| rows.load(Ordering::Relaxed))
}
