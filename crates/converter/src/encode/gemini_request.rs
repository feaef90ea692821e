//! The IR to request bodies of generateContent.

use std::collections::HashMap;

use super::parts::{
    ATTACHED, OPERATOR_NOTE, call_input, declared_name, is_object, lose, names_lost, native_block, own_block,
    prefill, restorable, result_texts, thought_state, tool_extras_lost, upstream_name,
};
use crate::error::{Error, ErrorKind};
use crate::hosted;
use crate::ir::{
    Block, Detail, Effort, Media, MediaKind, Member, OutputFormat, ReasoningDepth, Request, Role, Show,
    Source, State, Tool, ToolCall, ToolChoice, ToolKind, ToolResult, Turn,
};
use crate::json::{Raw, Text, Writer};
use crate::media;
use crate::names;
use crate::profile::{Profile, Sampling, profile};
use crate::report::{Class, Mode, Report};
use crate::schema;
use crate::scrub::PLACEHOLDER;
use crate::target::{Options, Target};
use crate::{Dialect, Format};

/// Stop sequences that Gemini takes.
const MAX_STOPS: usize = 5;

pub(super) fn encode(
    request: &Request<'_>,
    target: &Target<'_>,
    _options: &Options,
    report: &mut Report,
) -> Result<Vec<u8>, Error> {
    let mut out = Vec::with_capacity(4096);
    let mut w = Writer::new(&mut out);
    let profile = profile(target.format, target.dialect, target.model);
    w.begin_object();
    contents(&mut w, request, target, &profile, report)?;
    system(&mut w, request, &profile, report)?;
    tools(&mut w, request, target, &profile, report)?;
    config(&mut w, request, &profile, report)?;
    identity(&mut w, request, target, report)?;
    for native in &request.natives {
        if report.client() != Format::Gemini {
            report.cannot_carry(native.path.clone().into_owned(), native.class)?;
        } else if !native.path.contains('.') {
            w.key(&native.path).raw(native.value);
        }
    }
    others(request, report)?;
    w.end_object();
    Ok(out)
}

/// Before Gemini 3 an answer in JSON and functions exclude each other (conversion.md 8.6).
fn json_by_words(request: &Request<'_>, profile: &Profile) -> bool {
    !profile.signatures && request.output != OutputFormat::Text && !request.tools.is_empty()
}

fn system(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    profile: &Profile,
    report: &mut Report,
) -> Result<(), Error> {
    let instruction = match &request.output {
        _ if report.client() == Format::Gemini || !json_by_words(request, profile) => None,
        OutputFormat::Text => None,
        OutputFormat::JsonObject => Some("Respond with a single JSON object and nothing else.".to_owned()),
        OutputFormat::JsonSchema { schema, .. } => Some(format!(
            "Respond with a single JSON value that matches this JSON Schema and nothing else:\n{}",
            schema.get()
        )),
    };
    if instruction.is_some() {
        if report.mode() == Mode::Strict {
            lose(report, true, Member::Output, Class::Hint)?;
        }
        report.emulated(Member::Output.path(report.client()), "instruction");
    }
    if request.system.is_empty() && instruction.is_none() {
        return Ok(());
    }
    w.key("systemInstruction").object(|w| {
        w.key("parts").array(|w| {
            for block in &request.system {
                text_part(w.item(), &block.text.text);
            }
            if let Some(text) = instruction {
                text_part(w.item(), &text.into());
            }
        });
    });
    Ok(())
}

fn text_part(w: &mut Writer<'_>, text: &Text<'_>) {
    w.object(|w| w.key("text").text(text));
}

/// Everything the parts of a turn need to know about the whole conversation.
struct Scene<'s> {
    target: &'s Target<'s>,
    profile: &'s Profile,
    /// Call id -> tool name, for results.
    names: HashMap<&'s str, &'s str>,
    /// Tool name -> namespace, for results.
    namespaces: HashMap<&'s str, &'s str>,
    /// Turns from this one on belong to the current turn of the conversation: their calls need signatures.
    current: usize,
}

