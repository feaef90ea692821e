//! Request bodies of Responses to the IR.

use std::borrow::Cow;

use super::openai::{cache_mark, call_id, detail, natives, opaque, reasoning, tool_choice};
use crate::error::{Error, ErrorKind};
use crate::format::Format;
use crate::ir::block::Native;
use crate::ir::{
    Arguments, Block, Media, MediaKind, Opaque, OutputFormat, Request, Role, Show, Source, State,
    SystemBlock, TextBlock, Thought, Tool, ToolCall, ToolKind, ToolResult, Turn,
};
use crate::json::{Raw, Text, from_str};
use crate::media;
use crate::report::Class;
use crate::wire::Content;
use crate::wire::responses as wire;

/// Members without a place in the IR (conversion.md 4.2); what is not listed is a hint.
const CLASSES: &[(&str, Class)] = &[
    ("previous_response_id", Class::Must),
    ("conversation", Class::Must),
    ("prompt", Class::Must),
    ("access_programs", Class::Must),
    ("image", Class::Inert),
    ("prompt_cache_options", Class::Inert),
    ("prompt_cache_retention", Class::Inert),
    ("client_metadata", Class::Inert),
];

/// Values that mean the same as leaving the member out.
const DEFAULTS: &[(&str, &str)] = &[("truncation", "\"disabled\""), ("background", "false")];

pub(super) fn decode(body: &str) -> Result<Request<'_>, Error> {
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
    let mut extra = wire.extra;
    extra.retain(|(name, value)| !DEFAULTS.contains(&(name.as_ref(), value.get())));
    let mut request = Request {
        model: wire.model.unwrap_or_default(),
        stream: wire.stream.unwrap_or(false),
        include_usage: true,
        tools: tools(wire.tools.unwrap_or_default())?,
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
        reasoning: reasoning(controls.effort.as_deref(), show),
        output: output(text.format)?,
        verbosity: text.verbosity,
        cache_key: wire.prompt_cache_key,
        user: wire.user,
        safety_identifier: wire.safety_identifier,
        metadata: wire.metadata,
        service_tier: wire.service_tier,
        store: wire.store,
        include_encrypted_reasoning: asked("reasoning.encrypted_content"),
        natives: natives(extra, CLASSES),
        ..Request::default()
    };
    for native in request
        .natives
        .iter_mut()
        .filter(|native| native.path == "background")
    {
        native.class = Class::Must;
    }
    if let Some(text) = wire.instructions.filter(|text| !text.is_empty()) {
        request.system.push(SystemBlock {
            developer: true,
            text: TextBlock {
                text,
                ..TextBlock::default()
            },
        });
    }
    items(input, &mut request)?;
    Ok(request)
}

fn items<'a>(input: Content<'a, wire::Item<'a>>, request: &mut Request<'a>) -> Result<(), Error> {
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
        push_item(item, format!("input[{index}]"), request).map_err(at)?;
    }
    Ok(())
}

/// Items of the model up to the next user or output item form one assistant turn; outputs form one result turn.
fn push_item<'a>(item: wire::Item<'a>, path: String, request: &mut Request<'a>) -> Result<(), Error> {
    let kind = item
        .kind
        .clone()
        .unwrap_or_else(|| Cow::Borrowed(if item.role.is_some() { "message" } else { "" }));
    match kind.as_ref() {
        "message" => message(item, path, request),
        "function_call" | "custom_tool_call" => {
            let call = tool_call(item, kind == "custom_tool_call")?;
            append(request, Role::Assistant, vec![Block::ToolCall(call)], path);
            Ok(())
        }
        "function_call_output" | "custom_tool_call_output" => {
            let result = tool_result(item, &path, kind == "custom_tool_call_output")?;
            append(request, Role::Tool, vec![result], path);
            Ok(())
        }
        "reasoning" => {
            append(request, Role::Assistant, vec![thought(item)], path);
            Ok(())
        }
        "" => Err(Error::at(
            ErrorKind::Missing,
            "/type",
            "an input item needs a `type`",
        )),
        "item_reference" | "compaction" | "compaction_trigger" | "mcp_approval_response" => {
            append(request, Role::User, vec![native(kind, path.clone(), true)], path);
            Ok(())
        }
        _ => {
            // Hosted calls and unknown items of the model's history.
            append(
                request,
                Role::Assistant,
                vec![native(kind, path.clone(), false)],
                path,
            );
            Ok(())
        }
    }
}

