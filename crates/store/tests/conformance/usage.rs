//! Usage, its sums and budgets.

use opm_store::{
    AttemptOutcome, Billed, BudgetPeriod, BudgetSpent, Retention, Store, UsageBy, UsageGroup, UsageQuery,
    UsageRow, UsageSource, UsageSums, Width,
};

use crate::place::Place;

/// 2026-11-24 00:00 UTC in Unix seconds.
pub(crate) const DAY: i64 = 1_795_478_400;

pub(crate) fn row(request: &str, attempt: i64, second: i64) -> UsageRow {
    UsageRow {
        request_id: request.into(),
        attempt,
        started_ms: (DAY + second) * 1000 + 99,
        at_ms: (DAY + second) * 1000 + 999,
        key_id: "key1".into(),
        user: "ann".into(),
        model: "gpt-5".into(),
        upstream_model: "gpt-5-2026".into(),
        channel: "openai".into(),
        format: "chat".into(),
        upstream_format: "responses".into(),
        status: 200,
        input: 100,
        output: 20,
        cached_input: 30,
        cache_write: 5,
        reasoning: 7,
        cost_pico_usd: Some(1_000),
        held: 0,
        held_cost: 0,
        billed: Billed::Yes,
        source: UsageSource::Reported,
        outcome: AttemptOutcome::Answered,
        ttft_ms: Some(250),
        total_ms: 900,
        budgets: [period("key:key1", DAY)].into(),
    }
}

fn period(subject: &str, start: i64) -> BudgetPeriod {
    BudgetPeriod {
        subject: subject.to_owned(),
        start,
    }
}

fn day(by: UsageBy) -> UsageQuery {
    UsageQuery {
        by,
        width: Width::Hour,
        since: DAY,
        until: DAY + 86_400,
        key_id: None,
        user: None,
        model: None,
        channel: None,
        limit: 100,
    }
}

async fn total(store: &dyn Store, query: UsageQuery) -> UsageSums {
    let groups = store.usage(&query).await.unwrap();
    assert!(groups.len() <= 1, "{groups:?}");
    groups
        .into_iter()
        .next()
        .map(|group| group.sums)
        .unwrap_or_default()
}

fn requests(groups: &[UsageGroup]) -> Vec<(&str, i64)> {
    groups
        .iter()
        .map(|group| (group.name.as_str(), group.sums.requests))
        .collect()
}

pub(crate) async fn an_attempt_reads_back_and_is_summed(place: Place) {
    let store = place.open().await;
    let mut failed = row("r1", 0, 10);
    failed.outcome = AttemptOutcome::Retried;
    failed.status = 503;
    failed.cost_pico_usd = None;
    failed.ttft_ms = None;
    failed.billed = Billed::Estimated;
    failed.source = UsageSource::Partial;
    failed.budgets = [].into();
    let mut answered = row("r1", 1, 11);
    store
        .record_usage(&[failed.clone(), answered.clone()])
        .await
        .unwrap();
    answered.budgets = [].into();
    assert_eq!(store.attempts("r1").await.unwrap(), [failed, answered]);
    let expected = UsageSums {
        attempts: 2,
        requests: 1,
        failures: 0,
        estimated: 1,
        unpriced: 1,
        input: 200,
        output: 40,
        cached_input: 60,
        cache_write: 10,
        reasoning: 14,
        cost_pico_usd: 1_000,
        ttft_ms: 250,
        ttft_count: 1,
        total_ms: 900,
    };
    assert_eq!(total(&*store, day(UsageBy::Channel)).await, expected);
    let minute = UsageQuery {
        width: Width::Minute,
        until: DAY + 60,
        ..day(UsageBy::Channel)
    };
    assert_eq!(total(&*store, minute).await, expected);
}

pub(crate) async fn every_outcome_reads_back_and_counts_once(place: Place) {
    let store = place.open().await;
    let outcomes = AttemptOutcome::ALL.iter().zip(0..);
    let batch: Vec<_> = outcomes
        .map(|(outcome, number)| UsageRow {
            outcome: *outcome,
            source: UsageSource::Estimated,
            budgets: [].into(),
            ..row(&format!("r{number}"), 0, number)
        })
        .collect();
    store.record_usage(&batch).await.unwrap();
    for one in &batch {
        let read = store.attempts(&one.request_id).await.unwrap();
        assert_eq!(read, std::slice::from_ref(one));
    }
    let sums = total(&*store, day(UsageBy::Key)).await;
    // One was retried; failed, cut, crashed and aborted are failures.
    assert_eq!((sums.attempts, sums.requests, sums.failures), (7, 6, 4));
    assert_eq!((sums.estimated, sums.total_ms), (7, 6 * 900));
}

