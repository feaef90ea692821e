//! Request bodies of Responses to the IR.

use std::borrow::Cow;

use super::intake::Intake;
use super::openai::{cache_mark, detail, natives, reasoning, tool_choice};
use crate::error::{Error, ErrorKind};
use crate::format::Format;
use crate::ir::block::Native;
use crate::ir::{
    Arguments, Block, Media, MediaKind, Opaque, OutputFormat, Reasoning, Request, Role, Show, Source, State,
    Summary, SystemBlock, TextBlock, Thought, Tool, ToolCall, ToolKind, ToolResult, Turn,
};
use crate::json::{Raw, Text, from_str};
use crate::media;
use crate::report::Class;
use crate::shim::CallItem;
use crate::wire::Content;
use crate::wire::responses as wire;

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

/// Members of items without an effect elsewhere.
const OF_ITEMS: &[(&str, Class)] = &[
    ("phase", Class::Inert),
    ("caller", Class::Inert),
    ("async", Class::Inert),
    ("created_by", Class::Inert),
    ("pending_safety_checks", Class::Inert),
    ("environment", Class::Inert),
    ("max_output_length", Class::Inert),
    ("acknowledged_safety_checks", Class::Hint),
];

/// Members of parts without an effect elsewhere.
const OF_PARTS: &[(&str, Class)] = &[("annotations", Class::Inert), ("logprobs", Class::Inert)];

/// Members of tools without an effect elsewhere (conversion.md 8.1).
const OF_TOOLS: &[(&str, Class)] = &[("async", Class::Inert)];

/// Part types that are read; the others stay whole.
const KNOWN_PARTS: &[&str] = &[
    "input_text",
    "output_text",
    "text",
    "refusal",
    "input_image",
    "input_file",
];

pub(super) fn decode<'a>(body: &'a str, intake: &Intake<'_>) -> Result<Request<'a>, Error> {
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
        max_output_tokens: wire.max_output_tokens,
        logprobs: asked("message.output_text.logprobs") || wire.top_logprobs.is_some_and(|top| top > 0),
        top_logprobs: wire.top_logprobs,
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
        max_tool_calls: wire.max_tool_calls,
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
fn members(controls: &wire::Reasoning<'_>, text: &wire::TextConfig<'_>, intake: &Intake<'_>) {
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

fn items<'a>(
    input: Content<'a, wire::Item<'a>>,
    request: &mut Request<'a>,
    intake: &Intake<'_>,
) -> Result<(), Error> {
    let items = match input {
        Content::Text(text) => {
            let blocks = vec![Block::Text(TextBlock {
                text,
                ..TextBlock::default()
            })];
            request.turns.push(Turn {
                role: Role::User,
                developer: false,
                name: None,
                blocks,
                path: "input".into(),
            });
            return Ok(());
        }
        Content::Parts(items) => items,
    };
    for (index, item) in items.into_iter().enumerate() {
        let at = |error: Error| error.under_index(index).under("input");
        push_item(item, format!("input[{index}]"), request, intake).map_err(at)?;
    }
    Ok(())
}

/// Items of the model up to the next user or output item form one assistant turn; outputs form one result turn.
fn push_item<'a>(
    item: wire::Item<'a>,
    path: String,
    request: &mut Request<'a>,
    intake: &Intake<'_>,
) -> Result<(), Error> {
    let kind = item
        .kind
        .clone()
        .unwrap_or_else(|| Cow::Borrowed(if item.role.is_some() { "message" } else { "" }));
    if let Some(of) = CallItem::of_call(&kind) {
        intake.extra(&path, &item.extra, OF_ITEMS);
        let call = trained_call(item, of, intake)?;
        append(request, Role::Assistant, vec![Block::ToolCall(call)], path);
        return Ok(());
    }
    if let Some(of) = CallItem::of_output(&kind) {
        intake.extra(&path, &item.extra, OF_ITEMS);
        let result = trained_result(item, of, intake)?;
        append(request, Role::Tool, vec![result], path);
        return Ok(());
    }
    match kind.as_ref() {
        "message" => message(item, path, request, intake),
        "function_call" | "custom_tool_call" => {
            intake.extra(&path, &item.extra, OF_ITEMS);
            let call = tool_call(item, kind == "custom_tool_call", intake)?;
            append(request, Role::Assistant, vec![Block::ToolCall(call)], path);
            Ok(())
        }
        "function_call_output" | "custom_tool_call_output" => {
            intake.extra(&path, &item.extra, OF_ITEMS);
            let result = tool_result(item, &path, kind == "custom_tool_call_output", intake)?;
            append(request, Role::Tool, vec![result], path);
            Ok(())
        }
        "reasoning" => {
            append(request, Role::Assistant, vec![thought(item, intake)], path);
            Ok(())
        }
        "configuration_update" => {
            configuration(item, &path, request, intake)?;
            Ok(())
        }
        "additional_tools" => {
            append_tools(item.tools.unwrap_or_default(), &path, request, intake)?;
            Ok(())
        }
        "tool_search_output" => {
            // The found tools are declared up front; the search itself stays behind.
            append_tools(item.tools.unwrap_or_default(), &path, request, intake)?;
            append(
                request,
                Role::Assistant,
                vec![native(kind, path.clone(), false, item.raw)],
                path,
            );
            Ok(())
        }
        "" => Err(Error::at(
            ErrorKind::Missing,
            "/type",
            "an input item needs a `type`",
        )),
        "item_reference" | "compaction" | "compaction_trigger" | "mcp_approval_response" => {
            append(
                request,
                Role::User,
                vec![native(kind, path.clone(), true, item.raw)],
                path,
            );
            Ok(())
        }
        _ => {
            // Hosted calls and unknown items of the model's history.
            append(
                request,
                Role::Assistant,
                vec![native(kind, path.clone(), false, item.raw)],
                path,
            );
            Ok(())
        }
    }
}

