//! Budgets over restarts and lost data: what ledgers know, of one instance each or of all together.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use opm_limits::{Actual, Charge, Dimension, Limiter, OnFailure, Rule, SharedSettings, Spender};
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use crate::QUIET;
use crate::outages::{NOBODY, remaining, rule, spend, together};
use crate::server::{Server, eventually, now};

const LIMIT: u64 = 10_000_000;

fn budget() -> Arc<Rule> {
    rule("budget", Dimension::Money, LIMIT, OnFailure::Deny)
}

/// What stores of their own know at the start is told as parts.
#[tokio::test]
async fn what_was_spent_before_the_start_counts_once_also_in_an_emptied_redis() {
    let _quiet = QUIET.read().await;
    let server = Server::start();
    let (one, two) = (server.limiter().await, server.limiter().await);
    let budget = budget();
    spend(&one, &budget, 4_000_000).await.unwrap();
    spend(&two, &budget, 3_000_000).await.unwrap();
    // Both are started again, with what each knows of itself.
    drop((one, two));
    let (one, two) = (server.limiter().await, server.limiter().await);
    for (limiter, part) in [(&one, 4_000_000), (&two, 3_000_000)] {
        limiter.raise(&Charge::new(&budget, &NOBODY, part), Spender::Instance, now());
    }
    assert_eq!(remaining(&one, &budget).await, 3_000_000);
    spend(&two, &budget, 1_000_000).await.unwrap();
    server.command("FLUSHALL");
    eventually("both have noticed", || async {
        one.health().outages == 1 && two.health().outages == 1
    })
    .await;
    together(&one).await;
    together(&two).await;
    assert_eq!(remaining(&two, &budget).await, 2_000_000);
}

#[tokio::test]
async fn an_instance_that_an_emptied_redis_has_forgotten_tells_what_it_has_spent_once() {
    let _quiet = QUIET.read().await;
    let server = Server::start();
    let settings = SharedSettings {
        memory: Some(server.file("own")),
        ..SharedSettings::new(&server.url())
    };
    for spent in [0, 3_000_000] {
        let limiter = Limiter::shared(&settings, 10_000, now()).await.unwrap();
        limiter.raise(&Charge::new(&budget(), &NOBODY, spent), Spender::Instance, now());
        limiter.remember();
        limiter.joined().await;
        assert_eq!(remaining(&limiter, &budget()).await, LIMIT - spent);
        spend(&limiter, &budget(), 3_000_000 - spent).await.unwrap();
        let file = server.file("own");
        eventually("it has noted that Redis knows it", || async {
            std::fs::read_to_string(&file).is_ok_and(|note| note.contains(" - met "))
        })
        .await;
        drop(limiter);
        server.command("FLUSHALL");
    }
}

/// What one settles before it has noticed would come off the part that the other has told already.
#[tokio::test]
async fn what_is_settled_of_a_store_that_is_gone_is_not_taken_from_the_new_one() {
    let _quiet = QUIET.write().await;
    let server = Server::start();
    let (one, two) = (server.limiter().await, server.limiter().await);
    let budget = budget();
    for round in 1..=5 {
        let mut running = Vec::new();
        for _ in 0..10 {
            let charge = [Charge::new(&budget, &NOBODY, 300_000)];
            running.push(one.reserve(&charge, now()).await.unwrap());
        }
        spend(&two, &budget, 1_000_000).await.unwrap();
        server.command("FLUSHALL");
        // It notices at once, and tells its part: beside the common keys there is the budget, and news of it.
        assert!(spend(&two, &budget, 1).await.is_err());
        eventually("it has told", || async {
            matches!(server.command("DBSIZE"), redis::Value::Int(6..))
        })
        .await;
        for mut reservation in running {
            reservation.sent();
            reservation.settle(Actual {
                tokens: 0,
                money: 10_000,
            });
        }
        eventually("both have noticed", || async {
            one.health().outages == round && two.health().outages == round
        })
        .await;
        together(&one).await;
        together(&two).await;
        let left = LIMIT - u64::from(round) * 1_100_000;
        assert_eq!(remaining(&one, &budget).await, left, "round {round}");
    }
}

/// One store of several instances: what it was fed, by the name of who spent it; empty for what an older gateway has fed.
#[derive(Clone, Default)]
struct Common(Arc<Mutex<BTreeMap<String, u64>>>);

impl Common {
    fn feed(&self, name: &str, amount: u64) {
        *self.0.lock().entry(name.to_owned()).or_default() += amount;
    }

    fn tell(&self, limiter: &Limiter, budget: &Arc<Rule>) {
        let known = self.0.lock();
        let parts: Vec<(&str, u64)> = known
            .iter()
            .map(|(name, amount)| (name.as_str(), *amount))
            .collect();
        let all = parts.iter().map(|part| part.1).sum();
        limiter.raise(&Charge::new(budget, &NOBODY, all), Spender::Each(&parts), now());
    }
}

struct Instance {
    limiter: Limiter,
    common: Common,
    reader: JoinHandle<()>,
    outages: u32,
}

impl Instance {
    async fn start(server: &Server, common: &Common, name: &str) -> Self {
        let settings = SharedSettings {
            memory: Some(server.file(name)),
            has_common_ledger: true,
            ..SharedSettings::new(&server.url())
        };
        let limiter = Limiter::shared(&settings, 10_000, now()).await.unwrap();
        common.tell(&limiter, &budget());
        limiter.remember();
        let (recalled, read) = (limiter.clone(), common.clone());
        let reader = tokio::spawn(async move {
            loop {
                let since = recalled.stale().await;
                read.tell(&recalled, &budget());
                recalled.recalled(since);
            }
        });
        let file: PathBuf = server.file(name);
        eventually("it has noted who it is", || async { file.exists() }).await;
        together(&limiter).await;
        Instance {
            outages: limiter.health().outages,
            limiter,
            common: common.clone(),
            reader,
        }
    }

