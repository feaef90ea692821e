//! Everything that is recorded of one request.
//!
//! Usage: `hot CASE COUNT` under callgrind (the difference between two counts, divided by their difference, is the cost
//! of one operation), or `hot time` for nanoseconds of wall time. Cases: `metrics`.

#![expect(clippy::print_stdout, reason = "a bench reports")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ai_api_converter::{Format, Usage};
use opm_telemetry::{ChannelMetrics, Metrics, Outcome, Stage};

fn record(metrics: &Metrics, meters: &ChannelMetrics, usage: &Usage) {
    metrics.stage(Stage::Route, Duration::from_micros(20));
    metrics.stage(Stage::Encode, Duration::from_micros(30));
    meters.attempt(black_box("ok"));
    meters.first_token(Duration::from_millis(300));
    meters.used(black_box("gpt-5.6-luna"), usage, Some(1_234_567));
    metrics.request(&Outcome {
        format: Some(Format::Chat),
        api: "chat_completions",
        channel: Some(meters),
        status: 200,
        total: Duration::from_millis(900),
        upstream: Duration::from_millis(899),
    });
}

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| !arg.starts_with("--"));
    let timed = args.next().is_none_or(|case| case == "time");
    let count: u32 = args
        .next()
        .and_then(|count| count.parse().ok())
        .unwrap_or(1_000_000);
    let metrics = Metrics::new();
    let usage = Usage {
        input: Some(1_200),
        output: Some(300),
        cache_read: Some(1_000),
        ..Usage::default()
    };
    let channels: Vec<Arc<str>> = (0..20).map(|number| format!("channel-{number}").into()).collect();
    let meters: Vec<ChannelMetrics> = channels.iter().map(|channel| metrics.channel(channel)).collect();
    for meters in &meters {
        record(&metrics, meters, &usage);
    }
    let start = Instant::now();
    for meters in meters
        .iter()
        .cycle()
        .take(usize::try_from(count).unwrap_or(usize::MAX))
    {
        record(&metrics, meters, &usage);
    }
    if timed {
        println!("metrics {:?} per request", start.elapsed() / count.max(1));
    }
}
