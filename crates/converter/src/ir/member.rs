//! How each format spells the members that the IR carries: one table, for reports and errors.

use crate::format::Format;

/// A request member that has a place in the IR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "each is the member of the same name in the table below"
)]
pub enum Member {
    Temperature,
    TopP,
    TopK,
    FrequencyPenalty,
    PresencePenalty,
    Seed,
    Candidates,
    MaxTokens,
    Stop,
    Logprobs,
    Effort,
    Output,
    Verbosity,
    CacheKey,
    Cache,
    User,
    SafetyIdentifier,
    Metadata,
    Tier,
    Store,
    ToolChoice,
    Parallel,
    Tools,
    Modalities,
    Speech,
    CacheOptions,
    Compared,
    ToolCalls,
    Container,
}

impl Member {
    /// The client's spelling.
    #[must_use]
    pub fn path(self, format: Format) -> &'static str {
        let (_, chat, responses, messages, gemini) = TABLE
            .iter()
            .find(|row| row.0 == self)
            .copied()
            .unwrap_or((self, "", "", "", ""));
        match format {
            Format::Chat => chat,
            Format::Responses => responses,
            Format::Messages => messages,
            Format::Gemini => gemini,
        }
    }
}

type Row = (Member, &'static str, &'static str, &'static str, &'static str);

const TABLE: &[Row] = &[
    (
        Member::Temperature,
        "temperature",
        "temperature",
        "temperature",
        "generationConfig.temperature",
    ),
    (Member::TopP, "top_p", "top_p", "top_p", "generationConfig.topP"),
    (Member::TopK, "top_k", "top_k", "top_k", "generationConfig.topK"),
    (
        Member::FrequencyPenalty,
        "frequency_penalty",
        "frequency_penalty",
        "frequency_penalty",
        "generationConfig.frequencyPenalty",
    ),
    (
        Member::PresencePenalty,
        "presence_penalty",
        "presence_penalty",
        "presence_penalty",
        "generationConfig.presencePenalty",
    ),
    (Member::Seed, "seed", "seed", "seed", "generationConfig.seed"),
    (
        Member::Candidates,
        "n",
        "n",
        "n",
        "generationConfig.candidateCount",
    ),
    (
        Member::MaxTokens,
        "max_completion_tokens",
        "max_output_tokens",
        "max_tokens",
        "generationConfig.maxOutputTokens",
    ),
    (
        Member::Stop,
        "stop",
        "stop",
        "stop_sequences",
        "generationConfig.stopSequences",
    ),
    (
        Member::Logprobs,
        "logprobs",
        "top_logprobs",
        "logprobs",
        "generationConfig.responseLogprobs",
    ),
    (
        Member::Effort,
        "reasoning_effort",
        "reasoning.effort",
        "thinking",
        "generationConfig.thinkingConfig",
    ),
    (
        Member::Output,
        "response_format",
        "text.format",
        "output_config.format",
        "generationConfig.responseMimeType",
    ),
    (
        Member::Verbosity,
        "verbosity",
        "text.verbosity",
        "verbosity",
        "verbosity",
    ),
    (
        Member::CacheKey,
        "prompt_cache_key",
        "prompt_cache_key",
        "prompt_cache_key",
        "prompt_cache_key",
    ),
    (
        Member::Cache,
        "prompt_cache_options",
        "prompt_cache_options",
        "cache_control",
        "cachedContent",
    ),
    (Member::User, "user", "user", "metadata.user_id", "user"),
    (
        Member::SafetyIdentifier,
        "safety_identifier",
        "safety_identifier",
        "metadata.user_id",
        "safety_identifier",
    ),
    (Member::Metadata, "metadata", "metadata", "metadata", "labels"),
    (
        Member::Tier,
        "service_tier",
        "service_tier",
        "service_tier",
        "serviceTier",
    ),
    (Member::Store, "store", "store", "store", "store"),
    (
        Member::ToolChoice,
        "tool_choice",
        "tool_choice",
        "tool_choice",
        "toolConfig.functionCallingConfig",
    ),
    (
        Member::Parallel,
        "parallel_tool_calls",
        "parallel_tool_calls",
        "tool_choice.disable_parallel_tool_use",
        "parallel_tool_calls",
    ),
    (Member::Tools, "tools", "tools", "tools", "tools"),
    (
        Member::Modalities,
        "modalities",
        "modalities",
        "modalities",
        "generationConfig.responseModalities",
    ),
    (
        Member::Speech,
        "audio",
        "audio",
        "audio",
        "generationConfig.speechConfig",
    ),
    (
        Member::CacheOptions,
        "prompt_cache_options",
        "prompt_cache_options",
        "prompt_cache_options",
        "prompt_cache_options",
    ),
    (
        Member::Compared,
        "diagnostics",
        "diagnostics",
        "diagnostics",
        "diagnostics",
    ),
    (
        Member::ToolCalls,
        "max_tool_calls",
        "max_tool_calls",
        "max_tool_calls",
        "max_tool_calls",
    ),
    (
        Member::Container,
        "container",
        "container",
        "container",
        "container",
    ),
];
