//! Limits, sampling, reasoning, output and identity of a Chat request.

use super::messages::knows_breakpoints;
use crate::encode::parts::lose;
use crate::error::Error;
use crate::ir::{Effort, Member, OutputFormat, ReasoningDepth, Request};
use crate::json::{Raw, Text, Writer};
use crate::profile::{Profile, Sampling};
use crate::report::{Class, Report};
use crate::target::Target;
use crate::{Dialect, Format, names, schema};

/// OpenAI refuses smaller output limits (conversion.md 10.3).
pub(in crate::encode) const MIN_OUTPUT: u64 = 16;

pub(super) fn limits(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    target: &Target<'_>,
    profile: &Profile,
    report: &mut Report,
) -> Result<(), Error> {
    // Zero asks Anthropic to warm its cache only.
    let warm = request.max_output_tokens == Some(0) && report.client() == Format::Messages;
    lose(report, warm, Member::MaxTokens, Class::Must)?;
    if let Some(limit) = request.max_output_tokens.filter(|_| !warm) {
        let raised = if target.dialect == Dialect::Native {
            limit.max(MIN_OUTPUT)
        } else {
            limit
        };
        if raised != limit {
            report.altered(
                Member::MaxTokens.path(report.client()),
                &limit.to_string(),
                &raised.to_string(),
            );
        }
        let name = if target.dialect.is_compat() {
            "max_tokens"
        } else {
            "max_completion_tokens"
        };
        w.key(name).u64(raised);
    }
    if !request.stop.is_empty() && !profile.stop {
        lose(report, true, Member::Stop, Class::Must)?;
    } else if !request.stop.is_empty() {
        for (index, _) in request.stop.iter().enumerate().skip(4) {
            report.dropped(format!("{}[{index}]", Member::Stop.path(report.client())));
        }
        w.key("stop").array(|w| {
            for stop in request.stop.iter().take(4) {
                w.item().text(stop);
            }
        });
    }
    if let Some(candidates) = request.candidates.filter(|count| *count > 1) {
        w.key("n").u64(candidates);
    }
    Ok(())
}

