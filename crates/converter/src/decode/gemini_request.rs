//! Request bodies of generateContent to the IR.

use std::borrow::Cow;

use super::openai::{natives, opaque};
use crate::error::{Error, ErrorKind};
use crate::format::Format;
use crate::ir::block::Native;
use crate::ir::{
    Arguments, Block, Effort, Media, Opaque, OutputFormat, Reasoning, ReasoningDepth, Request, Role, Show,
    Source, State, SystemBlock, TextBlock, Thought, Tool, ToolCall, ToolChoice, ToolKind, ToolResult, Turn,
};
use crate::json::{Kind, Raw, Reader, from_str};
use crate::media;
use crate::report::Class;
use crate::wire::gemini as wire;

/// Members without a place in the IR (conversion.md 4.4); what is not listed is a hint.
const CLASSES: &[(&str, Class)] = &[
    ("cachedContent", Class::Must),
    ("modelArmorConfig", Class::Must),
    ("continuationToken", Class::Must),
    ("generationConfig.speechConfig", Class::Must),
    ("generationConfig.audioTranscriptionConfig", Class::Must),
    ("generationConfig.translationConfig", Class::Must),
    ("generationConfig.mediaResolution", Class::Inert),
    ("generationConfig.enableEnhancedCivicAnswers", Class::Inert),
];

pub(super) fn decode(body: &str) -> Result<Request<'_>, Error> {
    let wire: wire::Request<'_> = from_str(body)?;
    let contents = wire
        .contents
        .ok_or_else(|| Error::at(ErrorKind::Missing, "/contents", "`contents` is required"))?;
    let mut config = wire.generation_config.unwrap_or_default();
    let extra = std::mem::take(&mut config.extra).into_iter();
    let mut outside = wire.extra;
    outside.extend(extra.map(|(name, value)| (Cow::Owned(format!("generationConfig.{name}")), value)));
    let mut natives = natives(outside, CLASSES);
    if config
        .response_modalities
        .iter()
        .flatten()
        .any(|word| !word.eq_ignore_ascii_case("text"))
    {
        let path = "generationConfig.responseModalities".into();
        natives.push(crate::ir::request::Native {
            path,
            class: Class::Must,
            value: Raw::of_const("[]"),
        });
    }
    let mut request = Request {
        model: wire
            .model
            .map(|model| {
                model
                    .strip_prefix("models/")
                    .map_or(model.clone(), |bare| bare.to_owned().into())
            })
            .unwrap_or_default(),
        include_usage: true,
        system: system(wire.system_instruction),
        tools: tools(wire.tools.unwrap_or_default())?,
        tool_choice: wire
            .tool_config
            .and_then(|config| config.function_calling_config)
            .and_then(tool_choice),
        temperature: config.temperature,
        top_p: config.top_p,
        top_k: config.top_k,
        frequency_penalty: config.frequency_penalty,
        presence_penalty: config.presence_penalty,
        seed: config.seed,
        candidates: config.candidate_count,
        max_output_tokens: config.max_output_tokens,
        stop: config.stop_sequences.take().unwrap_or_default(),
        logprobs: config.response_logprobs.unwrap_or(false),
        top_logprobs: config.logprobs,
        reasoning: reasoning(config.thinking_config.take()),
        output: output(&config),
        metadata: wire.labels,
        service_tier: wire
            .service_tier
            .map(|tier| Cow::Owned(tier.to_ascii_lowercase())),
        store: wire.store,
        natives,
        ..Request::default()
    };
    for (index, content) in contents.0.into_iter().enumerate() {
        turn(content, index, &mut request).map_err(|error| error.under_index(index).under("contents"))?;
    }
    Ok(request)
}

fn system(content: Option<wire::Content<'_>>) -> Vec<SystemBlock<'_>> {
    let parts = content.and_then(|content| content.parts).unwrap_or_default();
    let texts = parts
        .into_iter()
        .filter_map(|part| part.text)
        .filter(|text| !text.is_empty());
    texts
        .map(|text| SystemBlock {
            developer: false,
            text: TextBlock {
                text,
                ..TextBlock::default()
            },
        })
        .collect()
}

fn turn<'a>(content: wire::Content<'a>, index: usize, request: &mut Request<'a>) -> Result<(), Error> {
    let role = match content.role.as_deref() {
        None | Some("" | "user" | "function" | "tool") => Role::User,
        Some("model" | "assistant") => Role::Assistant,
        Some("system") => Role::System,
        Some(other) => {
            let other: String = other.chars().take(40).collect();
            let text = format!("unknown role `{other}`; the roles are user and model");
            return Err(Error::at(ErrorKind::Invalid, "/role", text));
        }
    };
    let path = format!("contents[{index}]");
    let mut results = Vec::new();
    let mut others = Vec::new();
    for (number, part) in content.parts.unwrap_or_default().into_iter().enumerate() {
        let place = format!("{path}.parts[{number}]");
        let block =
            part_block(part, place, role).map_err(|error| error.under_index(number).under("parts"))?;
        match block {
            Some(block @ Block::ToolResult(_)) => results.push(block),
            Some(block) => push(&mut others, block),
            None => {}
        }
    }
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

/// A thought that was streamed in pieces is one thought; the piece with the state ends it.
fn push<'a>(blocks: &mut Vec<Block<'a>>, block: Block<'a>) {
    match (blocks.last_mut(), block) {
        (Some(Block::Thought(before)), Block::Thought(after)) if before.state.is_none() => {
            let texts = before
                .text
                .drain(..)
                .chain(after.text)
                .map(|text| text.decode().into_owned());
            let joined: String = texts.collect();
            before.text = if joined.is_empty() {
                Vec::new()
            } else {
                vec![joined.into()]
            };
            before.state = after.state;
        }
        (_, block) => blocks.push(block),
    }
}

