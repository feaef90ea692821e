//! Settled rows that are still in the log, for who must know them before the store does.

use std::io;

use crate::directory::Position;
use crate::feeder::read_batch;
use crate::ledger::Ledger;
use crate::row::Settled;

/// Which of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replayed {
    /// All that the log still has.
    All,
    /// Those that the sink has not taken; the last batch may be among them although it has.
    Unfed,
}

impl Ledger {
    /// Shows settled rows, the oldest first. Reads the log, a batch at a time: not to be called on a thread of an async runtime.
    ///
    /// # Errors
    /// The file system refuses. What was shown before stays shown.
    pub fn replay(&self, which: Replayed, mut show: impl FnMut(&Settled)) -> io::Result<()> {
        let log = self.log();
        let mut at = match which {
            Replayed::All => Position::default(),
            Replayed::Unfed => log.directory.cursor(),
        };
        let mut reader = None;
        loop {
            let (batch, next, open) = read_batch(log, at, reader)?;
            if batch.is_empty() {
                return Ok(());
            }
            batch.iter().for_each(&mut show);
            (at, reader) = (next, open);
        }
    }
}
