//! Several processes under one root: each has a slot of its own. During an upgrade the old process still writes while the
//! new one begins; whatever a process leaves behind in its slot is taken over by one that lives.

use std::io;
use std::path::Path;

use crate::directory::{Directory, OpenError, Position};
use crate::feeder::settled;
use crate::log::Log;
use crate::reader::SegmentReader;
use crate::record::{Event, Kind};
use crate::recovery::{Recovered, read_all};
use crate::row::Settled;

/// Rows that are shown at once.
const SHOWN: usize = 1_024;

/// More processes than an upgrade ever needs at once.
const SLOTS: u32 = 16;

/// Takes the first slot that nobody has.
pub(crate) fn take(root: &Path) -> Result<Directory, OpenError> {
    let mut taken = OpenError::Locked(root.to_owned());
    for slot in 0..SLOTS {
        match Directory::lock(&root.join(slot.to_string())) {
            Err(error @ OpenError::Locked(_)) => taken = error,
            other => return other,
        }
    }
    Err(taken)
}

/// Takes over what processes that are gone left in their slots: their rows go to the end of our log, `crashed` for what
/// was running. If this is interrupted it is done again; the store knows rows by their key.
///
/// `show` is given the rows, a batch at a time.
pub(crate) fn take_over(log: &Log, show: &mut dyn FnMut(Vec<Settled>)) -> io::Result<Recovered> {
    let mut sum = Recovered::default();
    let own = log.directory.path();
    let Some(root) = own.parent() else {
        return Ok(sum);
    };
    for path in (0..SLOTS).map(|slot| root.join(slot.to_string())) {
        if path == own || !path.is_dir() {
            continue;
        }
        // A slot that is locked belongs to a process that lives.
        if let Ok(directory) = Directory::lock(&path)
            && !directory.segments()?.is_empty()
        {
            sum.add(import(log, &directory, show)?);
        }
    }
    Ok(sum)
}

fn import(log: &Log, from: &Directory, show: &mut dyn FnMut(Vec<Settled>)) -> io::Result<Recovered> {
    let (recovered, _) = read_all(from)?;
    each(log, from, &recovered, &mut |found| {
        let kind = if found.is_request {
            Kind::End
        } else {
            Kind::Attempt
        };
        log.append_surely(kind, &found.row)
    })?;
    log.sync_now()?;
    // Shown once only: until here it may have to be done again.
    let mut batch = Vec::new();
    each(log, from, &recovered, &mut |found| {
        batch.push(found);
        if batch.len() == SHOWN {
            show(std::mem::take(&mut batch));
        }
        Ok(())
    })?;
    show(batch);
    from.delete_before(u64::MAX, |_| {})?;
    Ok(recovered)
}

/// The rows of a slot that nobody has that the store may not have, or that are kept for their age.
fn each(
    log: &Log,
    from: &Directory,
    recovered: &Recovered,
    take: &mut dyn FnMut(Settled) -> io::Result<()>,
) -> io::Result<()> {
    let cursor = from.cursor();
    // What is kept for its age goes along, although the store has it: it knows rows by their key.
    let keep = u64::try_from(log.options.keep.as_millis()).unwrap_or(u64::MAX);
    let kept_since = match keep {
        0 => u64::MAX,
        keep => (log.options.clock)().saturating_sub(keep),
    };
    for (segment, _) in from.segments()? {
        let mut reader = SegmentReader::open(&from.segment(segment), 0)?;
        while let Some(event) = reader.next(u64::MAX)? {
            let offset = reader.whole();
            let is_new = Position { segment, offset } > cursor;
            let goes = |found: &Settled| is_new || found.row.at_ms >= kept_since;
            if let Some(found) = settled(event).filter(goes) {
                take(found)?;
            }
        }
    }
    let crashed = recovered.crashed.iter().cloned().map(Event::End);
    crashed.filter_map(settled).try_for_each(take)
}
