//! Request bodies of Chat Completions to the IR.

use std::borrow::Cow;

use super::intake::Intake;
use super::openai::{cache_mark, detail, natives, reasoning, strings, tool_choice};
use crate::error::{Error, ErrorKind};
use crate::format::Format;
use crate::ir::{
    Arguments, Block, Media, MediaKind, OutputFormat, Request, Role, Show, Source, Speech, SystemBlock,
    TextBlock, Thought, Tool, ToolCall, ToolKind, ToolResult, Turn,
};
use crate::ir::{Opaque, ReasoningDepth, State};
use crate::json::{Raw, Text, from_str};
use crate::media;
use crate::report::Class;
use crate::wire::Content;
use crate::wire::chat as wire;

/// Members without a place in the IR (conversion.md 4.1); what is not listed is a hint.
const CLASSES: &[(&str, Class)] = &[("prompt_cache_retention", Class::Inert)];

/// Members of messages without an effect elsewhere.
const OF_MESSAGES: &[(&str, Class)] = &[
    ("annotations", Class::Inert),
    ("thinking_blocks", Class::Inert),
    ("provider_specific_fields", Class::Inert),
    ("audio", Class::Hint),
];

pub(super) fn decode<'a>(body: &'a str, intake: &Intake<'_>) -> Result<Request<'a>, Error> {
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
        candidates: wire.n,
        max_output_tokens: wire.max_completion_tokens.or(wire.max_tokens),
        stop: strings(wire.stop).map_err(|error| error.under("stop"))?,
        logprobs: wire.logprobs.unwrap_or(false),
        top_logprobs: wire.top_logprobs,
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

fn messages_of<'a>(
    messages: Vec<wire::Message<'a>>,
    request: &mut Request<'a>,
    intake: &Intake<'_>,
) -> Result<(), Error> {
    let mut leading = true;
    for (index, message) in messages.into_iter().enumerate() {
        let path = format!("messages[{index}]");
        let at = |error: Error| error.under_index(index).under("messages");
        let role = message
            .role
            .clone()
            .ok_or_else(|| at(Error::at(ErrorKind::Missing, "/role", "`role` is required")))?;
        let developer = role == "developer";
        intake.extra(&path, &message.extra, OF_MESSAGES);
        match role.as_ref() {
            "system" | "developer" if leading => {
                let texts = content(message.content, &path, true, intake).map_err(at)?;
                for block in texts {
                    match block {
                        Block::Text(text) => request.system.push(SystemBlock { developer, text }),
                        _ => intake.lose(path.clone(), Class::Must),
                    }
                }
                if message.name.is_some() {
                    intake.lose(format!("{path}.name"), Class::Inert);
                }
                continue;
            }
            _ => leading = false,
        }
        let name = if role == "function" {
            None
        } else {
            message.name.clone()
        };
        let (role, blocks) = match role.as_ref() {
            "system" | "developer" => (
                Role::System,
                content(message.content, &path, true, intake).map_err(at)?,
            ),
            "user" => (
                Role::User,
                content(message.content, &path, true, intake).map_err(at)?,
            ),
            "assistant" => (Role::Assistant, assistant(message, &path, intake).map_err(at)?),
            "tool" | "function" => {
                push_result(
                    request,
                    tool_result(message, &path, role == "function", intake).map_err(at)?,
                    path,
                );
                continue;
            }
            other => {
                let known = "developer, system, user, assistant, tool";
                let text = format!(
                    "unknown role `{}`; the roles are {known}",
                    other.chars().take(40).collect::<String>()
                );
                return Err(at(Error::at(ErrorKind::Invalid, "/role", text)));
            }
        };
        request.turns.push(Turn {
            role,
            developer,
            name,
            blocks,
            path,
        });
    }
    Ok(())
}

/// Consecutive results form one turn.
fn push_result<'a>(request: &mut Request<'a>, result: Block<'a>, path: String) {
    match request.turns.last_mut() {
        Some(turn) if turn.role == Role::Tool => turn.blocks.push(result),
        _ => request.turns.push(Turn {
            role: Role::Tool,
            developer: false,
            name: None,
            blocks: vec![result],
            path,
        }),
    }
}

