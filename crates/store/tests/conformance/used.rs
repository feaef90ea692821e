//! What limits still count, read at a start.

use opm_store::{AttemptOutcome, Billed, Store, UsageRow, Used, UsedFrom, UsedQuery, Width};

use crate::place::Place;
use crate::usage::{DAY, row};

const MINUTE: i64 = 60_000;
const START: i64 = DAY * 1000;

/// Sorted, and in numbers that can be read: second of the day, tokens, requests.
async fn used(store: &dyn Store, query: UsedQuery) -> Vec<(String, i64, i64, i64)> {
    let mut used = Vec::new();
    store.used(&query, &mut |one| used.push(one)).await.unwrap();
    let read = |used: Used| {
        let who = [used.key_id, used.user, used.model, used.channel].join("|");
        let second = (used.step_start_ms - START) / 1000;
        (who, second, used.tokens, used.requests)
    };
    let mut read: Vec<_> = used.into_iter().map(read).collect();
    read.sort();
    read
}

fn attempts(since: i64, until: i64, step_ms: i64) -> UsedQuery {
    UsedQuery {
        from: UsedFrom::Attempts,
        since_ms: START + since * 1000,
        until_ms: START + until * 1000,
        step_ms,
    }
}

const WHO: &str = "key1|ann|gpt-5|openai";

pub(crate) async fn attempts_are_summed_by_caller_and_by_the_step_in_which_they_began(place: Place) {
    let store = place.open().await;
    let long = UsageRow {
        started_ms: START + 5_000,
        ..row("long", 1, 75)
    };
    let other = UsageRow {
        user: "bob".into(),
        ..row("other", 1, 31)
    };
    let unseen = UsageRow {
        held: 500,
        ..row("unseen", 1, 32)
    };
    // When the second attempt began is not kept: it counts from its end.
    let second = UsageRow {
        started_ms: START + 5_000,
        ..row("second", 2, 90)
    };
    // Written by a gateway that does not say when an attempt began.
    let older = UsageRow {
        started_ms: 0,
        ..row("older", 1, 91)
    };
    let rows = [
        row("a", 1, 31),
        row("b", 1, 59),
        long,
        other,
        unseen,
        second,
        older,
    ];
    store.record_usage(&rows).await.unwrap();
    let who = |who: &str, second, tokens, requests| (who.to_owned(), second, tokens, requests);
    let found = used(&*store, attempts(0, 100, 30_000)).await;
    let expected = [
        who(WHO, 0, 120, 1),
        who(WHO, 30, 120 + 120 + 500, 3),
        who(WHO, 90, 240, 2),
        who("key1|bob|gpt-5|openai", 30, 120, 1),
    ];
    assert_eq!(found, expected);
    // By their end they are found, however early they began.
    assert_eq!(used(&*store, attempts(75, 76, 1000)).await, [who(WHO, 5, 120, 1)]);
    assert_eq!(used(&*store, attempts(100, 200, 1000)).await, []);
}

pub(crate) async fn what_failed_before_the_model_worked_is_no_request(place: Place) {
    let store = place.open().await;
    let ended = |request: &str, attempt, outcome, billed, tokens| UsageRow {
        outcome,
        billed,
        input: tokens,
        output: 0,
        ..row(request, attempt, 1)
    };
    use AttemptOutcome as O;
    let cases = [
        // A try of which the model may have worked, and the next that answered.
        (ended("a", 1, O::Retried, Billed::Estimated, 10), (10, 1)),
        (ended("a", 2, O::Answered, Billed::Yes, 20), (20, 1)),
        // Answered without usage.
        (ended("b", 1, O::Answered, Billed::No, 0), (0, 1)),
        // Never sent, or refused by the upstream.
        (ended("c", 1, O::ClientGone, Billed::No, 0), (0, 0)),
        (ended("d", 1, O::Failed, Billed::No, 0), (0, 0)),
        // An error of the server, which may be billed all the same.
        (ended("d", 2, O::Failed, Billed::Estimated, 0), (0, 0)),
        (ended("e", 3, O::Failed, Billed::No, 0), (0, 0)),
        (ended("f", 1, O::Crashed, Billed::No, 0), (0, 1)),
        (ended("g", 1, O::Aborted, Billed::No, 0), (0, 1)),
        (ended("h", 1, O::ClientGone, Billed::Estimated, 5), (5, 1)),
    ];
    let mut sum = (0, 0);
    for (row, (tokens, requests)) in cases {
        store.record_usage(std::slice::from_ref(&row)).await.unwrap();
        sum = (sum.0 + tokens, sum.1 + requests);
        let found = used(&*store, attempts(0, 10, MINUTE)).await;
        assert_eq!(found, [(WHO.to_owned(), 0, sum.0, sum.1)], "{row:?}");
    }
}

pub(crate) async fn sums_count_at_their_end_and_what_may_have_been_used_unseen_is_added(place: Place) {
    let store = place.open().await;
    let unseen = UsageRow {
        held: 500,
        ..row("unseen", 1, 130)
    };
    let rows = [row("a", 1, 5), row("b", 1, 59), row("c", 1, 60), unseen];
    store.record_usage(&rows).await.unwrap();
    let sums = |since: i64, until: i64| UsedQuery {
        from: UsedFrom::Sums(Width::Minute),
        ..attempts(since, until, MINUTE)
    };
    let who = |second, tokens, requests| (WHO.to_owned(), second, tokens, requests);
    let all = used(&*store, sums(0, 200)).await;
    // What was unseen: 500 less the 120 that the sum has.
    assert_eq!(all, [who(0, 240, 2), who(60, 120, 1), who(120, 500, 1)]);
    // However the time is cut, nothing counts twice and nothing is left out.
    for cut in [1, 59, 60, 61, 119, 120, 130, 131, 179, 180] {
        let mut parts = used(&*store, sums(0, cut)).await;
        parts.extend(used(&*store, sums(cut, 200)).await);
        let sum = |rows: &[(String, i64, i64, i64)]| rows.iter().map(|row| row.2).sum::<i64>();
        assert_eq!(sum(&parts), sum(&all), "cut at {cut}");
    }
}
