//! Redis frozen, dead, emptied: what a request waits, what is admitted, how it comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use opm_limits::{
    Actual, Cause, Charge, Dimension, Every, Limiter, Mode, OnFailure, Over, Period, Rule, SharedSettings,
    SubjectKind, Subjects, Window,
};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::QUIET;
use crate::instances::{LIMIT, Upstream, WINDOW, tokens};
use crate::server::{Server, eventually, now};

pub(crate) const NOBODY: Subjects<'static> = Subjects {
    key: None,
    user: None,
    model: None,
    channel: None,
};

pub(crate) fn rule(name: &str, dimension: Dimension, limit: u64, policy: OnFailure) -> Arc<Rule> {
    let over = match dimension {
        Dimension::Concurrency => Over::Open,
        Dimension::Money => Over::Period(Period::new(Every::Day, "UTC").unwrap()),
        Dimension::Tokens | Dimension::Requests => {
            Over::Window(Window::new(Duration::from_secs(3_600)).unwrap())
        }
    };
    Arc::new(
        Rule::new(name, dimension, limit, over)
            .unwrap()
            .on_failure(policy),
    )
}

pub(crate) async fn spend(
    limiter: &Limiter,
    rule: &Arc<Rule>,
    amount: u64,
) -> Result<Duration, opm_limits::Refused> {
    let start = Instant::now();
    limiter
        .reserve(&[Charge::new(rule, &NOBODY, amount)], now())
        .await?
        .sent();
    Ok(start.elapsed())
}

pub(crate) async fn remaining(limiter: &Limiter, rule: &Arc<Rule>) -> u64 {
    let look = limiter
        .reserve(&[Charge::new(rule, &NOBODY, 0)], now())
        .await
        .unwrap();
    look.standings()[0].remaining
}

pub(crate) async fn together(limiter: &Limiter) {
    eventually("the store decides again", || async { limiter.health().together }).await;
}

/// Callers that never stop asking, on three instances.
struct Load {
    upstream: Arc<Upstream>,
    /// When each request began (microseconds) and how long its decision took.
    waits: Arc<Mutex<Vec<(u64, Duration)>>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(instances: &[Limiter]) -> Self {
        let load = Load {
            upstream: Upstream::new(),
            waits: Arc::default(),
            tasks: Vec::new(),
        };
        let rule = Arc::new(tokens());
        let tasks = (0..60_usize).map(|caller| {
            let (limiter, rule) = (instances[caller % instances.len()].clone(), Arc::clone(&rule));
            let (upstream, waits) = (Arc::clone(&load.upstream), Arc::clone(&load.waits));
            tokio::spawn(async move {
                loop {
                    let (began, start) = (upstream.now(), Instant::now());
                    let answer = limiter.reserve(&[Charge::new(&rule, &NOBODY, 100)], now()).await;
                    waits.lock().push((began, start.elapsed()));
                    let pause = match answer {
                        Ok(reservation) => {
                            upstream.sees(100);
                            reservation.settle(Actual {
                                tokens: 100,
                                money: 0,
                            });
                            Duration::from_millis(5)
                        }
                        Err(refused) => refused.retry_after.min(Duration::from_millis(20)),
                    };
                    tokio::time::sleep(pause.max(Duration::from_millis(1))).await;
                }
            })
        });
        let tasks = tasks.collect();
        Load { tasks, ..load }
    }

    async fn run(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    fn stop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }

    fn waits_between(&self, from: u64, to: u64) -> Vec<Duration> {
        let waits = self.waits.lock();
        let mut waits: Vec<_> = waits
            .iter()
            .filter(|wait| (from..to).contains(&wait.0))
            .map(|wait| wait.1)
            .collect();
        waits.sort_unstable();
        waits
    }
}