fn tool_result<'a>(
    message: wire::Message<'a>,
    path: &str,
    legacy: bool,
    intake: &Intake<'_>,
) -> Result<Block<'a>, Error> {
    let parts = content(message.content, path, true, intake)?;
    let call_id = intake.bare_id(message.tool_call_id.unwrap_or_default());
    if call_id.is_empty() && !legacy {
        return Err(Error::at(
            ErrorKind::Missing,
            "/tool_call_id",
            "a tool message needs the `tool_call_id` it answers",
        ));
    }
    Ok(Block::ToolResult(ToolResult {
        call_id,
        name: message.name.map(|name| name.decode()),
        parts,
        is_error: false,
        structured: None,
        custom: false,
        cache: None,
    }))
}

fn assistant<'a>(
    message: wire::Message<'a>,
    path: &str,
    intake: &Intake<'_>,
) -> Result<Vec<Block<'a>>, Error> {
    let member = |name: &str| {
        let found = message.extra.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| *value)
    };
    let litellm = member("thinking_blocks");
    let signature = member("provider_specific_fields");
    let mut blocks = thoughts(
        message.reasoning_content,
        message.reasoning_details.unwrap_or_default(),
        intake,
    );
    if !blocks.iter().any(has_state) {
        let read = litellm.and_then(thinking_blocks).unwrap_or_default();
        if !read.is_empty() {
            blocks = read;
        }
    }
    let visible = content(message.content, path, false, intake)?;
    blocks.extend(
        visible
            .into_iter()
            .filter(|block| !matches!(block, Block::Text(text) if text.text.is_empty())),
    );
    if let Some(refusal) = message.refusal.filter(|refusal| !refusal.is_empty()) {
        blocks.push(Block::Refusal(refusal));
    }
    for (index, call) in message.tool_calls.unwrap_or_default().into_iter().enumerate() {
        let place = format!("{path}.tool_calls[{index}]");
        push_call(call, &mut blocks, &place, intake)
            .map_err(|error| error.under_index(index).under("tool_calls"))?;
    }
    if let Some(state) = intake.google_signature(signature)
        && let Some(Block::ToolCall(call)) = blocks
            .iter_mut()
            .find(|block| matches!(block, Block::ToolCall(_)))
        && call.state.is_none()
    {
        call.state = Some(state);
    }
    if let Some(call) = message.function_call {
        let arguments = Arguments::Encoded(call.arguments.unwrap_or_default());
        let name = call.name.unwrap_or_default();
        blocks.push(Block::ToolCall(ToolCall {
            id: Cow::Borrowed(""),
            name,
            arguments,
            namespace: None,
            state: None,
            cache: None,
        }));
    }
    Ok(blocks)
}

fn has_state(block: &Block<'_>) -> bool {
    matches!(block, Block::Thought(Thought { state: Some(state), .. }) if state.state != State::Plain)
}

/// LiteLLM's histories carry Anthropic's blocks as they were.
fn thinking_blocks(raw: Raw<'_>) -> Option<Vec<Block<'_>>> {
    crate::wire::object! {
        /// One of `thinking_blocks`.
        pub(crate) struct Thinking {
            /// thinking or redacted_thinking.
            kind: Cow<'a, str> = "type",
            /// Its text.
            thinking: Text<'a> = "thinking",
            /// Its signature.
            signature: Cow<'a, str> = "signature",
            /// Redacted thinking.
            data: Cow<'a, str> = "data",
        }
    }
    let list: Vec<Thinking<'_>> = from_str(raw.get()).ok()?;
    let blocks = list.into_iter().filter_map(|block| {
        let state = match (block.signature, block.data) {
            (Some(signature), _) => State::Signature(signature),
            (None, Some(data)) => State::Redacted(data),
            (None, None) => return None,
        };
        Some(Block::Thought(Thought {
            text: block
                .thinking
                .into_iter()
                .filter(|text| !text.is_empty())
                .collect(),
            summary: false,
            state: Some(Opaque {
                origin: Format::Messages,
                domain: None,
                state,
            }),
        }))
    });
    Some(blocks.collect())
}

/// Reasoning text and the seals beside it. The first state belongs to the text; the others are thoughts of their own.
fn thoughts<'a>(
    text: Option<Text<'a>>,
    details: Vec<wire::ReasoningDetail<'a>>,
    intake: &Intake<'_>,
) -> Vec<Block<'a>> {
    let data = details.into_iter().filter_map(|detail| detail.data);
    let mut states = data.filter_map(|data| intake.opaque(data, |_| None));
    let mut thoughts = Vec::new();
    let first = states.next();
    if text.is_some() || first.is_some() {
        let state = first.or(Some(Opaque {
            origin: Format::Chat,
            domain: None,
            state: State::Plain,
        }));
        thoughts.push(Block::Thought(Thought {
            text: text.into_iter().collect(),
            summary: false,
            state,
        }));
    }
    thoughts.extend(states.map(|state| {
        Block::Thought(Thought {
            state: Some(state),
            ..Thought::default()
        })
    }));
    thoughts
}

