//! A gateway that only remembers what it was told, and a caller.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};

use async_trait::async_trait;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request};
use opm_admin::control::{
    Ask, ChannelOrigin, ChannelView, Control, Explanation, Problem, Reloaded, Severity, Status, TestReport,
};
use opm_admin::{Api, router};
use opm_core::Secret;
use opm_store::{Location, Store, StoreSecrets};
use parking_lot::Mutex;
use serde_json::Value;
use tower::ServiceExt as _;

pub(crate) const TOKEN: &str = "token-canary-0123456789abcdef";
pub(crate) const NOW: i64 = 1_900_000_000;

/// The running gateway.
#[derive(Default)]
pub(crate) struct Fake {
    pub(crate) refreshed: AtomicUsize,
    pub(crate) failing: Mutex<Option<String>>,
    pub(crate) draining: AtomicBool,
    pub(crate) asked: Mutex<Vec<Ask>>,
    pub(crate) channels: Mutex<Vec<ChannelView>>,
    pub(crate) problems: Mutex<Vec<Problem>>,
}

pub(crate) fn channel(name: &str, origin: ChannelOrigin) -> ChannelView {
    ChannelView {
        name: name.into(),
        format: "openai".into(),
        apis: vec!["chat".into()],
        base_url: "https://api.openai.com".into(),
        origin,
        state: Default::default(),
        weight: 1,
        priority: 0,
        models: vec!["gpt-*".into()],
        keys: Vec::new(),
        breaker: Default::default(),
        retry_in_ms: None,
        in_flight: 0,
        time_to_first_token_ms: None,
        requests: None,
        failures: None,
    }
}

pub(crate) fn problem(severity: Severity, message: &str) -> Problem {
    Problem {
        severity,
        code: "E002".into(),
        message: message.into(),
        line: Some(1),
        column: Some(7),
        help: Some("did you mean `weight`?".into()),
    }
}

#[async_trait]
impl Control for Fake {
    fn status(&self) -> Status {
        Status {
            version: "1.2.3".into(),
            draining: self.draining.load(Ordering::Acquire),
            ..Status::default()
        }
    }
    fn channels(&self) -> Vec<ChannelView> {
        self.channels.lock().clone()
    }
    fn explain(&self, ask: &Ask) -> Explanation {
        self.asked.lock().push(ask.clone());
        Explanation {
            model: ask.model.clone(),
            ..Explanation::default()
        }
    }
    fn past(&self, request_id: &str) -> Option<Explanation> {
        (request_id == "req_known").then(Explanation::default)
    }
    async fn reload(&self) -> Result<Reloaded, Vec<Problem>> {
        let problems = self.problems.lock().clone();
        if problems.is_empty() {
            Ok(Reloaded {
                changed: vec!["channel a: weight".into()],
                ..Reloaded::default()
            })
        } else {
            Err(problems)
        }
    }
    async fn refresh(&self) -> Result<(), String> {
        self.refreshed.fetch_add(1, Ordering::AcqRel);
        self.failing.lock().clone().map_or(Ok(()), Err)
    }
    async fn test(&self, channel: &str, model: Option<&str>) -> Option<TestReport> {
        let known = self.channels.lock().iter().any(|known| known.name == channel);
        known.then(|| TestReport {
            channel: channel.into(),
            model: model.map(str::to_owned),
            ..TestReport::default()
        })
    }
    fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }
    fn check_channel(&self, _: &str, _: &str, _: usize) -> Vec<Problem> {
        self.problems.lock().clone()
    }
    fn check_routes(&self, _: &str) -> Vec<Problem> {
        self.problems.lock().clone()
    }
}

/// The API under test.
pub(crate) struct World {
    pub(crate) fake: Arc<Fake>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) secrets: Arc<StoreSecrets>,
    pub(crate) now: Arc<AtomicI64>,
    router: axum::Router,
}

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {}", self.text))
    }
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
    pub(crate) fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap().to_owned()
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        let fake = Arc::new(Fake::default());
        fake.channels.lock().push(channel("filed", ChannelOrigin::File));
        let store = opm_store::open("sqlite::memory:").await.unwrap();
        let memory = Location::parse("sqlite::memory:").unwrap();
        let secrets = Arc::new(StoreSecrets::load(&memory, None, None).unwrap());
        let now = Arc::new(AtomicI64::new(NOW));
        let clock = Arc::clone(&now);
        let router = router(Api {
            control: Arc::clone(&fake) as Arc<dyn Control>,
            store: Arc::clone(&store),
            secrets: Arc::clone(&secrets),
            token: Secret::new(TOKEN.into()),
            clock: Arc::new(move || clock.load(Ordering::Acquire)),
        });
        World {
            fake,
            store,
            secrets,
            now,
            router,
        }
    }

    /// Sends a request as it is.
    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            text: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }

    /// Sends with headers.
    pub(crate) async fn with(&self, line: &str, body: &str, headers: &[(&str, &str)]) -> Answer {
        let (method, path) = line.split_once(' ').unwrap();
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/api/v1/{path}"))
            .header("host", "attacker.example");
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::from(body.to_owned())).unwrap())
            .await
    }

    /// Sends with the token.
    pub(crate) async fn call(&self, line: &str, body: &str) -> Answer {
        let bearer = format!("Bearer {TOKEN}");
        self.with(line, body, &[("authorization", &bearer)]).await
    }

    /// `actor action object` of the audit log, oldest first.
    pub(crate) async fn audit(&self) -> Vec<String> {
        let mut records = self.store.audits(100, None).await.unwrap();
        records.reverse();
        let line = |record: &opm_store::AuditRecord| {
            let entry = &record.entry;
            format!("{} {} {}", entry.actor, entry.action, entry.object)
        };
        records.iter().map(line).collect()
    }

    pub(crate) fn refreshed(&self) -> usize {
        self.fake.refreshed.load(Ordering::Acquire)
    }
}
