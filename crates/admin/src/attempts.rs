//! Slows down whoever guesses the admin token. Pure: the time is an argument.

use std::collections::HashMap;
use std::net::IpAddr;

/// Failures in a row that an address may have before it must wait.
const BURST: i64 = 10;
/// Seconds after which one more failure is allowed.
const PAUSE: i64 = 6;
/// Addresses that are told apart; all further ones count as one.
const MOST: usize = 1_024;

/// Failed log-ins by address; `None`: the address is not known.
#[derive(Debug, Default)]
pub(crate) struct Attempts(HashMap<Option<IpAddr>, i64>);

impl Attempts {
    /// Seconds that this address has to wait; `None`: it may try.
    pub(crate) fn wait(&self, from: Option<IpAddr>, now: i64) -> Option<i64> {
        let level = self.0.get(&self.place(from)).map_or(0, |until| until - now);
        let over = level - (BURST - 1) * PAUSE;
        (over > 0).then_some(over)
    }

    /// Notes a failure at `now` (Unix seconds).
    pub(crate) fn failed(&mut self, from: Option<IpAddr>, now: i64) {
        self.0.retain(|_, until| *until > now);
        let place = self.place(from);
        let until = self.0.entry(place).or_insert(now);
        // Failures while waiting do not make the wait longer.
        *until = (*until + PAUSE).min(now + BURST * PAUSE);
    }

    fn place(&self, from: Option<IpAddr>) -> Option<IpAddr> {
        from.filter(|_| self.0.len() < MOST || self.0.contains_key(&from))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u32) -> Option<IpAddr> {
        Some(IpAddr::V4(last.into()))
    }

    #[test]
    fn ten_failures_are_free_then_one_every_six_seconds() {
        let mut attempts = Attempts::default();
        for _ in 0..10 {
            assert_eq!(attempts.wait(address(1), 100), None);
            attempts.failed(address(1), 100);
        }
        assert_eq!(attempts.wait(address(1), 100), Some(6));
        assert_eq!(attempts.wait(address(2), 100), None, "another address");
        assert_eq!(attempts.wait(address(1), 106), None);
        attempts.failed(address(1), 106);
        assert_eq!(attempts.wait(address(1), 106), Some(6));
        assert_eq!(attempts.wait(address(1), 1_000), None);
    }

    #[test]
    fn a_wait_is_bounded_however_often_somebody_fails() {
        let mut attempts = Attempts::default();
        (0..1_000).for_each(|_| attempts.failed(None, 0));
        assert_eq!(attempts.wait(None, 0), Some(6));
    }

    #[test]
    fn addresses_beyond_the_bound_count_as_one() {
        let mut attempts = Attempts::default();
        (0..5_000).for_each(|last| attempts.failed(address(last), 0));
        assert!(attempts.0.len() <= MOST + 1);
        assert!(attempts.wait(address(9_999), 0).is_some());
        attempts.failed(None, 1_000);
        assert_eq!(attempts.0.len(), 1, "old ones are forgotten");
    }
}
