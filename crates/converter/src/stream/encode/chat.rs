//! Hub events to stream events of the chat format.

use super::Encode;
use crate::context::Context;
use crate::failure::Failure;
use crate::stream::event::Event;

/// Encoder of one chat stream.
#[derive(Debug)]
pub(crate) struct Encoder {}

impl Encoder {
    pub(crate) fn new(_context: &Context) -> Self {
        Encoder {}
    }
}

impl Encode for Encoder {
    fn event(&mut self, _event: Event<'_>, _out: &mut Vec<u8>) {}

    fn release(&mut self, _out: &mut Vec<u8>) {}

    fn fail(&mut self, _failure: &Failure, _out: &mut Vec<u8>) {}

    fn keep_alive(&mut self, _out: &mut Vec<u8>) {}
}
