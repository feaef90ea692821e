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

    /// `[DONE]`, or the end of a JSON array, was seen.
    ///
    /// # Errors
    /// As [`Decode::end`].
    fn done(&mut self, sink: &mut dyn Sink) -> Result<(), Failure> {
        self.end(sink)
    }

    /// True while the end is known but not yet told (Gemini closes the body instead of saying so).
    fn is_held(&self) -> bool {
        false
    }

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

/// An in-band error, or data that is not readable.
fn unreadable() -> Failure {
    Failure::new(
        crate::failure::FailureClass::UpstreamBad,
        "The provider's stream could not be read.",
    )
}

/// Reads the data of one event.
fn read<'a, T: crate::json::Read<'a>>(data: &'a str) -> Result<T, Failure> {
    crate::json::from_str(data).map_err(|_| unreadable())
}

/// The failure that an in-band error document stands for.
fn in_band(data: &str) -> Failure {
    crate::failure::from_upstream(None, &|_| None, data.as_bytes(), true)
}
