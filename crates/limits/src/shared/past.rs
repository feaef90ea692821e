//! What this instance admitted before it was started, and which store knows that.
//!
//! A store that is asked for the first time has data of its own: what it was told before must not be told again, and what it was not
//! told must be. So every instance notes, in a file, which store (by its generation) knows all that it admitted, or until when. A store
//! without that generation has lost its data meanwhile; it is told everything.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::backlog::{Backlog, Raise};
use super::{Shared, signed};
use crate::charge::Ask;
use crate::limiter::{Core, Spender};
use crate::share::Seen;

/// Before an outage is noticed requests wait for the store: what began so many milliseconds earlier may have been admitted without it.
const MARGIN_MS: u64 = 1_000;

/// Longest nap of the task that notes it.
const NAP: Duration = Duration::from_secs(1);

/// The generation of no store: nobody was told anything.
const NOBODY: &str = "nobody";

/// A store that knows what this instance admitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) generation: Arc<str>,
    /// Until when, milliseconds since 1970 by the clock of this machine; `None`: all of it.
    until: Option<u64>,
}

impl Known {
    /// From a file; `None` if there is none, or if it makes no sense.
    pub(super) fn read(path: &PathBuf) -> Option<Known> {
        Self::parse(&std::fs::read_to_string(path).ok()?)
    }

    fn parse(text: &str) -> Option<Known> {
        let mut words = text.strip_suffix('\n')?.split(' ');
        let generation = words.next().filter(|word| !word.is_empty())?.into();
        let until = words.next().map(str::parse).transpose().ok()?;
        Some(Known { generation, until })
    }

    pub(super) fn text(&self) -> String {
        match self.until {
            Some(until) => format!("{} {until}\n", self.generation),
            None => format!("{}\n", self.generation),
        }
    }

    /// What is to be noted at `now` after `before`; `None`: nothing new. `told`: the store has what was to be told.
    pub(super) fn next(before: Option<&Known>, backlog: &Backlog, told: bool, now: u64) -> Option<Known> {
        let all = Known {
            generation: Arc::clone(&backlog.generation),
            until: None,
        };
        // As long as it answers it is told within moments what is admitted without it.
        let knows = backlog.outage.answers() && (told || before == Some(&all));
        let next = match before {
            _ if backlog.outage.alone().is_none() || knows => all,
            None => Known {
                generation: NOBODY.into(),
                until: None,
            },
            Some(known) if known.until.is_none() && &*known.generation != NOBODY => Known {
                generation: Arc::clone(&known.generation),
                until: Some(now.saturating_sub(MARGIN_MS)),
            },
            Some(_) => return None,
        };
        (!next.generation.is_empty() && before != Some(&next)).then_some(next)
    }

    /// True if the store of this generation was told what began at `at`.
    fn has(&self, generation: &str, at: u64) -> bool {
        *self.generation == *generation && self.until.is_none_or(|until| at < until)
    }
}

/// Notes what the store knows, whenever that changes. Runs until the limiter is dropped; a heartbeat that hangs does not hold it up.
pub(crate) fn keep_notes(core: &Arc<Core>) {
    let Some(shared) = core.shared() else { return };
    let Some(path) = shared.memory.clone() else { return };
    let (mut noted, noting, core) = (
        shared.known.clone(),
        Arc::clone(&shared.noting),
        Arc::downgrade(core),
    );
    tokio::spawn(async move {
        loop {
            _ = timeout(NAP, noting.notified()).await;
            let Some(core) = core.upgrade() else { return };
            let Some(known) = core.shared().and_then(|shared| shared.to_note(noted.as_ref())) else {
                continue;
            };
            let (path, text) = (path.clone(), known.text());
            // What cannot be written is tried again.
            if let Ok(Ok(())) = spawn_blocking(move || std::fs::write(path, text)).await {
                noted = Some(known);
            }
        }
    });
}

impl Shared {
    fn to_note(&self, noted: Option<&Known>) -> Option<Known> {
        if !self.notes.load(Ordering::Relaxed) {
            return None;
        }
        let backlog = self.backlog.lock();
        let told = backlog.told && backlog.is_empty();
        Known::next(noted, &backlog, told, self.local_now())
    }

    /// True if the store that is asked has other data than the one that knew this instance.
    fn is_other(&self, backlog: &Backlog) -> bool {
        let known = self.known.as_ref();
        known.is_some_and(|known| known.generation != backlog.generation)
    }

