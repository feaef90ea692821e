//! The append-only log: what all entries, the keeper thread and the feeder share.
//!
//! A record waits in memory until somebody needs it in the file ([`Log::durable`]); then all that wait go there, in one `write(2)`, and
//! survive the death of the process. So requests that come together share the write. If the disk refuses it or another thread hangs in
//! it, they stay in memory, bounded: no thread waits for more than [`PATIENCE`]. They are written, before anything else, by the keeper
//! thread while the disk refuses, by whoever comes next otherwise.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::task::yield_now;

use crate::company::Company;
use crate::directory::{Directory, Position};
use crate::options::{Options, Sync, WhenFull};
use crate::queue::Queue;
use crate::record::{Kind, encode, has_room};
use crate::row::Row;
use crate::ticket::{Progress, Ticket};
use crate::watch::Writes;
use crate::writer::Writer;

/// How long a thread waits for the file while another one writes. A write takes microseconds; its thread may have to wait
/// for a processor or for the disk, and then this one has other requests to serve.
const PATIENCE: Duration = Duration::from_millis(10);

/// How the ledger is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// The disk refuses records or syncs at present.
    pub failing: bool,
    /// The log has reached its size; records other than ends are dropped.
    pub full: bool,
    /// Size of all segments, bytes.
    pub bytes: u64,
    /// Records waiting in memory for the disk, or for the next write.
    pub backlog: u64,
    /// Records dropped since the ledger was opened, because log or backlog were full.
    pub dropped: u64,
    /// Writes that failed.
    pub write_errors: u64,
    /// Syncs that failed.
    pub sync_errors: u64,
    /// Writes that found the file busy for too long.
    pub stalls: u64,
}

#[derive(Debug, Default)]
struct Counts {
    dropped: AtomicU64,
    write_errors: AtomicU64,
    sync_errors: AtomicU64,
    stalls: AtomicU64,
}

#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) directory: Directory,
    pub(crate) options: Options,
    writer: Mutex<Writer>,
    /// Position of the writer, segment and offset in one word so that it is read whole.
    end: AtomicU64,
    bytes: AtomicU64,
    /// Whoever has the writer takes from it, nobody else: no record overtakes another.
    queue: Mutex<Queue>,
    company: Company,
    /// Running requests by the oldest segment that recovery needs for them.
    pins: Mutex<BTreeMap<u64, usize>>,
    counts: Counts,
    /// The last write failed: only the keeper tries on.
    failing: AtomicBool,
    /// A write takes too long: nobody waits for it.
    stalled: AtomicBool,
    /// The last sync failed.
    unsynced: AtomicBool,
    /// It was said that there is no room.
    said_full: AtomicBool,
    progress: Progress,
    keeper: Mutex<Option<std::thread::Thread>>,
    pub(crate) writes: Arc<Writes>,
}

/// Bits of an offset in [`Log::end`]: segments up to 1 TiB, 16 million of them.
const OFFSET_BITS: u32 = 40;

fn pack(at: Position) -> u64 {
    at.segment << OFFSET_BITS | at.offset
}

impl Log {
    pub(crate) fn new(directory: Directory, options: Options, writer: Writer, bytes: u64) -> Self {
        Log {
            end: AtomicU64::new(pack(writer.at)),
            bytes: AtomicU64::new(bytes),
            writer: Mutex::new(writer),
            directory,
            options,
            queue: Mutex::default(),
            company: Company::default(),
            pins: Mutex::default(),
            counts: Counts::default(),
            failing: AtomicBool::new(false),
            stalled: AtomicBool::new(false),
            unsynced: AtomicBool::new(false),
            said_full: AtomicBool::new(false),
            progress: Progress::default(),
            keeper: Mutex::default(),
            writes: Arc::default(),
        }
    }

    /// Records a row. Never fails and never waits; what cannot be recorded is counted. It is in the file after [`Log::durable`].
    pub(crate) fn append(&self, kind: Kind, row: &Row) -> Ticket {
        self.push(kind, row, None)
    }

    /// Records the end of a request. What it pinned stays until the record is in the file, or is lost.
    pub(crate) fn append_end(&self, row: &Row, pin: u64) -> Ticket {
        let ticket = self.push(Kind::End, row, Some(pin));
        if ticket.0.is_none() {
            self.unpin(pin);
        }
        ticket
    }

