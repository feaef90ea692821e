//! What one instance may admit alone while the shared store does not answer.

/// What an instance knows of a subject beyond its own use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sight {
    /// What was free for everybody when the store answered last.
    pub(crate) free: u64,
    /// The outage for which `cap` was computed; 0: none.
    pub(crate) outage: u32,
    /// The most this instance may have in use during the first span of that outage.
    pub(crate) cap: u64,
    /// The period of a budget in which the store answered last, and what was free then: for who looks at it.
    pub(crate) seen: Option<(u64, u64)>,
}

impl Default for Sight {
    fn default() -> Self {
        Sight {
            free: u64::MAX,
            outage: 0,
            cap: 0,
            seen: None,
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

/// The most an instance may have in use: its share of the limit, and while costs from before the outage still count, not
/// more than it had then and its share of what was free. All instances together stay within the limit: what they had
/// in use and what was free is the limit, and later `instances` times the share is.
pub(crate) fn first_cap(limit: u64, instances: u64, own: u64, free: u64) -> u64 {
    let part = |amount: u64| amount.checked_div(instances).unwrap_or(amount);
    part(limit).min(own.saturating_add(part(free)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_caps_of_all_instances_never_add_up_to_more_than_the_limit(
            uses in prop::collection::vec(0_u64..1_000, 1..8),
            spare in 0_u64..1_000,
        ) {
            let limit = uses.iter().sum::<u64>() + spare;
            let instances = uses.len() as u64;
            // What stays in use is at most what was, or the cap.
            let later = uses.iter().map(|own| first_cap(limit, instances, *own, spare).max(*own));
            let new: u64 = uses.iter().map(|own| first_cap(limit, instances, *own, spare)).sum();
            prop_assert!(new <= limit);
            prop_assert!(later.sum::<u64>() <= limit);
        }
    }
}
