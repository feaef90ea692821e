//! Together or alone: whether the shared store decides, as a pure state machine.

use crate::share::Alone;

/// The longest an instance stays on its own after the store answers again, in milliseconds. In this time every other
/// instance notices too and tells the store what it admitted meanwhile.
pub(crate) const REJOIN_MS: u64 = 1_000;

/// How long the word counts that others have much to tell.
const OTHERS_MS: u64 = 300;
/// So long after the store answers again nobody waits for others any more.
const LONGEST_MS: u64 = 15_000;

/// One instance's view of the store.
#[derive(Clone, Debug)]
pub(crate) struct Outage {
    alone: Option<Alone>,
    count: u32,
    /// As many as there are at least.
    least: u64,
    instances: u64,
    /// The first of the unbroken good answers since the outage began.
    answered: Option<u64>,
    /// The store came back without its data.
    lost: bool,
    /// Until when others had much to tell, as far as is known; 0: nobody.
    others_tell: u64,
}

impl Outage {
    /// Fewer than `instances` are never believed: the others may be about to start.
    pub(crate) fn new(instances: u64) -> Self {
        let least = instances.max(1);
        Outage {
            alone: None,
            count: 0,
            least,
            instances: least,
            answered: None,
            lost: false,
            others_tell: 0,
        }
    }

    /// The terms of an instance on its own; `None`: the store decides.
    pub(crate) fn alone(&self) -> Option<&Alone> {
        self.alone.as_ref()
    }

    /// On its own, with a store that answers again.
    pub(crate) fn answers(&self) -> bool {
        self.answered.is_some()
    }

    /// How often the store was away, and how many instances lived when it answered last.
    pub(crate) fn history(&self) -> (u32, u64) {
        (self.count, self.instances)
    }

    /// The store did not answer, or has `lost` its data. Returns true if this begins an outage.
    pub(crate) fn trip(&mut self, now: u64, lost: bool) -> bool {
        self.lost |= lost;
        self.answered = None;
        if self.alone.is_some() {
            return false;
        }
        self.count = self.count.saturating_add(1);
        self.alone = Some(Alone {
            outage: self.count,
            since: now,
            instances: self.instances,
        });
        true
    }

    /// The store answered and all that it missed is on its way.
    pub(crate) fn answer(&mut self, now: u64, instances: u64) {
        match &mut self.alone {
            None => self.instances = instances.max(self.least),
            Some(alone) => {
                self.answered = self.answered.or(Some(now));
                // More than were thought of when it began share what is free.
                alone.instances = alone.instances.max(instances);
                self.instances = self.instances.max(instances);
            }
        }
    }

    /// The clock was put forward by so many milliseconds.
    pub(crate) fn move_clock(&mut self, ms: i64) {
        if let Some(alone) = &mut self.alone {
            alone.since = alone.since.saturating_add_signed(ms);
        }
    }

    /// Other instances have much to tell: the store does not know what they admitted yet.
    pub(crate) fn others_tell(&mut self, now: u64) {
        self.others_tell = now;
    }

    /// True if it is time to let the store decide again: after as long as the outage lasted, at most [`REJOIN_MS`].
    pub(crate) fn may_rejoin(&self, now: u64) -> bool {
        let (Some(alone), Some(answered)) = (&self.alone, self.answered) else {
            return false;
        };
        let lasted = answered.saturating_sub(alone.since);
        let wait = if self.lost {
            REJOIN_MS
        } else {
            lasted.min(REJOIN_MS)
        };
        // The word of others comes with a heartbeat; nobody waits for them for ever.
        let others = self.others_tell.saturating_add(OTHERS_MS);
        now >= answered.saturating_add(wait) && (now >= others || now >= answered.saturating_add(LONGEST_MS))
    }

    /// Lets the store decide again.
    pub(crate) fn rejoin(&mut self) {
        self.alone = None;
        self.lost = false;
        self.answered = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_stays_alone_as_long_as_the_outage_lasted_but_at_most_a_second() {
        let mut outage = Outage::new(3);
        assert!(outage.trip(1_000, false) && !outage.trip(1_001, false));
        assert_eq!(outage.alone().unwrap().instances, 3);
        assert!(!outage.may_rejoin(9_000), "not before the store answers");
        outage.answer(1_020, 2);
        assert!(!outage.may_rejoin(1_039) && outage.may_rejoin(1_040));
        outage.trip(1_030, false);
        outage.answer(5_000, 2);
        assert!(!outage.may_rejoin(5_999) && outage.may_rejoin(6_000));
        outage.rejoin();
        assert_eq!((outage.alone().is_none(), outage.history()), (true, (1, 3)));
        outage.answer(6_100, 2);
        assert_eq!(outage.history(), (1, 3), "two are gone or not there yet");
        outage.answer(6_600, 5);
        assert_eq!(outage.history(), (1, 5));
    }

    #[test]
    fn an_instance_waits_for_others_that_have_much_to_tell_but_not_for_ever() {
        let mut outage = Outage::new(3);
        outage.trip(1_000, true);
        outage.answer(1_000, 3);
        outage.others_tell(1_900);
        assert!(!outage.may_rejoin(2_199) && outage.may_rejoin(2_200));
        for now in 19..160 {
            outage.others_tell(100 * now);
            assert!(!outage.may_rejoin(100 * now + 99), "{now}");
        }
        outage.others_tell(16_000);
        assert!(outage.may_rejoin(16_000));
    }

    #[test]
    fn after_lost_data_everybody_gets_the_whole_second() {
        let mut outage = Outage::new(1);
        outage.trip(1_000, true);
        outage.answer(1_001, 4);
        assert_eq!(outage.alone().unwrap().instances, 4, "they share what is free");
        assert!(!outage.may_rejoin(2_000) && outage.may_rejoin(2_001));
    }
}
