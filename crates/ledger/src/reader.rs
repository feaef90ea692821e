//! Reads a segment event by event, over damage if there is any.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use crate::record::{Event, Front, Kind, MAX_RECORD, front, next_whole};
use crate::texts::Texts;

/// Bytes read at once.
const CHUNK: usize = 128 << 10;

/// What was met in a segment besides events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Damage {
    /// Bytes between whole records that are no records.
    pub(crate) corrupt_bytes: u64,
    /// Whole records that this version cannot read.
    pub(crate) unreadable: u64,
}

/// One segment.
#[derive(Debug)]
pub(crate) struct SegmentReader {
    file: File,
    buffer: Vec<u8>,
    /// Where in the buffer the next record should begin.
    start: usize,
    /// Offset in the file of that place.
    at: u64,
    /// Offset in the file behind the last whole record.
    whole: u64,
    damage: Damage,
    texts: Texts,
}

impl SegmentReader {
    pub(crate) fn open(path: &Path, offset: u64) -> io::Result<Self> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(offset))?;
        Ok(SegmentReader {
            file,
            buffer: Vec::new(),
            start: 0,
            at: offset,
            whole: offset,
            damage: Damage::default(),
            texts: Texts::default(),
        })
    }

    /// Offset behind the last whole record that was read.
    pub(crate) fn whole(&self) -> u64 {
        self.whole
    }

    pub(crate) fn damage(&self) -> Damage {
        self.damage
    }

    /// The next event before `end`; `None` if there is none (yet).
    pub(crate) fn next(&mut self, end: u64) -> io::Result<Option<Event>> {
        self.next_of(end, |_| true)
    }

    /// The next event of a kind that is wanted; the others are passed over unread.
    pub(crate) fn next_of(&mut self, end: u64, wanted: impl Fn(Kind) -> bool) -> io::Result<Option<Event>> {
        loop {
            let pending = self.buffer.get(self.start..).unwrap_or_default();
            match front(pending) {
                Front::Whole { payload, size } => {
                    let unwanted = Kind::of(payload).is_some_and(|kind| !wanted(kind));
                    let event = (!unwanted).then(|| Event::decode_sharing(payload, &mut self.texts));
                    self.damage.corrupt_bytes += self.at.saturating_sub(self.whole);
                    self.skip(size);
                    self.whole = self.at;
                    match event {
                        Some(Some(event)) => return Ok(Some(event)),
                        Some(None) => self.damage.unreadable += 1,
                        None => {}
                    }
                }
                unfinished => {
                    let has_grown = unfinished == Front::Short && self.fill(end)?;
                    if !has_grown && !self.resynchronise(end)? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Goes to the next whole record. What could still be the head of a record that is not all here stays.
    fn resynchronise(&mut self, end: u64) -> io::Result<bool> {
        loop {
            let pending = self.buffer.get(self.start..).unwrap_or_default();
            if let Some(at) = next_whole(pending) {
                self.skip(at);
                return Ok(true);
            }
            let hopeless = pending.len().saturating_sub(MAX_RECORD);
            self.skip(hopeless);
            if !self.fill(end)? {
                return Ok(false);
            }
        }
    }

    fn skip(&mut self, bytes: usize) {
        self.start += bytes;
        self.at += bytes as u64;
    }

    /// Reads on; false at `end`.
    fn fill(&mut self, end: u64) -> io::Result<bool> {
        self.buffer.drain(..self.start);
        self.start = 0;
        let have = self.buffer.len();
        let left = end.saturating_sub(self.at + have as u64);
        let wanted = left.min(CHUNK as u64);
        let taken = (&mut self.file).take(wanted).read_to_end(&mut self.buffer)?;
        Ok(taken > 0)
    }
}
