//! From the ledger to the store: settled rows as the store keeps them.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use arc_swap::ArcSwap;
use opm_core::Format;
use opm_ledger::{Outcome, Row, Settled, Sink, SinkError, Source, unix_ms};
use opm_limits::Limiter;
use opm_proxy::Snapshot;
use opm_proxy::metering::{Past, Used, budgets_of};
use opm_store::{AttemptOutcome, Billed, BudgetPeriod, Store, StoreError, UsageRow, UsageSource};
use tokio::sync::Notify;

/// Records usage in the store.
pub(crate) struct UsageSink {
    store: Arc<dyn Store>,
    /// The budgets in force say what a row counts against.
    snapshot: Arc<ArcSwap<Snapshot>>,
    rows: Arc<AtomicU64>,
    /// Who spends, where the store is told: it has others too.
    spender: Option<Arc<str>>,
    limiter: Limiter,
    /// Wakes who tells the limiter what the store knows of budgets.
    inherited: Arc<Notify>,
}

impl UsageSink {
    pub(crate) fn new(
        store: Arc<dyn Store>,
        snapshot: Arc<ArcSwap<Snapshot>>,
        rows: Arc<AtomicU64>,
        spender: Option<Arc<str>>,
        (limiter, inherited): (Limiter, Arc<Notify>),
    ) -> Self {
        UsageSink {
            limiter,
            inherited,
            store,
            snapshot,
            rows,
            spender,
        }
    }
}

impl Sink for UsageSink {
    async fn feed(&self, batch: &[Settled]) -> Result<(), SinkError> {
        let rows: Vec<UsageRow> = {
            let snapshot = self.snapshot.load();
            let mut budgets = Budgets::new(&snapshot, self.spender.as_deref());
            batch
                .iter()
                .map(|settled| stored(settled, &mut budgets))
                .collect()
        };
        match self.store.record_usage(&rows).await {
            Ok(()) => {
                let count = u64::try_from(rows.len()).unwrap_or(0);
                self.rows.fetch_add(count, Ordering::Relaxed);
                Ok(())
            }
            Err(error) => Err(refused_or_away(error)),
        }
    }

    fn took_over(&self, rows: &[Settled]) {
        let snapshot = self.snapshot.load();
        let past = Past::new(&snapshot, &self.limiter, unix_ms());
        rows.iter()
            .for_each(|settled| past.add(&Used::from(settled), None));
    }

    fn fed_what_it_took_over(&self) {
        self.inherited.notify_one();
    }
}

/// With all that the database said.
fn refused_or_away(error: StoreError) -> SinkError {
    let is_of_data = error.is_of_data();
    let text = format!("{:#}", anyhow::Error::from(error));
    if is_of_data {
        SinkError::Refused(text)
    } else {
        SinkError::Unavailable(text)
    }
}

/// Where rows go without a store.
pub(crate) struct Nowhere;

impl Sink for Nowhere {
    async fn feed(&self, _batch: &[Settled]) -> Result<(), SinkError> {
        Ok(())
    }

    fn keeps_rows(&self) -> bool {
        false
    }
}

fn stored(settled: &Settled, budgets: &mut Budgets<'_>) -> UsageRow {
    let row = &settled.row;
    let usage = row.usage.usage();
    let count = |counter: Option<u64>| signed(counter.unwrap_or(0)).min(UsageRow::MOST_TOKENS);
    UsageRow {
        request_id: row.request_id.clone(),
        attempt: row.attempt.into(),
        started_ms: signed(row.started_ms),
        at_ms: signed(row.at_ms),
        key_id: row.key.clone(),
        user: row.user.clone(),
        model: row.model.clone(),
        upstream_model: row.upstream_model.clone(),
        channel: row.channel.clone(),
        format: name(row.format),
        upstream_format: name(row.upstream_format),
        status: row.status.into(),
        input: count(usage.input),
        output: count(usage.output),
        cached_input: count(usage.cache_read),
        cache_write: count(usage.cache_write),
        reasoning: count(usage.reasoning),
        cost_pico_usd: row.cost.map(|cost| signed(cost.0).min(UsageRow::MOST_COST)),
        held: held(row),
        held_cost: signed(row.held_cost).min(UsageRow::MOST_COST),
        billed: billed(row),
        source: match row.usage.source() {
            Source::Reported => UsageSource::Reported,
            Source::Partial => UsageSource::Partial,
            Source::Estimated => UsageSource::Estimated,
        },
        outcome: outcome(settled),
        ttft_ms: row.ttft_ms.map(i64::from),
        total_ms: row.total_ms.into(),
        budgets: budgets.of(settled),
    }
}

