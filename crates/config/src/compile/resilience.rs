//! `defaults:`, and the members of a channel that say how failures are met.

use super::Defaults;
use crate::config::{Config, Timeouts};
use crate::node::Placed;
use crate::resilience::{Breaker, Health, Retry, WHEN};
use crate::section::Reading;

pub(super) fn defaults(node: &Placed, defaults: &mut Defaults, config: &mut Config, r: &mut Reading<'_>) {
    for (key, value) in r.members(node, "defaults") {
        match key.value.as_str() {
            "timeouts" => timeouts(value, &mut defaults.timeouts, r),
            "retry" => retry(value, &mut config.retry, r),
            "breaker" => breaker(value, &mut defaults.breaker, r),
            _ => r.unknown(key, &["timeouts", "retry", "breaker"]),
        }
    }
}

const TIMEOUTS: &[&str] = &["connect", "tls", "first_byte", "idle", "total", "total_stream"];

/// `total` bounds streams too, unless they have a bound of their own.
pub(super) fn timeouts(node: &Placed, timeouts: &mut Timeouts, r: &mut Reading<'_>) {
    let members = r.members(node, "timeouts");
    let streams_apart = members.iter().any(|(key, _)| key.value == "total_stream");
    for (key, value) in members {
        if !TIMEOUTS.contains(&key.value.as_str()) {
            r.unknown(key, TIMEOUTS);
            continue;
        }
        let Some(duration) = r.duration(value) else {
            continue;
        };
        match key.value.as_str() {
            "connect" => timeouts.connect = duration,
            "tls" => timeouts.tls = duration,
            "first_byte" => timeouts.first_byte = duration,
            "idle" => timeouts.idle = duration,
            "total_stream" => timeouts.total_stream = duration,
            _ => {
                timeouts.total = duration;
                if !streams_apart {
                    timeouts.total_stream = duration;
                }
            }
        }
    }
}

const RETRY: &[&str] = &[
    "attempts",
    "when",
    "backoff",
    "honor_retry_after",
    "before_first_byte_only",
];

fn retry(node: &Placed, retry: &mut Retry, r: &mut Reading<'_>) {
    for (key, value) in r.members(node, "retry") {
        match key.value.as_str() {
            "attempts" => {
                if let Some(attempts) = r.number(value, 1..=10) {
                    retry.attempts = u32::try_from(attempts).unwrap_or(retry.attempts);
                }
            }
            "when" => {
                retry.when = r
                    .elements(value, "when")
                    .iter()
                    .filter_map(|item| r.word(item, WHEN))
                    .collect();
            }
            "backoff" => {
                if let Some((least, most)) = r.span(value) {
                    (retry.backoff_min, retry.backoff_max) = (least, most);
                }
            }
            "honor_retry_after" => retry.honor_retry_after = r.flag(value).unwrap_or(true),
            "before_first_byte_only" => {
                if r.flag(value) == Some(false) {
                    let help = Some("leave it out: what the client has seen cannot be taken back".into());
                    r.error(
                        "E004",
                        value,
                        "an answer that has begun is never retried".into(),
                        help,
                    );
                }
            }
            _ => r.unknown(key, RETRY),
        }
    }
}

const BREAKER: &[&str] = &["failures", "window", "percent", "least", "open_for"];

pub(super) fn breaker(node: &Placed, breaker: &mut Breaker, r: &mut Reading<'_>) {
    for (key, value) in r.members(node, "breaker") {
        match key.value.as_str() {
            "failures" => {
                if let Some(failures) = r.number(value, 1..=1_000_000) {
                    breaker.failures = u32::try_from(failures).unwrap_or(breaker.failures);
                }
            }
            "window" => breaker.window = r.duration(value).unwrap_or(breaker.window),
            "percent" => breaker.percent = r.percent(value).unwrap_or(breaker.percent),
            "least" => {
                if let Some(least) = r.number(value, 1..=1_000_000) {
                    breaker.least = u32::try_from(least).unwrap_or(breaker.least);
                }
            }
            "open_for" => {
                if let Some((least, most)) = r.span(value) {
                    (breaker.open_min, breaker.open_max) = (least, most);
                }
            }
            _ => r.unknown(key, BREAKER),
        }
    }
}

pub(super) fn health(node: &Placed, r: &mut Reading<'_>) -> Option<Health> {
    let mut found = Health {
        interval: std::time::Duration::from_secs(30),
        path: "models".into(),
    };
    for (key, value) in r.members(node, "health") {
        match key.value.as_str() {
            "interval" => found.interval = r.duration(value).unwrap_or(found.interval),
            "path" => {
                if let Some(path) = r.text(value) {
                    found.path = path.trim_start_matches('/').to_owned();
                }
            }
            _ => r.unknown(key, &["interval", "path"]),
        }
    }
    Some(found)
}
