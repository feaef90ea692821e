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
