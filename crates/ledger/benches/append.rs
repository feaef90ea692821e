//! What a record costs: CPU time of the appending thread, write(2) included, and how long the slowest ones take while the
//! keeper syncs. Also how fast a log is read back. Usage: `cargo bench -p opm-ledger --profile quick --bench append [DIR]`.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a bench reports by printing and may fail"
)]

use std::time::{Duration, Instant};

use opm_core::{Format, Usage};
use opm_ledger::{Ending, Ledger, Metered, Options, Outcome, Start, Target};
use rustix::time::{ClockId, clock_gettime};

const RECORDS: usize = 200_000;

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap())
}

fn start(number: usize) -> Start {
    Start {
        request_id: format!("req_{number:024}").into(),
        key: "key_4f9a2c11".into(),
        user: "someone@example.com".into(),
        model: "claude-sonnet-5-5".into(),
        format: Some(Format::Chat),
        target: Some(Target {
            channel: "anthropic-main".into(),
            upstream_model: "claude-sonnet-5-5".into(),
            format: Some(Format::Messages),
        }),
        ..Start::default()
    }
}

fn ending() -> Ending {
    let usage = Usage {
        input: Some(12_345),
        cache_read: Some(10_000),
        output: Some(678),
        ..Usage::default()
    };
    Ending {
        outcome: Outcome::Finished,
        status: 200,
        usage: Metered::reported(usage),
        ttft_ms: Some(420),
        total_ms: 5_300,
        ..Ending::default()
    }
}

fn main() {
    let scratch = tempfile::tempdir().unwrap();
    let given = std::env::args()
        .nth(1)
        .filter(|argument| !argument.starts_with('-'));
    let dir = given.map_or_else(|| scratch.path().to_owned(), Into::into);
    let (ledger, _) = Ledger::open(&dir, Options::default()).unwrap();
    let mut waits = Vec::with_capacity(RECORDS);
    let mut busy = Duration::ZERO;
    for number in 0..RECORDS / 2 {
        let start = start(number);
        let (before, began) = (cpu(), Instant::now());
        let entry = ledger.start(start);
        waits.push(began.elapsed());
        let began = Instant::now();
        entry.end(ending());
        waits.push(began.elapsed());
        busy += cpu() - before;
    }
    waits.sort_unstable();
    let at = |share: usize| {
        waits
            .get(waits.len() * share / 10_000)
            .copied()
            .unwrap_or_default()
    };
    let health = ledger.health();
    let per = busy / u32::try_from(RECORDS).unwrap();
    println!("{RECORDS} records of {} bytes", health.bytes / RECORDS as u64);
    println!(
        "append: {per:?} CPU each; wall p50 {:?}, p99 {:?}, p99.99 {:?}, slowest {:?}",
        at(5000),
        at(9900),
        at(9999),
        waits.last().unwrap()
    );
    println!("{health:?}");
    drop(ledger);
    let began = Instant::now();
    let (_ledger, recovered) = Ledger::open(&dir, Options::default()).unwrap();
    println!(
        "recovery: {:?} for {} bytes, {} unfed",
        began.elapsed(),
        health.bytes,
        recovered.unfed
    );
}
