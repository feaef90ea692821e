//! The directory of a ledger: its lock, its segments, the cursor of the feeder.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use parking_lot::Mutex;

/// Why a ledger cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("the ledger in {0} is used by another process; give every instance a directory of its own")]
    Locked(PathBuf),
    /// The file system says no.
    #[error("opening the ledger in {path}")]
    Io {
        /// The directory or file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
}

/// A place in the log: everything before it is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
}

/// A locked directory. The lock goes with the process, however it ends.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    _lock: File,
    cursor: Mutex<()>,
}

const EXTENSION: &str = "segment";

impl Directory {
    pub(crate) fn lock(path: &Path) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Io {
            path: path.to_owned(),
            source,
        };
        fs::create_dir_all(path).map_err(failed)?;
        let mut options = OpenOptions::new();
        let lock = options.write(true).create(true).truncate(false);
        let lock = lock.open(path.join("lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Directory {
                path: path.to_owned(),
                _lock: lock,
                cursor: Mutex::new(()),
            }),
            Err(TryLockError::WouldBlock) => Err(OpenError::Locked(path.to_owned())),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn segment(&self, number: u64) -> PathBuf {
        self.path.join(format!("{number:016}.{EXTENSION}"))
    }

    /// Records that the store refused for good, in the format of a segment.
    pub(crate) fn refused(&self) -> PathBuf {
        self.path.join("refused")
    }

    /// Numbers and sizes of the segments, oldest first.
    pub(crate) fn segments(&self) -> io::Result<Vec<(u64, u64)>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = PathBuf::from(entry.file_name());
            let is_segment = name.extension().is_some_and(|extension| extension == EXTENSION);
            let number = name.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
            if let Some(number) = number.filter(|_| is_segment) {
                found.push((number, entry.metadata()?.len()));
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    /// The first segment that was written to at `since_ms` (milliseconds since 1970) or later; `u64::MAX` if none was.
    pub(crate) fn first_written_since(&self, since_ms: u64) -> io::Result<u64> {
        let since = UNIX_EPOCH + Duration::from_millis(since_ms);
        for (number, _) in self.segments()? {
            if fs::metadata(self.segment(number))?.modified()? >= since {
                return Ok(number);
            }
        }
        Ok(u64::MAX)
    }

    /// Where the feeder is; the beginning if it never ran or its file cannot be read: feeding twice does no harm.
    pub(crate) fn cursor(&self) -> Position {
        let text = fs::read_to_string(self.path.join("cursor")).unwrap_or_default();
        read_cursor(&text).unwrap_or_default()
    }

    /// Moves the cursor forward, whole or not at all.
    pub(crate) fn set_cursor(&self, at: Position) -> io::Result<()> {
        let _alone = self.cursor.lock();
        if at <= self.cursor() {
            return Ok(());
        }
        let draft = self.path.join("cursor.new");
        fs::write(&draft, cursor_text(at))?;
        fs::rename(draft, self.path.join("cursor"))
    }

    /// Deletes segments before `first`, oldest first, and tells the bytes of each. Stops at the first that cannot be deleted, so
    /// that never the end of a request goes before its start.
    pub(crate) fn delete_before(&self, first: u64, freed: impl Fn(u64)) -> io::Result<()> {
        for (number, bytes) in self.segments()? {
            if number >= first {
                break;
            }
            match fs::remove_file(self.segment(number)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => freed(bytes),
            }
        }
        Ok(())
    }
}

/// A cursor with a sum: one that a disk has changed would have records deleted that nobody has stored.
fn cursor_text(at: Position) -> String {
    let numbers = format!("{} {}", at.segment, at.offset);
    let sum = crc32fast::hash(numbers.as_bytes());
    format!("{numbers} {sum:08x}\n")
}

/// `None` if it cannot be read; without a sum it is one of before.
fn read_cursor(text: &str) -> Option<Position> {
    let mut words = text.split_whitespace();
    let (segment, offset) = (words.next()?, words.next()?);
    let sum = crc32fast::hash(format!("{segment} {offset}").as_bytes());
    let is_whole = words.next().is_none_or(|word| word == format!("{sum:08x}"));
    let at = Position {
        segment: segment.parse().ok()?,
        offset: offset.parse().ok()?,
    };
    // More segments than any disk has had.
    (is_whole && at.segment < 1 << 23).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_owner() {
        let dir = tempfile::tempdir().unwrap();
        let first = Directory::lock(dir.path()).unwrap();
        assert!(matches!(Directory::lock(dir.path()), Err(OpenError::Locked(_))));
        drop(first);
        Directory::lock(dir.path()).unwrap();
    }

    #[test]
    fn the_cursor_comes_back_and_a_broken_one_is_the_beginning() {
        let dir = tempfile::tempdir().unwrap();
        let directory = Directory::lock(dir.path()).unwrap();
        assert_eq!(directory.cursor(), Position::default());
        let at = Position {
            segment: 3,
            offset: 77,
        };
        directory.set_cursor(at).unwrap();
        assert_eq!(directory.cursor(), at);
        for broken in ["3 x", "9 77 {sum}", "3 78 {sum}", "3", "16777216 0"] {
            let sum = format!("{:08x}", crc32fast::hash(b"3 77"));
            fs::write(dir.path().join("cursor"), broken.replace("{sum}", &sum)).unwrap();
            assert_eq!(directory.cursor(), Position::default(), "{broken}");
        }
        fs::write(dir.path().join("cursor"), "3 77\n").unwrap();
        assert_eq!(directory.cursor(), at, "of before");
    }
}
