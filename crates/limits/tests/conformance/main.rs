//! One suite for both backends: in this process with a clock of the test's own, and in Redis with the real one.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "tests may"
)]

mod instances;
mod ledgers;
mod outages;
mod server;
mod snapshots;
#[path = "../trailing/mod.rs"]
mod trailing;

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use opm_limits::{
    Actual, AtLimit, Charge, Dimension, Every, Limiter, Mode, Over, Period, Refused, Reservation, Rule,
    Spender, SubjectKind, Subjects, Window,
};
use server::{Server, eventually, now};
use tokio::sync::{RwLock, RwLockReadGuard};

struct Stand {
    limiter: Limiter,
    /// The test's own clock; `None`: the real one.
    clock: Option<Cell<u64>>,
    _server: Option<Server>,
    _quiet: RwLockReadGuard<'static, ()>,
}

/// Tests that measure time have the machine for themselves.
static QUIET: RwLock<()> = RwLock::const_new(());

const T0: u64 = 1_800_000_000_000;
const WHO: Subjects<'static> = Subjects {
    key: Some("team-a"),
    user: Some("ada"),
    model: Some("gpt-x"),
    channel: None,
};

impl Stand {
    async fn memory() -> Self {
        Stand {
            limiter: Limiter::memory(10_000),
            clock: Some(Cell::new(T0)),
            _server: None,
            _quiet: QUIET.read().await,
        }
    }

    async fn redis() -> Self {
        let server = Server::start();
        Stand {
            limiter: server.limiter().await,
            clock: None,
            _server: Some(server),
            _quiet: QUIET.read().await,
        }
    }

    fn now(&self) -> u64 {
        self.clock.as_ref().map_or_else(now, Cell::get)
    }

    /// Lets time pass: this suite is about time.
    async fn pass(&self, time: Duration) {
        match &self.clock {
            Some(clock) => clock.set(clock.get() + u64::try_from(time.as_millis()).unwrap()),
            None => tokio::time::sleep(time).await,
        }
    }

    async fn reserve(&self, charges: &[Charge<'_>]) -> Result<Reservation, Refused> {
        self.limiter.reserve(charges, self.now()).await
    }

    async fn take(&self, rule: &Arc<Rule>, amount: u64) -> Result<Reservation, Refused> {
        self.reserve(&[Charge::new(rule, &WHO, amount)]).await
    }

    /// Reserves and keeps it.
    async fn spend(&self, rule: &Arc<Rule>, amount: u64) {
        self.take(rule, amount).await.unwrap().sent();
    }

    async fn remaining(&self, rule: &Arc<Rule>, who: &Subjects<'_>) -> u64 {
        let look = self.reserve(&[Charge::new(rule, who, 0)]).await.unwrap();
        look.standings()[0].remaining
    }

    /// Settling is told to Redis a moment later.
    async fn comes_to_remain(&self, rule: &Arc<Rule>, amount: u64) {
        let what = format!("{} of {}", amount, rule.name());
        eventually(&what, || async { self.remaining(rule, &WHO).await == amount }).await;
    }
}

fn window(millis: u64) -> Over {
    Over::Window(Window::new(Duration::from_millis(millis)).unwrap())
}

fn tokens(limit: u64, over: Over) -> Rule {
    Rule::new("tokens", Dimension::Tokens, limit, over).unwrap()
}

fn hour() -> Over {
    window(3_600_000)
}

fn month() -> Over {
    Over::Period(Period::new(Every::Month, "Asia/Shanghai").unwrap())
}

macro_rules! on_both {
    ($($name:ident)*) => {
        mod memory {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Stand::memory().await).await;
            })*
        }
        mod redis_server {
            $(#[tokio::test]
            async fn $name() {
                super::$name(super::Stand::redis().await).await;
            })*
        }
    };
}