fn push_call<'a>(
    call: wire::ToolCall<'a>,
    blocks: &mut Vec<Block<'a>>,
    path: &str,
    intake: &Intake<'_>,
) -> Result<(), Error> {
    intake.extra(
        path,
        &call.extra,
        &[
            ("index", Class::Inert),
            ("provider_specific_fields", Class::Inert),
        ],
    );
    let (id, state) = intake.call_id(call.id.unwrap_or_default());
    if let Some(state) = state {
        // The seal carries what the model thought right before this call; the same state may already stand in the details.
        let known = blocks
            .iter()
            .any(|block| matches!(block, Block::Thought(thought) if thought.state.as_ref() == Some(&state)));
        if !known {
            blocks.push(Block::Thought(Thought {
                state: Some(state),
                ..Thought::default()
            }));
        }
    }
    let (name, arguments) = match (call.function, call.custom) {
        (Some(function), _) => (
            function.name,
            Arguments::Encoded(function.arguments.unwrap_or_default()),
        ),
        (None, Some(custom)) => (custom.name, Arguments::Freeform(custom.input.unwrap_or_default())),
        (None, None) => {
            return Err(Error::at(
                ErrorKind::Missing,
                "/function",
                "a tool call needs its `function`",
            ));
        }
    };
    let name =
        name.ok_or_else(|| Error::at(ErrorKind::Missing, "/function/name", "a tool call needs a name"))?;
    let other = call
        .extra
        .iter()
        .find(|(name, _)| name == "provider_specific_fields");
    let state = intake
        .google_signature(call.extra_content)
        .or_else(|| intake.google_signature(other.map(|(_, value)| *value)));
    blocks.push(Block::ToolCall(ToolCall {
        id,
        name,
        arguments,
        namespace: None,
        state,
        cache: None,
    }));
    Ok(())
}

/// A string or parts. `must`: unknown parts change what the model is asked.
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
    let kind = part.kind.unwrap_or_default();
    if KNOWN_PARTS.contains(&kind.as_ref()) {
        intake.extra(&path, &part.extra, &[("annotations", Class::Inert)]);
    }
    let cache = cache_mark(
        part.prompt_cache_breakpoint
            .as_ref()
            .or(part.cache_control.as_ref()),
    );
    let missing = |member: &str| {
        Error::at(
            ErrorKind::Missing,
            format!("/{member}"),
            format!("this part needs `{member}`"),
        )
    };
    match kind.as_ref() {
        "text" => {
            let text = part.text.ok_or_else(|| missing("text"))?;
            Ok(Block::Text(TextBlock {
                text,
                cache,
                ..TextBlock::default()
            }))
        }
        "image_url" => {
            let raw = part.image_url.ok_or_else(|| missing("image_url"))?;
            let (url, word) = image_url(raw).map_err(|error| error.under("image_url"))?;
            let detail = detail(word.as_deref());
            let source = media::source(&url);
            Ok(Block::Media(Media {
                kind: MediaKind::Image,
                source,
                detail,
                title: None,
                cache,
            }))
        }
        "input_audio" => {
            let audio = part.input_audio.ok_or_else(|| missing("input_audio"))?;
            let mime = format!("audio/{}", audio.format.as_deref().unwrap_or("wav"));
            let source = Source::Base64 {
                mime: mime.into(),
                data: audio.data.ok_or_else(|| missing("input_audio/data"))?,
            };
            Ok(Block::Media(Media {
                kind: MediaKind::Audio,
                source,
                detail: None,
                title: None,
                cache,
            }))
        }
        "file" => {
            let file = part.file.ok_or_else(|| missing("file"))?;
            let source = match (file.file_data, file.file_id) {
                (Some(data), _) => media::data_url(&data).unwrap_or_else(|| Source::Base64 {
                    mime: "application/pdf".into(),
                    data,
                }),
                (None, Some(id)) => Source::File {
                    id,
                    owner: Format::Chat,
                },
                (None, None) => return Err(missing("file/file_data")),
            };
            let kind = match &source {
                Source::Base64 { mime, .. } => media::kind(mime),
                _ => MediaKind::Document,
            };
            Ok(Block::Media(Media {
                kind,
                source,
                detail: None,
                title: file.filename,
                cache,
            }))
        }
        "refusal" => Ok(Block::Refusal(part.refusal.unwrap_or_default())),
        "" => Err(missing("type")),
        _ => Ok(Block::Native(crate::ir::block::Native {
            format: Format::Chat,
            kind,
            json: part.raw,
            path,
            must,
        })),
    }
}

