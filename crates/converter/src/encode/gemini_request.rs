//! The IR to request bodies of generateContent.

mod config;
mod contents;
mod media;
mod tools;

use super::parts::lose;
use crate::error::Error;
use crate::ir::{Member, OutputFormat, Request};
use crate::json::Writer;
use crate::profile::{Profile, profile};
use crate::report::{Class, Mode, Report};
use crate::target::{Options, Target};
use crate::{Dialect, Format};
use config::config;
use contents::{contents, text_part};
use tools::tools;

pub(super) fn encode(
    request: &Request<'_>,
    target: &Target<'_>,
    _options: &Options,
    report: &mut Report,
) -> Result<Vec<u8>, Error> {
    let mut out = Vec::with_capacity(4096);
    let mut w = Writer::new(&mut out);
    let profile = profile(target.format, target.dialect, target.model);
    w.begin_object();
    contents(&mut w, request, target, &profile, report)?;
    system(&mut w, request, &profile, report)?;
    tools(&mut w, request, target, &profile, report)?;
    config(&mut w, request, &profile, report)?;
    identity(&mut w, request, target, report)?;
    for native in &request.natives {
        if report.client() != Format::Gemini {
            report.cannot_carry(native.path.clone().into_owned(), native.class)?;
        } else if !native.path.contains('.') {
            w.key(&native.path).raw(native.value);
        }
    }
    others(request, report)?;
    w.end_object();
    Ok(out)
}

/// Before Gemini 3 an answer in JSON and functions exclude each other (conversion.md 8.6).
fn json_by_words(request: &Request<'_>, profile: &Profile) -> bool {
    !profile.signatures && request.output != OutputFormat::Text && !request.tools.is_empty()
}

fn system(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    profile: &Profile,
    report: &mut Report,
) -> Result<(), Error> {
    let instruction = match &request.output {
        _ if report.client() == Format::Gemini || !json_by_words(request, profile) => None,
        OutputFormat::Text => None,
        OutputFormat::JsonObject => Some("Respond with a single JSON object and nothing else.".to_owned()),
        OutputFormat::JsonSchema { schema, .. } => Some(format!(
            "Respond with a single JSON value that matches this JSON Schema and nothing else:\n{}",
            schema.get()
        )),
    };
    if instruction.is_some() {
        if report.mode() == Mode::Strict {
            lose(report, true, Member::Output, Class::Hint)?;
        }
        report.emulated(Member::Output.path(report.client()), "instruction");
    }
    if request.system.is_empty() && instruction.is_none() {
        return Ok(());
    }
    w.key("systemInstruction").object(|w| {
        w.key("parts").array(|w| {
            for block in &request.system {
                text_part(w.item(), &block.text.text);
            }
            if let Some(text) = instruction {
                text_part(w.item(), &text.into());
            }
        });
    });
    Ok(())
}

fn identity(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    target: &Target<'_>,
    report: &mut Report,
) -> Result<(), Error> {
    lose(
        report,
        request.verbosity.is_some(),
        Member::Verbosity,
        Class::Hint,
    )?;
    let vertex = target.dialect == Dialect::Vertex;
    match request.service_tier.as_deref() {
        None | Some("auto") => {}
        Some("default" | "standard" | "standard_only") if !vertex => w.key("serviceTier").str("standard"),
        Some(tier @ ("flex" | "priority")) if !vertex => w.key("serviceTier").str(tier),
        Some("default" | "standard" | "standard_only") => {}
        Some(_) => lose(report, true, Member::Tier, Class::Hint)?,
    }
    match request.metadata {
        Some(labels) if report.client() == Format::Gemini => w.key("labels").raw(labels),
        metadata => lose(report, metadata.is_some(), Member::Metadata, Class::Inert)?,
    }
    match (report.client(), request.store) {
        // Whoever asks Responses to store an answer wants it back by its id.
        (Format::Responses, Some(true)) => report.dropped(Member::Store.path(Format::Responses)),
        (Format::Responses, _) => {}
        (_, Some(store)) if !vertex => w.key("store").bool(store),
        (_, store) => lose(report, store.is_some(), Member::Store, Class::Inert)?,
    }
    Ok(())
}

/// What Gemini has no member for.
fn others(request: &Request<'_>, report: &mut Report) -> Result<(), Error> {
    lose(report, request.user.is_some(), Member::User, Class::Inert)?;
    lose(
        report,
        request.safety_identifier.is_some(),
        Member::SafetyIdentifier,
        Class::Inert,
    )?;
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
    lose(report, request.cache.is_some(), Member::Cache, Class::Inert)?;
    lose(
        report,
        request.compared_answer.is_some(),
        Member::Compared,
        Class::Inert,
    )?;
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