/// Only where it says more than the usage does: such rows are few, and have an index of their own.
fn held(row: &Row) -> i64 {
    let used = row.usage.usage().total().unwrap_or(0);
    if row.held > used {
        signed(row.held).min(UsageRow::MOST_TOKENS)
    } else {
        0
    }
}

fn outcome(settled: &Settled) -> AttemptOutcome {
    match settled.row.outcome {
        _ if !settled.is_request => AttemptOutcome::Retried,
        Outcome::Finished => AttemptOutcome::Answered,
        Outcome::ClientGone => AttemptOutcome::ClientGone,
        Outcome::UpstreamCut => AttemptOutcome::Cut,
        Outcome::Failed => AttemptOutcome::Failed,
        Outcome::Crashed | Outcome::Open => AttemptOutcome::Crashed,
        Outcome::Aborted => AttemptOutcome::Aborted,
    }
}

fn billed(row: &Row) -> Billed {
    match row.billed {
        opm_ledger::Billed::No => Billed::No,
        opm_ledger::Billed::Yes => Billed::Yes,
        opm_ledger::Billed::Estimated => Billed::Estimated,
    }
}

/// The name of a format, in memory once.
fn name(format: Option<Format>) -> Arc<str> {
    static NAMES: LazyLock<[Arc<str>; Format::ALL.len()]> =
        LazyLock::new(|| Format::ALL.map(|format| format.as_str().into()));
    let known = format.and_then(|format| NAMES.iter().find(|name| ***name == *format.as_str()));
    known.cloned().unwrap_or_default()
}

/// Key, user, model, channel.
type By = [Arc<str>; 4];

/// What the rows of a batch count against: many of them against the same.
struct Budgets<'s> {
    snapshot: &'s Snapshot,
    /// Counted apart too.
    spender: Option<&'s str>,
    /// And when a row must have begun.
    known: HashMap<By, (Range<u64>, Arc<[BudgetPeriod]>)>,
    /// The last one asked for: mostly the next row is alike.
    last: Option<(By, Range<u64>, Arc<[BudgetPeriod]>)>,
}

impl<'s> Budgets<'s> {
    fn new(snapshot: &'s Snapshot, spender: Option<&'s str>) -> Self {
        Budgets {
            snapshot,
            spender,
            known: HashMap::new(),
            last: None,
        }
    }

    fn of(&mut self, settled: &Settled) -> Arc<[BudgetPeriod]> {
        let row = &settled.row;
        if !self.snapshot.rules.has_budgets() {
            return Arc::default();
        }
        let texts = [&row.key, &row.user, &row.model, &row.channel];
        if let Some((by, during, periods)) = &self.last
            && during.contains(&row.started_ms)
            && by.iter().zip(texts).all(|(one, other)| Arc::ptr_eq(one, other))
        {
            return Arc::clone(periods);
        }
        let by = texts.map(Arc::clone);
        let (during, periods) = self.look_up(row, &by);
        self.last = Some((by, during, Arc::clone(&periods)));
        periods
    }

    fn look_up(&mut self, row: &Row, by: &By) -> (Range<u64>, Arc<[BudgetPeriod]>) {
        if let Some((during, periods)) = self.known.get(by)
            && during.contains(&row.started_ms)
        {
            return (during.clone(), Arc::clone(periods));
        }
        let (of, during) = budgets_of(&self.snapshot.rules, &self.snapshot.config, row);
        let parts = self.spender.into_iter();
        let parts: Vec<_> = parts
            .flat_map(|spender| of.iter().map(|of| of.part_of(spender)))
            .collect();
        let periods = of.into_iter().chain(parts).map(|of| BudgetPeriod {
            subject: of.subject,
            start: of.start,
        });
        let periods: Arc<[BudgetPeriod]> = periods.collect();
        self.known
            .insert(by.clone(), (during.clone(), Arc::clone(&periods)));
        (during, periods)
    }
}

/// A count as the store holds it.
pub(crate) fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
