//! Brings settled rows from the log to the store, at least once each. Requests never wait for it.

use std::fs::OpenOptions;
use std::future::Future;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use crate::directory::Position;
use crate::log::Log;
use crate::reader::SegmentReader;
use crate::record::{Event, Front, Kind, encode, front};
use crate::recovery::Recovered;
use crate::row::Settled;
use crate::slot;
use crate::texts::Texts;

/// Rows in one batch: what they share in the store, sums and the commit, is written once.
const BATCH: usize = 2_000;
/// How long a row waits for company.
const INTERVAL: Duration = Duration::from_millis(400);
/// Longest pause while the store is away.
const MAX_BACKOFF: Duration = Duration::from_secs(30);
/// How often the slots of processes that have gone are looked for.
const TAKE_OVER: Duration = Duration::from_secs(2);
/// How long the last batches may take when the gateway stops.
const FAREWELL: Duration = Duration::from_secs(5);

/// Where settled rows go.
pub trait Sink: Send + Sync {
    /// Stores rows. A row that is there already, by `(request_id, attempt)`, changes nothing.
    ///
    /// # Errors
    /// None of the rows are stored.
    fn feed(&self, batch: &[Settled]) -> impl Future<Output = Result<(), SinkError>> + Send;

    /// A process that has gone left these rows behind, some of which may have been stored: they will be fed.
    fn took_over(&self, _rows: &[Settled]) {}

    /// All that a process that has gone left behind is stored.
    fn fed_what_it_took_over(&self) {}

    /// False: it keeps nothing, and the log need not be read for it.
    fn keeps_rows(&self) -> bool {
        true
    }
}

/// Why a sink took nothing.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The store is away; later it may work.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// The store will never take these rows.
    #[error("the store refuses the rows: {0}")]
    Refused(String),
}

/// Batches of rows on their way from a slot that is being taken over.
const TAKEN: usize = 8;

/// The task that feeds a sink.
#[derive(Debug)]
pub struct Feeder {
    log: Arc<Log>,
    reader: Option<SegmentReader>,
    /// Up to where the log has been read.
    at: Position,
    backoff: Duration,
    /// What was fed could not be marked.
    is_unmarked: bool,
}

impl Feeder {
    pub(crate) fn new(log: Arc<Log>) -> Self {
        Feeder {
            at: log.directory.cursor(),
            log,
            reader: None,
            backoff: INTERVAL,
            is_unmarked: false,
        }
    }

    /// Feeds until `stop` is ready, then once more what is left, for at most five seconds.
    pub async fn run(mut self, sink: impl Sink, stop: impl Future<Output = ()>) {
        {
            let feeding = self.feed_for_ever(&sink);
            tokio::select! {
                () = feeding => {}
                () = stop => {}
            }
        }
        // The interrupted batch was not marked as fed: begin again at the cursor.
        let mut last = Feeder::new(self.log);
        let left = async {
            last.feed_all(&sink).await;
            last.feed_waiting(&sink).await;
        };
        if timeout(FAREWELL, left).await.is_err() {
            tracing::warn!("the store did not take the last rows in time; they stay in the ledger");
        }
    }

    async fn feed_for_ever(&mut self, sink: &impl Sink) {
        let mut taken_over = Instant::now();
        loop {
            self.feed_all(sink).await;
            sleep(INTERVAL).await;
            if taken_over.elapsed() >= TAKE_OVER {
                taken_over = Instant::now();
                if self.take_over(sink).await {
                    self.feed_all(sink).await;
                    sink.fed_what_it_took_over();
                }
            }
        }
    }

    /// What a process that has gone since left behind; true if that was something.
    async fn take_over(&self, sink: &impl Sink) -> bool {
        let (log, (rows, mut taking)) = (self.log.clone(), mpsc::channel(TAKEN));
        let taken = tokio::task::spawn_blocking(move || {
            // Nobody listens only if all of this ends.
            slot::take_over(&log, &mut |batch| _ = rows.blocking_send(batch))
        });
        let mut took = false;
        while let Some(batch) = taking.recv().await {
            took = true;
            sink.took_over(&batch);
        }
        match taken.await.map_err(io::Error::other).flatten() {
            Ok(recovered) if !took && recovered == Recovered::default() => {}
            Ok(recovered) => {
                let (rows, crashed) = (recovered.unfed, recovered.crashed.len());
                tracing::info!(rows, crashed, "took over the ledger of a process that has gone");
            }
            Err(error) => tracing::warn!(%error, "the ledger of another process cannot be taken over yet"),
        }
        took
    }

    /// Feeds all that is settled now.
    pub async fn feed_all(&mut self, sink: &impl Sink) {
        if !sink.keeps_rows() {
            return self.pass_over().await;
        }
        loop {
            let batch = match self.read().await {
                Ok(batch) => batch,
                Err(error) => {
                    tracing::error!(%error, "the ledger cannot be read");
                    return;
                }
            };
            let full = batch.len() == BATCH;
            if !batch.is_empty() {
                self.deliver(sink, &batch).await;
            }
            self.mark_or_say().await;
            if !full {
                return;
            }
        }
    }

    /// Marks all that is in the log now as stored, unread.
    async fn pass_over(&mut self) {
        let log = self.log.clone();
        let task = tokio::task::spawn_blocking(move || {
            log.flush_all();
            log.end()
        });
        if let Ok(end) = task.await {
            (self.at, self.reader) = (end, None);
            self.mark_or_say().await;
        }
    }

