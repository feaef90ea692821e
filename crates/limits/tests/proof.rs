//! The proof by brute force, in memory: every trailing window, from the upstream's own count.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may"
)]

mod trailing;

use std::collections::HashMap;
use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use opm_limits::{
    Actual, Charge, Dimension, Every, Limiter, Over, Period, Refused, Reservation, Rule, SubjectKind,
    Subjects, Window,
};
use proptest::prelude::*;
use trailing::worst;

const T0: u64 = 1_800_000_000_123;
const LIMIT: u64 = 10_000;

fn reserve(limiter: &Limiter, charges: &[Charge<'_>], now: u64) -> Result<Reservation, Refused> {
    match pin!(limiter.reserve(charges, now)).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("the memory path waits"),
    }
}

/// A small reproducible source of luck.
struct Luck(u64);

impl Luck {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound.max(1)
    }
}

#[derive(Clone, Copy, Debug)]
enum Load {
    /// About three times what fits.
    Steady,
    /// Half a window nothing, then everything.
    Bursts,
    /// Exactly at the instants that the limiter names, and at the edges of slots.
    Edges,
}

/// What an earlier process leaves behind: the costs it admitted, by their time; of running requests what they had reserved.
type Remembered = Vec<(u64, u64)>;

fn restarted(remembered: &Remembered, rule: &Arc<Rule>, now: u64) -> Limiter {
    let limiter = Limiter::memory(1_000);
    // In any order: the newest first, as a gateway reads them.
    for (at, amount) in remembered.iter().rev() {
        limiter.restore(&Charge::new(rule, &Subjects::default(), *amount), *at, now);
    }
    limiter
}

/// Runs a load and returns what the upstream saw: when and how much. A quarter of the requests is held up for at most so many `slots`. The
/// process dies once in `restarts` requests; 0: never.
fn run(load: Load, length: u64, seed: u64, slots: u64, restarts: u64) -> (Vec<(u64, u64)>, u64) {
    let window = Window::new(Duration::from_millis(length)).unwrap();
    let rule = Arc::new(Rule::new("r", Dimension::Tokens, LIMIT, Over::Window(window)).unwrap());
    let mut limiter = Limiter::memory(1_000);
    let guard = window.life_ms() - window.length_ms();
    let subjects = Subjects::default();
    let mut luck = Luck(seed | 1);
    let mut seen = Vec::new();
    let mut remembered = Remembered::new();
    let mut offered = 0;
    let mut now = T0;
    let mut running: Vec<(u64, Reservation, u64, usize)> = Vec::new();
    let mut waiting: Vec<(u64, Reservation, u64, u64)> = Vec::new();
    while now < T0 + 8 * length {
        let cost = 1 + luck.below(LIMIT / 20);
        let actual = cost - luck.below(cost / 2 + 1);
        offered += cost;
        let told = match reserve(&limiter, &[Charge::new(&rule, &subjects, cost)], now) {
            Ok(reservation) => {
                // Some are held up on their way to the wire: by a slow store, a busy machine, a connection that has to be made.
                let late = luck.below(4) / 3 * luck.below(slots * window.width_ms());
                waiting.push((now + late, reservation, cost, actual));
                None
            }
            Err(refused) if matches!(load, Load::Edges) => {
                let wait = u64::try_from(refused.retry_after.as_millis()).unwrap();
                Some(wait - u64::from(luck.below(4) == 0).min(wait))
            }
            Err(_) => None,
        };
        let (ready, rest) = waiting.into_iter().partition::<Vec<_>, _>(|entry| entry.0 <= now);
        waiting = rest;
        for (_, mut reservation, cost, actual) in ready {
            if reservation.slack(now).unwrap().is_zero() && !reservation.renew(now) {
                reservation.release();
                continue;
            }
            reservation.sent();
            // It reaches the upstream a little later, and not always by the same delay.
            seen.push((now + luck.below(guard), actual));
            remembered.push((now, cost));
            let number = remembered.len() - 1;
            running.push((now + luck.below(length / 10), reservation, actual, number));
        }
        let step = told.unwrap_or_else(|| match load {
            Load::Steady => luck.below(length / 100),
            Load::Bursts if luck.below(400) == 0 => length / 2 + luck.below(length / 2),
            Load::Bursts => luck.below(2),
            Load::Edges if luck.below(3) == 0 => window.width_ms() - now % window.width_ms() - luck.below(2),
            Load::Edges => 0,
        });
        // Nobody's moment is passed over.
        now = waiting.iter().map(|entry| entry.0).fold(now + step, u64::min);
        let (done, rest) = running.into_iter().partition::<Vec<_>, _>(|entry| entry.0 <= now);
        running = rest;
        for (_, reservation, tokens, number) in done {
            remembered[number].1 = tokens;
            reservation.settle(Actual { tokens, money: 0 });
        }
        if restarts > 0 && luck.below(restarts) == 0 {
            running.clear();
            waiting.clear();
            limiter = restarted(&remembered, &rule, now);
        }
    }
    (seen, offered)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn no_trailing_window_ever_exceeds_the_limit(
        load in prop::sample::select(vec![Load::Steady, Load::Bursts, Load::Edges]),
        length in prop::sample::select(vec![1_000_u64, 1_777, 10_000, 60_000, 3_600_000]),
        seed in any::<u64>(),
        slots in prop::sample::select(vec![0_u64, 3]),
    ) {
        let (mut seen, offered) = run(load, length, seed, slots, 0);
        prop_assert!(offered > LIMIT, "the load must seek the limit");
        let most = worst(&mut seen, length);
        prop_assert!(most <= LIMIT, "{most} of {LIMIT} in a window of {length} ms");
        prop_assert!(most >= LIMIT * 8 / 10, "only {most}: the load did not seek the limit");
    }

    #[test]
    fn nor_does_it_over_restarts_and_little_is_lost_to_them(
        load in prop::sample::select(vec![Load::Steady, Load::Bursts, Load::Edges]),
        length in prop::sample::select(vec![1_000_u64, 1_777, 10_000, 60_000, 3_600_000]),
        seed in any::<u64>(),
    ) {
        let (mut seen, _) = run(load, length, seed, 3, 60);
        let most = worst(&mut seen, length);
        prop_assert!(most <= LIMIT, "{most} of {LIMIT} in a window of {length} ms");
        prop_assert!(most >= LIMIT * 7 / 10, "only {most}: the load did not seek the limit");
    }
}

