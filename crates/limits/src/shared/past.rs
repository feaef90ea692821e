//! What this instance admitted before it was started, and what the store knows of that.
//!
//! The store notes of every instance, by an id that outlives the process, until when it was told everything; a store that has no such
//! note has lost its data, and is told all. What an instance admitted on its own the store may not know: since when that is so, the
//! instance notes in a file.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use std::{fs, io};

use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::backlog::Backlog;
use super::{Shared, signed};
use crate::charge::Ask;
use crate::limiter::Core;

/// Before an outage is noticed requests wait for the store: what began so many milliseconds earlier may have been admitted without it.
const MARGIN_MS: u64 = 1_000;

/// Longest nap of the task that keeps the note.
const NAP: Duration = Duration::from_secs(1);
/// How often it notes how many calls the store has counted: a snapshot that comes after is not seen to be older.
const COUNTED_EVERY: Duration = Duration::from_secs(10);

/// What an instance knows of itself over a restart. Times are milliseconds since 1970 by the clock of its machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Note {
    /// Names it in the store.
    pub(super) id: String,
    /// When that name was made: what is older the store is believed to know.
    born: u64,
    /// Since when it admits what the store may not know; `None`: the store knows all.
    alone_since: Option<u64>,
    /// A store has known it: one that does not has lost its data.
    is_met: bool,
    /// The generation of that store, and of how many calls it had told: one that knows of fewer was taken back to older data.
    pub(super) told: Option<(Arc<str>, u64)>,
}

/// Where that is kept.
pub(super) struct Memory {
    path: PathBuf,
    /// As it was when the instance was started.
    pub(super) note: Note,
    /// There was none before.
    is_first_life: bool,
}

impl Memory {
    /// With what the file says, or a new note if there is none or it makes no sense.
    pub(super) fn of(path: &Path, random: u64, now: u64) -> Self {
        let found = fs::read_to_string(path).ok().and_then(|text| Note::parse(&text));
        let mut note = found.clone().unwrap_or_else(|| Note {
            id: format!("{random:016x}"),
            born: now,
            alone_since: None,
            is_met: false,
            told: None,
        });
        // By another clock.
        note.alone_since = note.alone_since.map(|since| if since > now { 0 } else { since });
        Memory {
            path: path.to_owned(),
            note,
            is_first_life: found.is_none(),
        }
    }
}

impl Note {
    fn parse(text: &str) -> Option<Note> {
        let words: Vec<&str> = text.strip_suffix('\n')?.split(' ').collect();
        let [id, born, since, met, ref told @ ..] = words[..] else {
            return None;
        };
        let is_id = id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        Some(Note {
            id: is_id.then(|| id.to_owned())?,
            born: born.parse().ok()?,
            alone_since: match since {
                "-" => None,
                since => Some(since.parse().ok()?),
            },
            is_met: match met {
                "met" => true,
                "new" => false,
                _ => return None,
            },
            told: match told {
                [] => None,
                [generation, calls] => Some(((*generation).into(), calls.parse().ok()?)),
                _ => return None,
            },
        })
    }

    fn text(&self) -> String {
        let since = self.alone_since.map(|since| since.to_string());
        let since = since.as_deref().unwrap_or("-");
        let met = if self.is_met { "met" } else { "new" };
        let told = self.told.as_ref();
        let told = told.map(|(generation, calls)| format!(" {generation} {calls}"));
        let told = told.unwrap_or_default();
        format!("{} {} {since} {met}{told}\n", self.id, self.born)
    }

    /// Whole or not at all, unless the disk is full: its own place is the only one then.
    fn write(&self, path: &Path) -> io::Result<()> {
        let draft = path.with_extension("new");
        let drafted = fs::write(&draft, self.text()).and_then(|()| fs::rename(draft, path));
        drafted.or_else(|_| fs::write(path, self.text()))
    }

    /// As it is now. `alone`: since when the instance is on its own. `counts`: how many calls the store has counted is noted anew.
    fn now(&self, backlog: &Backlog, alone: Option<u64>, counts: bool) -> Note {
        // While the store answers it is told within moments what is admitted without it.
        let knows = backlog.outage.answers() && (backlog.has_told_all() || self.alone_since.is_none());
        let alone = alone.filter(|_| !knows);
        let since = |began: u64| began.saturating_sub(MARGIN_MS);
        Note {
            is_met: self.is_met || backlog.outage.alone().is_none() || knows,
            alone_since: alone.map(|began| since(began).min(self.alone_since.unwrap_or(u64::MAX))),
            told: self.told_now(backlog, counts),
            ..self.clone()
        }
    }

