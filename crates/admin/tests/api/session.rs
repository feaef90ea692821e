//! Browsers.

use std::sync::atomic::Ordering;

use crate::fake::{Answer, TOKEN, World};

const HERE: &str = "http://127.0.0.1:8081";

struct Browser {
    cookie: String,
    csrf: String,
}

async fn login(world: &World, headers: &[(&str, &str)]) -> Answer {
    world
        .with("POST session", &format!(r#"{{"token":"{TOKEN}"}}"#), headers)
        .await
}

async fn browser(world: &World) -> Browser {
    let answer = login(world, &[("origin", HERE), ("sec-fetch-site", "same-origin")]).await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    Browser {
        cookie: answer.header("set-cookie").split(';').next().unwrap().to_owned(),
        csrf: answer.json()["csrf_token"].as_str().unwrap().to_owned(),
    }
}

impl Browser {
    async fn send(&self, world: &World, line: &str, more: &[(&str, &str)]) -> Answer {
        let mut headers = vec![("cookie", self.cookie.as_str())];
        headers.extend_from_slice(more);
        world.with(line, "", &headers).await
    }

    async fn change(&self, world: &World, line: &str) -> Answer {
        self.send(world, line, &[("origin", HERE), ("x-csrf-token", &self.csrf)])
            .await
    }
}

#[tokio::test]
async fn the_cookie_is_for_this_site_and_out_of_reach_of_scripts() {
    let world = World::new().await;
    let answer = login(&world, &[("origin", HERE)]).await;
    let cookie = answer.header("set-cookie");
    let (pair, rest) = cookie.split_once("; ").unwrap();
    assert_eq!(pair.len(), "opm_session=".len() + 64);
    assert_eq!(rest, "HttpOnly; SameSite=Strict; Path=/; Max-Age=43200");
    assert!(!answer.text.contains(&pair[12..]) && !answer.text.contains(TOKEN));
    for secure in [
        [("origin", "https://opm.example")],
        [("x-forwarded-proto", "https")],
    ] {
        let answer = login(&world, &secure).await;
        assert!(answer.header("set-cookie").ends_with("; Secure"), "{secure:?}");
    }
}

#[tokio::test]
async fn a_session_reads_by_cookie_and_changes_with_its_token_from_its_origin_only() {
    let world = World::new().await;
    let browser = browser(&world).await;
    assert_eq!(browser.send(&world, "GET status", &[]).await.status, 200);
    assert_eq!(
        browser
            .send(&world, "GET status", &[("origin", HERE)])
            .await
            .status,
        200
    );
    let line = "POST channels/filed/disable";
    let csrf = ("x-csrf-token", browser.csrf.as_str());
    let evil = ("origin", "http://evil.example");
    for headers in [
        &[] as &[_],
        &[("origin", HERE)],
        &[csrf],
        &[csrf, evil],
        &[csrf, ("origin", "null")],
        &[("origin", HERE), ("x-csrf-token", "wrong")],
        &[("origin", HERE), csrf, ("sec-fetch-site", "cross-site")],
        &[("origin", HERE), csrf, ("sec-fetch-site", "same-site")],
    ] {
        let answer = browser.send(&world, line, headers).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (403, "forbidden"),
            "{headers:?}"
        );
    }
    assert_eq!(browser.send(&world, "GET status", &[evil]).await.status, 403);
    assert_eq!(world.refreshed(), 0);
    assert_eq!(browser.change(&world, line).await.status, 200);
    assert_eq!(
        world.audit().await,
        [
            "dashboard session.begin opm_session",
            "dashboard channel.disable filed"
        ]
    );
}

#[tokio::test]
async fn the_token_of_another_session_does_not_help() {
    let world = World::new().await;
    let (one, other) = (browser(&world).await, browser(&world).await);
    let mixed = Browser {
        cookie: one.cookie.clone(),
        csrf: other.csrf.clone(),
    };
    assert_eq!(mixed.change(&world, "POST drain").await.status, 403);
    let both = format!("{}; {}", one.cookie, other.cookie);
    assert_eq!(
        world.with("GET status", "", &[("cookie", &both)]).await.status,
        401
    );
}

#[tokio::test]
async fn a_session_shows_its_token_again_and_ends_by_log_out_or_by_time() {
    let world = World::new().await;
    let browser = browser(&world).await;
    let shown = browser.send(&world, "GET session", &[]).await;
    assert_eq!(shown.json()["csrf_token"], browser.csrf.as_str());
    assert_eq!(world.call("GET session", "").await.status, 404);
    let ended = browser.change(&world, "DELETE session").await;
    assert_eq!(ended.status, 204);
    assert!(ended.header("set-cookie").starts_with("opm_session=; "));
    assert!(ended.header("set-cookie").contains("Max-Age=0"));
    assert_eq!(browser.send(&world, "GET status", &[]).await.status, 401);
    let browser = self::browser(&world).await;
    world.now.fetch_add(3_600, Ordering::AcqRel);
    assert_eq!(browser.send(&world, "GET status", &[]).await.status, 401);
}

#[tokio::test]
async fn log_ins_are_refused_from_other_sites_and_after_too_many_failures() {
    let world = World::new().await;
    assert_eq!(
        login(&world, &[("sec-fetch-site", "cross-site")]).await.status,
        403
    );
    let mut statuses = Vec::new();
    for _ in 0..11 {
        statuses.push(
            world
                .with("POST session", r#"{"token":"wrong"}"#, &[])
                .await
                .status,
        );
    }
    assert_eq!(statuses[..10], [401; 10]);
    assert_eq!(statuses[10], 429);
    let locked = login(&world, &[]).await;
    assert_eq!((locked.status, locked.header("retry-after")), (429, "6"));
    world.now.fetch_add(6, Ordering::AcqRel);
    assert_eq!(login(&world, &[]).await.status, 201);
    let audit = world.audit().await;
    assert_eq!(
        audit,
        ["dashboard session.begin opm_session"],
        "failures do not fill the log"
    );
}
