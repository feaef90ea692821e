//! The ledger as the gateway sees it.

use std::path::Path;
use std::sync::Arc;

use crate::directory::{Directory, OpenError};
use crate::entry::{Entry, Start};
use crate::feeder::Feeder;
use crate::keeper::Keeper;
use crate::log::{Health, Log};
use crate::options::Options;
use crate::record::{Kind, encode};
use crate::recovery::{Recovered, read_all};
use crate::slot;
use crate::ticket::Ticket;
use crate::watch::Watch;
use crate::writer::Writer;

/// The durable record of requests. Cheap to clone; when the last clone goes, the last records are synced.
#[derive(Clone, Debug)]
pub struct Ledger {
    log: Arc<Log>,
    _threads: Arc<(Keeper, Watch)>,
}

impl Ledger {
    /// Opens the ledger under a directory, makes it if it is not there, and recovers what a crash left behind. Processes
    /// that use the same directory at the same time, as in an upgrade, each have a subdirectory of their own in it.
    ///
    /// Reads the whole log, which takes seconds per GiB: not to be called on a thread of an async runtime.
    ///
    /// # Errors
    /// Too many processes use the directory, or the file system refuses.
    pub fn open(directory: impl AsRef<Path>, options: Options) -> Result<(Ledger, Recovered), OpenError> {
        let directory = slot::take(directory.as_ref())?;
        let path = directory.path().to_owned();
        let failed = |source| OpenError::Io {
            path: path.clone(),
            source,
        };
        let (mut recovered, bytes) = read_all(&directory).map_err(failed)?;
        let (writer, added) = first_segment(&directory, &options, &recovered).map_err(failed)?;
        let log = Arc::new(Log::new(directory, options, writer, bytes + added));
        match slot::take_over(&log, &mut drop) {
            Ok(more) => recovered.add(more),
            // The feeder tries again; it is no reason not to serve.
            Err(error) => tracing::warn!(%error, "the ledger of another process cannot be taken over yet"),
        }
        let watch = Watch::start(Arc::clone(&log.writes)).map_err(failed)?;
        let keeper = Keeper::start(log.clone()).map_err(failed)?;
        let ledger = Ledger {
            log,
            _threads: Arc::new((keeper, watch)),
        };
        Ok((ledger, recovered))
    }

    /// A request begins: to be called before it is sent to a channel.
    pub fn start(&self, start: Start) -> Entry {
        Entry::new(self.log.clone(), start)
    }

    /// Brings settled rows to the store. One feeder per ledger.
    #[must_use]
    pub fn feeder(&self) -> Feeder {
        Feeder::new(self.log.clone())
    }

    /// Brings a record to the file and waits, at most for a second, until it is as safe as promised: written, and synced with
    /// [`Sync::Always`](crate::Sync::Always). Requests that are ready at the same time share the write. False if the record is not safe
    /// (yet): the disk refuses it, or takes too long. To be asked for the start before a channel is, and for the end before the last
    /// byte goes to the client; the answer may be ignored, where serving matters more than recording.
    pub async fn durable(&self, ticket: Ticket) -> bool {
        self.log.durable(ticket).await
    }

    /// False if requests should be refused, because they could not be recorded and the options say so.
    #[must_use]
    pub fn is_accepting(&self) -> bool {
        self.log.is_accepting()
    }

    /// The directory that it was opened in.
    #[must_use]
    pub fn directory(&self) -> &Path {
        let own = self.log.directory.path();
        own.parent().unwrap_or(own)
    }

    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    /// Which of the processes that have this directory it is, counted from 0; others than the first began beside one that still ran.
    #[must_use]
    pub fn slot(&self) -> u32 {
        let name = self.log.directory.path().file_name();
        let number = name.and_then(|name| name.to_str()?.parse().ok());
        number.unwrap_or(0)
    }

    /// How it is.
    #[must_use]
    pub fn health(&self) -> Health {
        self.log.health()
    }
}

/// Every opening begins a new segment, with the ends of what crashed.
fn first_segment(
    directory: &Directory,
    options: &Options,
    recovered: &Recovered,
) -> std::io::Result<(Writer, u64)> {
    let newest = directory.segments()?.last().map_or(0, |(number, _)| *number);
    let number = newest.max(directory.cursor().segment) + 1;
    let mut writer = Writer::new(options.io.create(&directory.segment(number))?, number);
    for row in &recovered.crashed {
        writer.append(&encode(Kind::End, row))?;
    }
    writer.file.sync()?;
    let added = writer.at.offset;
    Ok((writer, added))
}