    fn told_now(&self, backlog: &Backlog, counts: bool) -> Option<(Arc<str>, u64)> {
        let is_kept = |told: &&(Arc<str>, u64)| {
            backlog.generation.is_empty() || (told.0 == backlog.generation && !counts)
        };
        let now = || (Arc::clone(&backlog.generation), backlog.calls);
        let kept = self.told.as_ref().filter(is_kept).cloned();
        kept.or_else(|| Some(now()).filter(|_| !backlog.generation.is_empty()))
    }

    /// True if a store that was told everything until `told` knows what began at `at`.
    fn is_known(&self, at: u64, told: u64) -> bool {
        at < self.born || at < told || self.alone_since.is_none_or(|since| at < since)
    }
}

/// Keeps the note as it is. Runs until the limiter is dropped; a heartbeat that hangs does not hold it up.
pub(crate) fn keep_note(core: &Arc<Core>) {
    let Some(shared) = core.shared() else { return };
    let Some(memory) = &shared.memory else { return };
    let (path, note) = (memory.path.clone(), memory.note.clone());
    let mut kept = (!memory.is_first_life).then(|| note.clone());
    let mut counted = Instant::now();
    let (noting, core) = (Arc::clone(&shared.noting), Arc::downgrade(core));
    tokio::spawn(async move {
        loop {
            _ = timeout(NAP, noting.notified()).await;
            let Some(core) = core.upgrade() else { return };
            let Some(shared) = core.shared().filter(|shared| shared.is_restored()) else {
                continue;
            };
            let counts = counted.elapsed() >= COUNTED_EVERY;
            let next = shared.note_now(kept.as_ref().unwrap_or(&note), counts);
            if kept.as_ref() == Some(&next) {
                continue;
            }
            let (path, written) = (path.clone(), next.clone());
            // What cannot be written is tried again.
            if let Ok(Ok(())) = spawn_blocking(move || written.write(&path)).await {
                kept = Some(next);
                counted = if counts { Instant::now() } else { counted };
            }
        }
    });
}

impl Shared {
    /// All that is known of earlier lives was restored.
    pub(super) fn is_restored(&self) -> bool {
        self.memory.is_none() || self.restored.load(Ordering::Relaxed)
    }

    /// What was noted when this instance was started.
    fn note(&self) -> Option<&Note> {
        self.memory.as_ref().map(|memory| &memory.note)
    }

    fn note_now(&self, before: &Note, counts: bool) -> Note {
        let backlog = self.backlog.lock();
        let alone = backlog.outage.alone().map(|alone| {
            let ago = self.now().saturating_sub(alone.since);
            self.local_now().saturating_sub(ago)
        });
        before.now(&backlog, alone, counts)
    }

    /// The generation of the store that an earlier life knew, and of how many calls it had told.
    pub(super) fn noted_calls(&self) -> Option<(Arc<str>, u64)> {
        self.note().and_then(|note| note.told.clone())
    }

    /// The store answers for the first time, and was told everything until `told`: it is told what it does not know of what was restored
    /// meanwhile. True if it knows nothing.
    pub(super) fn met(&self, core: &Core, backlog: &mut Backlog, told: Option<u64>) -> bool {
        // By another clock: it knows what it decided, and of the rest nobody can tell.
        let told = told.map(|told| if told > self.local_now() { 0 } else { told });
        backlog.known_until = Some(told);
        let unsure = std::mem::take(&mut backlog.unsure);
        if told.is_none() && self.memory.as_ref().is_some_and(|memory| memory.is_first_life) {
            // Of what it has spent others may know a part from a common ledger.
            backlog.is_whole();
        }
        if self.has_forgotten(backlog) {
            return core.table.subjects() > 0;
        }
        for (held, at) in unsure {
            let knows = |note: &Note| note.is_known(at, told.unwrap_or(0));
            if !self.note().is_none_or(knows) {
                backlog.add(&held, signed(held.amount), true);
            }
        }
        false
    }

    /// True if the store has lost what it was told of this instance.
    pub(super) fn has_forgotten(&self, backlog: &Backlog) -> bool {
        let is_met = self.note().is_some_and(|note| note.is_met);
        is_met && backlog.known_until == Some(None)
    }

