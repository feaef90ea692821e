//! Request bodies of Messages to the IR.

use std::borrow::Cow;

use super::openai::{natives, opaque};
use crate::error::{Error, ErrorKind};
use crate::format::Format;
use crate::ir::block::Native;
use crate::ir::{
    Arguments, Block, CacheMark, Effort, Media, MediaKind, Opaque, OutputFormat, Reasoning, ReasoningDepth,
    Request, Role, Show, Source, State, SystemBlock, TextBlock, Thought, Tool, ToolCall, ToolChoice,
    ToolKind, ToolResult, Turn,
};
use crate::json::{Raw, from_str};
use crate::media;
use crate::report::Class;
use crate::wire::Content;
use crate::wire::messages as wire;

/// Members without a place in the IR (conversion.md 4.3); what is not listed is a hint.
const CLASSES: &[(&str, Class)] = &[
    ("container", Class::Must),
    ("diagnostics", Class::Inert),
    ("inference_geo", Class::Must),
    ("anthropic_version", Class::Inert),
    ("anthropic_beta", Class::Inert),
];

/// Claude Code puts this in front of its system text; it changes with every request and would break every prompt cache
/// (conversion.md 7.9).
const BILLING: &str = "x-anthropic-billing-header:";

pub(super) fn decode(body: &str) -> Result<Request<'_>, Error> {
    let wire: wire::Request<'_> = from_str(body)?;
    let messages = wire
        .messages
        .ok_or_else(|| Error::at(ErrorKind::Missing, "/messages", "`messages` is required"))?;
    let output_config = wire.output_config.unwrap_or_default();
    let tools = tools(wire.tools.unwrap_or_default())?;
    let parallel = wire
        .tool_choice
        .as_ref()
        .and_then(|choice| choice.disable_parallel_tool_use);
    let mut request = Request {
        model: wire.model.unwrap_or_default(),
        stream: wire.stream.unwrap_or(false),
        include_usage: true,
        system: system(wire.system),
        tool_choice: wire.tool_choice.and_then(|choice| tool_choice(choice, &tools)),
        tools,
        parallel_tool_calls: parallel.map(|disabled| !disabled),
        temperature: wire.temperature,
        top_p: wire.top_p,
        top_k: wire.top_k,
        max_output_tokens: wire.max_tokens,
        stop: wire.stop_sequences.unwrap_or_default(),
        reasoning: reasoning(wire.thinking, output_config.effort.as_deref()),
        output: output(output_config.format)?,
        cache: cache(wire.cache_control.as_ref()),
        safety_identifier: wire.metadata.and_then(|metadata| metadata.user_id),
        service_tier: wire.service_tier,
        natives: natives(wire.extra, CLASSES),
        ..Request::default()
    };
    for (index, message) in messages.into_iter().enumerate() {
        let path = format!("messages[{index}]");
        turn(message, path, &mut request).map_err(|error| error.under_index(index).under("messages"))?;
    }
    Ok(request)
}

