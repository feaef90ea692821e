//! A Redis that comes back with data that are older than what it has said: from a snapshot, or as a replica that lagged behind.

use std::sync::Arc;

use opm_limits::{Charge, Dimension, Limiter, OnFailure, Rule, SharedSettings};

use crate::outages::{NOBODY, remaining, rule, spend, together};
use crate::server::{Server, eventually, now};
use crate::{QUIET, hour, tokens};

struct Rules {
    budget: Arc<Rule>,
    window: Arc<Rule>,
    open: Arc<Rule>,
}

impl Rules {
    fn new() -> Self {
        Rules {
            budget: rule("budget", Dimension::Money, 10_000_000, OnFailure::Deny),
            window: Arc::new(tokens(1_000, hour()).on_failure(OnFailure::Deny)),
            open: rule("open", Dimension::Concurrency, 2, OnFailure::Deny),
        }
    }

    async fn spend(&self, limiter: &Limiter, share: u64) {
        spend(limiter, &self.budget, 1_000_000 * share).await.unwrap();
        spend(limiter, &self.window, 100 * share).await.unwrap();
    }

    async fn assert_left(&self, limiter: &Limiter, share: u64) {
        assert_eq!(remaining(limiter, &self.budget).await, 1_000_000 * share);
        assert_eq!(remaining(limiter, &self.window).await, 100 * share);
    }
}

async fn noticed(all: [&Limiter; 2], outages: u32) {
    eventually("both have noticed", || async {
        all.iter().all(|one| one.health().outages == outages)
    })
    .await;
    for one in all {
        together(one).await;
    }
}

#[tokio::test]
async fn what_was_admitted_since_a_snapshot_is_not_forgotten_with_it() {
    let _quiet = QUIET.read().await;
    let mut server = Server::start();
    let (one, two) = (server.limiter().await, server.limiter().await);
    let rules = Rules::new();
    rules.spend(&one, 2).await;
    let charge = [Charge::new(&rules.open, &NOBODY, 1)];
    let ended = one.reserve(&charge, now()).await.unwrap();
    server.command("SAVE");
    drop(ended);
    rules.spend(&one, 1).await;
    rules.spend(&two, 3).await;
    let _running = two.reserve(&charge, now()).await.unwrap();
    for outages in 1..=2 {
        // The second time both have been told of data that are newer than the snapshot's.
        server.restart();
        noticed([&one, &two], outages).await;
        rules.assert_left(&one, 4).await;
        rules.assert_left(&two, 4).await;
        let _second = one.reserve(&charge, now()).await.unwrap();
        assert!(two.reserve(&charge, now()).await.is_err());
    }
}

#[tokio::test]
async fn a_redis_that_has_lost_nothing_is_believed_after_a_restart() {
    let _quiet = QUIET.read().await;
    let mut server = Server::start();
    let (one, two) = (server.limiter().await, server.limiter().await);
    let rules = Rules::new();
    rules.spend(&one, 2).await;
    {
        // What has ended, it alone knows.
        let ended = server.limiter().await;
        rules.spend(&ended, 3).await;
    }
    server.restart_saved();
    noticed([&one, &two], 1).await;
    rules.assert_left(&two, 5).await;
}

/// Where a gateway and its Redis lie on one machine, both may be down at once.
#[tokio::test]
async fn an_instance_that_was_down_too_knows_that_a_snapshot_is_old() {
    let _quiet = QUIET.read().await;
    let mut server = Server::start();
    let settings = SharedSettings {
        memory: Some(server.file("own")),
        ..SharedSettings::new(&server.url())
    };
    let rules = Rules::new();
    server.command("SAVE");
    for life in 0..=1 {
        let limiter = Limiter::shared(&settings, 10_000, now()).await.unwrap();
        // What its own records say.
        let before = Charge::new(&rules.window, &NOBODY, 300 * life);
        limiter.restore(&before, now(), now());
        limiter.remember();
        limiter.joined().await;
        assert_eq!(remaining(&limiter, &rules.window).await, 1_000 - 300 * life);
        if life == 0 {
            spend(&limiter, &rules.window, 100).await.unwrap();
            server.command("SAVE");
            spend(&limiter, &rules.window, 200).await.unwrap();
            let file = server.file("own");
            let noted = || std::fs::read_to_string(&file).unwrap_or_default();
            eventually("it has noted how far Redis is", || async {
                noted().split(' ').count() == 6
            })
            .await;
            // As the note is some seconds later.
            let note = noted();
            let (rest, _) = note.rsplit_once(' ').unwrap();
            let calls = server.text("{opm}:calls");
            std::fs::write(&file, format!("{rest} {calls}\n")).unwrap();
        }
        drop(limiter);
        server.restart();
    }
}
