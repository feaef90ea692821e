//! Takes down what a stream says of itself, for those who asked for it.

use super::event::Start;
use crate::format::Format;
use crate::particulars::Particulars;
use crate::stop::Stop;

/// The notes of one stream.
#[derive(Debug)]
pub(super) struct Notes {
    upstream: Format,
    taken: Particulars,
}

impl Notes {
    /// Nothing yet, of a stream in this format.
    pub(super) fn new(upstream: Format) -> Self {
        Notes {
            upstream,
            taken: Particulars::default(),
        }
    }

    /// The answer begins.
    pub(super) fn start(&mut self, start: &Start<'_>) {
        self.taken.begin(&start.id, start.model.as_deref());
    }

    /// A generation ended; `stop` as the decoder gave it.
    pub(super) fn finish(&mut self, choice: u32, stop: &Stop<'_>) {
        self.taken.finish(choice, stop.word(self.upstream));
    }

    /// What was noted.
    pub(super) fn into_particulars(self) -> Particulars {
        self.taken
    }
}
