use std::panic::{AssertUnwindSafe, catch_unwind};

use opm_ledger::{Billed, Ending, Expected, Options, Outcome, WhenFull};
use tempfile::tempdir;

use crate::fixture::{Store, ending, fed, open, request, target, usage, written};

/// The row of a request, of the only one in the store.
fn only(store: &Store, id: &str) -> opm_ledger::Row {
    assert_eq!(store.len(), 1);
    store.request(id).unwrap()
}

#[test]
fn a_finished_request_is_one_row() {
    let dir = tempdir().unwrap();
    let (ledger, _) = open(dir.path());
    let entry = ledger.start(request("r1"));
    assert!(written(&ledger, entry.started()));
    assert!(written(&ledger, entry.end(ending(Outcome::Finished))));
    let row = only(&fed(&ledger), "r1");
    assert_eq!(
        (row.attempt, row.outcome, row.status),
        (1, Outcome::Finished, 200)
    );
    assert_eq!((&*row.key, &*row.user, &*row.channel), ("key_1", "ann", "claude"));
    assert_eq!(row.usage, usage(10, 5));
}

#[test]
fn failed_attempts_are_rows_of_their_own_with_their_own_numbers() {
    let dir = tempdir().unwrap();
    let (ledger, _) = open(dir.path());
    let mut entry = ledger.start(request("r1"));
    entry.attempt(Ending {
        billed: Billed::Estimated,
        status: 502,
        ..ending(Outcome::Failed)
    });
    entry.dispatch(target("second"), Expected::default());
    entry.attempt(Ending {
        status: 429,
        ..ending(Outcome::Failed)
    });
    entry.dispatch(target("third"), Expected::default());
    entry.end(ending(Outcome::Finished));
    let store = fed(&ledger);
    let rows = store.rows.lock().unwrap();
    let row = |attempt| {
        let settled = &rows[&("r1".to_owned(), attempt)];
        (settled.is_request, &*settled.row.channel, settled.row.status)
    };
    assert_eq!(row(1), (false, "claude", 502));
    assert_eq!(row(2), (false, "second", 429));
    assert_eq!(row(3), (true, "third", 200));
    assert_eq!(rows.len(), 3);
}

#[test]
fn an_end_after_the_last_failed_attempt_does_not_take_its_number() {
    let dir = tempdir().unwrap();
    let (ledger, _) = open(dir.path());
    let mut entry = ledger.start(request("r1"));
    entry.attempt(ending(Outcome::Failed));
    entry.end(Ending {
        status: 502,
        ..Ending::default()
    });
    let store = fed(&ledger);
    assert_eq!(store.len(), 2);
    assert_eq!(store.request("r1").unwrap().attempt, 2);
}

#[test]
fn a_forgotten_request_ends_as_aborted_with_what_it_had() {
    let dir = tempdir().unwrap();
    let (ledger, _) = open(dir.path());
    let mut entry = ledger.start(request("r1"));
    entry.progress(0, &usage(10, 3), None);
    drop(entry);
    let row = only(&fed(&ledger), "r1");
    assert_eq!((row.outcome, row.billed), (Outcome::Aborted, Billed::Estimated));
    assert_eq!(row.usage, usage(10, 3));
}

#[test]
fn a_panic_ends_the_request_as_aborted() {
    let dir = tempdir().unwrap();
    let (ledger, _) = open(dir.path());
    let thrown = catch_unwind(AssertUnwindSafe(|| {
        let _entry = ledger.start(request("r1"));
        panic!("a bug");
    }));
    assert!(thrown.is_err());
    assert_eq!(only(&fed(&ledger), "r1").outcome, Outcome::Aborted);
}

#[test]
fn a_request_that_reached_no_channel_has_attempt_zero() {
    let dir = tempdir().unwrap();
    let (ledger, _) = open(dir.path());
    let mut start = request("r1");
    start.target = None;
    ledger.start(start).end(Ending {
        status: 429,
        outcome: Outcome::Failed,
        ..Ending::default()
    });
    let row = only(&fed(&ledger), "r1");
    assert_eq!((row.attempt, row.status, &*row.channel), (0, 429, ""));
}

#[test]
fn checkpoints_are_due_after_a_second_or_256_tokens() {
    let dir = tempdir().unwrap();
    let options = Options {
        clock: || 5000,
        ..Options::default()
    };
    let (ledger, _) = opm_ledger::Ledger::open(dir.path(), options).unwrap();
    let mut entry = ledger.start(request("r1"));
    assert!(!entry.is_due(5999, 255));
    assert!(entry.is_due(6000, 0) && entry.is_due(5000, 256));
    let before = ledger.health().bytes;
    entry.progress(5999, &usage(1, 255), None);
    assert_eq!(ledger.health().bytes, before);
    entry.progress(5999, &usage(1, 256), None);
    assert!(ledger.health().bytes > before);
    assert!(!entry.is_due(5999, 511) && entry.is_due(5999, 512));
}

#[test]
fn a_thousand_requests_let_go_at_random_stages_leave_a_thousand_rows() {
    let dir = tempdir().unwrap();
    let (ledger, _) = open(dir.path());
    let mut seed = 0x9e37_79b9_u32;
    let mut random = move |below: u32| {
        seed ^= seed << 13;
        seed ^= seed >> 17;
        seed ^= seed << 5;
        seed % below
    };
    for number in 0..1000 {
        let mut entry = ledger.start(request(&format!("r{number}")));
        for _ in 0..random(3) {
            entry.attempt(ending(Outcome::Failed));
            if random(4) > 0 {
                entry.dispatch(target("next"), Expected::default());
            }
        }
        for _ in 0..random(3) {
            entry.checkpoint(&usage(1, 2), None);
        }
        match random(4) {
            0 => drop(entry),
            1 => _ = entry.end(ending(Outcome::ClientGone)),
            2 => _ = entry.end(ending(Outcome::UpstreamCut)),
            _ => _ = entry.end(ending(Outcome::Finished)),
        }
    }
    let store = fed(&ledger);
    for number in 0..1000 {
        assert!(store.request(&format!("r{number}")).is_some(), "r{number}");
    }
    assert_eq!(
        store
            .rows
            .lock()
            .unwrap()
            .values()
            .filter(|settled| settled.is_request)
            .count(),
        1000
    );
}

#[test]
fn a_full_log_keeps_its_reserve_for_the_ends_and_never_blocks() {
    let dir = tempdir().unwrap();
    let options = Options {
        max_bytes: 64 << 10,
        when_full: WhenFull::Refuse,
        ..Options::default()
    };
    let (ledger, _) = opm_ledger::Ledger::open(dir.path(), options).unwrap();
    let mut running = Vec::new();
    while ledger.is_accepting() {
        let entry = ledger.start(request(&format!("r{}", running.len())));
        written(&ledger, entry.started());
        running.push(entry);
    }
    assert!(ledger.health().full);
    assert!(
        !written(&ledger, ledger.start(request("late")).started()),
        "no room for a start"
    );
    let dropped = ledger.health().dropped;
    assert_eq!(dropped, 1, "its start; the end had room");
    for entry in running.drain(..20) {
        assert!(
            written(&ledger, entry.end(ending(Outcome::Finished))),
            "the reserve is for ends"
        );
    }
    running.into_iter().for_each(drop);
    assert!(ledger.health().dropped > dropped, "the reserve ends too");
    assert!(ledger.health().bytes <= (64 << 10) + 4096);
}
