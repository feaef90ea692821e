//! The pull reader.

use std::borrow::Cow;

use memchr::memchr2;

use super::text::unescape;
use super::{MAX_DEPTH, Raw, Read, Text};
use crate::error::Error;

/// Most strings are names and words: so many bytes are looked at by words of eight, as a search by blocks takes longer to begin than
/// they do to end.
const SHORT: usize = 32;

/// What kind of value comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `{`
    Object,
    /// `[`
    Array,
    /// `"`
    String,
    /// a digit or `-`
    Number,
    /// `true` or `false`
    Bool,
    /// `null`
    Null,
    /// nothing that starts a value
    Invalid,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Object => "an object",
            Kind::Array => "an array",
            Kind::String => "a string",
            Kind::Number => "a number",
            Kind::Bool => "a boolean",
            Kind::Null => "null",
            Kind::Invalid => "no JSON value",
        }
    }
}

/// Reads one JSON document from front to back. Every method consumes exactly one value.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    source: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the start of `source`.
    #[must_use]
    pub fn new(source: &'a str) -> Self {
        Reader {
            source,
            at: 0,
            depth: 0,
        }
    }

    /// Byte offset of the next unread byte, white space skipped.
    pub fn offset(&mut self) -> usize {
        self.skip_space();
        self.at
    }

    /// Byte offset right behind the value read last.
    #[must_use]
    pub fn offset_behind(&self) -> usize {
        self.at
    }

    /// The source text from an offset of [`Reader::offset`] to the end of the value read last.
    #[must_use]
    pub fn since(&self, start: usize) -> Raw<'a> {
        Raw(self.source.get(start..self.at).unwrap_or("null"))
    }

    fn byte(&self) -> Option<u8> {
        self.source.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.byte() {
            self.at += 1;
        }
    }

    /// The kind of the next value.
    pub fn kind(&mut self) -> Kind {
        self.skip_space();
        match self.byte() {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b'"') => Kind::String,
            Some(b'-' | b'0'..=b'9') => Kind::Number,
            Some(b't' | b'f') => Kind::Bool,
            Some(b'n') => Kind::Null,
            _ => Kind::Invalid,
        }
    }

    /// Checks that only white space is left.
    ///
    /// # Errors
    /// Something follows the value.
    pub fn finish(&mut self) -> Result<(), Error> {
        self.skip_space();
        if self.at == self.source.len() {
            Ok(())
        } else {
            Err(self.broken("unexpected data behind the end of the document"))
        }
    }

    fn broken(&self, why: &str) -> Error {
        if self.at >= self.source.len() {
            return Error::syntax(format!(
                "the JSON document ends too early, at byte {}",
                self.source.len()
            ));
        }
        Error::syntax(format!("invalid JSON at byte {}: {why}", self.at))
    }

    fn wrong_kind(&mut self, wanted: &str) -> Error {
        match self.kind() {
            Kind::Invalid => self.broken("a value was expected"),
            found => Error::wrong_type(format!("{wanted} was expected here, found {}", found.name())),
        }
    }

    fn enter(&mut self) -> Result<(), Error> {
        self.depth += 1;
        self.at += 1;
        if self.depth > MAX_DEPTH {
            Err(Error::too_deep(MAX_DEPTH))
        } else {
            Ok(())
        }
    }

    fn expect(&mut self, byte: u8, why: &str) -> Result<(), Error> {
        self.skip_space();
        if self.byte() == Some(byte) {
            self.at += 1;
            return Ok(());
        }
        Err(self.broken(why))
    }

    /// Reads an object: `member` is called with each key and must read its value.
    ///
    /// # Errors
    /// Not an object, or what `member` returns, with the key put before its pointer.
    pub fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, &Cow<'a, str>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if self.kind() != Kind::Object {
            return Err(self.wrong_kind("an object"));
        }
        self.enter()?;
        self.skip_space();
        if self.byte() == Some(b'}') {
            self.at += 1;
            self.depth -= 1;
            return Ok(());
        }
        loop {
            self.skip_space();
            if self.byte() != Some(b'"') {
                return Err(self.broken("a member name in quotes was expected"));
            }
            let (key, escaped) = self.quoted()?;
            let key = if escaped {
                unescape(key)
            } else {
                Cow::Borrowed(key)
            };
            self.expect(b':', "':' was expected behind the member name")?;
            member(self, &key).map_err(|error| error.under(&key))?;
            if self.more(b'}')? {
                return Ok(());
            }
        }
    }

    /// Reads an array: `element` is called with each index and must read the element.
    ///
    /// # Errors
    /// Not an array, or what `element` returns, with the index put before its pointer.
    pub fn array(
        &mut self,
        mut element: impl FnMut(&mut Self, usize) -> Result<(), Error>,
    ) -> Result<(), Error> {
        if self.kind() != Kind::Array {
            return Err(self.wrong_kind("an array"));
        }
        self.enter()?;
        self.skip_space();
        if self.byte() == Some(b']') {
            self.at += 1;
            self.depth -= 1;
            return Ok(());
        }
        let mut index = 0;
        loop {
            element(self, index).map_err(|error| error.under_index(index))?;
            index += 1;
            if self.more(b']')? {
                return Ok(());
            }
        }
    }

    /// Behind an element: true if the container ended, false if another one follows.
    fn more(&mut self, close: u8) -> Result<bool, Error> {
        self.skip_space();
        match self.byte() {
            Some(b',') => {
                self.at += 1;
                Ok(false)
            }
            Some(byte) if byte == close => {
                self.at += 1;
                self.depth -= 1;
                Ok(true)
            }
            _ => Err(self.broken("',' or the end of the list was expected")),
        }
    }

    /// Reads a string and returns what stands between its quotes.
    fn string(&mut self) -> Result<&'a str, Error> {
        self.quoted().map(|(inside, _)| inside)
    }

    /// What stands between the quotes, and whether escapes are in it.
    fn quoted(&mut self) -> Result<(&'a str, bool), Error> {
        let start = self.at + 1;
        let rest = self.source.as_bytes().get(start..).unwrap_or_default();
        let plain = plain_start(rest);
        if rest.get(plain) == Some(&b'"') {
            let end = start + plain;
            self.at = end + 1;
            return Ok((self.source.get(start..end).unwrap_or_default(), false));
        }
        self.long(start, plain)
    }

    /// A string that starts at `start`, the first `seen` bytes of which are known to be plain.
    fn long(&mut self, start: usize, seen: usize) -> Result<(&'a str, bool), Error> {
        let bytes = self.source.as_bytes();
        let (mut from, mut seen) = (start, seen);
        loop {
            let hit = bytes
                .get(from + seen..)
                .and_then(|rest| memchr2(b'"', b'\\', rest));
            let Some(found) = hit else {
                self.at = self.source.len();
                return Err(self.broken("unfinished string"));
            };
            let end = from + seen + found;
            let piece = bytes.get(from + seen..end).unwrap_or_default();
            if has_control(piece) {
                self.at = from;
                return Err(self.broken("control character inside a string"));
            }
            if bytes.get(end) == Some(&b'"') {
                self.at = end + 1;
                return Ok((self.source.get(start..end).unwrap_or_default(), from > start));
            }
            (from, seen) = (self.escape(end)?, 0);
        }
    }

    /// Checks the escape whose backslash stands at `at`; returns the offset behind it.
    fn escape(&mut self, at: usize) -> Result<usize, Error> {
        let bytes = self.source.as_bytes();
        let good = match bytes.get(at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Some(at + 2),
            Some(b'u') => bytes
                .get(at + 2..at + 6)
                .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))
                .map(|_| at + 6),
            _ => None,
        };
        good.ok_or_else(|| {
            self.at = at;
            self.broken("invalid escape inside a string")
        })
    }

    /// Reads a string, escapes kept.
    ///
    /// # Errors
    /// Not a string.
    pub fn text(&mut self) -> Result<Text<'a>, Error> {
        if self.kind() != Kind::String {
            return Err(self.wrong_kind("a string"));
        }
        Ok(Text::Escaped(self.string()?))
    }

    /// Reads a boolean.
    ///
    /// # Errors
    /// Not a boolean.
    pub fn bool(&mut self) -> Result<bool, Error> {
        if self.kind() != Kind::Bool {
            return Err(self.wrong_kind("a boolean"));
        }
        let value = self.byte() == Some(b't');
        self.word(if value { "true" } else { "false" })?;
        Ok(value)
    }

    fn word(&mut self, word: &str) -> Result<(), Error> {
        let rest = self.source.as_bytes().get(self.at..).unwrap_or_default();
        if rest.starts_with(word.as_bytes()) {
            self.at += word.len();
            return Ok(());
        }
        Err(self.broken("unknown word"))
    }

    /// Reads `null` and returns true, or reads nothing and returns false.
    ///
    /// # Errors
    /// A word that only begins like `null`.
    pub fn null(&mut self) -> Result<bool, Error> {
        if self.kind() != Kind::Null {
            return Ok(false);
        }
        self.word("null")?;
        Ok(true)
    }

    /// Reads a number, digits kept.
    ///
    /// # Errors
    /// Not a number.
    pub fn number(&mut self) -> Result<Raw<'a>, Error> {
        if self.kind() != Kind::Number {
            return Err(self.wrong_kind("a number"));
        }
        self.numeral()
    }

    /// Reads the number that begins here.
    fn numeral(&mut self) -> Result<Raw<'a>, Error> {
        let start = self.at;
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        match self.byte() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits()?,
            _ => return Err(self.broken("a digit was expected")),
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.byte() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.byte() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(Raw(self.source.get(start..self.at).unwrap_or_default()))
    }

    fn digits(&mut self) -> Result<(), Error> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.byte() {
            self.at += 1;
        }
        if self.at == start {
            Err(self.broken("a digit was expected"))
        } else {
            Ok(())
        }
    }

    /// Reads a count. `12.0` is 12, a negative number is 0 (conversion.md 17.3).
    ///
    /// # Errors
    /// Not a number.
    pub fn u64(&mut self) -> Result<u64, Error> {
        let raw = self.number()?.get();
        if let Ok(value) = raw.parse::<u64>() {
            return Ok(value);
        }
        let value = raw.parse::<f64>().unwrap_or(0.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a float cast saturates at both ends"
        )]
        Ok(value as u64)
    }

    /// Reads any value and returns its source text.
    ///
    /// # Errors
    /// The value is not JSON or nested too deeply.
    pub fn raw(&mut self) -> Result<Raw<'a>, Error> {
        self.skip_space();
        let start = self.at;
        self.skip()?;
        Ok(Raw(self.source.get(start..self.at).unwrap_or_default()))
    }

    /// Reads any value and forgets it. Pointers of errors inside it are not tracked; the byte offset is.
    ///
    /// # Errors
    /// See [`Reader::raw`].
    pub fn skip(&mut self) -> Result<(), Error> {
        match self.kind() {
            Kind::Object | Kind::Array => self.skip_nested(),
            plain => self.skip_plain(plain),
        }
    }

    /// Skips a value that is no container and begins here.
    fn skip_plain(&mut self, kind: Kind) -> Result<(), Error> {
        match kind {
            Kind::String => self.quoted().map(|_| ()),
            Kind::Number => self.numeral().map(|_| ()),
            Kind::Bool => self.bool().map(|_| ()),
            Kind::Null => self.null().map(|_| ()),
            Kind::Invalid | Kind::Object | Kind::Array => Err(self.broken("a value was expected")),
        }
    }

    /// Skips a container without recursion: a stack of one bit per level says which bracket closes it.
    fn skip_nested(&mut self) -> Result<(), Error> {
        let mut objects: u128 = 0;
        let mut open = 0usize;
        loop {
            match self.kind() {
                Kind::Object | Kind::Array => {
                    let object = self.byte() == Some(b'{');
                    self.enter()?;
                    open += 1;
                    objects = (objects << 1) | u128::from(object);
                    if !self.skip_opening(object)? {
                        continue;
                    }
                    objects >>= 1;
                    open -= 1;
                }
                plain => self.skip_plain(plain)?,
            }
            loop {
                if open == 0 {
                    return Ok(());
                }
                let object = objects & 1 == 1;
                if !self.more(if object { b'}' } else { b']' })? {
                    if object {
                        self.skip_key()?;
                    }
                    break;
                }
                objects >>= 1;
                open -= 1;
            }
        }
    }

    /// Behind an opening bracket: true if the container is empty and was closed, else the first key is read.
    fn skip_opening(&mut self, object: bool) -> Result<bool, Error> {
        self.skip_space();
        if self.byte() == Some(if object { b'}' } else { b']' }) {
            self.at += 1;
            self.depth -= 1;
            return Ok(true);
        }
        if object {
            self.skip_key()?;
        }
        Ok(false)
    }

    fn skip_key(&mut self) -> Result<(), Error> {
        self.skip_space();
        if self.byte() != Some(b'"') {
            return Err(self.broken("a member name in quotes was expected"));
        }
        self.quoted()?;
        self.expect(b':', "':' was expected behind the member name")
    }
}

