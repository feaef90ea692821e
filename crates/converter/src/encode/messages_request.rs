//! The IR to request bodies of Messages.

mod content;
mod plan;
mod settings;
mod tools;
mod turns;

pub(super) use plan::budget_of;
pub(super) use settings::nonzero;

use super::parts::{lose, natives};
use crate::error::Error;
use crate::ir::{Member, OutputFormat, Request, TextBlock};
use crate::json::Writer;
use crate::profile::{Profile, profile};
use crate::report::{Class, Mode, Report};
use crate::target::{Options, Target};
use content::text_block;
use plan::thinking_plan;
use settings::{identity, others, output_config, sampling, thinking};
use tools::{servers, tools};
use turns::messages;

pub(super) fn encode(
    request: &Request<'_>,
    target: &Target<'_>,
    options: &Options,
    report: &mut Report,
) -> Result<Vec<u8>, Error> {
    let mut out = Vec::with_capacity(4096);
    let mut w = Writer::new(&mut out);
    let profile = profile(target.format, target.dialect, target.model);
    let plan = thinking_plan(request, &profile, options, report);
    w.begin_object();
    w.key("model").str(target.model);
    w.key("max_tokens").u64(plan.max_tokens);
    system(&mut w, request, &profile, report)?;
    messages(&mut w, request, target, &profile, &plan, report)?;
    tools(&mut w, request, target, &profile, &plan, report)?;
    thinking(&mut w, request, &profile, &plan, report);
    output_config(&mut w, request, &profile, &plan);
    sampling(&mut w, request, target, &profile, &plan, report)?;
    identity(&mut w, request, report)?;
    servers(&mut w, request, report)?;
    others(request, report)?;
    if request.stream {
        w.key("stream").bool(true);
    }
    natives(&mut w, request, target, report)?;
    w.end_object();
    Ok(out)
}

fn system(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    profile: &Profile,
    report: &mut Report,
) -> Result<(), Error> {
    let instruction = match &request.output {
        OutputFormat::JsonObject => Some("Respond with a single JSON object and nothing else.".to_owned()),
        OutputFormat::JsonSchema { schema, .. } if !profile.structured_output => Some(format!(
            "Respond with a single JSON value that matches this JSON Schema and nothing else:\n{}",
            schema.get()
        )),
        _ => None,
    };
    let texts: Vec<&TextBlock<'_>> = request
        .system
        .iter()
        .map(|block| &block.text)
        .filter(|block| !block.text.is_blank())
        .collect();
    if instruction.is_some() {
        if report.mode() == Mode::Strict {
            lose(report, true, Member::Output, Class::Hint)?;
        }
        report.emulated(Member::Output.path(report.client()), "instruction");
    }
    if texts.is_empty() && instruction.is_none() {
        return Ok(());
    }
    w.key("system").array(|w| {
        for block in texts {
            text_block(w.item(), &block.text, block.cache);
        }
        if let Some(text) = instruction {
            text_block(w.item(), &text.into(), None);
        }
    });
    Ok(())
}
