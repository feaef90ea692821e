//! The writer: appends JSON to a buffer.

use super::plain::plain_length;
use super::{Raw, Text};

/// Appends JSON to a byte buffer. Commas are put by [`Writer::key`] and [`Writer::item`]; values never add one.
///
/// ```
/// use ai_api_converter::json::Writer;
/// let mut out = Vec::new();
/// let mut w = Writer::new(&mut out);
/// w.object(|w| {
///     w.key("n").u64(1);
///     w.key("list").array(|w| {
///         w.item().str("a\"b");
///     });
/// });
/// assert_eq!(out, br#"{"n":1,"list":["a\"b"]}"#);
/// ```
pub struct Writer<'o> {
    out: &'o mut Vec<u8>,
    line_safe: bool,
}

impl<'o> Writer<'o> {
    /// Writes behind what `out` holds already.
    pub fn new(out: &'o mut Vec<u8>) -> Self {
        Writer {
            out,
            line_safe: false,
        }
    }

    /// A writer for one line of a stream: U+0085, U+2028 and U+2029 are escaped in every text, because some stream parsers
    /// take them for line ends (wire.md 2.4).
    pub fn line(out: &'o mut Vec<u8>) -> Self {
        Writer { out, line_safe: true }
    }

    /// The buffer, for templates.
    pub fn bytes(&mut self) -> &mut Vec<u8> {
        self.out
    }

    /// Starts a member of the open object; the next call writes its value.
    pub fn key(&mut self, key: &str) -> &mut Self {
        if self.out.last() != Some(&b'{') {
            self.out.push(b',');
        }
        self.str(key);
        self.out.push(b':');
        self
    }

    /// Starts an element of the open array; the next call writes it.
    pub fn item(&mut self) -> &mut Self {
        if self.out.last() != Some(&b'[') {
            self.out.push(b',');
        }
        self
    }

    /// Writes an object whose members `body` writes.
    pub fn object(&mut self, body: impl FnOnce(&mut Self)) {
        self.out.push(b'{');
        body(self);
        self.out.push(b'}');
    }

    /// Writes an array whose elements `body` writes.
    pub fn array(&mut self, body: impl FnOnce(&mut Self)) {
        self.out.push(b'[');
        body(self);
        self.out.push(b']');
    }

    /// Opens an object; for bodies that return errors. Close it with [`Writer::end_object`].
    pub fn begin_object(&mut self) {
        self.out.push(b'{');
    }

    /// Closes an object.
    pub fn end_object(&mut self) {
        self.out.push(b'}');
    }

    /// Opens an array. Close it with [`Writer::end_array`].
    pub fn begin_array(&mut self) {
        self.out.push(b'[');
    }

    /// Closes an array.
    pub fn end_array(&mut self) {
        self.out.push(b']');
    }

    /// Writes a string from ordinary text.
    pub fn str(&mut self, text: &str) {
        self.out.push(b'"');
        self.escape(text);
        self.out.push(b'"');
    }

    /// Writes a string; escaped text is copied as it came.
    pub fn text(&mut self, text: &Text<'_>) {
        self.out.push(b'"');
        self.text_inside(text);
        self.out.push(b'"');
    }

    /// Writes a text without its quotes, to join several into one string.
    pub fn text_inside(&mut self, text: &Text<'_>) {
        match text {
            Text::Plain(text) => self.escape(text),
            Text::Escaped(inside) if self.line_safe => copy_line_safe(inside, self.out),
            Text::Escaped(inside) => self.out.extend_from_slice(inside.as_bytes()),
        }
    }

    /// Appends `text` escaped, without quotes.
    pub fn escape(&mut self, text: &str) {
        let mut rest = text;
        loop {
            let (plain, behind) = rest.split_at(plain_length(rest.as_bytes()));
            self.plain(plain);
            let Some(&byte) = behind.as_bytes().first() else {
                return;
            };
            rest = behind.get(1..).unwrap_or_default();
            match byte {
                b'"' => self.out.extend_from_slice(b"\\\""),
                b'\\' => self.out.extend_from_slice(b"\\\\"),
                b'\n' => self.out.extend_from_slice(b"\\n"),
                b'\r' => self.out.extend_from_slice(b"\\r"),
                b'\t' => self.out.extend_from_slice(b"\\t"),
                _ => self.out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            }
        }
    }

    fn plain(&mut self, text: &str) {
        if self.line_safe {
            copy_line_safe(text, self.out)
        } else {
            self.out.extend_from_slice(text.as_bytes())
        }
    }

    /// Copies a JSON value. In a line it must be free of line breaks; white space between tokens is squeezed there.
    pub fn raw(&mut self, raw: Raw<'_>) {
        if self.line_safe && memchr::memchr2(b'\n', b'\r', raw.get().as_bytes()).is_some() {
            // Inside JSON a raw line break can only stand between tokens, where a blank is the same.
            let start = self.out.len();
            copy_line_safe(raw.get(), self.out);
            for byte in self.out.iter_mut().skip(start) {
                if matches!(byte, b'\n' | b'\r') {
                    *byte = b' ';
                }
            }
            return;
        }
        self.plain(raw.get());
    }

    /// Copies JSON members without braces (`"a":1,"b":2`) behind a comma of the caller's.
    pub fn raw_members(&mut self, members: &str) {
        self.raw(Raw(members));
    }

    /// Writes the source text of a JSON value as a string (an object of arguments as a string of arguments).
    pub fn raw_as_str(&mut self, raw: Raw<'_>) {
        self.str(raw.get());
    }

    /// Writes an integer.
    pub fn u64(&mut self, mut value: u64) {
        // Twenty digits hold every u64; a `String` here would be an allocation per stream event.
        let mut digits = [b'0'; 20];
        let mut used = 0;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + u8::try_from(value % 10).unwrap_or(0);
            used += 1;
            value /= 10;
            if value == 0 {
                break;
            }
        }
        self.out
            .extend_from_slice(digits.get(digits.len() - used..).unwrap_or_default());
    }

    /// Writes a signed integer.
    pub fn i64(&mut self, value: i64) {
        self.out.extend_from_slice(value.to_string().as_bytes());
    }

    /// Writes a boolean.
    pub fn bool(&mut self, value: bool) {
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// Writes `null`.
    pub fn null(&mut self) {
        self.out.extend_from_slice(b"null");
    }
}

/// Copies text; U+0085, U+2028 and U+2029 are replaced by their escapes.
pub(crate) fn copy_line_safe(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    let mut from = 0;
    for at in memchr::memchr2_iter(0xe2, 0xc2, bytes) {
        let escape: &[u8] = match bytes.get(at..) {
            Some([0xe2, 0x80, 0xa8, ..]) => b"\\u2028",
            Some([0xe2, 0x80, 0xa9, ..]) => b"\\u2029",
            Some([0xc2, 0x85, ..]) => b"\\u0085",
            _ => continue,
        };
        out.extend_from_slice(bytes.get(from..at).unwrap_or_default());
        out.extend_from_slice(escape);
        from = at + if escape == b"\\u0085" { 2 } else { 3 };
    }
    out.extend_from_slice(bytes.get(from..).unwrap_or_default());
}
