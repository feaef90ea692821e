//! The canonical usage counters in the spelling of each format (conversion.md section 13).

use crate::json::Writer;
use crate::usage::Usage;

/// `usage` of Chat.
pub(crate) fn chat(w: &mut Writer<'_>, usage: &Usage) {
    let (input, output) = (usage.input.unwrap_or(0), usage.output.unwrap_or(0));
    w.object(|w| {
        w.key("prompt_tokens").u64(input);
        w.key("completion_tokens").u64(output);
        w.key("total_tokens").u64(input + output);
        w.key("prompt_tokens_details").object(|w| {
            w.key("cached_tokens").u64(usage.cache_read.unwrap_or(0));
            if let Some(written) = usage.cache_write {
                w.key("cache_write_tokens").u64(written);
            }
            w.key("audio_tokens").u64(usage.input_audio.unwrap_or(0));
        });
        w.key("completion_tokens_details").object(|w| {
            w.key("reasoning_tokens").u64(usage.reasoning.unwrap_or(0));
            w.key("audio_tokens").u64(usage.output_audio.unwrap_or(0));
            let (accepted, rejected) = usage.prediction.unwrap_or((0, 0));
            w.key("accepted_prediction_tokens").u64(accepted);
            w.key("rejected_prediction_tokens").u64(rejected);
        });
    });
}

/// `usage` of Responses; Codex needs the integers of both details.
pub(crate) fn responses(w: &mut Writer<'_>, usage: &Usage) {
    let (input, output) = (usage.input.unwrap_or(0), usage.output.unwrap_or(0));
    w.object(|w| {
        w.key("input_tokens").u64(input);
        w.key("input_tokens_details").object(|w| {
            w.key("cached_tokens").u64(usage.cache_read.unwrap_or(0));
            w.key("cache_write_tokens").u64(usage.cache_write.unwrap_or(0));
        });
        w.key("output_tokens").u64(output);
        w.key("output_tokens_details")
            .object(|w| w.key("reasoning_tokens").u64(usage.reasoning.unwrap_or(0)));
        w.key("total_tokens").u64(input + output);
    });
}

/// `usage` of Messages.
pub(crate) fn messages(w: &mut Writer<'_>, usage: &Usage) {
    w.object(|w| {
        w.key("input_tokens").u64(usage.input_uncached().unwrap_or(0));
        w.key("cache_creation_input_tokens")
            .u64(usage.cache_write.unwrap_or(0));
        w.key("cache_read_input_tokens")
            .u64(usage.cache_read.unwrap_or(0));
        if let (Some(short), Some(long)) = (usage.cache_write_short, usage.cache_write_long) {
            w.key("cache_creation").object(|w| {
                w.key("ephemeral_5m_input_tokens").u64(short);
                w.key("ephemeral_1h_input_tokens").u64(long);
            });
        }
        w.key("output_tokens").u64(usage.output.unwrap_or(0));
        if let Some(thinking) = usage.reasoning {
            w.key("output_tokens_details")
                .object(|w| w.key("thinking_tokens").u64(thinking));
        }
    });
}

/// `usageMetadata` of Gemini.
pub(crate) fn gemini(w: &mut Writer<'_>, usage: &Usage) {
    let (input, output) = (usage.input.unwrap_or(0), usage.output.unwrap_or(0));
    let tools = usage.tool_prompt.unwrap_or(0);
    w.object(|w| {
        w.key("promptTokenCount").u64(input.saturating_sub(tools));
        w.key("candidatesTokenCount")
            .u64(output.saturating_sub(usage.reasoning.unwrap_or(0)));
        w.key("totalTokenCount").u64(input + output);
        if let Some(cached) = usage.cache_read {
            w.key("cachedContentTokenCount").u64(cached);
        }
        if let Some(thoughts) = usage.reasoning {
            w.key("thoughtsTokenCount").u64(thoughts);
        }
        if tools > 0 {
            w.key("toolUsePromptTokenCount").u64(tools);
        }
    });
}