on_both! {
    a_request_is_charged_everywhere_or_nowhere
    settling_corrects_up_and_down
    a_reservation_dropped_before_it_was_sent_gives_everything_back
    a_reservation_dropped_after_it_was_sent_stays
    the_parts_of_a_split_reservation_end_apart
    waiting_as_told_is_enough_and_less_is_not
    waiting_as_told_is_enough_where_more_is_used_than_the_limit_is
    what_was_spent_is_known_although_the_limit_was_lower_when_that_was_told
    the_longest_wait_of_several_rules_is_told
    a_request_larger_than_the_limit_is_clamped_to_it
    a_flexible_request_gets_what_is_left_under_every_rule
    the_numbers_for_the_headers_are_right
    concurrency_is_free_again_when_a_request_ends_in_any_way
    a_budget_is_never_exceeded_by_a_pico_dollar
    a_budget_takes_over_what_the_ledger_knows_but_never_lowers_it
    a_rule_that_warns_admits_and_reports_each_threshold_once
    a_stream_is_topped_up_beyond_its_estimate
    what_strict_rules_hold_too_much_is_lowered
    a_rule_by_what_is_likely_leaves_strict_ones_what_is_free
    subjects_are_counted_apart_and_pairs_too
    the_same_rule_twice_is_charged_once
    a_window_of_requests_refills_slot_by_slot
    a_cost_that_is_sent_late_counts_from_then_on
}

async fn a_request_is_charged_everywhere_or_nowhere(stand: Stand) {
    let wide = Arc::new(tokens(1_000, hour()).by(&[SubjectKind::Key]));
    let narrow = Arc::new(tokens(100, hour()).by(&[SubjectKind::User]));
    let requests = Arc::new(Rule::new("requests", Dimension::Requests, 10, hour()).unwrap());
    let charges = |amount| {
        [
            Charge::new(&wide, &WHO, amount),
            Charge::new(&requests, &WHO, 1),
            Charge::new(&narrow, &WHO, amount),
        ]
    };
    stand.reserve(&charges(60)).await.unwrap().sent();
    let refused = stand.reserve(&charges(60)).await.unwrap_err();
    assert_eq!((&*refused.rule, refused.standing.limit), ("tokens", 100));
    assert_eq!(stand.remaining(&wide, &WHO).await, 940);
    assert_eq!(stand.remaining(&narrow, &WHO).await, 40);
    assert_eq!(stand.remaining(&requests, &WHO).await, 9);
}

async fn settling_corrects_up_and_down(stand: Stand) {
    let rule = Arc::new(tokens(1_000, hour()).mode(Mode::Estimate));
    stand.take(&rule, 400).await.unwrap().settle(Actual {
        tokens: 150,
        money: 0,
    });
    stand.comes_to_remain(&rule, 850).await;
    stand.take(&rule, 100).await.unwrap().settle(Actual {
        tokens: 1_100,
        money: 0,
    });
    stand.comes_to_remain(&rule, 0).await;
    assert!(stand.take(&rule, 1).await.is_err());
}

async fn a_reservation_dropped_before_it_was_sent_gives_everything_back(stand: Stand) {
    let rule = Arc::new(tokens(1_000, hour()));
    let requests = Arc::new(Rule::new("requests", Dimension::Requests, 1, hour()).unwrap());
    let budget = Arc::new(Rule::new("budget", Dimension::Money, 5_000_000, month()).unwrap());
    let charges = [
        Charge::new(&rule, &WHO, 400),
        Charge::new(&requests, &WHO, 1),
        Charge::new(&budget, &WHO, 5_000_000),
    ];
    drop(stand.reserve(&charges).await.unwrap());
    stand.comes_to_remain(&rule, 1_000).await;
    stand.comes_to_remain(&requests, 1).await;
    stand.comes_to_remain(&budget, 5_000_000).await;
    let mut sent = stand.reserve(&charges).await.unwrap();
    sent.sent();
    sent.release();
    stand.comes_to_remain(&rule, 1_000).await;
    stand.comes_to_remain(&requests, 1).await;
}

async fn a_reservation_dropped_after_it_was_sent_stays(stand: Stand) {
    let rule = Arc::new(tokens(1_000, hour()));
    let open = Arc::new(Rule::new("open", Dimension::Concurrency, 1, Over::Open).unwrap());
    let mut sent = stand
        .reserve(&[Charge::new(&rule, &WHO, 400), Charge::new(&open, &WHO, 1)])
        .await
        .unwrap();
    sent.sent();
    drop(sent);
    stand.comes_to_remain(&open, 1).await;
    assert_eq!(stand.remaining(&rule, &WHO).await, 600);
}