async fn three(server: &Server) -> [Limiter; 3] {
    let all = [
        server.limiter().await,
        server.limiter().await,
        server.limiter().await,
    ];
    eventually("all know each other", || async {
        all.iter().all(|one| one.health().instances == 3)
    })
    .await;
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_redis_costs_60_ms_once_and_the_limit_holds_until_it_thaws_and_after() {
    let _quiet = QUIET.write().await;
    let server = Server::start();
    let instances = three(&server).await;
    let mut load = Load::start(&instances);
    load.run(WINDOW + WINDOW / 2).await;
    server.freeze();
    let frozen = load.upstream.now();
    load.run(WINDOW + WINDOW / 2).await;
    let thawed = load.upstream.now();
    server.thaw();
    for limiter in &instances {
        together(limiter).await;
    }
    load.run(WINDOW + WINDOW / 2).await;
    load.stop();
    let worst = load.upstream.worst(WINDOW);
    let seen = load.upstream.mean(WINDOW, load.upstream.now());
    let first = load.waits_between(frozen, frozen + 40_000);
    let later = load.waits_between(frozen + 200_000, thawed);
    let [usual, longest] = [first[first.len() / 2], first[first.len() - 1]];
    let [median, late] = [later[later.len() / 2], later[later.len() * 99 / 100]];
    eprintln!(
        "frozen: worst window {worst}, mean {seen} of {LIMIT}; first waits {usual:?} to {longest:?}, later {median:?}, p99 {late:?}"
    );
    assert!(usual <= Duration::from_millis(60), "{usual:?}");
    assert!(
        longest <= Duration::from_millis(150),
        "60 ms and what a busy machine adds: {longest:?}"
    );
    assert!(
        median <= Duration::from_millis(1) && late <= Duration::from_millis(10),
        "{median:?} {late:?}"
    );
    assert!(worst <= LIMIT, "{worst} of {LIMIT} tokens in one window");
    assert!(instances.iter().all(|limiter| limiter.health().outages >= 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_redis_is_told_what_was_admitted() {
    let _quiet = QUIET.write().await;
    let server = Server::start();
    let instances = three(&server).await;
    let mut load = Load::start(&instances);
    load.run(WINDOW).await;
    for _ in 0..3 {
        server.command("FLUSHALL");
        load.run(WINDOW / 2).await;
        for limiter in &instances {
            together(limiter).await;
        }
    }
    load.stop();
    let worst = load.upstream.worst(WINDOW);
    eprintln!("flushed: worst window {worst} of {LIMIT}");
    assert!(worst <= LIMIT, "{worst} of {LIMIT} tokens in one window");
}

#[tokio::test]
async fn budgets_and_running_requests_survive_a_restart_without_persistence() {
    let _quiet = QUIET.read().await;
    let mut server = Server::start();
    let (one, two) = (server.limiter().await, server.limiter().await);
    let budget = rule("budget", Dimension::Money, 10_000_000, OnFailure::Deny);
    let open = rule("open", Dimension::Concurrency, 2, OnFailure::Local);
    spend(&one, &budget, 4_000_000).await.unwrap();
    spend(&two, &budget, 3_000_000).await.unwrap();
    let _running = [
        one.reserve(&[Charge::new(&open, &NOBODY, 1)], now())
            .await
            .unwrap(),
        two.reserve(&[Charge::new(&open, &NOBODY, 1)], now())
            .await
            .unwrap(),
    ];
    server.restart();
    eventually("both have noticed", || async {
        one.health().outages == 1 && two.health().outages == 1
    })
    .await;
    together(&one).await;
    together(&two).await;
    assert_eq!(remaining(&one, &budget).await, 3_000_000);
    assert!(spend(&two, &budget, 3_000_001).await.is_err());
    assert!(spend(&one, &open, 1).await.is_err());
}

#[tokio::test]
async fn each_rule_has_its_own_policy_while_redis_is_away() {
    let _quiet = QUIET.read().await;
    let mut server = Server::start();
    let instances = three(&server).await;
    let denied = rule("denied", Dimension::Tokens, 900, OnFailure::Deny);
    let allowed = rule("allowed", Dimension::Tokens, 900, OnFailure::Allow);
    let local = rule("local", Dimension::Tokens, 900, OnFailure::Local);
    server.stop();
    for limiter in &instances {
        let refused = spend(limiter, &denied, 1).await.unwrap_err();
        assert_eq!(
            (refused.cause, refused.retry_after),
            (Cause::Store, Duration::from_secs(1))
        );
        for _ in 0..4 {
            spend(limiter, &allowed, 400).await.unwrap();
        }
        spend(limiter, &local, 300).await.unwrap();
        let refused = spend(limiter, &local, 1).await.unwrap_err();
        assert_eq!(refused.cause, Cause::Limit);
    }
    server.restart();
    for limiter in &instances {
        together(limiter).await;
    }
    eventually("what was admitted alone is told", || async {
        remaining(&instances[0], &local).await == 0
    })
    .await;
    eventually("also what was just allowed", || async {
        remaining(&instances[1], &allowed).await == 0
    })
    .await;
    assert_eq!(remaining(&instances[2], &denied).await, 900);
}

#[tokio::test]
async fn alone_an_instance_uses_its_part_of_what_was_free_and_no_more() {
    let _quiet = QUIET.read().await;
    let mut server = Server::start();
    let instances = three(&server).await;
    let local = rule("local", Dimension::Tokens, 900, OnFailure::Local);
    spend(&instances[0], &local, 500).await.unwrap();
    spend(&instances[1], &local, 100).await.unwrap();
    assert_eq!(remaining(&instances[0], &local).await, 300);
    server.stop();
    // More than a third is in use here: nothing more. There: 100, and a third of the 300 that were free.
    assert!(spend(&instances[0], &local, 1).await.is_err());
    spend(&instances[1], &local, 100).await.unwrap();
    assert!(spend(&instances[1], &local, 1).await.is_err());
}

/// As [`spend`] for one user.
async fn spend_for(limiter: &Limiter, rule: &Arc<Rule>, user: &str, amount: u64) -> bool {
    let subjects = Subjects {
        user: Some(user),
        ..NOBODY
    };
    let charge = [Charge::new(rule, &subjects, amount)];
    let reserved = limiter.reserve(&charge, now()).await;
    reserved.map(|mut reservation| reservation.sent()).is_ok()
}

/// Waits until all have heard of so many subjects.
async fn heard(instances: &[Limiter], subjects: usize) {
    eventually("all have heard", || async {
        instances.iter().all(|one| one.health().heard >= subjects)
    })
    .await;
}

#[tokio::test]
async fn alone_an_instance_knows_what_others_have_admitted_of_a_caller_that_is_new_to_it() {
    let _quiet = QUIET.read().await;
    let mut server = Server::start();
    let instances = three(&server).await;
    let by_user = |name, dimension| {
        let rule = Arc::unwrap_or_clone(rule(name, dimension, 900, OnFailure::Local));
        Arc::new(rule.by(&[SubjectKind::User]))
    };
    let (tokens, requests) = (
        by_user("tokens", Dimension::Tokens),
        by_user("requests", Dimension::Requests),
    );
    for rule in [&tokens, &requests] {
        for (user, amount) in [("ada", 800), ("bob", 300), ("cy", 20)] {
            assert!(spend_for(&instances[0], rule, user, amount).await);
        }
    }
    heard(&instances, 6).await;
    server.stop();
    // Of what is free an eighth of the limit is not believed, a third of the rest is this instance's.
    for (user, most) in [
        ("ada", 0),
        ("bob", (900 - 300 - 112) / 3),
        ("cy", (900 - 20 - 112) / 3),
        ("new", 300),
    ] {
        for rule in [&tokens, &requests] {
            let all = spend_for(&instances[1], rule, user, most).await;
            assert!(all, "{user} has {most}");
            let more = spend_for(&instances[1], rule, user, 1).await;
            assert!(!more, "{user} has no more than {most}");
        }
    }
    server.restart();
    for limiter in &instances {
        together(limiter).await;
    }
    // Also what was admitted alone is heard of; of the third instance nobody has asked yet.
    heard(&instances, 8).await;
    server.stop();
    assert!(!spend_for(&instances[2], &tokens, "new", 200).await);
    assert!(spend_for(&instances[2], &tokens, "new", (900 - 300 - 112) / 3).await);
}

#[tokio::test]
async fn what_is_settled_and_what_ends_is_heard_of_too() {
    let _quiet = QUIET.read().await;
    let mut server = Server::start();
    let instances = three(&server).await;
    let [one, two, three] = &instances;
    let tokens = Arc::unwrap_or_clone(rule("likely", Dimension::Tokens, 900, OnFailure::Local));
    let tokens = Arc::new(tokens.mode(Mode::Estimate));
    for _ in 0..3 {
        let mut reservation = one
            .reserve(&[Charge::new(&tokens, &NOBODY, 10)], now())
            .await
            .unwrap();
        reservation.sent();
        reservation.settle(Actual {
            tokens: 250,
            money: 0,
        });
    }
    let open = rule("open", Dimension::Concurrency, 9, OnFailure::Local);
    let charge = [Charge::new(&open, &NOBODY, 1)];
    let mut running = Vec::new();
    for _ in 0..9 {
        running.push(one.reserve(&charge, now()).await.unwrap());
    }
    heard(&instances, 2).await;
    drop(running);
    eventually("the store knows all of it", || async {
        remaining(three, &tokens).await == 150 && remaining(three, &open).await == 9
    })
    .await;
    // What is published later is heard later.
    spend(one, &rule("mark", Dimension::Tokens, 1, OnFailure::Local), 1)
        .await
        .unwrap();
    heard(&instances, 3).await;
    server.stop();
    assert!(
        spend(two, &tokens, 14).await.is_err(),
        "a third of 150 less 112 is 12"
    );
    spend(two, &tokens, 12).await.unwrap();
    let mut running = Vec::new();
    for _ in 0..2 {
        running.push(two.reserve(&charge, now()).await.unwrap());
    }
    assert!(two.reserve(&charge, now()).await.is_err());
}

#[tokio::test]
async fn what_an_emptied_redis_has_been_told_first_is_not_taken_for_all() {
    let _quiet = QUIET.read().await;
    let server = Server::start();
    let instances = three(&server).await;
    let local = Arc::unwrap_or_clone(rule("local", Dimension::Tokens, 900, OnFailure::Local));
    let local = Arc::new(local.by(&[SubjectKind::User]));
    for round in 0..5 {
        let user = round.to_string();
        // The first that is heard of it.
        assert!(spend_for(&instances[1], &local, &user, 850).await);
        assert!(spend_for(&instances[0], &local, &user, 20).await);
        heard(&instances, 2 * round + 1).await;
        server.command("FLUSHALL");
        // This one notices first and tells its part; the others may hear of that before they notice.
        assert!(spend_for(&instances[0], &local, &format!("other {round}"), 1).await);
        assert!(
            !spend_for(&instances[2], &local, &user, 31).await,
            "round {round}"
        );
        for limiter in &instances {
            together(limiter).await;
        }
        assert!(
            !spend_for(&instances[2], &local, &user, 31).await,
            "round {round}"
        );
    }
}

#[tokio::test]
async fn an_emptied_redis_gives_nobody_what_others_have_used() {
    let _quiet = QUIET.read().await;
    let server = Server::start();
    let instances = three(&server).await;
    let local = rule("local", Dimension::Tokens, 900, OnFailure::Local);
    spend(&instances[0], &local, 850).await.unwrap();
    heard(&instances, 1).await;
    server.command("FLUSHALL");
    // Whatever it knows of the store by now: the instance that has used it tells it within a second.
    assert!(spend(&instances[2], &local, 51).await.is_err());
    for limiter in &instances {
        together(limiter).await;
    }
    assert!(spend(&instances[2], &local, 51).await.is_err());
    spend(&instances[2], &local, 50).await.unwrap();
}

#[tokio::test]
async fn a_limiter_starts_without_redis_and_joins_when_it_comes() {
    let _quiet = QUIET.read().await;
    let mut server = Server::start();
    server.stop();
    let settings = SharedSettings {
        instances: 3,
        ..SharedSettings::new(&server.url())
    };
    let limiter = Limiter::shared(&settings, 1_000, now()).await.unwrap();
    let local = rule("local", Dimension::Tokens, 900, OnFailure::Local);
    spend(&limiter, &local, 300).await.unwrap();
    assert!(spend(&limiter, &local, 1).await.is_err());
    server.restart();
    together(&limiter).await;
    assert_eq!(remaining(&limiter, &local).await, 600);
}

/// Its costs lie where they would by the store's clock, and nowhere else.
#[tokio::test]
async fn what_was_admitted_by_a_wrong_clock_counts_as_long_as_it_should_once_redis_tells_its_time() {
    const WINDOW: Duration = Duration::from_secs(4);
    let _quiet = QUIET.read().await;
    for wrong in [-3_600_000_i64, -3_000, 3_000, 3_600_000] {
        let mut server = Server::start();
        server.stop();
        let limiter = server.limiter_at(now().saturating_add_signed(wrong)).await;
        let over = Over::Window(Window::new(WINDOW).unwrap());
        let rule = Arc::new(Rule::new("r", Dimension::Tokens, 1_000, over).unwrap());
        let reserve = |amount| {
            let (limiter, rule) = (limiter.clone(), Arc::clone(&rule));
            async move {
                limiter
                    .reserve(&[Charge::new(&rule, &NOBODY, amount)], now())
                    .await
            }
        };
        let mut kept = reserve(600).await.unwrap();
        let mut running = reserve(400).await.unwrap();
        kept.sent();
        running.sent();
        let last = Instant::now();
        assert!(reserve(1).await.is_err());
        server.restart();
        together(&limiter).await;
        // Settled after the clock has moved.
        running.settle(Actual {
            tokens: 150,
            money: 0,
        });
        eventually("what was reserved too much is given back", || async {
            reserve(0).await.unwrap().standings()[0].remaining == 250
        })
        .await;
        let refused = reserve(251).await.unwrap_err();
        let back = last.elapsed() + refused.retry_after;
        assert!(back >= WINDOW, "{wrong}: {back:?}, too early");
        // A slot more for the clock that moved, and the guard.
        assert!(back <= WINDOW + WINDOW / 20, "{wrong}: {back:?}, too late");
    }
}

#[tokio::test]
async fn a_caller_that_leaves_while_redis_is_asked_gets_nothing_charged() {
    let _quiet = QUIET.read().await;
    let server = Server::start();
    let limiter = server.limiter().await;
    let local = rule("local", Dimension::Tokens, 900, OnFailure::Local);
    let open = rule("open", Dimension::Concurrency, 5, OnFailure::Local);
    let charges = [Charge::new(&local, &NOBODY, 400), Charge::new(&open, &NOBODY, 1)];
    for _ in 0..20 {
        let asked = limiter.reserve(&charges, now());
        // Long enough to send, too short for the answer.
        let _ = tokio::time::timeout(Duration::ZERO, asked).await;
    }
    eventually("all is given back", || async {
        remaining(&limiter, &local).await == 900 && remaining(&limiter, &open).await == 5
    })
    .await;
}

#[tokio::test]
async fn settings_that_cannot_work_are_named_without_the_password() {
    let problem = |url: &str, namespace: &str| {
        let settings = SharedSettings {
            namespace: namespace.into(),
            ..SharedSettings::new(url)
        };
        async move {
            Limiter::shared(&settings, 1, now())
                .await
                .err()
                .unwrap()
                .to_string()
        }
    };
    let url = problem("http://user:hunter2@host", "opm").await;
    assert!(url.contains("redis://") && !url.contains("hunter2"));
    assert!(
        problem("redis://127.0.0.1:1/", "a{b}")
            .await
            .contains("namespace")
    );
}

const EACH: u64 = 3_000;

/// One of many callers, who asks for users with limits of their own. Even ones turn to any instance, each time; odd ones all to the
/// same, every two seconds to another.
async fn call_for_anybody(instances: [Limiter; 3], rule: Arc<Rule>, users: Vec<Arc<Upstream>>, seed: u64) {
    let mut random = seed;
    loop {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let draw = random >> 33;
        // Some users are asked for far more than others.
        let user = (draw % 20).min(draw / 20 % 20);
        let instance = if user.is_multiple_of(2) {
            draw / 400
        } else {
            user + now() / 2_000
        };
        let name = user.to_string();
        let subjects = Subjects {
            user: Some(&name),
            ..NOBODY
        };
        let cost = 50 + draw % 100;
        let charge = [Charge::new(&rule, &subjects, cost)];
        let limiter = &instances[(instance % 3) as usize];
        // As who sends it does: late, it counts from then on.
        if let Ok(mut reservation) = limiter.reserve(&charge, now()).await
            && reservation.renew(now())
        {
            users[user as usize].sees(cost);
            reservation.settle(Actual {
                tokens: cost,
                money: 0,
            });
        }
        tokio::time::sleep(Duration::from_millis(20 + draw % 80)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_that_change_instances_stay_within_their_limits_while_redis_is_frozen_and_emptied() {
    let _quiet = QUIET.write().await;
    let server = Server::start();
    let instances = three(&server).await;
    let over = Over::Window(Window::new(WINDOW).unwrap());
    let limit = Rule::new("each", Dimension::Tokens, EACH, over).unwrap();
    let rule = Arc::new(limit.by(&[SubjectKind::User]));
    let users: Vec<_> = (0..20).map(|_| Upstream::new()).collect();
    let callers = (1..=80).map(|seed| {
        let (instances, rule) = (instances.clone(), Arc::clone(&rule));
        tokio::spawn(call_for_anybody(instances, rule, users.clone(), seed))
    });
    let callers: Vec<_> = callers.collect();
    let run = tokio::time::sleep;
    run(WINDOW + WINDOW / 4).await;
    server.freeze();
    run(WINDOW + WINDOW / 4).await;
    server.thaw();
    run(WINDOW).await;
    for _ in 0..2 {
        server.command("FLUSHALL");
        run(WINDOW / 2).await;
    }
    callers.iter().for_each(JoinHandle::abort);
    let worst = users.iter().map(|user| user.worst(WINDOW)).max().unwrap();
    let [any, moving] = [0, 1].map(|user: usize| users[user].mean(WINDOW, users[user].now()));
    eprintln!("changing: worst window {worst}, mean of the busiest {any} and {moving} of {EACH}");
    assert!(worst <= EACH, "{worst} of {EACH} tokens in one window");
    assert!(any.min(moving) >= EACH / 2, "they are served meanwhile");
}

/// Passes bytes on to a server, until it is told to keep the answers, and then to break.
struct Middle {
    url: String,
    keeps: Arc<AtomicBool>,
    breaks: Arc<Notify>,
}

impl Middle {
    async fn start(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let middle = Middle {
            url: format!("redis://{}/0", listener.local_addr().unwrap()),
            keeps: Arc::default(),
            breaks: Arc::default(),
        };
        let address = server.url().replace("redis://", "").replace("/0", "");
        let (keeps, breaks) = (Arc::clone(&middle.keeps), Arc::clone(&middle.breaks));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let upstream = TcpStream::connect(&address).await.unwrap();
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = upstream.into_split();
                let (keeps, breaks) = (Arc::clone(&keeps), Arc::clone(&breaks));
                tokio::spawn(async move {
                    let asked = tokio::io::copy(&mut from_client, &mut to_server);
                    let answered = async {
                        let mut bytes = vec![0; 65_536];
                        while let Ok(count @ 1..) = from_server.read(&mut bytes).await {
                            if !keeps.load(Ordering::Relaxed) {
                                to_client.write_all(&bytes[..count]).await.unwrap();
                            }
                        }
                    };
                    tokio::select! {
                        _ = asked => {}
                        () = answered => {}
                        () = breaks.notified() => {}
                    }
                });
            }
        });
        middle
    }
}

#[tokio::test]
async fn what_was_charged_by_a_call_whose_answer_was_lost_is_taken_back() {
    let _quiet = QUIET.read().await;
    let server = Server::start();
    let middle = Middle::start(&server).await;
    let settings = SharedSettings::new(&middle.url);
    let limiter = Limiter::shared(&settings, 10_000, now()).await.unwrap();
    let budget = rule("budget", Dimension::Money, 10_000_000, OnFailure::Deny);
    let open = rule("open", Dimension::Concurrency, 2, OnFailure::Deny);
    spend(&limiter, &budget, 1_000_000).await.unwrap();
    middle.keeps.store(true, Ordering::Relaxed);
    let charges = [
        Charge::new(&budget, &NOBODY, 4_000_000),
        Charge::new(&open, &NOBODY, 1),
    ];
    assert!(limiter.reserve(&charges, now()).await.is_err());
    // One call is that of what was spent before.
    eventually("Redis has charged it", || async {
        server.keys("{opm}:call:*") == 2
    })
    .await;
    middle.keeps.store(false, Ordering::Relaxed);
    middle.breaks.notify_waiters();
    together(&limiter).await;
    eventually("all is free again", || async {
        remaining(&limiter, &budget).await == 9_000_000 && remaining(&limiter, &open).await == 2
    })
    .await;
}
