//! Three instances, one Redis, one skewed clock, 200 callers: the proof over every trailing window, in real time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use opm_limits::{Actual, Charge, Dimension, Limiter, Over, Rule, Subjects, Window};
use parking_lot::Mutex;

use crate::server::{Server, now};
use crate::{QUIET, trailing};

/// What the upstream saw: when (microseconds) and how many tokens.
pub(crate) struct Upstream {
    start: Instant,
    seen: Mutex<Vec<(u64, u64)>>,
}

impl Upstream {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Upstream {
            start: Instant::now(),
            seen: Mutex::default(),
        })
    }

    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap()
    }

    pub(crate) fn sees(&self, tokens: u64) {
        let now = self.now();
        self.seen.lock().push((now, tokens));
    }

    /// The largest sum of any trailing window.
    pub(crate) fn worst(&self, window: Duration) -> u64 {
        trailing::worst(
            &mut self.seen.lock().clone(),
            u64::try_from(window.as_micros()).unwrap(),
        )
    }

    /// The sum of a trailing window, averaged over all instants from the end of the first window on.
    pub(crate) fn mean(&self, window: Duration, end: u64) -> u64 {
        let window = u64::try_from(window.as_micros()).unwrap();
        let whole = self.seen.lock().iter().fold(0_u64, |sum, (at, tokens)| {
            let from = (*at).max(window);
            let to = (at + window).min(end);
            sum + to.saturating_sub(from) * tokens
        });
        whole / (end - window)
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Load {
    Steady,
    Bursts,
    Edges,
}

pub(crate) const LIMIT: u64 = 30_000;
pub(crate) const WINDOW: Duration = Duration::from_secs(4);

pub(crate) fn tokens() -> Rule {
    Rule::new(
        "tokens",
        Dimension::Tokens,
        LIMIT,
        Over::Window(Window::new(WINDOW).unwrap()),
    )
    .unwrap()
}

/// One caller until `end`. Reserves up to 150 tokens; every other time it uses less and settles.
async fn call(limiter: Limiter, rule: Arc<Rule>, upstream: Arc<Upstream>, load: Load, caller: u64, end: u64) {
    let subjects = Subjects::default();
    let mut turn = caller * 7;
    while upstream.now() < end {
        turn += 1;
        let cost = 51 + turn * 37 % 100;
        let skewed = now() + if caller.is_multiple_of(3) { 3_600_000 } else { 0 };
        match limiter
            .reserve(&[Charge::new(&rule, &subjects, cost)], skewed)
            .await
        {
            Ok(mut reservation) => {
                reservation.sent();
                let actual = cost - (turn % 2) * (turn % 40);
                upstream.sees(actual);
                if load != Load::Edges {
                    tokio::time::sleep(Duration::from_millis(100 + turn * 13 % 100)).await;
                }
                reservation.settle(Actual {
                    tokens: actual,
                    money: 0,
                });
            }
            Err(refused) => {
                let wait = match load {
                    Load::Steady => refused.retry_after.min(Duration::from_millis(20 + turn % 30)),
                    Load::Edges => refused.retry_after,
                    // All callers come at the same instants.
                    Load::Bursts => Duration::from_micros(700_000 - upstream.now() % 700_000),
                };
                tokio::time::sleep(wait.max(Duration::from_millis(1))).await;
            }
        }
    }
}

async fn proof(load: Load) -> Arc<Upstream> {
    const CALLERS: u64 = 200;
    let _quiet = QUIET.write().await;
    let server = Server::start();
    let instances = [
        server.limiter_at(now() + 3_600_000).await,
        server.limiter().await,
        server.limiter().await,
    ];
    let rule = Arc::new(tokens());
    let upstream = Upstream::new();
    let end = 4 * u64::try_from(WINDOW.as_micros()).unwrap();
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let limiter = instances[usize::try_from(caller % 3).unwrap()].clone();
            tokio::spawn(call(
                limiter,
                Arc::clone(&rule),
                Arc::clone(&upstream),
                load,
                caller,
                end,
            ))
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
    let worst = upstream.worst(WINDOW);
    let mean = upstream.mean(WINDOW, end);
    eprintln!(
        "{load:?}: worst window {worst}, mean {mean} of {LIMIT}; {:?}",
        instances[1].health()
    );
    assert!(
        worst <= LIMIT,
        "{load:?}: {worst} of {LIMIT} tokens in one window"
    );
    assert!(
        worst >= LIMIT * 95 / 100,
        "{load:?}: only {worst} of {LIMIT}: the load did not seek the limit"
    );
    upstream
}

#[tokio::test(flavor = "multi_thread")]
async fn steady_load_of_three_instances_never_exceeds_and_uses_97_percent() {
    let upstream = proof(Load::Steady).await;
    let mean = upstream.mean(WINDOW, 4 * u64::try_from(WINDOW.as_micros()).unwrap());
    assert!(
        mean >= LIMIT * 97 / 100,
        "a window holds {mean} of {LIMIT} tokens on average"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bursts_of_three_instances_never_exceed() {
    proof(Load::Bursts).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn edge_seeking_callers_of_three_instances_never_exceed() {
    proof(Load::Edges).await;
}