fn system<'a>(system: Option<Content<'a, wire::ContentBlock<'a>>>) -> Vec<SystemBlock<'a>> {
    let texts = match system {
        None => Vec::new(),
        Some(Content::Text(text)) => vec![TextBlock {
            text,
            ..TextBlock::default()
        }],
        Some(Content::Parts(blocks)) => blocks
            .into_iter()
            .filter_map(|block| {
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

fn cache(marker: Option<&wire::CacheControl<'_>>) -> Option<CacheMark> {
    marker.map(|marker| {
        if marker.ttl.as_deref() == Some("1h") {
            CacheMark::Long
        } else {
            CacheMark::Short
        }
    })
}

/// Results first as a turn of their own, then what the user said beside them.
fn turn<'a>(message: wire::Message<'a>, path: String, request: &mut Request<'a>) -> Result<(), Error> {
    let role = match message.role.as_deref() {
        Some("user") => Role::User,
        Some("assistant") => Role::Assistant,
        Some("system") => Role::System,
        Some(other) => {
            let other: String = other.chars().take(40).collect();
            let text = format!("unknown role `{other}`; the roles are user, assistant, system");
            return Err(Error::at(ErrorKind::Invalid, "/role", text));
        }
        None => return Err(Error::at(ErrorKind::Missing, "/role", "`role` is required")),
    };
    let content = message
        .content
        .ok_or_else(|| Error::at(ErrorKind::Missing, "/content", "`content` is required"))?;
    let blocks = match content {
        Content::Text(text) => vec![Block::Text(TextBlock {
            text,
            ..TextBlock::default()
        })],
        Content::Parts(parts) => {
            let must = role == Role::User;
            let numbered = parts.into_iter().enumerate();
            let blocks: Result<Vec<_>, Error> = numbered
                .map(|(index, part)| {
                    block(part, format!("{path}.content[{index}]"), must)
                        .map_err(|error| error.under_index(index).under("content"))
                })
                .collect();
            blocks?
        }
    };
    let (results, others): (Vec<_>, Vec<_>) = blocks
        .into_iter()
        .partition(|block| role == Role::User && matches!(block, Block::ToolResult(_)));
    let mut push = |role, blocks: Vec<Block<'a>>| {
        request.turns.push(Turn {
            role,
            developer: false,
            name: None,
            blocks,
            path: path.clone(),
        });
    };
    if !results.is_empty() {
        push(Role::Tool, results);
        if others.is_empty() {
            return Ok(());
        }
    }
    push(role, others);
    Ok(())
}

fn block<'a>(block: wire::ContentBlock<'a>, path: String, must: bool) -> Result<Block<'a>, Error> {
    let cache = cache(block.cache_control.as_ref());
    let kind = block.kind.clone().unwrap_or_default();
    let missing = |member: &str| {
        Error::at(
            ErrorKind::Missing,
            format!("/{member}"),
            format!("this block needs `{member}`"),
        )
    };
    match kind.as_ref() {
        "text" => {
            let text = block.text.ok_or_else(|| missing("text"))?;
            Ok(Block::Text(TextBlock {
                text,
                cache,
                ..TextBlock::default()
            }))
        }
        "image" | "document" => {
            let raw = block.source.ok_or_else(|| missing("source"))?;
            let source = source(raw, &path).map_err(|error| error.under("source"))?;
            let kind = if kind == "image" {
                MediaKind::Image
            } else {
                MediaKind::Document
            };
            Ok(Block::Media(Media {
                kind,
                source,
                detail: None,
                title: block.title,
                cache,
            }))
        }
        "tool_use" => Ok(Block::ToolCall(tool_call(block, cache)?)),
        "tool_result" => tool_result(block, path, cache),
        "thinking" => {
            let own = |signature: Cow<'a, str>| {
                let state = State::Signature(signature);
                Some(Opaque {
                    origin: Format::Messages,
                    domain: None,
                    state,
                })
            };
            let signature = block.signature.filter(|signature| !signature.is_empty());
            let state = signature.and_then(|signature| opaque(signature, own));
            let text = block
                .thinking
                .into_iter()
                .filter(|text| !text.is_empty())
                .collect();
            Ok(Block::Thought(Thought {
                text,
                summary: false,
                state,
            }))
        }
        "redacted_thinking" => {
            let own = |data| {
                Some(Opaque {
                    origin: Format::Messages,
                    domain: None,
                    state: State::Redacted(data),
                })
            };
            let state = opaque(block.data.ok_or_else(|| missing("data"))?, own);
            Ok(Block::Thought(Thought {
                state,
                ..Thought::default()
            }))
        }
        "search_result" => search_result(block, path),
        "" => Err(missing("type")),
        _ => Ok(Block::Native(Native {
            format: Format::Messages,
            kind,
            json: Raw::of_const("{}"),
            path,
            must,
        })),
    }
}

fn tool_call<'a>(block: wire::ContentBlock<'a>, cache: Option<CacheMark>) -> Result<ToolCall<'a>, Error> {
    let missing = |member: &str| {
        Error::at(
            ErrorKind::Missing,
            format!("/{member}"),
            format!("a tool_use block needs `{member}`"),
        )
    };
    let (id, _) = super::openai::call_id(block.id.ok_or_else(|| missing("id"))?);
    let name = block.name.ok_or_else(|| missing("name"))?;
    let input = block.input.unwrap_or(Raw::of_const("{}"));
    if !input.is_object() {
        return Err(Error::at(
            ErrorKind::Invalid,
            "/input",
            "the input of a tool_use block must be an object",
        ));
    }
    Ok(ToolCall {
        id,
        name,
        arguments: Arguments::Object(input),
        namespace: None,
        state: None,
        cache,
    })
}

fn tool_result<'a>(
    result: wire::ContentBlock<'a>,
    path: String,
    cache: Option<CacheMark>,
) -> Result<Block<'a>, Error> {
    let call_id = result.tool_use_id.ok_or_else(|| {
        Error::at(
            ErrorKind::Missing,
            "/tool_use_id",
            "a tool_result block needs the `tool_use_id` it answers",
        )
    })?;
    let (call_id, _) = super::openai::call_id(call_id);
    let parts = nested(result.content, &path)?;
    Ok(Block::ToolResult(ToolResult {
        call_id,
        name: None,
        parts,
        is_error: result.is_error.unwrap_or(false),
        structured: None,
        custom: false,
        cache,
    }))
}

fn nested<'a>(
    content: Option<Content<'a, wire::ContentBlock<'a>>>,
    path: &str,
) -> Result<Vec<Block<'a>>, Error> {
    match content {
        None => Ok(Vec::new()),
        Some(Content::Text(text)) => Ok(vec![Block::Text(TextBlock {
            text,
            ..TextBlock::default()
        })]),
        Some(Content::Parts(parts)) => {
            let numbered = parts.into_iter().enumerate();
            let blocks = numbered.map(|(index, part)| {
                block(part, format!("{path}.content[{index}]"), true)
                    .map_err(|error| error.under_index(index).under("content"))
            });
            blocks.collect()
        }
    }
}