    /// Spends so much, of which the store is fed a part.
    async fn spend(&self, amount: u64, fed: u64) {
        spend(&self.limiter, &budget(), amount).await.unwrap();
        self.common.feed(self.limiter.name().unwrap(), fed);
    }

    /// What is left, once the store decides again for all after `loss`, if that is one.
    async fn left(&mut self, lost: bool) -> u64 {
        self.outages += u32::from(lost);
        let outages = self.outages;
        eventually("it has noticed", || async {
            self.limiter.health().outages == outages
        })
        .await;
        together(&self.limiter).await;
        remaining(&self.limiter, &budget()).await
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// What is left by all of them after the data were lost.
async fn left_after_loss(server: &Server, instances: &mut [&mut Instance]) -> u64 {
    server.command("FLUSHALL");
    for instance in instances.iter_mut() {
        instance.left(true).await;
    }
    // All have told.
    instances[0].left(false).await
}

#[tokio::test]
async fn a_common_ledger_makes_good_what_an_emptied_redis_forgot_of_those_that_have_ended() {
    let _quiet = QUIET.write().await;
    let server = Server::start();
    let common = Common::default();
    let mut one = Instance::start(&server, &common, "one").await;
    let three = Instance::start(&server, &common, "three").await;
    three.spend(3_000_000, 3_000_000).await;
    drop(three);
    let mut two = Instance::start(&server, &common, "two").await;
    assert_eq!(two.left(false).await, 7_000_000, "nothing twice");
    // After the other has started, and some of it is not fed yet.
    one.spend(2_000_000, 1_000_000).await;
    assert_eq!(two.left(false).await, 5_000_000);
    for _ in 0..3 {
        let left = left_after_loss(&server, &mut [&mut one, &mut two]).await;
        assert_eq!(left, 5_000_000);
    }
    two.spend(500_000, 0).await;
    common.feed(one.limiter.name().unwrap(), 1_000_000);
    drop(one);
    let left = left_after_loss(&server, &mut [&mut two]).await;
    assert_eq!(left, 4_500_000, "both others have ended");
    let mut one = Instance::start(&server, &common, "one").await;
    assert_eq!(one.left(false).await, 4_500_000, "one is back");
    let mut three = Instance::start(&server, &common, "three").await;
    assert_eq!(three.left(false).await, 4_500_000, "three is back");
    three.spend(500_000, 0).await;
    let left = left_after_loss(&server, &mut [&mut one, &mut two, &mut three]).await;
    assert_eq!(left, 4_000_000);
}

#[tokio::test]
async fn whoever_starts_first_tells_an_emptied_redis_what_the_common_ledger_knows() {
    let _quiet = QUIET.read().await;
    let mut server = Server::start();
    let common = Common::default();
    common.feed("", 1_000_000);
    let one = Instance::start(&server, &common, "one").await;
    let two = Instance::start(&server, &common, "two").await;
    one.spend(2_000_000, 2_000_000).await;
    two.spend(1_000_000, 1_000_000).await;
    assert_eq!(remaining(&one.limiter, &budget()).await, 6_000_000);
    drop((one, two));
    server.restart();
    for name in ["new", "one", "newer", "two"] {
        let mut instance = Instance::start(&server, &common, name).await;
        eventually(name, || async {
            remaining(&instance.limiter, &budget()).await == 6_000_000
        })
        .await;
        assert_eq!(instance.left(false).await, 6_000_000, "{name}");
    }
}

/// In an upgrade the old process still runs when the new one begins, with what their ledger knows of both.
#[tokio::test]
async fn two_processes_of_one_instance_tell_an_emptied_redis_what_each_has_spent() {
    let _quiet = QUIET.read().await;
    let server = Server::start();
    let budget = budget();
    let settings = |beside| SharedSettings {
        memory: Some(server.file("own")),
        beside,
        ..SharedSettings::new(&server.url())
    };
    let start = async |beside, spent| {
        let limiter = Limiter::shared(&settings(beside), 10_000, now()).await.unwrap();
        limiter.raise(&Charge::new(&budget, &NOBODY, spent), Spender::Instance, now());
        limiter.remember();
        limiter.joined().await;
        limiter
    };
    let old = start(0, 0).await;
    spend(&old, &budget, 2_000_000).await.unwrap();
    let new = start(1, 2_000_000).await;
    spend(&old, &budget, 1_000_000).await.unwrap();
    spend(&new, &budget, 500_000).await.unwrap();
    empty(&server, &[&old, &new]).await;
    assert_eq!(remaining(&new, &budget).await, LIMIT - 3_500_000);
    // The old one ends; the new one learns from their ledger what it has spent since.
    drop(old);
    new.inherited();
    new.raise(
        &Charge::new(&budget, &NOBODY, 3_500_000),
        Spender::Instance,
        now(),
    );
    empty(&server, &[&new]).await;
    assert_eq!(remaining(&new, &budget).await, LIMIT - 3_500_000);
}

/// Empties the store, and waits until all have told theirs.
async fn empty(server: &Server, all: &[&Limiter]) {
    let outages = || all.iter().map(|one| one.health().outages).sum::<u32>();
    let before = outages();
    server.command("FLUSHALL");
    let noticed = before + u32::try_from(all.len()).unwrap();
    eventually("all have noticed", || async { outages() >= noticed }).await;
    for one in all {
        together(one).await;
    }
}
