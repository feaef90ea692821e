//! The canonical usage counters in the spelling of each format (conversion.md section 13).
//!
//! What the upstream did not say is left out where the format allows it; a zero would be a claim.

use crate::json::Writer;
use crate::usage::Usage;

fn known(w: &mut Writer<'_>, name: &str, count: Option<u64>) {
    if let Some(count) = count {
        w.key(name).u64(count);
    }
}

/// `usage` of Chat.
pub(crate) fn chat(w: &mut Writer<'_>, usage: &Usage) {
    w.object(|w| {
        w.key("prompt_tokens").u64(usage.input.unwrap_or(0));
        w.key("completion_tokens").u64(usage.output.unwrap_or(0));
        w.key("total_tokens").u64(usage.total().unwrap_or(0));
        // Both objects are always there: clients reach into them without looking.
        w.key("prompt_tokens_details").object(|w| {
            known(w, "cached_tokens", usage.cache_read);
            known(w, "cache_write_tokens", usage.cache_write);
            known(w, "text_tokens", usage.input_text);
            known(w, "audio_tokens", usage.input_audio);
            known(w, "image_tokens", usage.input_image);
        });
        w.key("completion_tokens_details").object(|w| {
            known(w, "reasoning_tokens", usage.reasoning);
            known(w, "text_tokens", usage.output_text);
            known(w, "audio_tokens", usage.output_audio);
            known(w, "image_tokens", usage.output_image);
            if let Some((accepted, rejected)) = usage.prediction {
                w.key("accepted_prediction_tokens").u64(accepted);
                w.key("rejected_prediction_tokens").u64(rejected);
            }
        });
    });
}

/// `usage` of Responses; Codex needs the integers of both details.
pub(crate) fn responses(w: &mut Writer<'_>, usage: &Usage) {
    w.object(|w| {
        w.key("input_tokens").u64(usage.input.unwrap_or(0));
        w.key("input_tokens_details").object(|w| {
            w.key("cached_tokens").u64(usage.cache_read.unwrap_or(0));
            w.key("cache_write_tokens").u64(usage.cache_write.unwrap_or(0));
            if let (Some(short), Some(long)) = (usage.cache_write_short, usage.cache_write_long) {
                w.key("cache_write_tokens_details").object(|w| {
                    w.key("ttl_30m_tokens").u64(short);
                    w.key("ttl_12h_tokens").u64(long);
                });
            }
        });
        w.key("output_tokens").u64(usage.output.unwrap_or(0));
        w.key("output_tokens_details")
            .object(|w| w.key("reasoning_tokens").u64(usage.reasoning.unwrap_or(0)));
        w.key("total_tokens").u64(usage.total().unwrap_or(0));
    });
}

/// `usage` of Messages.
pub(crate) fn messages(w: &mut Writer<'_>, usage: &Usage) {
    messages_with_tier(w, usage, None);
}

/// The same with the tier that served it, in OpenAI's words.
pub(crate) fn messages_with_tier(w: &mut Writer<'_>, usage: &Usage, tier: Option<&str>) {
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
        if usage.web_searches.is_some() || usage.web_fetches.is_some() {
            w.key("server_tool_use").object(|w| {
                w.key("web_search_requests").u64(usage.web_searches.unwrap_or(0));
                w.key("web_fetch_requests").u64(usage.web_fetches.unwrap_or(0));
            });
        }
        match tier {
            Some("default") => w.key("service_tier").str("standard"),
            Some("priority") => w.key("service_tier").str("priority"),
            _ => {}
        }
    });
}

/// `usageMetadata` of Gemini.
pub(crate) fn gemini(w: &mut Writer<'_>, usage: &Usage) {
    gemini_with_tier(w, usage, None);
}

/// The same with the tier that served it, in OpenAI's words.
pub(crate) fn gemini_with_tier(w: &mut Writer<'_>, usage: &Usage, tier: Option<&str>) {
    let tools = usage.tool_prompt.unwrap_or(0);
    w.object(|w| {
        w.key("promptTokenCount")
            .u64(usage.input.unwrap_or(0).saturating_sub(tools));
        w.key("candidatesTokenCount").u64(
            usage
                .output
                .unwrap_or(0)
                .saturating_sub(usage.reasoning.unwrap_or(0)),
        );
        w.key("totalTokenCount").u64(usage.total().unwrap_or(0));
        known(w, "cachedContentTokenCount", usage.cache_read);
        known(w, "thoughtsTokenCount", usage.reasoning);
        if tools > 0 {
            w.key("toolUsePromptTokenCount").u64(tools);
        }
        modalities(
            w,
            "promptTokensDetails",
            [usage.input_text, usage.input_audio, usage.input_image],
        );
        modalities(
            w,
            "candidatesTokensDetails",
            [usage.output_text, usage.output_audio, usage.output_image],
        );
        let traffic = match tier {
            Some("default") => "ON_DEMAND",
            Some("priority") => "ON_DEMAND_PRIORITY",
            Some("flex") => "ON_DEMAND_FLEX",
            Some("scale") => "PROVISIONED_THROUGHPUT",
            _ => return,
        };
        w.key("trafficType").str(traffic);
    });
}

fn modalities(w: &mut Writer<'_>, name: &str, counts: [Option<u64>; 3]) {
    if counts.iter().all(Option::is_none) {
        return;
    }
    w.key(name).array(|w| {
        for (modality, count) in ["TEXT", "AUDIO", "IMAGE"].into_iter().zip(counts) {
            if let Some(count) = count {
                w.item().object(|w| {
                    w.key("modality").str(modality);
                    w.key("tokenCount").u64(count);
                });
            }
        }
    });
}
