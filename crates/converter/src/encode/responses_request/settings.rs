//! Limits, reasoning, output and identity of a Responses request.

use crate::encode::chat_request::{
    MIN_OUTPUT, cache_key, effort, json_schema, knows_breakpoints, openai_tier, safety_identifier,
};
use crate::encode::parts::lose;
use crate::error::Error;
use crate::hosted::{self, Capability};
use crate::ir::{Member, OutputFormat, ReasoningDepth, Request, Show, Summary};
use crate::json::{Raw, Writer};
use crate::profile::{Profile, Sampling};
use crate::report::{Class, Report};
use crate::target::Target;
use crate::{Format, names};

pub(super) fn limits(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    profile: &Profile,
    report: &mut Report,
) -> Result<(), Error> {
    // Zero asks Anthropic to warm its cache only; here that is a switch of its own.
    let warm = request.max_output_tokens == Some(0) && report.client() == Format::Messages;
    if let Some(limit) = request.max_output_tokens.filter(|_| !warm) {
        let raised = limit.max(MIN_OUTPUT);
        if raised != limit {
            report.altered(
                Member::MaxTokens.path(report.client()),
                &limit.to_string(),
                &raised.to_string(),
            );
        }
        w.key("max_output_tokens").u64(raised);
    }
    let off =
        request.reasoning.depth == ReasoningDepth::Off && profile.efforts.contains(&crate::ir::Effort::None);
    let takes = profile.sampling == Sampling::Full || off || report.client() == Format::Responses;
    for (member, name, value) in [
        (Member::Temperature, "temperature", request.temperature),
        (Member::TopP, "top_p", request.top_p),
    ] {
        match value {
            Some(value) if takes => w.key(name).raw(value),
            value => lose(report, value.is_some(), member, Class::Hint)?,
        }
    }
    if request.logprobs {
        w.key("top_logprobs").u64(request.top_logprobs.unwrap_or(0));
    }
    include(w, request, report);
    lose(report, request.top_k.is_some(), Member::TopK, Class::Hint)?;
    lose(report, request.seed.is_some(), Member::Seed, Class::Hint)?;
    lose(
        report,
        crate::encode::messages_request::nonzero(request.frequency_penalty),
        Member::FrequencyPenalty,
        Class::Hint,
    )?;
    lose(
        report,
        crate::encode::messages_request::nonzero(request.presence_penalty),
        Member::PresencePenalty,
        Class::Hint,
    )?;
    lose(
        report,
        request.candidates.is_some_and(|count| count > 1),
        Member::Candidates,
        Class::Must,
    )?;
    lose(report, !request.stop.is_empty(), Member::Stop, Class::Must)
}

/// Encrypted reasoning is always asked for: it is what lets a conversation go on without stored state.
pub(super) fn include(w: &mut Writer<'_>, request: &Request<'_>, report: &Report) {
    if report.client() == Format::Responses {
        if !request.include.is_empty() {
            w.key("include").array(|w| {
                for word in &request.include {
                    w.item().str(word);
                }
            });
        }
        return;
    }
    let encrypted = true;
    if !encrypted && !request.logprobs {
        return;
    }
    w.key("include").array(|w| {
        if encrypted {
            w.item().str("reasoning.encrypted_content");
        }
        if request.logprobs {
            w.item().str("message.output_text.logprobs");
        }
    });
}

pub(super) fn reasoning(w: &mut Writer<'_>, request: &Request<'_>, profile: &Profile, report: &mut Report) {
    let effort = effort(request, profile, report);
    let asked = !matches!(
        request.reasoning.depth,
        ReasoningDepth::Unset | ReasoningDepth::Off
    );
    let own = report.client() == Format::Responses;
    let shown = match request.reasoning.show {
        Show::Summary => true,
        // Anthropic shows its thinking unless it is told not to.
        Show::Default => report.client() == Format::Messages,
        Show::Hidden => false,
    };
    let summary = if own {
        request.reasoning.summary
    } else {
        (shown && asked).then_some(Summary::Auto)
    };
    if effort.is_none() && summary.is_none() {
        return;
    }
    w.key("reasoning").object(|w| {
        if let Some(effort) = effort {
            w.key("effort").str(effort.as_str());
        }
        if let Some(summary) = summary {
            w.key("summary").str(summary.as_str());
        }
    });
}

