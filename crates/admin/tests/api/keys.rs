//! Client keys.

use opm_core::client_key::{mac, parse};
use serde_json::json;

use crate::fake::{NOW, World};

const CREATE: &str = r#"{"name":"alice","channels":["filed"],"models":["gpt-*"],"networks":["10.0.0.0/8","192.0.2.7"],"expires":"2031-01-01"}"#;

#[tokio::test]
async fn a_key_is_shown_once_and_kept_as_its_hash_only() {
    let world = World::new().await;
    let answer = world.call("POST keys", CREATE).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    let issued = answer.json();
    let (id, key) = (issued["id"].as_str().unwrap(), issued["key"].as_str().unwrap());
    assert_eq!(parse(key).unwrap().id, id);
    let stored = world.store.key(id).await.unwrap().unwrap();
    assert_eq!(stored.mac, mac(world.secrets.pepper.key(), key));
    assert_eq!(stored.ip_ranges, ["10.0.0.0/8", "192.0.2.7/32"]);
    let secret = &key[16..];
    for line in ["GET keys", &format!("GET keys/{id}"), "GET audit", "GET status"] {
        let answer = world.call(line, "").await;
        assert_eq!(answer.status, 200);
        assert!(!answer.text.contains(secret), "{line}");
    }
    let shown = world.call(&format!("GET keys/{id}"), "").await.json();
    assert_eq!(shown["state"], "active");
    assert_eq!(shown["channels"], json!(["filed"]));
    assert_eq!(shown["created_at"], NOW);
    assert_eq!(world.audit().await, [format!("admin key.create {id}")]);
    assert_eq!(world.refreshed(), 1);
}

#[tokio::test]
async fn a_key_can_be_changed_rotated_and_revoked() {
    let world = World::new().await;
    let issued = world.call("POST keys", CREATE).await.json();
    let (id, first) = (issued["id"].as_str().unwrap(), issued["key"].as_str().unwrap());
    let path = format!("keys/{id}");
    let body = r#"{"name":"bob","channels":null,"expires":null,"enabled":false}"#;
    let changed = world.call(&format!("PATCH {path}"), body).await.json();
    assert_eq!(changed["name"], "bob");
    assert_eq!(
        (&changed["channels"], &changed["expires_at"]),
        (&json!(null), &json!(null))
    );
    assert_eq!(
        (&changed["models"], &changed["state"]),
        (&json!(["gpt-*"]), &json!("disabled"))
    );
    let rotated = world.call(&format!("POST {path}/rotate"), "").await.json();
    let second = rotated["key"].as_str().unwrap();
    assert!(second != first && parse(second).unwrap().id == id);
    let stored = world.store.key(id).await.unwrap().unwrap();
    assert_eq!(stored.mac, mac(world.secrets.pepper.key(), second));
    for _ in 0..2 {
        let revoked = world.call(&format!("DELETE {path}"), "").await;
        assert_eq!(
            (revoked.status, &revoked.json()["state"]),
            (200, &json!("revoked"))
        );
    }
    for (line, body) in [
        (format!("PATCH {path}"), r#"{"enabled":true}"#),
        (format!("POST {path}/rotate"), ""),
    ] {
        let answer = world.call(&line, body).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (409, "revoked"),
            "{line}"
        );
    }
    let done = ["create", "update", "rotate", "revoke"].map(|word| format!("admin key.{word} {id}"));
    assert_eq!(world.audit().await, done);
    assert_eq!(world.refreshed(), 5);
}