async fn the_parts_of_a_split_reservation_end_apart(stand: Stand) {
    let caller = Arc::new(tokens(1_000, hour()));
    let channel = Arc::new(Rule::new("channel", Dimension::Tokens, 1_000, hour()).unwrap());
    let open = Arc::new(Rule::new("open", Dimension::Concurrency, 1, Over::Open).unwrap());
    let charges = [
        Charge::new(&caller, &WHO, 300),
        Charge::new(&channel, &WHO, 300),
        Charge::new(&open, &WHO, 1),
    ];
    let (callers, channels) = stand.reserve(&charges).await.unwrap().split(1);
    assert_eq!((callers.standings().len(), channels.standings().len()), (1, 2));
    assert_eq!(channels.allowance(Dimension::Tokens), Some(300));
    channels.release();
    stand.comes_to_remain(&channel, 1_000).await;
    stand.comes_to_remain(&open, 1).await;
    assert_eq!(stand.remaining(&caller, &WHO).await, 700);
    callers.settle(Actual {
        tokens: 100,
        money: 0,
    });
    stand.comes_to_remain(&caller, 900).await;
}

async fn waiting_as_told_is_enough_and_less_is_not(stand: Stand) {
    let rule = Arc::new(tokens(100, window(1_000)));
    stand.spend(&rule, 60).await;
    stand.pass(Duration::from_millis(300)).await;
    stand.spend(&rule, 40).await;
    for (needed, least) in [(50, 600), (70, 700)] {
        let refused = stand.take(&rule, needed).await.unwrap_err();
        assert!(refused.retry_after >= Duration::from_millis(least), "{refused:?}");
        assert!(refused.retry_after <= Duration::from_millis(1_020), "{refused:?}");
        // On the real clock the request itself takes a moment.
        let early = Duration::from_millis(if stand.clock.is_some() { 1 } else { 40 });
        stand.pass(refused.retry_after - early).await;
        let again = stand.take(&rule, needed).await.unwrap_err();
        assert!(
            again.retry_after <= early && again.retry_after > Duration::ZERO,
            "{again:?}"
        );
        stand.pass(again.retry_after).await;
        stand.spend(&rule, needed).await;
    }
}

async fn waiting_as_told_is_enough_where_more_is_used_than_the_limit_is(stand: Stand) {
    let rule = Arc::new(tokens(100, window(1_000)).mode(Mode::Estimate));
    stand.spend(&rule, 30).await;
    stand.pass(Duration::from_millis(300)).await;
    let mut more = stand.take(&rule, 20).await.unwrap();
    more.sent();
    more.settle(Actual {
        tokens: 220,
        money: 0,
    });
    stand.comes_to_remain(&rule, 0).await;
    let refused = stand.take(&rule, 20).await.unwrap_err();
    assert!(
        refused.retry_after >= Duration::from_millis(900),
        "250 of 100 are used: {refused:?}"
    );
    stand.pass(refused.retry_after).await;
    stand.spend(&rule, 20).await;
}

async fn what_was_spent_is_known_although_the_limit_was_lower_when_that_was_told(stand: Stand) {
    let of = |limit| Arc::new(Rule::new("budget", Dimension::Money, limit, month()).unwrap());
    let (low, high) = (of(2_000_000), of(10_000_000));
    let spent = Charge::new(&low, &WHO, 9_000_000);
    stand.limiter.raise(&spent, Spender::Instance, stand.now());
    stand.comes_to_remain(&low, 0).await;
    stand.comes_to_remain(&high, 1_000_000).await;
    if stand.clock.is_some() {
        let (low, high) = (Arc::new(tokens(300, hour())), Arc::new(tokens(1_000, hour())));
        let used = Charge::new(&low, &WHO, 900);
        stand.limiter.restore(&used, stand.now(), stand.now());
        assert_eq!(stand.remaining(&high, &WHO).await, 100);
    }
}

