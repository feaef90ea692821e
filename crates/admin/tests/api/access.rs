//! Who gets in, and what everybody sees.

use axum::body::Body;
use axum::http::Request;
use serde_json::Value;

use crate::fake::{TOKEN, World};

/// Every endpoint of the document, with its methods.
fn endpoints() -> Vec<String> {
    let document: Value = serde_json::from_str(&opm_admin::document()).unwrap();
    let mut lines = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let path = path.strip_prefix("/api/v1/").unwrap();
            let path = path
                .replace("{id}", "x")
                .replace("{name}", "filed")
                .replace("{request_id}", "x");
            lines.push(format!("{} {path}", method.to_uppercase()));
        }
    }
    assert!(lines.len() > 25, "{lines:?}");
    lines
}

#[tokio::test]
async fn without_a_credential_every_path_says_the_same() {
    let world = World::new().await;
    let mut said = std::collections::BTreeSet::new();
    let others = [
        "GET nothing",
        "PUT status",
        "GET ../status",
        "GET keys/",
        "OPTIONS keys",
    ];
    let lines = endpoints();
    let known = lines
        .iter()
        .map(String::as_str)
        .filter(|line| *line != "POST session");
    let mut sent = 0;
    for line in known.chain(others) {
        // So that the answers do not turn into 429.
        world.now.fetch_add(100, std::sync::atomic::Ordering::AcqRel);
        for headers in [
            &[] as &[_],
            &[("authorization", "Bearer wrong")],
            &[("cookie", "opm_session=x")],
        ] {
            let answer = world.with(line, "", headers).await;
            assert_eq!(answer.status, 401, "{line}");
            assert_eq!(answer.header("www-authenticate"), "Bearer");
            said.insert(answer.text);
            sent += 1;
        }
    }
    assert!(sent > 80);
    assert_eq!(said.len(), 1, "the answers differ: {said:?}");
    assert!(world.audit().await.is_empty());
}

#[tokio::test]
async fn with_the_token_every_endpoint_answers() {
    let world = World::new().await;
    for line in endpoints() {
        let answer = world.call(&line, "").await;
        assert!(
            ![401, 403, 405, 500].contains(&answer.status),
            "{line}: {} {}",
            answer.status,
            answer.text
        );
    }
}

#[tokio::test]
async fn the_token_counts_only_as_one_bearer_token() {
    let world = World::new().await;
    let right = format!("Bearer {TOKEN}");
    let lower = format!("bearer {TOKEN}");
    for good in [&right, &lower] {
        assert_eq!(
            world
                .with("GET status", "", &[("authorization", good)])
                .await
                .status,
            200
        );
    }
    let longer = format!("{right}x");
    let shorter = &right[..right.len() - 1];
    let basic = format!("Basic {TOKEN}");
    for bad in ["", "Bearer", "Bearer ", TOKEN, &longer, shorter, &basic] {
        assert_eq!(
            world
                .with("GET status", "", &[("authorization", bad)])
                .await
                .status,
            401,
            "{bad}"
        );
    }
    let twice = [
        ("authorization", right.as_str()),
        ("authorization", right.as_str()),
    ];
    assert_eq!(world.with("GET status", "", &twice).await.status, 401);
    for (name, value) in [("x-api-key", TOKEN), ("cookie", TOKEN), ("x-csrf-token", TOKEN)] {
        assert_eq!(world.with("GET status", "", &[(name, value)]).await.status, 401);
    }
    let query = format!("GET status?token={TOKEN}&key={TOKEN}");
    assert_eq!(world.with(&query, "", &[]).await.status, 401);
}

#[tokio::test]
async fn wrong_tokens_are_slowed_down_and_the_right_one_still_works() {
    let world = World::new().await;
    let wrong = [("authorization", "Bearer wrong")];
    let mut statuses = Vec::new();
    for _ in 0..12 {
        statuses.push(world.with("GET status", "", &wrong).await.status);
    }
    assert_eq!(statuses[..10], [401; 10]);
    assert_eq!(statuses[10..], [429; 2]);
    let answer = world.with("GET status", "", &wrong).await;
    assert_eq!(
        (answer.header("retry-after"), answer.code().as_str()),
        ("6", "too_many_attempts")
    );
    assert_eq!(world.call("GET status", "").await.status, 200);
    world.now.fetch_add(6, std::sync::atomic::Ordering::AcqRel);
    assert_eq!(world.with("GET status", "", &wrong).await.status, 401);
}

