//! What was used before the start, under every kind of limit.

use std::path::Path;

use opm_config::{Environment, compile_file};
use opm_ledger::{Metered, Row};
use opm_routing::Live;

use super::*;

const FILE: &str = r#"
version: 1
channels:
  - { name: one, format: openai, keys: [sk-x], models: ["*"], limits: { rpm: 100 } }
  - { name: two, format: openai, keys: [sk-x], models: ["*"], limits: { rpm: 100 } }
keys:
  - { name: team, key: 0123456789abcdef0123, limits: { tpm: 1000, window: 10m, rpm: 50 } }
users: { limits: { tpm: 500 } }
limits:
  - { name: large, by: [model, channel], models: ["gpt-5*"], tpm: 2000, window: 10m }
"#;
const NOW: u64 = 1_800_000_000_000;

fn snapshot() -> Snapshot {
    let loaded = compile_file(Path::new("opm.yaml"), FILE, &Environment::default());
    let config = loaded.config.unwrap_or_else(|| panic!("{:?}", loaded.problems));
    Snapshot::new(config, &Live::default(), None)
}

const USED: Used<'_> = Used {
    key: "static:team",
    user: "ada",
    model: "gpt-5",
    channel: "one",
    at_ms: NOW - 30_000,
    tokens: 300,
    requests: 2,
};

/// What is left of the limits that concern a request, by their names.
async fn left(snapshot: &Snapshot, limiter: &Limiter, who: &Used<'_>) -> Vec<(String, u64)> {
    let asking = Who {
        key: who.key,
        key_name: "team",
        user: who.user,
        model: who.model,
    };
    let number = usize::from(who.channel == "two");
    let rules = &snapshot.rules;
    let all = rules.of_request(&asking);
    let mut found = Vec::new();
    for ruled in all.chain(rules.of_channel(&asking, (number, who.channel))) {
        let subjects = asking.subjects(who.channel);
        let held = limiter
            .reserve(&[Charge::new(&ruled.rule, &subjects, 0)], NOW)
            .await;
        let remaining = held.unwrap().standings()[0].remaining;
        found.push((ruled.rule.name().to_string(), remaining));
    }
    found
}

fn expect(of: &[(&str, u64)]) -> Vec<(String, u64)> {
    of.iter()
        .map(|(name, left)| ((*name).to_owned(), *left))
        .collect()
}

#[tokio::test]
async fn what_was_used_is_used_under_every_limit_that_concerns_it() {
    let snapshot = snapshot();
    let limiter = Limiter::memory(100);
    let past = Past::new(&snapshot, &limiter, NOW);
    past.add(&USED, None);
    let own = expect(&[
        ("key.tokens", 700),
        ("key.requests", 48),
        ("users.tokens", 200),
        ("channel.requests", 98),
        ("large.tokens", 1_700),
    ]);
    assert_eq!(left(&snapshot, &limiter, &USED).await, own);
    let other = Used {
        user: "bob",
        model: "claude",
        channel: "two",
        ..USED
    };
    let shared = expect(&[
        ("key.tokens", 700),
        ("key.requests", 48),
        ("users.tokens", 500),
        ("channel.requests", 100),
    ]);
    assert_eq!(left(&snapshot, &limiter, &other).await, shared);
}

#[tokio::test]
async fn windows_are_filled_one_length_at_a_time_and_only_with_what_they_still_count() {
    let snapshot = snapshot();
    let limiter = Limiter::memory(100);
    let past = Past::new(&snapshot, &limiter, NOW);
    let windows = snapshot.rules.windows();
    let lengths: Vec<u64> = windows.iter().map(|window| window.length_ms()).collect();
    assert_eq!(lengths, [60_000, 600_000]);
    let old = Used {
        at_ms: NOW - 120_000,
        ..USED
    };
    for window in windows {
        past.add(&old, Some(window));
    }
    let found = expect(&[
        ("key.tokens", 700),
        ("key.requests", 50),
        ("users.tokens", 500),
        ("channel.requests", 100),
        ("large.tokens", 1_700),
    ]);
    assert_eq!(left(&snapshot, &limiter, &USED).await, found);
}

#[tokio::test]
async fn what_keys_and_channels_used_that_are_gone_counts_in_what_they_shared() {
    const FILE: &str = r#"
version: 1
storage: { url: "sqlite:./opm.db" }
channels: [{ name: one, format: openai, keys: [sk-x], models: ["*"] }]
keys: [{ name: team, key: 0123456789abcdef0123 }]
limits:
  - { name: house, by: [], keys: [team, old, older], tpm: 1000, window: 10m }
  - { name: both, by: [], channels: [one, gone], tpm: 1000, window: 10m }
"#;
    let loaded = compile_file(Path::new("opm.yaml"), FILE, &Environment::default());
    let mut config = loaded.config.unwrap_or_else(|| panic!("{:?}", loaded.problems));
    config.revoked_keys = vec![("key1".to_owned(), "old".to_owned())];
    let snapshot = Snapshot::new(config, &Live::default(), None);
    let limiter = Limiter::memory(100);
    let past = Past::new(&snapshot, &limiter, NOW);
    for key in ["key1", "static:older", "static:other", "unknown"] {
        let channel = if key == "unknown" { "gone" } else { "never" };
        past.add(&Used { key, channel, ..USED }, None);
    }
    let expected = expect(&[("house.tokens", 400), ("both.tokens", 700)]);
    assert_eq!(left(&snapshot, &limiter, &USED).await, expected);
}

#[test]
fn a_row_counts_what_its_reservation_did() {
    let settled = |outcome, attempt, held| Settled {
        is_request: true,
        row: Row {
            outcome,
            attempt,
            started_ms: 1,
            at_ms: 2,
            held,
            usage: Metered::default(),
            ..Row::default()
        },
    };
    use Outcome as O;
    for (row, at_ms, requests) in [
        (settled(O::Finished, 1, 0), 1, 1),
        (settled(O::Crashed, 2, 7), 2, 1),
        (settled(O::Failed, 1, 7), 1, 1),
        // It failed before the model worked.
        (settled(O::Failed, 1, 0), 1, 0),
        (settled(O::Failed, 2, 0), 2, 0),
        (settled(O::ClientGone, 1, 0), 1, 0),
    ] {
        let used = Used::from(&row);
        assert_eq!(
            (used.at_ms, used.tokens, used.requests),
            (at_ms, row.row.held, requests),
            "{row:?}"
        );
    }
}