/// Kinds of output: text is what everybody does, and sound is what some OpenAI models do.
pub(super) fn spoken(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    target: &Target<'_>,
    report: &mut Report,
) -> Result<(), Error> {
    let other = request
        .modalities
        .iter()
        .any(|kind| !matches!(kind.as_ref(), "text" | "audio"));
    lose(report, other, Member::Modalities, Class::Must)?;
    let audio = request.modalities.iter().any(|kind| kind == "audio");
    if audio && target.dialect.is_compat() {
        lose(report, true, Member::Modalities, Class::Must)?;
    }
    if audio && !target.dialect.is_compat() {
        w.key("modalities").array(|w| {
            for kind in &request.modalities {
                w.item().str(kind);
            }
            if report.client() != Format::Chat && request.modalities.len() == 1 {
                // OpenAI speaks what it also writes.
                w.item().str("text");
            }
        });
    }
    match &request.speech {
        Some(speech) if audio && !target.dialect.is_compat() => w.key("audio").object(|w| {
            w.key("voice")
                .str(&speech.voice.as_ref().map_or("alloy".into(), Text::decode));
            w.key("format").str(speech.format.as_deref().unwrap_or("wav"));
        }),
        Some(_) => lose(report, true, Member::Speech, Class::Must)?,
        None if audio && report.client() != Format::Chat => w
            .key("audio")
            .raw(Raw::of_const(r#"{"voice":"alloy","format":"wav"}"#)),
        None => {}
    }
    Ok(())
}

/// OpenAI's request-wide caching controls.
pub(super) fn caching(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    target: &Target<'_>,
    report: &mut Report,
) -> Result<(), Error> {
    lose(
        report,
        request.compared_answer.is_some(),
        Member::Compared,
        Class::Inert,
    )?;
    let knows = knows_breakpoints(target) || report.client() == Format::Chat;
    match request.cache_options {
        Some(options) if knows => {
            let mut members = Vec::new();
            let mut reader = crate::json::Reader::new(options.get());
            // The decoder has read it as JSON; what is no object has no members.
            let _ = reader.object(|reader, name| {
                members.push((name.clone(), reader.raw()?));
                Ok(())
            });
            w.key("prompt_cache_options").object(|w| {
                for (name, value) in &members {
                    if matches!(name.as_ref(), "mode" | "ttl") {
                        w.key(name).raw(*value);
                    } else {
                        report.dropped(format!("prompt_cache_options.{name}"));
                    }
                }
            });
        }
        options => lose(report, options.is_some(), Member::CacheOptions, Class::Inert)?,
    }
    if request.cache.is_some() && knows {
        w.key("prompt_cache_options")
            .raw(Raw::of_const(r#"{"mode":"implicit"}"#));
        return Ok(());
    }
    lose(report, request.cache.is_some(), Member::Cache, Class::Inert)
}

pub(super) fn sampling(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    profile: &Profile,
    target: &Target<'_>,
    report: &mut Report,
) -> Result<(), Error> {
    let off =
        matches!(request.reasoning.depth, ReasoningDepth::Off) && profile.efforts.contains(&Effort::None);
    let takes = profile.sampling == Sampling::Full || off || report.client() == Format::Chat;
    for (member, name, value) in [
        (Member::Temperature, "temperature", request.temperature),
        (Member::TopP, "top_p", request.top_p),
        (
            Member::FrequencyPenalty,
            "frequency_penalty",
            request.frequency_penalty,
        ),
        (
            Member::PresencePenalty,
            "presence_penalty",
            request.presence_penalty,
        ),
    ] {
        match value {
            Some(value) if takes => w.key(name).raw(value),
            Some(_) => lose(report, true, member, Class::Hint)?,
            None => {}
        }
    }
    if let Some(seed) = request.seed {
        w.key("seed").raw(seed);
    }
    match request.top_k {
        Some(top_k) if target.dialect.is_compat() => w.key("top_k").raw(top_k),
        top_k => lose(report, top_k.is_some(), Member::TopK, Class::Hint)?,
    }
    if request.logprobs {
        w.key("logprobs").bool(true);
        if let Some(top) = request.top_logprobs {
            w.key("top_logprobs").u64(top);
        }
    }
    Ok(())
}

/// The level for an OpenAI upstream (conversion.md section 9).
pub(in crate::encode) fn effort(
    request: &Request<'_>,
    profile: &Profile,
    report: &mut Report,
) -> Option<Effort> {
    let wanted = match request.reasoning.depth {
        ReasoningDepth::Unset | ReasoningDepth::Dynamic => request.reasoning.effort?,
        ReasoningDepth::Off => Effort::None,
        ReasoningDepth::Effort(effort) => effort,
        ReasoningDepth::Budget(tokens) => bucket(tokens),
    };
    let given = profile.nearest(wanted);
    let path = Member::Effort.path(report.client());
    match given {
        Some(given) if given != wanted => report.altered(path, wanted.as_str(), given.as_str()),
        None if wanted != Effort::None => report.dropped(path),
        _ => {}
    }
    given
}

/// A token budget as a level.
pub(in crate::encode) fn bucket(tokens: u64) -> Effort {
    match tokens {
        0 => Effort::None,
        1..=2_048 => Effort::Low,
        2_049..=12_288 => Effort::Medium,
        12_289..=28_672 => Effort::High,
        _ => Effort::XHigh,
    }
}

pub(super) fn reasoning(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    target: &Target<'_>,
    profile: &Profile,
    report: &mut Report,
) {
    let mut effort = effort(request, profile, report);
    if profile.tools_need_responses && target.dialect == Dialect::Native && !request.tools.is_empty() {
        // OpenAI refuses tools with reasoning here (conversion.md fact 6).
        if effort != Some(Effort::None) && profile.efforts.contains(&Effort::None) {
            report.altered(
                Member::Effort.path(report.client()),
                effort.map_or("", Effort::as_str),
                "none",
            );
            effort = Some(Effort::None);
        }
    }
    if let Some(effort) = effort {
        w.key("reasoning_effort").str(effort.as_str());
    }
}

pub(super) fn output(w: &mut Writer<'_>, request: &Request<'_>) {
    match &request.output {
        OutputFormat::Text => {}
        OutputFormat::JsonObject => w
            .key("response_format")
            .raw(Raw::of_const(r#"{"type":"json_object"}"#)),
        OutputFormat::JsonSchema { .. } => w.key("response_format").object(|w| {
            w.key("type").str("json_schema");
            w.key("json_schema").object(|w| json_schema(w, &request.output));
        }),
    }
}

/// Name, schema and strictness as both OpenAI formats spell them.
pub(in crate::encode) fn json_schema(w: &mut Writer<'_>, output: &OutputFormat<'_>) {
    let OutputFormat::JsonSchema {
        name,
        description,
        schema,
        openapi,
        strict,
    } = output
    else {
        return;
    };
    let (rewritten, _) = if *openapi {
        schema::rewrite(*schema, schema::Profile::FromOpenApi)
    } else {
        (schema.get().into(), false)
    };
    match name {
        Some(name) => w.key("name").text(name),
        None => w.key("name").str("response"),
    }
    if let Some(description) = description {
        w.key("description").text(description);
    }
    w.key("schema").raw(Raw(&rewritten));
    w.key("strict")
        .bool(strict.unwrap_or_else(|| name.is_none() && schema::is_openai_strict(Raw(&rewritten))));
}

pub(super) fn identity(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    target: &Target<'_>,
    report: &mut Report,
) -> Result<(), Error> {
    let native = target.dialect == Dialect::Native;
    if let Some(verbosity) = &request.verbosity {
        if native {
            w.key("verbosity").text(verbosity)
        } else {
            lose(report, true, Member::Verbosity, Class::Hint)?
        }
    }
    if let Some(user) = &request.user {
        w.key("user").text(user);
    }
    match &request.safety_identifier {
        Some(id) if native => safety_identifier(w, id, report),
        id => lose(report, id.is_some(), Member::SafetyIdentifier, Class::Inert)?,
    }
    match cache_key(request, report) {
        Some(key) if native => w.key("prompt_cache_key").text(&key),
        _ => lose(
            report,
            request.cache_key.is_some(),
            Member::CacheKey,
            Class::Inert,
        )?,
    }
    match request.metadata {
        Some(metadata) if native => w.key("metadata").raw(metadata),
        metadata => lose(report, metadata.is_some(), Member::Metadata, Class::Inert)?,
    }
    match &request.service_tier {
        Some(tier) if native && knows_tier(tier) => w.key("service_tier").str(openai_tier(tier)),
        tier => lose(report, tier.is_some(), Member::Tier, Class::Hint)?,
    }
    match request.store {
        // Whoever asks Responses to store an answer wants it back by its id.
        Some(store) if report.client() == Format::Responses => {
            if store {
                report.dropped(Member::Store.path(Format::Responses));
            }
        }
        Some(store) if native => w.key("store").bool(store),
        store => lose(report, store.is_some(), Member::Store, Class::Inert)?,
    }
    lose(
        report,
        request.max_tool_calls.is_some(),
        Member::ToolCalls,
        Class::Hint,
    )?;
    lose(
        report,
        request.container.is_some(),
        Member::Container,
        Class::Must,
    )
}

/// Tiers of Chat.
pub(super) fn knows_tier(tier: &str) -> bool {
    matches!(
        openai_tier(tier),
        "auto" | "default" | "flex" | "scale" | "priority" | "fast"
    )
}

/// Claude Code's user ids end in the session, which is what its prompts have in common (conversion.md 4.3).
pub(in crate::encode) fn cache_key<'a>(request: &Request<'a>, report: &Report) -> Option<Text<'a>> {
    if request.cache_key.is_some() {
        return request.cache_key.clone();
    }
    if report.client() != Format::Messages {
        return None;
    }
    let id = request.safety_identifier.as_ref()?.decode();
    let (_, session) = id.split_once("_session_")?;
    (!session.is_empty()).then(|| session.to_owned().into())
}

/// OpenAI's own identities pass. Anthropic's are free text: what is not at most 64 word characters is hashed, always the same way
/// (conversion.md 4.3, 7.8).
pub(in crate::encode) fn safety_identifier(w: &mut Writer<'_>, id: &Text<'_>, report: &Report) {
    let text = id.decode();
    let word = text.len() <= 64
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    if word || report.client() != Format::Messages {
        return w.key("safety_identifier").text(id);
    }
    w.key("safety_identifier")
        .str(&names::sha256_hex(text.as_bytes()));
}

/// Anthropic's and Gemini's tiers in OpenAI's words.
pub(in crate::encode) fn openai_tier(tier: &str) -> &str {
    match tier {
        "standard_only" | "standard" => "default",
        other => other,
    }
}
