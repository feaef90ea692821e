//! `storage:`: the store and the ledger that feeds it.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::{Config, Ledger, Retention};
use crate::diagnostic::{Problem, Severity};
use crate::env::Environment;
use crate::node::Placed;
use crate::section::Reading;

const STORAGE: &[&str] = &[
    "url",
    "ledger",
    "sync",
    "ledger_max",
    "when_full",
    "retention",
    "capture_bodies",
];
const SCHEMES: [&str; 3] = ["sqlite:", "postgres://", "postgresql://"];
const SYNC: &[(&str, bool)] = &[("grouped", false), ("always", true)];
const WHEN_FULL: &[(&str, bool)] = &[("drop", false), ("refuse", true)];
/// A smaller ledger would be full before the store has looked.
const LEDGER_MIN: usize = 1 << 20;

pub(super) fn storage(node: &Placed, config: &mut Config, r: &mut Reading<'_>) {
    for (key, value) in r.members(node, "storage") {
        match key.value.as_str() {
            "url" => url(value, config, r),
            "retention" => retention(value, &mut config.retention, r),
            "capture_bodies" => r.inactive(key),
            name => {
                if !ledger(name, value, &mut config.ledger, r) {
                    r.unknown(key, STORAGE);
                }
            }
        }
    }
}

const HELP: &str = "write sqlite:./opm.db or postgres://user@host/name";

fn is_store(url: &str) -> bool {
    SCHEMES.iter().any(|scheme| url.starts_with(scheme))
}

fn url(node: &Placed, config: &mut Config, r: &mut Reading<'_>) {
    let Some(text) = r.text(node).filter(|text| !text.is_empty()) else {
        return;
    };
    if is_store(&text) {
        config.storage = Some(text);
    } else {
        r.error("E007", node, "`url` is no store".into(), Some(HELP.into()));
    }
}

/// `OPM_STORAGE_URL`: to be read before a file, which may name another store.
pub(super) fn from_env(config: &mut Config, env: &Environment) -> Option<Problem> {
    let url = env.set("OPM_STORAGE_URL")?;
    if is_store(url) {
        config.storage = Some(url.to_owned());
        return None;
    }
    Some(Problem {
        severity: Severity::Error,
        code: "E007",
        message: "OPM_STORAGE_URL is no store".into(),
        at: None,
        help: Some(HELP.into()),
    })
}

/// False if the member is none of the ledger's.
fn ledger(name: &str, node: &Placed, found: &mut Ledger, r: &mut Reading<'_>) -> bool {
    match name {
        "ledger" => {
            let path = r.text(node).filter(|path| !path.is_empty());
            found.directory = path.map(PathBuf::from);
        }
        "sync" => found.sync_always = r.word(node, SYNC).unwrap_or_default(),
        "when_full" => found.refuse_when_full = r.word(node, WHEN_FULL).unwrap_or_default(),
        "ledger_max" => match r.bytes(node) {
            Some(bytes) if bytes >= LEDGER_MIN => found.max_bytes = bytes as u64,
            Some(_) => {
                let help = Some("it must be at least 1MiB".into());
                r.error("E008", node, "the size is out of range".into(), help);
            }
            None => {}
        },
        _ => return false,
    }
    true
}

const RETENTION: &[&str] = &["requests", "minutes", "hours", "usage", "bodies"];

/// `usage` stands for `requests` and `hours`, where these do not stand for themselves.
fn retention(node: &Placed, found: &mut Retention, r: &mut Reading<'_>) {
    const fn hours(count: u64) -> Duration {
        Duration::from_secs(count * 3600)
    }
    const LONGEST: Duration = hours(24 * 36_500);
    // An attempt that the ledger gives again must still be known.
    const REQUESTS: RangeInclusive<Duration> = hours(24)..=LONGEST;
    const MINUTES: RangeInclusive<Duration> = hours(1)..=LONGEST;
    // What was spent in the running month stands there.
    const HOURS: RangeInclusive<Duration> = hours(24 * 32)..=LONGEST;
    let members = r.members(node, "retention");
    if let Some((_, usage)) = members.iter().find(|(key, _)| key.value == "usage")
        && let Some(usage) = r.duration_in(usage, HOURS)
    {
        (found.requests, found.hours) = (usage, usage);
    }
    for (key, value) in members {
        match key.value.as_str() {
            "requests" => found.requests = r.duration_in(value, REQUESTS).unwrap_or(found.requests),
            "minutes" => found.minutes = r.duration_in(value, MINUTES).unwrap_or(found.minutes),
            "hours" => found.hours = r.duration_in(value, HOURS).unwrap_or(found.hours),
            "usage" => {}
            "bodies" => r.inactive(key),
            _ => r.unknown(key, RETENTION),
        }
    }
}
