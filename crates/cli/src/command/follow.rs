//! Which rows are new to who follows them.
//!
//! A row is stored a moment after its attempt ended, and rows of several gateways not in the order of their ends. So each look goes back
//! some seconds and passes over what was shown.

use std::collections::BTreeSet;

use opm_store::{RowCursor, UsageRow};

/// How far a look goes back. A ledger gives its rows away within a second while the store takes them.
const BACK_MS: i64 = 10_000;

/// What was shown already.
#[derive(Debug, Default)]
pub(super) struct Follower {
    newest_ms: i64,
    shown: BTreeSet<(i64, String, i64)>,
}

impl Follower {
    /// Where the next look begins.
    pub(super) fn place(&self) -> RowCursor {
        RowCursor::before(self.newest_ms.saturating_sub(BACK_MS))
    }

    /// Notes that something ended at this Unix millisecond; a clock ahead of ours (`now_ms`) moves nothing ahead of it.
    pub(super) fn reached(&mut self, at_ms: i64, now_ms: i64) {
        self.newest_ms = at_ms.min(now_ms).max(self.newest_ms);
        let first = self.place().at_ms;
        self.shown.retain(|(at_ms, ..)| *at_ms >= first);
    }

    /// True for a row that was not shown yet; now it was.
    pub(super) fn is_new(&mut self, row: &UsageRow) -> bool {
        self.shown
            .insert((row.at_ms, row.request_id.to_string(), row.attempt))
    }
}

#[cfg(test)]
mod tests {
    use opm_store::{AttemptOutcome, Billed, UsageSource};

    use super::*;

    fn row(request: &str, at_ms: i64) -> UsageRow {
        UsageRow {
            request_id: request.into(),
            attempt: 1,
            started_ms: 0,
            at_ms,
            key_id: "".into(),
            user: "".into(),
            model: "".into(),
            upstream_model: "".into(),
            channel: "".into(),
            format: "".into(),
            upstream_format: "".into(),
            status: 200,
            input: 0,
            output: 0,
            cached_input: 0,
            cache_write: 0,
            reasoning: 0,
            cost_pico_usd: None,
            held: 0,
            held_cost: 0,
            billed: Billed::No,
            source: UsageSource::Reported,
            outcome: AttemptOutcome::Answered,
            ttft_ms: None,
            total_ms: 0,
            budgets: [].into(),
        }
    }

    #[test]
    fn a_row_that_comes_late_is_shown_once() {
        let mut follower = Follower::default();
        follower.reached(50_000, 60_000);
        assert_eq!(follower.place().at_ms, 40_000);
        let looks = [
            row("b", 50_000),
            row("late", 41_000),
            row("b", 50_000),
            row("late", 41_000),
        ];
        let new: Vec<_> = looks.iter().map(|row| follower.is_new(row)).collect();
        assert_eq!(new, [true, true, false, false]);
    }

    #[test]
    fn what_is_out_of_reach_is_forgotten_and_a_fast_clock_leaves_nobody_behind() {
        let mut follower = Follower::default();
        follower.reached(50_000, 60_000);
        follower.is_new(&row("a", 50_000));
        follower.reached(900_000, 60_001);
        assert_eq!(follower.place().at_ms, 50_001);
        assert!(follower.shown.is_empty());
        follower.reached(1, 60_002);
        assert_eq!(follower.place().at_ms, 50_001, "never back");
    }
}