/// Reasoning effort and output format that change in the middle: the last one is the one in force (conversion.md 5.8).
fn configuration<'a>(
    item: wire::Item<'a>,
    path: &str,
    request: &mut Request<'a>,
    intake: &Intake<'_>,
) -> Result<(), Error> {
    intake.extra(path, &item.extra, OF_ITEMS);
    if let Some(raw) = item.reasoning {
        let controls: wire::Reasoning<'a> = from_str(raw.get()).map_err(|error| error.under("reasoning"))?;
        let place = format!("{path}.reasoning.effort");
        let changed = reasoning(controls.effort.as_deref(), request.reasoning.show, &place, intake);
        if changed.depth != crate::ir::ReasoningDepth::Unset {
            request.reasoning.depth = changed.depth;
        }
    }
    if let Some(raw) = item.text {
        let text: wire::TextConfig<'a> = from_str(raw.get()).map_err(|error| error.under("text"))?;
        if text.format.is_some() {
            request.output = output(text.format)?;
        }
        request.verbosity = text.verbosity.or(request.verbosity.take());
    }
    Ok(())
}

/// Tools that a later item adds stand behind the declared ones, so that the earlier list stays a prefix.
fn append_tools<'a>(
    tools: Vec<Raw<'a>>,
    path: &str,
    request: &mut Request<'a>,
    intake: &Intake<'_>,
) -> Result<(), Error> {
    let mut list = Vec::with_capacity(tools.len());
    for (index, raw) in tools.into_iter().enumerate() {
        tool(raw, None, format!("{path}.tools[{index}]"), &mut list, intake)
            .map_err(|error| error.under_index(index).under("tools"))?;
    }
    for tool in list {
        let same = |known: &Tool<'_>| known.name == tool.name && known.namespace == tool.namespace;
        if !request.tools.iter().any(same) {
            request.tools.push(tool);
        }
    }
    Ok(())
}

