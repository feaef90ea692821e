//! Request bodies of Messages to the IR.

mod blocks;
mod tools;
mod turns;

use super::intake::Intake;
use super::openai::natives;
use crate::error::{Error, ErrorKind};
use crate::ir::{Effort, OutputFormat, Reasoning, ReasoningDepth, Request, Show, SystemBlock, TextBlock};
use crate::json::from_str;
use crate::report::Class;
use crate::wire::{Content, messages as wire};
use blocks::{OF_BLOCKS, cache};
use tools::{tool_choice, tools};
use turns::turn;

/// Members without a place in the IR (conversion.md 4.3); what is not listed is a hint.
const CLASSES: &[(&str, Class)] = &[
    ("anthropic_version", Class::Inert),
    ("anthropic_beta", Class::Inert),
    ("user_profile_id", Class::Inert),
    ("workspace_id", Class::Inert),
];

/// Claude Code puts this in front of its system text; it changes with every request and would break every prompt cache
/// (conversion.md 7.9).
const BILLING: &str = "x-anthropic-billing-header:";

pub(super) fn decode<'a>(body: &'a str, intake: &Intake) -> Result<Request<'a>, Error> {
    let wire: wire::Request<'_> = from_str(body)?;
    let messages = wire
        .messages
        .ok_or_else(|| Error::at(ErrorKind::Missing, "/messages", "`messages` is required"))?;
    let output_config = wire.output_config.unwrap_or_default();
    let tools = tools(wire.tools.unwrap_or_default(), intake)?;
    members(
        &output_config,
        wire.thinking.as_ref(),
        wire.metadata.as_ref(),
        intake,
    );
    let mut natives = natives(wire.extra, CLASSES);
    let musts = [
        // Data residency: nobody else promises a region by this name.
        ("inference_geo", wire.inference_geo.as_deref(), Some("global")),
        // Never upgraded silently: it costs money.
        ("speed", wire.speed.as_deref(), Some("standard")),
    ];
    for (name, value, harmless) in musts {
        if value.is_some() {
            let class = match name {
                _ if value == harmless => Class::Inert,
                "inference_geo" => Class::Must,
                _ => Class::Hint,
            };
            intake.lose(name.to_owned(), class);
        }
    }
    for native in &mut natives {
        beta(native);
    }
    let parallel = wire
        .tool_choice
        .as_ref()
        .and_then(|choice| choice.disable_parallel_tool_use);
    let mut request = Request {
        model: wire.model.unwrap_or_default(),
        stream: wire.stream.unwrap_or(false),
        include_usage: true,
        system: system(wire.system, intake),
        tool_choice: wire.tool_choice.and_then(|choice| tool_choice(choice, &tools)),
        tools,
        parallel_tool_calls: parallel.map(|disabled| !disabled),
        temperature: wire.temperature,
        top_p: wire.top_p,
        top_k: wire.top_k,
        max_output_tokens: wire.max_tokens.map(u64::from),
        stop: wire.stop_sequences.unwrap_or_default(),
        reasoning: reasoning(wire.thinking, output_config.effort.as_deref(), intake),
        output: output(output_config.format)?,
        cache: cache(wire.cache_control.as_ref()),
        safety_identifier: wire.metadata.and_then(|metadata| metadata.user_id),
        service_tier: wire.service_tier,
        mcp_servers: wire.mcp_servers,
        container: wire.container,
        compared_answer: wire
            .diagnostics
            .and_then(|diagnostics| diagnostics.previous_message_id),
        natives,
        ..Request::default()
    };
    for (index, message) in messages.into_iter().enumerate() {
        let path = format!("messages[{index}]");
        turn(message, path, &mut request, intake)
            .map_err(|error| error.under_index(index).under("messages"))?;
    }
    Ok(request)
}

/// Beta members of which one value matters (conversion.md 4.3).
fn beta(native: &mut crate::ir::request::Native<'_>) {
    native.class = match native.path.as_ref() {
        "thread" if native.value.get().contains("\"continue\"") => Class::Must,
        "billing_policy" if native.value.get().contains("user_profile") => Class::Must,
        _ => native.class,
    };
}

/// Members of the small objects that no other format has.
fn members(
    config: &wire::OutputConfig<'_>,
    thinking: Option<&wire::Thinking<'_>>,
    metadata: Option<&wire::Metadata<'_>>,
    intake: &Intake,
) {
    intake.extra("output_config", &config.extra, &[]);
    if let Some(thinking) = thinking {
        intake.extra("thinking", &thinking.extra, &[("block_binding", Class::Inert)]);
    }
    if let Some(metadata) = metadata {
        intake.extra("metadata", &metadata.extra, &[]);
    }
}

fn system<'a>(system: Option<Content<'a, wire::ContentBlock<'a>>>, intake: &Intake) -> Vec<SystemBlock<'a>> {
    let texts = match system {
        None => Vec::new(),
        Some(Content::Text(text)) => vec![TextBlock {
            text,
            ..TextBlock::default()
        }],
        Some(Content::Parts(blocks)) => blocks
            .into_iter()
            .enumerate()
            .filter_map(|(index, block)| {
                let path = format!("system[{index}]");
                if block.text.is_none() {
                    intake.lose(path, Class::Must);
                } else {
                    intake.extra(&path, &block.extra, OF_BLOCKS);
                }
                let cache = cache(block.cache_control.as_ref());
                block.text.map(|text| TextBlock {
                    text,
                    cache,
                    ..TextBlock::default()
                })
            })
            .collect(),
    };
    let kept = texts
        .into_iter()
        .filter(|block| !block.text.is_empty() && !block.text.decode().starts_with(BILLING));
    kept.map(|text| SystemBlock {
        developer: false,
        text,
    })
    .collect()
}

fn reasoning(thinking: Option<wire::Thinking<'_>>, word: Option<&str>, intake: &Intake) -> Reasoning {
    let effort = word.and_then(Effort::parse);
    if effort.is_none() && word.is_some() {
        intake.lose("output_config.effort".to_owned(), Class::Hint);
    }
    let Some(thinking) = thinking else {
        return Reasoning {
            effort,
            ..Reasoning::default()
        };
    };
    let show = match thinking.display.as_deref() {
        Some("omitted") => Show::Hidden,
        Some(_) => Show::Summary,
        None => Show::Default,
    };
    let depth = match thinking.kind.as_deref() {
        Some("enabled") => ReasoningDepth::Budget(thinking.budget_tokens.map_or(1024, u64::from)),
        Some("disabled" | "between_tools") => ReasoningDepth::Off,
        Some("adaptive") => ReasoningDepth::Dynamic,
        _ => {
            intake.lose("thinking.type".to_owned(), Class::Hint);
            ReasoningDepth::Unset
        }
    };
    Reasoning {
        depth,
        effort,
        show,
        summary: None,
    }
}

fn output(format: Option<wire::OutputFormat<'_>>) -> Result<OutputFormat<'_>, Error> {
    let Some(format) = format else {
        return Ok(OutputFormat::Text);
    };
    let schema = format.schema.ok_or_else(|| {
        Error::at(
            ErrorKind::Missing,
            "/output_config/format/schema",
            "a schema is required",
        )
    })?;
    Ok(OutputFormat::JsonSchema {
        name: None,
        description: None,
        schema,
        openapi: false,
        strict: None,
    })
}
