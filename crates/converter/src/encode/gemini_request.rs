//! The IR to request bodies of generateContent.

use std::collections::HashMap;

use super::parts::{
    ATTACHED, OPERATOR_NOTE, arguments_object, client_tools, is_object, lose, native_block, restorable,
    result_texts, upstream_name,
};
use crate::error::{Error, ErrorKind};
use crate::ir::{
    Block, Effort, Media, MediaKind, Member, OutputFormat, ReasoningDepth, Request, Role, Show, Source,
    State, Tool, ToolCall, ToolChoice, ToolKind, ToolResult, Turn,
};
use crate::json::{Raw, Text, Writer};
use crate::media;
use crate::names;
use crate::profile::{Profile, Sampling, profile};
use crate::report::{Class, Report};
use crate::schema;
use crate::target::{Options, Target};
use crate::{Dialect, Format};

/// Google's documented stand-in for a signature that is not there (conversion.md 7.5): base64 of `skip_thought_signature_validator`.
const PLACEHOLDER: &str = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I=";
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
    system(&mut w, request);
    tools(&mut w, request, target, &profile, report)?;
    config(&mut w, request, &profile, report)?;
    identity(&mut w, request, target, report)?;
    for native in &request.natives {
        if report.client() != Format::Gemini {
            report.cannot_carry(native.path.clone().into_owned(), native.class)?;
        }
    }
    w.end_object();
    Ok(out)
}

fn system(w: &mut Writer<'_>, request: &Request<'_>) {
    if request.system.is_empty() {
        return;
    }
    w.key("systemInstruction").object(|w| {
        w.key("parts").array(|w| {
            for block in &request.system {
                text_part(w.item(), &block.text.text);
            }
        });
    });
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
    Ok(())
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
            Block::Media(media) => media_part(w, media, &turn.path, report)?,
            Block::ToolCall(call) => {
                let needed = first_call && index >= scene.current && scene.profile.signatures;
                function_call(next(w), call, pending.take(), needed, scene, report);
                first_call = false;
            }
            Block::ToolResult(result) => function_response(w, result, &turn.path, scene, report)?,
            Block::Thought(thought) => match restorable(thought.state.as_ref(), scene.target, report) {
                Some(State::CallSignature(signature)) => pending = Some(signature.clone().into_owned()),
                Some(State::PartSignature(signature)) => next(w).object(|w| {
                    let texts: Vec<&Text<'_>> = thought.text.iter().collect();
                    super::parts::joined(w.key("text"), &texts, "\n");
                    if !texts.is_empty() {
                        w.key("thought").bool(true);
                    }
                    w.key("thoughtSignature").str(signature);
                }),
                Some(State::Native(json)) => next(w).raw(Raw(json)),
                // A thought that came without a signature goes back like that, as Google's own SDK sends it.
                Some(State::Plain) if !thought.text.is_empty() => next(w).object(|w| {
                    let texts: Vec<&Text<'_>> = thought.text.iter().collect();
                    super::parts::joined(w.key("text"), &texts, "\n");
                    w.key("thought").bool(true);
                }),
                _ => {}
            },
            Block::Native(native) => native_block(native, report)?,
        }
    }
    Ok(())
}

fn function_call(
    w: &mut Writer<'_>,
    call: &ToolCall<'_>,
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
            arguments_object(w.key("args"), &call.arguments);
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
    w.key("name").str(&upstream_name(name, None, scene.target));
    response(w.key("response"), result, !media.is_empty() && !inside);
    if inside {
        let mut inner = Vec::new();
        for media in &media {
            media_part(&mut Writer::new(&mut inner), media, path, report)?;
        }
        w.key("parts").array(|w| w.bytes().extend_from_slice(&inner));
    }
    w.end_object();
    w.end_object();
    if !inside {
        for media in media {
            media_part(w, media, path, report)?;
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

fn media_part(w: &mut Writer<'_>, media: &Media<'_>, path: &str, report: &mut Report) -> Result<(), Error> {
    match &media.source {
        Source::Base64 { mime, data } => next(w).object(|w| {
            w.key("inlineData").object(|w| {
                w.key("mimeType").str(mime);
                w.key("data").text(data);
            });
        }),
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
            for block in blocks {
                match block {
                    Block::Text(text) => text_part(next(w), &text.text),
                    Block::Media(inner) => media_part(w, inner, path, report)?,
                    _ => {}
                }
            }
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
    let tools = client_tools(request, report);
    if tools.is_empty() {
        return Ok(());
    }
    w.key("tools").array(|w| {
        w.item().object(|w| {
            w.key("functionDeclarations").array(|w| {
                for tool in &tools {
                    declaration(w.item(), tool, target, profile, report);
                }
            });
        });
    });
    lose(
        report,
        request.parallel_tool_calls == Some(false),
        Member::Parallel,
        Class::Hint,
    )?;
    let (mode, names): (&str, Vec<&str>) = match &request.tool_choice {
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
    w.key("toolConfig").object(|w| {
        w.key("functionCallingConfig").object(|w| {
            w.key("mode").str(mode);
            if !names.is_empty() {
                w.key("allowedFunctionNames").array(|w| {
                    for name in names {
                        w.item().str(&upstream_name(name, None, target));
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
        match value {
            Some(value) if takes => c.key(name).raw(value),
            value => lose(report, value.is_some(), member, Class::Hint)?,
        }
    }
    seed(&mut c, request.seed, report)?;
    if let Some(limit) = request.max_output_tokens {
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
    thinking(&mut c, request, profile, report);
    c.end_object();
    if inner.len() > 2 {
        w.key("generationConfig").bytes().extend_from_slice(&inner);
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
        OutputFormat::JsonObject => w.key("responseMimeType").str("application/json"),
        OutputFormat::JsonSchema { schema, openapi, .. } => {
            w.key("responseMimeType").str("application/json");
            if *openapi {
                return w.key("responseSchema").raw(*schema);
            }
            let (rules, name) = if profile.json_schema {
                (schema::Profile::GeminiJson, "responseJsonSchema")
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
    let show = request.reasoning.show == Show::Summary && depth != ReasoningDepth::Off;
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
        ReasoningDepth::Effort(Effort::Minimal) => 512.max(range.0),
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
    if target.dialect == Dialect::Vertex {
        return Ok(());
    }
    match request.service_tier.as_deref() {
        None | Some("auto") => {}
        Some("default" | "standard" | "standard_only") => w.key("serviceTier").str("standard"),
        Some(tier @ ("flex" | "priority")) => w.key("serviceTier").str(tier),
        Some(_) => lose(report, true, Member::Tier, Class::Hint)?,
    }
    if report.client() == Format::Gemini {
        if let Some(labels) = request.metadata {
            w.key("labels").raw(labels);
        }
        if let Some(store) = request.store {
            w.key("store").bool(store);
        }
    }
    Ok(())
}
