//! Usage counters of the four formats to the canonical ones (conversion.md section 13).

use std::borrow::Cow;

use crate::error::Error;
use crate::format::Format;
use crate::json::{Raw, Read as _, Reader, from_str};
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
        /// Written, by lifetime.
        cache_write_details: WriteDetails<'a> = "cache_write_tokens_details",
        /// Text.
        text_tokens: u64 = "text_tokens",
        /// Sound.
        audio_tokens: u64 = "audio_tokens",
        /// Images.
        image_tokens: u64 = "image_tokens",
        /// Prediction.
        accepted_prediction_tokens: u64 = "accepted_prediction_tokens",
        /// Prediction.
        rejected_prediction_tokens: u64 = "rejected_prediction_tokens",
    }

    /// Written, by lifetime.
    struct WriteDetails {
        /// Short.
        short: u64 = "ttl_30m_tokens",
        /// Long.
        long: u64 = "ttl_12h_tokens",
    }

    /// `tool_usage`.
    struct ToolUsage {
        /// Searches.
        web_search: Searches<'a> = "web_search",
    }

    /// Searches.
    struct Searches {
        /// How many.
        count: u64 = "num_requests",
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
        /// Tier.
        service_tier: Cow<'a, str> = "service_tier",
        /// How fast.
        speed: Cow<'a, str> = "speed",
        /// Where it was made.
        inference_geo: Cow<'a, str> = "inference_geo",
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
        /// Fetches.
        web_fetch_requests: u64 = "web_fetch_requests",
    }

    /// Tokens of one modality.
    struct Modality {
        /// TEXT, IMAGE …
        modality: Cow<'a, str> = "modality",
        /// How many.
        count: u64 = "tokenCount",
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
        /// Prompt by modality.
        prompt_details: Vec<Modality<'a>> = "promptTokensDetails",
        /// Answers by modality.
        candidates_details: Vec<Modality<'a>> = "candidatesTokensDetails",
        /// Tier, of Vertex.
        traffic_type: Cow<'a, str> = "trafficType",
        /// Tier, of the Gemini API.
        service_tier: Cow<'a, str> = "serviceTier",
    }
}

/// Usage of a format, read where it stands in an answer.
pub(crate) fn read(reader: &mut Reader<'_>, format: Format) -> Result<Usage, Error> {
    match format {
        Format::Chat | Format::Responses => OpenAi::read(reader).map(of_openai),
        Format::Messages => Anthropic::read(reader).map(of_anthropic),
        Format::Gemini => Gemini::read(reader).map(of_gemini),
    }
}

/// The same; what cannot be read is none: a good answer must not be lost for what it says of itself.
pub(crate) fn read_any(reader: &mut Reader<'_>, format: Format) -> Result<Usage, Error> {
    let start = reader.clone();
    if let Ok(usage) = read(reader, format) {
        return Ok(usage);
    }
    *reader = start;
    reader.skip()?;
    Ok(Usage::default())
}

/// Usage of Chat and Responses.
pub(crate) fn openai(raw: Raw<'_>) -> Result<Usage, Error> {
    from_str(raw.get()).map(of_openai)
}

fn of_openai(wire: OpenAi<'_>) -> Usage {
    let input = wire.input_details.unwrap_or_default();
    let output = wire.output_details.unwrap_or_default();
    let written = input.cache_write_details.unwrap_or_default();
    let prediction = output
        .accepted_prediction_tokens
        .zip(output.rejected_prediction_tokens);
    let some = |count: Option<u64>| count.filter(|count| *count > 0);
    Usage {
        input: wire.prompt_tokens,
        output: wire.completion_tokens,
        cache_read: input.cached_tokens.or(wire.prompt_cache_hit_tokens),
        cache_write: input.cache_write_tokens,
        cache_write_short: written.short,
        cache_write_long: written.long,
        reasoning: output.reasoning_tokens,
        input_text: some(input.text_tokens),
        input_audio: some(input.audio_tokens),
        input_image: some(input.image_tokens),
        output_text: some(output.text_tokens),
        output_audio: some(output.audio_tokens),
        output_image: some(output.image_tokens),
        prediction: prediction.filter(|(accepted, rejected)| accepted.saturating_add(*rejected) > 0),
        ..Usage::default()
    }
}

/// Usage of Responses, with what hosted tools did and the tier, which stand beside it; `None` if nothing was counted.
pub(crate) fn responses(
    usage: Option<Raw<'_>>,
    tool_usage: Option<Raw<'_>>,
    tier: Option<&str>,
) -> Result<Option<Usage>, Error> {
    let Some(Ok(usage)) = usage.map(openai) else {
        return Ok(None);
    };
    let mut usage = usage.in_tier(tier);
    usage.web_searches = match tool_usage {
        Some(raw) => searches(&mut Reader::new(raw.get()))?,
        None => None,
    };
    Ok(Some(usage))
}

/// Searches in `tool_usage` of Responses.
pub(crate) fn searches(reader: &mut Reader<'_>) -> Result<Option<u64>, Error> {
    let wire = ToolUsage::read(reader)?;
    Ok(wire.web_search.and_then(|searches| searches.count))
}

/// Usage of Messages: its input excludes what the cache gave and took.
pub(crate) fn anthropic(raw: Raw<'_>) -> Result<Usage, Error> {
    from_str(raw.get()).map(of_anthropic)
}