#[test]
fn what_is_restored_counts_in_its_slot_and_what_is_over_or_ahead_does_not_shut_anybody_out() {
    const LENGTH: u64 = 60_000;
    let over = Over::Window(Window::new(Duration::from_millis(LENGTH)).unwrap());
    let rule = Arc::new(Rule::new("r", Dimension::Tokens, 100, over).unwrap());
    let limiter = Limiter::memory(100);
    let subjects = Subjects::default();
    let left = |now| {
        let look = reserve(&limiter, &[Charge::new(&rule, &subjects, 0)], now).unwrap();
        look.standings()[0].remaining
    };
    let restore = |amount, at| limiter.restore(&Charge::new(&rule, &subjects, amount), at, T0);
    restore(10, T0 - 30_000);
    // A clock that was set back: it counts from now on.
    restore(7, T0 + 3_600_000);
    restore(5, T0 - 2 * LENGTH);
    restore(20, T0 - 50_000);
    assert_eq!(left(T0), 63);
    assert_eq!(left(T0 + 12_000), 83);
    assert_eq!(left(T0 + 32_000), 93);
    assert_eq!(left(T0 + 62_000), 100);
}

/// Admits as much as an exact log of all requests would, but for the slots' delay.
#[test]
fn steady_load_gets_at_least_97_percent_of_what_an_exact_log_admits() {
    const LENGTH: u64 = 60_000;
    let window = Window::new(Duration::from_millis(LENGTH)).unwrap();
    let rule = Arc::new(Rule::new("r", Dimension::Tokens, LIMIT, Over::Window(window)).unwrap());
    let limiter = Limiter::memory(1_000);
    let (mut log, mut log_sum) = (VecDeque::new(), 0);
    let (mut exact, mut ours) = (0, 0);
    let mut luck = Luck(7);
    let mut now = T0;
    while now < T0 + 60 * LENGTH {
        let cost = 1 + luck.below(100);
        while let Some((_, left)) = log.pop_front_if(|(at, _): &mut (u64, u64)| *at + LENGTH <= now) {
            log_sum -= left;
        }
        if log_sum + cost <= LIMIT {
            log.push_back((now, cost));
            log_sum += cost;
            exact += cost;
        }
        if let Ok(mut reservation) = reserve(&limiter, &[Charge::new(&rule, &Subjects::default(), cost)], now)
        {
            reservation.sent();
            ours += cost;
        }
        now += luck.below(200);
    }
    let share = ours * 1_000 / exact;
    assert!(
        (970..=1_000).contains(&share),
        "{share} per mille of an exact log"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// A table with room for a fraction of the users: nobody gets more than the limit, wherever he is counted.
    #[test]
    fn a_full_table_lets_nobody_exceed_his_limit(seed in any::<u64>()) {
        const LENGTH: u64 = 1_000;
        let over = Over::Window(Window::new(Duration::from_millis(LENGTH)).unwrap());
        let rule = |name, dimension, over| Rule::new(name, dimension, 100, over).unwrap().by(&[SubjectKind::User]);
        let tokens = Arc::new(rule("tokens", Dimension::Tokens, over));
        let open = Arc::new(rule("open", Dimension::Concurrency, Over::Open));
        let limiter = Limiter::memory(128);
        let mut luck = Luck(seed | 1);
        let mut seen: HashMap<u64, Vec<(u64, u64)>> = HashMap::new();
        let mut running: HashMap<u64, Vec<Reservation>> = HashMap::new();
        let mut now = T0;
        for _ in 0..30_000 {
            // Few users ask often, many once: some live in the table, some in the overflow, and they change places.
            let user = if luck.below(2) == 0 { luck.below(20) } else { luck.below(600) };
            let name = user.to_string();
            let subjects = Subjects { user: Some(&name), ..Subjects::default() };
            let cost = 1 + luck.below(60);
            if let Ok(mut reservation) = reserve(&limiter, &[Charge::new(&tokens, &subjects, cost)], now) {
                reservation.sent();
                seen.entry(user).or_default().push((now, cost));
            }
            if let Ok(reservation) = reserve(&limiter, &[Charge::new(&open, &subjects, 1)], now) {
                running.entry(user).or_default().push(reservation);
                prop_assert!(running[&user].len() <= 100);
            }
            if luck.below(3) == 0 {
                let other = luck.below(600);
                running.remove(&other);
            }
            now += luck.below(5) * luck.below(2);
            if luck.below(3_000) == 0 {
                now += 5 * LENGTH;
            }
        }
        prop_assert!(limiter.health().subjects <= 128);
        for (user, events) in &mut seen {
            let most = worst(events, LENGTH);
            prop_assert!(most <= 100, "user {user} got {most}");
        }
    }
}

/// Many threads over overlapping subjects: no dead end, no window and no budget over, nothing charged by halves.
#[test]
fn threads_that_share_subjects_neither_deadlock_nor_exceed() {
    let limiter = Limiter::memory(1_000);
    let hour = || Over::Window(Window::new(Duration::from_secs(3_600)).unwrap());
    let rules: Vec<Arc<Rule>> = [
        SubjectKind::Key,
        SubjectKind::User,
        SubjectKind::Model,
        SubjectKind::Channel,
    ]
    .into_iter()
    .map(|kind| {
        Arc::new(
            Rule::new("r", Dimension::Tokens, 20_000, hour())
                .unwrap()
                .by(&[kind]),
        )
    })
    .collect();
    let budget = Period::new(Every::Day, "UTC").unwrap();
    let budget = Arc::new(Rule::new("b", Dimension::Money, 50_000_000, Over::Period(budget)).unwrap());
    let names: Vec<String> = (0..4).map(|name| name.to_string()).collect();
    let admitted = |seed: u64| {
        let mut luck = Luck(seed);
        let mut sums = HashMap::new();
        for _ in 0..5_000 {
            let mut pick = || Some(names[usize::try_from(luck.below(4)).unwrap()].as_str());
            let subjects = Subjects {
                key: pick(),
                user: pick(),
                model: pick(),
                channel: pick(),
            };
            let mut charges: Vec<Charge<'_>> = rules
                .iter()
                .map(|rule| Charge::new(rule, &subjects, 10))
                .collect();
            charges.push(Charge::new(&budget, &subjects, 10_000));
            let shift = usize::try_from(luck.below(5)).unwrap();
            charges.rotate_left(shift);
            if let Ok(mut reservation) = reserve(&limiter, &charges, T0) {
                reservation.sent();
                for value in [subjects.key, subjects.user, subjects.model, subjects.channel]
                    .into_iter()
                    .enumerate()
                {
                    *sums.entry((value.0, value.1.unwrap().to_owned())).or_insert(0) += 10_u64;
                }
            }
        }
        sums
    };
    let mut total: HashMap<(usize, String), u64> = HashMap::new();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (1..=8).map(|seed| scope.spawn(move || admitted(seed))).collect();
        for thread in threads {
            for (subject, sum) in thread.join().unwrap() {
                *total.entry(subject).or_default() += sum;
            }
        }
    });
    assert!(total.values().all(|sum| *sum <= 20_000), "{total:?}");
    let keys: u64 = total
        .iter()
        .filter(|(subject, _)| subject.0 == 0)
        .map(|(_, sum)| sum)
        .sum();
    assert!(
        keys <= 50_000,
        "the budget admits 5,000 requests of 10 tokens: {keys}"
    );
    for (at, rule) in rules.iter().enumerate() {
        for name in &names {
            let subjects = Subjects {
                key: Some(name),
                user: Some(name),
                model: Some(name),
                channel: Some(name),
            };
            let used = total.get(&(at, name.clone())).copied().unwrap_or_default();
            let look = reserve(&limiter, &[Charge::new(rule, &subjects, 0)], T0).unwrap();
            assert_eq!(look.standings()[0].remaining, 20_000 - used, "charged by halves");
        }
    }
}
