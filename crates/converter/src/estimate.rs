//! Token counts without a tokenizer: weights per class of byte (wire.md 9.1).
//!
//! Two numbers are kept: what a text likely costs, fitted to o200k and good to about ±16 %, and the most that tokenizers make of it:
//! random text of any script stays below that (`estimate/classes.rs` has the reasons, `tests/tokenizers.rs` the proof), prose and code
//! cost a third to four fifths of it. Only text that was searched letter by letter against a known vocabulary was found to cost more,
//! up to 1.4 times. [`input_of`] reads both off a raw request; an [`Estimator`] counts what streams by.

mod classes;
mod media;
mod request;
mod whole;

pub use request::{input_of, rough_input_of};
pub(crate) use whole::{Counter, walk};

use classes::{BEFORE, RUN, WEIGHTS};

use memchr::memchr;

use crate::ir::Request;
use crate::json::{Text, first_escape};

/// Hundredths in a token.
const UNIT: u64 = 100;

/// A text of so many bytes is long enough for samples.
const LONG: usize = 2 << 10;
/// So many samples are taken of a long text,
const SAMPLES: usize = 8;
/// of so many bytes each.
const SAMPLE: usize = 128;

/// How far a learned factor may go from 1 (wire.md 9.1).
const FACTORS: (f64, f64) = (0.5, 2.0);
/// Share of the newest request in a learned factor.
const NEWEST: f64 = 0.1;

/// Tokens that something is expected to cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// What it likely is, for o200k: multiply by the [`learned`] factor of the model.
    pub likely: u64,
    /// What it is at most, whatever the tokenizer ([`Estimator::most`]).
    pub most: u64,
    /// Some of it is sound, which may have a price of its own.
    pub sound: bool,
}

/// The factor of a model after one more request: a moving average of reported over estimated tokens, never below 0.5 or above 2.
/// `likely` is the estimate without any factor. A start is 1, for Anthropic 1.15 (wire.md 9.1).
#[must_use]
pub fn learned(previous_factor: f64, likely: u64, reported: u64) -> f64 {
    let (low, high) = FACTORS;
    let previous = if previous_factor.is_nan() {
        1.0
    } else {
        previous_factor.clamp(low, high)
    };
    if likely == 0 || reported == 0 {
        return previous;
    }
    #[expect(clippy::cast_precision_loss, reason = "a ratio needs no more than 52 bits")]
    let ratio = reported as f64 / likely as f64;
    (previous + (ratio.clamp(low, high) - previous) * NEWEST).clamp(low, high)
}

/// What holds texts together in a prompt or an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// A part of a message, a block of an answer.
    Part,
    /// A call of a tool, or its result: Anthropic writes them as tags with names of parameters.
    Call,
}

impl Frame {
    fn most(self) -> u64 {
        match self {
            Frame::Part => 8,
            Frame::Call => 32,
        }
    }
}

/// Counts text as it comes; the sums are asked for at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimator {
    /// Hundredths of a token.
    likely: u64,
    /// Hundredths of a token.
    most: u64,
    /// The last byte.
    before: u8,
}

impl Default for Estimator {
    fn default() -> Self {
        Estimator {
            likely: 0,
            most: 0,
            before: BEFORE,
        }
    }
}

impl Estimator {
    /// Adds decoded text. Pieces may be cut anywhere.
    pub fn add(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        let mut before = self.before;
        for run in bytes.chunks(RUN) {
            let (eights, rest) = run.as_chunks::<8>();
            // Two sums: none waits for the other.
            let (mut even, mut odd) = (0u32, 0u32);
            for eight in eights {
                let bytes = u64::from_le_bytes(*eight);
                let pairs = bytes << 8 | u64::from(before);
                for at in [0, 16, 32] {
                    even += weight(pairs >> at);
                    odd += weight(pairs >> (at + 8));
                }
                even += weight(pairs >> 48);
                odd += weight(bytes >> 48);
                before = eight[7];
            }
            for byte in rest {
                even += weight(u64::from(before) | u64::from(*byte) << 8);
                before = *byte;
            }
            let both = even + odd;
            self.likely += u64::from(both & 0xffff);
            self.most += u64::from(both >> 16);
        }
        self.before = before;
    }

