//! Why a model stopped: one canonical list and its spellings (conversion.md 12.4).

use std::borrow::Cow;

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

impl Stop<'_> {
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
