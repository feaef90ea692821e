//! Usage counters of the four formats to the canonical ones (conversion.md section 13).

use crate::error::Error;
use crate::json::{Raw, from_str};
use crate::usage::Usage;
use crate::wire::object;

object! {
    /// OpenAI usage, both formats.
    struct OpenAi {
        /// Chat.
        prompt_tokens: u64 = "prompt_tokens" | "input_tokens",
        /// Chat.
        completion_tokens: u64 = "completion_tokens" | "output_tokens",
        /// Input details.
        input_details: Details<'a> = "prompt_tokens_details" | "input_tokens_details",
        /// Output details.
        output_details: Details<'a> = "completion_tokens_details" | "output_tokens_details",
        /// DeepSeek.
        prompt_cache_hit_tokens: u64 = "prompt_cache_hit_tokens",
    }

    /// Details.
    struct Details {
        /// Cached.
        cached_tokens: u64 = "cached_tokens",
        /// Written.
        cache_write_tokens: u64 = "cache_write_tokens",
        /// Reasoning.
        reasoning_tokens: u64 = "reasoning_tokens",
        /// Sound.
        audio_tokens: u64 = "audio_tokens",
        /// Prediction.
        accepted_prediction_tokens: u64 = "accepted_prediction_tokens",
        /// Prediction.
        rejected_prediction_tokens: u64 = "rejected_prediction_tokens",
    }

    /// Anthropic usage.
    struct Anthropic {
        /// Uncached input.
        input_tokens: u64 = "input_tokens",
        /// Output.
        output_tokens: u64 = "output_tokens",
        /// Written.
        cache_creation_input_tokens: u64 = "cache_creation_input_tokens",
        /// Read.
        cache_read_input_tokens: u64 = "cache_read_input_tokens",
        /// Written, by lifetime.
        cache_creation: CacheCreation<'a> = "cache_creation",
        /// Details.
        output_tokens_details: ThinkingDetails<'a> = "output_tokens_details",
        /// Hosted tools.
        server_tool_use: ServerTools<'a> = "server_tool_use",
    }

    /// Written, by lifetime.
    struct CacheCreation {
        /// Short.
        short: u64 = "ephemeral_5m_input_tokens",
        /// Long.
        long: u64 = "ephemeral_1h_input_tokens",
    }

    /// Details.
    struct ThinkingDetails {
        /// Thinking.
        thinking_tokens: u64 = "thinking_tokens",
    }

    /// Hosted tools.
    struct ServerTools {
        /// Searches.
        web_search_requests: u64 = "web_search_requests",
    }

    /// Gemini usage.
    struct Gemini {
        /// Prompt.
        prompt: u64 = "promptTokenCount",
        /// Answers.
        candidates: u64 = "candidatesTokenCount",
        /// Total.
        total: u64 = "totalTokenCount",
        /// Cached.
        cached: u64 = "cachedContentTokenCount",
        /// Thoughts.
        thoughts: u64 = "thoughtsTokenCount",
        /// Server-side tools.
        tools: u64 = "toolUsePromptTokenCount",
    }
}

/// Usage of Chat and Responses.
pub(crate) fn openai(raw: Raw<'_>) -> Result<Usage, Error> {
    let wire: OpenAi<'_> = from_str(raw.get())?;
    let input = wire.input_details.unwrap_or_default();
    let output = wire.output_details.unwrap_or_default();
    let prediction = output
        .accepted_prediction_tokens
        .zip(output.rejected_prediction_tokens);
    Ok(Usage {
        input: wire.prompt_tokens,
        output: wire.completion_tokens,
        cache_read: input.cached_tokens.or(wire.prompt_cache_hit_tokens),
        cache_write: input.cache_write_tokens,
        reasoning: output.reasoning_tokens,
        input_audio: input.audio_tokens.filter(|count| *count > 0),
        output_audio: output.audio_tokens.filter(|count| *count > 0),
        prediction: prediction.filter(|(accepted, rejected)| accepted + rejected > 0),
        ..Usage::default()
    })
}

/// Usage of Messages: its input excludes what the cache gave and took.
pub(crate) fn anthropic(raw: Raw<'_>) -> Result<Usage, Error> {
    let wire: Anthropic<'_> = from_str(raw.get())?;
    let split = wire.cache_creation.unwrap_or_default();
    let cached = wire.cache_read_input_tokens.unwrap_or(0) + wire.cache_creation_input_tokens.unwrap_or(0);
    Ok(Usage {
        input: wire.input_tokens.map(|input| input + cached),
        output: wire.output_tokens,
        cache_read: wire.cache_read_input_tokens,
        cache_write: wire.cache_creation_input_tokens,
        cache_write_short: split.short,
        cache_write_long: split.long,
        reasoning: wire
            .output_tokens_details
            .and_then(|details| details.thinking_tokens),
        web_searches: wire.server_tool_use.and_then(|tools| tools.web_search_requests),
        ..Usage::default()
    })
}

/// Usage of Gemini. Where the parts add up without the thoughts, the answers already contain them.
pub(crate) fn gemini(raw: Raw<'_>) -> Result<Usage, Error> {
    let wire: Gemini<'_> = from_str(raw.get())?;
    let tools = wire.tools.unwrap_or(0);
    let prompt = wire.prompt.unwrap_or(0);
    let candidates = wire.candidates.unwrap_or(0);
    let thoughts = wire.thoughts.unwrap_or(0);
    let included = wire.total == Some(prompt + candidates + tools);
    let known = wire.candidates.is_some() || wire.thoughts.is_some();
    Ok(Usage {
        input: wire.prompt.map(|prompt| prompt + tools),
        output: known.then_some(if included {
            candidates
        } else {
            candidates + thoughts
        }),
        cache_read: wire.cached,
        reasoning: wire.thoughts,
        tool_prompt: wire.tools,
        ..Usage::default()
    })
}
