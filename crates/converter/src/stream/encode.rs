//! Stream encoders: one per format.

mod chat;
mod gemini;
mod messages;
mod responses;

use crate::context::Context;
use crate::failure::Failure;
use crate::format::Format;
use crate::stream::event::{Event, Start};

/// Turns normalised hub events into the bytes of one client stream.
pub(crate) trait Encode: std::fmt::Debug + Send {
    /// Takes the next event and appends what leaves now.
    fn event(&mut self, event: Event<'_>, out: &mut Vec<u8>);

    /// Another writer began this answer: only its end may still be written here.
    fn resume(&mut self, start: &Start<'_>) {
        self.event(Event::Start(start.clone()), &mut Vec::new());
    }

    /// Emits a held end without waiting for usage any longer.
    fn release(&mut self, out: &mut Vec<u8>);

    /// Writes the in-band error; nothing follows.
    fn fail(&mut self, failure: &Failure, out: &mut Vec<u8>);

    /// Writes a keep-alive.
    fn keep_alive(&mut self, out: &mut Vec<u8>);
}

/// The encoder of a format.
pub(crate) fn encoder(context: &Context) -> Box<dyn Encode> {
    match context.client {
        Format::Chat => Box::new(chat::Encoder::new(context)),
        Format::Responses => Box::new(responses::Encoder::new(context)),
        Format::Messages => Box::new(messages::Encoder::new(context)),
        Format::Gemini => Box::new(gemini::Encoder::new(context)),
    }
}