async fn the_longest_wait_of_several_rules_is_told(stand: Stand) {
    let short = Arc::new(tokens(100, window(1_000)));
    let long = Arc::new(Rule::new("long", Dimension::Tokens, 100, window(60_000)).unwrap());
    let both = [Charge::new(&short, &WHO, 100), Charge::new(&long, &WHO, 100)];
    stand.reserve(&both).await.unwrap().sent();
    let refused = stand.reserve(&both).await.unwrap_err();
    assert_eq!(&*refused.rule, "long");
    assert!(refused.retry_after > Duration::from_secs(50));
    assert!(
        refused
            .to_string()
            .starts_with("limit \"long\" is reached: try again in 6"),
        "{refused}"
    );
}

async fn a_request_larger_than_the_limit_is_clamped_to_it(stand: Stand) {
    let rule = Arc::new(tokens(100, hour()));
    let reservation = stand.take(&rule, 5_000).await.unwrap();
    assert_eq!(reservation.allowance(Dimension::Tokens), Some(100));
    assert!(stand.take(&rule, 5_000).await.is_err());
}

async fn a_flexible_request_gets_what_is_left_under_every_rule(stand: Stand) {
    let small = Arc::new(tokens(1_000, hour()).by(&[SubjectKind::User]));
    let large = Arc::new(tokens(5_000, hour()).by(&[SubjectKind::Key]));
    let likely = Arc::new(tokens(9_000, hour()).mode(Mode::Estimate));
    stand.spend(&small, 700).await;
    let charges = |least| [&large, &small, &likely].map(|rule| Charge::flexible(rule, &WHO, least, 4_096));
    assert!(stand.reserve(&charges(301)).await.is_err());
    let mut reservation = stand.reserve(&charges(100)).await.unwrap();
    reservation.sent();
    assert_eq!(reservation.allowance(Dimension::Tokens), Some(300));
    assert_eq!(reservation.allowance(Dimension::Money), None);
    assert_eq!(stand.remaining(&large, &WHO).await, 4_700);
    assert_eq!(stand.remaining(&likely, &WHO).await, 8_700);
}

async fn the_numbers_for_the_headers_are_right(stand: Stand) {
    let rule = Arc::new(tokens(1_000, window(60_000)));
    let budget = Arc::new(Rule::new("budget", Dimension::Money, 7_000_000, month()).unwrap());
    let charges = [
        Charge::new(&rule, &WHO, 250),
        Charge::new(&budget, &WHO, 1_000_000),
    ];
    let reservation = stand.reserve(&charges).await.unwrap();
    let [window, money] = reservation.standings() else {
        panic!()
    };
    assert_eq!(
        (window.dimension, window.limit, window.remaining),
        (Dimension::Tokens, 1_000, 750)
    );
    assert!(window.reset > Duration::from_millis(60_000) && window.reset <= Duration::from_millis(61_250));
    assert_eq!(
        (money.dimension, money.limit, money.remaining),
        (Dimension::Money, 7_000_000, 6_000_000)
    );
    assert!(money.reset <= Duration::from_secs(31 * 86_400));
    let refused = stand.take(&rule, 751).await.unwrap_err();
    assert_eq!((refused.standing.limit, refused.standing.remaining), (1_000, 750));
    assert!(refused.standing.reset >= refused.retry_after);
}

async fn concurrency_is_free_again_when_a_request_ends_in_any_way(stand: Stand) {
    let rule = Arc::new(Rule::new("open", Dimension::Concurrency, 3, Over::Open).unwrap());
    let mut running = Vec::new();
    for _ in 0..3 {
        running.push(stand.take(&rule, 1).await.unwrap());
    }
    let refused = stand.take(&rule, 1).await.unwrap_err();
    assert_eq!(
        (refused.retry_after, refused.standing.remaining),
        (Duration::from_secs(1), 0)
    );
    running.pop().unwrap().settle(Actual::default());
    running.pop().unwrap().release();
    running[0].sent();
    running.clear();
    stand.comes_to_remain(&rule, 3).await;
}

