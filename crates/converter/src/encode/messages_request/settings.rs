//! Thinking, output, sampling and identity of a Messages request.

use super::content::cache;
use super::plan::{Form, Plan};
use crate::encode::parts::{lose, names_lost};
use crate::error::Error;
use crate::hosted::{self, Capability};
use crate::ir::{Block, Member, OutputFormat, Request, Show, Thought, ToolKind};
use crate::json::{Raw, Writer};
use crate::profile::{Profile, Sampling, Thinking};
use crate::report::{Class, Report};
use crate::target::Target;
use crate::{Dialect, Format, schema};

/// Beta of the switch that lets a thinking block go whose prefix changed, instead of refusing the request.
pub(super) const BINDING_BETA: &str = "thinking-binding-controls-2026-08-01";

pub(super) fn thinking(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    profile: &Profile,
    plan: &Plan,
    report: &mut Report,
) {
    let display = match request.reasoning.show {
        Show::Hidden => Some("omitted"),
        Show::Summary => Some("summarized"),
        Show::Default => (report.client() != Format::Messages).then_some("summarized"),
    };
    // Converted history loses its prefix more easily than the vendor's own (conversion.md 7.5).
    let binding = profile.preserved_thinking
        && report.client() != Format::Messages
        && request.turns.iter().flat_map(|turn| &turn.blocks).any(restored);
    if binding {
        report.beta(BINDING_BETA);
    }
    let bind = |w: &mut Writer<'_>| {
        if binding {
            w.key("block_binding")
                .raw(Raw::of_const(r#"{"prefix_mismatch_behavior":"drop_block"}"#));
        }
    };
    match plan.thinking {
        Form::Absent if binding && plan.effort.is_none() => {
            // The model thinks by default; the switch needs a form to stand in.
            w.key("thinking").object(|w| {
                w.key("type").str("adaptive");
                bind(w);
            });
        }
        Form::Absent => {}
        Form::Disabled if profile.thinking == Thinking::No => {}
        Form::Disabled => w.key("thinking").raw(Raw::of_const(r#"{"type":"disabled"}"#)),
        Form::BetweenTools => w
            .key("thinking")
            .raw(Raw::of_const(r#"{"type":"between_tools"}"#)),
        Form::Adaptive => w.key("thinking").object(|w| {
            w.key("type").str("adaptive");
            if let Some(display) = display {
                w.key("display").str(display);
            }
            bind(w);
        }),
        Form::Budget(budget) => w.key("thinking").object(|w| {
            w.key("type").str("enabled");
            w.key("budget_tokens").u64(budget);
        }),
    }
}

/// A thinking block of Anthropic that goes back.
pub(super) fn restored(block: &Block<'_>) -> bool {
    matches!(block, Block::Thought(Thought { state: Some(state), .. }) if state.origin == Format::Messages)
}

pub(super) fn output_config(w: &mut Writer<'_>, request: &Request<'_>, profile: &Profile, plan: &Plan) {
    let schema = match &request.output {
        OutputFormat::JsonSchema { schema, openapi, .. } if profile.structured_output => {
            Some((*schema, *openapi))
        }
        _ => None,
    };
    if plan.effort.is_none() && schema.is_none() {
        return;
    }
    w.key("output_config").object(|w| {
        if let Some(effort) = plan.effort {
            w.key("effort").str(effort.as_str());
        }
        if let Some((schema, openapi)) = schema {
            w.key("format").object(|w| {
                w.key("type").str("json_schema");
                let plain = if openapi {
                    schema::rewrite(schema, schema::Profile::FromOpenApi).0
                } else {
                    schema.get().into()
                };
                let (schema, _) = schema::rewrite(Raw(&plain), schema::Profile::AnthropicOutput);
                w.key("schema").raw(Raw(&schema));
            });
        }
    });
}

pub(super) fn sampling(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    target: &Target<'_>,
    profile: &Profile,
    plan: &Plan,
    report: &mut Report,
) -> Result<(), Error> {
    let thinks = matches!(plan.thinking, Form::Budget(_) | Form::Adaptive);
    let takes = profile.sampling == Sampling::Full && target.dialect != Dialect::Anthropic20261021 && !thinks;
    match request.temperature {
        Some(value) if takes => {
            if value.get().parse::<f64>().is_ok_and(|value| value > 1.0) {
                report.altered(Member::Temperature.path(report.client()), value.get(), "1");
                w.key("temperature").u64(1);
            } else {
                w.key("temperature").raw(value);
            }
        }
        value => lose(report, value.is_some(), Member::Temperature, Class::Hint)?,
    }
    let own = report.client() == Format::Messages;
    match request.top_p {
        // Anthropic's newer models refuse both at once; the temperature wins.
        Some(value) if takes && (own || request.temperature.is_none()) => w.key("top_p").raw(value),
        value => lose(report, value.is_some(), Member::TopP, Class::Hint)?,
    }
    match request.top_k {
        Some(value) if takes => w.key("top_k").raw(value),
        value => lose(report, value.is_some(), Member::TopK, Class::Hint)?,
    }
    lose(
        report,
        nonzero(request.frequency_penalty),
        Member::FrequencyPenalty,
        Class::Hint,
    )?;
    lose(
        report,
        nonzero(request.presence_penalty),
        Member::PresencePenalty,
        Class::Hint,
    )?;
    lose(report, request.seed.is_some(), Member::Seed, Class::Hint)?;
    lose(
        report,
        request.candidates.is_some_and(|count| count > 1),
        Member::Candidates,
        Class::Must,
    )?;
    let logprobs = request.logprobs || request.top_logprobs.is_some_and(|top| top > 0);
    lose(report, logprobs, Member::Logprobs, Class::Must)?;
    stop(w, request, report);
    Ok(())
}

pub(in crate::encode) fn nonzero(value: Option<Raw<'_>>) -> bool {
    value.is_some_and(|value| value.get().parse::<f64>().is_ok_and(|value| value != 0.0))
}

pub(super) fn stop(w: &mut Writer<'_>, request: &Request<'_>, report: &mut Report) {
    for (index, _) in request
        .stop
        .iter()
        .enumerate()
        .filter(|(_, text)| text.is_blank())
    {
        report.dropped(format!("{}[{index}]", Member::Stop.path(report.client())));
    }
    if request.stop.iter().any(|text| !text.is_blank()) {
        w.key("stop_sequences").array(|w| {
            for text in request.stop.iter().filter(|text| !text.is_blank()) {
                w.item().text(text);
            }
        });
    }
}

pub(super) fn identity(w: &mut Writer<'_>, request: &Request<'_>, report: &mut Report) -> Result<(), Error> {
    if let Some(user) = request.safety_identifier.as_ref().or(request.user.as_ref()) {
        w.key("metadata").object(|w| w.key("user_id").text(user));
    }
    let both = request.safety_identifier.is_some() && request.user.is_some();
    lose(report, both, Member::User, Class::Inert)?;
    match request.service_tier.as_deref() {
        Some("auto") => w.key("service_tier").str("auto"),
        Some("default" | "standard" | "standard_only") => w.key("service_tier").str("standard_only"),
        tier => lose(report, tier.is_some(), Member::Tier, Class::Hint)?,
    }
    cache(w, request.cache);
    lose(
        report,
        request.verbosity.is_some(),
        Member::Verbosity,
        Class::Hint,
    )
}

/// What Messages has no member for.
pub(super) fn others(request: &Request<'_>, report: &mut Report) -> Result<(), Error> {
    let text_only = request.modalities.iter().all(|kind| kind == "text");
    lose(report, !text_only, Member::Modalities, Class::Must)?;
    lose(report, request.speech.is_some(), Member::Speech, Class::Must)?;
    lose(report, request.metadata.is_some(), Member::Metadata, Class::Inert)?;
    lose(
        report,
        request.cache_key.is_some(),
        Member::CacheKey,
        Class::Inert,
    )?;
    lose(
        report,
        request.cache_options.is_some(),
        Member::CacheOptions,
        Class::Inert,
    )?;
    match (report.client(), request.store) {
        // Whoever asks Responses to store an answer wants it back by its id.
        (Format::Responses, Some(true)) => report.dropped(Member::Store.path(Format::Responses)),
        (_, store) => lose(report, store.is_some(), Member::Store, Class::Inert)?,
    }
    let uses = request
        .tools
        .iter()
        .filter(|tool| matches!(tool.kind, ToolKind::Hosted { .. }))
        .count();
    let limited = request.tools.iter().any(|tool| {
        matches!(
            hosted::of(tool),
            Some(Capability::WebSearch | Capability::WebFetch)
        )
    });
    let carried = uses == 1 && limited;
    lose(
        report,
        request.max_tool_calls.is_some() && !carried,
        Member::ToolCalls,
        Class::Hint,
    )?;
    names_lost(request, report)
}