/// Title, source and text of a search result, as text.
fn search_result<'a>(block: wire::ContentBlock<'a>, path: String) -> Result<Block<'a>, Error> {
    let title = block
        .title
        .map(|title| title.decode().into_owned())
        .unwrap_or_default();
    let source = block
        .source
        .and_then(Raw::as_text)
        .map(|source| source.decode().into_owned())
        .unwrap_or_default();
    let mut text = format!("{title}\n{source}");
    for part in nested(block.content, &path)? {
        if let Block::Text(part) = part {
            text.push('\n');
            text.push_str(&part.text.decode());
        }
    }
    Ok(Block::Text(TextBlock {
        text: text.into(),
        ..TextBlock::default()
    }))
}

fn source<'a>(raw: Raw<'a>, path: &str) -> Result<Source<'a>, Error> {
    let source: wire::Source<'a> = from_str(raw.get())?;
    let missing = |member: &str| {
        Error::at(
            ErrorKind::Missing,
            format!("/{member}"),
            format!("this source needs `{member}`"),
        )
    };
    match source.kind.as_deref() {
        Some("base64") => Ok(Source::Base64 {
            mime: media::repair(source.media_type.ok_or_else(|| missing("media_type"))?),
            data: source.data.ok_or_else(|| missing("data"))?,
        }),
        Some("url") => Ok(Source::Url {
            url: source.url.ok_or_else(|| missing("url"))?,
            mime: None,
        }),
        Some("file") => Ok(Source::File {
            id: source.file_id.ok_or_else(|| missing("file_id"))?,
            owner: Format::Messages,
        }),
        Some("text") => Ok(Source::Text(source.data.ok_or_else(|| missing("data"))?)),
        Some("content") => Ok(Source::Blocks(nested(source.content, path)?)),
        _ => Err(Error::at(
            ErrorKind::Invalid,
            "/type",
            "a source is base64, url, file, text or content",
        )),
    }
}

fn tools(tools: Vec<Raw<'_>>) -> Result<Vec<Tool<'_>>, Error> {
    let mut list = Vec::with_capacity(tools.len());
    for (index, raw) in tools.into_iter().enumerate() {
        let at = |error: Error| error.under_index(index).under("tools");
        let tool: wire::Tool<'_> = from_str(raw.get()).map_err(at)?;
        let missing = || at(Error::at(ErrorKind::Missing, "/name", "a tool needs a `name`"));
        let cache = cache(tool.cache_control.as_ref());
        let (name, kind) = match tool.kind {
            None => (tool.name.ok_or_else(missing)?, None),
            Some(kind) if kind == "custom" => (tool.name.ok_or_else(missing)?, None),
            Some(kind) => (tool.name.unwrap_or_else(|| kind.clone()), Some(kind)),
        };
        let kind = match kind {
            Some(kind) => ToolKind::Hosted {
                format: Format::Messages,
                kind,
                json: raw,
            },
            None => ToolKind::Function {
                parameters: tool.input_schema,
                openapi: false,
                strict: tool.strict,
            },
        };
        let path = format!("tools[{index}]");
        list.push(Tool {
            name,
            description: tool.description,
            kind,
            namespace: None,
            cache,
            path,
        });
    }
    Ok(list)
}

fn tool_choice<'a>(choice: wire::ToolChoice<'a>, tools: &[Tool<'a>]) -> Option<ToolChoice<'a>> {
    match choice.kind.as_deref()? {
        "auto" => Some(ToolChoice::Auto),
        "any" => Some(ToolChoice::Any),
        "none" => Some(ToolChoice::None),
        "tool" => {
            let name = choice.name?;
            let hosted = tools
                .iter()
                .find(|tool| tool.name == name)
                .is_some_and(|tool| matches!(tool.kind, ToolKind::Hosted { .. }));
            Some(if hosted {
                ToolChoice::Hosted(name)
            } else {
                ToolChoice::Tool(name)
            })
        }
        _ => None,
    }
}

fn reasoning(thinking: Option<wire::Thinking<'_>>, effort: Option<&str>) -> Reasoning {
    let effort = effort.and_then(Effort::parse);
    let Some(thinking) = thinking else {
        return Reasoning {
            depth: ReasoningDepth::Unset,
            effort,
            show: Show::Default,
        };
    };
    let show = match thinking.display.as_deref() {
        Some("omitted") => Show::Hidden,
        _ => Show::Summary,
    };
    let depth = match thinking.kind.as_deref() {
        Some("enabled") => ReasoningDepth::Budget(thinking.budget_tokens.unwrap_or(1024)),
        Some("disabled" | "between_tools") => ReasoningDepth::Off,
        Some("adaptive") => ReasoningDepth::Dynamic,
        _ => ReasoningDepth::Unset,
    };
    Reasoning { depth, effort, show }
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