fn native(kind: Cow<'_, str>, path: String, must: bool) -> Block<'_> {
    Block::Native(Native {
        format: Format::Responses,
        kind,
        json: Raw::of_const("{}"),
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

fn message<'a>(item: wire::Item<'a>, path: String, request: &mut Request<'a>) -> Result<(), Error> {
    let role = item.role.as_deref().unwrap_or_default().to_owned();
    let must = role != "assistant";
    let blocks = content(item.content, &path, must)?;
    let developer = role == "developer";
    match role.as_str() {
        "system" | "developer" if request.turns.is_empty() => {
            request
                .system
                .extend(blocks.into_iter().filter_map(|block| match block {
                    Block::Text(text) => Some(SystemBlock { developer, text }),
                    _ => None,
                }));
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
                part_block(part, format!("{path}.content[{index}]"), must)
                    .map_err(|error| error.under_index(index).under("content"))
            });
            blocks.collect()
        }
    }
}

fn part_block<'a>(part: wire::Part<'a>, path: String, must: bool) -> Result<Block<'a>, Error> {
    let cache = cache_mark(part.prompt_cache_breakpoint.as_ref());
    let missing = |member: &str| {
        Error::at(
            ErrorKind::Missing,
            format!("/{member}"),
            format!("this part needs `{member}`"),
        )
    };
    let kind = part.kind.unwrap_or_default();
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
            json: Raw::of_const("{}"),
            path,
            must,
        })),
    }
}

fn tool_call<'a>(item: wire::Item<'a>, custom: bool) -> Result<ToolCall<'a>, Error> {
    let missing = |member: &str| {
        Error::at(
            ErrorKind::Missing,
            format!("/{member}"),
            format!("a call item needs `{member}`"),
        )
    };
    let (id, _) = call_id(item.call_id.ok_or_else(|| missing("call_id"))?);
    let name = item.name.ok_or_else(|| missing("name"))?;
    let arguments = if custom {
        Arguments::Freeform(item.input.unwrap_or_default())
    } else {
        Arguments::Encoded(item.arguments.unwrap_or_default())
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

fn tool_result<'a>(item: wire::Item<'a>, path: &str, custom: bool) -> Result<Block<'a>, Error> {
    let (call_id, _) = call_id(item.call_id.unwrap_or_default());
    let parts = content(item.output, path, true)?;
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

fn thought(item: wire::Item<'_>) -> Block<'_> {
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
        .and_then(|data| opaque(data, own));
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

fn tools(tools: Vec<Raw<'_>>) -> Result<Vec<Tool<'_>>, Error> {
    let mut list = Vec::with_capacity(tools.len());
    for (index, raw) in tools.into_iter().enumerate() {
        let at = |error: Error| error.under_index(index).under("tools");
        tool(raw, None, format!("tools[{index}]"), &mut list).map_err(at)?;
    }
    Ok(list)
}

fn tool<'a>(
    raw: Raw<'a>,
    namespace: Option<Cow<'a, str>>,
    path: String,
    list: &mut Vec<Tool<'a>>,
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
                self::tool(inner, name.clone(), format!("{path}.tools[{index}]"), list)
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
                name,
                description: None,
                kind,
                namespace,
                cache: None,
                path,
            });
            return Ok(());
        }
    };
    let name = name.ok_or_else(missing)?;
    list.push(Tool {
        name,
        description: tool.description,
        kind,
        namespace,
        cache: None,
        path,
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
