//! Characters beyond the first plane that a model cut in two: one half at the end of a delta, the other at the start of the next
//! (wire.md 2.3). The first half waits for the second; a half without its partner becomes U+FFFD.

use memchr::memchr;

use crate::json::Text;

/// The half that one block holds back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Half(Option<[u8; 4]>);

impl Half {
    /// The text with whole characters only.
    pub(super) fn join<'t>(&mut self, text: Text<'t>) -> Text<'t> {
        let Text::Escaped(inside) = text else {
            return match self.0.take() {
                Some(_) if !text.is_empty() => format!("\u{fffd}{}", text.decode()).into(),
                held => {
                    self.0 = held;
                    text
                }
            };
        };
        if inside.is_empty() || (self.0.is_none() && !has_half(inside)) {
            return text;
        }
        let mut whole = String::with_capacity(inside.len() + 6);
        if let Some(digits) = self.0.take() {
            whole.push_str("\\u");
            whole.extend(digits.map(char::from));
        }
        whole.push_str(inside);
        if let Some(at) = last_half(&whole) {
            self.0 = whole
                .as_bytes()
                .get(at + 2..at + 6)
                .and_then(|digits| digits.try_into().ok());
            whole.truncate(at);
        }
        Text::Escaped(&whole).into_owned()
    }

    /// What stands for a half that never found its partner.
    pub(super) fn rest(&mut self) -> Option<Text<'static>> {
        self.0.take().map(|_| Text::from("\u{fffd}"))
    }
}

/// The UTF-16 units of the `\u` escapes of a JSON string, with their places.
fn units(inside: &str) -> impl Iterator<Item = (usize, u16)> {
    let bytes = inside.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let escape = at + memchr(b'\\', bytes.get(at..)?)?;
            if bytes.get(escape + 1) != Some(&b'u') {
                at = escape + 2;
                continue;
            }
            at = escape + 6;
            let unit = u16::from_str_radix(inside.get(escape + 2..escape + 6)?, 16).ok()?;
            return Some((escape, unit));
        }
    })
}

/// The unpaired halves, with the place of each.
fn halves(inside: &str) -> impl Iterator<Item = (usize, u16)> {
    let mut units = units(inside).peekable();
    std::iter::from_fn(move || {
        loop {
            let (at, unit) = units.next()?;
            let pair = units
                .next_if(|(next, low)| is_high(unit) && *next == at + 6 && (0xdc00..0xe000).contains(low));
            if pair.is_none() && (0xd800..0xe000).contains(&unit) {
                return Some((at, unit));
            }
        }
    })
}

fn has_half(inside: &str) -> bool {
    memchr(b'\\', inside.as_bytes()).is_some() && halves(inside).next().is_some()
}

/// Where a first half stands at the very end.
fn last_half(inside: &str) -> Option<usize> {
    let (at, unit) = halves(inside).last()?;
    (is_high(unit) && at + 6 == inside.len()).then_some(at)
}

fn is_high(unit: u16) -> bool {
    (0xd800..0xdc00).contains(&unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(pieces: &[&str]) -> String {
        let mut half = Half::default();
        let mut out = String::new();
        for piece in pieces {
            out.push_str(&half.join(Text::Escaped(piece)).decode());
        }
        out.extend(half.rest().map(|text| text.decode().into_owned()));
        out
    }

    #[test]
    fn halves_find_each_other_across_deltas_and_lone_ones_are_replaced() {
        assert_eq!(joined(&["a\\ud83d", "\\ude00b"]), "a😀b");
        assert_eq!(joined(&["\\ud83d", "", "\\ude00"]), "😀");
        assert_eq!(joined(&["a\\ud83d", "b"]), "a\u{fffd}b");
        assert_eq!(joined(&["\\ude00x\\ud83dy"]), "\u{fffd}x\u{fffd}y");
        assert_eq!(joined(&["a\\ud83d"]), "a\u{fffd}");
        assert_eq!(joined(&["\\ud83d\\ude00", "\\\\ud83d"]), "😀\\ud83d");
    }

    #[test]
    fn ordinary_text_keeps_its_spelling() {
        let mut half = Half::default();
        for text in ["plain", "\\u00e9\\n", "\\ud83d\\ude00", "\\\\ud83d"] {
            assert!(matches!(half.join(Text::Escaped(text)), Text::Escaped(same) if same == text));
        }
    }
}