pub(crate) async fn only_what_the_provider_bills_can_lack_a_price(place: Place) {
    let store = place.open().await;
    let kinds = Billed::ALL.iter().zip(0..);
    let batch: Vec<_> = kinds
        .map(|(billed, number)| UsageRow {
            billed: *billed,
            cost_pico_usd: None,
            budgets: [].into(),
            ..row(&format!("r{number}"), 0, number)
        })
        .collect();
    store.record_usage(&batch).await.unwrap();
    assert_eq!(total(&*store, day(UsageBy::Key)).await.unpriced, 2);
    for one in &batch {
        let read = store.attempts(&one.request_id).await.unwrap();
        assert_eq!(read, std::slice::from_ref(one));
    }
}

pub(crate) async fn a_batch_given_twice_counts_once(place: Place) {
    let store = place.open().await;
    let batch: Vec<_> = (0..250)
        .map(|number| row(&format!("r{number}"), 0, number))
        .collect();
    store.record_usage(&batch).await.unwrap();
    store.record_usage(&batch).await.unwrap();
    // Half of this one is known already.
    let overlap: Vec<_> = (200..300)
        .map(|number| row(&format!("r{number}"), 0, number))
        .collect();
    store.record_usage(&overlap).await.unwrap();
    let sums = total(&*store, day(UsageBy::Key)).await;
    assert_eq!(
        (sums.attempts, sums.input, sums.cost_pico_usd),
        (300, 30_000, 300_000)
    );
    assert_eq!(store.spent(&period("key:key1", DAY)).await.unwrap(), 300_000);
    store.record_usage(&[]).await.unwrap();
}

pub(crate) async fn an_attempt_twice_in_one_batch_counts_once(place: Place) {
    let store = place.open().await;
    let mut second = row("r1", 0, 4_000);
    second.input = 999;
    store
        .record_usage(&[row("r1", 0, 1), second, row("r1", 1, 1)])
        .await
        .unwrap();
    let sums = total(&*store, day(UsageBy::Key)).await;
    assert_eq!((sums.attempts, sums.input), (2, 200));
    assert_eq!(store.attempts("r1").await.unwrap()[0].input, 100);
}

pub(crate) async fn usage_is_summed_by_each_dimension_and_filtered_by_all(place: Place) {
    let store = place.open().await;
    let mut batch = Vec::new();
    for number in 0..8 {
        let mut one = row(&format!("r{number}"), 0, 10);
        let pick = |bit: i64, zero: &str, other: &str| if number & bit == 0 { zero } else { other }.into();
        (one.key_id, one.user) = (pick(1, "key1", "key2"), pick(2, "ann", "bob"));
        (one.model, one.channel) = (pick(4, "gpt", "claude"), pick(1, "openai", "anthropic"));
        one.cost_pico_usd = Some(1_000 + number);
        batch.push(one);
    }
    store.record_usage(&batch).await.unwrap();
    let by = async |by| store.usage(&day(by)).await.unwrap();
    assert_eq!(requests(&by(UsageBy::Key).await), [("key2", 4), ("key1", 4)]);
    assert_eq!(requests(&by(UsageBy::User).await), [("bob", 4), ("ann", 4)]);
    assert_eq!(requests(&by(UsageBy::Model).await), [("claude", 4), ("gpt", 4)]);
    assert_eq!(
        requests(&by(UsageBy::Channel).await),
        [("anthropic", 4), ("openai", 4)]
    );
    let filters: [fn(&mut UsageQuery); 4] = [
        |query| query.key_id = Some("key1".to_owned()),
        |query| query.user = Some("ann".to_owned()),
        |query| query.model = Some("gpt".to_owned()),
        |query| query.channel = Some("openai".to_owned()),
    ];
    let mut query = day(UsageBy::Time(86_400));
    // The last one excludes nothing more: `openai` serves `key1` only.
    for (filter, expected) in filters.into_iter().zip([4, 2, 1, 1]) {
        filter(&mut query);
        assert_eq!(
            total(&*store, query.clone()).await.requests,
            expected,
            "{query:?}"
        );
    }
    query.channel = Some("' OR 1=1 --".to_owned());
    assert_eq!(total(&*store, query).await.requests, 0);
    let first = UsageQuery {
        limit: 1,
        ..day(UsageBy::Key)
    };
    assert_eq!(requests(&store.usage(&first).await.unwrap()), [("key2", 4)]);
}

