//! Usage, costs and requests.

use opm_store::{AttemptOutcome, Billed, UsageRow, UsageSource};
use serde_json::{Value, json};

use crate::fake::{NOW, World};

/// A request of the key `static:file` that ended `age` seconds ago.
fn row(request: &str, age: i64) -> UsageRow {
    UsageRow {
        request_id: request.into(),
        attempt: 1,
        started_ms: (NOW - age) * 1_000 - 900,
        at_ms: (NOW - age) * 1_000,
        key_id: "static:file".into(),
        user: "ann".into(),
        model: "gpt".into(),
        upstream_model: "gpt-1".into(),
        channel: "one".into(),
        format: "messages".into(),
        upstream_format: "chat".into(),
        status: 200,
        input: 1_000,
        output: 100,
        cached_input: 300,
        cache_write: 50,
        reasoning: 20,
        cost_pico_usd: Some(8_112_500_000),
        held: 0,
        held_cost: 0,
        billed: Billed::Yes,
        source: UsageSource::Reported,
        outcome: AttemptOutcome::Answered,
        ttft_ms: Some(301),
        total_ms: 900,
        budgets: [].into(),
    }
}

async fn filled(rows: &[UsageRow]) -> World {
    let world = World::new().await;
    world.store.record_usage(rows).await.unwrap();
    world
}

async fn get(world: &World, path: &str) -> Value {
    let answer = world.call(&format!("GET {path}"), "").await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    answer.json()
}

/// `name requests cost` of each group.
fn groups(report: &Value) -> Vec<String> {
    let groups = report["groups"].as_array().unwrap().iter();
    let line = |group: &Value| {
        let cost = group["cost_usd"].as_str().unwrap();
        format!("{} {} {cost}", group["name"].as_str().unwrap(), group["requests"])
    };
    groups.map(line).collect()
}

fn ids(list: &Value) -> Vec<String> {
    let requests = list["requests"].as_array().unwrap().iter();
    let line = |row: &Value| format!("{}/{}", row["request_id"].as_str().unwrap(), row["attempt"]);
    requests.map(line).collect()
}

#[tokio::test]
async fn usage_is_summed_by_each_dimension_with_exact_cost_and_means() {
    let failed = UsageRow {
        outcome: AttemptOutcome::Failed,
        status: 502,
        source: UsageSource::Partial,
        held: 0,
        held_cost: 0,
        billed: Billed::Estimated,
        cost_pico_usd: None,
        ttft_ms: None,
        total_ms: 100,
        model: "claude".into(),
        channel: "two".into(),
        user: "".into(),
        ..row("b", 60)
    };
    let retried = UsageRow {
        outcome: AttemptOutcome::Retried,
        cost_pico_usd: Some(1),
        ttft_ms: None,
        ..row("a", 60)
    };
    let answered = UsageRow {
        attempt: 2,
        ..row("a", 60)
    };
    let world = filled(&[failed, retried, answered]).await;
    let report = get(&world, "usage?by=model").await;
    assert_eq!(groups(&report), ["gpt 1 0.008112500001", "claude 1 0.00"]);
    assert_eq!(
        report["total"],
        json!({
            "requests": 2, "attempts": 3, "failures": 1, "estimated": 1, "unpriced": 1,
            "input_tokens": 3_000, "cached_input_tokens": 900, "cache_write_tokens": 150,
            "output_tokens": 300, "reasoning_tokens": 60,
            "cost_usd": "0.008112500001", "cost_pico_usd": 8_112_500_001_i64,
            "average_time_to_first_token_ms": 301, "average_total_ms": 500,
        })
    );
    assert_eq!(report["groups"][1]["average_time_to_first_token_ms"], json!(null));
    assert_eq!(
        (&report["width"], &report["more"]),
        (&json!(3_600), &json!(false))
    );
    assert_eq!(
        get(&world, "usage").await,
        report,
        "by model unless told otherwise"
    );
    let by = async |by: &str| groups(&get(&world, &format!("usage?by={by}")).await);
    assert_eq!(by("user").await, ["ann 1 0.008112500001", " 1 0.00"]);
    assert_eq!(by("channel").await, ["one 1 0.008112500001", "two 1 0.00"]);
    let one = get(&world, "usage?by=channel&limit=1").await;
    assert_eq!(
        (one["groups"].as_array().unwrap().len(), &one["more"]),
        (1, &json!(true))
    );
    assert_eq!(
        one["total"], report["total"],
        "the whole, also of what is not shown"
    );
}