const KNOWN_PARTS: &[&str] = &["text", "image_url", "input_audio", "file", "refusal"];

/// `image_url` is an object; a bare string is accepted too.
fn image_url(raw: Raw<'_>) -> Result<(Text<'_>, Option<Cow<'_, str>>), Error> {
    if let Some(url) = raw.as_text() {
        return Ok((url, None));
    }
    let image: wire::ImageUrl<'_> = from_str(raw.get())?;
    let url = image
        .url
        .ok_or_else(|| Error::at(ErrorKind::Missing, "/url", "an image needs its `url`"))?;
    Ok((url, image.detail))
}

fn tools<'a>(
    tools: Vec<Raw<'a>>,
    functions: Vec<wire::Function<'a>>,
    intake: &Intake<'_>,
) -> Result<Vec<Tool<'a>>, Error> {
    let mut list = Vec::with_capacity(tools.len() + functions.len());
    for (index, raw) in tools.into_iter().enumerate() {
        let at = |error: Error| error.under_index(index).under("tools");
        list.push(tool(raw, format!("tools[{index}]"), intake).map_err(at)?);
    }
    for (index, declared) in functions.into_iter().enumerate() {
        let at = |error: Error| error.under_index(index).under("functions");
        list.push(function(declared, None, format!("functions[{index}]"), intake).map_err(at)?);
    }
    Ok(list)
}

fn tool<'a>(raw: Raw<'a>, path: String, intake: &Intake<'_>) -> Result<Tool<'a>, Error> {
    let tool: wire::Tool<'a> = from_str(raw.get())?;
    let cache = cache_mark(tool.cache_control.as_ref());
    if let Some(declared) = tool.function {
        intake.extra(&path, &tool.extra, &[]);
        return function(declared, cache, path, intake).map_err(|error| error.under("function"));
    }
    if let Some(custom) = tool.custom {
        let name = custom
            .name
            .ok_or_else(|| Error::at(ErrorKind::Missing, "/custom/name", "a tool needs a name"))?;
        let format = custom.format.map(flat_format).transpose()?.flatten();
        intake.extra(&path, &custom.extra, &[]);
        return Ok(Tool {
            description: custom.description,
            cache,
            ..Tool::new(name, ToolKind::Custom { format }, path)
        });
    }
    let kind = tool
        .kind
        .ok_or_else(|| Error::at(ErrorKind::Missing, "/type", "a tool needs a `type`"))?;
    let name = kind.clone();
    let kind = ToolKind::Hosted {
        format: Format::Chat,
        kind,
        json: raw,
    };
    Ok(Tool {
        cache,
        ..Tool::new(name, kind, path)
    })
}

/// Chat nests a grammar one level deeper than Responses; the IR keeps the inner object, which has both members.
fn flat_format(raw: Raw<'_>) -> Result<Option<Raw<'_>>, Error> {
    crate::wire::object! {
        /// `custom.format`.
        pub(crate) struct Format {
            /// text or grammar.
            kind: Cow<'a, str> = "type",
            /// The grammar.
            grammar: Raw<'a> = "grammar",
        }
    }
    let format: Format<'_> = from_str(raw.get())?;
    Ok(format.grammar)
}

fn function<'a>(
    function: wire::Function<'a>,
    cache: Option<crate::ir::CacheMark>,
    path: String,
    intake: &Intake<'_>,
) -> Result<Tool<'a>, Error> {
    intake.extra(&path, &function.extra, &[]);
    let name = function
        .name
        .ok_or_else(|| Error::at(ErrorKind::Missing, "/name", "a function needs a name"))?;
    let parameters = function.parameters.filter(|schema| !schema.is_null());
    let kind = ToolKind::Function {
        parameters,
        openapi: false,
        strict: function.strict,
    };
    Ok(Tool {
        description: function.description,
        cache,
        ..Tool::new(name, kind, path)
    })
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