fn part_block<'a>(part: wire::Part<'a>, path: String, role: Role) -> Result<Option<Block<'a>>, Error> {
    let signature = part.thought_signature.filter(|signature| !signature.is_empty());
    let own = |state: fn(Cow<'a, str>) -> State<'a>| {
        signature.clone().and_then(|signature| {
            opaque(signature, |signature| {
                Some(Opaque {
                    origin: Format::Gemini,
                    domain: None,
                    state: state(signature),
                })
            })
        })
    };
    if let Some(call) = part.function_call {
        let name = call
            .name
            .ok_or_else(|| Error::at(ErrorKind::Missing, "/functionCall/name", "a call needs a name"))?;
        let arguments = Arguments::Object(
            call.args
                .filter(|args| args.is_object())
                .unwrap_or(Raw::of_const("{}")),
        );
        let (id, _) = super::openai::call_id(call.id.unwrap_or_default());
        let state = own(State::CallSignature);
        return Ok(Some(Block::ToolCall(ToolCall {
            id,
            name,
            arguments,
            namespace: None,
            state,
            cache: None,
        })));
    }
    if let Some(result) = part.function_response {
        return tool_result(result, &path).map(Some);
    }
    if let Some(blob) = part.inline_data {
        let mime = media::repair(blob.mime_type.unwrap_or_default());
        let data = blob
            .data
            .ok_or_else(|| Error::at(ErrorKind::Missing, "/inlineData/data", "`data` is required"))?;
        let kind = media::kind(&mime);
        let source = Source::Base64 {
            mime,
            data: media::standard(data),
        };
        return Ok(Some(Block::Media(Media {
            kind,
            source,
            detail: None,
            title: blob.display_name,
            cache: None,
        })));
    }
    if let Some(file) = part.file_data {
        return file_block(file).map(Some);
    }
    let Some(text) = part.text else {
        let state = own(State::PartSignature);
        if state.is_some() {
            return Ok(Some(Block::Thought(Thought {
                state,
                ..Thought::default()
            })));
        }
        let Some((name, _)) = part.extra.into_iter().next() else {
            return Ok(None);
        };
        let must = role != Role::Assistant;
        return Ok(Some(Block::Native(Native {
            format: Format::Gemini,
            kind: name,
            json: Raw::of_const("{}"),
            path,
            must,
        })));
    };
    let state = own(State::PartSignature);
    if part.thought == Some(true) || (text.is_empty() && state.is_some()) {
        let text = if text.is_empty() { Vec::new() } else { vec![text] };
        return Ok(Some(Block::Thought(Thought {
            text,
            summary: true,
            state,
        })));
    }
    Ok(Some(Block::Text(TextBlock {
        text,
        state,
        ..TextBlock::default()
    })))
}

fn file_block(file: wire::FileData<'_>) -> Result<Block<'_>, Error> {
    let uri = file
        .file_uri
        .ok_or_else(|| Error::at(ErrorKind::Missing, "/fileData/fileUri", "`fileUri` is required"))?;
    let address = uri.decode();
    let foreign = address.starts_with("gs://") || address.contains("generativelanguage.googleapis.com");
    let mime = file.mime_type.map(media::repair);
    let kind = media::kind(mime.as_deref().unwrap_or_else(|| media::guess(&address)));
    let source = if foreign {
        Source::File {
            id: uri,
            owner: Format::Gemini,
        }
    } else {
        Source::Url { url: uri, mime }
    };
    Ok(Block::Media(Media {
        kind,
        source,
        detail: None,
        title: file.display_name,
        cache: None,
    }))
}

/// `{"output": x}` is x, `{"error": x}` is a failure, anything else stays the object it is (conversion.md 6.6).
fn tool_result<'a>(result: wire::FunctionResponse<'a>, path: &str) -> Result<Block<'a>, Error> {
    let mut parts = Vec::new();
    let mut is_error = false;
    let mut structured = result.response.filter(|response| response.is_object());
    if let Some((name, value)) = structured.and_then(only_member)
        && (name == "output" || name == "result" || name == "error")
    {
        is_error = name == "error";
        structured = None;
        let text = value.as_text().unwrap_or_else(|| value.get().into());
        parts.push(Block::Text(TextBlock {
            text,
            ..TextBlock::default()
        }));
    }
    for (index, part) in result.parts.unwrap_or_default().into_iter().enumerate() {
        parts.extend(part_block(
            part,
            format!("{path}.functionResponse.parts[{index}]"),
            Role::User,
        )?);
    }
    let (call_id, _) = super::openai::call_id(result.id.unwrap_or_default());
    Ok(Block::ToolResult(ToolResult {
        call_id,
        name: result.name,
        parts,
        is_error,
        structured,
        custom: false,
        cache: None,
    }))
}

