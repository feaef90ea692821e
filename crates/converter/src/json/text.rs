//! Strings and values that keep their source spelling.

use std::borrow::Cow;

use memchr::memchr;

/// A JSON value as it stood in the source: checked for syntax, otherwise untouched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raw<'a>(pub(crate) &'a str);

impl Default for Raw<'_> {
    fn default() -> Self {
        Raw("null")
    }
}

impl<'a> Raw<'a> {
    /// The source text.
    #[must_use]
    pub fn get(self) -> &'a str {
        self.0
    }

    /// A constant that is known to be JSON.
    #[must_use]
    pub const fn of_const(source: &'static str) -> Raw<'static> {
        Raw(source)
    }

    /// True for `null`.
    #[must_use]
    pub fn is_null(self) -> bool {
        self.0 == "null"
    }

    /// The inside of a JSON string, if this is one.
    #[must_use]
    pub fn as_text(self) -> Option<Text<'a>> {
        Some(Text::Escaped(self.0.strip_prefix('"')?.strip_suffix('"')?))
    }

    /// True if the value is an object.
    #[must_use]
    pub fn is_object(self) -> bool {
        self.0.starts_with('{')
    }
}

/// A string. What came from JSON keeps its escapes until somebody must look inside.
#[derive(Clone, Debug)]
pub enum Text<'a> {
    /// The characters between the quotes of a JSON string, escapes included.
    Escaped(&'a str),
    /// Ordinary text of our own making.
    Plain(Cow<'a, str>),
}

impl Default for Text<'_> {
    fn default() -> Self {
        Text::Plain(Cow::Borrowed(""))
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Text::Plain(Cow::Borrowed(text))
    }
}

impl From<String> for Text<'_> {
    fn from(text: String) -> Self {
        Text::Plain(Cow::Owned(text))
    }
}

impl<'a> From<Cow<'a, str>> for Text<'a> {
    fn from(text: Cow<'a, str>) -> Self {
        Text::Plain(text)
    }
}

impl<'a> Text<'a> {
    /// The text itself. Borrows when nothing is escaped. A lone surrogate becomes U+FFFD.
    #[must_use]
    pub fn decode(&self) -> Cow<'a, str> {
        match self {
            Text::Plain(text) => text.clone(),
            Text::Escaped(inside) => unescape(inside),
        }
    }

    /// The first `length` bytes or a little less, not decoded; for a look at what is known to be plain (base64).
    #[must_use]
    pub fn head(&self, length: usize) -> String {
        let whole: &str = match self {
            Text::Plain(text) => text,
            Text::Escaped(inside) => inside,
        };
        whole.chars().take(length).collect::<String>().replace("\\/", "/")
    }

    /// True for the empty string.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Text::Plain(text) => text.is_empty(),
            Text::Escaped(inside) => inside.is_empty(),
        }
    }

    /// True if there is nothing but white space.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        match self {
            Text::Plain(text) => text.trim().is_empty(),
            Text::Escaped(inside) if memchr(b'\\', inside.as_bytes()).is_none() => inside.trim().is_empty(),
            Text::Escaped(inside) => unescape(inside).trim().is_empty(),
        }
    }

    /// True if the decoded text equals `other`.
    #[must_use]
    pub fn is(&self, other: &str) -> bool {
        match self {
            Text::Plain(text) => text == other,
            Text::Escaped(inside) if memchr(b'\\', inside.as_bytes()).is_none() => *inside == other,
            Text::Escaped(inside) => unescape(inside) == other,
        }
    }

    /// The same text without a borrow of the source.
    #[must_use]
    pub fn into_owned(self) -> Text<'static> {
        Text::Plain(Cow::Owned(self.decode().into_owned()))
    }
}

impl PartialEq for Text<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Text::Escaped(a), Text::Escaped(b)) if a == b => true,
            _ => self.decode() == other.decode(),
        }
    }
}

impl Eq for Text<'_> {}

/// Decodes the inside of a JSON string that the reader has already checked.
pub(crate) fn unescape(inside: &str) -> Cow<'_, str> {
    let Some(mut next) = memchr(b'\\', inside.as_bytes()) else {
        return Cow::Borrowed(inside);
    };
    let mut out = String::with_capacity(inside.len());
    let mut rest = inside;
    loop {
        let (plain, escape) = rest.split_at(next);
        out.push_str(plain);
        rest = push_escape(escape, &mut out);
        match memchr(b'\\', rest.as_bytes()) {
            Some(at) => next = at,
            None => {
                out.push_str(rest);
                return Cow::Owned(out);
            }
        }
    }
}

/// Decodes the escape at the start of `escape` and returns what follows it.
fn push_escape<'a>(escape: &'a str, out: &mut String) -> &'a str {
    let (character, rest) = first_escape(escape);
    out.extend(character);
    rest
}

/// The character that the escape at the start stands for, and what follows the escape. A lone surrogate is U+FFFD.
#[inline]
pub(crate) fn first_escape(escape: &str) -> (Option<char>, &str) {
    let character = match escape.as_bytes().get(1) {
        Some(b'n') => '\n',
        Some(b't') => '\t',
        Some(b'r') => '\r',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'u') => return first_unicode(escape),
        Some(other) => char::from(*other),
        None => return (None, ""),
    };
    (Some(character), escape.get(2..).unwrap_or(""))
}

fn first_unicode(escape: &str) -> (Option<char>, &str) {
    let unit = hex4(escape.get(2..6));
    let rest = escape.get(6..).unwrap_or("");
    let Some(unit) = unit else { return (None, rest) };
    if (0xd800..0xdc00).contains(&unit)
        && rest.starts_with("\\u")
        && let Some(low @ 0xdc00..0xe000) = hex4(rest.get(2..6))
    {
        let point = 0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
        let character = char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER);
        return (Some(character), rest.get(6..).unwrap_or(""));
    }
    (
        Some(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER)),
        rest,
    )
}

fn hex4(digits: Option<&str>) -> Option<u32> {
    u32::from_str_radix(digits?, 16).ok()
}
