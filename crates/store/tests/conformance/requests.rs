//! Looking through requests one by one.

use opm_store::{AttemptOutcome, Page, RequestQuery, RowCursor, Store, UsageRow};

use crate::place::Place;
use crate::usage::{DAY, row};

fn all(limit: u32) -> RequestQuery {
    RequestQuery {
        limit,
        ..RequestQuery::default()
    }
}

fn names(rows: &[UsageRow]) -> Vec<String> {
    rows.iter()
        .map(|row| format!("{}/{}", row.request_id, row.attempt))
        .collect()
}

async fn ask(store: &dyn Store, query: &RequestQuery) -> Vec<String> {
    names(&store.requests(query).await.unwrap())
}

pub(crate) async fn requests_come_newest_first_and_their_attempts_when_asked_for(place: Place) {
    let store = place.open().await;
    let retried = UsageRow {
        outcome: AttemptOutcome::Retried,
        status: 503,
        ..row("a", 1, 10)
    };
    let mut settled = row("a", 2, 12);
    store
        .record_usage(&[retried, settled.clone(), row("b", 1, 11)])
        .await
        .unwrap();
    settled.budgets = [].into();
    let found = store.requests(&all(10)).await.unwrap();
    assert_eq!(found[0], settled);
    assert_eq!(names(&found), ["a/2", "b/1"]);
    let every = RequestQuery {
        attempts: true,
        ..all(10)
    };
    assert_eq!(ask(&*store, &every).await, ["a/2", "b/1", "a/1"]);
    assert_eq!(ask(&*store, &all(1)).await, ["a/2"]);
    assert!(ask(&*store, &all(0)).await.is_empty());
}

pub(crate) async fn pages_join_without_a_gap_or_a_repetition(place: Place) {
    let store = place.open().await;
    // Five end in the same millisecond, and two attempts of each request do.
    let batch: Vec<_> = (0..30)
        .flat_map(|number| {
            let request = format!("r{number:02}");
            [row(&request, 1, number / 5), row(&request, 2, number / 5)]
        })
        .collect();
    store.record_usage(&batch).await.unwrap();
    let whole = ask(&*store, &all(100)).await;
    assert_eq!(
        (whole.len(), whole[0].as_str(), whole[59].as_str()),
        (60, "r29/2", "r00/1")
    );
    for size in [1, 7, 60] {
        let (mut query, mut joined) = (all(size), Vec::new());
        loop {
            let rows = store.requests(&query).await.unwrap();
            joined.extend(names(&rows));
            let Some(last) = rows.last() else { break };
            query.page = Page::Before(RowCursor::of(last));
        }
        assert_eq!(joined, whole, "pages of {size}");
        let (mut query, mut joined) = (all(size), Vec::new());
        query.page = Page::After(RowCursor::before(0));
        loop {
            let rows = store.requests(&query).await.unwrap();
            joined.extend(names(&rows));
            let Some(last) = rows.last() else { break };
            query.page = Page::After(RowCursor::of(last));
        }
        joined.reverse();
        assert_eq!(joined, whole, "pages of {size}, following");
    }
}

/// A filter of the query and the same of rows.
type Filter = (fn(&mut RequestQuery), fn(&UsageRow) -> bool);

const FILTERS: [Filter; 9] = [
    (
        |query| query.key_id = Some("key1".to_owned()),
        |row| row.key_id == "key1".into(),
    ),
    (
        |query| query.user = Some(String::new()),
        |row| row.user.is_empty(),
    ),
    (
        |query| query.model = Some("gpt".to_owned()),
        |row| row.model == "gpt".into(),
    ),
    (
        |query| query.channel = Some("one".to_owned()),
        |row| row.channel == "one".into(),
    ),
    (
        |query| query.outcome = Some(AttemptOutcome::Failed),
        |row| row.outcome == AttemptOutcome::Failed,
    ),
    (|query| query.status_from = Some(400), |row| row.status >= 400),
    (
        |query| query.since_ms = Some((DAY + 20) * 1000),
        |row| row.at_ms >= (DAY + 20) * 1000,
    ),
    (
        |query| query.until_ms = Some((DAY + 100) * 1000),
        |row| row.at_ms < (DAY + 100) * 1000,
    ),
    (|query| query.attempts = true, |_| true),
];

