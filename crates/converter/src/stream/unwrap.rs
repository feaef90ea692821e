//! A custom tool's free text, taken out of `{"input":"…"}` while it streams.

use crate::json::Text;

/// Takes fragments of the JSON object and gives back the decoded text of its one string.
#[derive(Debug, Default)]
pub(crate) struct InputUnwrapper {
    /// Read, but not yet decided: the opening, or an escape cut in two.
    held: String,
    inside: bool,
    done: bool,
}

impl InputUnwrapper {
    /// The text that `fragment` adds.
    pub(crate) fn push(&mut self, fragment: &str) -> String {
        if self.done {
            return String::new();
        }
        self.held.push_str(fragment);
        if !self.inside && !self.open() {
            return String::new();
        }
        let (text, rest, done) = split(&self.held);
        let out = Text::Escaped(text).decode().into_owned();
        self.held = rest.to_owned();
        self.done = done;
        out
    }

    /// Looks for the quote that opens the value of the first member.
    fn open(&mut self) -> bool {
        let Some(colon) = self.held.find(':') else {
            // Free text that was no object after all.
            if !self.held.trim_start().starts_with('{') && !self.held.trim_start().is_empty() {
                self.inside = true;
            }
            return self.inside;
        };
        let Some(quote) = self.held.get(colon + 1..).and_then(|rest| rest.find('"')) else {
            return false;
        };
        self.held.drain(..colon + 1 + quote + 1);
        self.inside = true;
        true
    }
}

/// Whole characters, what must wait for more, and whether the string ended.
fn split(text: &str) -> (&str, &str, bool) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => return (text.get(..at).unwrap_or_default(), "", true),
            b'\\' => {
                let length = match bytes.get(at + 1) {
                    None => 0,
                    Some(b'u') if is_high_surrogate(text.get(at + 2..at + 6)) => 12,
                    Some(b'u') => 6,
                    Some(_) => 2,
                };
                if length == 0 || at + length > bytes.len() {
                    return (
                        text.get(..at).unwrap_or_default(),
                        text.get(at..).unwrap_or_default(),
                        false,
                    );
                }
                at += length;
            }
            _ => at += 1,
        }
    }
    (text, "", false)
}

fn is_high_surrogate(digits: Option<&str>) -> bool {
    digits
        .and_then(|digits| u32::from_str_radix(digits, 16).ok())
        .is_some_and(|unit| (0xd800..0xdc00).contains(&unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_the_same_in_every_split() {
        let whole = r#"{"input":"a\n\u00e9 \"q\" \ud83d\ude00 ünd"}"#;
        for split in 1..whole.len() {
            let mut unwrap = InputUnwrapper::default();
            let mut out = String::new();
            let chars: Vec<char> = whole.chars().collect();
            for piece in chars.chunks(split) {
                out.push_str(&unwrap.push(&piece.iter().collect::<String>()));
            }
            assert_eq!(out, "a\né \"q\" 😀 ünd", "pieces of {split}");
        }
    }
}
