//! Contents and parts of a generateContent request.

use super::camel;
use crate::decode::intake::Intake;
use crate::error::{Error, ErrorKind};
use crate::format::Format;
use crate::ir::block::Native;
use crate::ir::{
    Arguments, Block, Detail, Media, Opaque, Request, Role, Source, State, TextBlock, Thought, ToolCall,
    ToolResult, Turn,
};
use crate::json::{Kind, Raw, Reader, from_str};
use crate::media;
use crate::report::Class;
use crate::wire::gemini as wire;
use std::borrow::Cow;

/// Members of parts without an effect elsewhere (conversion.md 6.4).
pub(super) const OF_PARTS: &[(&str, Class)] = &[("partMetadata", Class::Inert)];

/// `MEDIA_RESOLUTION_LOW` and the like.
pub(super) fn resolution(word: &str) -> Option<Detail> {
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
pub(super) fn part_resolution(raw: Option<Raw<'_>>) -> Option<Detail> {
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

pub(super) fn turn<'a>(
    content: wire::Content<'a>,
    index: usize,
    request: &mut Request<'a>,
    intake: &Intake,
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
pub(super) fn push<'a>(blocks: &mut Vec<Block<'a>>, block: Block<'a>) {
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

pub(super) fn part_block<'a>(
    part: wire::Part<'a>,
    path: String,
    role: Role,
    intake: &Intake,
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

pub(super) fn tool_call<'a>(
    call: wire::FunctionCall<'a>,
    state: Option<Opaque<'a>>,
    path: &str,
    intake: &Intake,
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
pub(super) fn unknown_part<'a>(
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

pub(super) fn file_block(file: wire::FileData<'_>, detail: Option<Detail>) -> Result<Block<'_>, Error> {
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
pub(super) fn tool_result<'a>(
    result: wire::FunctionResponse<'a>,
    path: &str,
    intake: &Intake,
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
pub(super) fn only_member(object: Raw<'_>) -> Option<(Cow<'_, str>, Raw<'_>)> {
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