fn of_anthropic(wire: Anthropic<'_>) -> Usage {
    let split = wire.cache_creation.unwrap_or_default();
    let by_lifetime = [split.short, split.long].into_iter().flatten();
    let written = wire
        .cache_creation_input_tokens
        .or(by_lifetime.reduce(u64::saturating_add));
    let read = wire.cache_read_input_tokens.unwrap_or(0);
    let cached = read.saturating_add(written.unwrap_or(0));
    let hosted = wire.server_tool_use.unwrap_or_default();
    Usage {
        input: wire.input_tokens.map(|input| input.saturating_add(cached)),
        output: wire.output_tokens,
        cache_read: wire.cache_read_input_tokens,
        cache_write: written,
        cache_write_short: split.short,
        cache_write_long: split.long,
        reasoning: wire
            .output_tokens_details
            .and_then(|details| details.thinking_tokens),
        web_searches: hosted.web_search_requests,
        web_fetches: hosted.web_fetch_requests,
        in_us: wire.inference_geo.map(|place| place == "us"),
        ..Usage::default()
    }
    .in_tier(wire.speed.as_deref())
    .in_tier(wire.service_tier.as_deref())
}

/// Usage of Gemini. Where the parts add up without the thoughts, the answers already contain them.
pub(crate) fn gemini(raw: Raw<'_>) -> Result<Usage, Error> {
    from_str(raw.get()).map(of_gemini)
}

fn of_gemini(wire: Gemini<'_>) -> Usage {
    let tools = wire.tools.unwrap_or(0);
    let prompt = wire.prompt.unwrap_or(0);
    let candidates = wire.candidates.unwrap_or(0);
    let thoughts = wire.thoughts.unwrap_or(0);
    let without = prompt.saturating_add(candidates).saturating_add(tools);
    let included = wire.total == Some(without);
    // Thoughts that are not said in this report.
    let unsaid = wire.total.filter(|_| wire.candidates.is_some());
    let unsaid = unsaid.map_or(0, |total| total.saturating_sub(without).saturating_sub(thoughts));
    // A prompt that was refused has a total and no answer.
    let nothing = wire.prompt.is_some() && included && candidates == 0;
    let known = wire.candidates.is_some() || wire.thoughts.is_some() || nothing;
    let (input_text, input_audio, input_image) = modalities(wire.prompt_details);
    let (output_text, output_audio, output_image) = modalities(wire.candidates_details);
    Usage {
        input: wire.prompt.map(|prompt| prompt.saturating_add(tools)),
        output: known.then_some(if included {
            candidates
        } else {
            candidates.saturating_add(thoughts).saturating_add(unsaid)
        }),
        cache_read: wire.cached,
        reasoning: wire.thoughts,
        tool_prompt: wire.tools,
        input_text,
        input_audio,
        input_image,
        output_text,
        output_audio,
        output_image,
        ..Usage::default()
    }
    .in_tier(wire.traffic_type.as_deref().and_then(traffic))
    .in_tier(wire.service_tier.as_deref().and_then(served))
}

/// Text, sound and images; documents count as text.
fn modalities(details: Option<Vec<Modality<'_>>>) -> (Option<u64>, Option<u64>, Option<u64>) {
    let details = details.unwrap_or_default();
    let sum = |names: &[&str]| {
        let counts = details
            .iter()
            .filter(|detail| {
                detail
                    .modality
                    .as_deref()
                    .is_some_and(|name| names.contains(&name))
            })
            .filter_map(|detail| detail.count);
        counts.reduce(u64::saturating_add)
    };
    (sum(&["TEXT", "DOCUMENT"]), sum(&["AUDIO"]), sum(&["IMAGE"]))
}

/// Anthropic's tier in OpenAI's words (conversion.md section 13).
pub(crate) fn anthropic_tier(raw: Raw<'_>) -> Result<Option<&'static str>, Error> {
    Ok(match word(raw, "service_tier")?.as_deref() {
        Some("standard" | "batch") => Some("default"),
        Some("priority") => Some("priority"),
        _ => None,
    })
}

/// Gemini's tier in OpenAI's words: Vertex calls it the type of its traffic.
pub(crate) fn gemini_tier(raw: Raw<'_>) -> Result<Option<&'static str>, Error> {
    let traffic = word(raw, "trafficType")?.as_deref().and_then(traffic);
    Ok(match traffic {
        None => word(raw, "serviceTier")?.as_deref().and_then(served),
        known => known,
    })
}

/// The text of one member.
fn word<'a>(raw: Raw<'a>, name: &str) -> Result<Option<Cow<'a, str>>, Error> {
    let mut found = None;
    Reader::new(raw.get()).object(|reader, key| {
        if key == name {
            found = Option::read(reader)?;
            return Ok(());
        }
        reader.skip()
    })?;
    Ok(found)
}

/// The Gemini API's tiers; its documents write them small and in capitals.
fn served(name: &str) -> Option<&'static str> {
    const TIERS: [(&str, &str); 3] = [
        ("standard", "default"),
        ("flex", "flex"),
        ("priority", "priority"),
    ];
    let known = TIERS.iter().find(|row| row.0.eq_ignore_ascii_case(name));
    known.map(|row| row.1)
}

fn traffic(name: &str) -> Option<&'static str> {
    match name {
        "ON_DEMAND" => Some("default"),
        "ON_DEMAND_PRIORITY" => Some("priority"),
        "ON_DEMAND_FLEX" => Some("flex"),
        "PROVISIONED_THROUGHPUT" => Some("scale"),
        _ => None,
    }
}