pub(crate) async fn usage_by_time_has_spans_that_begin_where_the_question_does(place: Place) {
    let store = place.open().await;
    let seconds = [0, 59, 60, 3_599, 3_600, 7_200, 86_399];
    let batch: Vec<_> = seconds
        .iter()
        .map(|second| row(&format!("r{second}"), 0, *second))
        .collect();
    store.record_usage(&batch).await.unwrap();
    let starts = |groups: &[UsageGroup]| -> Vec<(i64, i64)> {
        let start = |group: &UsageGroup| group.name.parse::<i64>().unwrap() - DAY;
        groups
            .iter()
            .map(|group| (start(group), group.sums.requests))
            .collect()
    };
    let hours = store.usage(&day(UsageBy::Time(3_600))).await.unwrap();
    assert_eq!(starts(&hours), [(0, 4), (3_600, 1), (7_200, 1), (82_800, 1)]);
    let minutes = UsageQuery {
        width: Width::Minute,
        until: DAY + 3_600,
        ..day(UsageBy::Time(60))
    };
    assert_eq!(
        starts(&store.usage(&minutes).await.unwrap()),
        [(0, 2), (60, 1), (3_540, 1)]
    );
    // A day of a zone eight hours ahead begins at 16:00 UTC of the day before.
    let ahead = UsageQuery {
        since: DAY - 28_800,
        until: DAY + 144_000,
        ..day(UsageBy::Time(86_400))
    };
    assert_eq!(
        starts(&store.usage(&ahead).await.unwrap()),
        [(-28_800, 6), (57_600, 1)]
    );
}

/// A provider that counts nonsense, or very many dollars: what comes after is recorded all the same, and questions are answered.
pub(crate) async fn the_largest_numbers_fail_no_batch(place: Place) {
    let store = place.open().await;
    for round in 0..6 {
        let absurd = UsageRow {
            input: UsageRow::MOST_TOKENS,
            output: UsageRow::MOST_TOKENS,
            cost_pico_usd: Some(UsageRow::MOST_COST),
            ..row(&format!("absurd{round}"), 1, round * 3_700)
        };
        let again = UsageRow {
            request_id: format!("again{round}").into(),
            ..absurd.clone()
        };
        store
            .record_usage(&[absurd, again, row(&format!("usual{round}"), 1, 0)])
            .await
            .unwrap();
    }
    let day = total(&*store, day(UsageBy::Model)).await;
    assert_eq!((day.requests, day.cost_pico_usd), (18, i64::MAX));
    let spent = store.spent(&period("key:key1", DAY)).await.unwrap();
    assert_eq!(spent, 4_000_000_000_000_000_000);
}

pub(crate) async fn budgets_take_the_cost_of_their_periods(place: Place) {
    let store = place.open().await;
    let mut first = row("r1", 0, 10);
    first.budgets = [period("key:key1", DAY), period("user:ann", DAY)].into();
    let mut unpriced = row("r2", 0, 10);
    unpriced.cost_pico_usd = None;
    let mut later = row("r3", 0, 90_000);
    later.budgets = [period("key:key1", DAY + 86_400)].into();
    later.cost_pico_usd = Some(5_000_000_000_000);
    store.record_usage(&[first, unpriced, later]).await.unwrap();
    let spent = |subject: &str, start, pico_usd| BudgetSpent {
        period: period(subject, start),
        pico_usd,
    };
    let expected = [
        spent("key:key1", DAY, 1_000),
        spent("key:key1", DAY + 86_400, 5_000_000_000_000),
        spent("user:ann", DAY, 1_000),
    ];
    assert_eq!(store.budgets(DAY).await.unwrap(), expected);
    assert_eq!(store.budgets(DAY + 1).await.unwrap(), expected[1..2]);
    assert_eq!(store.spent(&period("user:bob", DAY)).await.unwrap(), 0);
}

pub(crate) async fn text_from_clients_never_fails_a_batch(place: Place) {
    let store = place.open().await;
    let mut odd = row("r1", 0, 10);
    odd.user = "a\0b'; DROP TABLE opm_usage; -- \u{1F980}".into();
    odd.model = "渠".repeat(100_000).into();
    odd.upstream_model = "\u{7}\"\\\n".into();
    odd.key_id = "".into();
    odd.channel = "x".repeat(5_000).into();
    odd.budgets = [period(&"\0".repeat(5_000), DAY)].into();
    store
        .record_usage(&[odd.clone(), row("r2", 0, 10)])
        .await
        .unwrap();
    store.record_usage(std::slice::from_ref(&odd)).await.unwrap();
    let read = store.attempts("r1").await.unwrap();
    assert_eq!(
        read[0].user,
        "a\u{fffd}b'; DROP TABLE opm_usage; -- \u{1F980}".into()
    );
    assert_eq!(read[0].model, "渠".repeat(85).into());
    assert_eq!(read[0].upstream_model, "\u{7}\"\\\n".into());
    assert_eq!(store.usage(&day(UsageBy::Key)).await.unwrap().len(), 2);
    // It is found by the text that the client sent.
    let mut asked = day(UsageBy::Key);
    asked.user = Some(odd.user.to_string());
    asked.model = Some(odd.model.to_string());
    assert_eq!(total(&*store, asked).await.requests, 1);
    assert!(store.attempts("r1\0").await.unwrap().is_empty());
    assert_eq!(store.budgets(DAY).await.unwrap().len(), 2);
}

