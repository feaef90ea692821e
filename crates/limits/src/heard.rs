//! What the shared store last told of subjects that others use: news, for the time when it is away. Pure.
//!
//! The store publishes a subject whenever its use passes a further sixteenth of its limit, the first charge included, or
//! falls by two, and again while it goes on; every heartbeat brings what was published since the one before. So what is not heard of was not
//! used when the last heartbeat came, and of what is heard of, at most a sixteenth and the use of a tenth of a second are not
//! known.

use std::collections::HashMap;

use crate::rule::{Over, Rule};
use crate::subject::Key;

/// Entries kept at most; the older half of more goes.
const MOST: usize = 1 << 18;

/// Use of one subject by all instances, in the units of its meter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct News {
    pub(crate) used: u64,
    /// When that was, milliseconds since the epoch by the store's clock.
    pub(crate) at: u64,
}

/// News by subject and period (0 for what has none).
#[derive(Debug, Default)]
pub(crate) struct Heard {
    known: HashMap<(Key, u64), News>,
    /// What was published until then may be forgotten; 0: nothing is.
    complete_since: u64,
}

impl Heard {
    pub(crate) fn hear(&mut self, key: Key, period: u64, news: News) {
        if self.known.len() >= MOST {
            self.forget_older_half();
        }
        self.known.insert((key, period), news);
    }

    fn forget_older_half(&mut self) {
        let mut times: Vec<u64> = self.known.values().map(|news| news.at).collect();
        let middle = times.len() / 2;
        let (_, middle, _) = times.select_nth_unstable(middle);
        let middle = *middle;
        self.known.retain(|_, news| news.at > middle);
        self.forgot_until(middle);
    }

    /// The store, or this instance, does not keep all news of until then any more.
    pub(crate) fn forgot_until(&mut self, at: u64) {
        self.complete_since = self.complete_since.max(at);
    }

    /// True if whatever may still count at `now` was heard of, where it was after `at`.
    pub(crate) fn is_complete(&self, rule: &Rule, at: u64, now: u64) -> bool {
        self.complete_since <= at || rule.has_left(self.complete_since, now)
    }

    /// How many it keeps.
    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// The news of a subject, if what they tell may still count at `now`.
    pub(crate) fn of(&self, rule: &Rule, key: Key, now: u64) -> Option<News> {
        let period = rule.period_at(now).unwrap_or(0);
        let news = self.known.get(&(key, period))?;
        // Of concurrency what ends is published too.
        let counts = matches!(rule.over(), Over::Open) || !rule.has_left(news.at, now);
        counts.then_some(*news)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::rule::Dimension;
    use crate::window::Window;

    const T0: u64 = 1_800_000_000_000;

    #[test]
    fn news_count_as_long_as_what_they_tell_of_and_their_number_is_bounded() {
        let window = Window::new(Duration::from_secs(60)).unwrap();
        let rule = Rule::new("r", Dimension::Tokens, 100, Over::Window(window)).unwrap();
        let mut heard = Heard::default();
        let news = News { used: 7, at: T0 };
        heard.hear(Key(1), 0, news);
        assert_eq!(heard.of(&rule, Key(1), T0 + 60_000), Some(news));
        assert_eq!(heard.of(&rule, Key(1), T0 + 62_000), None);
        assert_eq!(heard.of(&rule, Key(2), T0), None);
        for number in 0..3 * MOST as u64 {
            heard.hear(
                Key(number.into()),
                0,
                News {
                    used: 1,
                    at: T0 + number,
                },
            );
            assert!(heard.known.len() <= MOST);
        }
        assert!(heard.known.len() >= MOST / 2, "the newer half stays");
        assert!(!heard.is_complete(&rule, 0, T0) && heard.is_complete(&rule, T0 + 4 * MOST as u64, T0));
        let newest = Key(u128::from(3 * MOST as u64 - 1));
        assert!(heard.of(&rule, newest, T0).is_some());
    }
}
