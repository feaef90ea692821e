//! What pictures, documents, sounds and films cost: flat, or by the size of their bytes. Never by their base64 text.
//!
//! | what | likely | at most |
//! |---|---|---|
//! | image, OpenAI's formats | 1,000 (a screenshot in tiles of 512 px) | 10,000 (`detail: original`: 10,000 patches of 32 px) |
//! | image, Anthropic | 1,600 (models up to 4.6) | 4,800 (4,784: 2,576 px, patches of 28 px) |
//! | image, Gemini | 1,100 (1,120: default of Gemini 3) | 2,300 (2,240: ultra high) |
//! | document | 1,500 and a token for 20 bytes | 5,000 and a token for 2 bytes (dense pages of Anthropic's: 3,200 each, 1 for 4 bytes) |
//! | text file | a token for 4 bytes | a token for each byte |
//! | sound | a token for 500 bytes | a token for 20 bytes (Gemini: 32 a second, at 6 kbit/s) |
//! | film | a token for 400 bytes | a token for 8 bytes (Gemini: 300 a second, at 20 kbit/s) |
//! | document, sound, film by address | 5,000, 2,000, 20,000 | 100,000 (30 to 60 pages), 115,200 (an hour), 1,000,000 (an hour) |
//!
//! gpt-4o-mini counts images as many times as many tokens (up to 48,000); servers of other vendors may. Sizes in pixels are not read.

use crate::format::Format;
use crate::json::Text;

/// What it is to a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Image,
    Document,
    /// A document that is plain text inside.
    TextFile,
    Audio,
    Video,
}

impl Kind {
    /// By MIME type.
    pub(super) fn of_mime(mime: &str) -> Option<Kind> {
        let (group, _) = mime.split_once('/')?;
        let known = [
            ("image", Kind::Image),
            ("audio", Kind::Audio),
            ("video", Kind::Video),
            ("text", Kind::TextFile),
            ("application", Kind::Document),
        ];
        let found = known
            .iter()
            .find(|(name, _)| group.trim_end_matches('\\').eq_ignore_ascii_case(name))?;
        Some(found.1)
    }

    /// By a part's `type`: `input_image`, `computer_screenshot`, `document` …
    pub(super) fn of_word(word: &str) -> Option<Kind> {
        let known = [
            ("image", Kind::Image),
            ("screenshot", Kind::Image),
            ("audio", Kind::Audio),
            ("video", Kind::Video),
            ("file", Kind::Document),
            ("document", Kind::Document),
        ];
        let found = known.iter().find(|(name, _)| word.contains(name))?;
        Some(found.1)
    }
}

/// Bytes that a base64 text stands for.
pub(super) fn decoded(base64: &Text<'_>) -> u64 {
    let length = match base64 {
        Text::Escaped(inside) => inside.len(),
        Text::Plain(text) => text.len(),
    };
    length as u64 / 4 * 3
}

/// The most tokens of a piece that a model made.
pub(super) fn most_of(mime: &str, base64: &Text<'_>) -> u64 {
    let kind = Kind::of_mime(mime).unwrap_or(Kind::Document);
    tokens(kind, Some(decoded(base64)), Format::Chat).1
}

/// Tokens of one piece: likely and at most. `bytes` are its own, decoded; `None`: it is only named.
pub(super) fn tokens(kind: Kind, bytes: Option<u64>, upstream: Format) -> (u64, u64) {
    let sized = |base: (u64, u64), per: (u64, u64), named: (u64, u64)| match bytes {
        Some(bytes) => (base.0 + bytes / per.0, base.1 + bytes.div_ceil(per.1)),
        None => named,
    };
    match kind {
        Kind::Image => match upstream {
            Format::Chat | Format::Responses => (1_000, 10_000),
            Format::Messages => (1_600, 4_800),
            Format::Gemini => (1_100, 2_300),
        },
        Kind::Document => sized((1_500, 5_000), (20, 2), (5_000, 100_000)),
        Kind::TextFile => sized((0, 0), (4, 1), (5_000, 100_000)),
        Kind::Audio => sized((10, 100), (500, 20), (2_000, 115_200)),
        Kind::Video => sized((100, 1_000), (400, 8), (20_000, 1_000_000)),
    }
}