pub(crate) async fn what_is_old_is_forgotten_and_the_rest_stays(place: Place) {
    let store = place.open().await;
    // More than one transaction forgets.
    let old: Vec<_> = (0..5_050)
        .map(|number| row(&format!("o{number}"), 0, 10))
        .collect();
    let new: Vec<_> = (0..10)
        .map(|number| row(&format!("n{number}"), 0, 7_200))
        .collect();
    store.record_usage(&old).await.unwrap();
    store.record_usage(&new).await.unwrap();
    let keep = Retention {
        rows_before_ms: DAY * 1000,
        minutes_before: DAY,
        hours_before: DAY,
        budgets_before: DAY,
        most: None,
    };
    assert_eq!(store.forget_usage(&keep).await.unwrap(), 0);
    assert_eq!(store.minutes_since().await.unwrap(), i64::MIN);
    let drop_rows = Retention {
        rows_before_ms: (DAY + 3_600) * 1000,
        minutes_before: DAY + 3_600,
        ..keep
    };
    assert_eq!(store.forget_usage(&drop_rows).await.unwrap(), 5_051);
    assert_eq!(store.minutes_since().await.unwrap(), DAY + 7_200 + 60);
    assert!(store.attempts("o1").await.unwrap().is_empty());
    assert_eq!(store.attempts("n1").await.unwrap().len(), 1);
    assert_eq!(total(&*store, day(UsageBy::Key)).await.requests, 5_060);
    let minutes = UsageQuery {
        width: Width::Minute,
        ..day(UsageBy::Key)
    };
    assert_eq!(total(&*store, minutes).await.requests, 10);
    let drop_all = Retention {
        rows_before_ms: i64::MAX,
        minutes_before: i64::MAX,
        hours_before: i64::MAX,
        budgets_before: i64::MAX,
        most: None,
    };
    assert_eq!(store.forget_usage(&drop_all).await.unwrap(), 10 + 1 + 2 + 1);
    assert!(store.usage(&day(UsageBy::Key)).await.unwrap().is_empty());
    assert_eq!(store.minutes_since().await.unwrap(), i64::MIN);
}

pub(crate) async fn only_the_newest_are_kept_where_there_is_little_room(place: Place) {
    let store = place.open().await;
    // Each in a minute of its own; the last two in the second hour.
    let rows: Vec<_> = [0, 60, 120, 3_600, 3_660]
        .map(|second| row(&format!("r{second}"), 0, second))
        .into();
    store.record_usage(&rows).await.unwrap();
    let newest = |most| Retention {
        rows_before_ms: 0,
        minutes_before: 0,
        hours_before: 0,
        budgets_before: 0,
        most: Some(most),
    };
    assert_eq!(store.forget_usage(&newest(5)).await.unwrap(), 0);
    assert_eq!(store.forget_usage(&newest(2)).await.unwrap(), 3 + 3);
    assert_eq!(store.attempts("r3660").await.unwrap().len(), 1);
    assert!(store.attempts("r120").await.unwrap().is_empty());
    assert_eq!(
        total(&*store, day(UsageBy::Key)).await.requests,
        5,
        "hours are few"
    );
    assert_eq!(store.forget_usage(&newest(1)).await.unwrap(), 1 + 1 + 1);
}

pub(crate) async fn two_handles_record_the_same_sums_at_once(place: Place) {
    let handles = [place.open().await, place.open().await];
    let tasks: Vec<_> = (0..20)
        .map(|task| {
            let store = handles[task % 2].clone();
            // Every attempt is given by two tasks, in opposite orders.
            let mut batch: Vec<_> = (0..50)
                .map(|number| {
                    let mut one = row(&format!("r{}-{number}", task / 2), 0, 10);
                    one.model = format!("model{}", number % 7).into();
                    one.budgets = one
                        .budgets
                        .iter()
                        .cloned()
                        .chain([period(&format!("model{}", number % 5), DAY)])
                        .collect();
                    one
                })
                .collect();
            if task % 2 == 1 {
                batch.reverse();
            }
            tokio::spawn(async move { store.record_usage(&batch).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    let sums = total(&*handles[0], day(UsageBy::Key)).await;
    assert_eq!((sums.requests, sums.cost_pico_usd), (500, 500_000));
    assert_eq!(handles[1].spent(&period("key:key1", DAY)).await.unwrap(), 500_000);
}
