//! Wire types: what the four formats look like on the wire, and nothing else.
//!
//! Each type is made by [`object!`]: a struct whose members are all optional (absent and `null` are the same here; where they
//! differ the decoder looks at the raw value) and that keeps unknown members in `extra`.

pub mod chat;
pub mod gemini;
pub mod messages;
pub mod responses;

use std::borrow::Cow;

use crate::json::Raw;

/// Members that a wire type does not know, in order.
pub type Extra<'a> = Vec<(Cow<'a, str>, Raw<'a>)>;

/// Declares a wire object: `object! { /// docs  pub struct Name { /// docs  field: Type<'a> = "member" | "other_spelling", } }`.
macro_rules! object {
    ($($(#[$meta:meta])* $visibility:vis struct $name:ident { $($(#[$field_meta:meta])* $field:ident : $type:ty = $($key:literal)|+),* $(,)? })+) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, Default, PartialEq)]
        $visibility struct $name<'a> {
            $($(#[$field_meta])* pub $field: Option<$type>,)*
            /// Members that this type does not know.
            pub extra: $crate::wire::Extra<'a>,
            /// The whole object as it came.
            pub raw: $crate::json::Raw<'a>,
        }

        impl<'a> $crate::json::Read<'a> for $name<'a> {
            fn read(reader: &mut $crate::json::Reader<'a>) -> Result<Self, $crate::Error> {
                let mut object = Self::default();
                let start = reader.offset();
                reader.object(|reader, key| {
                    match key.as_ref() {
                        $($($key)|+ => object.$field = $crate::json::Read::read(reader)?,)*
                        _ => object.extra.push((key.clone(), reader.raw()?)),
                    }
                    Ok(())
                })?;
                object.raw = reader.since(start);
                Ok(object)
            }
        }
    )+};
}
pub(crate) use object;

/// A count in a request: a whole number that is not negative. `12.0` is one. What is none is refused as its vendor would refuse it:
/// read as something else, it would change what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count(u64);

impl From<Count> for u64 {
    fn from(count: Count) -> u64 {
        count.0
    }
}

impl crate::json::Read<'_> for Count {
    fn read(reader: &mut crate::json::Reader<'_>) -> Result<Self, crate::Error> {
        let text = reader.number()?.get();
        let digits = text.parse::<u64>().ok();
        digits.or_else(|| spelled_out(text)).map(Count).ok_or_else(|| {
            let message = "a whole number was expected, 0 or more";
            crate::Error::new(crate::ErrorKind::Invalid, message)
        })
    }
}

/// A thinking budget of Gemini: a count, or -1 for one that the model chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// At most so many tokens.
    Tokens(u64),
    /// As many as the model finds right.
    Dynamic,
}

impl crate::json::Read<'_> for Budget {
    fn read(reader: &mut crate::json::Reader<'_>) -> Result<Self, crate::Error> {
        let text = reader.number()?.get();
        let count = text.parse::<u64>().ok().or_else(|| spelled_out(text));
        match count {
            Some(count) => Ok(Budget::Tokens(count)),
            None if text.parse::<f64>() == Ok(-1.0) => Ok(Budget::Dynamic),
            None => {
                let message = "a whole number was expected, 0 or more, or -1";
                Err(crate::Error::new(crate::ErrorKind::Invalid, message))
            }
        }
    }
}

/// The whole number that `12.0` or `1e3` is.
fn spelled_out(text: &str) -> Option<u64> {
    /// Up to here every whole number is a float of its own.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let value = text.parse::<f64>().ok()?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is whole and within the range"
    )]
    ((0.0..=EXACT).contains(&value) && value.fract() == 0.0).then_some(value as u64)
}

/// A string or a list of parts.
#[derive(Clone, Debug, PartialEq)]
pub enum Content<'a, T> {
    /// A string.
    Text(crate::json::Text<'a>),
    /// A list.
    Parts(Vec<T>),
}

impl<'a, T: crate::json::Read<'a>> crate::json::Read<'a> for Content<'a, T> {
    fn read(reader: &mut crate::json::Reader<'a>) -> Result<Self, crate::Error> {
        if reader.kind() == crate::json::Kind::String {
            return reader.text().map(Content::Text);
        }
        Vec::read(reader).map(Content::Parts)
    }
}
