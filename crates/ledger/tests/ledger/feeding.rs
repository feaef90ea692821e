use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use opm_ledger::{Ledger, Options, Outcome, Replayed, Settled, Sink, SinkError};
use tempfile::tempdir;
use tokio::sync::oneshot;

use crate::fixture::{Store, block_on, ending, fed, open, request, segments, slot, until};

fn finish(ledger: &Ledger, from: usize, to: usize) {
    for number in from..to {
        ledger
            .start(request(&format!("r{number}")))
            .end(ending(Outcome::Finished));
    }
}

#[test]
fn rows_come_in_batches_of_two_thousand() {
    let dir = tempdir().unwrap();
    let (ledger, _) = open(dir.path());
    finish(&ledger, 0, 4_500);
    let store = fed(&ledger);
    assert_eq!(*store.batches.lock().unwrap(), [2_000, 2_000, 500]);
    assert_eq!(store.len(), 4_500);
}

#[test]
fn what_is_stored_is_not_fed_again_also_after_a_restart() {
    let dir = tempdir().unwrap();
    let (ledger, _) = open(dir.path());
    finish(&ledger, 0, 10);
    assert_eq!(fed(&ledger).len(), 10);
    finish(&ledger, 10, 13);
    drop(ledger);
    let (ledger, recovered) = open(dir.path());
    assert_eq!(recovered.unfed, 3);
    assert_eq!(fed(&ledger).len(), 3);
    assert_eq!(fed(&ledger).len(), 0);
}

/// Keeps nothing.
struct Nowhere;

impl Sink for Nowhere {
    async fn feed(&self, batch: &[Settled]) -> Result<(), SinkError> {
        assert!(batch.is_empty(), "it wants no rows");
        Ok(())
    }

    fn keeps_rows(&self) -> bool {
        false
    }
}

#[test]
fn what_nobody_keeps_is_passed_over_unread() {
    let dir = tempdir().unwrap();
    for round in 0..3 {
        let (ledger, recovered) = open(dir.path());
        assert_eq!(recovered.unfed, 0);
        finish(&ledger, 10 * round, 10 * round + 10);
        block_on(ledger.feeder().run(Nowhere, ready(())));
        assert_eq!(replayed(&ledger, Replayed::Unfed), [""; 0]);
    }
    let (ledger, _) = open(dir.path());
    block_on(ledger.feeder().run(Nowhere, ready(())));
    assert_eq!(replayed(&ledger, Replayed::All), [""; 0], "its segments are gone");
}

#[test]
fn a_lost_cursor_means_that_rows_are_fed_again_and_none_is_missing() {
    let dir = tempdir().unwrap();
    let (ledger, _) = open(dir.path());
    finish(&ledger, 0, 10);
    assert_eq!(fed(&ledger).len(), 10);
    std::fs::remove_file(slot(dir.path()).join("cursor")).unwrap();
    assert_eq!(fed(&ledger).len(), 10);
}

#[test]
fn a_store_that_is_down_is_tried_again_until_it_has_everything() {
    let dir = tempdir().unwrap();
    let (ledger, _) = open(dir.path());
    finish(&ledger, 0, 2_100);
    let store = Store::default();
    let down = || SinkError::Unavailable("connection refused".into());
    store.failures.lock().unwrap().extend([down(), down(), down()]);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async { ledger.feeder().feed_all(&&store).await });
    assert_eq!(*store.batches.lock().unwrap(), [2_000, 2_000, 2_000, 2_000, 100]);
    assert_eq!(store.len(), 2_100);
}

#[test]
fn one_refused_row_does_not_hold_up_the_others_and_is_kept() {
    let dir = tempdir().unwrap();
    let (ledger, _) = open(dir.path());
    finish(&ledger, 0, 1_000);
    let store = Store {
        poison: Some("r4".into()),
        ..Store::default()
    };
    block_on(async { ledger.feeder().feed_all(&&store).await });
    assert_eq!(store.len(), 999);
    let calls = store.batches.lock().unwrap().len();
    assert!(calls < 30, "halved, not row by row: {calls} calls");
    assert!(store.request("r4").is_none());
    let kept = std::fs::read(slot(dir.path()).join("refused")).unwrap();
    assert!(kept.windows(2).any(|bytes| bytes == b"r4"));
    assert_eq!(fed(&ledger).len(), 0);
}

#[test]
fn segments_are_deleted_when_they_are_fed_but_not_while_a_request_needs_them() {
    let dir = tempdir().unwrap();
    let options = Options {
        segment_bytes: 4096,
        sync: opm_ledger::Sync::Every(Duration::from_millis(1)),
        ..Options::default()
    };
    let (ledger, _) = Ledger::open(dir.path(), options).unwrap();
    let mut long = ledger.start(request("long"));
    let mut number = 0;
    let fill = |number: &mut usize, count: usize| {
        while segments(dir.path()).last().unwrap().0 < slot(dir.path()).join(format!("{count:016}.segment")) {
            finish(&ledger, *number, *number + 10);
            *number += 10;
        }
    };
    fill(&mut number, 4);
    let store = fed(&ledger);
    assert!(store.request("long").is_none());
    let first = slot(dir.path()).join(format!("{:016}.segment", 1));
    assert!(
        first.exists(),
        "recovery would need the start of the long request"
    );
    let before = ledger.health().bytes;
    // A checkpoint says all that recovery needs: older segments can go.
    long.checkpoint(&crate::fixture::usage(1, 1), None);
    // The keeper may just begin a new one.
    until("only the newest segment is left", || {
        assert_eq!(fed(&ledger).len(), 0);
        let left = segments(dir.path());
        !first.exists() && left.len() == 1 && ledger.health().bytes == left[0].1
    });
    assert!(ledger.health().bytes < before);
    long.end(ending(Outcome::Finished));
    fill(&mut number, 6);
    assert!(fed(&ledger).request("long").is_some());
}