pub(super) fn text(w: &mut Writer<'_>, request: &Request<'_>) {
    if request.output == OutputFormat::Text && request.verbosity.is_none() {
        return;
    }
    w.key("text").object(|w| {
        match &request.output {
            OutputFormat::Text => {}
            OutputFormat::JsonObject => w.key("format").raw(Raw::of_const(r#"{"type":"json_object"}"#)),
            OutputFormat::JsonSchema { .. } => w.key("format").object(|w| {
                w.key("type").str("json_schema");
                json_schema(w, &request.output);
            }),
        }
        if let Some(verbosity) = &request.verbosity {
            w.key("verbosity").text(verbosity);
        }
    });
}

pub(super) fn identity(w: &mut Writer<'_>, request: &Request<'_>, report: &mut Report) -> Result<(), Error> {
    let own = report.client() == Format::Responses;
    match (&request.safety_identifier, &request.user) {
        (Some(id), _) => safety_identifier(w, id, report),
        (None, Some(user)) if !own => safety_identifier(w, user, report),
        _ => {}
    }
    match &request.user {
        Some(user) if own => w.key("user").text(user),
        user => {
            let lost = user.is_some() && request.safety_identifier.is_some();
            lose(report, lost, Member::User, Class::Inert)?;
        }
    }
    if let Some(key) = cache_key(request, report) {
        w.key("prompt_cache_key").text(&key);
    }
    if let Some(metadata) = request.metadata {
        w.key("metadata").raw(metadata);
    }
    if let Some(tier) = &request.service_tier {
        w.key("service_tier").str(openai_tier(tier));
    }
    Ok(())
}

/// OpenAI's request-wide caching controls, and what Anthropic's mean there.
pub(super) fn caching(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    target: &Target<'_>,
    report: &mut Report,
) -> Result<(), Error> {
    if let Some(options) = request.cache_options {
        w.key("prompt_cache_options").raw(options);
        return Ok(());
    }
    let warm = request.max_output_tokens == Some(0) && report.client() == Format::Messages;
    let implicit = request.cache.is_some() && knows_breakpoints(target);
    let compared = request.compared_answer.as_ref();
    lose(
        report,
        request.cache.is_some() && !implicit,
        Member::Cache,
        Class::Inert,
    )?;
    if !warm && !implicit && compared.is_none() {
        return Ok(());
    }
    w.key("prompt_cache_options").object(|w| {
        if implicit {
            w.key("mode").str("implicit");
        }
        if let Some(id) = compared {
            let id = names::answer_id(&id.decode(), Format::Responses, "");
            w.key("comparison_response_id").str(&id);
        }
        if warm {
            w.key("prewarm").bool(true);
        }
    });
    Ok(())
}

/// What Responses has no member for.
pub(super) fn others(request: &Request<'_>, report: &mut Report) -> Result<(), Error> {
    let text_only = request.modalities.iter().all(|kind| kind == "text");
    lose(report, !text_only, Member::Modalities, Class::Must)?;
    lose(report, request.speech.is_some(), Member::Speech, Class::Must)?;
    let code = request
        .tools
        .iter()
        .any(|tool| hosted::of(tool) == Some(Capability::CodeExecution));
    // The container's id goes with the tool that runs in it; an object also names skills.
    let id = request
        .container
        .is_some_and(|container| container.as_text().is_some());
    lose(
        report,
        request.container.is_some() && !(id && code),
        Member::Container,
        Class::Must,
    )
}