impl<'a> Read<'a> for Text<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Error> {
        reader.text()
    }
}

impl<'a> Read<'a> for Cow<'a, str> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Error> {
        Ok(reader.text()?.decode())
    }
}

impl<'a> Read<'a> for Raw<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Error> {
        reader.raw()
    }
}

impl Read<'_> for bool {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        reader.bool()
    }
}

impl Read<'_> for u64 {
    fn read(reader: &mut Reader<'_>) -> Result<Self, Error> {
        reader.u64()
    }
}

impl<'a, T: Read<'a>> Read<'a> for Option<T> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Error> {
        if reader.null()? {
            Ok(None)
        } else {
            T::read(reader).map(Some)
        }
    }
}

impl<'a, T: Read<'a>> Read<'a> for Vec<T> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Error> {
        let mut list = Vec::new();
        reader.array(|reader, _| {
            list.push(T::read(reader)?);
            Ok(())
        })?;
        Ok(list)
    }
}

/// A value that is read if it is of the type, and kept as source text if it is something newer.
impl<'a, T: Read<'a>> Read<'a> for (Raw<'a>, Result<T, Error>) {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Error> {
        reader.skip_space();
        let mut attempt = reader.clone();
        match T::read(&mut attempt) {
            Ok(value) => {
                let raw = reader.source.get(reader.at..attempt.at).unwrap_or_default();
                *reader = attempt;
                Ok((Raw(raw), Ok(value)))
            }
            Err(error) => Ok((reader.raw()?, Err(error))),
        }
    }
}

