//! When the common ledger is to be read for what instances had spent that have ended, as a pure state machine.

/// How often it is read at most, in milliseconds.
const READ_EVERY_MS: u64 = 10_000;

#[derive(Debug, Default)]
pub(super) struct Leavers {
    /// How many instances lived when the store answered last.
    living: u64,
    /// One may have gone since the ledger was read.
    has_gone: bool,
    /// It is not read before.
    reads_at: u64,
}

impl Leavers {
    /// So many live now.
    pub(super) fn count(&mut self, living: u64) {
        self.has_gone |= living < std::mem::replace(&mut self.living, living);
    }

    /// Nobody could be counted for a while.
    pub(super) fn may_have_gone(&mut self) {
        self.has_gone = true;
    }

    /// True if it is time to read the ledger: it is being read then.
    pub(super) fn reads(&mut self, now: u64) -> bool {
        let reads = self.has_gone && now >= self.reads_at;
        if reads {
            (self.has_gone, self.reads_at) = (false, now.saturating_add(READ_EVERY_MS));
        }
        reads
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ledger_is_read_once_for_each_that_goes_and_not_too_often() {
        let mut leavers = Leavers::default();
        leavers.count(3);
        assert!(!leavers.reads(1_000));
        leavers.count(2);
        assert!(leavers.reads(1_000) && !leavers.reads(1_001));
        leavers.count(3);
        assert!(!leavers.reads(20_000), "one came");
        leavers.may_have_gone();
        assert!(leavers.reads(20_000));
        leavers.count(1);
        assert!(!leavers.reads(29_999) && leavers.reads(30_000));
    }
}
