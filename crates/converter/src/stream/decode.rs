//! Stream decoders: one per format.

mod chat;
mod envelope;
mod gemini;
mod messages;
mod responses;

use crate::context::Context;
use crate::failure::Failure;
use crate::format::Format;
use crate::json::{Kind, Read, Reader};
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

/// Declares a wire object of a stream like [`crate::wire::object!`], but unknown members are skipped: nothing is allocated for
/// what every event repeats.
macro_rules! event {
    ($($(#[$meta:meta])* $visibility:vis struct $name:ident { $($(#[$field_meta:meta])* $field_visibility:vis $field:ident : $type:ty = $($key:literal)|+),* $(,)? })+) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq)]
        $visibility struct $name<'a> {
            $($(#[$field_meta])* $field_visibility $field: Option<$type>,)*
            pub(crate) borrow: std::marker::PhantomData<&'a ()>,
        }

        impl<'a> $crate::json::Read<'a> for $name<'a> {
            fn read(reader: &mut $crate::json::Reader<'a>) -> Result<Self, $crate::Error> {
                let mut object = Self::default();
                reader.object(|reader, key| {
                    match key.as_ref() {
                        $($($key)|+ => object.$field = $crate::json::Read::read(reader)?,)*
                        _ => reader.skip()?,
                    }
                    Ok(())
                })?;
                Ok(object)
            }
        }
    )+};
}
use event;

/// A list that nearly always has one element: that one needs no allocation.
#[derive(Clone, Debug, PartialEq)]
struct Few<T> {
    first: Option<T>,
    more: Vec<T>,
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Few {
            first: None,
            more: Vec::new(),
        }
    }
}

impl<T> IntoIterator for Few<T> {
    type Item = T;
    type IntoIter = std::iter::Chain<std::option::IntoIter<T>, std::vec::IntoIter<T>>;

    fn into_iter(self) -> Self::IntoIter {
        self.first.into_iter().chain(self.more)
    }
}

impl<'a, T: Read<'a>> Read<'a> for Few<T> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, crate::Error> {
        let mut few = Few::default();
        reader.array(|reader, index| {
            let element = T::read(reader)?;
            if index == 0 {
                few.first = Some(element);
            } else {
                few.more.push(element);
            }
            Ok(())
        })?;
        Ok(few)
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
fn read<'a, T: Read<'a>>(data: &'a str) -> Result<T, Failure> {
    crate::json::from_str(data).map_err(|_| unreadable())
}

/// The failure that an in-band error document stands for.
fn in_band(data: &str) -> Failure {
    crate::failure::from_upstream(None, &|_| None, data.as_bytes(), true)
}

/// A number that matters only if it is a whole one: some servers send `-1`, `1.7e9` or a string.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Whole(Option<u64>);

impl<'a> Read<'a> for Whole {
    fn read(reader: &mut Reader<'a>) -> Result<Self, crate::Error> {
        if reader.kind() != Kind::Number {
            let text = reader.raw()?.get();
            return Ok(Whole(text.trim_matches('"').parse().ok()));
        }
        let raw = reader.number()?.get();
        let digits = raw.split(['.', 'e', 'E']).next().unwrap_or_default();
        Ok(Whole(digits.parse().ok().filter(|_| !raw.contains(['e', 'E']))))
    }
}
