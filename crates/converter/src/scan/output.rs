//! What a request says about the size of its answer: the members that bound it, and how many answers there are.

use std::ops::Range;

use super::Scan;
use crate::error::Error;
use crate::format::Format;
use crate::json::{Kind, Reader};

/// A bound that is none: a negative number (llama.cpp and Ollama read -1 as "without end"), or what is no number.
pub const UNBOUNDED: u64 = u64::MAX;

/// A member that bounds the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bounding {
    /// `max_tokens`: Chat's old name, completions, Messages.
    MaxTokens,
    /// `max_completion_tokens`: Chat.
    MaxCompletionTokens,
    /// `max_output_tokens`: Responses.
    MaxOutputTokens,
    /// `maxOutputTokens` in `generationConfig`, in any of the spellings: Gemini.
    Config,
    /// `budget_tokens` in `thinking`, unless its type takes no budget: Messages. It must stay below `max_tokens`.
    ThinkingBudget,
}

/// One place of a member that bounds the output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputBound {
    /// Which member it is.
    pub member: Bounding,
    /// Tokens; [`UNBOUNDED`] for what bounds nothing; `None` for `null`, which counts as absent.
    pub tokens: Option<u64>,
    /// Where the value stands.
    pub at: Range<usize>,
}

/// One place of Gemini's `generationConfig`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigPlace {
    /// Where its value stands.
    pub at: Range<usize>,
    /// Byte offset behind its opening brace; `None`: it is `null`.
    pub members_at: Option<usize>,
    /// Nothing is in it.
    pub empty: bool,
    /// `maxOutputTokens` is in it, be it `null`.
    pub bounded: bool,
}

impl Scan<'_> {
    /// How many answers are asked for, each of them as long as the output bound: `n` or `best_of` for every prompt (Chat and
    /// completions), `candidateCount` (Gemini); else 1.
    #[must_use]
    pub fn choices(&self, format: Format) -> u64 {
        let asked = match format {
            Format::Chat => self.n.max(1).saturating_mul(self.prompts.max(1)),
            Format::Gemini => self.candidates,
            Format::Responses | Format::Messages => 1,
        };
        asked.max(1)
    }
}

/// A top-level `max_tokens` and its like. `null` and -1 bound nothing.
pub(super) fn bound(found: &mut Scan<'_>, reader: &mut Reader<'_>, member: Bounding) -> Result<(), Error> {
    let start = reader.offset();
    let tokens = if reader.null()? {
        None
    } else {
        Some(tokens(reader.number()?.get()))
    };
    note(found, member, tokens, start..reader.offset_behind());
    Ok(())
}

fn note(found: &mut Scan<'_>, member: Bounding, tokens: Option<u64>, at: Range<usize>) {
    if let Some(tokens) = tokens {
        found.max_tokens = Some(tokens).filter(|tokens| *tokens != UNBOUNDED);
    }
    found.bounds.push(OutputBound { member, tokens, at });
}

/// A number of tokens as the source spells it; a fraction is rounded up.
fn tokens(number: &str) -> u64 {
    if number.starts_with('-') {
        return UNBOUNDED;
    }
    number.parse().unwrap_or_else(|_| {
        let value = number.parse::<f64>().ok().filter(|value| !value.is_nan());
        let value = value.map_or(f64::INFINITY, f64::ceil);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a float cast saturates at both ends"
        )]
        let value = value as u64;
        value
    })
}

/// `n`, `best_of`, `candidateCount`: the larger of what was seen and what stands here. What is no number is the upstream's to refuse.
pub(super) fn answers(count: &mut u64, reader: &mut Reader<'_>) -> Result<(), Error> {
    match reader.kind() {
        Kind::Number => *count = (*count).max(tokens(reader.number()?.get())),
        _ => reader.skip()?,
    }
    Ok(())
}

/// `prompt` of a completion: several prompts in one list are answered one by one; a list of numbers is one prompt.
pub(super) fn prompts(found: &mut Scan<'_>, reader: &mut Reader<'_>) -> Result<(), Error> {
    let mut count = 0;
    reader.array(|reader, _| {
        count += u64::from(reader.kind() != Kind::Number);
        reader.skip()
    })?;
    found.prompts = found.prompts.max(count);
    Ok(())
}

/// `thinking`: where the budget stands, if its type takes one.
pub(super) fn thinking(found: &mut Scan<'_>, reader: &mut Reader<'_>) -> Result<(), Error> {
    let before = found.bounds.len();
    let mut takes_budget = true;
    reader.object(|reader, key| {
        match (&**key, reader.kind()) {
            ("type", Kind::String) => takes_budget = reader.text()?.is("enabled"),
            ("budget_tokens", Kind::Number) => {
                let start = reader.offset();
                let tokens = Some(tokens(reader.number()?.get()));
                let at = start..reader.offset_behind();
                let member = Bounding::ThinkingBudget;
                found.bounds.push(OutputBound { member, tokens, at });
            }
            _ => reader.skip()?,
        }
        Ok(())
    })?;
    if !takes_budget {
        found.bounds.truncate(before);
    }
    Ok(())
}

