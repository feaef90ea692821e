//! Which channel a conversation was served by, so that its next turn finds its prompt cache and its reasoning state there. Bounded:
//! two generations of equal size, the older one is forgotten when the younger one is full.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::breaker::Millis;

/// Conversations per generation.
const GENERATION: usize = 32 * 1024;
/// A conversation that was silent for so long may go anywhere: prompt caches last minutes to an hour.
const FORGET_AFTER: Millis = 3_600_000;

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<u64, (Arc<str>, Millis)>,
    old: HashMap<u64, (Arc<str>, Millis)>,
}

/// Conversation (a hash) -> channel name.
#[derive(Debug, Default)]
pub struct Affinity(Mutex<Generations>);

impl Affinity {
    /// Where the conversation was served last.
    #[must_use]
    pub fn get(&self, conversation: u64, now: Millis) -> Option<Arc<str>> {
        let known = self.0.lock();
        let (channel, at) = known
            .young
            .get(&conversation)
            .or_else(|| known.old.get(&conversation))?;
        (now.saturating_sub(*at) < FORGET_AFTER).then(|| Arc::clone(channel))
    }

    /// The conversation was served there.
    pub fn set(&self, conversation: u64, channel: &Arc<str>, now: Millis) {
        let mut known = self.0.lock();
        if known.young.len() >= GENERATION && !known.young.contains_key(&conversation) {
            known.old = std::mem::take(&mut known.young);
        }
        known.young.insert(conversation, (Arc::clone(channel), now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conversations_are_remembered_for_an_hour_and_never_too_many() {
        let affinity = Affinity::default();
        let channel: Arc<str> = "a".into();
        affinity.set(1, &channel, 0);
        assert_eq!(affinity.get(1, FORGET_AFTER - 1).as_deref(), Some("a"));
        assert_eq!(affinity.get(1, FORGET_AFTER), None);
        for conversation in 0..200_000 {
            affinity.set(conversation, &channel, 5);
        }
        let known = affinity.0.lock();
        assert!(known.young.len() + known.old.len() <= 2 * GENERATION);
        drop(known);
        assert!(affinity.get(199_999, 6).is_some());
    }
}
