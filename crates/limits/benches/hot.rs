//! Reserve and settle in memory, at 100,000 subjects.
//!
//! Usage: `hot CASE COUNT` under callgrind (the difference between two counts, divided by their difference, is the cost
//! of one operation), or `hot time` for nanoseconds of wall time. Cases: `one` rule, `four` rules, `refused`.

#![expect(clippy::unwrap_used, reason = "a bench whose input is wrong must stop")]
#![expect(clippy::print_stdout, reason = "a bench reports")]

use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use opm_limits::{
    Actual, Charge, Dimension, Limiter, Over, Refused, Reservation, Rule, SUBJECTS_MAX, SubjectKind,
    Subjects, Window,
};

const SUBJECTS: u64 = 100_000;
const T0: u64 = 1_800_000_000_000;

struct Rules {
    user_tokens: Arc<Rule>,
    key_tokens: Arc<Rule>,
    key_requests: Arc<Rule>,
    user_concurrency: Arc<Rule>,
}

fn rules(limit: u64) -> Rules {
    let window = |seconds| Over::Window(Window::new(Duration::from_secs(seconds)).unwrap());
    let rule =
        |name, dimension, limit, over, by| Arc::new(Rule::new(name, dimension, limit, over).unwrap().by(by));
    Rules {
        user_tokens: rule(
            "user",
            Dimension::Tokens,
            limit,
            window(3_600),
            &[SubjectKind::Key, SubjectKind::User],
        ),
        key_tokens: rule(
            "key",
            Dimension::Tokens,
            limit * 1_000,
            window(3_600),
            &[SubjectKind::Key],
        ),
        key_requests: rule(
            "rpm",
            Dimension::Requests,
            1 << 40,
            window(60),
            &[SubjectKind::Key],
        ),
        user_concurrency: rule(
            "open",
            Dimension::Concurrency,
            100,
            Over::Open,
            &[SubjectKind::User],
        ),
    }
}

/// The memory path never waits.
fn reserve(limiter: &Limiter, charges: &[Charge<'_>], now: u64) -> Result<Reservation, Refused> {
    match pin!(limiter.reserve(charges, now)).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => unreachable!("the memory path waits"),
    }
}

fn run(case: &str, limiter: &Limiter, rules: &Rules, users: &[String], count: u64, now: u64) {
    for turn in 0..count {
        // A stride that leaves no subject in the cache of the one before.
        let user = users
            .get((turn.wrapping_mul(7_919) % SUBJECTS) as usize)
            .map(String::as_str);
        let subjects = Subjects {
            key: Some("team-a"),
            user,
            ..Subjects::default()
        };
        let tokens = Charge::new(&rules.user_tokens, &subjects, 1_000);
        let four = [
            tokens,
            Charge::new(&rules.key_tokens, &subjects, 1_000),
            Charge::new(&rules.key_requests, &subjects, 1),
            Charge::new(&rules.user_concurrency, &subjects, 1),
        ];
        let charges = if case == "four" { &four[..] } else { &four[..1] };
        if let Ok(mut reservation) = reserve(limiter, black_box(charges), now + turn / 16) {
            reservation.sent();
            reservation.settle(Actual {
                tokens: 321,
                money: 0,
            });
        }
    }
}

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| !arg.starts_with("--"));
    let case = args.next().unwrap_or_else(|| "time".into());
    let count: u64 = args
        .next()
        .and_then(|count| count.parse().ok())
        .unwrap_or(1_000_000);
    let users: Vec<String> = (0..SUBJECTS)
        .map(|user| format!("user-{user}@example.com"))
        .collect();
    let timed = case == "time";
    let cases: &[&str] = if timed {
        &["one", "four", "refused"]
    } else {
        &[&case]
    };
    for case in cases {
        let limiter = Limiter::memory(SUBJECTS_MAX * 2);
        let rules = rules(if *case == "refused" { 1_000 } else { 1 << 40 });
        run(
            if *case == "four" { "four" } else { "one" },
            &limiter,
            &rules,
            &users,
            SUBJECTS,
            T0,
        );
        let start = Instant::now();
        run(case, &limiter, &rules, &users, count, T0 + 60_000);
        if timed {
            let each = start.elapsed().as_nanos() / u128::from(count.max(1));
            println!(
                "{case:10} {each:6} ns per reserve and settle, {} subjects",
                limiter.health().subjects
            );
        }
    }
}