pub(crate) async fn every_filter_selects_and_all_hold_together(place: Place) {
    let store = place.open().await;
    let batch: Vec<_> = (0..128_i64)
        .map(|number| {
            let mut one = row(&format!("r{number:03}"), 1, number);
            let pick = |bit: i64, set: &str, clear: &str| if number & bit == 0 { clear } else { set }.into();
            (one.key_id, one.user) = (pick(1, "key1", "key2"), pick(2, "", "ann"));
            (one.model, one.channel) = (pick(4, "gpt", "claude"), pick(8, "one", "two"));
            (one.outcome, one.status) = match number & 48 {
                0 => (AttemptOutcome::Failed, 502),
                16 => (AttemptOutcome::Cut, 200),
                32 => (AttemptOutcome::Retried, 429),
                _ => (AttemptOutcome::Answered, 200),
            };
            one.budgets = [].into();
            one
        })
        .collect();
    store.record_usage(&batch).await.unwrap();
    for chosen in 0..1_usize << FILTERS.len() {
        let mut query = all(1_000);
        let filters: Vec<_> = FILTERS
            .iter()
            .enumerate()
            .filter(|(at, _)| chosen >> at & 1 == 1)
            .map(|(_, filter)| filter)
            .collect();
        filters.iter().for_each(|(set, _)| set(&mut query));
        let mut expected: Vec<_> = batch
            .iter()
            .filter(|row| filters.iter().all(|(_, holds)| holds(row)))
            .filter(|row| query.attempts || row.outcome.is_settled())
            .cloned()
            .collect();
        query.page = Page::After(RowCursor::before(0));
        assert_eq!(store.requests(&query).await.unwrap(), expected, "{query:?}");
        expected.reverse();
        query.page = Page::Newest;
        assert_eq!(store.requests(&query).await.unwrap(), expected, "{query:?}");
    }
    for (outcome, from, expected) in [
        (Some(AttemptOutcome::Answered), None, 32),
        (None, Some(200), 96),
        (None, Some(503), 0),
        (Some(AttemptOutcome::Retried), None, 0),
    ] {
        let query = RequestQuery {
            outcome,
            status_from: from,
            ..all(1_000)
        };
        assert_eq!(ask(&*store, &query).await.len(), expected, "{query:?}");
    }
}

pub(crate) async fn who_follows_gets_what_came_after_oldest_first(place: Place) {
    let store = place.open().await;
    store.record_usage(&[row("a", 1, 10)]).await.unwrap();
    let newest = store.requests(&all(1)).await.unwrap();
    let mut query = all(2);
    query.page = Page::After(RowCursor::of(&newest[0]));
    assert!(ask(&*store, &query).await.is_empty());
    let batch = [
        row("d", 1, 13),
        row("b", 1, 11),
        row("c", 1, 12),
        row("old", 1, 9),
    ];
    store.record_usage(&batch).await.unwrap();
    assert_eq!(ask(&*store, &query).await, ["b/1", "c/1"]);
    query.page = Page::After(RowCursor::before((DAY + 12) * 1000));
    assert_eq!(ask(&*store, &query).await, ["c/1", "d/1"]);
}

pub(crate) async fn a_page_is_bounded(place: Place) {
    let store = place.open().await;
    let batch: Vec<_> = (0..1_005)
        .map(|number| row(&format!("r{number}"), 1, number))
        .collect();
    store.record_usage(&batch).await.unwrap();
    let found = store.requests(&all(u32::MAX)).await.unwrap();
    assert_eq!(found.len(), RequestQuery::MOST as usize);
}

pub(crate) async fn hostile_filters_are_only_text(place: Place) {
    let store = place.open().await;
    let mut odd = row("a", 1, 10);
    odd.user = "\0' OR 1=1 --".into();
    odd.model = "m".repeat(300).into();
    store.record_usage(&[odd.clone(), row("b", 1, 11)]).await.unwrap();
    let query = RequestQuery {
        user: Some(odd.user.to_string()),
        model: Some(odd.model.to_string()),
        ..all(10)
    };
    assert_eq!(ask(&*store, &query).await, ["a/1"]);
    let query = RequestQuery {
        channel: Some("' OR 1=1 --".to_owned()),
        ..all(10)
    };
    assert!(ask(&*store, &query).await.is_empty());
}
