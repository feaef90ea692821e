//! Request bodies of Messages to the IR.

use std::borrow::Cow;

use super::intake::Intake;
use super::openai::natives;
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
    ("anthropic_version", Class::Inert),
    ("anthropic_beta", Class::Inert),
    ("user_profile_id", Class::Inert),
    ("workspace_id", Class::Inert),
];

/// Members of blocks without an effect elsewhere.
const OF_BLOCKS: &[(&str, Class)] = &[
    ("citations", Class::Inert),
    ("caller", Class::Inert),
    ("transformations", Class::Inert),
    ("context", Class::Hint),
];

/// Members of tools without an effect elsewhere (conversion.md 8.1).
const OF_TOOLS: &[(&str, Class)] = &[
    ("input_examples", Class::Inert),
    ("eager_input_streaming", Class::Inert),
];

/// Block types that are read; the others stay whole.
const KNOWN_BLOCKS: &[&str] = &[
    "text",
    "image",
    "document",
    "tool_use",
    "tool_result",
    "thinking",
    "redacted_thinking",
    "search_result",
];

/// Claude Code puts this in front of its system text; it changes with every request and would break every prompt cache
/// (conversion.md 7.9).
const BILLING: &str = "x-anthropic-billing-header:";

pub(super) fn decode<'a>(body: &'a str, intake: &Intake<'_>) -> Result<Request<'a>, Error> {
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
        max_output_tokens: wire.max_tokens,
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
    intake: &Intake<'_>,
) {
    intake.extra("output_config", &config.extra, &[]);
    if let Some(thinking) = thinking {
        intake.extra("thinking", &thinking.extra, &[("block_binding", Class::Inert)]);
    }
    if let Some(metadata) = metadata {
        intake.extra("metadata", &metadata.extra, &[]);
    }
}

fn system<'a>(
    system: Option<Content<'a, wire::ContentBlock<'a>>>,
    intake: &Intake<'_>,
) -> Vec<SystemBlock<'a>> {
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
fn turn<'a>(
    message: wire::Message<'a>,
    path: String,
    request: &mut Request<'a>,
    intake: &Intake<'_>,
) -> Result<(), Error> {
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
    intake.extra(&path, &message.extra, &[]);
    if role == Role::System {
        if message.clear_at.as_deref() == Some("next_user_message") {
            // It stays in place: taking it away later would change the prefix (conversion.md 5.8).
            intake.lose(format!("{path}.clear_at"), Class::Hint);
        }
        if let Some(config) = &message.output_config {
            let path = format!("{path}.output_config");
            effort_update(config, path, request, intake);
        }
    }
    let content = match message.content {
        Some(content) => content,
        // A system message may carry nothing but an effort (beta).
        None if role == Role::System => return Ok(()),
        None => return Err(Error::at(ErrorKind::Missing, "/content", "`content` is required")),
    };
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
                    let path = format!("{path}.content[{index}]");
                    if role == Role::System && tool_change(&part, &path, request, intake)? {
                        return Ok(None);
                    }
                    block(part, path, must, intake).map(Some)
                })
                .enumerate()
                .map(|(index, block)| block.map_err(|error| error.under_index(index).under("content")))
                .collect();
            blocks?.into_iter().flatten().collect()
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

/// An effort in the middle of the conversation: the last one is the one in force.
fn effort_update(
    config: &wire::OutputConfig<'_>,
    path: String,
    request: &mut Request<'_>,
    intake: &Intake<'_>,
) {
    match config.effort.as_deref().and_then(Effort::parse) {
        Some(effort) => {
            request.reasoning.effort = Some(effort);
            if let ReasoningDepth::Effort(_) = request.reasoning.depth {
                request.reasoning.depth = ReasoningDepth::Effort(effort);
            }
        }
        None => intake.lose(path, Class::Hint),
    }
}

/// `tool_addition` appends to the tools; a removed tool stays declared (conversion.md 5.8). True if it was such a block.
fn tool_change<'a>(
    part: &wire::ContentBlock<'a>,
    path: &str,
    request: &mut Request<'a>,
    intake: &Intake<'_>,
) -> Result<bool, Error> {
    match part.kind.as_deref() {
        Some("tool_addition") => {
            if let Some(raw) = part.tool.filter(|raw| raw.is_object()) {
                let tool = tool(raw, format!("{path}.tool"), intake).map_err(|error| error.under("tool"))?;
                let known = request.tools.iter().any(|known| known.name == tool.name);
                if !known && !matches!(&tool.kind, ToolKind::Hosted { kind, .. } if kind == "tool_reference")
                {
                    request.tools.push(tool);
                }
            }
            Ok(true)
        }
        Some("tool_removal") => {
            intake.lose(path.to_owned(), Class::Hint);
            Ok(true)
        }
        _ => Ok(false),
    }
}

