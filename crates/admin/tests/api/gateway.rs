//! The gateway as a whole, explanations and the audit log.

use opm_admin::control::{Ask, ChannelOrigin, Severity};
use serde_json::json;

use crate::fake::{World, channel, problem};

#[tokio::test]
async fn status_and_health_are_those_of_the_gateway() {
    let world = World::new().await;
    assert_eq!(world.call("GET status", "").await.json()["version"], "1.2.3");
    let health = world.call("GET health", "").await;
    assert_eq!(
        (health.status, health.json()["status"].as_str().unwrap()),
        (200, "ok")
    );
    let drained = world.call("POST drain", "").await;
    assert_eq!((drained.status, &drained.json()["draining"]), (202, &json!(true)));
    assert_eq!(world.call("GET health", "").await.json()["status"], "draining");
    world.fake.channels.lock().clear();
    let health = world.call("GET health", "").await;
    assert_eq!(
        (health.status, health.json()["status"].as_str().unwrap()),
        (503, "failing")
    );
    assert_eq!(world.audit().await, ["admin gateway.drain gateway"]);
}

#[tokio::test]
async fn a_reload_says_what_changed_or_every_problem() {
    let world = World::new().await;
    let reloaded = world.call("POST reload", "").await;
    assert_eq!(reloaded.json()["changed"], json!(["channel a: weight"]));
    *world.fake.problems.lock() = vec![problem(Severity::Error, "bad"), problem(Severity::Warning, "odd")];
    let refused = world.call("POST reload", "").await;
    assert_eq!(refused.status, 422);
    assert_eq!(
        refused.json()["error"]["problems"][0]["line"],
        1,
        "places in the file are kept"
    );
    assert_eq!(refused.json()["error"]["problems"].as_array().unwrap().len(), 2);
    assert_eq!(world.audit().await, ["admin gateway.reload gateway"]);
}

#[tokio::test]
async fn a_question_reaches_the_gateway_whole() {
    let world = World::new().await;
    let line = "GET explain?model=a%2Fb&format=gemini&key=alice&header.X-Tier=gold&header.x-a=%26";
    assert_eq!(world.call(line, "").await.json()["model"], "a/b");
    let headers = vec![
        ("x-tier".to_owned(), "gold".to_owned()),
        ("x-a".to_owned(), "&".to_owned()),
    ];
    let asked = Ask {
        model: "a/b".into(),
        format: Some("gemini".into()),
        key: Some("alice".into()),
        headers,
    };
    assert_eq!(*world.fake.asked.lock(), [asked]);
    for (query, message) in [
        ("", "`model` is missing"),
        ("?modle=m", "unknown member `modle`"),
        ("?model=m&format=chatt", "`format`: unknown format"),
    ] {
        let answer = world.call(&format!("GET explain{query}"), "").await;
        assert_eq!(answer.status, 422, "{query}");
        assert_eq!(answer.json()["error"]["message"], message);
    }
    let key = opm_core::ClientKey::generate(&[7; 40]);
    let answer = world
        .call(&format!("GET explain?model=m&key={}", key.secret().expose()), "")
        .await;
    assert_eq!(answer.status, 422, "a secret in a URL");
    assert!(!answer.text.contains(key.secret().expose()));
}

#[tokio::test]
async fn a_recent_request_is_explained_and_a_forgotten_one_is_not() {
    let world = World::new().await;
    let known = world.call("GET explain/req_known", "").await;
    assert_eq!(
        (known.status, &known.json()["request_id"]),
        (200, &json!("req_known"))
    );
    assert_eq!(world.call("GET explain/req_other", "").await.status, 404);
}

#[tokio::test]
async fn the_audit_log_is_read_page_by_page() {
    let world = World::new().await;
    world.fake.channels.lock().push(channel("b", ChannelOrigin::File));
    for name in ["filed", "b", "filed"] {
        assert_eq!(
            world
                .call(&format!("POST channels/{name}/disable"), "")
                .await
                .status,
            200
        );
    }
    let first = world.call("GET audit?limit=2", "").await.json();
    assert_eq!(first["entries"][0]["object"], "filed");
    assert_eq!(first["entries"][1]["object"], "b");
    assert_eq!(first["entries"][0]["actor"], "admin");
    let next = first["next"].as_i64().unwrap();
    let second = world
        .call(&format!("GET audit?limit=2&before={next}"), "")
        .await
        .json();
    assert_eq!(second["entries"].as_array().unwrap().len(), 1);
    assert_eq!(second["next"], json!(null));
    for query in ["limit=0", "limit=1001", "limit=x", "before=x", "befor=1"] {
        assert_eq!(
            world.call(&format!("GET audit?{query}"), "").await.status,
            422,
            "{query}"
        );
    }
}
