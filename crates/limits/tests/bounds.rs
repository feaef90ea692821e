//! Memory with very many subjects. Alone in its process, because it reads what the process uses.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests may")]

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use opm_limits::{Actual, Charge, Dimension, Limiter, Over, Rule, SubjectKind, Subjects, Window};

const T0: u64 = 1_800_000_000_000;

/// Resident memory in KiB (`VmRSS` of /proc/self/status, Linux).
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn ask(limiter: &Limiter, rule: &Arc<Rule>, user: &str, now: u64) -> bool {
    let subjects = Subjects {
        user: Some(user),
        ..Subjects::default()
    };
    ask_for(limiter, rule, &subjects, now)
}

fn ask_for(limiter: &Limiter, rule: &Arc<Rule>, subjects: &Subjects<'_>, now: u64) -> bool {
    let charge = [Charge::new(rule, subjects, 60)];
    match pin!(limiter.reserve(&charge, now)).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(mut reservation)) => {
            reservation.sent();
            reservation.settle(Actual { tokens: 30, money: 0 });
            true
        }
        Poll::Ready(Err(_)) => false,
        Poll::Pending => panic!("the memory path waits"),
    }
}

#[test]
fn hundred_thousand_users_and_hostile_values_stay_within_64_mib_and_the_cap_holds() {
    let window = Window::new(Duration::from_secs(60)).unwrap();
    let rule = Rule::new("r", Dimension::Tokens, 100, Over::Window(window)).unwrap();
    let rule = Arc::new(rule.by(&[SubjectKind::User]));
    let limiter = Limiter::memory(100_000);
    let before = resident();
    let hostile = "\u{0}\u{7f}é'\"{}%s".repeat(100);
    for user in 0..100_000 {
        ask(&limiter, &rule, &format!("{user}{hostile}"), T0 + user / 100);
    }
    let first = limiter.health().subjects;
    assert!(first > 95_000, "{first} of 100,000 have a meter of their own");
    // A flood of further names: the table is full of users that still count, new ones share one meter.
    for user in 0..200_000 {
        ask(&limiter, &rule, &format!("flood-{user}"), T0 + 1_000 + user / 100);
    }
    assert!(limiter.health().subjects <= 100_000 + 64);
    assert!(
        ask(&limiter, &rule, &format!("7{hostile}"), T0 + 4_000),
        "who was there keeps his own limit"
    );
    // Those that nobody can invent never share.
    let keys = Rule::new("keys", Dimension::Tokens, 100, Over::Window(window)).unwrap();
    let keys = Arc::new(keys.by(&[SubjectKind::Key]));
    for number in 0..1_000 {
        let key = number.to_string();
        let of_key = Subjects {
            key: Some(&key),
            ..Subjects::default()
        };
        assert!(ask_for(&limiter, &keys, &of_key, T0 + 4_000), "key {number}");
    }
    // A window later all have aged out and make room.
    for user in 0..20_000 {
        assert!(ask(&limiter, &rule, &format!("late-{user}"), T0 + 200_000 + user));
    }
    let used = resident().saturating_sub(before) / 1_024;
    assert!(used <= 64, "{used} MiB");
}
