//! The registry and what is recorded of a request as a whole.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ai_api_converter::Format;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::channel::{Alike, ChannelFamilies, ChannelMetrics, Ended};
use crate::gauges::{
    BudgetGaugeFamilies, BudgetGauges, ChannelGaugeFamilies, ChannelGauges, LedgerGauges, LedgerHandles,
    LimitsGauges, LimitsHandles,
};
use crate::labels::{ApiLabels, BudgetLabels, EstimateLabels, LimitLabels, RequestLabels, StageLabels};
use crate::registering::Registering;

/// How a request ended.
#[derive(Clone)]
pub struct Outcome<'o> {
    /// The client's format.
    pub format: Option<Format>,
    /// Short name of the API.
    pub api: &'static str,
    /// Channel that answered, or was tried last.
    pub channel: Option<&'o ChannelMetrics>,
    /// HTTP status sent to the client; 499 if it left.
    pub status: u16,
    /// All of the time.
    pub total: Duration,
    /// Time spent waiting for the upstream.
    pub upstream: Duration,
}

/// A part of a request's way that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// From the body to the plan.
    Route,
    /// The making of the body for a channel.
    Encode,
}

pub(crate) type Buckets = fn() -> Histogram;

/// The registry and its handles. Cheap to clone.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    /// The label of requests that no channel served.
    none: Arc<str>,
    requests: Family<RequestLabels, Counter>,
    durations: Family<ApiLabels, Histogram, Buckets>,
    overhead: Histogram,
    stages: Family<StageLabels, Histogram, Buckets>,
    /// Those of the stages, from their first use on.
    route: OnceLock<Histogram>,
    encode: OnceLock<Histogram>,
    streams: Gauge,
    limits_exceeded: Family<LimitLabels, Counter>,
    budgets_crossed: Family<BudgetLabels, Counter>,
    estimates: Family<EstimateLabels, Gauge<f64, AtomicU64>>,
    otel_dropped: Counter,
    channels: ChannelFamilies,
    channel_gauges: ChannelGaugeFamilies,
    budgets: BudgetGaugeFamilies,
    limits: LimitsHandles,
    ledger: LedgerHandles,
}

pub(crate) fn seconds() -> Histogram {
    Histogram::new([
        0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0,
    ])
}

fn own_time() -> Histogram {
    Histogram::new([
        0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.5,
    ])
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics::new()
    }
}

impl Metrics {
    /// An empty registry with all metrics of the table.
    #[must_use]
    pub fn new() -> Self {
        let mut registering = Registering::default();
        let r = &mut registering;
        let (seconds, own_time): (Buckets, Buckets) = (seconds, own_time);
        let (requests, durations) = (
            r.add("http_requests_total", Family::default()),
            r.add(
                "http_request_duration_seconds",
                Family::new_with_constructor(seconds),
            ),
        );
        let overhead = r.add("opm_overhead_seconds", own_time());
        let stages = r.add("opm_stage_seconds", Family::new_with_constructor(own_time));
        let streams = r.add("opm_streams_open", Gauge::default());
        let channels = ChannelFamilies::new(r);
        let channel_gauges = ChannelGaugeFamilies::new(r);
        let limits_exceeded = r.add("rate_limit_exceeded_total", Family::default());
        let budgets_crossed = r.add("opm_budget_crossed_total", Family::default());
        let estimates = r.add("opm_estimate_factor", Family::default());
        let budgets = BudgetGaugeFamilies::new(r);
        let (limits, ledger) = (LimitsHandles::new(r), LedgerHandles::new(r));
        let otel_dropped = r.add("opm_otel_dropped_total", Counter::default());
        Metrics(Arc::new(Inner {
            registry: registering.0,
            none: "none".into(),
            requests,
            durations,
            overhead,
            stages,
            route: OnceLock::new(),
            encode: OnceLock::new(),
            streams,
            limits_exceeded,
            budgets_crossed,
            estimates,
            otel_dropped,
            channels,
            channel_gauges,
            budgets,
            limits,
            ledger,
        }))
    }

