//! The conservative ring: what one subject used in each slot of a window.

use std::collections::VecDeque;

use crate::window::{SLOTS, Window};

/// Low 56 bits: the amount. High 8 bits: the slot modulo 256, enough because live slots span at most 124.
/// One word per used slot keeps a subject that is busy in every slot below 1 KB.
#[derive(Clone, Copy)]
struct Cell(u64);

const AMOUNT_BITS: u32 = 56;
const AMOUNT_MAX: u64 = (1 << AMOUNT_BITS) - 1;

impl Cell {
    fn new(slot: u64, amount: u64) -> Self {
        Cell((slot & 0xff) << AMOUNT_BITS | amount.min(AMOUNT_MAX))
    }

    fn amount(self) -> u64 {
        self.0 & AMOUNT_MAX
    }

    /// The whole slot number, given the newest one of its ring.
    fn slot(self, newest: u64) -> u64 {
        newest.saturating_sub(newest.wrapping_sub(self.0 >> AMOUNT_BITS) & 0xff)
    }
}

/// A clock that is set back by more slots than this, a window, has been wrong. reserve.lua says it too.
const AHEAD: u64 = SLOTS as u64;

/// Costs by the slot of their admission. Time is an argument; a clock that steps back a little charges the newest slot, which
/// only makes a cost count longer.
#[derive(Clone)]
pub struct Ring {
    window: Window,
    newest: u64,
    sum: u64,
    cells: VecDeque<Cell>,
}

impl Ring {
    /// An empty ring.
    #[must_use]
    pub fn new(window: Window) -> Self {
        Ring {
            window,
            newest: 0,
            sum: 0,
            cells: VecDeque::new(),
        }
    }

    /// The window it counts.
    #[must_use]
    pub fn window(&self) -> Window {
        self.window
    }

    /// Lets slots go that are wholly older than the window.
    pub fn expire(&mut self, now: u64) {
        while let Some(cell) = self.cells.front() {
            if self.window.gone_at(cell.slot(self.newest)) > now {
                return;
            }
            self.sum = self.sum.saturating_sub(cell.amount());
            self.cells.pop_front();
        }
    }

    /// What counts since the last [`Ring::expire`].
    #[must_use]
    pub fn used(&self) -> u64 {
        self.sum
    }

    /// What counts of the slots up to this one.
    #[must_use]
    pub fn used_until(&self, slot: u64) -> u64 {
        self.cells()
            .take_while(|(at, _)| *at <= slot)
            .fold(0, |sum, (_, amount)| sum.saturating_add(amount))
    }

    /// Brings it to `now`. What lies so far ahead that the clock was set back counts as admitted now: it was not later, and would keep
    /// everybody out until that time comes.
    pub fn refresh(&mut self, now: u64) {
        let ahead = self.newest.saturating_sub(self.window.slot(now));
        if ahead > AHEAD && self.cells.is_empty() {
            self.newest = 0;
        } else if ahead > AHEAD {
            let back = ahead.saturating_mul(self.window.width_ms());
            self.move_clock(i64::try_from(back).map_or(i64::MIN, |back| -back));
        }
        self.expire(now);
    }

    /// Charges the slot of `now` and returns it.
    pub fn charge(&mut self, now: u64, amount: u64) -> u64 {
        self.refresh(now);
        let slot = self.window.slot(now).max(self.newest);
        self.charge_slot(slot, amount);
        slot
    }

    /// Charges a slot that was decided elsewhere; one too old to be kept is ignored.
    pub fn charge_slot(&mut self, slot: u64, amount: u64) {
        if slot.saturating_add(0x80) < self.newest {
            return;
        }
        let newest = self.newest.max(slot);
        // Cells that the new slot would push out of the eight bits are long gone.
        self.expire(slot.saturating_mul(self.window.width_ms()));
        let at = self
            .cells
            .iter()
            .rposition(|cell| cell.slot(self.newest) <= slot)
            .map_or(0, |at| at.saturating_add(1));
        self.newest = newest;
        let before = at.checked_sub(1).and_then(|before| self.cells.get_mut(before));
        match before.filter(|cell| cell.slot(newest) == slot) {
            Some(cell) => {
                let sum = cell.amount().saturating_add(amount).min(AMOUNT_MAX);
                self.sum = self.sum.saturating_add(sum.saturating_sub(cell.amount()));
                *cell = Cell::new(slot, sum);
            }
            None => {
                let cell = Cell::new(slot, amount);
                self.sum = self.sum.saturating_add(cell.amount());
                self.cells.insert(at, cell);
            }
        }
    }

    /// Corrects what a slot was charged. A slot that has aged out stays gone: by the rule that a cost counts at its
    /// admission it is in no window that ends from now on. Returns whether the slot was still there.
    pub fn adjust(&mut self, slot: u64, delta: i64) -> bool {
        let newest = self.newest;
        let Some(cell) = self.cells.iter_mut().rev().find(|cell| cell.slot(newest) == slot) else {
            return false;
        };
        let corrected = Cell::new(slot, cell.amount().saturating_add_signed(delta));
        self.sum = self
            .sum
            .saturating_sub(cell.amount())
            .saturating_add(corrected.amount());
        *cell = corrected;
        true
    }

