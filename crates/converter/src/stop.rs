//! Why a model stopped: one canonical list and its spellings (conversion.md 12.4).

use std::borrow::Cow;

use crate::format::Format;
use crate::json::Text;

/// The canonical reason why generation ended.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Stop<'a> {
    /// The model was done.
    #[default]
    EndTurn,
    /// A stop sequence of the request was met.
    StopSequence(Option<Text<'a>>),
    /// The output limit of the request was reached.
    MaxTokens,
    /// The model wants client tools to be run.
    ToolUse,
    /// The model refused.
    Refusal {
        /// The vendor's category, if any.
        category: Option<Text<'a>>,
        /// The vendor's explanation, if any.
        explanation: Option<Text<'a>>,
    },
    /// A filter cut the answer; the vendor's own name of the reason (`SAFETY`, `RECITATION`), `prompt:…` if the prompt was blocked.
    Filtered(Cow<'a, str>),
    /// The vendor paused a long turn.
    Pause,
    /// The context window is full.
    ContextFull,
    /// The history was compacted.
    Compacted,
    /// Gemini: to be continued with this token.
    Continuation(Text<'a>),
    /// The model produced something unreadable; the vendor's name of it (`MALFORMED_FUNCTION_CALL`).
    Malformed(Cow<'a, str>),
    /// The vendor reports a failure instead of an answer.
    Failed(Cow<'a, str>),
    /// Anything else; the vendor's word.
    Unknown(Cow<'a, str>),
}

/// Gemini's reasons that mean a filter.
const GEMINI_FILTERS: &[&str] = &[
    "SAFETY",
    "RECITATION",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "SPII",
    "LANGUAGE",
    "ESCALATION",
    "MODEL_ARMOR",
    "IMAGE_SAFETY",
    "IMAGE_PROHIBITED_CONTENT",
    "IMAGE_RECITATION",
    "PUP_LIMITED_DISABLED",
];
/// Gemini's reasons that mean an unreadable answer.
const GEMINI_MALFORMED: &[&str] = &[
    "MALFORMED_FUNCTION_CALL",
    "UNEXPECTED_TOOL_CALL",
    "MALFORMED_RESPONSE",
    "MISSING_THOUGHT_SIGNATURE",
];

impl<'a> Stop<'a> {
    /// Chat's `finish_reason`.
    #[must_use]
    pub fn from_chat(word: Cow<'a, str>) -> Self {
        match word.as_ref() {
            "stop" => Stop::EndTurn,
            "length" => Stop::MaxTokens,
            "tool_calls" | "function_call" => Stop::ToolUse,
            "content_filter" => Stop::Filtered(word),
            "error" => Stop::Failed(word),
            _ => Stop::Unknown(word),
        }
    }

    /// Messages' `stop_reason`; sequence and details come from beside it.
    #[must_use]
    pub fn from_messages(
        word: Cow<'a, str>,
        sequence: Option<Text<'a>>,
        details: (Option<Text<'a>>, Option<Text<'a>>),
    ) -> Self {
        match word.as_ref() {
            "end_turn" => Stop::EndTurn,
            "max_tokens" => Stop::MaxTokens,
            "stop_sequence" => Stop::StopSequence(sequence),
            "tool_use" => Stop::ToolUse,
            "pause_turn" => Stop::Pause,
            "refusal" => Stop::Refusal {
                category: details.0,
                explanation: details.1,
            },
            "model_context_window_exceeded" => Stop::ContextFull,
            "compaction" => Stop::Compacted,
            _ => Stop::Unknown(word),
        }
    }

    /// Gemini's `finishReason`.
    #[must_use]
    pub fn from_gemini(word: Cow<'a, str>) -> Self {
        match word.as_ref() {
            "STOP" => Stop::EndTurn,
            "MAX_TOKENS" => Stop::MaxTokens,
            "TOO_MANY_TOOL_CALLS" => Stop::Pause,
            "CONTINUATION" => Stop::Continuation(Text::default()),
            filter if GEMINI_FILTERS.contains(&filter) => Stop::Filtered(word),
            malformed if GEMINI_MALFORMED.contains(&malformed) => Stop::Malformed(word),
            _ => Stop::Unknown(word),
        }
    }

    /// Responses' `incomplete_details.reason`.
    #[must_use]
    pub fn from_incomplete(reason: Cow<'a, str>) -> Self {
        match reason.as_ref() {
            "content_filter" => Stop::Filtered(reason),
            "max_messages" | "steered" => Stop::Pause,
            _ => Stop::MaxTokens,
        }
    }
}

impl Stop<'_> {
    /// Chat's word.
    #[must_use]
    pub fn chat(&self, legacy_functions: bool) -> &'static str {
        match self {
            Stop::MaxTokens | Stop::Pause | Stop::ContextFull | Stop::Compacted | Stop::Continuation(_) => {
                "length"
            }
            Stop::ToolUse if legacy_functions => "function_call",
            Stop::ToolUse => "tool_calls",
            Stop::Refusal { .. } | Stop::Filtered(_) => "content_filter",
            Stop::EndTurn
            | Stop::StopSequence(_)
            | Stop::Malformed(_)
            | Stop::Failed(_)
            | Stop::Unknown(_) => "stop",
        }
    }

    /// Messages' word.
    #[must_use]
    pub fn messages(&self) -> &'static str {
        match self {
            Stop::StopSequence(_) => "stop_sequence",
            Stop::MaxTokens | Stop::Continuation(_) | Stop::Pause => "max_tokens",
            Stop::ToolUse => "tool_use",
            Stop::Refusal { .. } | Stop::Filtered(_) => "refusal",
            Stop::ContextFull => "model_context_window_exceeded",
            Stop::Compacted => "compaction",
            Stop::EndTurn | Stop::Malformed(_) | Stop::Failed(_) | Stop::Unknown(_) => "end_turn",
        }
    }

    /// Gemini's word.
    #[must_use]
    pub fn gemini(&self) -> &'static str {
        match self {
            Stop::EndTurn | Stop::StopSequence(_) | Stop::ToolUse => "STOP",
            Stop::MaxTokens | Stop::Pause | Stop::ContextFull | Stop::Compacted => "MAX_TOKENS",
            Stop::Refusal { .. } => "SAFETY",
            Stop::Filtered(name) => GEMINI_FILTERS
                .iter()
                .find(|known| *known == name)
                .copied()
                .unwrap_or("SAFETY"),
            Stop::Continuation(_) => "CONTINUATION",
            Stop::Malformed(_) => "MALFORMED_FUNCTION_CALL",
            Stop::Failed(_) | Stop::Unknown(_) => "OTHER",
        }
    }

    /// Responses' `incomplete_details.reason`; `None` if the answer is complete.
    #[must_use]
    pub fn incomplete(&self) -> Option<&'static str> {
        match self {
            Stop::MaxTokens | Stop::Pause | Stop::ContextFull | Stop::Compacted | Stop::Continuation(_) => {
                Some("max_output_tokens")
            }
            Stop::Filtered(_) => Some("content_filter"),
            _ => None,
        }
    }

    /// The upstream's own word, where the reason came from an upstream that speaks `format`; empty if it gave none. Two are known in
    /// substance only: Chat's old `function_call`, and what exactly made a Responses answer incomplete.
    #[must_use]
    pub fn word(&self, format: Format) -> &str {
        match (self, format) {
            (Stop::Filtered(word), _) => word.strip_prefix("prompt:").unwrap_or(word),
            (Stop::Malformed(word) | Stop::Failed(word) | Stop::Unknown(word), _) => word,
            (Stop::Pause, Format::Messages) => "pause_turn",
            (Stop::Compacted, Format::Messages) => "compaction",
            (Stop::Pause, Format::Gemini) => "TOO_MANY_TOOL_CALLS",
            (Stop::Pause, Format::Responses) => "incomplete",
            (_, Format::Chat) => self.chat(false),
            (_, Format::Messages) => self.messages(),
            (_, Format::Gemini) => self.gemini(),
            (_, Format::Responses) => self.incomplete().unwrap_or("completed"),
        }
    }

    /// True if no format but the upstream's own can say it exactly: the native word is then worth a header.
    #[must_use]
    pub fn is_ambiguous(&self) -> bool {
        !matches!(self, Stop::EndTurn | Stop::MaxTokens | Stop::ToolUse)
    }

    /// Settles the reason by what was produced: upstreams say `stop` after tool calls and the reverse (conversion.md 12.4).
    #[must_use]
    pub fn corrected(self, has_tool_calls: bool) -> Self {
        match self {
            Stop::EndTurn | Stop::Unknown(_) if has_tool_calls => Stop::ToolUse,
            Stop::ToolUse if !has_tool_calls => Stop::EndTurn,
            other => other,
        }
    }

    /// The same reason without a borrow of the source.
    #[must_use]
    pub fn into_owned(self) -> Stop<'static> {
        fn own(text: Cow<'_, str>) -> Cow<'static, str> {
            Cow::Owned(text.into_owned())
        }
        match self {
            Stop::EndTurn => Stop::EndTurn,
            Stop::StopSequence(text) => Stop::StopSequence(text.map(Text::into_owned)),
            Stop::MaxTokens => Stop::MaxTokens,
            Stop::ToolUse => Stop::ToolUse,
            Stop::Refusal {
                category,
                explanation,
            } => Stop::Refusal {
                category: category.map(Text::into_owned),
                explanation: explanation.map(Text::into_owned),
            },
            Stop::Filtered(name) => Stop::Filtered(own(name)),
            Stop::Pause => Stop::Pause,
            Stop::ContextFull => Stop::ContextFull,
            Stop::Compacted => Stop::Compacted,
            Stop::Continuation(token) => Stop::Continuation(token.into_owned()),
            Stop::Malformed(name) => Stop::Malformed(own(name)),
            Stop::Failed(name) => Stop::Failed(own(name)),
            Stop::Unknown(name) => Stop::Unknown(own(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// P17: every word maps to one canonical value and back to a word of each format.
    #[test]
    fn every_reason_maps_to_a_legal_word_everywhere() {
        let chat = ["stop", "length", "tool_calls", "content_filter", "function_call"];
        let messages = [
            "end_turn",
            "max_tokens",
            "stop_sequence",
            "tool_use",
            "pause_turn",
            "refusal",
            "model_context_window_exceeded",
            "compaction",
        ];
        let mut all: Vec<Stop<'_>> = chat.iter().map(|word| Stop::from_chat((*word).into())).collect();
        all.extend(
            messages
                .iter()
                .map(|word| Stop::from_messages((*word).into(), None, (None, None))),
        );
        all.extend(
            GEMINI_FILTERS
                .iter()
                .chain(GEMINI_MALFORMED)
                .map(|word| Stop::from_gemini((*word).into())),
        );
        for word in ["STOP", "MAX_TOKENS", "OTHER", "", "hologram"] {
            all.push(Stop::from_gemini(word.into()));
            all.push(Stop::from_chat(word.into()));
        }
        for stop in all {
            assert!(
                chat.contains(&stop.chat(false)) && chat.contains(&stop.chat(true)),
                "{stop:?}"
            );
            assert!(messages.contains(&stop.messages()), "{stop:?}");
            assert!(!stop.gemini().is_empty());
        }
        assert_eq!(Stop::from_gemini("RECITATION".into()).gemini(), "RECITATION");
        for word in [
            "stop",
            "length",
            "tool_calls",
            "content_filter",
            "error",
            "eos",
            "",
        ] {
            assert_eq!(Stop::from_chat(word.into()).word(Format::Chat), word);
        }
        for word in messages.iter().chain(&["new_reason"]) {
            let stop = Stop::from_messages((*word).into(), None, (None, None));
            assert_eq!(stop.word(Format::Messages), *word);
        }
        let others = [
            "STOP",
            "MAX_TOKENS",
            "TOO_MANY_TOOL_CALLS",
            "CONTINUATION",
            "OTHER",
        ];
        for word in GEMINI_FILTERS.iter().chain(GEMINI_MALFORMED).chain(&others) {
            assert_eq!(Stop::from_gemini((*word).into()).word(Format::Gemini), *word);
        }
        for word in ["max_output_tokens", "content_filter"] {
            assert_eq!(Stop::from_incomplete(word.into()).word(Format::Responses), word);
        }
        assert_eq!(Stop::EndTurn.word(Format::Responses), "completed");
        assert_eq!(
            Stop::Filtered("prompt:SAFETY".into()).word(Format::Gemini),
            "SAFETY"
        );
        assert_eq!(Stop::EndTurn.corrected(true), Stop::ToolUse);
        assert_eq!(Stop::ToolUse.corrected(false), Stop::EndTurn);
    }
}
