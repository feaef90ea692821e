use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use opm_ledger::record::{Kind, encode};
use opm_ledger::{Billed, Ending, Expected, Ledger, Options, Outcome, PicoUsd, Row};
use tempfile::tempdir;

use crate::fixture::{ending, fed, open, request, segments, slot, target, usage, written};

/// The ledger of a process that dies: entries are neither ended nor dropped.
fn crash(dir: &Path, work: impl FnOnce(&Ledger)) {
    let (ledger, _) = open(dir);
    work(&ledger);
}

#[test]
fn what_was_running_is_settled_as_crashed_with_its_last_checkpoint() {
    let dir = tempdir().unwrap();
    crash(dir.path(), |ledger| {
        ledger.start(request("done")).end(ending(Outcome::Finished));
        let mut entry = ledger.start(request("running"));
        entry.checkpoint(&usage(10, 256), None);
        entry.checkpoint(&usage(10, 512), None);
        // A crash runs no destructor; the lock of the directory goes with `ledger` here.
        forget_running(dir.path(), ledger, entry);
    });
    let (ledger, recovered) = open(dir.path());
    assert_eq!(recovered.crashed.len(), 1);
    assert_eq!(recovered.unfed, 2);
    let store = fed(&ledger);
    assert_eq!(store.len(), 2);
    let row = store.request("running").unwrap();
    assert_eq!(
        (row.outcome, row.billed, row.attempt),
        (Outcome::Crashed, Billed::Estimated, 1)
    );
    assert_eq!(row.usage, usage(10, 512));
    assert_eq!(row, recovered.crashed[0]);
}

/// Drops an entry and takes the END that this wrote out of the log again.
fn forget_running(dir: &Path, ledger: &Ledger, entry: opm_ledger::Entry) {
    assert!(written(ledger, entry.started()));
    let (path, length) = segments(dir).pop().unwrap();
    drop(entry);
    OpenOptions::new()
        .write(true)
        .open(path)
        .unwrap()
        .set_len(length)
        .unwrap();
}

#[test]
fn recovering_twice_settles_once() {
    let dir = tempdir().unwrap();
    crash(dir.path(), |ledger| {
        forget_running(dir.path(), ledger, ledger.start(request("a")))
    });
    let (first, recovered) = open(dir.path());
    assert_eq!(recovered.crashed.len(), 1);
    drop(first);
    let (second, recovered) = open(dir.path());
    assert_eq!((recovered.crashed.len(), recovered.unfed), (0, 1));
    assert_eq!(fed(&second).len(), 1);
}

#[test]
fn a_crash_between_two_attempts_keeps_both_numbers() {
    let dir = tempdir().unwrap();
    crash(dir.path(), |ledger| {
        let mut entry = ledger.start(request("a"));
        entry.attempt(ending(Outcome::Failed));
        forget_running(dir.path(), ledger, entry);
        let mut entry = ledger.start(request("b"));
        entry.attempt(ending(Outcome::Failed));
        entry.dispatch(target("second"), Expected::default());
        forget_running(dir.path(), ledger, entry);
    });
    let (ledger, _) = open(dir.path());
    let store = fed(&ledger);
    assert_eq!(store.len(), 4);
    let a = store.request("a").unwrap();
    assert_eq!((a.attempt, &*a.channel), (2, ""));
    let b = store.request("b").unwrap();
    assert_eq!((b.attempt, &*b.channel), (2, "second"));
}

#[test]
fn a_crash_between_two_tries_does_not_charge_the_first_one_twice() {
    let dir = tempdir().unwrap();
    crash(dir.path(), |ledger| {
        let mut entry = ledger.start(opm_ledger::Start {
            expected: Expected {
                usage: usage(10, 20),
                cost: Some(PicoUsd(30)),
                held: 40,
                held_cost: 50,
            },
            ..request("r")
        });
        entry.attempt(ending(Outcome::Failed));
        forget_running(dir.path(), ledger, entry);
    });
    let (ledger, _) = open(dir.path());
    let row = fed(&ledger).request("r").unwrap();
    assert_eq!((row.attempt, row.outcome), (2, Outcome::Crashed));
    assert_eq!((row.cost, row.held, row.held_cost), (None, 0, 0));
    assert_eq!(row.usage.usage().total(), None);
}