/// A call of a vendor-trained tool: its action or operation is the input of the shim of that name.
fn trained_call<'a>(item: wire::Item<'a>, of: CallItem, intake: &Intake<'_>) -> Result<ToolCall<'a>, Error> {
    let missing = |member: &str| {
        let at = format!("/{member}");
        Error::at(ErrorKind::Missing, at, format!("a call item needs `{member}`"))
    };
    let id = intake.bare_id(item.call_id.ok_or_else(|| missing("call_id"))?);
    let input = item.action.or(item.actions).ok_or_else(|| missing(of.member()))?;
    let arguments = if input.is_object() {
        Arguments::Object(input)
    } else {
        Arguments::Encoded(format!("{{\"actions\":{}}}", input.get()).into())
    };
    Ok(ToolCall {
        id,
        name: of.tool().into(),
        arguments,
        namespace: None,
        state: None,
        cache: None,
    })
}

/// What a vendor-trained tool gave: a text, a list of outputs as JSON text, or a screenshot.
fn trained_result<'a>(item: wire::Item<'a>, of: CallItem, intake: &Intake<'_>) -> Result<Block<'a>, Error> {
    let id = item.call_id.or(item.id).unwrap_or_default();
    let call_id = intake.bare_id(id);
    let text = |text: Text<'a>| {
        Block::Text(TextBlock {
            text,
            ..TextBlock::default()
        })
    };
    let parts = match item.output {
        None => Vec::new(),
        Some(raw) if of == CallItem::Computer => vec![screenshot(raw)?],
        Some(raw) => vec![text(raw.as_text().unwrap_or_else(|| raw.get().into()))],
    };
    Ok(Block::ToolResult(ToolResult {
        call_id,
        name: Some(of.tool().into()),
        parts,
        is_error: item.status.is_some_and(|status| status == "failed"),
        structured: None,
        custom: false,
        cache: None,
    }))
}

fn screenshot(raw: Raw<'_>) -> Result<Block<'_>, Error> {
    let part: wire::Part<'_> = from_str(raw.get()).map_err(|error| error.under("output"))?;
    let source = match (part.image_url, part.file_id) {
        (Some(url), _) => media::source(&url),
        (None, Some(id)) => Source::File {
            id,
            owner: Format::Responses,
        },
        (None, None) => {
            return Err(Error::at(
                ErrorKind::Missing,
                "/output/image_url",
                "a screenshot needs its `image_url`",
            ));
        }
    };
    Ok(Block::Media(Media {
        kind: MediaKind::Image,
        source,
        detail: None,
        title: None,
        cache: None,
    }))
}

fn native<'a>(kind: Cow<'a, str>, path: String, must: bool, json: Raw<'a>) -> Block<'a> {
    Block::Native(Native {
        format: Format::Responses,
        kind,
        json,
        path,
        must,
    })
}

fn append<'a>(request: &mut Request<'a>, role: Role, blocks: Vec<Block<'a>>, path: String) {
    match request.turns.last_mut() {
        Some(turn) if turn.role == role && role != Role::User => turn.blocks.extend(blocks),
        _ => request.turns.push(Turn {
            role,
            developer: false,
            name: None,
            blocks,
            path,
        }),
    }
}

fn message<'a>(
    item: wire::Item<'a>,
    path: String,
    request: &mut Request<'a>,
    intake: &Intake<'_>,
) -> Result<(), Error> {
    intake.extra(&path, &item.extra, OF_ITEMS);
    let role = item.role.as_deref().unwrap_or_default().to_owned();
    let must = role != "assistant";
    let blocks = content(item.content, &path, must, intake)?;
    let developer = role == "developer";
    match role.as_str() {
        "system" | "developer" if request.turns.is_empty() => {
            for block in blocks {
                match block {
                    Block::Text(text) => request.system.push(SystemBlock { developer, text }),
                    _ => intake.lose(path.clone(), Class::Must),
                }
            }
        }
        "system" | "developer" => {
            request.turns.push(Turn {
                role: Role::System,
                developer,
                name: None,
                blocks,
                path,
            });
        }
        "user" => request.turns.push(Turn {
            role: Role::User,
            developer: false,
            name: None,
            blocks,
            path,
        }),
        "assistant" => append(request, Role::Assistant, blocks, path),
        other => {
            let other: String = other.chars().take(40).collect();
            let text = format!("unknown role `{other}`; the roles are user, assistant, system, developer");
            return Err(Error::at(ErrorKind::Invalid, "/role", text));
        }
    }
    Ok(())
}

