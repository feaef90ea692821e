//! JSON as the converter needs it: a pull reader that keeps the source text, and a writer that copies it.
//!
//! Why not `serde_json`: strings must travel with their escapes (no unescape, no re-escape, lone surrogates survive), numbers
//! with their digits, an error must name a JSON pointer, and one pass must be enough for tagged unions. The reader is checked
//! against `serde_json` by a property test.

mod plain;
mod reader;
mod text;
mod writer;

pub use reader::{Kind, Reader};
pub(crate) use text::first_escape;
pub use text::{Raw, Text};
pub use writer::Writer;
pub(crate) use writer::copy_line_safe;

/// Deepest nesting that is read (conversion.md 17.3).
pub const MAX_DEPTH: usize = 128;

/// A type that can be read from JSON.
pub trait Read<'a>: Sized {
    /// Reads exactly one value.
    ///
    /// # Errors
    /// The value is not JSON or not of this type; the error points at it.
    fn read(reader: &mut Reader<'a>) -> Result<Self, crate::Error>;
}

/// The text of a document. A body of a prompt's size is checked in blocks, which takes a fifth of the time of the standard library.
///
/// # Errors
/// It is not UTF-8; the message says where.
pub fn text(body: &[u8]) -> Result<&str, crate::Error> {
    simdutf8::basic::from_utf8(body).map_err(|_| {
        let valid = std::str::from_utf8(body).map_or_else(|error| error.valid_up_to(), str::len);
        crate::Error::syntax(format!("the body is not UTF-8 at byte {valid}"))
    })
}

/// Reads a whole document.
///
/// # Errors
/// See [`Read::read`]; also anything but white space behind the value.
pub fn from_str<'a, T: Read<'a>>(source: &'a str) -> Result<T, crate::Error> {
    let mut reader = Reader::new(source);
    let value = T::read(&mut reader)?;
    reader.finish()?;
    Ok(value)
}