async fn a_budget_is_never_exceeded_by_a_pico_dollar(stand: Stand) {
    const LIMIT: u64 = 50_000_000_000_000;
    let rule = Arc::new(Rule::new("budget", Dimension::Money, LIMIT, month()).unwrap());
    let mut spent = 0_u64;
    let mut price = 1_234_567_890_123;
    while let Ok(reservation) = stand.take(&rule, price).await {
        let cost = price - price % 7;
        reservation.settle(Actual {
            tokens: 0,
            money: cost,
        });
        spent += cost;
        price = price * 9 / 10 + 11;
        assert!(spent <= LIMIT);
        if price < 1_000 {
            break;
        }
    }
    let counted = spent.div_ceil(1_000) * 1_000;
    eventually("what is settled is told", || async {
        stand.remaining(&rule, &WHO).await <= LIMIT - counted
    })
    .await;
    let rest = stand.remaining(&rule, &WHO).await;
    let refused = stand.take(&rule, rest + 1_000).await.unwrap_err();
    assert_eq!(refused.standing.remaining, rest);
    assert!(refused.retry_after > Duration::ZERO && refused.retry_after <= Duration::from_secs(31 * 86_400));
    stand.spend(&rule, rest).await;
    assert!(stand.take(&rule, 1).await.is_err());
    if stand.clock.is_some() {
        stand.pass(refused.retry_after - Duration::from_millis(1)).await;
        assert!(stand.take(&rule, 1).await.is_err());
        stand.pass(Duration::from_millis(1)).await;
        stand.spend(&rule, LIMIT).await;
    }
}

async fn a_budget_takes_over_what_the_ledger_knows_but_never_lowers_it(stand: Stand) {
    let rule = Arc::new(Rule::new("budget", Dimension::Money, 10_000_000, month()).unwrap());
    stand.limiter.raise(
        &Charge::new(&rule, &WHO, 4_000_000),
        Spender::Instance,
        stand.now(),
    );
    stand.comes_to_remain(&rule, 6_000_000).await;
    stand.limiter.raise(
        &Charge::new(&rule, &WHO, 3_000_000),
        Spender::Instance,
        stand.now(),
    );
    stand.spend(&rule, 1_000_000).await;
    stand.comes_to_remain(&rule, 5_000_000).await;
}

async fn a_rule_that_warns_admits_and_reports_each_threshold_once(stand: Stand) {
    let rule = tokens(100, hour())
        .at_limit(AtLimit::Warn)
        .warn_at(&[50, 80, 100])
        .unwrap();
    let rule = Arc::new(rule);
    let mut seen = Vec::new();
    for _ in 0..5 {
        let mut reservation = stand.take(&rule, 45).await.unwrap();
        reservation.sent();
        let crossed = stand.limiter.crossing(&rule, &WHO, stand.now());
        seen.push((crossed, reservation.standings()[0].remaining));
    }
    assert_eq!(
        seen,
        [
            (vec![], 55),
            (vec![50, 80], 10),
            (vec![100], 0),
            (vec![], 0),
            (vec![], 0)
        ]
    );
}

async fn a_stream_is_topped_up_beyond_its_estimate(stand: Stand) {
    let rule = Arc::new(tokens(1_000, hour()).mode(Mode::Estimate));
    let mut stream = stand.take(&rule, 300).await.unwrap();
    assert_eq!(stream.allowance(Dimension::Tokens), None);
    for so_far in [256, 512, 768] {
        stream.top_up(Actual {
            tokens: so_far,
            money: 0,
        });
    }
    stand.comes_to_remain(&rule, 232).await;
    drop(stream);
    stand.comes_to_remain(&rule, 232).await;
}

/// Two rules of one dimension: one by what is granted, one by what is likely.
fn strict_and_likely() -> (Arc<Rule>, Arc<Rule>) {
    let likely = tokens(1_000, hour()).mode(Mode::Estimate);
    (
        Arc::new(tokens(1_000, hour())),
        Arc::new(likely.by(&[SubjectKind::User])),
    )
}

async fn what_strict_rules_hold_too_much_is_lowered(stand: Stand) {
    let (strict, likely) = strict_and_likely();
    let charges = [
        Charge::flexible(&strict, &WHO, 300, 400),
        Charge::new(&likely, &WHO, 100),
    ];
    let mut reservation = stand.reserve(&charges).await.unwrap();
    let lower = |tokens| Actual { tokens, money: 0 };
    reservation.lower(lower(150));
    assert_eq!(reservation.allowance(Dimension::Tokens), Some(250));
    stand.comes_to_remain(&strict, 750).await;
    reservation.lower(lower(9_000));
    stand.comes_to_remain(&strict, 1_000).await;
    stand.comes_to_remain(&likely, 900).await;
}