#[tokio::test]
async fn usage_of_client_keys_comes_with_their_names_and_is_asked_for_by_them() {
    let world = World::new().await;
    let make = async || world.call("POST keys", r#"{"name":"team"}"#).await.json()["id"].clone();
    let revoked = make().await.as_str().unwrap().to_owned();
    world.call(&format!("DELETE keys/{revoked}"), "").await;
    let live = make().await.as_str().unwrap().to_owned();
    let of = |request: &str, key: &str, cost| UsageRow {
        key_id: key.into(),
        cost_pico_usd: Some(cost),
        ..row(request, 60)
    };
    let batch = [
        of("a", &live, 5),
        of("b", &revoked, 4),
        of("c", "static:file", 3),
        of("d", "", 2),
        of("e", "gone", 1),
    ];
    world.store.record_usage(&batch).await.unwrap();
    let report = get(&world, "usage?by=key").await;
    let named: Vec<_> = report["groups"].as_array().unwrap().iter().collect();
    let pairs: Vec<_> = named
        .iter()
        .map(|group| (group["name"].as_str().unwrap(), group["key_name"].as_str()))
        .collect();
    assert_eq!(
        pairs,
        [
            (live.as_str(), Some("team")),
            (&revoked, Some("team")),
            ("static:file", Some("file")),
            ("", None),
            ("gone", None),
        ]
    );
    for (asked, request) in [
        ("team", "a/1"),
        (&live, "a/1"),
        (&revoked, "b/1"),
        ("file", "c/1"),
        ("static%3Afile", "c/1"),
        ("", "d/1"),
    ] {
        let list = get(&world, &format!("requests?key={asked}")).await;
        assert_eq!(ids(&list), [request], "{asked}");
        let usage = get(&world, &format!("usage?key={asked}")).await;
        assert_eq!(usage["total"]["requests"], 1, "{asked}");
    }
    let list = get(&world, "requests?key=team").await;
    assert_eq!(list["requests"][0]["key_name"], "team");
    assert_eq!(get(&world, "usage?key=nobody").await["total"]["requests"], 0);
}

#[tokio::test]
async fn usage_by_time_has_days_of_the_calendar_or_of_a_zone() {
    // 2030-03-17 17:46:40 UTC.
    let world = filled(&[row("a", 60), row("b", 17 * 3_600), row("c", 18 * 3_600)]).await;
    let report = get(&world, "usage?by=time&since=2d&step=1d").await;
    assert_eq!(
        groups(&report),
        [
            "2030-03-16T00:00:00Z 1 0.0081125",
            "2030-03-17T00:00:00Z 2 0.016225"
        ]
    );
    assert_eq!(
        (&report["step"], &report["width"]),
        (&json!(86_400), &json!(3_600))
    );
    assert_eq!(report["groups"][1]["start"], 1_899_936_000);
    let zone = get(&world, "usage?by=time&since=2030-03-16T00:00:00%2B08:00&step=1d").await;
    assert_eq!(
        groups(&zone),
        [
            "2030-03-16T16:00:00Z 2 0.016225",
            "2030-03-17T16:00:00Z 1 0.0081125"
        ]
    );
    let minutes = get(
        &world,
        "usage?by=time&since=30m&step=1m&user=ann&model=gpt&channel=one",
    )
    .await;
    assert_eq!(groups(&minutes), ["2030-03-17T17:45:00Z 1 0.0081125"]);
    assert_eq!(minutes["width"], 60);
    assert!(groups(&get(&world, "usage?by=time&user=bob").await).is_empty());
}

#[tokio::test]
async fn requests_are_read_page_by_page_and_followed() {
    let rows: Vec<_> = (0..5)
        .map(|number| row(&format!("r{number}"), 50 - number))
        .collect();
    let world = filled(&rows).await;
    let first = get(&world, "requests?limit=2").await;
    assert_eq!(ids(&first), ["r4/1", "r3/1"]);
    let next = first["next"].as_str().unwrap();
    let second = get(&world, &format!("requests?limit=3&before={next}")).await;
    assert_eq!(ids(&second), ["r2/1", "r1/1", "r0/1"]);
    let next = second["next"].as_str().unwrap();
    let third = get(&world, &format!("requests?before={next}")).await;
    assert_eq!((ids(&third).len(), &third["next"]), (0, &json!(null)));
    assert_eq!(get(&world, "requests").await["next"], json!(null));
    let newest = first["newest"].as_str().unwrap();
    let quiet = get(&world, &format!("requests?after={newest}")).await;
    assert_eq!((ids(&quiet).len(), &quiet["next"]), (0, &json!(newest)));
    world
        .store
        .record_usage(&[row("new", 1), row("newer", 0)])
        .await
        .unwrap();
    let after = get(&world, &format!("requests?after={newest}")).await;
    assert_eq!(ids(&after), ["new/1", "newer/1"]);
    let next = after["next"].as_str().unwrap();
    assert!(ids(&get(&world, &format!("requests?after={next}")).await).is_empty());
    let since = format!("requests?after={}", (NOW - 47) * 1_000);
    assert_eq!(
        ids(&get(&world, &since).await),
        ["r3/1", "r4/1", "new/1", "newer/1"]
    );
}

#[tokio::test]
async fn requests_are_filtered() {
    let failed = UsageRow {
        outcome: AttemptOutcome::Failed,
        status: 502,
        channel: "two".into(),
        ..row("b", 7_200)
    };
    let retried = UsageRow {
        outcome: AttemptOutcome::Retried,
        status: 429,
        user: "bob".into(),
        model: "claude".into(),
        ..row("c", 30)
    };
    let world = filled(&[row("a", 60), failed, retried]).await;
    for (query, found) in [
        ("", &["a/1", "b/1"] as &[_]),
        ("attempts=true", &["c/1", "a/1", "b/1"]),
        ("attempts=false", &["a/1", "b/1"]),
        ("status=400", &["b/1"]),
        ("status=400&attempts=true", &["c/1", "b/1"]),
        ("outcome=failed", &["b/1"]),
        ("outcome=retried", &["c/1"]),
        ("since=1h", &["a/1"]),
        ("until=1h", &["b/1"]),
        ("user=bob&attempts=true", &["c/1"]),
        ("model=claude&attempts=true", &["c/1"]),
        ("channel=two&user=ann&key=file", &["b/1"]),
        ("user=%00", &[]),
    ] {
        assert_eq!(
            ids(&get(&world, &format!("requests?{query}")).await),
            found,
            "{query}"
        );
    }
}

#[tokio::test]
async fn a_request_is_shown_with_all_its_attempts() {
    let retried = UsageRow {
        outcome: AttemptOutcome::Retried,
        status: 503,
        held: 0,
        held_cost: 0,
        billed: Billed::No,
        cost_pico_usd: None,
        ttft_ms: None,
        ..row("req_1", 61)
    };
    let answered = UsageRow {
        attempt: 2,
        ..row("req_1", 60)
    };
    let world = filled(&[retried.clone(), answered]).await;
    let shown = get(&world, "requests/req_1").await;
    assert_eq!(
        (&shown["settled"], &shown["cost_usd"], &shown["cost_pico_usd"]),
        (&json!(true), &json!("0.0081125"), &json!(8_112_500_000_i64))
    );
    assert_eq!(shown["attempts"].as_array().unwrap().len(), 2);
    assert_eq!(
        shown["attempts"][0],
        json!({
            "request_id": "req_1", "attempt": 1, "outcome": "retried", "status": 503,
            "started_ms": (NOW - 61) * 1_000 - 900, "ended_ms": (NOW - 61) * 1_000,
            "key_id": "static:file", "key_name": "file", "user": "ann", "model": "gpt", "upstream_model": "gpt-1",
            "channel": "one", "format": "messages", "upstream_format": "chat", "billed": "no", "usage_source": "reported",
            "input_tokens": 1_000, "cached_input_tokens": 300, "cache_write_tokens": 50, "output_tokens": 100,
            "reasoning_tokens": 20, "cost_usd": null, "cost_pico_usd": null, "time_to_first_token_ms": null, "total_ms": 900,
        })
    );
    let running = filled(&[retried]).await;
    assert_eq!(get(&running, "requests/req_1").await["settled"], false);
    let long = "x".repeat(3_000);
    for id in ["req_2", "%00", &long] {
        let answer = world.call(&format!("GET requests/{id}"), "").await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (404, "not_found"),
            "{id}"
        );
        assert!(answer.text.len() < 300, "{}", answer.text);
    }
}

