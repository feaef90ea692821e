//! `generationConfig` of a generateContent request.

use super::json_by_words;
use crate::encode::parts::lose;
use crate::error::Error;
use crate::ir::{Effort, Member, OutputFormat, ReasoningDepth, Request, Show};
use crate::json::{Raw, Writer};
use crate::profile::{Profile, Sampling};
use crate::report::{Class, Report};
use crate::{Format, schema};

/// Stop sequences that Gemini takes.
pub(super) const MAX_STOPS: usize = 5;

pub(super) fn config(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    profile: &Profile,
    report: &mut Report,
) -> Result<(), Error> {
    let mut inner = Vec::new();
    let mut c = Writer::new(&mut inner);
    c.begin_object();
    let takes = profile.sampling == Sampling::Full;
    for (member, name, value) in [
        (Member::Temperature, "temperature", request.temperature),
        (Member::TopP, "topP", request.top_p),
        (Member::TopK, "topK", request.top_k),
        (
            Member::PresencePenalty,
            "presencePenalty",
            request.presence_penalty,
        ),
        (
            Member::FrequencyPenalty,
            "frequencyPenalty",
            request.frequency_penalty,
        ),
    ] {
        // Gemini takes what its own clients send.
        match value {
            Some(value) if takes || report.client() == Format::Gemini => c.key(name).raw(value),
            value => lose(report, value.is_some(), member, Class::Hint)?,
        }
    }
    seed(&mut c, request.seed, report)?;
    // Zero asks Anthropic to warm its cache only.
    let warm = request.max_output_tokens == Some(0) && report.client() == Format::Messages;
    lose(report, warm, Member::MaxTokens, Class::Must)?;
    if let Some(limit) = request.max_output_tokens.filter(|_| !warm) {
        c.key("maxOutputTokens").u64(limit);
    }
    if let Some(count) = request.candidates.filter(|count| *count > 1) {
        c.key("candidateCount").u64(count);
    }
    stop(&mut c, request, report);
    if request.logprobs {
        c.key("responseLogprobs").bool(true);
        if let Some(top) = request.top_logprobs {
            c.key("logprobs").u64(top.min(20));
        }
    }
    output(&mut c, request, profile, report);
    spoken(&mut c, request, report)?;
    thinking(&mut c, request, profile, report);
    for native in request
        .natives
        .iter()
        .filter(|_| report.client() == Format::Gemini)
    {
        if let Some(name) = native.path.strip_prefix("generationConfig.") {
            c.key(name).raw(native.value);
        }
    }
    c.end_object();
    if inner.len() > 2 {
        w.key("generationConfig").bytes().extend_from_slice(&inner);
    }
    Ok(())
}

/// Kinds of output, and the voice of spoken ones.
pub(super) fn spoken(w: &mut Writer<'_>, request: &Request<'_>, report: &mut Report) -> Result<(), Error> {
    if request.modalities.iter().any(|kind| kind != "text") {
        w.key("responseModalities").array(|w| {
            // Gemini speaks or writes.
            let spoken = request.modalities.iter().any(|kind| kind == "audio");
            for kind in &request.modalities {
                if !(spoken && kind == "text" && report.client() != Format::Gemini) {
                    w.item().str(&kind.to_ascii_uppercase());
                }
            }
        });
    }
    let Some(speech) = &request.speech else {
        return Ok(());
    };
    let raw = speech
        .format
        .as_deref()
        .is_none_or(|format| matches!(format, "wav" | "pcm16"));
    lose(report, !raw, Member::Speech, Class::Must)?;
    if let Some(voice) = &speech.voice {
        w.key("speechConfig").object(|w| {
            w.key("voiceConfig").object(|w| {
                w.key("prebuiltVoiceConfig")
                    .object(|w| w.key("voiceName").text(voice));
            });
        });
    }
    Ok(())
}

/// Gemini's seed is an i32.
pub(super) fn seed(w: &mut Writer<'_>, seed: Option<Raw<'_>>, report: &mut Report) -> Result<(), Error> {
    let Some(seed) = seed else { return Ok(()) };
    let Ok(value) = seed.get().parse::<i64>() else {
        return lose(report, true, Member::Seed, Class::Hint);
    };
    let small = if i32::try_from(value).is_ok() {
        value
    } else {
        value & 0x7fff_ffff
    };
    if small != value {
        report.altered(Member::Seed.path(report.client()), seed.get(), &small.to_string());
    }
    w.key("seed").i64(small);
    Ok(())
}

