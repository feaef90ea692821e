//! The keys of one channel: taken in turn, parked one by one when the provider refuses or slows them. Pure.

use crate::breaker::Millis;

/// Why a key is parked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parked {
    /// The provider limits its rate, or its account is used up.
    Limited,
    /// The provider refuses it.
    Refused,
}

#[derive(Clone, Copy, Debug)]
struct Key {
    /// Fingerprint of the secret: a reload that keeps a key keeps its parking.
    print: u64,
    parked: Option<(Millis, Parked)>,
}

/// The keys of a channel.
#[derive(Clone, Debug, Default)]
pub struct ProviderKeys {
    keys: Vec<Key>,
    turn: usize,
}

impl ProviderKeys {
    /// The keys that there are now, by fingerprint.
    pub fn set(&mut self, prints: impl IntoIterator<Item = u64>) {
        let known = std::mem::take(&mut self.keys);
        self.keys = prints
            .into_iter()
            .map(|print| Key {
                print,
                parked: known
                    .iter()
                    .find(|key| key.print == print)
                    .and_then(|key| key.parked),
            })
            .collect();
    }

    /// The next key that is not parked and not among `tried`; keys are taken in turn.
    pub fn take(&mut self, now: Millis, tried: &[usize]) -> Option<usize> {
        let count = self.keys.len();
        let at = (0..count)
            .map(|step| (self.turn + step) % count)
            .find(|at| !tried.contains(at) && !self.is_parked(*at, now))?;
        self.turn = (at + 1) % count;
        Some(at)
    }

    /// The key that is free first, parked or not: for when nobody else can serve.
    #[must_use]
    pub fn soonest(&self, now: Millis) -> Option<usize> {
        let free = |at: &usize| {
            self.keys
                .get(*at)
                .and_then(|key| key.parked)
                .map_or(now, |(until, _)| until.max(now))
        };
        (0..self.keys.len()).min_by_key(free)
    }

    fn is_parked(&self, at: usize, now: Millis) -> bool {
        let parked = self.keys.get(at).and_then(|key| key.parked);
        parked.is_some_and(|(until, _)| now < until)
    }

    /// Leaves a key alone until then.
    pub fn park(&mut self, at: usize, until: Millis, why: Parked) {
        if let Some(key) = self.keys.get_mut(at) {
            key.parked = Some((until, why));
        }
    }

    /// When the first key is free again, if all are parked, and why that one is.
    #[must_use]
    pub fn all_parked(&self, now: Millis) -> Option<(Millis, Parked)> {
        let first = self
            .keys
            .iter()
            .map(|key| key.parked.filter(|(until, _)| now < *until));
        let parked: Option<Vec<(Millis, Parked)>> = first.collect();
        parked?.into_iter().min_by_key(|(until, _)| *until)
    }

    /// The parking of each key, in order.
    #[must_use]
    pub fn parkings(&self, now: Millis) -> Vec<Option<(Millis, Parked)>> {
        self.keys
            .iter()
            .map(|key| key.parked.filter(|(until, _)| now < *until))
            .collect()
    }

    /// How many keys are parked, of how many.
    #[must_use]
    pub fn parked(&self, now: Millis) -> (usize, usize) {
        let parked = (0..self.keys.len()).filter(|at| self.is_parked(*at, now)).count();
        (parked, self.keys.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_take_turns_and_parked_ones_are_left_out() {
        let mut keys = ProviderKeys::default();
        assert_eq!(
            keys.all_parked(0),
            None,
            "a channel without keys has none to park"
        );
        keys.set([1, 2, 3]);
        let taken: Vec<_> = (0..4).filter_map(|_| keys.take(0, &[])).collect();
        assert_eq!(taken, [0, 1, 2, 0]);
        keys.park(1, 100, Parked::Limited);
        assert_eq!(keys.take(0, &[]), Some(2));
        assert_eq!(keys.take(0, &[0, 2]), None);
        assert_eq!(keys.take(100, &[0, 2]), Some(1), "its time is over");
        keys.park(0, 50, Parked::Refused);
        keys.park(2, 70, Parked::Limited);
        assert_eq!(keys.all_parked(10), Some((50, Parked::Refused)));
        assert_eq!(keys.soonest(10), Some(0));
        assert_eq!((keys.all_parked(60), keys.parked(60)), (None, (2, 3)));
    }

    #[test]
    fn a_reload_keeps_the_parking_of_the_keys_it_keeps() {
        let mut keys = ProviderKeys::default();
        keys.set([1]);
        keys.park(0, 100, Parked::Refused);
        keys.set([1]);
        assert!(keys.all_parked(0).is_some());
        keys.set([9]);
        assert_eq!(keys.all_parked(0), None, "a new key starts afresh");
    }
}
