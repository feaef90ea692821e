//! Whether a record should wait for others, to go with them in one write. Pure.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Records that are written at once after one has waited in vain.
const ALONE: u32 = 32;

/// Waiting costs little where the next request is ready too, and a look at the network where none is.
#[derive(Debug, Default)]
pub(crate) struct Company {
    /// Records that are not worth waiting.
    alone: AtomicU32,
}

impl Company {
    /// True if others probably come.
    pub(crate) fn expected(&self) -> bool {
        // Races only shorten or lengthen the rest by one.
        let alone = self.alone.load(Relaxed);
        self.alone.store(alone.saturating_sub(1), Relaxed);
        alone == 0
    }

    /// One has waited: so many were written together.
    pub(crate) fn met(&self, records: usize) {
        if records == 1 {
            self.alone.store(ALONE, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waited_in_vain_does_not_wait_soon_again() {
        let company = Company::default();
        assert!(company.expected());
        company.met(2);
        assert!(company.expected());
        company.met(1);
        assert!((0..ALONE).all(|_| !company.expected()));
        assert!(company.expected());
    }
}
