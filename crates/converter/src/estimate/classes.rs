//! What one byte of text costs in tokens, by its class and the class in front of it.
//!
//! `likely` are the weights of wire.md 9.1, fitted to o200k. `most` are bounds: how many tokens the worst of twelve vocabularies
//! (o200k, cl100k, Llama 3, DeepSeek 3 and 4, Qwen 2, Mistral 3, Kimi 2 and 3, GLM 4 and 5, MiniMax 2) makes of random text of the
//! class, which no ordinary text comes near. Why they hold:
//!
//! - Byte-level BPE never makes more tokens than bytes. Classes that vocabularies hardly know cost their bytes: 2, 3, 4.
//! - Words start a token and take the blank in front of them along; random letters behind cost one token per two letters, pairs with
//!   a rare letter more; a change of case ends most merges.
//! - Digits are one token each in Qwen and Mistral; they do not take a blank along. Punctuation is one token each.
//! - Letters of the large non-Latin alphabets cost up to 1.5 where they stand alone in cl100k, ideographs 2.4, Hangul 2.65.
//!
//! Where `likely` is the higher one, `most` is raised to it: no text is more than it can be.
//!
//! All numbers are hundredths of a token.

/// Classes.
mod class {
    /// Nothing is there yet.
    pub(super) const START: u8 = 0;
    pub(super) const LOWER: u8 = 1;
    pub(super) const LOWER_RARE: u8 = 2;
    pub(super) const UPPER: u8 = 3;
    pub(super) const UPPER_RARE: u8 = 4;
    pub(super) const DIGIT: u8 = 5;
    pub(super) const SPACE: u8 = 6;
    pub(super) const TAB: u8 = 7;
    pub(super) const NEWLINE: u8 = 8;
    pub(super) const RETURN: u8 = 9;
    pub(super) const SIGN: u8 = 10;
    pub(super) const CONTROL: u8 = 11;
    /// Continuation bytes 80-83, 84-8F, 90-9F, A0-AF, B0-B9, BA-BF: behind a lead byte they tell the block.
    pub(super) const TAIL_80: u8 = 12;
    pub(super) const TAIL_84: u8 = 13;
    pub(super) const TAIL_90: u8 = 14;
    pub(super) const TAIL_A0: u8 = 15;
    pub(super) const TAIL_B0: u8 = 16;
    pub(super) const TAIL_BA: u8 = 17;
    /// Lead bytes.
    pub(super) const C3: u8 = 18;
    pub(super) const C4: u8 = 19;
    pub(super) const TWO: u8 = 20;
    pub(super) const CE: u8 = 21;
    pub(super) const CF: u8 = 22;
    pub(super) const D0: u8 = 23;
    pub(super) const D1: u8 = 24;
    pub(super) const D7: u8 = 25;
    pub(super) const D8: u8 = 26;
    pub(super) const D9: u8 = 27;
    pub(super) const E0: u8 = 28;
    pub(super) const E1: u8 = 29;
    pub(super) const E2: u8 = 30;
    pub(super) const E3: u8 = 31;
    pub(super) const E4: u8 = 32;
    pub(super) const E5: u8 = 33;
    pub(super) const EA: u8 = 34;
    pub(super) const EB: u8 = 35;
    pub(super) const EE: u8 = 36;
    pub(super) const FOUR: u8 = 37;
}
use class::*;

/// What stands in front of a text: a byte that UTF-8 never has, so it is its own class.
pub(super) const BEFORE: u8 = 0xff;

/// Longest run of bytes whose sums fit 16 bits each.
pub(super) const RUN: usize = 128;

/// Hundredths of a token for a byte behind another, by both bytes, the one in front in the lower half: `likely` in the lower half,
/// `most` in the upper, so that one look and one addition sum both. Of its 256 KiB a text needs the few lines of its alphabet.
pub(super) static WEIGHTS: [u32; 1 << 16] = weights();

const fn class_of(byte: u8) -> u8 {
    match byte {
        b'j' | b'k' | b'q' | b'v' | b'w' | b'x' | b'z' => LOWER_RARE,
        b'J' | b'K' | b'Q' | b'V' | b'W' | b'X' | b'Z' => UPPER_RARE,
        b'a'..=b'z' => LOWER,
        b'A'..=b'Z' => UPPER,
        b'0'..=b'9' => DIGIT,
        b' ' => SPACE,
        b'\t' => TAB,
        b'\n' => NEWLINE,
        b'\r' => RETURN,
        0x21..=0x7e => SIGN,
        0..=0x7f => CONTROL,
        0x80..=0x83 => TAIL_80,
        0x84..=0x8f => TAIL_84,
        0x90..=0x9f => TAIL_90,
        0xa0..=0xaf => TAIL_A0,
        0xb0..=0xb9 => TAIL_B0,
        0xba..=0xbf => TAIL_BA,
        0xc3 => C3,
        0xc4 | 0xc5 => C4,
        0xce => CE,
        0xcf => CF,
        0xd0 => D0,
        0xd1 => D1,
        0xd7 => D7,
        0xd8 => D8,
        0xd9 => D9,
        0xc0..=0xdf => TWO,
        0xe0 => E0,
        0xe1 => E1,
        0xe2 => E2,
        0xe3 => E3,
        0xe4 => E4,
        0xe5..=0xe9 => E5,
        0xea => EA,
        0xeb..=0xed => EB,
        0xee | 0xef => EE,
        0xf0..=0xfe => FOUR,
        BEFORE => START,
    }
}

