//! A stream between two formats.

use super::Progress;
use crate::context::Context;
use crate::failure::Failure;
use crate::usage::Usage;

/// Converts one stream.
#[derive(Debug)]
pub struct Converter {
    usage: Usage,
}

impl Converter {
    /// A converter for the answer to the request of `context`.
    #[must_use]
    pub fn new(_context: Context) -> Self {
        Converter {
            usage: Usage::default(),
        }
    }

    pub(super) fn push(&mut self, _bytes: &[u8], _out: &mut Vec<u8>) -> Progress {
        Progress::default()
    }

    pub(super) fn end(&mut self, _out: &mut Vec<u8>) -> Progress {
        Progress::default()
    }

    pub(super) fn release(&mut self, _out: &mut Vec<u8>) -> Progress {
        Progress::default()
    }

    pub(super) fn fail(&mut self, _failure: &Failure, _out: &mut Vec<u8>) {}

    pub(super) fn keep_alive(&mut self, _out: &mut Vec<u8>) {}

    pub(super) fn usage(&self) -> &Usage {
        &self.usage
    }

    pub(super) fn output_estimate(&self) -> u64 {
        0
    }
}
