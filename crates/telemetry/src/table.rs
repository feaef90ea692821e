//! The metric table. Names, kinds and labels are API: dashboards and alerts of others stand on them.

use Kind::{Counter, Gauge, Histogram};

/// One metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name on `/metrics`.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Its labels. Their values come from the configuration or from fixed lists, never from a client.
    pub labels: &'static [&'static str],
    /// What it says, and in which unit.
    pub help: &'static str,
}

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows, from zero at the start of the process.
    Counter,
    /// A value of now.
    Gauge,
    /// Counts by bucket, with their sum: `_bucket`, `_sum` and `_count`.
    Histogram,
}

impl Kind {
    /// Its word on `/metrics`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Counter => "counter",
            Gauge => "gauge",
            Histogram => "histogram",
        }
    }
}

const fn metric(
    name: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric {
        name,
        kind,
        labels,
        help,
    }
}

/// Every metric.
#[rustfmt::skip]
pub const METRICS: &[Metric] = &[
    metric("http_requests_total", Counter, &["format", "api", "channel", "status_class"],
        "Requests answered; a client that left counts as 4xx."),
    metric("http_request_duration_seconds", Histogram, &["format", "api"],
        "Time from the request's head to the last byte of its answer, seconds."),
    metric("token_usage_total", Counter, &["channel", "model", "type"],
        "Tokens by type: input, output, and as parts of these cached_input, cache_write, reasoning."),
    metric("rate_limit_exceeded_total", Counter, &["limit"],
        "Requests refused by a limit or budget of the gateway, by its name; by one of a channel also those that the next channel then took."),
    metric("opm_overhead_seconds", Histogram, &[],
        "The gateway's own time per request: all of it less the waiting for client and upstream, seconds. Not of those whose client has left."),
    metric("opm_stage_seconds", Histogram, &["stage"],
        "The gateway's own time in one stage of a request: route, encode, seconds."),
    metric("opm_streams_open", Gauge, &[],
        "Streams being relayed or converted now."),
    metric("opm_attempts_total", Counter, &["channel", "outcome"],
        "Tries at a channel: ok, broken, client_gone, or the class of the failure."),
    metric("opm_time_to_first_token_seconds", Histogram, &["channel"],
        "From sending a request to a channel to the first content of its answer, seconds."),
    metric("opm_client_aborts_total", Counter, &["channel"],
        "Clients that left before they had all of their answer."),
    metric("opm_upstream_cuts_total", Counter, &["channel"],
        "Answers that the upstream broke off after they had begun."),
    metric("opm_in_flight", Gauge, &["channel"],
        "Requests under way at a channel, streams until their end."),
    metric("opm_breaker_state", Gauge, &["channel"],
        "Breaker of a channel that is enabled: 0 closed, 1 half open, 2 open."),
    metric("opm_keys_parked", Gauge, &["channel"],
        "Provider keys of a channel that are left alone for a while."),
    metric("opm_cost_usd_total", Counter, &["channel", "model"],
        "What answers cost, and tries that failed although the model may have worked, US dollars."),
    metric("opm_unpriced_requests_total", Counter, &["channel", "model"],
        "Answers that no price is known for: their cost is missing in opm_cost_usd_total."),
    metric("opm_estimate_factor", Gauge, &["model"],
        "Learned correction of token estimates: real tokens by estimated ones."),
    metric("opm_budget_crossed_total", Counter, &["limit", "percent"],
        "Times that a budget reached a share of its amount, once for each share in a period, also for those that it passed at once, by the cost of what has ended and what running requests have reserved."),
    metric("opm_budget_spent_usd", Gauge, &["limit", "subject", "period"],
        "Spent of a budget in its current period, with what running requests have reserved, US dollars: budgets of client keys and channels, and limits that count all together."),
    metric("opm_budget_limit_usd", Gauge, &["limit", "subject", "period"],
        "Amount of a budget, US dollars."),
    metric("opm_limits_together", Gauge, &[],
        "1: the shared store of limits decides, or none is needed; 0: it is away and this instance decides alone."),
    metric("opm_limits_outages_total", Counter, &[],
        "Times that the shared store of limits went away."),
    metric("opm_limits_instances", Gauge, &[],
        "Instances that share the limits, as the store last said."),
    metric("opm_limits_corrections_dropped_total", Counter, &[],
        "Settlements that the shared store could not be told: their costs stayed as reserved."),
    metric("opm_limits_subjects", Gauge, &[],
        "Subjects that this instance keeps counters of."),
    metric("opm_ledger_bytes", Gauge, &[],
        "Size of the ledger on the disk, bytes."),
    metric("opm_ledger_backlog_records", Gauge, &[],
        "Records of the ledger that wait in memory for the disk."),
    metric("opm_ledger_dropped_total", Counter, &[],
        "Records that are lost because the ledger or its backlog were full."),
    metric("opm_ledger_write_errors_total", Counter, &[],
        "Writes to the ledger that failed."),
    metric("opm_ledger_sync_errors_total", Counter, &[],
        "Syncs of the ledger that failed."),
    metric("opm_ledger_stalls_total", Counter, &[],
        "Writes to the ledger that found the disk busy for too long and went to the backlog."),
    metric("opm_ledger_failing", Gauge, &[],
        "1: the disk refuses the ledger's writes or syncs at present."),
    metric("opm_ledger_full", Gauge, &[],
        "1: the ledger has reached its largest size."),
    metric("opm_usage_rows_stored_total", Counter, &[],
        "Rows of usage that the store has taken from the ledger."),
    metric("opm_otel_dropped_total", Counter, &[],
        "Finished requests whose spans did not reach the OpenTelemetry collector."),
];

/// Every label, and where its values come from.
#[rustfmt::skip]
pub const LABELS: &[(&str, &str)] = &[
    ("format", "The client's format: chat, responses, messages, gemini; none if it was not understood."),
    ("api", "What was asked for: chat_completions, responses, messages, generate_content, embeddings, models …"),
    ("channel", "Name of a channel; none if no channel was tried."),
    ("status_class", "HTTP status sent to the client: 2xx, 3xx, 4xx, 5xx; of a stream that broke off, the one that its failure has."),
    ("model", "Public model name, if it stands in the configuration; other otherwise."),
    ("type", "Kind of tokens."),
    ("limit", "Name of a limit or budget."),
    ("percent", "Share of a budget."),
    ("subject", "Whose budget it is: id of a client key, name of a channel, or all."),
    ("period", "Period of a budget and its time zone: month UTC."),
    ("outcome", "How a try at a channel ended."),
    ("stage", "Part of a request's way."),
];

/// A metric of the table.
#[must_use]
pub fn metric_named(name: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|metric| metric.name == name)
}
