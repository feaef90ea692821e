//! The files of the log, as far as writing goes. A trait, so that tests can take the disk away.

use std::fmt::Debug;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

/// Makes segments.
pub trait Io: Debug + Send + Sync {
    /// A new, empty segment. It must survive a power loss from here on.
    ///
    /// # Errors
    /// As the file system says.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn Segment>>;
}

/// A file that only grows at its end.
pub trait Segment: Debug + Send + Sync {
    /// Writes at the end; returns how much of it was taken.
    ///
    /// # Errors
    /// As the file system says.
    fn append(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Makes what was written safe against a power loss.
    ///
    /// # Errors
    /// As the file system says.
    fn sync(&self) -> io::Result<()>;

    /// Cuts the file.
    ///
    /// # Errors
    /// As the file system says.
    fn truncate(&self, length: u64) -> io::Result<()>;
}

/// The real file system.
#[derive(Clone, Copy, Debug)]
pub struct Disk;

impl Io for Disk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn Segment>> {
        let file = OpenOptions::new().append(true).create_new(true).open(path)?;
        if let Some(parent) = path.parent() {
            File::open(parent)?.sync_all()?;
        }
        Ok(Arc::new(file))
    }
}

impl Segment for File {
    fn append(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut file = self;
        file.write(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }
}
