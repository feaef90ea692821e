//! The append-only log: what all entries, the keeper thread and the feeder share.
//!
//! A record goes into the file by the thread that has it, one `write(2)`, so it survives the death of the process as
//! soon as `append` returns. If the disk refuses it or another thread hangs in it, the record goes to a bounded backlog in
//! memory: its ticket says so, and no thread waits for more than [`PATIENCE`]. The backlog is written before
//! anything else, by the keeper thread while the disk refuses, by whoever comes next otherwise.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};

use crate::directory::{Directory, Position};
use crate::options::{Options, Sync, WhenFull};
use crate::record::{Kind, encode};
use crate::row::Row;
use crate::ticket::{Place, Progress, Ticket};
use crate::writer::Writer;

/// How long a thread waits for the file while another one writes. A write takes microseconds; its thread may have to wait
/// for a processor or for the disk, and then this one has other requests to serve.
const PATIENCE: Duration = Duration::from_millis(10);
/// Records of the backlog that one request writes before its own; beyond that its own joins the backlog.
const CATCH_UP: usize = 64;

/// How the ledger is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// The disk refuses records or syncs at present.
    pub failing: bool,
    /// The log has reached its size; records other than ends are dropped.
    pub full: bool,
    /// Size of all segments, bytes.
    pub bytes: u64,
    /// Records waiting in memory for the disk.
    pub backlog: u64,
    /// Records dropped since the ledger was opened, because log or backlog were full.
    pub dropped: u64,
    /// Appends that failed.
    pub write_errors: u64,
    /// Syncs that failed.
    pub sync_errors: u64,
    /// Appends that found the file busy for too long.
    pub stalls: u64,
}

#[derive(Debug, Default)]
struct Counts {
    dropped: AtomicU64,
    write_errors: AtomicU64,
    sync_errors: AtomicU64,
    stalls: AtomicU64,
}

#[derive(Debug, Default)]
struct Backlog {
    records: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Records that have ever waited.
    taken: u64,
}

#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) directory: Directory,
    pub(crate) options: Options,
    writer: Mutex<Writer>,
    /// Position of the writer, segment and offset in one word so that it is read whole.
    end: AtomicU64,
    bytes: AtomicU64,
    backlog: Mutex<Backlog>,
    /// Records that are not in the file yet, including the one that the keeper is writing.
    waiting: AtomicUsize,
    /// Running requests by the oldest segment that recovery needs for them.
    pins: Mutex<BTreeMap<u64, usize>>,
    counts: Counts,
    /// The last write failed: only the keeper tries on.
    failing: AtomicBool,
    /// A write takes too long: nobody waits for it.
    stalled: AtomicBool,
    /// The last sync failed.
    unsynced: AtomicBool,
    progress: Progress,
    keeper: Mutex<Option<std::thread::Thread>>,
}

/// Bits of an offset in [`Log::end`]: segments up to 1 TiB, 16 million of them.
const OFFSET_BITS: u32 = 40;

fn pack(at: Position) -> u64 {
    at.segment << OFFSET_BITS | at.offset
}

/// Whether there is room: the last sixteenth is for ends.
fn has_room(kind: Kind, used: u64, limit: u64) -> bool {
    used < if kind == Kind::End {
        limit
    } else {
        limit - limit / 16
    }
}

impl Log {
    pub(crate) fn new(directory: Directory, options: Options, writer: Writer, bytes: u64) -> Self {
        Log {
            end: AtomicU64::new(pack(writer.at)),
            bytes: AtomicU64::new(bytes),
            writer: Mutex::new(writer),
            directory,
            options,
            backlog: Mutex::default(),
            waiting: AtomicUsize::new(0),
            pins: Mutex::default(),
            counts: Counts::default(),
            failing: AtomicBool::new(false),
            stalled: AtomicBool::new(false),
            unsynced: AtomicBool::new(false),
            progress: Progress::default(),
            keeper: Mutex::default(),
        }
    }

    /// Records a row. Never fails and never waits longer than [`PATIENCE`]; what cannot be recorded is counted.
    pub(crate) fn append(&self, kind: Kind, row: &Row) -> Ticket {
        if !has_room(kind, self.bytes.load(Relaxed), self.options.max_bytes) {
            self.counts.dropped.fetch_add(1, Relaxed);
            return Ticket(Place::Dropped);
        }
        let record = encode(kind, row);
        if let Some(mut writer) = self.writer() {
            match self.append_behind_backlog(&mut writer, &record) {
                Ok(Some(ticket)) => return ticket,
                Ok(None) => {}
                Err(error) => self.write_failed(&error),
            }
        }
        self.put_back(kind, record)
    }

