//! What one instance may admit alone while the shared store does not answer.

use crate::heard::{Heard, News};

/// What the store said of a subject when it answered last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// What was free for everybody.
    pub(crate) free: u64,
    /// When, milliseconds since the epoch by the store's clock; 0: never.
    pub(crate) at: u64,
}

/// What an instance knows of a subject beyond its own use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sight {
    /// What an outage divides: what was seen before it, until it is spent.
    pub(crate) seen: Seen,
    /// The outage for which `cap` was computed; 0: none.
    outage: u32,
    /// The most this instance may have in use during the first span of that outage.
    cap: u64,
    /// The period of a budget in which the store answered last, and what was free then: for who looks at it.
    pub(crate) shown: Option<(u64, u64)>,
}

impl Default for Sight {
    fn default() -> Self {
        Sight {
            seen: Seen {
                free: u64::MAX,
                at: 0,
            },
            outage: 0,
            cap: 0,
            shown: None,
        }
    }
}

impl Sight {
    /// The cap of an outage, if it is known.
    pub(crate) fn cap(&self, alone: &Alone) -> Option<u64> {
        (self.outage == alone.outage).then_some(self.cap)
    }

    /// Notes the cap of an outage. What was free is spent by it: the next one must have seen it anew.
    pub(crate) fn set_cap(&mut self, alone: &Alone, cap: u64) {
        if self.outage != alone.outage {
            (self.outage, self.cap) = (alone.outage, cap);
            self.seen = Seen {
                free: 0,
                at: alone.since,
            };
        }
    }
}

/// An instance on its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Alone {
    /// Counts outages from 1.
    pub(crate) outage: u32,
    /// When it began.
    pub(crate) since: u64,
    /// How many instances lived when the store answered last; at least 1.
    pub(crate) instances: u64,
}

/// What an instance on its own decides by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms<'h> {
    pub(crate) alone: Alone,
    pub(crate) heard: &'h Heard,
}

impl Alone {
    /// What was free for everybody when it began, as far as this instance can know: its own last look, or what it has heard
    /// since. Nobody had used what it has neither seen nor heard of.
    /// `is_complete`: all news since that look were heard.
    pub(crate) fn free(&self, limit: u64, seen: Seen, news: Option<News>, is_complete: bool) -> u64 {
        /// A look so short before, in milliseconds, misses nothing.
        const FRESH_MS: u64 = 250;
        // What others used since without having passed a sixteenth more, and since the last heartbeat.
        let unsure = if self.instances > 1 { limit / 8 } else { 0 };
        let is_fresh = seen.at.saturating_add(FRESH_MS) >= self.since;
        match news.filter(|news| news.at > seen.at) {
            Some(news) => limit.saturating_sub(news.used.saturating_add(unsure)),
            None if is_fresh => seen.free.min(limit),
            None if !is_complete => seen.free.min(unsure),
            None if seen.at == 0 => limit,
            None => seen.free.min(limit).saturating_sub(unsure),
        }
    }

    /// Its share of a limit once nothing counts any more that was admitted before.
    pub(crate) fn share(&self, amount: u64) -> u64 {
        amount.checked_div(self.instances).unwrap_or(amount)
    }

    /// The most it may have in use: its share of the limit, and while costs from before the outage still count, not
    /// more than it had then and its share of what was free. All instances together stay within the limit: what they had
    /// in use and what was free is the limit, and later `instances` times the share is.
    pub(crate) fn first_cap(&self, limit: u64, own: u64, free: u64) -> u64 {
        self.share(limit).min(own.saturating_add(self.share(free)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SINCE: u64 = 1_800_000_000_000;

    fn alone(instances: u64) -> Alone {
        Alone {
            outage: 1,
            since: SINCE,
            instances,
        }
    }

    #[test]
    fn what_was_heard_later_than_seen_counts_and_an_old_look_is_believed_less() {
        let of = |seen_at, news_at| {
            let seen = Seen {
                free: 50,
                at: seen_at,
            };
            alone(3).free(
                80,
                seen,
                Some(News {
                    used: 40,
                    at: news_at,
                }),
                true,
            )
        };
        assert_eq!(of(SINCE - 10, SINCE - 10), 50);
        assert_eq!(of(SINCE - 10, SINCE - 9), 30, "half is used, an eighth unsure");
        assert_eq!(of(SINCE - 900, SINCE - 1_000), 40);
        let never = Sight::default().seen;
        assert_eq!(alone(3).free(80, never, None, true), 80);
        assert_eq!(
            alone(3).free(80, never, None, false),
            10,
            "it may have been forgotten"
        );
        assert_eq!(alone(3).free(80, never, Some(News { used: 75, at: 1 }), true), 0);
        assert_eq!(alone(1).free(80, never, Some(News { used: 75, at: 1 }), true), 5);
    }

    #[test]
    fn what_was_free_is_given_once() {
        let mut sight = Sight::default();
        assert_eq!(sight.cap(&alone(3)), None);
        sight.set_cap(&alone(3), 7);
        sight.set_cap(&alone(3), 9);
        assert_eq!(sight.cap(&alone(3)), Some(7));
        let next = Alone {
            outage: 2,
            since: SINCE + 100,
            instances: 3,
        };
        assert_eq!(
            (sight.cap(&next), next.free(80, sight.seen, None, true)),
            (None, 0)
        );
    }

    proptest! {
        #[test]
        fn the_caps_of_all_instances_never_add_up_to_more_than_the_limit(
            uses in prop::collection::vec(0_u64..1_000, 1..8),
            spare in 0_u64..1_000,
        ) {
            let limit = uses.iter().sum::<u64>() + spare;
            let alone = alone(uses.len() as u64);
            // What stays in use is at most what was, or the cap.
            let later = uses.iter().map(|own| alone.first_cap(limit, *own, spare).max(*own));
            let new: u64 = uses.iter().map(|own| alone.first_cap(limit, *own, spare)).sum();
            prop_assert!(new <= limit);
            prop_assert!(later.sum::<u64>() <= limit);
        }
    }
}
