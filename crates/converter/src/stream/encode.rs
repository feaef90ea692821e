//! Stream encoders: one per format.

mod chat;
mod gemini;
mod messages;
mod responses;

use crate::context::Context;
use crate::failure::Failure;
use crate::format::Format;
use crate::ir::Opaque;
use crate::stream::event::{Event, Start};

/// Turns normalised hub events into the bytes of one client stream.
pub(crate) trait Encode: std::fmt::Debug + Send {
    /// Takes the next event and appends what leaves now.
    fn event(&mut self, event: Event<'_>, out: &mut Vec<u8>);

    /// Every answer is finished and the usage passed last is the best there will be: writes the event that carries it.
    fn settle(&mut self, out: &mut Vec<u8>);

    /// Another writer began this answer: only its end may still be written here.
    fn resume(&mut self, start: &Start<'_>) {
        self.event(Event::Start(start.clone()), &mut Vec::new());
    }

    /// Another writer has used the sequence numbers below this one.
    fn resume_at(&mut self, _sequence: u64) {}

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

/// The same state without a borrow of the stream.
fn owned(state: Opaque<'_>) -> Opaque<'static> {
    state.into_owned()
}