impl<'a, T: Read<'a>> Read<'a> for Box<T> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Error> {
        T::read(reader).map(Box::new)
    }
}

/// How many of the first bytes are neither quotes nor backslashes nor control characters: exact where one of these follows soon,
/// else a part of them.
fn plain_start(bytes: &[u8]) -> usize {
    /// 0x01 in each byte.
    const ONES: u64 = u64::MAX / 255;
    /// The top bit of the lowest byte that is smaller than `least` is set; above it the answer is not exact.
    fn below(word: u64, least: u8) -> u64 {
        word.wrapping_sub(ONES * u64::from(least)) & !word & (ONES << 7)
    }
    let mut length = 0;
    while length < SHORT
        && let Some(word) = bytes.get(length..).and_then(<[u8]>::first_chunk)
    {
        let word = u64::from_le_bytes(*word);
        let quotes = below(word ^ (ONES * u64::from(b'"')), 1);
        let backslashes = below(word ^ (ONES * u64::from(b'\\')), 1);
        let found = quotes | backslashes | below(word, 0x20);
        if found != 0 {
            // A count of bits in a word fits.
            return length + (found.trailing_zeros() / 8) as usize;
        }
        length += 8;
    }
    length
}

/// True if a control character stands here. A search that stops at the first one cannot be vectorised; blocks can.
fn has_control(bytes: &[u8]) -> bool {
    bytes
        .chunks(256)
        .any(|block| block.iter().fold(false, |found, byte| found | (*byte < 0x20)))
}
