//! Counters and histograms of the proxy.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use ai_api_converter::{Format, Usage};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Name, kind and meaning of every metric.
pub const METRICS: &[(&str, &str, &str)] = &[
    (
        "http_requests_total",
        "counter",
        "Requests answered, by format, API, channel and status class.",
    ),
    (
        "http_request_duration_seconds",
        "histogram",
        "Time from the request's head to the last byte of its answer, seconds.",
    ),
    (
        "token_usage_total",
        "counter",
        "Tokens by channel, model and type: input, output, cached_input, cache_write, reasoning.",
    ),
    (
        "rate_limit_exceeded_total",
        "counter",
        "Requests refused by a limit of the gateway.",
    ),
    (
        "opm_overhead_seconds",
        "histogram",
        "The gateway's own time per request: all of it less the waiting for the upstream, seconds.",
    ),
    (
        "opm_streams_open",
        "gauge",
        "Streams being relayed or converted now.",
    ),
    ("opm_attempts_total", "counter", "Tries at a channel, by outcome."),
    (
        "opm_time_to_first_token_seconds",
        "histogram",
        "From sending a request to a channel to the first content of its answer, seconds.",
    ),
    (
        "opm_stage_seconds",
        "histogram",
        "The gateway's own time in one stage of a request: route, encode, seconds.",
    ),
    (
        "opm_in_flight",
        "gauge",
        "Requests under way at a channel, streams until their end.",
    ),
    (
        "opm_breaker_state",
        "gauge",
        "Breaker of a channel: 0 closed, 1 half open, 2 open.",
    ),
    (
        "opm_keys_parked",
        "gauge",
        "Provider keys of a channel that are left alone for a while.",
    ),
];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    format: &'static str,
    api: &'static str,
    channel: String,
    status_class: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DurationLabels {
    format: &'static str,
    api: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TokenLabels {
    channel: String,
    model: String,
    r#type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabels {
    limit: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AttemptLabels {
    channel: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ChannelLabels {
    channel: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StageLabels {
    stage: &'static str,
}

/// The state of a channel at the moment of a scrape.
#[derive(Clone, Copy, Debug, Default)]
pub struct ChannelGauges {
    /// Requests under way.
    pub in_flight: i64,
    /// 0 closed, 1 half open, 2 open.
    pub breaker: i64,
    /// Parked keys.
    pub parked: i64,
}

/// How a request ended.
#[derive(Clone, Debug)]
pub struct Outcome<'o> {
    /// The client's format.
    pub format: Option<Format>,
    /// Short name of the API.
    pub api: &'static str,
    /// Channel that answered.
    pub channel: Option<&'o str>,
    /// HTTP status sent to the client; 499 if it left.
    pub status: u16,
    /// All of the time.
    pub total: Duration,
    /// Time spent waiting for the upstream.
    pub upstream: Duration,
}

type Buckets = fn() -> Histogram;

/// The registry and its handles. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    requests: Family<RequestLabels, Counter<u64, AtomicU64>>,
    durations: Family<DurationLabels, Histogram, Buckets>,
    tokens: Family<TokenLabels, Counter<u64, AtomicU64>>,
    overhead: Histogram,
    streams: Gauge,
    attempts: Family<AttemptLabels, Counter<u64, AtomicU64>>,
    first_token: Family<ChannelLabels, Histogram, Buckets>,
    stages: Family<StageLabels, Histogram, Buckets>,
    in_flight: Family<ChannelLabels, Gauge>,
    breakers: Family<ChannelLabels, Gauge>,
    parked: Family<ChannelLabels, Gauge>,
}

fn seconds() -> Histogram {
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
        let requests = Family::default();
        let durations: Family<DurationLabels, Histogram, Buckets> = Family::new_with_constructor(seconds);
        let tokens = Family::default();
        let limits = Family::<LimitLabels, Counter<u64, AtomicU64>>::default();
        let attempts = Family::default();
        let overhead = own_time();
        let first_token: Family<ChannelLabels, Histogram, Buckets> = Family::new_with_constructor(seconds);
        let stages: Family<StageLabels, Histogram, Buckets> = Family::new_with_constructor(own_time);
        let (in_flight, breakers, parked) = (Family::default(), Family::default(), Family::default());
        let streams = Gauge::default();
        let mut registry = Registry::default();
        let help = |name: &str| {
            METRICS
                .iter()
                .find(|row| row.0 == name)
                .map_or("", |row| row.2)
                .trim_end_matches('.')
        };
        // The registry adds `_total` to counters by itself.
        registry.register("http_requests", help("http_requests_total"), requests.clone());
        registry.register(
            "http_request_duration_seconds",
            help("http_request_duration_seconds"),
            durations.clone(),
        );
        registry.register("token_usage", help("token_usage_total"), tokens.clone());
        registry.register("rate_limit_exceeded", help("rate_limit_exceeded_total"), limits);
        registry.register(
            "opm_overhead_seconds",
            help("opm_overhead_seconds"),
            overhead.clone(),
        );
        registry.register("opm_streams_open", help("opm_streams_open"), streams.clone());
        registry.register("opm_attempts", help("opm_attempts_total"), attempts.clone());
        registry.register(
            "opm_time_to_first_token_seconds",
            help("opm_time_to_first_token_seconds"),
            first_token.clone(),
        );
        registry.register("opm_stage_seconds", help("opm_stage_seconds"), stages.clone());
        registry.register("opm_in_flight", help("opm_in_flight"), in_flight.clone());
        registry.register("opm_breaker_state", help("opm_breaker_state"), breakers.clone());
        registry.register("opm_keys_parked", help("opm_keys_parked"), parked.clone());
        Metrics {
            registry: Arc::new(registry),
            requests,
            durations,
            tokens,
            overhead,
            streams,
            attempts,
            first_token,
            stages,
            in_flight,
            breakers,
            parked,
        }
    }

    /// Records a finished request.
    pub fn request(&self, outcome: &Outcome<'_>) {
        let format = outcome.format.map_or("none", Format::as_str);
        let status_class = match outcome.status {
            200..300 => "2xx",
            300..400 => "3xx",
            400..500 => "4xx",
            _ => "5xx",
        };
        let channel = outcome.channel.unwrap_or("none").to_owned();
        self.requests
            .get_or_create(&RequestLabels {
                format,
                api: outcome.api,
                channel,
                status_class,
            })
            .inc();
        let labels = DurationLabels {
            format,
            api: outcome.api,
        };
        self.durations
            .get_or_create(&labels)
            .observe(outcome.total.as_secs_f64());
        self.overhead
            .observe(outcome.total.saturating_sub(outcome.upstream).as_secs_f64());
    }

    /// Records the tokens of an answer. `model` must come from the configuration.
    pub fn tokens(&self, channel: &str, model: &str, usage: &Usage) {
        let counts = [
            ("input", usage.input),
            ("output", usage.output),
            ("cached_input", usage.cache_read),
            ("cache_write", usage.cache_write),
            ("reasoning", usage.reasoning),
        ];
        for (kind, count) in counts {
            if let Some(count) = count.filter(|count| *count > 0) {
                let labels = TokenLabels {
                    channel: channel.to_owned(),
                    model: model.to_owned(),
                    r#type: kind,
                };
                self.tokens.get_or_create(&labels).inc_by(count);
            }
        }
    }

    /// Stub.
    pub fn limited(&self, _limit: &Arc<str>) {}

    /// Stub.
    pub fn crossed(&self, _limit: &Arc<str>, _percent: u8) {}

    /// Stub.
    pub fn cost(&self, _channel: &str, _model: &str, _pico_usd: Option<u64>) {}

    /// Records a try at a channel.
    pub fn attempt(&self, channel: &str, outcome: &'static str) {
        self.attempts
            .get_or_create(&AttemptLabels {
                channel: channel.to_owned(),
                outcome,
            })
            .inc();
    }

    /// Records the time to the first token of an answer.
    pub fn first_token(&self, channel: &str, time: Duration) {
        let labels = ChannelLabels {
            channel: channel.to_owned(),
        };
        self.first_token
            .get_or_create(&labels)
            .observe(time.as_secs_f64());
    }

    /// Records our own time in a stage.
    pub fn stage(&self, stage: &'static str, time: Duration) {
        self.stages
            .get_or_create(&StageLabels { stage })
            .observe(time.as_secs_f64());
    }

    /// Sets the state of all channels; channels that are gone lose their series.
    pub fn channels<'c>(&self, channels: impl Iterator<Item = (&'c str, ChannelGauges)>) {
        self.in_flight.clear();
        self.breakers.clear();
        self.parked.clear();
        for (channel, gauges) in channels {
            let labels = ChannelLabels {
                channel: channel.to_owned(),
            };
            self.in_flight.get_or_create(&labels).set(gauges.in_flight);
            self.breakers.get_or_create(&labels).set(gauges.breaker);
            self.parked.get_or_create(&labels).set(gauges.parked);
        }
    }

    /// Counts an open stream until the guard is dropped.
    #[must_use]
    pub fn stream(&self) -> StreamGuard {
        self.streams.inc();
        StreamGuard(self.streams.clone())
    }

    /// The text of `/metrics`.
    #[must_use]
    pub fn render(&self) -> String {
        let mut out = String::new();
        match encode(&mut out, &self.registry) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_of_the_table_is_exported_under_its_name() {
        let metrics = Metrics::new();
        let outcome = Outcome {
            format: Some(Format::Chat),
            api: "chat_completions",
            channel: Some("a"),
            status: 200,
            total: Duration::from_millis(20),
            upstream: Duration::from_millis(19),
        };
        metrics.request(&outcome);
        metrics.attempt("a", "ok");
        metrics.tokens(
            "a",
            "m",
            &Usage {
                input: Some(3),
                ..Usage::default()
            },
        );
        metrics.first_token("a", Duration::from_millis(30));
        metrics.stage("route", Duration::from_micros(3));
        metrics.channels([("a", ChannelGauges::default())].into_iter());
        let _open = metrics.stream();
        let text = metrics.render();
        for (name, ..) in METRICS.iter().filter(|row| row.0 != "rate_limit_exceeded_total") {
            assert!(text.contains(name), "{name} is missing:\n{text}");
        }
        assert!(
            text.contains("token_usage_total{channel=\"a\",model=\"m\",type=\"input\"} 3"),
            "{text}"
        );
        assert!(text.contains("opm_streams_open 1"));
    }
}
