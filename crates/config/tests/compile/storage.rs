//! `storage:`: how the ledger and usage are kept.

use std::path::PathBuf;
use std::time::Duration;

use opm_config::{Ledger, Retention};

use crate::{config, one_problem, problems};

fn days(count: u64) -> Duration {
    Duration::from_secs(count * 86_400)
}

#[test]
fn the_ledger_is_kept_as_the_file_says() {
    assert_eq!(
        config("storage: { url: 'sqlite:./opm.db' }\n").ledger,
        Ledger::default()
    );
    let text =
        "storage: { ledger: /var/lib/opm/ledger, sync: always, ledger_max: 64MiB, when_full: refuse }\n";
    let expected = Ledger {
        directory: Some(PathBuf::from("/var/lib/opm/ledger")),
        sync_always: true,
        max_bytes: 64 << 20,
        refuse_when_full: true,
    };
    assert_eq!(config(text).ledger, expected);
    let text = "storage: { ledger: \"${LEDGER:-}\", sync: grouped, ledger_max: 1GiB, when_full: drop }\n";
    assert_eq!(config(text).ledger, Ledger::default());
}

#[test]
fn usage_stands_for_requests_and_hours_that_do_not_stand_for_themselves() {
    let retention = |members: &str| config(&format!("storage: {{ retention: {{ {members} }} }}\n")).retention;
    assert_eq!(
        retention("requests: 90d, minutes: 48h, hours: 800d"),
        Retention {
            requests: days(90),
            minutes: days(2),
            hours: days(800),
        }
    );
    let usage = Retention {
        requests: days(60),
        hours: days(60),
        ..Retention::default()
    };
    assert_eq!(retention("usage: 60d"), usage);
    assert_eq!(
        retention("requests: 5d, usage: 60d"),
        Retention {
            requests: days(5),
            ..usage
        }
    );
}

#[test]
fn what_is_not_there_yet_is_said() {
    let text = "storage: { capture_bodies: never, retention: { bodies: 7d } }\n";
    let found = problems(text);
    assert!(
        found.len() == 2 && found.iter().all(|problem| problem.starts_with("W001 ")),
        "{found:?}"
    );
}

#[test]
fn wrong_members_of_the_store_are_pointed_out() {
    for (members, expected) in [
        (
            "sync: 100ms",
            "E004 5:18 unknown word `100ms` | the words are grouped, always",
        ),
        (
            "when_full: stop",
            "E004 5:23 unknown word `stop` | did you mean `drop`? The words are drop, refuse",
        ),
        (
            "ledger_max: 1023KiB",
            "E008 5:24 the size is out of range | it must be at least 1MiB",
        ),
        ("ledger_max: big", "E008 5:24 `big` is not a size"),
        (
            "ledgr: x",
            "E002 5:12 unknown key `ledgr` | did you mean `ledger`?",
        ),
        ("retention: 30d", "E003 5:23 `retention` must be a mapping"),
        (
            "retention: { hours: 31d }",
            "E008 5:32 the duration is out of range | it must be between 32d and 36500d",
        ),
        (
            "retention: { usage: 7d }",
            "E008 5:32 the duration is out of range",
        ),
        (
            "retention: { requests: 1h }",
            "E008 5:35 the duration is out of range | it must be between 1d",
        ),
        (
            "retention: { hour: 40d }",
            "E002 5:25 unknown key `hour` | did you mean `hours`?",
        ),
    ] {
        one_problem(&format!("storage: {{ {members} }}\n"), expected);
    }
}
