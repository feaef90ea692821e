//! How a ledger is opened.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::io::{Disk, Io};

/// When records are safe against a power loss. Against the death of the process they always are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// One `fdatasync` for all records of this time.
    Every(Duration),
    /// As soon as possible; [`Ledger::durable`](crate::Ledger::durable) waits for it. Records that come together share one.
    Always,
}

/// What happens when the log has reached its size, because the store has been away for long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// Requests go on, their records are dropped and counted.
    #[default]
    DropAndCount,
    /// [`Ledger::is_accepting`](crate::Ledger::is_accepting) says no, also while the disk refuses records: the gateway answers 503 rather than serve what it
    /// cannot record. Running requests are still recorded, as long as the reserve lasts.
    Refuse,
}

/// Options of a ledger; the defaults are those of the README's promises.
#[derive(Clone, Debug)]
pub struct Options {
    /// When records are safe against a power loss.
    pub sync: Sync,
    /// A new segment begins after this many bytes.
    pub segment_bytes: u64,
    /// Size of all segments together. The last sixteenth is kept for the ends of requests.
    pub max_bytes: u64,
    /// How long segments stay that the sink has taken, as long as they fill no more than half of the log: for a sink that forgets when
    /// the process ends. [`Ledger::replay`](crate::Ledger::replay) shows them.
    pub keep: Duration,
    /// What happens beyond it.
    pub when_full: WhenFull,
    /// Records kept in memory while the disk refuses them, bytes.
    pub max_backlog_bytes: usize,
    /// Milliseconds since 1970.
    pub clock: fn() -> u64,
    /// The files; tests put failing ones here.
    pub io: Arc<dyn Io>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            sync: Sync::Every(Duration::from_millis(100)),
            segment_bytes: 64 << 20,
            max_bytes: 1 << 30,
            keep: Duration::ZERO,
            when_full: WhenFull::default(),
            max_backlog_bytes: 16 << 20,
            clock: unix_ms,
            io: Arc::new(Disk),
        }
    }
}

/// The wall clock, milliseconds since 1970.
#[must_use]
pub fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