#[test]
fn what_limits_held_of_a_crashed_request_is_known_again() {
    let dir = tempdir().unwrap();
    crash(dir.path(), |ledger| {
        let held = |id: &str, held| {
            ledger.start(opm_ledger::Start {
                expected: Expected {
                    held,
                    held_cost: 10 * held,
                    ..Expected::default()
                },
                ..request(id)
            })
        };
        let mut entry = held("first", 700);
        entry.checkpoint(&usage(10, 20), None);
        forget_running(dir.path(), ledger, entry);
        let mut entry = held("second", 700);
        entry.attempt(ending(Outcome::Failed));
        let again = Expected {
            usage: usage(11, 22),
            cost: Some(PicoUsd(33)),
            held: 300,
            held_cost: 3_000,
        };
        entry.dispatch(target("second"), again);
        forget_running(dir.path(), ledger, entry);
        // Dropped: by a panic, say.
        drop(held("dropped", 50));
        let ending = opm_ledger::Ending {
            held: 5,
            held_cost: 50,
            ..ending(Outcome::Finished)
        };
        _ = held("ended", 700).end(ending);
    });
    let (ledger, _) = open(dir.path());
    let store = fed(&ledger);
    let held = |id| {
        let row = store.request(id).unwrap();
        assert_eq!(row.held_cost, 10 * row.held, "{id}");
        row.held
    };
    assert_eq!(
        ["first", "second", "dropped", "ended"].map(held),
        [700, 300, 50, 5]
    );
    // The second try may have cost what was expected of it.
    let second = store.request("second").unwrap();
    assert_eq!((second.usage, second.cost), (usage(11, 22), Some(PicoUsd(33))));
    // What is known counts where it is more.
    assert_eq!(store.request("ended").unwrap().counted(), 15);
}

#[test]
fn a_torn_tail_is_cut_off_wherever_it_was_torn() {
    let whole = encode(
        Kind::End,
        &Row {
            request_id: "torn".into(),
            ..Row::default()
        },
    );
    for cut in 1..whole.len() {
        let dir = tempdir().unwrap();
        crash(dir.path(), |ledger| {
            _ = ledger.start(request("a")).end(ending(Outcome::Finished))
        });
        let (path, length) = segments(dir.path()).pop().unwrap();
        OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap()
            .write_all(&whole[..cut])
            .unwrap();
        let (ledger, recovered) = open(dir.path());
        assert_eq!((recovered.torn_bytes, recovered.corrupt_bytes), (cut as u64, 0));
        assert_eq!(fs::metadata(&path).unwrap().len(), length);
        assert_eq!(fed(&ledger).len(), 1);
    }
}

#[test]
fn zeros_at_the_end_after_a_power_loss_are_a_torn_tail() {
    let dir = tempdir().unwrap();
    crash(dir.path(), |ledger| {
        _ = ledger.start(request("a")).end(ending(Outcome::Finished))
    });
    let (path, length) = segments(dir.path()).pop().unwrap();
    OpenOptions::new()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(length + 100_000)
        .unwrap();
    let (ledger, recovered) = open(dir.path());
    assert_eq!(recovered.torn_bytes, 100_000);
    assert_eq!(fed(&ledger).len(), 1);
}

#[test]
fn damage_inside_the_log_costs_the_damaged_record_only() {
    let dir = tempdir().unwrap();
    crash(dir.path(), |ledger| {
        for number in 0..1000 {
            ledger
                .start(request(&format!("r{number}")))
                .end(ending(Outcome::Finished));
        }
    });
    let (path, _) = segments(dir.path()).pop().unwrap();
    let mut file = OpenOptions::new().write(true).open(&path).unwrap();
    // Inside the end of r0: the start before it has the same length on each run.
    let start = encode(Kind::Start, &Row::default()).len() as u64;
    file.seek(SeekFrom::Start(start * 3)).unwrap();
    file.write_all(&[0xff; 9]).unwrap();
    let (ledger, recovered) = open(dir.path());
    assert!(
        recovered.corrupt_bytes > 0 && recovered.torn_bytes == 0,
        "{recovered:?}"
    );
    let store = fed(&ledger);
    assert_eq!(store.len(), 1000, "a lost end is recovered from its start");
    assert!(recovered.crashed.len() <= 1);
}