async fn a_rule_by_what_is_likely_leaves_strict_ones_what_is_free(stand: Stand) {
    let (strict, likely) = strict_and_likely();
    stand.spend(&strict, 100).await;
    let charges = [
        Charge::flexible(&strict, &WHO, 300, 2_000),
        Charge::new(&likely, &WHO, 350),
    ];
    let reservation = stand.reserve(&charges).await.unwrap();
    assert_eq!(reservation.allowance(Dimension::Tokens), Some(900));
    assert_eq!(reservation.standings()[1].remaining, 650);
}

async fn subjects_are_counted_apart_and_pairs_too(stand: Stand) {
    let pair = Arc::new(tokens(100, hour()).by(&[SubjectKind::Key, SubjectKind::Model]));
    stand.spend(&pair, 80).await;
    let other_user = Subjects {
        user: Some("bob"),
        ..WHO
    };
    let other_model = Subjects {
        model: Some("claude-x"),
        ..WHO
    };
    let other_key = Subjects {
        key: Some("team-b"),
        ..WHO
    };
    assert_eq!(stand.remaining(&pair, &other_user).await, 20);
    assert_eq!(stand.remaining(&pair, &other_model).await, 100);
    assert_eq!(stand.remaining(&pair, &other_key).await, 100);
}

async fn the_same_rule_twice_is_charged_once(stand: Stand) {
    let rule = Arc::new(tokens(100, hour()));
    let twice = [Charge::new(&rule, &WHO, 60), Charge::new(&rule, &WHO, 70)];
    let mut reservation = stand.reserve(&twice).await.unwrap();
    reservation.sent();
    assert_eq!(reservation.standings().len(), 1);
    assert_eq!(stand.remaining(&rule, &WHO).await, 30);
}

async fn a_cost_that_is_sent_late_counts_from_then_on(stand: Stand) {
    let rule = Arc::new(tokens(100, window(2_000)));
    let mut late = stand.take(&rule, 100).await.unwrap();
    let slot = Duration::from_millis(17);
    let slack = late.slack(stand.now()).unwrap();
    assert!(slack < slot, "good while its slot lasts: {slack:?}");
    stand.pass(Duration::from_millis(1_500)).await;
    assert_eq!(late.slack(stand.now()), Some(Duration::ZERO));
    assert!(late.renew(stand.now()));
    let slack = late.slack(stand.now()).unwrap();
    assert!(slack > Duration::ZERO && slack < 2 * slot, "{slack:?}");
    late.sent();
    stand.pass(Duration::from_millis(1_000)).await;
    assert!(
        stand.take(&rule, 1).await.is_err(),
        "by its admission it would have left"
    );
    late.settle(Actual { tokens: 40, money: 0 });
    stand.comes_to_remain(&rule, 60).await;
    let mut gone = stand.take(&rule, 60).await.unwrap();
    stand.pass(Duration::from_millis(2_100)).await;
    assert!(!gone.renew(stand.now()), "its slot has left");
    gone.release();
    stand.comes_to_remain(&rule, 100).await;
}

async fn a_window_of_requests_refills_slot_by_slot(stand: Stand) {
    let rule = Arc::new(Rule::new("rpm", Dimension::Requests, 4, window(1_000)).unwrap());
    for _ in 0..4 {
        stand.spend(&rule, 1).await;
        stand.pass(Duration::from_millis(100)).await;
    }
    let mut waits = Vec::new();
    for _ in 0..4 {
        let refused = stand.take(&rule, 1).await.unwrap_err();
        waits.push(refused.retry_after);
        stand.pass(refused.retry_after).await;
        stand.spend(&rule, 1).await;
    }
    // By a real clock the pauses before may have been longer.
    let least = if stand.clock.is_some() { 590 } else { 400 };
    assert!(waits[0] >= Duration::from_millis(least), "{waits:?}");
    assert!(
        waits[1..].iter().all(|wait| *wait <= Duration::from_millis(140)),
        "{waits:?}"
    );
}
