//! What time it is: the store's clock decides, and until it has told its time, that of this machine.

use std::sync::atomic::Ordering;

use super::Shared;
use super::backlog::Backlog;
use crate::limiter::Core;
use crate::shard::Held;

impl Shared {
    /// The store's time in milliseconds since the epoch, as well as it is known.
    pub(crate) fn now(&self) -> u64 {
        self.elapsed()
            .saturating_add_signed(self.offset.load(Ordering::Relaxed))
    }

    /// The time by the clock of this machine, milliseconds since 1970.
    pub(super) fn local_now(&self) -> u64 {
        self.began.saturating_add(self.elapsed())
    }

    pub(super) fn elapsed(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Learns the store's clock from an answer: it read it after the question and before now. What is known stays while it is between
    /// the two; else it becomes the later one, because a cost that is taken for later counts longer.
    pub(super) fn learn(&self, server_now: u64, asked: u64) {
        let server_now = i64::try_from(server_now).unwrap_or(i64::MAX);
        let earliest = server_now.saturating_sub_unsigned(self.elapsed());
        let latest = server_now.saturating_sub_unsigned(asked);
        let known = self.offset.load(Ordering::Relaxed);
        if !(earliest..=latest).contains(&known) {
            self.offset.store(latest, Ordering::Relaxed);
        }
    }

    /// The same from a heartbeat, which may be the first answer: what was admitted by the clock of this machine moves to where it belongs.
    pub(super) fn learn_first(&self, core: &Core, server_now: u64, asked: u64) {
        let mut backlog = self.backlog.lock();
        let before = self.offset.load(Ordering::Relaxed);
        self.learn(server_now, asked);
        if backlog.clock_moved.is_some() {
            return;
        }
        let moved = self.offset.load(Ordering::Relaxed).saturating_sub(before);
        backlog.clock_moved = Some(moved);
        core.table.move_clock(moved);
        backlog.move_clock(moved);
    }
}

/// Where a cost is by the store's clock, if that is known.
pub(super) fn by_clock_of_store(backlog: &Backlog, held: &Held) -> Held {
    let mut held = *held;
    if let Some(moved) = backlog.clock_moved.filter(|_| held.is_by_own_clock) {
        held.move_clock(moved);
        held.is_by_own_clock = false;
    }
    held
}