    /// Adds a text; escapes count as the characters they stand for.
    pub fn add_text(&mut self, text: &Text<'_>) {
        self.characters(text);
    }

    /// Adds a text and tells how many escapes are in it.
    fn characters(&mut self, text: &Text<'_>) -> u64 {
        match text {
            Text::Plain(text) => {
                self.add(text);
                0
            }
            Text::Escaped(inside) => self.inside(inside),
        }
    }

    /// Adds what stands between the quotes of a JSON string.
    fn inside(&mut self, mut inside: &str) -> u64 {
        let mut escapes = 0;
        while let Some(at) = memchr(b'\\', inside.as_bytes()) {
            let (plain, escape) = inside.split_at(at);
            self.add(plain);
            let (character, rest) = first_escape(escape);
            match character.map(|character| (character, u8::try_from(character))) {
                Some((_, Ok(byte))) if byte.is_ascii() => self.bytes(&[byte]),
                Some((character, _)) => self.add(character.encode_utf8(&mut [0; 4])),
                None => {}
            }
            inside = rest;
            escapes += 1;
        }
        self.add(inside);
        escapes
    }

    /// Adds what stands between the quotes of a long JSON string without reading all of it: what it likely costs goes by samples, the
    /// most is a token for each of its bytes, which no tokenizer exceeds.
    fn samples(&mut self, inside: &str) {
        let length = inside.len();
        let mut samples = Estimator::default();
        let mut bytes = 0;
        for number in 0..SAMPLES {
            let start = inside.floor_char_boundary(length / SAMPLES * number);
            let (before, rest) = inside.split_at_checked(start).unwrap_or_default();
            let sample = rest.get(..rest.floor_char_boundary(SAMPLE)).unwrap_or(rest);
            samples.before = before.as_bytes().last().copied().unwrap_or(BEFORE);
            samples.inside(sample);
            bytes += sample.len();
        }
        let (length, bytes) = (length as u64, bytes.max(1) as u64);
        let likely = samples.likely.saturating_mul(length) / bytes;
        self.likely += likely;
        self.most += length.saturating_mul(UNIT).max(likely);
        self.before = inside.as_bytes().last().copied().unwrap_or(BEFORE);
    }

    /// Adds the most that a frame costs; likely it costs nothing that is worth counting.
    pub(crate) fn add_frame(&mut self, frame: Frame) {
        self.flat(0, frame.most());
    }

    /// Adds the most that an image or a sound costs whose base64 is at hand.
    pub(crate) fn add_media(&mut self, mime: &str, base64: &Text<'_>) {
        self.flat(0, media::most_of(mime, base64));
    }

    /// Adds tokens of something that is no text.
    fn flat(&mut self, likely: u64, most: u64) {
        self.likely = self.likely.saturating_add(likely.saturating_mul(UNIT));
        self.most = self.most.saturating_add(most.saturating_mul(UNIT));
    }

    /// Tokens so far, rounded up: what they likely are.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        self.likely.div_ceil(UNIT)
    }

    /// Tokens so far, rounded up: what they are at most.
    #[must_use]
    pub fn most(&self) -> u64 {
        self.most.div_ceil(UNIT)
    }

    /// The input tokens of a whole request.
    #[must_use]
    pub fn of_request(request: &Request<'_>) -> u64 {
        let mut estimator = Estimator::default();
        walk(request, &mut estimator);
        estimator.tokens()
    }
}

/// What the lowest two bytes cost, the first of them in front of the other.
#[inline]
fn weight(pair: u64) -> u32 {
    let at = usize::try_from(pair & 0xffff).unwrap_or(0);
    WEIGHTS.get(at).copied().unwrap_or(0)
}

impl Counter for Estimator {
    fn text(&mut self, text: &Text<'_>) {
        self.add_text(text);
    }

    fn tokens(&mut self, tokens: u64) {
        self.flat(tokens, tokens);
    }
}

#[cfg(test)]
mod tests;