/// Gemini's `generationConfig`.
pub(super) fn config(found: &mut Scan<'_>, reader: &mut Reader<'_>) -> Result<(), Error> {
    let start = reader.offset();
    let mut place = ConfigPlace {
        at: start..start,
        members_at: None,
        empty: true,
        bounded: false,
    };
    if !reader.null()? {
        place.members_at = Some(start + 1);
        reader.object(|reader, key| {
            place.empty = false;
            match &**key {
                "maxOutputTokens" | "max_output_tokens" => {
                    place.bounded = true;
                    config_bound(found, reader)
                }
                "candidateCount" | "candidate_count" => answers(&mut found.candidates, reader),
                _ => reader.skip(),
            }
        })?;
    }
    place.at = start..reader.offset_behind();
    found.configs.push(place);
    Ok(())
}

/// Google reads numbers in quotes too; what is no number bounds nothing and is Google's to refuse.
fn config_bound(found: &mut Scan<'_>, reader: &mut Reader<'_>) -> Result<(), Error> {
    let start = reader.offset();
    let tokens = match reader.kind() {
        Kind::Null => {
            reader.null()?;
            None
        }
        Kind::Number => Some(tokens(reader.number()?.get())),
        Kind::String => Some(tokens(reader.text()?.decode().trim())),
        _ => {
            reader.skip()?;
            Some(UNBOUNDED)
        }
    };
    note(found, Bounding::Config, tokens, start..reader.offset_behind());
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::Format;
    use crate::scan::{Bounding, scan};

    fn bounds(body: &str) -> Vec<(Bounding, Option<u64>, &str)> {
        let found = scan(body.as_bytes()).unwrap();
        found
            .bounds
            .iter()
            .map(|bound| (bound.member, bound.tokens, &body[bound.at.clone()]))
            .collect()
    }

    #[test]
    fn every_place_of_every_bound_is_told() {
        use Bounding::{Config, MaxCompletionTokens, MaxOutputTokens, MaxTokens, ThinkingBudget};
        let body = r#"{"max_tokens" : 5 ,"max\u005ftokens":null,"max_completion_tokens":1.2e1,"max_output_tokens":-1}"#;
        assert_eq!(
            bounds(body),
            [
                (MaxTokens, Some(5), "5"),
                (MaxTokens, None, "null"),
                (MaxCompletionTokens, Some(12), "1.2e1"),
                (MaxOutputTokens, Some(u64::MAX), "-1"),
            ]
        );
        let body = r#"{"generationConfig":{"x":{"maxOutputTokens":1},"maxOutputTokens":7},"generation_config":{"max_output_tokens":"8"}}"#;
        assert_eq!(bounds(body), [(Config, Some(7), "7"), (Config, Some(8), "\"8\"")]);
        let body = r#"{"thinking":{"budget_tokens":2048,"type":"enabled"},"max_tokens":4096}"#;
        assert_eq!(
            bounds(body),
            [
                (ThinkingBudget, Some(2048), "2048"),
                (MaxTokens, Some(4096), "4096")
            ]
        );
        assert_eq!(
            bounds(r#"{"thinking":{"budget_tokens":2048,"type":"disabled"}}"#),
            []
        );
    }

    #[test]
    fn a_bound_of_minus_one_is_none() {
        let found = |body: &str| scan(body.as_bytes()).unwrap().max_tokens;
        assert_eq!(found(r#"{"max_tokens":-1}"#), None);
        assert_eq!(found(r#"{"max_tokens":12}"#), Some(12));
        assert_eq!(found(r#"{"generationConfig":{"maxOutputTokens":12}}"#), Some(12));
        assert!(scan(br#"{"max_tokens":"12"}"#).is_err());
    }

    #[test]
    fn places_of_a_config_are_told() {
        let found = |body: &str| {
            let configs = scan(body.as_bytes()).unwrap().configs;
            let config = configs.first().unwrap();
            (config.members_at, config.empty, config.bounded)
        };
        assert_eq!(found(r#"{"generationConfig": { } }"#), (Some(22), true, false));
        assert_eq!(found(r#"{"generationConfig":null}"#), (None, true, false));
        assert_eq!(
            found(r#"{"generation_config":{"topK":1,"maxOutputTokens":null}}"#),
            (Some(22), false, true)
        );
    }

    #[test]
    fn answers_are_counted_by_the_format_that_asks_for_them() {
        let check = |body: &str, format, wanted| {
            assert_eq!(scan(body.as_bytes()).unwrap().choices(format), wanted, "{body}");
        };
        check(r#"{}"#, Format::Chat, 1);
        check(r#"{"n":3}"#, Format::Chat, 3);
        check(r#"{"n":3}"#, Format::Messages, 1);
        check(r#"{"n":0,"best_of":4}"#, Format::Chat, 4);
        check(r#"{"n":"two"}"#, Format::Chat, 1);
        check(r#"{"prompt":["a","b",[1,2]],"n":2}"#, Format::Chat, 6);
        check(r#"{"prompt":[1,2,3]}"#, Format::Chat, 1);
        check(r#"{"generationConfig":{"candidateCount":2}}"#, Format::Gemini, 2);
        check(r#"{"n":-1,"prompt":["a","b"]}"#, Format::Chat, u64::MAX);
    }
}