#[test]
fn records_of_a_later_version_are_kept() {
    let dir = tempdir().unwrap();
    crash(dir.path(), |ledger| {
        _ = ledger.start(request("a")).end(ending(Outcome::Finished))
    });
    let mut later = encode(Kind::End, &Row::default());
    later[8] = 9;
    let sum = {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&later[..4]);
        hasher.update(&later[8..]);
        hasher.finalize()
    };
    later[4..8].copy_from_slice(&sum.to_le_bytes());
    let (path, length) = segments(dir.path()).pop().unwrap();
    OpenOptions::new()
        .append(true)
        .open(&path)
        .unwrap()
        .write_all(&later)
        .unwrap();
    let (_ledger, recovered) = open(dir.path());
    assert_eq!((recovered.unreadable, recovered.torn_bytes), (1, 0));
    assert_eq!(fs::metadata(&path).unwrap().len(), length + later.len() as u64);
}

#[test]
fn processes_never_share_a_log_and_their_number_is_bounded() {
    let dir = tempdir().unwrap();
    let ledgers: Vec<Ledger> = (0..16).map(|_| open(dir.path()).0).collect();
    for (number, ledger) in ledgers.iter().enumerate() {
        ledger
            .start(request(&format!("r{number}")))
            .end(ending(Outcome::Finished));
    }
    for (number, ledger) in ledgers.iter().enumerate() {
        let store = fed(ledger);
        assert!(store.len() == 1 && store.request_exists(number));
    }
    let error = Ledger::open(dir.path(), Options::default()).unwrap_err();
    assert!(error.to_string().contains("another process"), "{error}");
}

#[test]
fn the_next_process_takes_over_what_another_left_behind() {
    let dir = tempdir().unwrap();
    let (old, _) = open(dir.path());
    old.start(request("fed")).end(ending(Outcome::Finished));
    assert_eq!(fed(&old).len(), 1);
    let mut entry = old.start(request("finished"));
    entry.attempt(ending(Outcome::Failed));
    entry.end(ending(Outcome::Finished));
    forget_running(dir.path(), &old, old.start(request("running")));
    let (new, recovered) = open(dir.path());
    assert_eq!(recovered.unfed, 0, "the old process lives");
    drop(old);
    // The slot of the old one is free, the new one has another: as after an upgrade that went wrong.
    let (third, recovered) = open(dir.path());
    assert_eq!((recovered.unfed, recovered.crashed.len()), (3, 1), "its own slot");
    drop((new, third));
    std::fs::rename(slot(dir.path()), dir.path().join("7")).unwrap();
    let (last, recovered) = open(dir.path());
    assert_eq!((recovered.unfed, recovered.crashed.len()), (3, 0));
    let store = fed(&last);
    assert_eq!(store.len(), 3);
    assert_eq!(store.request("finished").unwrap().attempt, 2);
    assert_eq!(store.request("running").unwrap().outcome, Outcome::Crashed);
    drop(last);
    let (_, recovered) = open(dir.path());
    assert_eq!(recovered.unfed, 0);
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let dir = tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let error = Ledger::open(dir.path().join("file/ledger"), Options::default()).unwrap_err();
    assert!(error.to_string().contains("file/ledger"), "{error}");
}

#[test]
fn an_entry_that_outlives_its_ledger_still_ends() {
    let dir = tempdir().unwrap();
    let (ledger, _) = open(dir.path());
    let entry = ledger.start(request("a"));
    drop(ledger);
    entry.end(Ending {
        outcome: Outcome::Finished,
        ..Ending::default()
    });
    let (ledger, recovered) = open(dir.path());
    assert!(recovered.crashed.is_empty());
    assert_eq!(fed(&ledger).request("a").unwrap().outcome, Outcome::Finished);
}
