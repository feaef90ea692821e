//! What the log says when it is opened: requests that were running when the process died are ended as `crashed`.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io;
use std::sync::Arc;

use crate::directory::{Directory, Position};
use crate::reader::SegmentReader;
use crate::record::Event;
use crate::row::{Outcome, Row};

/// What was found when a ledger was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The ends of requests that were running when the process died, as of their last checkpoint. They are in the log.
    pub crashed: Vec<Row>,
    /// Settled rows in the log that the store does not have yet, `crashed` included. The feeder will bring them.
    pub unfed: u64,
    /// Bytes of half a record that were cut off the end of segments.
    pub torn_bytes: u64,
    /// Bytes inside the log that are no records.
    pub corrupt_bytes: u64,
    /// Whole records that this version cannot read, because a later one wrote them.
    pub unreadable: u64,
}

impl Recovered {
    /// Adds what was found elsewhere.
    pub(crate) fn add(&mut self, other: Recovered) {
        self.crashed.extend(other.crashed);
        self.unfed += other.unfed;
        self.torn_bytes += other.torn_bytes;
        self.corrupt_bytes += other.corrupt_bytes;
        self.unreadable += other.unreadable;
    }
}

/// Reads all segments; `crashed` is yet to be written. Returns also their size.
pub(crate) fn read_all(directory: &Directory) -> io::Result<(Recovered, u64)> {
    let mut recovered = Recovered::default();
    let mut running: HashMap<Arc<str>, Row> = HashMap::new();
    let cursor = directory.cursor();
    let segments = directory.segments()?;
    let mut bytes = 0;
    for (number, length) in segments {
        let mut reader = SegmentReader::open(&directory.segment(number), 0)?;
        while let Some(event) = reader.next(u64::MAX)? {
            let at = Position {
                segment: number,
                offset: reader.whole(),
            };
            let is_settled = matches!(event, Event::Attempt(_) | Event::End(_));
            recovered.unfed += u64::from(is_settled && at > cursor);
            follow(&mut running, event);
        }
        let whole = reader.whole();
        if whole < length {
            cut(directory, number, whole)?;
            recovered.torn_bytes += length - whole;
        }
        recovered.corrupt_bytes += reader.damage().corrupt_bytes;
        recovered.unreadable += reader.damage().unreadable;
        bytes += length;
    }
    recovered.crashed = running.into_values().map(crashed).collect();
    recovered
        .crashed
        .sort_by(|a, b| (a.started_ms, &a.request_id).cmp(&(b.started_ms, &b.request_id)));
    recovered.unfed += recovered.crashed.len() as u64;
    let bytes = bytes - recovered.torn_bytes;
    Ok((recovered, bytes))
}

fn follow(running: &mut HashMap<Arc<str>, Row>, event: Event) {
    match event {
        Event::Start(row) | Event::Checkpoint(row) => _ = running.insert(row.request_id.clone(), row),
        // Its number is taken: the end of the request needs the next one.
        Event::Attempt(row) => {
            if let Some(state) = running.get_mut(&row.request_id) {
                state.attempt = row.attempt + 1;
                (state.channel, state.upstream_model) = Default::default();
                state.upstream_format = None;
                // What the try has used stands in its own row.
                (state.usage, state.cost) = Default::default();
                (state.held, state.held_cost) = (0, 0);
            }
        }
        Event::End(row) => _ = running.remove(&row.request_id),
    }
}

fn crashed(mut row: Row) -> Row {
    row.outcome = Outcome::Crashed;
    row.billed = row.usage.billed();
    row.total_ms = u32::try_from(row.at_ms.saturating_sub(row.started_ms)).unwrap_or(u32::MAX);
    row
}

/// Nobody writes to a segment of a process before us: what is half there at its end will never be whole.
fn cut(directory: &Directory, segment: u64, length: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(directory.segment(segment))?;
    file.set_len(length)?;
    file.sync_data()
}
