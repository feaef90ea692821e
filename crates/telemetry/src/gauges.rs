//! What is read when somebody asks: the caller looks at its parts and fills these.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use crate::dollars::dollars;
use crate::labels::{ChannelLabels, SpentLabels};
use crate::registering::Registering;

/// The state of a channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChannelGauges {
    /// Requests under way.
    pub in_flight: i64,
    /// 0 closed, 1 half open, 2 open; `None`: the channel is not enabled.
    pub breaker: Option<i64>,
    /// Parked keys.
    pub parked: i64,
}

/// How far a budget is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetGauges<'b> {
    /// Name of the rule in the configuration.
    pub limit: &'b str,
    /// Whose it is: as many as the configuration has.
    pub subject: &'b str,
    /// Its period and time zone.
    pub period: &'b str,
    /// Spent in the period, 10^-12 US dollars.
    pub spent_pico_usd: u64,
    /// Its amount, 10^-12 US dollars.
    pub limit_pico_usd: u64,
}

/// The state of the limiter. The default is that of a limiter without a shared store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitsGauges {
    /// The shared store decides, or none is needed.
    pub together: bool,
    /// How often it was away since the start.
    pub outages: u64,
    /// Instances that share it.
    pub instances: u64,
    /// Settlements that it could not be told.
    pub corrections_dropped: u64,
    /// Subjects that are kept.
    pub subjects: u64,
}

impl Default for LimitsGauges {
    fn default() -> Self {
        LimitsGauges {
            together: true,
            outages: 0,
            instances: 1,
            corrections_dropped: 0,
            subjects: 0,
        }
    }
}

/// The state of the ledger and of what feeds the store from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LedgerGauges {
    /// Size on the disk, bytes.
    pub bytes: u64,
    /// Records that wait in memory for the disk.
    pub backlog: u64,
    /// Records that are lost.
    pub dropped: u64,
    /// Failed writes.
    pub write_errors: u64,
    /// Failed syncs.
    pub sync_errors: u64,
    /// Writes that found the disk busy for too long.
    pub stalls: u64,
    /// The disk refuses writes or syncs now.
    pub failing: bool,
    /// The largest size is reached.
    pub full: bool,
    /// Rows that the store has taken.
    pub rows_stored: u64,
}

#[derive(Clone)]
pub(crate) struct ChannelGaugeFamilies {
    in_flight: Family<ChannelLabels, Gauge>,
    breakers: Family<ChannelLabels, Gauge>,
    parked: Family<ChannelLabels, Gauge>,
}

impl ChannelGaugeFamilies {
    pub(crate) fn new(registering: &mut Registering) -> Self {
        ChannelGaugeFamilies {
            in_flight: registering.add("opm_in_flight", Family::default()),
            breakers: registering.add("opm_breaker_state", Family::default()),
            parked: registering.add("opm_keys_parked", Family::default()),
        }
    }

    pub(crate) fn set<'c>(&self, channels: impl Iterator<Item = (&'c str, ChannelGauges)>) {
        self.in_flight.clear();
        self.breakers.clear();
        self.parked.clear();
        for (channel, gauges) in channels {
            let labels = ChannelLabels {
                channel: channel.into(),
            };
            self.in_flight.get_or_create(&labels).set(gauges.in_flight);
            if let Some(breaker) = gauges.breaker {
                self.breakers.get_or_create(&labels).set(breaker);
            }
            self.parked.get_or_create(&labels).set(gauges.parked);
        }
    }
}

#[derive(Clone)]
pub(crate) struct BudgetGaugeFamilies {
    spent: Family<SpentLabels, Gauge<f64, AtomicU64>>,
    limits: Family<SpentLabels, Gauge<f64, AtomicU64>>,
}

impl BudgetGaugeFamilies {
    pub(crate) fn new(registering: &mut Registering) -> Self {
        BudgetGaugeFamilies {
            spent: registering.add("opm_budget_spent_usd", Family::default()),
            limits: registering.add("opm_budget_limit_usd", Family::default()),
        }
    }

    pub(crate) fn set<'b>(&self, budgets: impl Iterator<Item = BudgetGauges<'b>>) {
        self.spent.clear();
        self.limits.clear();
        for budget in budgets {
            let labels = SpentLabels {
                limit: budget.limit.into(),
                subject: budget.subject.into(),
                period: budget.period.into(),
            };
            let spent = self.spent.get_or_create(&labels);
            spent.set(dollars(budget.spent_pico_usd));
            let limit = self.limits.get_or_create(&labels);
            limit.set(dollars(budget.limit_pico_usd));
        }
    }
}

#[derive(Clone)]
pub(crate) struct LimitsHandles {
    together: Gauge,
    outages: Counter,
    instances: Gauge,
    corrections_dropped: Counter,
    subjects: Gauge,
}

impl LimitsHandles {
    pub(crate) fn new(registering: &mut Registering) -> Self {
        let handles = LimitsHandles {
            together: registering.add("opm_limits_together", Gauge::default()),
            outages: registering.add("opm_limits_outages_total", Counter::default()),
            instances: registering.add("opm_limits_instances", Gauge::default()),
            corrections_dropped: registering.add("opm_limits_corrections_dropped_total", Counter::default()),
            subjects: registering.add("opm_limits_subjects", Gauge::default()),
        };
        handles.set(&LimitsGauges::default());
        handles
    }

    pub(crate) fn set(&self, now: &LimitsGauges) {
        self.together.set(i64::from(now.together));
        total(&self.outages, now.outages);
        self.instances.set(level(now.instances));
        total(&self.corrections_dropped, now.corrections_dropped);
        self.subjects.set(level(now.subjects));
    }
}

#[derive(Clone)]
pub(crate) struct LedgerHandles {
    bytes: Gauge,
    backlog: Gauge,
    dropped: Counter,
    write_errors: Counter,
    sync_errors: Counter,
    stalls: Counter,
    failing: Gauge,
    full: Gauge,
    rows_stored: Counter,
}

impl LedgerHandles {
    pub(crate) fn new(registering: &mut Registering) -> Self {
        LedgerHandles {
            bytes: registering.add("opm_ledger_bytes", Gauge::default()),
            backlog: registering.add("opm_ledger_backlog_records", Gauge::default()),
            dropped: registering.add("opm_ledger_dropped_total", Counter::default()),
            write_errors: registering.add("opm_ledger_write_errors_total", Counter::default()),
            sync_errors: registering.add("opm_ledger_sync_errors_total", Counter::default()),
            stalls: registering.add("opm_ledger_stalls_total", Counter::default()),
            failing: registering.add("opm_ledger_failing", Gauge::default()),
            full: registering.add("opm_ledger_full", Gauge::default()),
            rows_stored: registering.add("opm_usage_rows_stored_total", Counter::default()),
        }
    }

    pub(crate) fn set(&self, now: &LedgerGauges) {
        self.bytes.set(level(now.bytes));
        self.backlog.set(level(now.backlog));
        total(&self.dropped, now.dropped);
        total(&self.write_errors, now.write_errors);
        total(&self.sync_errors, now.sync_errors);
        total(&self.stalls, now.stalls);
        self.failing.set(i64::from(now.failing));
        self.full.set(i64::from(now.full));
        total(&self.rows_stored, now.rows_stored);
    }
}

/// What is counted elsewhere is taken over as it is; two scrapes at once must not let it fall.
fn total(counter: &Counter, value: u64) {
    counter.inner().fetch_max(value, Ordering::Relaxed);
}

fn level(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