    /// Says once that it cannot, until it can again.
    async fn mark_or_say(&mut self) {
        let marked = self.mark().await;
        let was_unmarked = std::mem::replace(&mut self.is_unmarked, marked.is_err());
        match marked {
            Err(error) if !was_unmarked => {
                tracing::error!(%error, "the ledger cannot mark rows as stored; they will be stored again");
            }
            Ok(()) if was_unmarked => tracing::info!("the ledger marks rows as stored again"),
            Ok(()) | Err(_) => {}
        }
    }

    /// What a full disk has not taken goes to the store from memory: it is a farewell. What comes twice is stored once.
    async fn feed_waiting(&mut self, sink: &impl Sink) {
        if !sink.keeps_rows() {
            return;
        }
        for batch in settled_in(&self.log.waiting()).chunks(BATCH) {
            self.deliver(sink, batch).await;
            tracing::info!(
                rows = batch.len(),
                "stored what the disk of the ledger had not taken"
            );
        }
    }

    /// Tries until the sink has the rows or has refused them for good.
    async fn deliver(&mut self, sink: &impl Sink, batch: &[Settled]) {
        while let Err(error) = self.feed(sink, batch).await {
            tracing::warn!(%error, rows = batch.len(), wait = ?self.backoff, "usage is not stored yet");
            sleep(self.backoff).await;
            self.backoff = (self.backoff * 2).min(MAX_BACKOFF);
        }
        self.backoff = INTERVAL;
    }

    /// Gives the sink a batch. A bad row must not hold up the others: what is refused is halved until the row stands alone, goes to the
    /// file `refused`, and on.
    async fn feed(&self, sink: &impl Sink, batch: &[Settled]) -> Result<(), SinkError> {
        let mut parts = vec![batch];
        while let Some(part) = parts.pop() {
            match (sink.feed(part).await, part) {
                (Err(SinkError::Refused(reason)), [settled]) => {
                    let request = &settled.row.request_id;
                    tracing::error!(%reason, %request, "the store refuses a row; it is kept in the file `refused`");
                    let kept = keep_refused(&self.log, settled);
                    kept.map_err(|error| SinkError::Unavailable(error.to_string()))?;
                }
                (Err(SinkError::Refused(_)), _) => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                }
                (other, _) => other?,
            }
        }
        Ok(())
    }

    /// The next settled rows, at most [`BATCH`].
    async fn read(&mut self) -> io::Result<Vec<Settled>> {
        let (log, at, reader) = (self.log.clone(), self.at, self.reader.take());
        let task = tokio::task::spawn_blocking(move || read_batch(&log, at, reader));
        let (batch, at, reader) = task.await.map_err(io::Error::other)??;
        (self.at, self.reader) = (at, reader);
        Ok(batch)
    }

    /// Marks all that was read as stored and deletes the segments nobody needs.
    async fn mark(&mut self) -> io::Result<()> {
        let (log, at) = (self.log.clone(), self.at);
        let task = tokio::task::spawn_blocking(move || {
            // On a full disk there may be no room for the mark until a segment goes. What is read again is stored once.
            let marked = log.directory.set_cursor(at);
            log.forget_before(at).and(marked)
        });
        task.await.map_err(io::Error::other)?
    }
}

pub(crate) type Batch = (Vec<Settled>, Position, Option<SegmentReader>);

pub(crate) fn read_batch(
    log: &Log,
    mut at: Position,
    mut reader: Option<SegmentReader>,
) -> io::Result<Batch> {
    let mut batch = Vec::new();
    log.flush_all();
    let end = log.end();
    while batch.len() < BATCH && at < end {
        let mut open = match reader.take() {
            Some(open) => open,
            None => {
                at = first_from(log, at)?;
                SegmentReader::open(&log.directory.segment(at.segment), at.offset)?
            }
        };
        let limit = if at.segment == end.segment {
            end.offset
        } else {
            u64::MAX
        };
        let event = open.next_of(limit, |kind| matches!(kind, Kind::Attempt | Kind::End))?;
        at.offset = open.whole();
        match event {
            Some(event) => batch.extend(settled(event)),
            None if at.segment < end.segment => {
                at = Position {
                    segment: at.segment + 1,
                    offset: 0,
                };
                continue;
            }
            None => return Ok((batch, at, Some(open))),
        }
        reader = Some(open);
    }
    Ok((batch, at, reader))
}

pub(crate) fn settled(event: Event) -> Option<Settled> {
    let (is_request, row) = match event {
        Event::Attempt(row) => (false, row),
        Event::End(row) => (true, row),
        Event::Start(_) | Event::Checkpoint(_) => return None,
    };
    Some(Settled { is_request, row })
}

/// The settled rows of whole records.
fn settled_in(mut records: &[u8]) -> Vec<Settled> {
    let (mut rows, mut texts) = (Vec::new(), Texts::default());
    while let Front::Whole { payload, size } = front(records) {
        rows.extend(Event::decode_sharing(payload, &mut texts).and_then(settled));
        records = records.get(size..).unwrap_or_default();
    }
    rows
}

/// `at`, or the beginning of the first segment after it if that segment is not there.
fn first_from(log: &Log, at: Position) -> io::Result<Position> {
    let segments = log.directory.segments()?;
    let first = segments
        .into_iter()
        .map(|(number, _)| number)
        .find(|number| *number >= at.segment);
    Ok(match first {
        Some(number) if number > at.segment => Position {
            segment: number,
            offset: 0,
        },
        _ => at,
    })
}

fn keep_refused(log: &Log, settled: &Settled) -> io::Result<()> {
    let kind = if settled.is_request {
        Kind::End
    } else {
        Kind::Attempt
    };
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(log.directory.refused())?;
    file.write_all(&encode(kind, &settled.row))?;
    file.sync_data()
}
