//! Request bodies of generateContent to the IR.

use std::borrow::Cow;

use super::intake::Intake;
use super::openai::natives;
use crate::error::{Error, ErrorKind};
use crate::format::Format;
use crate::ir::block::Native;
use crate::ir::{
    Arguments, Block, Detail, Effort, Media, Opaque, OutputFormat, Reasoning, ReasoningDepth, Request, Role,
    Show, Source, Speech, State, SystemBlock, TextBlock, Thought, Tool, ToolCall, ToolChoice, ToolKind,
    ToolResult, Turn,
};
use crate::json::{Kind, Raw, Reader, from_str};
use crate::media;
use crate::report::Class;
use crate::wire::gemini as wire;

/// Members without a place in the IR (conversion.md 4.4); what is not listed is a hint.
const CLASSES: &[(&str, Class)] = &[
    ("cachedContent", Class::Must),
    ("modelArmorConfig", Class::Must),
    ("generationOutputConfig", Class::Must),
    ("continuationToken", Class::Must),
    ("safetySettings", Class::Inert),
    ("generationConfig.modelArmorConfig", Class::Must),
    ("generationConfig.generationOutputConfig", Class::Must),
    ("generationConfig.audioTranscriptionConfig", Class::Must),
    ("generationConfig.translationConfig", Class::Must),
    ("generationConfig.audioTimestamp", Class::Must),
    ("generationConfig.enableEnhancedCivicAnswers", Class::Inert),
];

/// Members of parts without an effect elsewhere (conversion.md 6.4).
const OF_PARTS: &[(&str, Class)] = &[("partMetadata", Class::Inert)];

/// Members of function declarations without an effect elsewhere (conversion.md 8.1).
const OF_FUNCTIONS: &[(&str, Class)] = &[("behavior", Class::Inert), ("response", Class::Inert)];

pub(super) fn decode<'a>(body: &'a str, intake: &Intake<'_>) -> Result<Request<'a>, Error> {
    let wire: wire::Request<'_> = from_str(body)?;
    let contents = wire
        .contents
        .ok_or_else(|| Error::at(ErrorKind::Missing, "/contents", "`contents` is required"))?;
    let mut config = wire.generation_config.unwrap_or_default();
    let extra = std::mem::take(&mut config.extra).into_iter();
    let mut outside: Vec<_> = wire
        .extra
        .into_iter()
        .map(|(name, value)| (camel(name), value))
        .collect();
    outside.extend(extra.map(|(name, value)| {
        let name = camel(name);
        (Cow::Owned(format!("generationConfig.{name}")), value)
    }));
    let natives = natives(outside, CLASSES);
    let tool_config = wire.tool_config.unwrap_or_default();
    intake.extra(
        "toolConfig",
        &tool_config.extra,
        &[
            ("includeServerSideToolInvocations", Class::Inert),
            ("include_server_side_tool_invocations", Class::Inert),
        ],
    );
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
        system: system(wire.system_instruction, intake),
        tools: tools(wire.tools.unwrap_or_default(), intake)?,
        tool_choice: tool_config.function_calling_config.and_then(tool_choice),
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
        reasoning: reasoning(config.thinking_config.take(), intake),
        output: output(&config, intake),
        modalities: config
            .response_modalities
            .take()
            .unwrap_or_default()
            .into_iter()
            .map(|word| Cow::Owned(word.to_ascii_lowercase()))
            .collect(),
        speech: config.speech_config.take().map(|speech| {
            let voice = speech.voice_config.and_then(|voice| voice.prebuilt);
            Speech {
                voice: voice.and_then(|voice| voice.voice_name),
                format: None,
            }
        }),
        media_detail: config.media_resolution.as_deref().and_then(resolution),
        metadata: wire.labels,
        service_tier: wire.service_tier.map(|tier| {
            let tier = tier.to_ascii_lowercase();
            let bare = tier.strip_prefix("service_tier_").map(str::to_owned);
            Cow::Owned(bare.unwrap_or(tier))
        }),
        store: wire.store,
        natives,
        ..Request::default()
    };
    for (index, content) in contents.0.into_iter().enumerate() {
        turn(content, index, &mut request, intake)
            .map_err(|error| error.under_index(index).under("contents"))?;
    }
    if let Some(detail) = request.media_detail {
        for block in request.turns.iter_mut().flat_map(|turn| &mut turn.blocks) {
            if let Block::Media(media) = block
                && media.kind == crate::ir::MediaKind::Image
            {
                media.detail.get_or_insert(detail);
            }
        }
    }
    Ok(request)
}

