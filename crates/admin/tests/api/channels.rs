//! Channels and routes.

use opm_admin::control::{ChannelOrigin, Severity};
use serde_json::json;

use crate::fake::{World, channel, problem};

const KEY: &str = "sk-canary-0123456789abcdefXYZ";

fn body(base_url: &str) -> String {
    format!(r#"{{"format":"openai","base_url":"{base_url}","models":{{"b":"x","a":"y"}},"keys":["{KEY}"]}}"#)
}

#[tokio::test]
async fn a_channel_is_stored_as_written_and_its_keys_are_sealed() {
    let world = World::new().await;
    let created = world
        .call(
            "POST channels",
            &body("https://one.example").replacen('{', r#"{"name":"new","#, 1),
        )
        .await;
    assert_eq!(created.status, 201, "{}", created.text);
    let stored = world.store.channels().await.unwrap();
    assert_eq!(
        stored[0].definition,
        r#"{"format":"openai","base_url":"https://one.example","models":{"b":"x","a":"y"}}"#
    );
    let opened = world
        .secrets
        .vault
        .open("new", &stored[0].provider_keys[0])
        .unwrap();
    assert_eq!(opened.expose(), KEY);
    let shown = world.call("GET channels/new", "").await;
    assert_eq!(shown.json()["stored"]["keys"], json!(["sk-…fXYZ"]));
    assert!(
        shown.text.contains(r#""models":{"b":"x","a":"y"}"#),
        "order is kept: {}",
        shown.text
    );
    for line in [
        "GET channels",
        "GET channels/new",
        "GET audit",
        "GET explain?model=m",
        "POST channels/new/drain",
    ] {
        let answer = world.call(line, "").await;
        assert_eq!(answer.status, 200, "{line}");
        assert!(!answer.text.contains("0123456789abcdef"), "{line}");
    }
    assert_eq!(
        world.audit().await,
        ["admin channel.put new", "admin channel.drain new"]
    );
    assert_eq!(world.refreshed(), 2);
}

#[tokio::test]
async fn a_channel_is_replaced_whole_and_keeps_its_keys_only_where_it_is() {
    let world = World::new().await;
    assert_eq!(
        world
            .call("PUT channels/new", &body("https://one.example"))
            .await
            .status,
        201
    );
    let same = r#"{"base_url":"https://one.example","format":"openai","weight":3}"#;
    assert_eq!(world.call("PUT channels/new", same).await.status, 200);
    let stored = world.store.channels().await.unwrap();
    assert_eq!((stored.len(), stored[0].provider_keys.len()), (1, 1));
    for moved in [
        r#"{"format":"openai","base_url":"https://other.example"}"#,
        r#"{"format":"openai"}"#,
        r#"{"format":"gemini","base_url":"https://one.example"}"#,
    ] {
        let answer = world.call("PUT channels/new", moved).await;
        assert_eq!(answer.status, 422, "{moved}");
        assert!(
            answer.json()["error"]["message"]
                .as_str()
                .unwrap()
                .starts_with("`keys` is missing")
        );
    }
    let without = r#"{"format":"openai","base_url":"https://other.example","keys":[]}"#;
    assert_eq!(world.call("PUT channels/new", without).await.status, 200);
    assert!(world.store.channels().await.unwrap()[0].provider_keys.is_empty());
}

#[tokio::test]
async fn channels_of_the_file_are_switched_but_not_replaced() {
    let world = World::new().await;
    for (line, send) in [
        ("PUT channels/filed", body("https://a.example")),
        ("DELETE channels/filed", String::new()),
    ] {
        let answer = world.call(line, &send).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (409, "channel_of_file"),
            "{line}"
        );
        assert!(answer.text.contains("the config file"));
    }
    let taken = world
        .call("POST channels", r#"{"name":"filed","format":"openai"}"#)
        .await;
    assert_eq!((taken.status, taken.code().as_str()), (409, "taken"));
    for (word, state) in [
        ("drain", "draining"),
        ("disable", "disabled"),
        ("enable", "enabled"),
    ] {
        assert_eq!(
            world
                .call(&format!("POST channels/filed/{word}"), "")
                .await
                .status,
            200
        );
        let states = world.store.channel_states().await.unwrap();
        let state_now = states
            .iter()
            .find(|(name, _)| name == "filed")
            .map(|(_, state)| state.as_str());
        assert_eq!(state_now.unwrap_or("enabled"), state);
    }
    for word in ["enable", "disable", "drain", "test"] {
        assert_eq!(
            world
                .call(&format!("POST channels/nobody/{word}"), "")
                .await
                .status,
            404
        );
    }
}

#[tokio::test]
async fn a_definition_that_cannot_be_used_changes_nothing() {
    let world = World::new().await;
    *world.fake.problems.lock() = vec![problem(Severity::Error, "unknown key `wieght`")];
    let answer = world
        .call("PUT channels/new", r#"{"format":"openai","wieght":1}"#)
        .await;
    let error = &answer.json()["error"];
    assert_eq!(answer.status, 422);
    assert_eq!(
        error["message"],
        "the channel cannot be used: unknown key `wieght`"
    );
    assert_eq!(error["help"], "did you mean `weight`?");
    assert_eq!(
        error["problems"][0]["line"],
        json!(null),
        "a place in a body that was taken apart"
    );
    assert_eq!(world.call("PUT routes", "{}").await.status, 422);
    assert!(world.store.channels().await.unwrap().is_empty());
    assert_eq!(world.store.routes().await.unwrap(), None);
    assert!(world.audit().await.is_empty() && world.refreshed() == 0);
}

#[tokio::test]
async fn what_must_not_stand_in_a_definition_is_refused_without_repeating_it() {
    let world = World::new().await;
    for (send, message) in [
        (
            r#"{"format":"openai","keys":"sk-canary"}"#,
            "`keys`: expected a sequence",
        ),
        (
            r#"{"format":"openai","keys":[{"sk-canary":1}]}"#,
            "`keys.[0]`: expected a string",
        ),
        (
            r#"{"format":"openai","keys":["${OPENAI_API_KEY}"]}"#,
            "`keys.[0]`: variables are not resolved",
        ),
        (
            r#"{"format":"openai","keys":["sk-canary\r\nx: y"]}"#,
            "`keys.[0]`: not a provider key",
        ),
        (
            r#"{"format":"openai","headers":{"Authorization":"sk-canary"}}"#,
            "`headers`: `Authorization` carries",
        ),
        (r#"{"name":"other","format":"openai"}"#, "`name` differs"),
    ] {
        let answer = world.call("PUT channels/new", send).await;
        assert_eq!(answer.status, 422, "{send}");
        let error = answer.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(error.starts_with(message), "{error}");
        assert!(!answer.text.contains("sk-canary"), "{}", answer.text);
    }
    for name in ["a%20b", "a%2Fb", "%2e%2e", "a%00b", &"x".repeat(65)] {
        let answer = world
            .call(&format!("PUT channels/{name}"), r#"{"format":"openai"}"#)
            .await;
        assert_eq!(answer.status, 422, "{name}");
    }
    assert!(world.store.channels().await.unwrap().is_empty());
}

#[tokio::test]
async fn stored_channels_that_are_not_in_force_are_listed_with_their_problems() {
    let world = World::new().await;
    assert_eq!(
        world
            .call("PUT channels/broken", r#"{"format":"openai"}"#)
            .await
            .status,
        201
    );
    assert_eq!(
        world
            .call("PUT channels/good", r#"{"format":"openai"}"#)
            .await
            .status,
        201
    );
    world
        .fake
        .channels
        .lock()
        .push(channel("good", ChannelOrigin::Store));
    *world.fake.problems.lock() = vec![problem(Severity::Error, "no")];
    let list = world.call("GET channels", "").await.json();
    assert_eq!(list["channels"][1]["name"], "good");
    assert_eq!(list["broken"].as_array().unwrap().len(), 1);
    assert_eq!(list["broken"][0]["name"], "broken");
    assert_eq!(list["broken"][0]["problems"][0]["message"], "no");
}

#[tokio::test]
async fn a_channel_that_routes_name_is_not_deleted() {
    let world = World::new().await;
    assert_eq!(
        world
            .call("PUT channels/new", &body("https://one.example"))
            .await
            .status,
        201
    );
    for routes in [
        r#"{"rules":[{"match":{"model":"m"},"channels":["new"]}]}"#,
        r#"{"rules":[{"match":{"model":"m"},"models":{"new":"x"}}]}"#,
    ] {
        assert_eq!(world.call("PUT routes", routes).await.status, 200);
        let answer = world.call("DELETE channels/new", "").await;
        assert_eq!((answer.status, answer.code().as_str()), (409, "in_use"));
    }
    assert_eq!(world.call("DELETE routes", "").await.status, 204);
    assert_eq!(world.call("DELETE channels/new", "").await.status, 204);
    assert_eq!(world.call("DELETE channels/new", "").await.status, 404);
    assert!(world.store.channels().await.unwrap().is_empty());
    let last = world.audit().await;
    assert_eq!(
        last[last.len() - 2..],
        ["admin routes.delete routes", "admin channel.delete new"]
    );
}

#[tokio::test]
async fn routes_are_stored_as_written() {
    let world = World::new().await;
    assert_eq!(
        world.call("GET routes", "").await.json()["definition"],
        json!(null)
    );
    let text = r#"{"strategy":"failover","aliases":{"z":"y","a":"b"}}"#;
    assert_eq!(world.call("PUT routes", text).await.status, 200);
    assert_eq!(world.store.routes().await.unwrap().as_deref(), Some(text));
    assert!(world.call("GET routes", "").await.text.contains(text));
}

#[tokio::test]
async fn a_test_passes_the_model_on() {
    let world = World::new().await;
    let report = world
        .call("POST channels/filed/test", r#"{"model":"m"}"#)
        .await
        .json();
    assert_eq!(
        (&report["channel"], &report["model"]),
        (&json!("filed"), &json!("m"))
    );
    assert_eq!(
        world.call("POST channels/filed/test", "").await.json()["model"],
        json!(null)
    );
    assert_eq!(
        world
            .call("POST channels/filed/test", r#"{"modle":"m"}"#)
            .await
            .status,
        422
    );
}