fn block<'a>(
    block: wire::ContentBlock<'a>,
    path: String,
    must: bool,
    intake: &Intake<'_>,
) -> Result<Block<'a>, Error> {
    let cache = cache(block.cache_control.as_ref());
    let kind = block.kind.clone().unwrap_or_default();
    if KNOWN_BLOCKS.contains(&kind.as_ref()) {
        intake.extra(&path, &block.extra, OF_BLOCKS);
    }
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
            let source = source(raw, &path, intake).map_err(|error| error.under("source"))?;
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
        "tool_use" => Ok(Block::ToolCall(tool_call(block, cache, intake)?)),
        "tool_result" => tool_result(block, path, cache, intake),
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
            let state = signature.and_then(|signature| intake.opaque(signature, own));
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
            let state = intake.opaque(block.data.ok_or_else(|| missing("data"))?, own);
            Ok(Block::Thought(Thought {
                state,
                ..Thought::default()
            }))
        }
        "search_result" => search_result(block, path, intake),
        "" => Err(missing("type")),
        _ => Ok(Block::Native(Native {
            format: Format::Messages,
            kind,
            json: block.raw,
            path,
            must,
        })),
    }
}

fn tool_call<'a>(
    block: wire::ContentBlock<'a>,
    cache: Option<CacheMark>,
    intake: &Intake<'_>,
) -> Result<ToolCall<'a>, Error> {
    let missing = |member: &str| {
        Error::at(
            ErrorKind::Missing,
            format!("/{member}"),
            format!("a tool_use block needs `{member}`"),
        )
    };
    let id = intake.bare_id(block.id.ok_or_else(|| missing("id"))?);
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
        namespace: block.toolset_name,
        state: None,
        cache,
    })
}

fn tool_result<'a>(
    result: wire::ContentBlock<'a>,
    path: String,
    cache: Option<CacheMark>,
    intake: &Intake<'_>,
) -> Result<Block<'a>, Error> {
    let call_id = result.tool_use_id.ok_or_else(|| {
        Error::at(
            ErrorKind::Missing,
            "/tool_use_id",
            "a tool_result block needs the `tool_use_id` it answers",
        )
    })?;
    let call_id = intake.bare_id(call_id);
    let parts = nested(result.content, &path, intake)?;
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
    intake: &Intake<'_>,
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
                block(part, format!("{path}.content[{index}]"), true, intake)
                    .map_err(|error| error.under_index(index).under("content"))
            });
            blocks.collect()
        }
    }
}

/// Title, source and text of a search result, as text.
fn search_result<'a>(
    block: wire::ContentBlock<'a>,
    path: String,
    intake: &Intake<'_>,
) -> Result<Block<'a>, Error> {
    let mark = cache(block.cache_control.as_ref());
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
    for part in nested(block.content, &path, intake)? {
        if let Block::Text(part) = part {
            text.push('\n');
            text.push_str(&part.text.decode());
        }
    }
    Ok(Block::Text(TextBlock {
        text: text.into(),
        cache: mark,
        ..TextBlock::default()
    }))
}

fn source<'a>(raw: Raw<'a>, path: &str, intake: &Intake<'_>) -> Result<Source<'a>, Error> {
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
        Some("content") => Ok(Source::Blocks(nested(source.content, path, intake)?)),
        _ => Err(Error::at(
            ErrorKind::Invalid,
            "/type",
            "a source is base64, url, file, text or content",
        )),
    }
}

fn tools<'a>(tools: Vec<Raw<'a>>, intake: &Intake<'_>) -> Result<Vec<Tool<'a>>, Error> {
    let mut list = Vec::with_capacity(tools.len());
    for (index, raw) in tools.into_iter().enumerate() {
        let at = |error: Error| error.under_index(index).under("tools");
        list.push(tool(raw, format!("tools[{index}]"), intake).map_err(at)?);
    }
    Ok(list)
}

fn tool<'a>(raw: Raw<'a>, path: String, intake: &Intake<'_>) -> Result<Tool<'a>, Error> {
    let tool: wire::Tool<'a> = from_str(raw.get())?;
    let missing = || Error::at(ErrorKind::Missing, "/name", "a tool needs a `name`");
    let cache = cache(tool.cache_control.as_ref());
    let hosted = tool.kind.filter(|kind| kind != "custom");
    let name = match &hosted {
        None => tool.name.ok_or_else(missing)?,
        Some(kind) => tool.name.unwrap_or_else(|| kind.clone()),
    };
    let kind = match hosted {
        Some(kind) => ToolKind::Hosted {
            format: Format::Messages,
            kind,
            json: raw,
        },
        None => {
            intake.extra(&path, &tool.extra, OF_TOOLS);
            ToolKind::Function {
                parameters: tool.input_schema.filter(|schema| !schema.is_null()),
                openapi: false,
                strict: tool.strict,
            }
        }
    };
    Ok(Tool {
        description: tool.description,
        cache,
        defer: tool.defer_loading.unwrap_or(false),
        callers: tool.allowed_callers,
        ..Tool::new(name, kind, path)
    })
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

fn reasoning(thinking: Option<wire::Thinking<'_>>, word: Option<&str>, intake: &Intake<'_>) -> Reasoning {
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
        Some("enabled") => ReasoningDepth::Budget(thinking.budget_tokens.unwrap_or(1024)),
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