const fn is_letter(class: u8) -> bool {
    matches!(class, LOWER..=UPPER_RARE)
}

const fn is_upper(class: u8) -> bool {
    matches!(class, UPPER | UPPER_RARE)
}

const fn is_rare(class: u8) -> bool {
    matches!(class, LOWER_RARE | UPPER_RARE)
}

/// wire.md 9.1, and for scripts that its texts did not hold what o200k makes of the messages of a program in 25 such languages.
/// A carriage return goes with its newline.
const fn likely(before: u8, class: u8) -> u32 {
    match class {
        LOWER..=UPPER_RARE if is_letter(before) => 12,
        LOWER..=UPPER_RARE => 61,
        DIGIT => 103,
        SPACE | TAB | RETURN => 4,
        NEWLINE => 57,
        SIGN => 48,
        TAIL_80..=TAIL_BA => 0,
        CE | CF | D8 | D9 => 40,
        D7 | E0 | E1 => 50,
        C3..=D9 => 27,
        E3..=EB => 75,
        _ => 150,
    }
}

const fn most(before: u8, class: u8) -> u32 {
    match class {
        LOWER..=UPPER_RARE => letter(before, class),
        // A blank is no part of a number.
        DIGIT | CONTROL if matches!(before, SPACE | TAB) => 200,
        DIGIT => 103,
        SIGN => 100,
        CONTROL => 150,
        SPACE..=RETURN => blank(before, class),
        TAIL_80..=TAIL_BA => block(before, class),
        // Lead bytes: the byte behind them says what they cost. Unknown letters leave the blank alone.
        C3..=FOUR if matches!(before, SPACE | TAB) => 100,
        _ => 0,
    }
}

const fn letter(before: u8, class: u8) -> u32 {
    let rare = is_rare(before) || is_rare(class);
    match (is_letter(before), is_upper(before), is_upper(class)) {
        (false, _, _) => 100,
        (true, false, true) => 100,
        (true, false, false) if rare => 85,
        (true, false, false) => 60,
        (true, true, true) if rare => 95,
        (true, true, true) => 72,
        (true, true, false) if rare => 85,
        (true, true, false) => 66,
    }
}

/// The first blank of a run goes with the word behind it; runs of one kind are merged.
const fn blank(before: u8, class: u8) -> u32 {
    match (before, class) {
        (SPACE, SPACE) | (TAB, TAB) | (NEWLINE, NEWLINE) | (RETURN, NEWLINE) => 57,
        (SPACE..=RETURN, _) => 100,
        (_, SPACE) => 4,
        _ => 100,
    }
}

/// The second byte of a code point, by lead byte and block.
const fn block(lead: u8, tail: u8) -> u32 {
    match (lead, tail) {
        (C3, _) => 150,
        (C4, _) => 180,
        // Greek
        (CE, TAIL_90..=TAIL_BA) => 150,
        (CF, TAIL_80 | TAIL_84) => 150,
        // Cyrillic
        (D0, TAIL_90 | TAIL_A0) => 150,
        (D0, TAIL_B0 | TAIL_BA) => 100,
        (D1, TAIL_80 | TAIL_84) => 100,
        // Hebrew
        (D7, TAIL_90 | TAIL_A0) => 150,
        // Arabic
        (D8, TAIL_A0 | TAIL_B0) => 125,
        (D9, TAIL_80 | TAIL_84) => 125,
        (TWO | CE | CF | D0 | D1 | D7 | D8 | D9, _) => 200,
        // India and Thailand; Lao and Tibetan are in the last rows.
        (E0, TAIL_A0 | TAIL_B0) => 210,
        // Dashes, quotes, currencies
        (E2, TAIL_80) => 200,
        // Kana and their punctuation
        (E3, TAIL_80) => 185,
        // Ideographs
        (E4, TAIL_B0 | TAIL_BA) | (E5, _) => 240,
        // Hangul
        (EA, TAIL_B0 | TAIL_BA) | (EB, _) => 265,
        (E0..=EE, _) => 300,
        (FOUR, _) => 400,
        // Third and fourth bytes
        _ => 0,
    }
}

#[expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "evaluated by the compiler, which checks it; both halves are bytes"
)]
const fn weights() -> [u32; 1 << 16] {
    let mut table = [0; 1 << 16];
    let mut both = 0;
    while both < table.len() {
        let (before, class) = (class_of(both as u8), class_of((both >> 8) as u8));
        if class != START {
            table[both] = likely(before, class) | (most(before, class) << 16);
        }
        both += 1;
    }
    table
}