fn content<'a>(
    content: Option<Content<'a, wire::Part<'a>>>,
    path: &str,
    must: bool,
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
                part_block(part, format!("{path}.content[{index}]"), must, intake)
                    .map_err(|error| error.under_index(index).under("content"))
            });
            blocks.collect()
        }
    }
}

fn part_block<'a>(
    part: wire::Part<'a>,
    path: String,
    must: bool,
    intake: &Intake<'_>,
) -> Result<Block<'a>, Error> {
    let cache = cache_mark(part.prompt_cache_breakpoint.as_ref());
    let missing = |member: &str| {
        Error::at(
            ErrorKind::Missing,
            format!("/{member}"),
            format!("this part needs `{member}`"),
        )
    };
    let kind = part.kind.unwrap_or_default();
    if KNOWN_PARTS.contains(&kind.as_ref()) {
        intake.extra(&path, &part.extra, OF_PARTS);
    }
    match kind.as_ref() {
        "input_text" | "output_text" | "text" => {
            let text = part.text.ok_or_else(|| missing("text"))?;
            Ok(Block::Text(TextBlock {
                text,
                cache,
                ..TextBlock::default()
            }))
        }
        "refusal" => Ok(Block::Refusal(part.refusal.unwrap_or_default())),
        "input_image" => {
            let source = match (part.image_url, part.file_id) {
                (Some(url), _) => media::source(&url),
                (None, Some(id)) => Source::File {
                    id,
                    owner: Format::Responses,
                },
                (None, None) => return Err(missing("image_url")),
            };
            let detail = detail(part.detail.as_deref());
            Ok(Block::Media(Media {
                kind: MediaKind::Image,
                source,
                detail,
                title: None,
                cache,
            }))
        }
        "input_file" => {
            let source = match (part.file_data, part.file_url, part.file_id) {
                (Some(data), _, _) => media::data_url(&data).unwrap_or_else(|| Source::Base64 {
                    mime: "application/pdf".into(),
                    data,
                }),
                (None, Some(url), _) => Source::Url { url, mime: None },
                (None, None, Some(id)) => Source::File {
                    id,
                    owner: Format::Responses,
                },
                _ => return Err(missing("file_data")),
            };
            Ok(Block::Media(Media {
                kind: MediaKind::Document,
                source,
                detail: None,
                title: part.filename,
                cache,
            }))
        }
        "" => Err(missing("type")),
        _ => Ok(Block::Native(Native {
            format: Format::Responses,
            kind,
            json: part.raw,
            path,
            must,
        })),
    }
}

fn tool_call<'a>(item: wire::Item<'a>, custom: bool, intake: &Intake<'_>) -> Result<ToolCall<'a>, Error> {
    let missing = |member: &str| {
        Error::at(
            ErrorKind::Missing,
            format!("/{member}"),
            format!("a call item needs `{member}`"),
        )
    };
    let id = intake.bare_id(item.call_id.ok_or_else(|| missing("call_id"))?);
    let name = item.name.ok_or_else(|| missing("name"))?;
    let arguments = if custom {
        Arguments::Freeform(item.input.and_then(Raw::as_text).unwrap_or_default())
    } else {
        match item.arguments {
            // Some clients send the object itself.
            Some(raw) if raw.is_object() => Arguments::Object(raw),
            raw => Arguments::Encoded(raw.and_then(Raw::as_text).unwrap_or_default()),
        }
    };
    Ok(ToolCall {
        id,
        name,
        arguments,
        namespace: item.namespace,
        state: None,
        cache: None,
    })
}

