//! How safe a record is by now.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

/// Longest time that anybody waits for a record.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// A record that was handed to the ledger: its number, unless there was no room for it. [`Ledger::durable`](crate::Ledger::durable)
/// brings it to the file; without that it is written with the next one, or by the keeper thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(pub(crate) Option<u64>);

/// How far the log is, by the numbers of records.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Up to this one they are in the file.
    written: watch::Sender<u64>,
    /// Up to this one they are synced.
    synced: watch::Sender<u64>,
    /// Up to this one they met a failed sync.
    unsure_until: AtomicU64,
}

impl Progress {
    pub(crate) fn written(&self) -> u64 {
        *self.written.borrow()
    }

    pub(crate) fn set_written(&self, number: u64) {
        self.written.send_replace(number);
    }

    pub(crate) fn synced(&self) -> u64 {
        *self.synced.borrow()
    }

    pub(crate) fn set_synced(&self, number: u64) {
        self.synced.send_replace(number);
    }

    /// The kernel reports a failed sync once and may have given up the pages: what was written until now stays unsure,
    /// also after a later sync that works.
    pub(crate) fn set_unsure(&self, number: u64) {
        self.unsure_until.fetch_max(number, Relaxed);
    }

    /// Waits, at most for a second, until a record is in the file and, if that is wanted, synced.
    pub(crate) async fn reach(&self, number: u64, wants_sync: bool) -> bool {
        let progress = if wants_sync { &self.synced } else { &self.written };
        let mut progress = progress.subscribe();
        let reached = timeout(LONGEST_WAIT, progress.wait_for(|reached| *reached >= number)).await;
        let reached = matches!(reached, Ok(Ok(_)));
        reached && !(wants_sync && number <= self.unsure_until.load(Relaxed))
    }
}