    /// Counts a cost of an earlier life, of `at` by a clock that says `now`; tells the store if it does not know.
    pub(crate) fn restore(&self, core: &Core, ask: &Ask, at: u64, now: u64) {
        let time = self.now();
        let then = time.saturating_sub(now.saturating_sub(at));
        let mut backlog = self.backlog.lock();
        let Some(held) = core.table.restore(ask, then, time) else {
            return;
        };
        let known = self.known.as_ref();
        if known.is_none_or(|known| known.has(&backlog.generation, at)) {
            return;
        }
        // Until it has been told, it must not decide.
        let lost = self.is_other(&backlog);
        backlog.outage.trip(time, lost);
        backlog.add(&held, signed(held.amount), true);
        drop(backlog);
        self.wake.notify_one();
    }

    /// Raises what is spent to at least what a ledger knows.
    pub(crate) fn raise(&self, core: &Core, ask: &Ask, spender: Spender) {
        let now = self.now();
        let mut backlog = self.backlog.lock();
        let is_other = self.is_other(&backlog);
        match spender {
            Spender::Instance => {
                let Some((held, missing)) = core.table.raise(ask, now) else {
                    return;
                };
                if is_other {
                    // The others tell their parts too.
                    backlog.add(&held, signed(missing), true);
                } else {
                    backlog.raise(Raise::new(&held, ask.amount));
                }
            }
            Spender::Everybody => {
                let Some(place) = ask.rule.period_at(now) else {
                    return;
                };
                let seen = Seen {
                    free: ask.rule.units().saturating_sub(ask.amount),
                    at: now,
                };
                let held = core.table.record(ask, place, 0, seen, now);
                backlog.floor(Raise::new(&held, ask.amount));
            }
        }
        if is_other {
            backlog.outage.trip(now, true);
        }
        drop(backlog);
        self.wake.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subject::Key;

    fn backlog(generation: &str) -> Backlog {
        let mut backlog = Backlog::new(1);
        backlog.generation = generation.into();
        backlog
    }

    fn next(before: &mut Option<Known>, backlog: &Backlog, now: u64) -> Option<String> {
        let next = Known::next(before.as_ref(), backlog, backlog.is_empty(), now)?;
        assert_eq!(Known::parse(&next.text()).as_ref(), Some(&next));
        let text = next.text();
        *before = Some(next);
        Some(text)
    }

    #[test]
    fn what_a_store_knows_is_noted_while_it_decides_and_until_when_while_it_does_not() {
        let (mut before, mut backlog) = (None, backlog(""));
        assert_eq!(next(&mut before, &backlog, 5_000), None, "it has never answered");
        backlog.outage.trip(5_000, false);
        assert_eq!(next(&mut before, &backlog, 5_000).as_deref(), Some("nobody\n"));
        assert_eq!(next(&mut before, &backlog, 5_100), None);
        backlog.outage.rejoin();
        backlog.generation = "a".into();
        assert_eq!(next(&mut before, &backlog, 6_000).as_deref(), Some("a\n"));
        assert_eq!(next(&mut before, &backlog, 6_100), None);
        backlog.outage.trip(7_000, true);
        backlog.generation = "b".into();
        assert_eq!(next(&mut before, &backlog, 7_010).as_deref(), Some("a 6010\n"));
        assert_eq!(
            next(&mut before, &backlog, 9_000),
            None,
            "the first moment counts"
        );
        backlog.entered.push((Key(1), 1));
        backlog.outage.answer(9_100, 1);
        assert_eq!(
            next(&mut before, &backlog, 9_100),
            None,
            "there is something to tell"
        );
        backlog.entered.clear();
        assert_eq!(next(&mut before, &backlog, 9_200).as_deref(), Some("b\n"));
        backlog.entered.push((Key(1), 1));
        assert_eq!(
            next(&mut before, &backlog, 9_300),
            None,
            "it will be told at once"
        );
        backlog.outage.trip(9_400, false);
        assert_eq!(next(&mut before, &backlog, 9_400).as_deref(), Some("b 8400\n"));
        backlog.outage.rejoin();
        assert_eq!(next(&mut before, &backlog, 9_500).as_deref(), Some("b\n"));
    }

    #[test]
    fn a_store_has_what_came_before_an_outage_and_another_one_nothing() {
        let until = Known::parse("a 6010\n").unwrap();
        assert!(until.has("a", 6_009) && !until.has("a", 6_010) && !until.has("b", 0));
        let all = Known::parse("a\n").unwrap();
        assert!(all.has("a", u64::MAX) && !all.has("b", 0));
        for broken in ["", "\n", "a", "a x\n", " 1\n"] {
            assert_eq!(Known::parse(broken), None, "{broken:?}");
        }
    }
}