    /// Records a finished request.
    pub fn request(&self, outcome: &Outcome<'_>) {
        let alike = Alike {
            format: outcome.format.map_or("none", Format::as_str),
            api: outcome.api,
            status_class: match outcome.status {
                200..300 => "2xx",
                300..400 => "3xx",
                400..500 => "4xx",
                _ => "5xx",
            },
        };
        let add = |ended: &Ended| {
            ended.count.inc();
            ended.time.observe(outcome.total.as_secs_f64());
        };
        match outcome.channel {
            Some(channel) => channel.ended(alike, |name| self.ended(alike, name), add),
            None => add(&self.ended(alike, &self.0.none)),
        }
        // Whoever leaves ends a wait whose length nobody has taken.
        if outcome.status != 499 {
            let own = outcome.total.saturating_sub(outcome.upstream);
            self.0.overhead.observe(own.as_secs_f64());
        }
    }

    fn ended(&self, alike: Alike, channel: &Arc<str>) -> Ended {
        let Alike {
            format,
            api,
            status_class,
        } = alike;
        let labels = RequestLabels {
            format,
            api,
            channel: Arc::clone(channel),
            status_class,
        };
        Ended {
            count: self.0.requests.get_or_create_owned(&labels),
            time: self.0.durations.get_or_create_owned(&ApiLabels { format, api }),
        }
    }

    /// The metrics of a channel. Its name must come from the configuration; the answer is worth keeping.
    #[must_use]
    pub fn channel(&self, channel: &Arc<str>) -> ChannelMetrics {
        self.0.channels.channel(channel)
    }

    /// Records our own time in a stage.
    pub fn stage(&self, stage: Stage, time: Duration) {
        let (known, name) = match stage {
            Stage::Route => (&self.0.route, "route"),
            Stage::Encode => (&self.0.encode, "encode"),
        };
        let labels = StageLabels { stage: name };
        let histogram = known.get_or_init(|| self.0.stages.get_or_create_owned(&labels));
        histogram.observe(time.as_secs_f64());
    }

    /// Counts an open stream until the guard is dropped.
    #[must_use]
    pub fn stream(&self) -> StreamGuard {
        self.0.streams.inc();
        StreamGuard(self.0.streams.clone())
    }

    /// Records a request that a limit refused, by the name of the rule in the configuration.
    pub fn limit_exceeded(&self, limit: &Arc<str>) {
        let limit = Arc::clone(limit);
        self.0.limits_exceeded.get_or_create(&LimitLabels { limit }).inc();
    }

    /// Records that a budget reached a share of its amount, by the name of the rule in the configuration.
    pub fn budget_crossed(&self, limit: &Arc<str>, percent: u32) {
        let labels = BudgetLabels {
            limit: Arc::clone(limit),
            percent,
        };
        self.0.budgets_crossed.get_or_create(&labels).inc();
    }

    /// Sets the learned correction of token estimates. `model` must come from the configuration.
    pub fn estimate_factor(&self, model: &str, factor: f64) {
        let labels = EstimateLabels { model: model.into() };
        self.0.estimates.get_or_create(&labels).set(factor);
    }

    /// Records finished requests whose spans were lost.
    pub fn otel_dropped(&self, requests: u64) {
        self.0.otel_dropped.inc_by(requests);
    }

    /// Sets the state of all channels; channels that are gone lose their series.
    pub fn channels<'c>(&self, channels: impl Iterator<Item = (&'c str, ChannelGauges)>) {
        self.0.channel_gauges.set(channels);
    }

    /// Sets how far budgets are; those that are gone lose their series.
    pub fn budgets<'b>(&self, budgets: impl Iterator<Item = BudgetGauges<'b>>) {
        self.0.budgets.set(budgets);
    }

    /// Sets the state of the limiter.
    pub fn limits(&self, now: &LimitsGauges) {
        self.0.limits.set(now);
    }

    /// Sets the state of the ledger.
    pub fn ledger(&self, now: &LedgerGauges) {
        self.0.ledger.set(now);
    }

    /// The text of `/metrics`.
    #[must_use]
    pub fn render(&self) -> String {
        let mut out = String::new();
        match encode(&mut out, &self.0.registry) {
            Ok(()) => out,
            Err(_) => String::new(),
        }
    }
}

/// One open stream.
pub struct StreamGuard(Gauge);

impl Drop for StreamGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}