fn tool_result<'a>(
    item: wire::Item<'a>,
    path: &str,
    custom: bool,
    intake: &Intake<'_>,
) -> Result<Block<'a>, Error> {
    let call_id = intake.bare_id(item.call_id.unwrap_or_default());
    let output = match item.output {
        Some(raw) => Some(from_str(raw.get()).map_err(|error: Error| error.under("output"))?),
        None => None,
    };
    let parts = content(output, path, true, intake)?;
    let name = item.name;
    Ok(Block::ToolResult(ToolResult {
        call_id,
        name,
        parts,
        is_error: false,
        structured: None,
        custom,
        cache: None,
    }))
}

fn thought<'a>(item: wire::Item<'a>, intake: &Intake<'_>) -> Block<'a> {
    let id = item.id;
    let own = |encrypted| {
        Some(Opaque {
            origin: Format::Responses,
            domain: None,
            state: State::Reasoning { id, encrypted },
        })
    };
    let state = item
        .encrypted_content
        .filter(|data| !data.is_empty())
        .and_then(|data| intake.opaque(data, own));
    let raw = match item.content {
        Some(Content::Parts(parts)) => parts.into_iter().filter_map(|part| part.text).collect(),
        Some(Content::Text(text)) => vec![text],
        None => Vec::new(),
    };
    let summary: Vec<Text<'_>> = item
        .summary
        .unwrap_or_default()
        .into_iter()
        .filter_map(|part| part.text)
        .collect();
    let is_summary = raw.is_empty();
    Block::Thought(Thought {
        text: if is_summary { summary } else { raw },
        summary: is_summary,
        state,
    })
}

fn tools<'a>(tools: Vec<Raw<'a>>, intake: &Intake<'_>) -> Result<Vec<Tool<'a>>, Error> {
    let mut list = Vec::with_capacity(tools.len());
    for (index, raw) in tools.into_iter().enumerate() {
        let at = |error: Error| error.under_index(index).under("tools");
        tool(raw, None, format!("tools[{index}]"), &mut list, intake).map_err(at)?;
    }
    Ok(list)
}

fn tool<'a>(
    raw: Raw<'a>,
    namespace: Option<Cow<'a, str>>,
    path: String,
    list: &mut Vec<Tool<'a>>,
    intake: &Intake<'_>,
) -> Result<(), Error> {
    let tool: wire::Tool<'a> = from_str(raw.get())?;
    let declared = tool.kind.unwrap_or_default();
    let name = tool.name;
    let missing = || Error::at(ErrorKind::Missing, "/name", "a tool needs a name");
    let kind = match declared.as_ref() {
        "function" => {
            let parameters = tool.parameters.filter(|schema| !schema.is_null());
            ToolKind::Function {
                parameters,
                openapi: false,
                strict: tool.strict,
            }
        }
        "custom" => ToolKind::Custom { format: tool.format },
        "namespace" => {
            for (index, inner) in tool.tools.unwrap_or_default().into_iter().enumerate() {
                self::tool(
                    inner,
                    name.clone(),
                    format!("{path}.tools[{index}]"),
                    list,
                    intake,
                )
                .map_err(|error| error.under_index(index).under("tools"))?;
            }
            return Ok(());
        }
        _ => {
            let name = name.unwrap_or_else(|| declared.clone());
            let kind = ToolKind::Hosted {
                format: Format::Responses,
                kind: declared,
                json: raw,
            };
            list.push(Tool {
                namespace,
                ..Tool::new(name, kind, path)
            });
            return Ok(());
        }
    };
    let name = name.ok_or_else(missing)?;
    intake.extra(&path, &tool.extra, OF_TOOLS);
    list.push(Tool {
        description: tool.description,
        namespace,
        defer: tool.defer_loading.unwrap_or(false),
        callers: tool.allowed_callers,
        output_schema: tool.output_schema,
        ..Tool::new(name, kind, path)
    });
    Ok(())
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
