//! Request bodies of Responses to the IR.

mod calls;
mod items;
mod parts;
mod tools;

use super::intake::Intake;
use super::openai::{natives, reasoning, tool_choice};
use crate::error::{Error, ErrorKind};
use crate::ir::{OutputFormat, Reasoning, Request, Show, Summary, SystemBlock, TextBlock};
use crate::json::from_str;
use crate::report::Class;
use crate::wire::responses as wire;
use items::items;
use tools::tools;

/// Members without a place in the IR (conversion.md 4.2); what is not listed is a hint.
const CLASSES: &[(&str, Class)] = &[
    ("previous_response_id", Class::Must),
    ("conversation", Class::Must),
    ("prompt", Class::Must),
    ("access_programs", Class::Must),
    ("image", Class::Inert),
    ("background_options", Class::Inert),
    ("prompt_cache_retention", Class::Inert),
    ("client_metadata", Class::Inert),
];

pub(super) fn decode<'a>(body: &'a str, intake: &Intake) -> Result<Request<'a>, Error> {
    let wire: wire::Request<'_> = from_str(body)?;
    let input = wire
        .input
        .ok_or_else(|| Error::at(ErrorKind::Missing, "/input", "`input` is required"))?;
    let include = wire.include.unwrap_or_default();
    let asked = |name: &str| include.iter().any(|word| word == name);
    let text = wire.text.unwrap_or_default();
    let controls = wire.reasoning.unwrap_or_default();
    let show = match controls.summary.as_deref() {
        Some("none") => Show::Hidden,
        Some(_) => Show::Summary,
        None => Show::Default,
    };
    members(&controls, &text, intake);
    match (wire.background, wire.truncation.as_deref()) {
        (Some(true), _) => intake.lose("background".to_owned(), Class::Must),
        (_, Some("auto")) => intake.lose("truncation".to_owned(), Class::Hint),
        _ => {}
    }
    let mut request = Request {
        model: wire.model.unwrap_or_default(),
        stream: wire.stream.unwrap_or(false),
        include_usage: true,
        tools: tools(wire.tools.unwrap_or_default(), intake)?,
        tool_choice: match wire.tool_choice {
            Some(raw) => tool_choice(raw).map_err(|error| error.under("tool_choice"))?,
            None => None,
        },
        parallel_tool_calls: wire.parallel_tool_calls,
        temperature: wire.temperature,
        top_p: wire.top_p,
        max_output_tokens: wire.max_output_tokens.map(u64::from),
        logprobs: asked("message.output_text.logprobs")
            || wire.top_logprobs.is_some_and(|top| u64::from(top) > 0),
        top_logprobs: wire.top_logprobs.map(u64::from),
        reasoning: Reasoning {
            summary: summary(controls.summary.as_deref()),
            ..reasoning(controls.effort.as_deref(), show, "reasoning.effort", intake)
        },
        output: output(text.format)?,
        verbosity: text.verbosity,
        cache_key: wire.prompt_cache_key,
        user: wire.user,
        safety_identifier: wire.safety_identifier,
        metadata: wire.metadata,
        service_tier: wire.service_tier,
        store: wire.store,
        include_encrypted_reasoning: asked("reasoning.encrypted_content"),
        max_tool_calls: wire.max_tool_calls.map(u64::from),
        cache_options: wire.prompt_cache_options,
        natives: natives(wire.extra, CLASSES),
        ..Request::default()
    };
    request.include = include;
    if let Some(text) = wire.instructions.filter(|text| !text.is_empty()) {
        request.system.push(SystemBlock {
            developer: true,
            text: TextBlock {
                text,
                ..TextBlock::default()
            },
        });
    }
    items(input, &mut request, intake)?;
    Ok(request)
}

/// Members of the small objects that no other format has.
fn members(controls: &wire::Reasoning<'_>, text: &wire::TextConfig<'_>, intake: &Intake) {
    for (name, value) in [
        ("reasoning.context", controls.context),
        ("reasoning.mode", controls.mode),
    ] {
        let plain =
            value.is_none_or(|value| value.is_null() || matches!(value.get(), "\"auto\"" | "\"standard\""));
        if !plain {
            intake.lose(name.to_owned(), Class::Hint);
        }
    }
    intake.extra("reasoning", &controls.extra, &[]);
    intake.extra("text", &text.extra, &[]);
}

fn summary(word: Option<&str>) -> Option<Summary> {
    match word? {
        "auto" => Some(Summary::Auto),
        "concise" => Some(Summary::Concise),
        "detailed" => Some(Summary::Detailed),
        _ => None,
    }
}

fn output(format: Option<wire::TextFormat<'_>>) -> Result<OutputFormat<'_>, Error> {
    let Some(format) = format else {
        return Ok(OutputFormat::Text);
    };
    match format.kind.as_deref() {
        Some("json_object") => Ok(OutputFormat::JsonObject),
        Some("json_schema") => Ok(OutputFormat::JsonSchema {
            name: format.name,
            description: format.description,
            schema: format.schema.ok_or_else(|| {
                Error::at(ErrorKind::Missing, "/text/format/schema", "a schema is required")
            })?,
            openapi: false,
            strict: format.strict,
        }),
        _ => Ok(OutputFormat::Text),
    }
}