/// `cached_content` as `cachedContent`: both spellings are read, one is reported.
fn camel(name: Cow<'_, str>) -> Cow<'_, str> {
    if !name.contains('_') {
        return name;
    }
    let mut out = String::with_capacity(name.len());
    let mut up = false;
    for c in name.chars() {
        if c == '_' && !out.is_empty() {
            up = true;
        } else {
            out.push(if up { c.to_ascii_uppercase() } else { c });
            up = false;
        }
    }
    Cow::Owned(out)
}

/// `MEDIA_RESOLUTION_LOW` and the like.
fn resolution(word: &str) -> Option<Detail> {
    let bare = word.strip_prefix("MEDIA_RESOLUTION_").unwrap_or(word);
    match bare.to_ascii_uppercase().as_str() {
        "LOW" => Some(Detail::Low),
        "MEDIUM" => Some(Detail::Auto),
        "HIGH" => Some(Detail::High),
        "ULTRA_HIGH" => Some(Detail::Original),
        _ => None,
    }
}

/// A part's `mediaResolution`: `{level}`, or the level alone.
fn part_resolution(raw: Option<Raw<'_>>) -> Option<Detail> {
    crate::wire::object! {
        /// `mediaResolution` of a part.
        pub(crate) struct Level {
            /// The level.
            level: Cow<'a, str> = "level",
        }
    }
    let raw = raw?;
    match raw.as_text() {
        Some(word) => resolution(&word.decode()),
        None => resolution(from_str::<Level<'_>>(raw.get()).ok()?.level.as_deref()?),
    }
}

fn system<'a>(content: Option<wire::Content<'a>>, intake: &Intake<'_>) -> Vec<SystemBlock<'a>> {
    let parts = content.and_then(|content| content.parts).unwrap_or_default();
    let texts = parts
        .into_iter()
        .enumerate()
        .filter_map(|(index, part)| {
            if part.text.is_none() {
                intake.lose(format!("systemInstruction.parts[{index}]"), Class::Must);
            }
            part.text
        })
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

fn turn<'a>(
    content: wire::Content<'a>,
    index: usize,
    request: &mut Request<'a>,
    intake: &Intake<'_>,
) -> Result<(), Error> {
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
        let block = part_block(part, place, role, intake)
            .map_err(|error| error.under_index(number).under("parts"))?;
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

fn part_block<'a>(
    part: wire::Part<'a>,
    path: String,
    role: Role,
    intake: &Intake<'_>,
) -> Result<Option<Block<'a>>, Error> {
    let data = part.text.is_some()
        || part.inline_data.is_some()
        || part.file_data.is_some()
        || part.function_call.is_some()
        || part.function_response.is_some();
    if data {
        for (name, value) in &part.extra {
            let name = camel(name.clone());
            intake.extra(&path, &vec![(name, *value)], OF_PARTS);
        }
    }
    let detail = part_resolution(part.media_resolution);
    let signature = part.thought_signature.filter(|signature| !signature.is_empty());
    let own = |state: fn(Cow<'a, str>) -> State<'a>| {
        signature.clone().and_then(|signature| {
            intake.opaque(signature, |signature| {
                Some(Opaque {
                    origin: Format::Gemini,
                    domain: None,
                    state: state(signature),
                })
            })
        })
    };
    if let Some(call) = part.function_call {
        return tool_call(call, own(State::CallSignature), &path, intake)
            .map(|call| Some(Block::ToolCall(call)));
    }
    if let Some(result) = part.function_response {
        return tool_result(result, &path, intake).map(Some);
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
            detail,
            title: blob.display_name,
            cache: None,
        })));
    }
    if let Some(file) = part.file_data {
        return file_block(file, detail).map(Some);
    }
    let transcript = part
        .audio_transcription
        .and_then(|transcription| transcription.text);
    let Some(text) = part.text.or(transcript) else {
        let state = own(State::PartSignature);
        if state.is_some() {
            return Ok(Some(Block::Thought(Thought {
                state,
                ..Thought::default()
            })));
        }
        return Ok(unknown_part(part.extra, part.raw, path, role));
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

fn tool_call<'a>(
    call: wire::FunctionCall<'a>,
    state: Option<Opaque<'a>>,
    path: &str,
    intake: &Intake<'_>,
) -> Result<ToolCall<'a>, Error> {
    intake.extra(&format!("{path}.functionCall"), &call.extra, &[]);
    let name = call
        .name
        .ok_or_else(|| Error::at(ErrorKind::Missing, "/functionCall/name", "a call needs a name"))?;
    let args = call.args.filter(|args| args.is_object());
    Ok(ToolCall {
        id: intake.bare_id(call.id.unwrap_or_default()),
        name,
        arguments: Arguments::Object(args.unwrap_or(Raw::of_const("{}"))),
        namespace: None,
        state,
        cache: None,
    })
}

/// A part of which no data member is known.
fn unknown_part<'a>(
    extra: crate::wire::Extra<'a>,
    json: Raw<'a>,
    path: String,
    role: Role,
) -> Option<Block<'a>> {
    let (name, _) = extra.into_iter().next()?;
    let kind = camel(name);
    // Settings of a medium that is not there say nothing to the model.
    let setting = ["videoMetadata", "mediaProcessing", "partMetadata"].contains(&kind.as_ref());
    Some(Block::Native(Native {
        format: Format::Gemini,
        kind,
        json,
        path,
        must: role != Role::Assistant && !setting,
    }))
}

