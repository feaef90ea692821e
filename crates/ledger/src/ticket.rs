//! How safe a record is by now.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

/// Longest time that anybody waits for a record.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// A record that was handed to the ledger; [`Ledger::durable`](crate::Ledger::durable) waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket(pub(crate) Place);

/// Where a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// There was no room for it.
    Dropped,
    /// It waits in memory: the number of records that have waited, with this one.
    Waiting(u64),
    /// It is in the log: the number of records that have been written, with this one.
    Written(u64),
}

impl Ticket {
    /// True if the record was in the log at once: it survives the death of the process. Nearly always so.
    #[must_use]
    pub fn is_written(self) -> bool {
        matches!(self.0, Place::Written(_))
    }
}

/// How far the log is.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Records that were written and synced.
    synced: watch::Sender<u64>,
    /// Records that no longer wait, and how many were written by then.
    worked_off: watch::Sender<(u64, u64)>,
    /// Records up to this one met a failed sync.
    unsure_until: AtomicU64,
}

impl Progress {
    pub(crate) fn synced(&self) -> u64 {
        *self.synced.borrow()
    }

    pub(crate) fn set_synced(&self, written: u64) {
        self.synced.send_replace(written);
    }

    pub(crate) fn set_worked_off(&self, written: u64) {
        self.worked_off
            .send_modify(|(count, by_then)| (*count, *by_then) = (*count + 1, written));
    }

    /// The kernel reports a failed sync once and may have given up the pages: what was written until now stays unsure,
    /// also after a later sync that works.
    pub(crate) fn set_unsure(&self, written: u64) {
        self.unsure_until.fetch_max(written, Relaxed);
    }

    /// Waits, at most for a second, until a record is in the log and, if that is wanted, synced.
    pub(crate) async fn reach(&self, ticket: Ticket, wants_sync: bool) -> bool {
        let reached = async {
            let number = match ticket.0 {
                Place::Dropped => return false,
                Place::Written(number) => number,
                Place::Waiting(place) => {
                    let mut worked_off = self.worked_off.subscribe();
                    match worked_off.wait_for(|(count, _)| *count >= place).await {
                        Ok(state) => state.1,
                        Err(_) => return false,
                    }
                }
            };
            !wants_sync || self.is_synced(number).await
        };
        timeout(LONGEST_WAIT, reached).await.unwrap_or(false)
    }

    async fn is_synced(&self, number: u64) -> bool {
        let reached = self
            .synced
            .subscribe()
            .wait_for(|synced| *synced >= number)
            .await
            .is_ok();
        reached && number > self.unsure_until.load(Relaxed)
    }
}
