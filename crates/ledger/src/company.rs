//! Whether a record should wait for others, to go with them in one write. Pure.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Records that are written at once after waits in vain, at most.
const LONGEST: u32 = 64;

/// Waiting costs little where the next request is ready too, and a look at the network where none is: who waits in vain again and again
/// waits ever more rarely. Races between threads only shift the next wait.
#[derive(Debug, Default)]
pub(crate) struct Company {
    /// Records that are not worth waiting, from now on.
    alone: AtomicU32,
    /// So many they were after the last wait in vain.
    before: AtomicU32,
}

impl Company {
    /// True if others probably come.
    pub(crate) fn expected(&self) -> bool {
        let alone = self.alone.load(Relaxed);
        if alone > 0 {
            self.alone.store(alone - 1, Relaxed);
        }
        alone == 0
    }

    /// One has waited: so many were written together.
    pub(crate) fn met(&self, records: usize) {
        let alone = match records {
            0 | 1 => (self.before.load(Relaxed) * 2 + 1).min(LONGEST),
            _ => 0,
        };
        self.before.store(alone, Relaxed);
        self.alone.store(alone, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_in_vain_waits_ever_more_rarely() {
        let company = Company::default();
        for alone in [1, 3, 7, 15, 31, 63, 64, 64] {
            assert!(company.expected());
            company.met(1);
            assert!((0..alone).all(|_| !company.expected()), "{alone}");
        }
        assert!(company.expected());
        company.met(2);
        assert!(company.expected() && company.expected());
        company.met(1);
        assert!(!company.expected() && company.expected());
    }
}