fn file_block(file: wire::FileData<'_>, detail: Option<Detail>) -> Result<Block<'_>, Error> {
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
        detail,
        title: file.display_name,
        cache: None,
    }))
}

/// `{"output": x}` is x, `{"error": x}` is a failure, anything else stays the object it is (conversion.md 6.6).
fn tool_result<'a>(
    result: wire::FunctionResponse<'a>,
    path: &str,
    intake: &Intake<'_>,
) -> Result<Block<'a>, Error> {
    let place = format!("{path}.functionResponse");
    intake.extra(&place, &result.extra, &[("scheduling", Class::Inert)]);
    if result.will_continue == Some(true) {
        intake.lose(format!("{place}.willContinue"), Class::Must);
    }
    let mut parts = Vec::new();
    let mut is_error = false;
    let mut structured = result.response.filter(|response| response.is_object());
    if let Some(other) = result.response.filter(|response| !response.is_object()) {
        let text = other.as_text().unwrap_or_else(|| other.get().into());
        parts.push(Block::Text(TextBlock {
            text,
            ..TextBlock::default()
        }));
    }
    if let Some((name, value)) = structured.and_then(only_member)
        && (name == "output" || name == "error")
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
            intake,
        )?);
    }
    let call_id = intake.bare_id(result.id.unwrap_or_default());
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

fn tools<'a>(tools: Vec<wire::Tool<'a>>, intake: &Intake<'_>) -> Result<Vec<Tool<'a>>, Error> {
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
            let kind = ToolKind::Function {
                parameters: parameters.filter(|schema| !schema.is_null()),
                openapi,
                strict: None,
            };
            let path = format!("tools[{index}].functionDeclarations[{number}]");
            intake.extra(&path, &declared.extra, OF_FUNCTIONS);
            list.push(Tool {
                description: declared.description,
                output_schema: declared.response_json_schema,
                ..Tool::new(name, kind, path)
            });
        }
        for (kind, json) in tool.extra.into_iter().filter(|(_, json)| !json.is_null()) {
            let kind = camel(kind);
            let path = format!("tools[{index}].{kind}");
            let servers = from_str::<Vec<Raw<'a>>>(json.get()).unwrap_or_default();
            if kind == "mcpServers" && !servers.is_empty() {
                for (number, server) in servers.into_iter().enumerate() {
                    list.push(hosted(kind.clone(), server, format!("{path}[{number}]")));
                }
            } else {
                list.push(hosted(kind, json, path));
            }
        }
    }
    Ok(list)
}

fn hosted<'a>(kind: Cow<'a, str>, json: Raw<'a>, path: String) -> Tool<'a> {
    let hosted = ToolKind::Hosted {
        format: Format::Gemini,
        kind: kind.clone(),
        json,
    };
    Tool::new(kind, hosted, path)
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

fn reasoning(config: Option<wire::ThinkingConfig<'_>>, intake: &Intake<'_>) -> Reasoning {
    let Some(config) = config else {
        return Reasoning {
            show: Show::Hidden,
            ..Reasoning::default()
        };
    };
    let place = "generationConfig.thinkingConfig";
    intake.extra(place, &config.extra, &[]);
    if let Some(level) = &config.thinking_level
        && Effort::parse(level).is_none()
    {
        intake.lose(format!("{place}.thinkingLevel"), Class::Hint);
    }
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
        show,
        ..Reasoning::default()
    }
}

fn output<'a>(config: &wire::GenerationConfig<'a>, intake: &Intake<'_>) -> OutputFormat<'a> {
    if config.response_mime_type.as_deref() == Some("text/x.enum") {
        // One of some words: nobody else has it, and a JSON schema would change the answer (conversion.md 11.1).
        intake.lose("generationConfig.responseMimeType".to_owned(), Class::Must);
    }
    let written = config.response_format.and_then(|raw| {
        from_str::<Vec<wire::ResponseFormat<'a>>>(raw.get())
            .or_else(|_| from_str::<wire::ResponseFormat<'a>>(raw.get()).map(|one| vec![one]))
            .ok()
    });
    let text = written
        .into_iter()
        .flatten()
        .find_map(|format: wire::ResponseFormat<'a>| format.text);
    if let Some(text) = text {
        return match text.json_schema.or(text.schema) {
            Some(schema) => json_schema(schema, false),
            None if text.mime_type.as_deref() == Some("application/json") => OutputFormat::JsonObject,
            None => OutputFormat::Text,
        };
    }
    let schema = config
        .response_json_schema
        .map(|schema| (schema, false))
        .or(config.response_schema.map(|schema| (schema, true)));
    match schema {
        Some((schema, openapi)) => json_schema(schema, openapi),
        None if config.response_mime_type.as_deref() == Some("application/json") => OutputFormat::JsonObject,
        None => OutputFormat::Text,
    }
}

fn json_schema(schema: Raw<'_>, openapi: bool) -> OutputFormat<'_> {
    OutputFormat::JsonSchema {
        name: None,
        description: None,
        schema,
        openapi,
        strict: None,
    }
}