    /// Moves all of it, because the clock was put forward by so many milliseconds.
    pub(crate) fn move_clock(&mut self, ms: i64) {
        let (window, newest) = (self.window, self.newest);
        for cell in &mut self.cells {
            *cell = Cell::new(window.moved(cell.slot(newest), ms), cell.amount());
        }
        if !self.cells.is_empty() {
            self.newest = window.moved(newest, ms);
        }
    }

    /// The first instant at which at least `needed` of what counts now has left; `None` if there is not so much.
    #[must_use]
    pub fn freed_at(&self, needed: u64) -> Option<u64> {
        let mut freed = 0_u64;
        for (slot, amount) in self.cells() {
            freed = freed.saturating_add(amount);
            if freed >= needed {
                return Some(self.window.gone_at(slot));
            }
        }
        None
    }

    /// The instant at which all has left.
    #[must_use]
    pub fn clear_at(&self) -> u64 {
        self.window.gone_at(self.newest)
    }

    /// True if nothing counts any more.
    #[must_use]
    pub fn is_idle(&self, now: u64) -> bool {
        self.sum == 0 || self.clear_at() <= now
    }

    /// The slots that count and their amounts, oldest first.
    pub fn cells(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.cells
            .iter()
            .map(|cell| (cell.slot(self.newest), cell.amount()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const T0: u64 = 1_800_000_000_000;

    fn ring() -> Ring {
        Ring::new(Window::new(Duration::from_secs(60)).unwrap())
    }

    #[test]
    fn a_cost_counts_until_its_whole_slot_has_left() {
        let mut ring = ring();
        let slot = ring.charge(T0, 7);
        let gone = T0 + 499 + 60_750;
        ring.expire(gone - 1);
        assert_eq!((ring.used(), ring.freed_at(7)), (7, Some(gone)));
        ring.expire(gone);
        assert_eq!((ring.used(), ring.is_idle(gone)), (0, true));
        assert!(!ring.adjust(slot, 5), "an aged-out slot must stay gone");
        assert_eq!(ring.used(), 0);
    }

    #[test]
    fn settling_moves_the_same_slot_up_and_down_but_never_below_nothing() {
        let mut ring = ring();
        let first = ring.charge(T0, 10);
        ring.charge(T0 + 600, 10);
        assert!(ring.adjust(first, -4) && ring.adjust(first, 1));
        assert_eq!(ring.cells().map(|cell| cell.1).collect::<Vec<_>>(), [7, 10]);
        ring.adjust(first, -100);
        assert_eq!(ring.used(), 10);
    }

    #[test]
    fn a_clock_that_steps_back_charges_the_newest_slot() {
        let mut ring = ring();
        let slot = ring.charge(T0 + 5_000, 1);
        assert_eq!(ring.charge(T0, 1), slot);
        assert_eq!(ring.used(), 2);
    }

    #[test]
    fn a_clock_that_was_wrong_keeps_nobody_out_for_longer_than_a_window() {
        let mut ring = ring();
        let hour = 3_600_000;
        ring.charge(T0 + hour, 3);
        ring.charge(T0 + hour + 5_000, 4);
        ring.refresh(T0);
        assert_eq!(
            (ring.used(), ring.clear_at()),
            (7, ring.window().gone_at(T0 / 500))
        );
        ring.charge(T0 + 2_000, 1);
        assert_eq!(ring.used(), 8);
        ring.refresh(ring.clear_at());
        assert_eq!(ring.used(), 0);
        ring.charge(T0 - hour, 2);
        assert_eq!(ring.cells().collect::<Vec<_>>(), [((T0 - hour) / 500, 2)]);
    }

    #[test]
    fn late_answers_land_in_their_own_slot() {
        let mut ring = ring();
        let slot = ring.charge(T0 + 5_000, 1);
        ring.charge_slot(slot - 2, 5);
        ring.charge_slot(slot - 1, 3);
        ring.charge_slot(slot - 2, 1);
        assert_eq!(
            ring.cells().collect::<Vec<_>>(),
            [(slot - 2, 6), (slot - 1, 3), (slot, 1)]
        );
        assert_eq!((ring.used(), ring.used_until(slot - 1)), (10, 9));
    }

    #[test]
    fn years_of_idleness_do_not_confuse_the_slots() {
        let mut ring = ring();
        ring.charge(T0, 5);
        let later = T0 + 500 * 256 * 1_000;
        ring.charge(later, 6);
        assert_eq!(ring.cells().collect::<Vec<_>>(), [(later / 500, 6)]);
        assert_eq!(ring.used(), 6);
    }
}
