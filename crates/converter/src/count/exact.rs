//! Counting by the vocabulary itself, for the models of OpenAI that share `o200k_base`. Milliseconds for 100 KB, more for a text
//! made to be slow: not for a thread that serves others.

use super::{decoded, text, write};
use crate::error::Error;
use crate::estimate::{Counter, walk};
use crate::format::Format;
use crate::json::Text;

/// The vocabulary that all models of OpenAI have had since GPT-4o.
const VOCABULARY: &str = "o200k_base";
/// Models that have it (tiktoken's `model.py`); GPT-4 and GPT-3.5 have an older one.
const FAMILIES: [&str; 9] = [
    "gpt-4o", "gpt-4.1", "gpt-4.5", "gpt-5", "gpt-oss", "chatgpt-", "o1", "o3", "o4",
];
/// Tokens that open the answer (OpenAI's cookbook, «How to count tokens»); a message's own three and its role are in the walk.
const REPLY: u64 = 3;
/// Longest body that is counted so, bytes.
const LONGEST_BODY: usize = 1 << 20;
/// A run of letters and digits is counted in pieces of so many bytes: to merge one costs more than its length, and where it is cut costs a
/// token at most.
const LONGEST_WORD: usize = 4_096;

/// True if the model's vocabulary is at hand.
#[must_use]
pub fn has_vocabulary(model: &str) -> bool {
    let name = model.rsplit('/').next().unwrap_or(model);
    FAMILIES.iter().any(|family| name.starts_with(family))
}

/// As [`super::estimate`], with texts counted exactly; `None` if the model's vocabulary is not at hand or the body is too long. Frames
/// of messages are counted as OpenAI describes them, tools as minified JSON, media flat.
///
/// # Errors
/// Not a request of this format.
pub fn exact(body: &[u8], format: Format, model: &str) -> Result<Option<Vec<u8>>, Error> {
    let Some(vocabulary) = tiktoken::get_encoding(VOCABULARY).filter(|_| has_vocabulary(model)) else {
        return Ok(None);
    };
    if body.len() > LONGEST_BODY {
        return Ok(None);
    }
    let mut exact = Exact {
        vocabulary,
        sum: REPLY,
    };
    walk(&decoded(text(body)?, format)?, &mut exact);
    Ok(Some(write(exact.sum, None, format)))
}

struct Exact {
    vocabulary: &'static tiktoken::CoreBpe,
    sum: u64,
}

impl Counter for Exact {
    fn text(&mut self, text: &Text<'_>) {
        let decoded = text.decode();
        self.sum += pieces(&decoded)
            .map(|piece| self.vocabulary.count(piece) as u64)
            .sum::<u64>();
    }

    fn tokens(&mut self, tokens: u64) {
        self.sum += tokens;
    }
}

/// The text, cut within runs of letters and digits that are longer than [`LONGEST_WORD`], on the edge of a character.
fn pieces(mut text: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        let mut run = 0;
        let cut = text.char_indices().find(|(at, character)| {
            if !character.is_alphanumeric() {
                run = at + character.len_utf8();
            }
            at - run.min(*at) >= LONGEST_WORD
        });
        let (piece, rest) = text.split_at(cut.map_or(text.len(), |(at, _)| at));
        text = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(body: &str, format: Format, model: &str) -> Option<String> {
        let body = exact(body.as_bytes(), format, model).unwrap()?;
        Some(String::from_utf8(body).unwrap())
    }

    #[test]
    fn a_prompt_costs_what_the_cookbook_says() {
        // "hello", "world" and "hello world" are one, one and two tokens of o200k.
        let body = r#"{"model":"gpt-5","messages":[{"role":"user","content":"hello world"}]}"#;
        for model in ["gpt-4o-mini", "gpt-5", "openai/gpt-5.2", "o3-mini"] {
            assert_eq!(
                count(body, Format::Messages, model).unwrap(),
                r#"{"input_tokens":9}"#,
                "{model}"
            );
        }
        for model in ["gpt-4", "gpt-3.5-turbo", "claude-opus-5", "llama"] {
            assert_eq!(count(body, Format::Messages, model), None, "{model}");
        }
        let system = r#"{"systemInstruction":{"parts":[{"text":"hello"}]},"contents":[{"role":"user","parts":[{"text":"\u4f60\u597d"}]}]}"#;
        assert_eq!(
            count(system, Format::Gemini, "gpt-5").unwrap(),
            r#"{"totalTokens":13}"#
        );
    }

    #[test]
    fn what_would_take_long_is_cut_or_left_to_the_estimate() {
        let with = |text: &str| format!(r#"{{"model":"gpt-5","input":"{text}"}}"#);
        let long = count(&with(&"a".repeat(100_000)), Format::Responses, "gpt-5").unwrap();
        assert!(
            long.contains(r#""input_tokens":12"#),
            "eight letters are a token: {long}"
        );
        // Three digits are one.
        let digits = count(&with(&"1".repeat(90_000)), Format::Responses, "gpt-5").unwrap();
        let counted: u64 = digits
            .rsplit(':')
            .next()
            .unwrap()
            .trim_end_matches('}')
            .parse()
            .unwrap();
        assert!((30_000..30_060).contains(&counted), "{counted}");
        let whole = "word ".repeat(3_000) + &"x".repeat(5_000) + "é, y";
        assert_eq!(pieces(&whole).collect::<String>(), whole);
        assert_eq!(pieces(&whole).count(), 2);
        assert_eq!(
            count(&with(&"a ".repeat(600_000)), Format::Responses, "gpt-5"),
            None
        );
    }
}