pub(super) fn stop(w: &mut Writer<'_>, request: &Request<'_>, report: &mut Report) {
    if request.stop.is_empty() {
        return;
    }
    for (index, _) in request.stop.iter().enumerate().skip(MAX_STOPS) {
        report.dropped(format!("{}[{index}]", Member::Stop.path(report.client())));
    }
    w.key("stopSequences").array(|w| {
        for text in request.stop.iter().take(MAX_STOPS) {
            w.item().text(text);
        }
    });
}

pub(super) fn output(w: &mut Writer<'_>, request: &Request<'_>, profile: &Profile, report: &mut Report) {
    match &request.output {
        OutputFormat::Text => {}
        _ if report.client() != Format::Gemini && json_by_words(request, profile) => {}
        OutputFormat::JsonObject => w.key("responseMimeType").str("application/json"),
        OutputFormat::JsonSchema { schema, openapi, .. } => {
            w.key("responseMimeType").str("application/json");
            if *openapi {
                return w.key("responseSchema").raw(*schema);
            }
            if report.client() == Format::Gemini {
                return w.key("responseJsonSchema").raw(*schema);
            }
            let (rules, name) = if profile.json_schema {
                (schema::Profile::GeminiOutput, "responseJsonSchema")
            } else {
                (schema::Profile::GeminiOpenApi, "responseSchema")
            };
            let (schema, lost) = schema::rewrite(*schema, rules);
            if lost {
                report.dropped(Member::Output.path(report.client()));
            }
            w.key(name).raw(Raw(&schema));
        }
    }
}

pub(super) fn thinking(w: &mut Writer<'_>, request: &Request<'_>, profile: &Profile, report: &mut Report) {
    let path = Member::Effort.path(report.client());
    let thinks = profile.budget.is_some() || !profile.efforts.is_empty();
    let depth = match (request.reasoning.depth, request.reasoning.effort) {
        (ReasoningDepth::Unset | ReasoningDepth::Dynamic, Some(effort)) => ReasoningDepth::Effort(effort),
        (depth, _) => depth,
    };
    if !thinks {
        if !matches!(depth, ReasoningDepth::Unset | ReasoningDepth::Off) {
            report.dropped(path);
        }
        return;
    }
    let shown = match request.reasoning.show {
        Show::Summary => true,
        // Anthropic shows its thinking unless it is told not to.
        Show::Default => report.client() == Format::Messages && depth != ReasoningDepth::Unset,
        Show::Hidden => false,
    };
    let show = shown && depth != ReasoningDepth::Off;
    let budget = profile.budget.map(|range| budget(depth, range, profile));
    let level = if profile.budget.is_some() {
        None
    } else {
        level(depth, profile, report, path)
    };
    if !show && level.is_none() && !matches!(budget, Some(Some(_))) {
        return;
    }
    w.key("thinkingConfig").object(|w| {
        if show {
            w.key("includeThoughts").bool(true);
        }
        if let Some(Some(budget)) = budget {
            w.key("thinkingBudget").i64(budget);
        }
        if let Some(level) = level {
            w.key("thinkingLevel").str(&level.as_str().to_ascii_uppercase());
        }
    });
}

pub(super) fn budget(depth: ReasoningDepth, range: (u64, u64), profile: &Profile) -> Option<i64> {
    let tokens = match depth {
        ReasoningDepth::Unset => return None,
        ReasoningDepth::Dynamic => return Some(-1),
        ReasoningDepth::Off | ReasoningDepth::Effort(Effort::None) if profile.can_disable => 0,
        ReasoningDepth::Off | ReasoningDepth::Effort(Effort::None) => range.0,
        ReasoningDepth::Effort(Effort::Minimal) if range.0 > 1 => range.0,
        ReasoningDepth::Effort(Effort::Minimal) => 512,
        ReasoningDepth::Effort(Effort::XHigh | Effort::Max) => range.1,
        ReasoningDepth::Effort(effort) => {
            crate::encode::messages_request::budget_of(effort).clamp(range.0, range.1)
        }
        ReasoningDepth::Budget(tokens) => tokens.clamp(range.0, range.1),
    };
    i64::try_from(tokens).ok()
}

pub(super) fn level(
    depth: ReasoningDepth,
    profile: &Profile,
    report: &mut Report,
    path: &'static str,
) -> Option<Effort> {
    let wanted = match depth {
        ReasoningDepth::Unset | ReasoningDepth::Dynamic => return None,
        ReasoningDepth::Off => return profile.efforts.first().copied(),
        ReasoningDepth::Effort(effort) => effort,
        ReasoningDepth::Budget(tokens) => crate::encode::chat_request::bucket(tokens),
    };
    let given = profile.nearest(wanted)?;
    if given != wanted {
        report.altered(path, wanted.as_str(), given.as_str());
    }
    Some(given)
}
