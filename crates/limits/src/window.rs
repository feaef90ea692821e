//! A sliding window and the slots it is counted in.

use std::time::Duration;

use crate::rule::RuleProblem;

/// Slots of one window. Fewer lose quota under bursts (30 lose 11-32 %), more cost memory.
pub const SLOTS: u32 = 120;

/// The longest guard, in milliseconds.
const GUARD_MAX_MS: u32 = 1_000;

/// A window of 1 second to 31 days, cut into [`SLOTS`] slots of whole milliseconds.
///
/// A cost belongs to the slot of its admission. A slot leaves when its *last* millisecond is older than the window plus
/// the guard, so the sum over any trailing window never exceeds the limit. The guard (one slot and a half, at most 1 s)
/// is there for the upstream's own count: a request reaches it a little after it was sent, and not always by the same
/// delay. Together a cost returns at most 2.5 slots late: 2.1 % of the window. What is sent later than in its slot is
/// counted anew ([`crate::Reservation::renew`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    length_ms: u32,
    width_ms: u32,
    guard_ms: u32,
}

impl Window {
    /// A window of this length.
    ///
    /// # Errors
    /// Shorter than 1 second or longer than 31 days.
    pub fn new(length: Duration) -> Result<Self, RuleProblem> {
        const LONGEST_MS: u32 = 31 * 24 * 3_600_000;
        let length_ms = u32::try_from(length.as_millis()).unwrap_or(u32::MAX);
        if !(1_000..=LONGEST_MS).contains(&length_ms) {
            return Err(RuleProblem::Window);
        }
        let width_ms = length_ms.div_ceil(SLOTS);
        Ok(Window {
            length_ms,
            width_ms,
            guard_ms: width_ms.saturating_add(width_ms / 2).min(GUARD_MAX_MS),
        })
    }

    /// Its length in milliseconds.
    #[must_use]
    pub fn length_ms(self) -> u64 {
        u64::from(self.length_ms)
    }

    /// The width of a slot in milliseconds.
    #[must_use]
    pub fn width_ms(self) -> u64 {
        u64::from(self.width_ms)
    }

    /// How long the last millisecond of a slot counts: the window and the guard.
    #[must_use]
    pub fn life_ms(self) -> u64 {
        self.length_ms().saturating_add(self.guard_ms())
    }

    /// How much longer than the window a slot counts.
    pub(crate) fn guard_ms(self) -> u64 {
        u64::from(self.guard_ms)
    }

    /// The slot of an instant (milliseconds since the epoch).
    #[must_use]
    pub fn slot(self, now: u64) -> u64 {
        now.checked_div(self.width_ms()).unwrap_or_default()
    }

    /// The slot of what was in this one by a clock that has been put forward by so many milliseconds; the later one where two may be.
    pub(crate) fn moved(self, slot: u64, ms: i64) -> u64 {
        let width = i64::from(self.width_ms).max(1);
        let slots = ms.div_euclid(width) + i64::from(ms.rem_euclid(width) > 0);
        slot.saturating_add_signed(slots)
    }

    /// The last millisecond of a slot.
    pub(crate) fn last_moment(self, slot: u64) -> u64 {
        let next = slot.saturating_add(1).saturating_mul(self.width_ms());
        next.saturating_sub(1)
    }

    /// The first millisecond at which a slot no longer counts.
    #[must_use]
    pub fn gone_at(self, slot: u64) -> u64 {
        self.last_moment(slot).saturating_add(self.life_ms())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_leaves_when_its_last_millisecond_has_left_window_and_guard() {
        let window = Window::new(Duration::from_secs(60)).unwrap();
        assert_eq!((window.width_ms(), window.life_ms()), (500, 60_750));
        assert_eq!(window.slot(1_499), 2);
        assert_eq!(window.gone_at(2), 1_499 + 60_750);
        assert_eq!(
            Window::new(Duration::from_secs(3600)).unwrap().life_ms(),
            3_601_000
        );
    }

    #[test]
    fn windows_that_cannot_be_counted_are_refused() {
        for length in [
            Duration::ZERO,
            Duration::from_millis(999),
            Duration::from_secs(32 * 86_400),
        ] {
            assert_eq!(Window::new(length), Err(RuleProblem::Window));
        }
    }
}
