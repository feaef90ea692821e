//! Request bodies of Chat Completions to the IR.

mod messages;
mod parts;
mod tools;

use super::intake::Intake;
use super::openai::{natives, reasoning, strings, tool_choice};
use crate::error::{Error, ErrorKind};
use crate::format::Format;
use crate::ir::{OutputFormat, ReasoningDepth, Request, Show, Speech, Tool, ToolKind};
use crate::json::{Raw, from_str};
use crate::report::Class;
use crate::wire::chat as wire;
use messages::messages_of;
use tools::tools;

/// Members without a place in the IR (conversion.md 4.1); what is not listed is a hint.
const CLASSES: &[(&str, Class)] = &[("prompt_cache_retention", Class::Inert)];

pub(super) fn decode<'a>(body: &'a str, intake: &Intake) -> Result<Request<'a>, Error> {
    let wire: wire::Request<'_> = from_str(body)?;
    let messages = wire
        .messages
        .ok_or_else(|| Error::at(ErrorKind::Missing, "/messages", "`messages` is required"))?;
    let legacy_functions = wire.functions.is_some();
    let mut request = Request {
        model: wire.model.unwrap_or_default(),
        stream: wire.stream.unwrap_or(false),
        include_usage: wire
            .stream_options
            .and_then(|options| options.include_usage)
            .unwrap_or(false),
        tools: tools(
            wire.tools.unwrap_or_default(),
            wire.functions.unwrap_or_default(),
            intake,
        )?,
        tool_choice: match wire.tool_choice.or(wire.function_call) {
            Some(raw) => tool_choice(raw).map_err(|error| error.under("tool_choice"))?,
            None => None,
        },
        parallel_tool_calls: wire.parallel_tool_calls,
        temperature: wire.temperature,
        top_p: wire.top_p,
        top_k: wire.top_k,
        frequency_penalty: wire.frequency_penalty,
        presence_penalty: wire.presence_penalty,
        seed: wire.seed,
        candidates: wire.n.map(u64::from),
        max_output_tokens: wire.max_completion_tokens.or(wire.max_tokens).map(u64::from),
        stop: strings(wire.stop).map_err(|error| error.under("stop"))?,
        logprobs: wire.logprobs.unwrap_or(false),
        top_logprobs: wire.top_logprobs.map(u64::from),
        reasoning: reasoning(
            wire.reasoning_effort.as_deref(),
            Show::Default,
            "reasoning_effort",
            intake,
        ),
        output: output(wire.response_format)?,
        verbosity: wire.verbosity,
        cache_key: wire.prompt_cache_key,
        user: wire.user,
        safety_identifier: wire.safety_identifier,
        metadata: wire.metadata,
        service_tier: wire.service_tier,
        store: wire.store,
        modalities: wire.modalities.unwrap_or_default(),
        speech: wire.audio.map(|audio| Speech {
            voice: audio.voice.and_then(Raw::as_text),
            format: audio.format,
        }),
        cache_options: wire.prompt_cache_options,
        legacy_functions,
        natives: natives(wire.extra, CLASSES),
        ..Request::default()
    };
    if !matches!(
        request.reasoning.depth,
        ReasoningDepth::Unset | ReasoningDepth::Off
    ) {
        // A client that asks for reasoning wants to see it where the vendor must be told so (conversion.md section 9).
        request.reasoning.show = Show::Summary;
    }
    if let Some(options) = wire.web_search_options {
        let kind = ToolKind::Hosted {
            format: Format::Chat,
            kind: "web_search_options".into(),
            json: options,
        };
        request
            .tools
            .push(Tool::new("web_search".into(), kind, "web_search_options".into()));
    }
    messages_of(messages, &mut request, intake)?;
    Ok(request)
}

fn output(format: Option<wire::ResponseFormat<'_>>) -> Result<OutputFormat<'_>, Error> {
    let Some(format) = format else {
        return Ok(OutputFormat::Text);
    };
    match format.kind.as_deref() {
        Some("json_object") => Ok(OutputFormat::JsonObject),
        Some("json_schema") => {
            let at = || {
                Error::at(
                    ErrorKind::Missing,
                    "/response_format/json_schema/schema",
                    "a schema is required",
                )
            };
            let declared = format.json_schema.ok_or_else(at)?;
            Ok(OutputFormat::JsonSchema {
                name: declared.name,
                description: declared.description,
                schema: declared.schema.ok_or_else(at)?,
                openapi: false,
                strict: declared.strict,
            })
        }
        _ => Ok(OutputFormat::Text),
    }
}
