//! The end of the log: whole records into the newest segment.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use crate::directory::Position;
use crate::io::Segment;

/// The newest segment.
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) file: Arc<dyn Segment>,
    pub(crate) at: Position,
    /// Half a record is at the end and cannot be cut off: only a new segment helps.
    pub(crate) torn: bool,
    /// Memory for records that are written together.
    pub(crate) together: Vec<u8>,
}

impl Writer {
    pub(crate) fn new(file: Arc<dyn Segment>, segment: u64) -> Self {
        Writer {
            file,
            at: Position { segment, offset: 0 },
            torn: false,
            together: Vec::new(),
        }
    }

    /// Appends whole records or nothing.
    pub(crate) fn append(&mut self, records: &[u8]) -> io::Result<()> {
        if self.torn {
            return Err(io::Error::other("the segment is torn"));
        }
        let mut rest = records;
        while !rest.is_empty() {
            match self.file.append(rest) {
                Ok(taken) if taken > 0 => rest = rest.get(taken..).unwrap_or_default(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                stopped => {
                    if rest.len() < records.len() {
                        self.torn = self.file.truncate(self.at.offset).is_err();
                    }
                    return Err(stopped.err().unwrap_or_else(|| ErrorKind::WriteZero.into()));
                }
            }
        }
        self.at.offset += records.len() as u64;
        Ok(())
    }

    /// Goes on in a new segment; returns the old file.
    pub(crate) fn turn(&mut self, file: Arc<dyn Segment>, segment: u64) -> Arc<dyn Segment> {
        self.at = Position { segment, offset: 0 };
        self.torn = false;
        std::mem::replace(&mut self.file, file)
    }
}