#[tokio::test]
async fn a_wrong_question_is_told_what_is_wrong() {
    let world = World::new().await;
    for (query, message) in [
        ("usage?by=day", "`by`: unknown word"),
        ("usage?buy=key", "unknown member `buy`"),
        (
            "usage?since=yesterday",
            "`since`: it is neither an age nor a time",
        ),
        ("usage?since=1h&until=2h", "`since`: it is not before `until`"),
        ("usage?step=1h", "`step`: it goes with sums by time only"),
        (
            "usage?by=time&since=30d&step=5m",
            "`step`: there are 8641 spans between `since` and `until`",
        ),
        (
            "usage?by=time&since=400d&step=1h",
            "`step`: there are 9601 spans between `since` and `until`",
        ),
        (
            "usage?by=time&limit=3",
            "`step`: there are 8 spans between `since` and `until`",
        ),
        ("usage?limit=0", "`limit`: 0 is out of bounds"),
        ("usage?limit=1001", "`limit`: 1001 is out of bounds"),
        ("usage?limit=x", "`limit`: expected a number"),
        ("requests?limit=1001", "`limit`: 1001 is out of bounds"),
        ("requests?limit=-1", "`limit`: expected a number"),
        ("requests?before=x", "`before`: it is no place in the list"),
        (
            "requests?before=1&after=2",
            "`after`: it cannot be given together with `before`",
        ),
        ("requests?status=99", "`status`: 99 is no HTTP status"),
        ("requests?status=bad", "`status`: expected a number"),
        ("requests?outcome=ok", "`outcome`: no request ends so"),
        ("requests?attempts=yes", "`attempts`: expected true or false"),
        ("requests?until=7", "`until`: it is neither an age nor a time"),
    ] {
        let answer = world.call(&format!("GET {query}"), "").await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (422, "invalid"),
            "{query}: {}",
            answer.text
        );
        assert_eq!(answer.json()["error"]["message"], message, "{query}");
    }
    let answer = world.call("GET requests?outcome=crashd", "").await;
    assert_eq!(answer.json()["error"]["help"], "did you mean `crashed`?");
    let key = opm_core::ClientKey::generate(&[7; 40]);
    for path in ["usage?key", "requests?key", "requests?user"] {
        let answer = world
            .call(&format!("GET {path}={}", key.secret().expose()), "")
            .await;
        assert_eq!(answer.status, 422, "{path}");
        assert!(!answer.text.contains(key.secret().expose()));
    }
}

#[tokio::test]
async fn without_its_store_nothing_is_answered() {
    let world = World::new().await;
    world.store.close().await;
    for path in ["usage", "requests", "requests/req_1"] {
        let answer = world.call(&format!("GET {path}"), "").await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (503, "store_unavailable"),
            "{path}"
        );
    }
}