    /// Records a row, or says why not: for what can be done again later.
    pub(crate) fn append_surely(&self, kind: Kind, row: &Row) -> io::Result<()> {
        let used = self.bytes.load(Relaxed);
        if self.failing.load(Relaxed) || !has_room(Kind::Start, used, self.options.max_bytes) {
            return Err(io::Error::other("the ledger has no room or its disk fails"));
        }
        let mut writer = self.writer.lock();
        self.write(&mut writer, &encode(kind, row)).map(|_| ())
    }

    /// The file, unless the disk refuses records or hangs in one.
    fn writer(&self) -> Option<MutexGuard<'_, Writer>> {
        if self.failing.load(Relaxed) {
            return None;
        }
        if self.stalled.load(Relaxed) {
            let writer = self.writer.try_lock()?;
            self.stalled.store(false, Relaxed);
            return Some(writer);
        }
        let writer = self.writer.try_lock_for(PATIENCE);
        if writer.is_none() {
            self.stalled.store(true, Relaxed);
            self.counts.stalls.fetch_add(1, Relaxed);
        }
        writer
    }

    fn append_behind_backlog(&self, writer: &mut Writer, record: &[u8]) -> io::Result<Option<Ticket>> {
        if self.catch_up(writer)? {
            self.write(writer, record).map(Some)
        } else {
            Ok(None)
        }
    }

    /// Writes some of the backlog; true if nothing is left of it. Only who has the file takes from the backlog, so that no
    /// record of a request overtakes another.
    fn catch_up(&self, writer: &mut Writer) -> io::Result<bool> {
        for _ in 0..CATCH_UP {
            if self.waiting.load(Ordering::Acquire) == 0 {
                return Ok(true);
            }
            let Some(record) = self.backlog.lock().records.pop_front() else {
                return Ok(true);
            };
            let written = self.write(writer, &record);
            let mut backlog = self.backlog.lock();
            if let Err(error) = written {
                backlog.records.push_front(record);
                return Err(error);
            }
            backlog.bytes = backlog.bytes.saturating_sub(record.len());
            self.waiting.fetch_sub(1, Ordering::Release);
            self.progress.set_worked_off(writer.appended);
        }
        Ok(false)
    }

    fn write(&self, writer: &mut Writer, record: &[u8]) -> io::Result<Ticket> {
        writer.append(record)?;
        self.end.store(pack(writer.at), Ordering::Release);
        self.bytes.fetch_add(record.len() as u64, Relaxed);
        let ticket = Ticket(Place::Written(writer.appended));
        if self.options.sync == Sync::Always {
            self.wake();
        }
        Ok(ticket)
    }

    fn write_failed(&self, error: &io::Error) {
        self.counts.write_errors.fetch_add(1, Relaxed);
        if !self.failing.swap(true, Relaxed) {
            let path = self.directory.path().display();
            tracing::error!(%error, %path, "the ledger cannot be written; records wait in memory");
        }
    }

    fn put_back(&self, kind: Kind, record: Vec<u8>) -> Ticket {
        let mut backlog = self.backlog.lock();
        if !has_room(kind, backlog.bytes as u64, self.options.max_backlog_bytes as u64) {
            self.counts.dropped.fetch_add(1, Relaxed);
            return Ticket(Place::Dropped);
        }
        backlog.bytes += record.len();
        backlog.records.push_back(record);
        backlog.taken += 1;
        let place = Place::Waiting(backlog.taken);
        self.waiting.fetch_add(1, Ordering::Release);
        drop(backlog);
        if !self.failing.load(Relaxed) {
            self.wake();
        }
        Ticket(place)
    }

    /// Writes the backlog as far as the disk takes it.
    pub(crate) fn work_off(&self) {
        loop {
            let caught_up = self.catch_up(&mut self.writer.lock());
            match caught_up {
                Ok(true) => break,
                Ok(false) => {}
                Err(error) => return self.write_failed(&error),
            }
        }
        if self.failing.swap(false, Relaxed) {
            tracing::info!("the ledger can be written again");
        }
    }

    /// Begins a new segment if this one is long enough or torn.
    pub(crate) fn turn(&self) {
        let (at, torn) = {
            let writer = self.writer.lock();
            (writer.at, writer.torn)
        };
        if at.offset < self.options.segment_bytes && !torn {
            return;
        }
        let next = at.segment + 1;
        match self.options.io.create(&self.directory.segment(next)) {
            Err(error) => self.write_failed(&error),
            Ok(file) => {
                let (old, appended) = {
                    let mut writer = self.writer.lock();
                    let old = writer.turn(file, next);
                    self.end.store(pack(writer.at), Ordering::Release);
                    (old, writer.appended)
                };
                if let Err(error) = old.sync() {
                    self.sync_failed(&error, appended);
                }
            }
        }
    }

    /// Makes what was written safe against a power loss.
    pub(crate) fn sync(&self) {
        let (file, appended) = {
            let writer = self.writer.lock();
            (writer.file.clone(), writer.appended)
        };
        if appended == self.progress.synced() {
            return;
        }
        match file.sync() {
            Ok(()) => {
                self.unsynced.store(false, Relaxed);
                self.progress.set_synced(appended);
            }
            Err(error) => self.sync_failed(&error, appended),
        }
    }

    /// As [`Log::sync`], with the result.
    pub(crate) fn sync_now(&self) -> io::Result<()> {
        let file = self.writer.lock().file.clone();
        file.sync()
    }

    fn sync_failed(&self, error: &io::Error, appended: u64) {
        self.counts.sync_errors.fetch_add(1, Relaxed);
        self.progress.set_unsure(appended);
        if !self.unsynced.swap(true, Relaxed) {
            tracing::error!(%error, "the ledger cannot be synced; a power loss would lose its newest records");
        }
    }

    /// Waits until a record is as safe as promised; not while the disk refuses everything.
    pub(crate) async fn durable(&self, ticket: Ticket) -> bool {
        if !ticket.is_written() && self.failing.load(Relaxed) {
            return false;
        }
        self.progress
            .reach(ticket, self.options.sync == Sync::Always)
            .await
    }

    /// Where the last whole record ends.
    pub(crate) fn end(&self) -> Position {
        let packed = self.end.load(Ordering::Acquire);
        Position {
            segment: packed >> OFFSET_BITS,
            offset: packed & ((1 << OFFSET_BITS) - 1),
        }
    }

    /// Keeps the newest segment and all after it until [`Log::unpin`]: called before the record is appended.
    pub(crate) fn pin(&self) -> u64 {
        let segment = self.end().segment;
        *self.pins.lock().entry(segment).or_default() += 1;
        segment
    }

    pub(crate) fn unpin(&self, segment: u64) {
        let mut pins = self.pins.lock();
        if let Some(count) = pins.get_mut(&segment) {
            *count -= 1;
            if *count == 0 {
                pins.remove(&segment);
            }
        }
    }

    /// Deletes the segments that neither the feeder, which stands at `cursor`, nor recovery needs.
    pub(crate) fn forget_before(&self, cursor: Position) -> io::Result<()> {
        let pinned = self.pins.lock().first_key_value().map(|(segment, _)| *segment);
        let first = pinned.unwrap_or(cursor.segment).min(cursor.segment);
        let first = first.min(self.first_kept()?);
        let freed = self.directory.delete_before(first)?;
        self.bytes.fetch_sub(freed, Relaxed);
        Ok(())
    }

    /// The first segment that is kept for its age; none is if that takes room from new records.
    fn first_kept(&self) -> io::Result<u64> {
        let keep = u64::try_from(self.options.keep.as_millis()).unwrap_or(u64::MAX);
        if keep == 0 || self.bytes.load(Relaxed) > self.options.max_bytes / 2 {
            return Ok(u64::MAX);
        }
        let since_ms = (self.options.clock)().saturating_sub(keep);
        self.directory.first_written_since(since_ms)
    }

    pub(crate) fn health(&self) -> Health {
        let bytes = self.bytes.load(Relaxed);
        Health {
            failing: self.failing.load(Relaxed) || self.unsynced.load(Relaxed),
            full: !has_room(Kind::Start, bytes, self.options.max_bytes),
            bytes,
            backlog: self.waiting.load(Relaxed) as u64,
            dropped: self.counts.dropped.load(Relaxed),
            write_errors: self.counts.write_errors.load(Relaxed),
            sync_errors: self.counts.sync_errors.load(Relaxed),
            stalls: self.counts.stalls.load(Relaxed),
        }
    }

    pub(crate) fn is_accepting(&self) -> bool {
        let health = self.health();
        self.options.when_full == WhenFull::DropAndCount || !(health.full || health.failing)
    }

    pub(crate) fn set_keeper(&self, thread: std::thread::Thread) {
        *self.keeper.lock() = Some(thread);
    }

    pub(crate) fn wake(&self) {
        if let Some(keeper) = self.keeper.lock().as_ref() {
            keeper.unpark();
        }
    }
}
