//! Stream decoders: one per format.

mod chat;
mod gemini;
mod messages;
mod responses;

use crate::context::Context;
use crate::failure::Failure;
use crate::format::Format;
use crate::stream::event::Sink;

/// Turns the events of one upstream stream into hub events.
pub(crate) trait Decode: std::fmt::Debug + Send {
    /// Takes one SSE event (or one element of a JSON array): its name, if any, and its data.
    ///
    /// # Errors
    /// The upstream reports a failure in-band, or the data is not readable.
    fn event(&mut self, name: Option<&str>, data: &str, sink: &mut dyn Sink) -> Result<(), Failure>;

    /// The body ended cleanly. Emits what was held for it (`Finish` and `End` of Gemini).
    ///
    /// # Errors
    /// Never for a format that needs no terminator; truncation is judged by the normaliser.
    fn end(&mut self, sink: &mut dyn Sink) -> Result<(), Failure>;
}

/// The decoder of a format.
pub(crate) fn decoder(context: &Context) -> Box<dyn Decode> {
    match context.upstream {
        Format::Chat => Box::<chat::Decoder>::default(),
        Format::Responses => Box::<responses::Decoder>::default(),
        Format::Messages => Box::<messages::Decoder>::default(),
        Format::Gemini => Box::<gemini::Decoder>::default(),
    }
}