/// Name and value of an object's only member.
fn only_member(object: Raw<'_>) -> Option<(Cow<'_, str>, Raw<'_>)> {
    let mut members = Vec::new();
    let mut reader = Reader::new(object.get());
    if reader.kind() != Kind::Object {
        return None;
    }
    let read = reader.object(|reader, key| {
        members.push((key.clone(), reader.raw()?));
        Ok(())
    });
    read.ok()?;
    if members.len() == 1 { members.pop() } else { None }
}

fn tools(tools: Vec<wire::Tool<'_>>) -> Result<Vec<Tool<'_>>, Error> {
    let mut list = Vec::new();
    for (index, tool) in tools.into_iter().enumerate() {
        for (number, declared) in tool
            .function_declarations
            .unwrap_or_default()
            .into_iter()
            .enumerate()
        {
            let name = declared.name.ok_or_else(|| {
                let at = format!("/tools/{index}/functionDeclarations/{number}/name");
                Error::at(ErrorKind::Missing, at, "a function needs a name")
            })?;
            let openapi = declared.parameters_json_schema.is_none() && declared.parameters.is_some();
            let parameters = declared.parameters_json_schema.or(declared.parameters);
            list.push(Tool {
                name,
                description: declared.description,
                kind: ToolKind::Function {
                    parameters,
                    openapi,
                    strict: None,
                },
                namespace: None,
                cache: None,
                path: format!("tools[{index}].functionDeclarations[{number}]"),
            });
        }
        for (kind, json) in tool.extra {
            let path = format!("tools[{index}].{kind}");
            let hosted = ToolKind::Hosted {
                format: Format::Gemini,
                kind: kind.clone(),
                json,
            };
            list.push(Tool {
                name: kind,
                description: None,
                kind: hosted,
                namespace: None,
                cache: None,
                path,
            });
        }
    }
    Ok(list)
}

fn tool_choice(config: wire::FunctionCallingConfig<'_>) -> Option<ToolChoice<'_>> {
    let names = config.allowed_function_names.unwrap_or_default();
    let mode = config.mode.unwrap_or_default().to_ascii_uppercase();
    match (mode.as_str(), names.len()) {
        ("NONE", _) => Some(ToolChoice::None),
        ("ANY", 0) => Some(ToolChoice::Any),
        ("ANY", 1) => names.into_iter().next().map(ToolChoice::Tool),
        ("ANY", _) => Some(ToolChoice::Subset {
            names,
            required: true,
        }),
        ("VALIDATED", 0) => Some(ToolChoice::Validated),
        ("VALIDATED", _) => Some(ToolChoice::Subset {
            names,
            required: false,
        }),
        ("AUTO", _) => Some(ToolChoice::Auto),
        _ => None,
    }
}

fn reasoning(config: Option<wire::ThinkingConfig<'_>>) -> Reasoning {
    let Some(config) = config else {
        return Reasoning {
            show: Show::Hidden,
            ..Reasoning::default()
        };
    };
    let show = if config.include_thoughts == Some(true) {
        Show::Summary
    } else {
        Show::Hidden
    };
    let budget = config
        .thinking_budget
        .and_then(|raw| raw.get().parse::<i64>().ok());
    let depth = match (config.thinking_level, budget) {
        (Some(level), _) => Effort::parse(&level).map_or(ReasoningDepth::Unset, ReasoningDepth::Effort),
        (None, Some(0)) => ReasoningDepth::Off,
        (None, Some(budget)) => u64::try_from(budget).map_or(ReasoningDepth::Dynamic, ReasoningDepth::Budget),
        (None, None) => ReasoningDepth::Unset,
    };
    Reasoning {
        depth,
        effort: None,
        show,
    }
}

fn output<'a>(config: &wire::GenerationConfig<'a>) -> OutputFormat<'a> {
    let schema = config
        .response_json_schema
        .map(|schema| (schema, false))
        .or(config.response_schema.map(|schema| (schema, true)));
    match schema {
        Some((schema, openapi)) => OutputFormat::JsonSchema {
            name: None,
            description: None,
            schema,
            openapi,
            strict: None,
        },
        None if config.response_mime_type.as_deref() == Some("application/json") => OutputFormat::JsonObject,
        None => OutputFormat::Text,
    }
}
