//! Sentences that clients of a format take apart: agents shorten their history or choose another model by them (wire.md 6.2).

use std::borrow::Cow;

use super::{Failure, FailureClass};
use crate::format::Format;

/// The message of a failure in the words that a format's clients know.
pub(super) fn sentence(failure: &Failure, format: Format) -> Cow<'_, str> {
    let message = failure.message.as_ref();
    let spoken = match (failure.class, format) {
        (FailureClass::ContextOverflow, Format::Messages) => Some(match token_counts(message) {
            Some((prompt, limit)) => format!("prompt is too long: {prompt} tokens > {limit} maximum"),
            None if message.starts_with("prompt is too long") => return Cow::Borrowed(message),
            None => format!("prompt is too long: {message}"),
        }),
        (FailureClass::ContextOverflow, Format::Gemini) => token_counts(message).map(|(prompt, limit)| {
            format!(
                "The input token count ({prompt}) exceeds the maximum number of tokens allowed ({limit})."
            )
        }),
        (FailureClass::ModelNotFound, Format::Messages) => {
            model_name(message).map(|model| format!("model: {model}"))
        }
        _ => None,
    };
    spoken.map_or(Cow::Borrowed(message), Cow::Owned)
}

/// How long the prompt is and how long it may be: the largest number, and the largest below it.
fn token_counts(message: &str) -> Option<(u64, u64)> {
    let numbers: Vec<u64> = message
        .split(|c: char| !(c.is_ascii_alphanumeric() || "-_.,/".contains(c)))
        .map(|word| word.trim_end_matches(['.', ',']).replace(',', ""))
        .filter_map(|word| word.parse().ok())
        .collect();
    let prompt = *numbers.iter().max()?;
    let limit = *numbers.iter().filter(|number| **number < prompt).max()?;
    (limit > 0).then_some((prompt, limit))
}

/// The model that a message names in quotes, or as Google does.
fn model_name(message: &str) -> Option<&str> {
    let quoted = ['`', '\'', '"'].iter().find_map(|quote| {
        let (_, behind) = message.split_once(*quote)?;
        Some(behind.split_once(*quote)?.0)
    });
    let named = || {
        let behind = ["models/", "model: "]
            .iter()
            .find_map(|mark| Some(message.split_once(mark)?.1))?;
        behind.split([' ', ',']).next()
    };
    quoted
        .or_else(named)
        .map(|name| name.trim_start_matches("models/").trim_end_matches('.'))
        .filter(|name| !name.is_empty() && !name.contains(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overflow_is_told_as_every_agent_understands_it() {
        let cases = [
            "prompt is too long: 200123 tokens > 200000 maximum",
            "This model's maximum context length is 200000 tokens. However, your messages resulted in 200123 tokens. Please reduce the length of the messages.",
            "This model's maximum context length is 200000 tokens. However, you requested 200123 tokens (190000 in the messages, 10123 in the completion).",
            "The input token count (200123) exceeds the maximum number of tokens allowed (200000).",
            "This model's maximum prompt length is 200,000 but the request contains 200,123 tokens.",
            "Prompt contains 200123 tokens, too large for model claude-3-7-sonnet-20250219 with 200000 maximum context length",
        ];
        for message in cases {
            let failure = Failure::new(FailureClass::ContextOverflow, message);
            assert_eq!(
                sentence(&failure, Format::Messages),
                "prompt is too long: 200123 tokens > 200000 maximum",
                "{message}"
            );
            assert_eq!(
                sentence(&failure, Format::Gemini),
                "The input token count (200123) exceeds the maximum number of tokens allowed (200000).",
            );
            assert_eq!(sentence(&failure, Format::Chat), message);
        }
        let vague = Failure::new(
            FailureClass::ContextOverflow,
            "Input is too long for requested model.",
        );
        assert_eq!(
            sentence(&vague, Format::Messages),
            "prompt is too long: Input is too long for requested model."
        );
    }

    #[test]
    fn an_unknown_model_is_named() {
        for (message, wanted) in [
            ("The model `gpt-x` does not exist.", "model: gpt-x"),
            (
                "models/gemini-x is not found for API version v1beta, or is not supported.",
                "model: gemini-x",
            ),
            ("model: claude-x", "model: claude-x"),
            ("No such model.", "No such model."),
        ] {
            let failure = Failure::new(FailureClass::ModelNotFound, message);
            assert_eq!(sentence(&failure, Format::Messages), wanted);
        }
    }
}