#[test]
fn the_task_feeds_while_requests_run_and_once_more_when_it_is_stopped() {
    let dir = tempdir().unwrap();
    let (ledger, _) = open(dir.path());
    let store: &'static Store = Box::leak(Box::default());
    let (stop, stopped) = oneshot::channel::<()>();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let task = runtime.spawn(ledger.feeder().run(store, async move { _ = stopped.await }));
    finish(&ledger, 0, 30);
    until("the first rows", || store.len() == 30);
    finish(&ledger, 30, 60);
    stop.send(()).unwrap();
    runtime.block_on(task).unwrap();
    assert_eq!(store.len(), 60);
}

#[test]
fn a_store_that_stays_away_does_not_hold_up_the_stop_and_its_rows_stay() {
    let dir = tempdir().unwrap();
    let (ledger, _) = open(dir.path());
    finish(&ledger, 0, 5);
    let store: &'static Store = Box::leak(Box::default());
    let away = (0..1000).map(|_| SinkError::Unavailable("connection refused".into()));
    store.failures.lock().unwrap().extend(away);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    let minute = async { tokio::time::sleep(Duration::from_secs(60)).await };
    runtime.block_on(ledger.feeder().run(store, minute));
    assert_eq!(store.len(), 0);
    assert_eq!(fed(&ledger).len(), 5);
}

#[test]
fn many_threads_append_and_nothing_is_lost_or_doubled() {
    let dir = tempdir().unwrap();
    let options = Options {
        segment_bytes: 64 << 10,
        sync: opm_ledger::Sync::Every(Duration::from_millis(1)),
        ..Options::default()
    };
    let (ledger, _) = Ledger::open(dir.path(), options).unwrap();
    let store = Arc::new(Store::default());
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let ledger = &ledger;
            scope.spawn(move || finish(ledger, thread * 1000, thread * 1000 + 1000));
        }
        let (ledger, store) = (&ledger, &store);
        scope.spawn(move || {
            until("all rows", || {
                block_on(async { ledger.feeder().feed_all(&store.as_ref()).await });
                store.len() == 8000
            })
        });
    });
    for number in 0..8000 {
        assert!(store.request_exists(number), "r{number}");
    }
    drop(ledger);
    let (_, recovered) = open(dir.path());
    assert_eq!(
        (recovered.crashed.len(), recovered.unfed, recovered.corrupt_bytes),
        (0, 0, 0)
    );
}

/// Ids of the requests that a replay shows, in its order.
fn replayed(ledger: &Ledger, which: Replayed) -> Vec<String> {
    let mut ids = Vec::new();
    let shown = ledger.replay(which, |settled| ids.push(settled.row.request_id.to_string()));
    shown.unwrap();
    ids
}

#[test]
fn a_replay_shows_what_the_log_has_and_which_of_it_is_not_stored() {
    let dir = tempdir().unwrap();
    let (ledger, _) = open(dir.path());
    assert_eq!(replayed(&ledger, Replayed::All), [""; 0]);
    finish(&ledger, 0, 2);
    fed(&ledger);
    finish(&ledger, 2, 4);
    assert_eq!(replayed(&ledger, Replayed::All), ["r0", "r1", "r2", "r3"]);
    assert_eq!(replayed(&ledger, Replayed::Unfed), ["r2", "r3"]);
    drop(ledger);
    let (ledger, _) = open(dir.path());
    finish(&ledger, 4, 5);
    assert_eq!(replayed(&ledger, Replayed::Unfed), ["r2", "r3", "r4"]);
    finish(&ledger, 5, 4_500);
    assert_eq!(replayed(&ledger, Replayed::All).len(), 4_500);
}

#[test]
fn segments_that_are_stored_stay_as_long_as_they_are_to_be_kept_and_there_is_room() {
    let left = |keep, max_bytes| {
        let dir = tempdir().unwrap();
        let options = || Options {
            keep,
            max_bytes,
            ..Options::default()
        };
        for number in 0..3 {
            let (ledger, _) = Ledger::open(dir.path(), options()).unwrap();
            finish(&ledger, 100 * number, 100 * (number + 1));
            fed(&ledger);
        }
        let (ledger, _) = Ledger::open(dir.path(), options()).unwrap();
        replayed(&ledger, Replayed::All).len()
    };
    // Every opening begins a segment; the last one's is the feeder's.
    assert_eq!(left(Duration::ZERO, 1 << 30), 100);
    assert_eq!(left(Duration::from_secs(3_600), 1 << 30), 300);
    assert!(left(Duration::from_secs(3_600), 60_000) < 300);
}

#[test]
fn a_small_log_is_not_filled_by_what_the_store_has_already() {
    let dir = tempdir().unwrap();
    let options = Options {
        max_bytes: 64 << 10,
        ..Options::default()
    };
    let (ledger, _) = Ledger::open(dir.path(), options).unwrap();
    for round in 0..100 {
        finish(&ledger, round * 20, round * 20 + 20);
        until("there is room again", || {
            fed(&ledger);
            ledger.health().bytes < 32 << 10
        });
    }
    assert_eq!(ledger.health().dropped, 0);
}