/// Contents; consecutive ones of the same role are merged, results stay apart (conversion.md 5.3).
fn contents(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    target: &Target<'_>,
    profile: &Profile,
    report: &mut Report,
) -> Result<(), Error> {
    let calls = request
        .turns
        .iter()
        .flat_map(|turn| &turn.blocks)
        .filter_map(|block| match block {
            Block::ToolCall(call) => Some((call.id.as_ref(), call.name.as_ref())),
            _ => None,
        });
    let current = request
        .turns
        .iter()
        .rposition(|turn| turn.role == Role::User)
        .unwrap_or(0);
    let scene = Scene {
        target,
        profile,
        names: calls.collect(),
        namespaces: request
            .turns
            .iter()
            .flat_map(|turn| &turn.blocks)
            .filter_map(|block| match block {
                Block::ToolCall(call) => Some((call.name.as_ref(), call.namespace.as_deref()?)),
                _ => None,
            })
            .collect(),
        current,
    };
    w.key("contents").begin_array();
    let mut open: Option<Role> = None;
    for (index, turn) in request.turns.iter().enumerate() {
        let mut content = Vec::new();
        parts(&mut Writer::new(&mut content), turn, index, &scene, report)?;
        if content.is_empty() {
            continue;
        }
        let role = if turn.role == Role::System {
            Role::User
        } else {
            turn.role
        };
        if open == Some(role) {
            w.bytes().push(b',');
        } else {
            if open.is_some() {
                w.bytes().extend_from_slice(b"]}");
            }
            let head: &[u8] = if role == Role::Assistant {
                br#"{"role":"model","parts":["#
            } else {
                br#"{"role":"user","parts":["#
            };
            w.item().bytes().extend_from_slice(head);
        }
        w.bytes().extend_from_slice(&content);
        open = Some(role);
    }
    match open {
        Some(_) => w.bytes().extend_from_slice(b"]}"),
        None => w
            .item()
            .raw(Raw::of_const(r#"{"role":"user","parts":[{"text":" "}]}"#)),
    }
    w.end_array();
    names_lost(request, report)?;
    prefill(request, report)
}

fn next<'w, 'o>(w: &'w mut Writer<'o>) -> &'w mut Writer<'o> {
    if !w.bytes().is_empty() {
        w.bytes().push(b',');
    }
    w
}

fn parts(
    w: &mut Writer<'_>,
    turn: &Turn<'_>,
    index: usize,
    scene: &Scene<'_>,
    report: &mut Report,
) -> Result<(), Error> {
    // A signature that stood in front of a call belongs to that call.
    let mut pending: Option<String> = None;
    let mut first_call = true;
    for block in &turn.blocks {
        match block {
            Block::Text(text) if text.text.is_empty() => {}
            Block::Text(text) if turn.role == Role::System => {
                let text = format!("{OPERATOR_NOTE}{}", text.text.decode());
                text_part(next(w), &text.into());
            }
            Block::Text(text) => {
                let state = restorable(text.state.as_ref(), scene.target, report);
                next(w).object(|w| {
                    w.key("text").text(&text.text);
                    if let Some(State::PartSignature(signature)) = state {
                        w.key("thoughtSignature").str(signature);
                    }
                });
            }
            Block::Refusal(text) => text_part(next(w), text),
            Block::Media(_) if turn.role == Role::Assistant && report.client() != Format::Gemini => {
                report.cannot_carry(turn.path.clone(), Class::Hint)?;
            }
            Block::Media(media) => media_part(w, media, &turn.path, scene, report)?,
            Block::ToolCall(call) => {
                let needed = first_call && index >= scene.current && scene.profile.signatures;
                function_call(next(w), call, &turn.path, pending.take(), needed, scene, report);
                first_call = false;
            }
            Block::ToolResult(result) => function_response(w, result, &turn.path, scene, report)?,
            Block::Thought(thought) => match thought_state(thought, scene.target, report) {
                Some(State::CallSignature(signature)) => pending = Some(signature.clone().into_owned()),
                Some(State::PartSignature(signature)) => next(w).object(|w| {
                    let texts: Vec<&Text<'_>> = thought.text.iter().collect();
                    super::parts::joined(w.key("text"), &texts, "\n");
                    if !texts.is_empty() {
                        w.key("thought").bool(true);
                    }
                    w.key("thoughtSignature").str(signature);
                }),
                _ => {}
            },
            Block::Native(native) => match own_block(native, scene.target) {
                Some(raw) => next(w).raw(raw),
                None => native_block(native, report)?,
            },
        }
    }
    Ok(())
}

fn function_call(
    w: &mut Writer<'_>,
    call: &ToolCall<'_>,
    path: &str,
    pending: Option<String>,
    needed: bool,
    scene: &Scene<'_>,
    report: &mut Report,
) {
    let own = match restorable(call.state.as_ref(), scene.target, report) {
        Some(State::CallSignature(signature) | State::PartSignature(signature)) => {
            Some(signature.clone().into_owned())
        }
        _ => None,
    };
    let signature = own.or(pending).or_else(|| needed.then(|| PLACEHOLDER.to_owned()));
    w.object(|w| {
        w.key("functionCall").object(|w| {
            call_id(w, &call.id, scene);
            w.key("name").str(&upstream_name(
                &call.name,
                call.namespace.as_deref(),
                scene.target,
            ));
            call_input(w.key("args"), &call.arguments, path, report);
        });
        if let Some(signature) = &signature {
            w.key("thoughtSignature").str(signature);
        }
    });
}

/// Ids that we made are left out again, and models before Gemini 3 refuse any.
fn call_id(w: &mut Writer<'_>, id: &str, scene: &Scene<'_>) {
    let id = names::call_id(id, Format::Gemini);
    if scene.profile.call_ids && !id.is_empty() && !id.starts_with(names::SYNTHETIC_CALL) {
        w.key("id").str(&id);
    }
}

fn function_response(
    w: &mut Writer<'_>,
    result: &ToolResult<'_>,
    path: &str,
    scene: &Scene<'_>,
    report: &mut Report,
) -> Result<(), Error> {
    let name = scene
        .names
        .get(result.call_id.as_ref())
        .copied()
        .or(result.name.as_deref())
        .ok_or_else(|| {
            Error::new(
                ErrorKind::Invalid,
                format!("{path}: the tool call that this result answers is not in the conversation"),
            )
        })?;
    let media: Vec<&Media<'_>> = result
        .parts
        .iter()
        .filter_map(|part| {
            if let Block::Media(media) = part {
                Some(media)
            } else {
                None
            }
        })
        .collect();
    let inside = scene.profile.call_ids && !media.is_empty();
    next(w).begin_object();
    w.key("functionResponse").begin_object();
    call_id(w, &result.call_id, scene);
    w.key("name").str(&upstream_name(
        name,
        scene.namespaces.get(name).copied(),
        scene.target,
    ));
    response(w.key("response"), result, !media.is_empty() && !inside);
    if inside {
        let mut inner = Vec::new();
        for media in &media {
            media_part(&mut Writer::new(&mut inner), media, path, scene, report)?;
        }
        w.key("parts").array(|w| w.bytes().extend_from_slice(&inner));
    }
    w.end_object();
    w.end_object();
    if !inside {
        for media in media {
            media_part(w, media, path, scene, report)?;
        }
    }
    Ok(())
}

/// A JSON object as it is, everything else under `output`, failures under `error` (conversion.md 6.6).
fn response(w: &mut Writer<'_>, result: &ToolResult<'_>, attached: bool) {
    if let Some(structured) = result.structured {
        return w.raw(structured);
    }
    let texts = result_texts(result);
    let whole: Vec<_> = texts.iter().map(|text| text.decode()).collect();
    let mut whole = whole.join("\n");
    let trimmed = whole.trim();
    // Gemini reads `$ref` inside a response as a pointer to a part and fails.
    if !result.is_error && is_object(trimmed) && !trimmed.contains("\"$ref\"") {
        return w.raw(Raw(trimmed));
    }
    if attached {
        if !whole.is_empty() {
            whole.push('\n');
        }
        whole.push_str(ATTACHED);
    }
    w.object(|w| {
        w.key(if result.is_error { "error" } else { "output" })
            .str(&whole)
    });
}

/// How closely to look: a member of parts from Gemini 3 on.
fn resolution(w: &mut Writer<'_>, media: &Media<'_>, scene: &Scene<'_>) {
    let level = match media.detail {
        Some(Detail::Low) => "MEDIA_RESOLUTION_LOW",
        Some(Detail::High) => "MEDIA_RESOLUTION_HIGH",
        Some(Detail::Original) => "MEDIA_RESOLUTION_ULTRA_HIGH",
        Some(Detail::Auto) | None => return,
    };
    if scene.profile.signatures {
        w.key("mediaResolution").object(|w| w.key("level").str(level));
    }
}

fn media_part(
    w: &mut Writer<'_>,
    media: &Media<'_>,
    path: &str,
    scene: &Scene<'_>,
    report: &mut Report,
) -> Result<(), Error> {
    match &media.source {
        Source::Base64 { mime, data } => next(w).object(|w| {
            w.key("inlineData").object(|w| {
                w.key("mimeType").str(mime);
                w.key("data").text(data);
            });
            resolution(w, media, scene);
        }),
        // Gemini fetches nothing, and neither does the converter (conversion.md 6.5).
        Source::Url { .. } if report.client() != Format::Gemini => {
            report.cannot_carry(path.to_owned(), Class::Must)?;
        }
        Source::Url { url, mime } => {
            let address = url.decode();
            let guessed = match (mime.as_deref(), media.kind) {
                (Some(mime), _) => mime.to_owned(),
                (None, MediaKind::Document) if !address.contains(".txt") => "application/pdf".to_owned(),
                (None, _) => media::guess(&address).to_owned(),
            };
            next(w).object(|w| {
                w.key("fileData").object(|w| {
                    w.key("mimeType").str(&guessed);
                    w.key("fileUri").text(url);
                });
                resolution(w, media, scene);
            });
        }
        Source::File {
            id,
            owner: Format::Gemini,
        } => next(w).object(|w| {
            w.key("fileData").object(|w| w.key("fileUri").text(id));
        }),
        Source::File { .. } => report.cannot_carry(path.to_owned(), Class::Must)?,
        Source::Text(text) => text_part(next(w), &super::chat_request::envelope(media, text).into()),
        Source::Blocks(blocks) => {
            let (open, close) = super::chat_request::envelope_ends(media);
            text_part(next(w), &open.into());
            for block in blocks {
                match block {
                    Block::Text(text) => text_part(next(w), &text.text),
                    Block::Media(inner) => media_part(w, inner, path, scene, report)?,
                    Block::Native(native) => native_block(native, report)?,
                    _ => {}
                }
            }
            text_part(next(w), &close.into());
        }
    }
    Ok(())
}

fn tools(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    target: &Target<'_>,
    profile: &Profile,
    report: &mut Report,
) -> Result<(), Error> {
    if request.tools.is_empty() {
        return Ok(());
    }
    let (hosts, functions): (Vec<&Tool<'_>>, Vec<_>) = request
        .tools
        .iter()
        .partition(|tool| matches!(tool.kind, ToolKind::Hosted { .. }));
    w.key("tools").begin_array();
    if !functions.is_empty() {
        w.item().begin_object();
        w.key("functionDeclarations").begin_array();
        for tool in &functions {
            tool_extras_lost(
                tool,
                &[
                    ("defer_loading", tool.defer),
                    ("allowed_callers", tool.callers.is_some()),
                    (
                        "strict",
                        matches!(tool.kind, ToolKind::Function { strict: Some(_), .. }),
                    ),
                ],
                report,
            )?;
            declaration(w.item(), tool, target, profile, report);
        }
        w.end_array();
        w.end_object();
    }
    for tool in &hosts {
        match (&tool.kind, hosted::of(tool)) {
            (
                ToolKind::Hosted {
                    format: Format::Gemini,
                    kind,
                    json,
                },
                _,
            ) => w.item().object(|w| {
                if kind == "mcpServers" && json.is_object() {
                    w.key(kind).array(|w| w.item().raw(*json));
                } else {
                    w.key(kind).raw(*json);
                }
            }),
            (_, Some(capability)) => hosted::write(w.item(), tool, capability, request, target, report)?,
            _ => {}
        }
    }
    w.end_array();
    lose(
        report,
        request.parallel_tool_calls == Some(false),
        Member::Parallel,
        Class::Hint,
    )?;
    // Search next to functions needs a word of consent (conversion.md 8.6).
    let mixed = !hosts.is_empty()
        && !functions.is_empty()
        && profile.signatures
        && target.dialect != Dialect::Vertex
        && report.client() != Format::Gemini;
    let consent = |w: &mut Writer<'_>| {
        if mixed {
            w.key("includeServerSideToolInvocations").bool(true);
        }
    };
    let (mode, names): (&str, Vec<&str>) = match &request.tool_choice {
        None if mixed => {
            w.key("toolConfig").object(consent);
            return Ok(());
        }
        None => return Ok(()),
        Some(ToolChoice::None) => ("NONE", Vec::new()),
        Some(ToolChoice::Auto) => ("AUTO", Vec::new()),
        Some(ToolChoice::Any) => ("ANY", Vec::new()),
        Some(ToolChoice::Validated) => ("VALIDATED", Vec::new()),
        Some(ToolChoice::Tool(name)) => ("ANY", vec![name]),
        Some(ToolChoice::Subset { names, required }) => (
            if *required { "ANY" } else { "VALIDATED" },
            names.iter().map(AsRef::as_ref).collect(),
        ),
        Some(ToolChoice::Hosted(_)) => return lose(report, true, Member::ToolChoice, Class::Must),
    };
    if functions.is_empty() {
        return Ok(());
    }
    w.key("toolConfig").object(|w| {
        consent(w);
        w.key("functionCallingConfig").object(|w| {
            w.key("mode").str(mode);
            if !names.is_empty() {
                w.key("allowedFunctionNames").array(|w| {
                    for name in names {
                        w.item().str(&declared_name(request, name, target));
                    }
                });
            }
        });
    });
    Ok(())
}

fn declaration(
    w: &mut Writer<'_>,
    tool: &Tool<'_>,
    target: &Target<'_>,
    profile: &Profile,
    report: &mut Report,
) {
    let name = upstream_name(&tool.name, tool.namespace.as_deref(), target);
    let schema_member = if profile.json_schema {
        "parametersJsonSchema"
    } else {
        "parameters"
    };
    w.object(|w| match &tool.kind {
        ToolKind::Custom { format } => {
            report.emulated(&tool.path, "shim");
            super::chat_request::shim(w, &name, tool, *format, schema_member);
        }
        ToolKind::Function {
            parameters, openapi, ..
        } => {
            w.key("name").str(&name);
            if let Some(description) = &tool.description {
                w.key("description").text(description);
            }
            let Some(parameters) = parameters.filter(|schema| has_properties(*schema)) else {
                return;
            };
            if let Some(schema) = tool.output_schema.filter(|_| profile.json_schema) {
                w.key("responseJsonSchema").raw(schema);
            }
            if *openapi {
                // The client's own Gemini schema.
                w.key("parameters").raw(parameters);
                return;
            }
            let rules = if profile.json_schema {
                schema::Profile::GeminiJson
            } else {
                schema::Profile::GeminiOpenApi
            };
            let (schema, lost) = schema::rewrite(parameters, rules);
            if lost {
                report.dropped(format!("{}.parameters", tool.path));
            }
            w.key(schema_member).raw(Raw(&schema));
        }
        ToolKind::Hosted { .. } => {}
    });
}

/// Gemini refuses an object schema without properties; such a function has no parameters.
fn has_properties(schema: Raw<'_>) -> bool {
    let mut reader = crate::json::Reader::new(schema.get());
    let mut found = false;
    let read = reader.object(|reader, key| {
        match key.as_ref() {
            "properties" => {
                let properties = reader.raw()?;
                found |= properties.get().trim_start_matches('{').trim_start() != "}";
            }
            "anyOf" | "oneOf" | "allOf" | "$ref" | "additionalProperties" => {
                found = true;
                reader.skip()?;
            }
            _ => reader.skip()?,
        }
        Ok(())
    });
    read.is_ok() && found
}

fn config(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    profile: &Profile,
    report: &mut Report,
) -> Result<(), Error> {
    let mut inner = Vec::new();
    let mut c = Writer::new(&mut inner);
    c.begin_object();
    let takes = profile.sampling == Sampling::Full;
    for (member, name, value) in [
        (Member::Temperature, "temperature", request.temperature),
        (Member::TopP, "topP", request.top_p),
        (Member::TopK, "topK", request.top_k),
        (
            Member::PresencePenalty,
            "presencePenalty",
            request.presence_penalty,
        ),
        (
            Member::FrequencyPenalty,
            "frequencyPenalty",
            request.frequency_penalty,
        ),
    ] {
        // Gemini takes what its own clients send.
        match value {
            Some(value) if takes || report.client() == Format::Gemini => c.key(name).raw(value),
            value => lose(report, value.is_some(), member, Class::Hint)?,
        }
    }
    seed(&mut c, request.seed, report)?;
    // Zero asks Anthropic to warm its cache only.
    let warm = request.max_output_tokens == Some(0) && report.client() == Format::Messages;
    lose(report, warm, Member::MaxTokens, Class::Must)?;
    if let Some(limit) = request.max_output_tokens.filter(|_| !warm) {
        c.key("maxOutputTokens").u64(limit);
    }
    if let Some(count) = request.candidates.filter(|count| *count > 1) {
        c.key("candidateCount").u64(count);
    }
    stop(&mut c, request, report);
    if request.logprobs {
        c.key("responseLogprobs").bool(true);
        if let Some(top) = request.top_logprobs {
            c.key("logprobs").u64(top.min(20));
        }
    }
    output(&mut c, request, profile, report);
    spoken(&mut c, request, report)?;
    thinking(&mut c, request, profile, report);
    for native in request
        .natives
        .iter()
        .filter(|_| report.client() == Format::Gemini)
    {
        if let Some(name) = native.path.strip_prefix("generationConfig.") {
            c.key(name).raw(native.value);
        }
    }
    c.end_object();
    if inner.len() > 2 {
        w.key("generationConfig").bytes().extend_from_slice(&inner);
    }
    Ok(())
}

/// Kinds of output, and the voice of spoken ones.
fn spoken(w: &mut Writer<'_>, request: &Request<'_>, report: &mut Report) -> Result<(), Error> {
    if request.modalities.iter().any(|kind| kind != "text") {
        w.key("responseModalities").array(|w| {
            // Gemini speaks or writes.
            let spoken = request.modalities.iter().any(|kind| kind == "audio");
            for kind in &request.modalities {
                if !(spoken && kind == "text" && report.client() != Format::Gemini) {
                    w.item().str(&kind.to_ascii_uppercase());
                }
            }
        });
    }
    let Some(speech) = &request.speech else {
        return Ok(());
    };
    let raw = speech
        .format
        .as_deref()
        .is_none_or(|format| matches!(format, "wav" | "pcm16"));
    lose(report, !raw, Member::Speech, Class::Must)?;
    if let Some(voice) = &speech.voice {
        w.key("speechConfig").object(|w| {
            w.key("voiceConfig").object(|w| {
                w.key("prebuiltVoiceConfig")
                    .object(|w| w.key("voiceName").text(voice));
            });
        });
    }
    Ok(())
}

/// Gemini's seed is an i32.
fn seed(w: &mut Writer<'_>, seed: Option<Raw<'_>>, report: &mut Report) -> Result<(), Error> {
    let Some(seed) = seed else { return Ok(()) };
    let Ok(value) = seed.get().parse::<i64>() else {
        return lose(report, true, Member::Seed, Class::Hint);
    };
    let small = if i32::try_from(value).is_ok() {
        value
    } else {
        value & 0x7fff_ffff
    };
    if small != value {
        report.altered(Member::Seed.path(report.client()), seed.get(), &small.to_string());
    }
    w.key("seed").i64(small);
    Ok(())
}

fn stop(w: &mut Writer<'_>, request: &Request<'_>, report: &mut Report) {
    if request.stop.is_empty() {
        return;
    }
    for (index, _) in request.stop.iter().enumerate().skip(MAX_STOPS) {
        report.dropped(format!("{}[{index}]", Member::Stop.path(report.client())));
    }
    w.key("stopSequences").array(|w| {
        for text in request.stop.iter().take(MAX_STOPS) {
            w.item().text(text);
        }
    });
}

fn output(w: &mut Writer<'_>, request: &Request<'_>, profile: &Profile, report: &mut Report) {
    match &request.output {
        OutputFormat::Text => {}
        _ if report.client() != Format::Gemini && json_by_words(request, profile) => {}
        OutputFormat::JsonObject => w.key("responseMimeType").str("application/json"),
        OutputFormat::JsonSchema { schema, openapi, .. } => {
            w.key("responseMimeType").str("application/json");
            if *openapi {
                return w.key("responseSchema").raw(*schema);
            }
            if report.client() == Format::Gemini {
                return w.key("responseJsonSchema").raw(*schema);
            }
            let (rules, name) = if profile.json_schema {
                (schema::Profile::GeminiOutput, "responseJsonSchema")
            } else {
                (schema::Profile::GeminiOpenApi, "responseSchema")
            };
            let (schema, lost) = schema::rewrite(*schema, rules);
            if lost {
                report.dropped(Member::Output.path(report.client()));
            }
            w.key(name).raw(Raw(&schema));
        }
    }
}

fn thinking(w: &mut Writer<'_>, request: &Request<'_>, profile: &Profile, report: &mut Report) {
    let path = Member::Effort.path(report.client());
    let thinks = profile.budget.is_some() || !profile.efforts.is_empty();
    let depth = match (request.reasoning.depth, request.reasoning.effort) {
        (ReasoningDepth::Unset | ReasoningDepth::Dynamic, Some(effort)) => ReasoningDepth::Effort(effort),
        (depth, _) => depth,
    };
    if !thinks {
        if !matches!(depth, ReasoningDepth::Unset | ReasoningDepth::Off) {
            report.dropped(path);
        }
        return;
    }
    let shown = match request.reasoning.show {
        Show::Summary => true,
        // Anthropic shows its thinking unless it is told not to.
        Show::Default => report.client() == Format::Messages && depth != ReasoningDepth::Unset,
        Show::Hidden => false,
    };
    let show = shown && depth != ReasoningDepth::Off;
    let budget = profile.budget.map(|range| budget(depth, range, profile));
    let level = if profile.budget.is_some() {
        None
    } else {
        level(depth, profile, report, path)
    };
    if !show && level.is_none() && !matches!(budget, Some(Some(_))) {
        return;
    }
    w.key("thinkingConfig").object(|w| {
        if show {
            w.key("includeThoughts").bool(true);
        }
        if let Some(Some(budget)) = budget {
            w.key("thinkingBudget").i64(budget);
        }
        if let Some(level) = level {
            w.key("thinkingLevel").str(&level.as_str().to_ascii_uppercase());
        }
    });
}

fn budget(depth: ReasoningDepth, range: (u64, u64), profile: &Profile) -> Option<i64> {
    let tokens = match depth {
        ReasoningDepth::Unset => return None,
        ReasoningDepth::Dynamic => return Some(-1),
        ReasoningDepth::Off | ReasoningDepth::Effort(Effort::None) if profile.can_disable => 0,
        ReasoningDepth::Off | ReasoningDepth::Effort(Effort::None) => range.0,
        ReasoningDepth::Effort(Effort::Minimal) if range.0 > 1 => range.0,
        ReasoningDepth::Effort(Effort::Minimal) => 512,
        ReasoningDepth::Effort(Effort::XHigh | Effort::Max) => range.1,
        ReasoningDepth::Effort(effort) => super::messages_request::budget_of(effort).clamp(range.0, range.1),
        ReasoningDepth::Budget(tokens) => tokens.clamp(range.0, range.1),
    };
    i64::try_from(tokens).ok()
}

fn level(
    depth: ReasoningDepth,
    profile: &Profile,
    report: &mut Report,
    path: &'static str,
) -> Option<Effort> {
    let wanted = match depth {
        ReasoningDepth::Unset | ReasoningDepth::Dynamic => return None,
        ReasoningDepth::Off => return profile.efforts.first().copied(),
        ReasoningDepth::Effort(effort) => effort,
        ReasoningDepth::Budget(tokens) => super::chat_request::bucket(tokens),
    };
    let given = profile.nearest(wanted)?;
    if given != wanted {
        report.altered(path, wanted.as_str(), given.as_str());
    }
    Some(given)
}

fn identity(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    target: &Target<'_>,
    report: &mut Report,
) -> Result<(), Error> {
    lose(
        report,
        request.verbosity.is_some(),
        Member::Verbosity,
        Class::Hint,
    )?;
    let vertex = target.dialect == Dialect::Vertex;
    match request.service_tier.as_deref() {
        None | Some("auto") => {}
        Some("default" | "standard" | "standard_only") if !vertex => w.key("serviceTier").str("standard"),
        Some(tier @ ("flex" | "priority")) if !vertex => w.key("serviceTier").str(tier),
        Some("default" | "standard" | "standard_only") => {}
        Some(_) => lose(report, true, Member::Tier, Class::Hint)?,
    }
    match request.metadata {
        Some(labels) if report.client() == Format::Gemini => w.key("labels").raw(labels),
        metadata => lose(report, metadata.is_some(), Member::Metadata, Class::Inert)?,
    }
    match (report.client(), request.store) {
        // Whoever asks Responses to store an answer wants it back by its id.
        (Format::Responses, Some(true)) => report.dropped(Member::Store.path(Format::Responses)),
        (Format::Responses, _) => {}
        (_, Some(store)) if !vertex => w.key("store").bool(store),
        (_, store) => lose(report, store.is_some(), Member::Store, Class::Inert)?,
    }
    Ok(())
}

/// What Gemini has no member for.
fn others(request: &Request<'_>, report: &mut Report) -> Result<(), Error> {
    lose(report, request.user.is_some(), Member::User, Class::Inert)?;
    lose(
        report,
        request.safety_identifier.is_some(),
        Member::SafetyIdentifier,
        Class::Inert,
    )?;
    lose(
        report,
        request.cache_key.is_some(),
        Member::CacheKey,
        Class::Inert,
    )?;
    lose(
        report,
        request.cache_options.is_some(),
        Member::CacheOptions,
        Class::Inert,
    )?;
    lose(report, request.cache.is_some(), Member::Cache, Class::Inert)?;
    lose(
        report,
        request.compared_answer.is_some(),
        Member::Compared,
        Class::Inert,
    )?;
    lose(
        report,
        request.max_tool_calls.is_some(),
        Member::ToolCalls,
        Class::Hint,
    )?;
    lose(
        report,
        request.container.is_some(),
        Member::Container,
        Class::Must,
    )
}