    fn push(&self, kind: Kind, row: &Row, pin: Option<u64>) -> Ticket {
        let most = self.options.max_backlog_bytes;
        let number = has_room(kind, self.bytes.load(Relaxed), self.options.max_bytes)
            .then(|| encode(kind, row))
            .and_then(|record| self.queue.lock().push(kind, record, pin, most));
        match number {
            None => {
                self.counts.dropped.fetch_add(1, Relaxed);
                self.say_full("records are dropped");
            }
            // Ends have room where others have none.
            Some(_) if kind == Kind::Start => self.said_full.store(false, Relaxed),
            Some(_) => {}
        }
        Ticket(number)
    }

    /// The same for what nobody waits for. Waits no longer than [`PATIENCE`].
    pub(crate) fn append_now(&self, kind: Kind, row: &Row) -> Ticket {
        let ticket = self.append(kind, row);
        self.flush();
        ticket
    }

    /// Records a row, or says why not: for what can be done again later.
    pub(crate) fn append_surely(&self, kind: Kind, row: &Row) -> io::Result<()> {
        let used = self.bytes.load(Relaxed);
        if self.failing.load(Relaxed) || !has_room(Kind::Start, used, self.options.max_bytes) {
            return Err(io::Error::other("the ledger has no room or its disk fails"));
        }
        self.write(&mut self.writer.lock(), &encode(kind, row))
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

    /// Writes what waits, unless the disk refuses records or hangs: one write, the rest of a long queue is the keeper's. Returns how many
    /// records that were.
    pub(crate) fn flush(&self) -> usize {
        let Some(mut writer) = self.writer() else {
            if !self.failing.load(Relaxed) {
                // Whoever has the file may not see what came since.
                self.wake();
            }
            return 0;
        };
        let wrote = self.writes.watch(|| self.write_next(&mut writer));
        drop(writer);
        match wrote {
            Ok((records, rest)) => {
                if rest > 0 {
                    self.wake();
                }
                records
            }
            Err(error) => {
                self.write_failed(&error);
                0
            }
        }
    }

    /// Writes what waits now, as [`Log::flush`] does, also a long queue.
    pub(crate) fn flush_all(&self) {
        let last = self.queue.lock().last();
        while self.progress.written() < last && self.flush() > 0 {}
    }

    /// Writes the next records of the queue; what the disk refuses stays there. Returns how many they were, and how many it left.
    fn write_next(&self, writer: &mut Writer) -> io::Result<(usize, usize)> {
        let mut together = std::mem::take(&mut writer.together);
        let (count, rest) = self.queue.lock().gather(&mut together);
        let wrote = self.write(writer, &together);
        writer.together = together;
        wrote?;
        if count > 0 {
            let last = self.queue.lock().written(count, |pin| self.unpin(pin));
            self.progress.set_written(last);
            if self.options.sync == Sync::Always {
                self.wake();
            }
        }
        Ok((count, rest))
    }

    fn write(&self, writer: &mut Writer, records: &[u8]) -> io::Result<()> {
        writer.append(records)?;
        self.end.store(pack(writer.at), Ordering::Release);
        self.bytes.fetch_add(records.len() as u64, Relaxed);
        Ok(())
    }

    fn write_failed(&self, error: &io::Error) {
        self.counts.write_errors.fetch_add(1, Relaxed);
        if !self.failing.swap(true, Relaxed) {
            let path = self.directory.path().display();
            tracing::error!(%error, %path, "the ledger cannot be written; records wait in memory");
        }
    }

    /// Writes what waits as far as the disk takes it.
    pub(crate) fn work_off(&self) {
        // What comes meanwhile waits for the next time: syncs and new segments must not.
        let last = self.queue.lock().last();
        while self.progress.written() < last {
            let wrote = self.write_next(&mut self.writer.lock());
            if let Err(error) = wrote {
                return self.write_failed(&error);
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
        // The newest segment stays: it must not fill a small log by itself.
        let long = self.options.segment_bytes.min(self.options.max_bytes / 16);
        if at.offset < long && !torn {
            return;
        }
        let next = at.segment + 1;
        match self.options.io.create(&self.directory.segment(next)) {
            Err(error) => self.write_failed(&error),
            Ok(file) => {
                let (old, written) = {
                    let mut writer = self.writer.lock();
                    let old = writer.turn(file, next);
                    self.end.store(pack(writer.at), Ordering::Release);
                    (old, self.progress.written())
                };
                if let Err(error) = old.sync() {
                    self.sync_failed(&error, written);
                }
            }
        }
    }

    /// Makes what was written safe against a power loss.
    pub(crate) fn sync(&self) {
        let (file, written) = {
            let writer = self.writer.lock();
            (writer.file.clone(), self.progress.written())
        };
        if written == self.progress.synced() {
            return;
        }
        match file.sync() {
            Ok(()) => {
                self.unsynced.store(false, Relaxed);
                self.progress.set_synced(written);
            }
            Err(error) => self.sync_failed(&error, written),
        }
    }

    /// As [`Log::sync`], with the result.
    pub(crate) fn sync_now(&self) -> io::Result<()> {
        let file = self.writer.lock().file.clone();
        file.sync()
    }

    fn sync_failed(&self, error: &io::Error, written: u64) {
        self.counts.sync_errors.fetch_add(1, Relaxed);
        self.progress.set_unsure(written);
        if !self.unsynced.swap(true, Relaxed) {
            tracing::error!(%error, "the ledger cannot be synced; a power loss would lose its newest records");
        }
    }

    /// Writes a record with all that wait, and waits until it is as safe as promised; not while the disk refuses everything.
    pub(crate) async fn durable(&self, ticket: Ticket) -> bool {
        let Some(number) = ticket.0 else { return false };
        if self.progress.written() < number {
            self.writes.served_here();
            let waits = self.company.expected();
            if waits {
                // Requests that are ready too write their records meanwhile, or need them written.
                yield_now().await;
            }
            if self.progress.written() < number {
                let together = self.flush();
                if waits {
                    self.company.met(together);
                }
            }
        }
        let wants_sync = self.options.sync == Sync::Always;
        match self.progress.written() >= number {
            true if !wants_sync => true,
            false if self.failing.load(Relaxed) => false,
            _ => self.progress.reach(number, wants_sync).await,
        }
    }

    /// True if a record is in the file.
    pub(crate) fn is_written(&self, ticket: Ticket) -> bool {
        ticket.0.is_some_and(|number| number <= self.progress.written())
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
        self.directory.delete_before(first, |freed| {
            // Half a record that could not be cut off was not counted.
            _ = self
                .bytes
                .fetch_update(Relaxed, Relaxed, |bytes| Some(bytes.saturating_sub(freed)));
        })
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

    /// The records that are not in the file, as they will stand there.
    pub(crate) fn waiting(&self) -> Vec<u8> {
        self.queue.lock().all()
    }

    pub(crate) fn health(&self) -> Health {
        let bytes = self.bytes.load(Relaxed);
        Health {
            failing: self.failing.load(Relaxed) || self.unsynced.load(Relaxed),
            full: !has_room(Kind::Start, bytes, self.options.max_bytes),
            bytes,
            backlog: self.queue.lock().len(),
            dropped: self.counts.dropped.load(Relaxed),
            write_errors: self.counts.write_errors.load(Relaxed),
            sync_errors: self.counts.sync_errors.load(Relaxed),
            stalls: self.counts.stalls.load(Relaxed),
        }
    }

    pub(crate) fn is_accepting(&self) -> bool {
        let health = self.health();
        let accepts = self.options.when_full == WhenFull::DropAndCount || !(health.full || health.failing);
        if !accepts {
            self.say_full("requests are refused");
        }
        accepts
    }

    /// Says once what comes of it that the log is full, or its disk, until there is room again.
    fn say_full(&self, then: &str) {
        if !self.said_full.swap(true, Relaxed) {
            let (path, bytes) = (self.directory.path().display(), self.bytes.load(Relaxed));
            let failing = self.failing.load(Relaxed);
            tracing::error!(%path, bytes, failing, "the ledger has no room, or its disk fails: {then}");
        }
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

impl Drop for Log {
    fn drop(&mut self) {
        // An entry may outlive the keeper thread.
        self.work_off();
    }
}
