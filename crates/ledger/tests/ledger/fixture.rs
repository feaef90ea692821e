//! What the tests share: requests, endings, a store in memory, and waiting with a deadline.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use opm_core::{Format, Usage};
use opm_ledger::{
    Ending, Ledger, Metered, Options, Outcome, PicoUsd, Recovered, Row, Settled, Sink, SinkError, Start,
    Target, Ticket,
};

pub(crate) fn target(channel: &str) -> Target {
    Target {
        channel: channel.into(),
        upstream_model: "claude-sonnet-5".into(),
        format: Some(Format::Messages),
    }
}

pub(crate) fn request(id: &str) -> Start {
    Start {
        request_id: id.into(),
        key: "key_1".into(),
        user: "ann".into(),
        model: "smart".into(),
        format: Some(Format::Chat),
        target: Some(target("claude")),
        ..Start::default()
    }
}

pub(crate) fn usage(input: u64, output: u64) -> Metered {
    Metered::reported(Usage {
        input: Some(input),
        output: Some(output),
        ..Usage::default()
    })
}

pub(crate) fn ending(outcome: Outcome) -> Ending {
    Ending {
        outcome,
        status: 200,
        usage: usage(10, 5),
        cost: Some(PicoUsd(75)),
        ttft_ms: Some(3),
        total_ms: 9,
        ..Ending::default()
    }
}

pub(crate) fn open(dir: &Path) -> (Ledger, Recovered) {
    Ledger::open(dir, Options::default()).unwrap()
}

/// A store: rows by their key, and how often it was asked.
#[derive(Default)]
pub(crate) struct Store {
    pub(crate) rows: Mutex<HashMap<(String, u32), Settled>>,
    pub(crate) batches: Mutex<Vec<usize>>,
    /// Answers of the next calls; after them it works.
    pub(crate) failures: Mutex<Vec<SinkError>>,
    /// A request that is refused for good.
    pub(crate) poison: Option<String>,
}

impl Store {
    pub(crate) fn len(&self) -> usize {
        self.rows.lock().unwrap().len()
    }

    pub(crate) fn put(&self, settled: &Settled) {
        let key = (settled.row.request_id.to_string(), settled.row.attempt);
        let before = self.rows.lock().unwrap().insert(key, settled.clone());
        assert!(
            before.as_ref().is_none_or(|before| before == settled),
            "two different rows with one key: {before:?} and {settled:?}"
        );
    }

    /// The settled row of a request; panics if there are several.
    pub(crate) fn request(&self, id: &str) -> Option<Row> {
        let rows = self.rows.lock().unwrap();
        let mut found = rows
            .values()
            .filter(|settled| settled.is_request && *settled.row.request_id == *id);
        let row = found.next().map(|settled| settled.row.clone());
        assert!(found.next().is_none(), "{id} is settled twice");
        row
    }
}

impl Sink for &Store {
    async fn feed(&self, batch: &[Settled]) -> Result<(), SinkError> {
        self.batches.lock().unwrap().push(batch.len());
        if let Some(failure) = self.failures.lock().unwrap().pop() {
            return Err(failure);
        }
        let is_poison = |settled: &Settled| Some(&*settled.row.request_id) == self.poison.as_deref();
        if batch.iter().any(is_poison) {
            return Err(SinkError::Refused("the row violates a constraint".into()));
        }
        batch.iter().for_each(|settled| self.put(settled));
        Ok(())
    }
}

/// All that the ledger settles, in a store.
pub(crate) fn fed(ledger: &Ledger) -> Store {
    let store = Store::default();
    block_on(async { ledger.feeder().feed_all(&&store).await });
    store
}

/// Brings a record to the file, as a gateway does before it goes on.
pub(crate) fn written(ledger: &Ledger, ticket: Ticket) -> bool {
    block_on(ledger.durable(ticket))
}

pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(future)
}

/// Waits until `condition` holds, at most ten seconds.
pub(crate) fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "not reached: {what}");
        std::thread::yield_now();
    }
}

/// Where the first process of a directory has its files.
pub(crate) fn slot(dir: &Path) -> PathBuf {
    dir.join("0")
}

/// Names and sizes of the segments of the first process.
pub(crate) fn segments(dir: &Path) -> Vec<(PathBuf, u64)> {
    let files = std::fs::read_dir(slot(dir)).unwrap().map(Result::unwrap);
    let mut found: Vec<_> = files
        .filter(|file| {
            file.path()
                .extension()
                .is_some_and(|extension| extension == "segment")
        })
        .map(|file| (file.path(), file.metadata().unwrap().len()))
        .collect();
    found.sort();
    found
}

impl Store {
    /// True if the request `r{number}` is settled.
    pub(crate) fn request_exists(&self, number: usize) -> bool {
        self.rows.lock().unwrap().contains_key(&(format!("r{number}"), 1))
    }
}