#[tokio::test]
async fn what_a_key_cannot_be_is_said() {
    let world = World::new().await;
    for (body, status, message) in [
        (r#"{"name":" "}"#, 422, "`name`: it must have"),
        (
            r#"{"name":"a","channels":["fild"]}"#,
            422,
            "`channels`: no channel is named `fild`",
        ),
        (
            r#"{"name":"a","channels":[]}"#,
            422,
            "`channels`: the key could use no channel",
        ),
        (
            r#"{"name":"a","networks":["10.0.0.0/40"]}"#,
            422,
            "`networks`: `10.0.0.0/40` is not a network",
        ),
        (r#"{"name":"a","models":[""]}"#, 422, "`models`: a name must have"),
        (
            r#"{"name":"a","expires":"tomorrow"}"#,
            422,
            "`expires`: `tomorrow` is not a date",
        ),
        (
            r#"{"name":"a","expires":"2001-01-01"}"#,
            422,
            "`expires`: `2001-01-01` has passed",
        ),
    ] {
        let answer = world.call("POST keys", body).await;
        let error = &answer.json()["error"];
        assert_eq!(answer.status, status, "{body}");
        assert!(error["message"].as_str().unwrap().starts_with(message), "{error}");
        assert!(error["help"].is_string());
    }
    assert_eq!(world.call("POST keys", CREATE).await.status, 201);
    let again = world.call("POST keys", CREATE).await;
    assert_eq!((again.status, again.code().as_str()), (409, "taken"));
    for line in [
        "GET keys/x",
        "PATCH keys/x",
        "DELETE keys/x",
        "POST keys/x/rotate",
    ] {
        let answer = world.call(line, r#"{"enabled":true}"#).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (404, "not_found"),
            "{line}"
        );
    }
    let nothing = world.call("PATCH keys/x", "{}").await;
    assert_eq!(nothing.status, 422);
}

#[tokio::test]
async fn a_change_that_is_stored_but_not_in_force_says_why() {
    let world = World::new().await;
    *world.fake.failing.lock() = Some("store says\r\nno — später".into());
    let answer = world.call("POST keys", r#"{"name":"a"}"#).await;
    assert_eq!(answer.status, 201);
    assert_eq!(answer.header("x-opm-pending"), "store says??no ? sp?ter");
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_an_error_of_its_own() {
    let world = World::new().await;
    world.store.close().await;
    let answer = world.call("GET keys", "").await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (503, "store_unavailable")
    );
    let health = world.call("GET health", "").await;
    assert_eq!((health.status, &health.json()["store"]), (503, &json!(false)));
    assert_eq!(world.call("POST keys", r#"{"name":"a"}"#).await.status, 503);
}

#[tokio::test]
async fn limits_and_budgets_are_kept_as_written_shown_and_changed() {
    let world = World::new().await;
    let body = r#"{"name":"a","limits":{"tpm": "200k","window":"60m"},"budget":{"usd":50.250000000001,"per":"month"}}"#;
    let issued = world.call("POST keys", body).await;
    assert_eq!(issued.status, 201, "{}", issued.text);
    let id = issued.json()["id"].as_str().unwrap().to_owned();
    let stored = async || world.store.key(&id).await.unwrap().unwrap();
    // Money keeps its digits.
    assert_eq!(
        stored().await.budget.unwrap(),
        r#"{"usd":50.250000000001,"per":"month"}"#
    );
    let shown = world.call(&format!("GET keys/{id}"), "").await;
    assert!(
        shown.text.contains(r#""limits":{"tpm": "200k","window":"60m"}"#),
        "{}",
        shown.text
    );
    let listed = world.call("GET keys", "").await;
    assert!(listed.text.contains("50.250000000001"), "{}", listed.text);
    let path = format!("PATCH keys/{id}");
    let changed = world.call(&path, r#"{"limits":{"rpm":5}}"#).await.json();
    assert_eq!(changed["limits"], json!({"rpm": 5}));
    assert_eq!(changed["budget"]["per"], "month");
    let changed = world
        .call(&path, r#"{"limits":null,"budget":[{"usd":1,"per":"day"}]}"#)
        .await
        .json();
    assert_eq!(
        (&changed["limits"], &changed["budget"]),
        (&json!(null), &json!([{"usd": 1, "per": "day"}]))
    );
    assert_eq!(stored().await.limits, None);
    let audit = world.call("GET audit", "").await;
    assert!(audit.text.contains(r#""limits":{"rpm":5}"#), "{}", audit.text);
}

#[tokio::test]
async fn wrong_limits_change_nothing_and_every_problem_has_its_pointer() {
    let world = World::new().await;
    let good = world
        .call("POST keys", r#"{"name":"a","limits":{"rpm":5}}"#)
        .await
        .json();
    let path = format!("PATCH keys/{}", good["id"].as_str().unwrap());
    for (members, messages) in [
        (
            r#""limits":{"tpm":0}"#,
            &["/limits/tpm: the number is out of range"] as &[_],
        ),
        (r#""limits":{"tmp":5}"#, &["/limits/tmp: unknown key `tmp`"]),
        (
            r#""limits":"200k""#,
            &["/limits: `limits` must be a mapping, found a text"],
        ),
        (r#""limits":{}"#, &["/limits: `limits` limits nothing"]),
        (r#""budget":{"usd":1}"#, &["/budget: a budget needs `per`"]),
        (
            r#""limits":{"rpm":-1},"budget":[{"usd":1,"per":"day"},{"usd":"x","per":"week"}]"#,
            &[
                "/limits/rpm: ",
                "/budget/1/usd: ",
                "/budget/1/per: unknown word `week`",
            ],
        ),
    ] {
        for answer in [
            world
                .call("POST keys", &format!(r#"{{"name":"b",{members}}}"#))
                .await,
            world.call(&path, &format!("{{{members}}}")).await,
        ] {
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (422, "invalid"),
                "{members}"
            );
            let error = &answer.json()["error"];
            let found: Vec<&str> = error["problems"]
                .as_array()
                .unwrap()
                .iter()
                .map(|problem| problem["message"].as_str().unwrap())
                .collect();
            assert_eq!(found.len(), messages.len(), "{error}");
            for (found, message) in found.iter().zip(messages) {
                assert!(found.starts_with(message), "{error}");
            }
            assert!(
                error["message"].as_str().unwrap().contains(messages[0]),
                "{error}"
            );
        }
    }
    let long = format!(r#"{{"name":"b","limits":{{"rpm":5{}}}}}"#, " ".repeat(5000));
    assert_eq!(world.call("POST keys", &long).await.status, 422);
    let keys = world.store.keys().await.unwrap();
    assert_eq!((keys.len(), keys[0].limits.as_deref()), (1, Some(r#"{"rpm":5}"#)));
}

#[tokio::test]
async fn a_stored_limit_that_is_no_json_is_shown_and_not_hidden() {
    let world = World::new().await;
    let good = world.call("POST keys", r#"{"name":"a"}"#).await.json();
    let id = good["id"].as_str().unwrap();
    let change = opm_store::KeyChange {
        limits: Some(Some("tpm: 5".into())),
        ..opm_store::KeyChange::default()
    };
    world.store.update_key(id, change).await.unwrap();
    let shown = world.call(&format!("GET keys/{id}"), "").await.json();
    assert_eq!(shown["limits"], "tpm: 5");
}