#[tokio::test]
async fn every_answer_forbids_storing_running_and_framing() {
    let world = World::new().await;
    let token = format!("Bearer {TOKEN}");
    let auth = ("authorization", token.as_str());
    for (line, headers) in [
        ("GET status", &[auth] as &[_]),
        ("GET nothing", &[auth]),
        ("PUT status", &[auth]),
        ("GET status", &[]),
    ] {
        let answer = world.with(line, "", headers).await;
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(
            answer.header("content-security-policy"),
            "default-src 'none'; frame-ancestors 'none'"
        );
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("content-type"), "application/json");
        assert!(
            !answer
                .headers
                .keys()
                .any(|name| name.as_str().starts_with("access-control"))
        );
    }
}

#[tokio::test]
async fn unknown_paths_and_methods_are_told_to_who_may_know() {
    let world = World::new().await;
    let answer = world.call("GET nothing", "").await;
    assert_eq!((answer.status, answer.code().as_str()), (404, "not_found"));
    let answer = world.call("PUT status", "").await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (405, "method_not_allowed")
    );
    assert_eq!(answer.header("allow"), "GET,HEAD");
    let answer = world.call("PUT keys/x", "{}").await;
    assert_eq!(answer.status, 405);
    for line in ["GET keys/%ff", "GET explain?model=%ff"] {
        let answer = world.call(line, "").await;
        let known = [("unreadable", 400), ("invalid", 422)];
        assert!(
            answer.status == 200 || known.contains(&(answer.code().as_str(), answer.status)),
            "{line}"
        );
    }
    let outside = Request::get("/")
        .header("authorization", format!("Bearer {TOKEN}"))
        .body(Body::empty());
    assert_eq!(world.send(outside.unwrap()).await.status, 404);
}

#[tokio::test]
async fn bodies_are_bounded_declared_and_known() {
    let world = World::new().await;
    let large = format!("{{\"name\":\"{}\"}}", "x".repeat(1 << 20));
    let answer = world.call("POST keys", &large).await;
    assert_eq!((answer.status, answer.code().as_str()), (413, "too_large"));
    let bearer = format!("Bearer {TOKEN}");
    let plain = Request::post("/api/v1/keys")
        .header("authorization", &bearer)
        .header("content-type", "text/plain")
        .body(Body::from("{\"name\":\"a\"}"));
    let answer = world.send(plain.unwrap()).await;
    assert_eq!((answer.status, answer.code().as_str()), (415, "not_json"));
    for (body, message, help) in [
        (
            "{\"nmae\":\"a\"}",
            "unknown member `nmae`",
            "did you mean `name`?",
        ),
        ("{\"name\":7}", "`name`: expected a string", ""),
        ("{}", "missing field `name`", ""),
        (
            "[]",
            "the body cannot be read at line 1, column 0",
            "send one JSON object",
        ),
        (
            "{\"name\":\"a\",\"name\":\"b\"}",
            "the body cannot be read",
            "send one JSON object",
        ),
        (
            "{\"name\":",
            "the body cannot be read at line 1, column 8",
            "send one JSON object",
        ),
    ] {
        let answer = world.call("POST keys", body).await;
        let error = &answer.json()["error"];
        assert_eq!(answer.status, 422, "{body}");
        assert!(
            error["message"].as_str().unwrap().starts_with(message),
            "{body}: {error}"
        );
        assert_eq!(error["help"].as_str().unwrap_or_default(), help, "{body}");
    }
    assert!(world.audit().await.is_empty() && world.refreshed() == 0);
}

#[test]
fn the_committed_document_is_the_current_one() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    let current = opm_admin::document();
    if std::env::var_os("OPM_WRITE_OPENAPI").is_some() {
        std::fs::write(&path, &current).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == current,
        "run OPM_WRITE_OPENAPI=1 cargo test -p opm-admin and commit openapi.json"
    );
}

/// Paths of everything in the document that has no description.
fn bare(at: &str, value: &Value, found: &mut Vec<String>) {
    let Value::Object(members) = value else { return };
    for (name, property) in members
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        // A member that may be null has its description beside the reference.
        let choices = property
            .get("oneOf")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        let mut places = choices.chain([property]);
        let told = places.any(|place| place.get("description").is_some());
        if !told {
            found.push(format!("{at}.{name}"));
        }
        bare(&format!("{at}.{name}"), property, found);
    }
}

#[test]
fn every_endpoint_and_every_member_is_described() {
    let document: Value = serde_json::from_str(&opm_admin::document()).unwrap();
    let mut found = Vec::new();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    assert!(schemas.len() > 20);
    for (name, schema) in schemas {
        if schema.get("description").is_none() {
            found.push(name.clone());
        }
        bare(name, schema, &mut found);
    }
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let told = operation["summary"].as_str().is_some_and(|text| !text.is_empty());
            let refused = path.ends_with("/session") || operation["responses"].get("401").is_some();
            if !told || !refused {
                found.push(format!("{method} {path}"));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}