    /// Counts a cost of an earlier life, of `at` by a clock that says `now`; tells the store if it does not know.
    pub(crate) fn restore(&self, core: &Core, ask: &Ask, at: u64, now: u64) {
        let mut backlog = self.backlog.lock();
        let time = self.now();
        let then = time.saturating_sub(now.saturating_sub(at));
        let Some(held) = core.table.restore(ask, then, time) else {
            return;
        };
        let memory = self.memory.as_ref().filter(|memory| !memory.is_first_life);
        let Some(Memory { note, .. }) = memory else {
            return;
        };
        let knows = match backlog.known_until {
            None if note.is_known(at, 0) => true,
            // It will be asked.
            None => return backlog.unsure.push((held, at)),
            Some(None) if note.is_met => at < note.born,
            Some(told) => note.is_known(at, told.unwrap_or(0)),
        };
        if knows {
            return;
        }
        // Until it has been told, it must not decide.
        let lost = self.has_forgotten(&backlog);
        backlog.outage.trip(time, lost);
        backlog.add(&held, signed(held.amount), true);
        drop(backlog);
        self.wake.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subject::Key;

    #[test]
    fn since_when_the_store_may_not_know_all_is_noted_until_it_does() {
        let mut backlog = Backlog::new(1);
        let note = Note {
            id: "0123456789abcdef".into(),
            born: 1_000,
            alone_since: None,
            is_met: true,
            told: None,
        };
        let next = |note: &Note, backlog: &Backlog, alone| {
            let next = note.now(backlog, alone, false);
            assert_eq!(Note::parse(&next.text()).as_ref(), Some(&next));
            next
        };
        assert_eq!(next(&note, &backlog, None), note);
        backlog.outage.trip(7_000, false);
        let note = next(&note, &backlog, Some(7_000));
        assert_eq!(note.alone_since, Some(6_000));
        assert_eq!(
            next(&note, &backlog, Some(8_000)).alone_since,
            Some(6_000),
            "the first moment counts"
        );
        assert_eq!(
            next(&note, &backlog, Some(3_000)).alone_since,
            Some(2_000),
            "by a clock that was set back"
        );
        backlog.entered.push((Key(1), 1));
        backlog.outage.answer(9_100, 1);
        assert_eq!(
            next(&note, &backlog, Some(7_000)).alone_since,
            Some(6_000),
            "there is something to tell"
        );
        backlog.entered.clear();
        backlog.told = true;
        let note = next(&note, &backlog, Some(7_000));
        assert_eq!(note.alone_since, None);
        backlog.told = false;
        assert_eq!(
            next(&note, &backlog, Some(7_000)).alone_since,
            None,
            "it will be told at once"
        );
        backlog.outage.trip(9_400, false);
        assert_eq!(next(&note, &backlog, Some(7_000)).alone_since, Some(6_000));
        backlog.outage.rejoin();
        assert_eq!(next(&note, &backlog, None).alone_since, None);
    }

    #[test]
    fn a_store_knows_what_it_was_told_and_what_it_decided_itself() {
        let mut note = Note {
            id: "0123456789abcdef".into(),
            born: 1_000,
            alone_since: None,
            is_met: true,
            told: None,
        };
        assert!(note.is_known(u64::MAX, 0), "it was never away");
        note.alone_since = Some(6_000);
        assert!(note.is_known(5_999, 0) && !note.is_known(6_000, 0));
        assert!(note.is_known(6_000, 6_001) && note.is_known(999, 0));
    }

    #[test]
    fn how_far_the_store_was_is_noted_now_and_then_and_at_once_when_it_is_another_one() {
        let mut backlog = Backlog::new(1);
        let note = Note::parse("0123456789abcdef 1 - met\n").unwrap();
        let mut told = |note: &Note, generation: &str, calls, counts| {
            backlog.generation = generation.into();
            backlog.calls = calls;
            let next = note.now(&backlog, None, counts);
            assert_eq!(Note::parse(&next.text()).as_ref(), Some(&next));
            let told = next
                .told
                .clone()
                .map(|(generation, calls)| (generation.to_string(), calls));
            (next, told)
        };
        let of = |generation: &str, calls| Some((generation.to_owned(), calls));
        assert_eq!(told(&note, "", 0, true).1, None, "none has answered");
        let (note, first) = told(&note, "a@1", 7, false);
        assert_eq!(first, of("a@1", 7));
        assert_eq!(told(&note, "a@1", 9, false).1, of("a@1", 7));
        assert_eq!(told(&note, "a@1", 9, true).1, of("a@1", 9));
        assert_eq!(told(&note, "b@2", 3, false).1, of("b@2", 3));
        assert_eq!(told(&note, "", 0, true).1, of("a@1", 7), "it is not there yet");
    }

    #[test]
    fn a_note_that_makes_no_sense_is_none() {
        for broken in [
            "",
            "\n",
            "0123456789abcdef 1 - met",
            "x 1 -\n",
            "0123456789abcdef 1 x met\n",
            "0123456789abcdef 1 - x\n",
            "0123456789abcdef 1 - met a@1\n",
            "0123456789abcdef 1 - met a@1 x\n",
            "0123456789abcdef 1 - met a@1 1 1\n",
        ] {
            assert_eq!(Note::parse(broken), None, "{broken:?}");
        }
        let ahead = Note::parse("0123456789abcdef 1 99 new\n").unwrap();
        let dir = std::env::temp_dir().join(format!("opm-note-{}", std::process::id()));
        ahead.write(&dir).unwrap();
        let read = Memory::of(&dir, 0, 50);
        fs::remove_file(dir).unwrap();
        assert_eq!((read.note.alone_since, read.is_first_life), (Some(0), false));
    }
}
