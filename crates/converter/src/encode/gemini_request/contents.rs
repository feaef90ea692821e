//! Contents of a generateContent request.

use super::media::media_part;
use crate::encode::parts::{
    ATTACHED, OPERATOR_NOTE, call_input, is_object, names_lost, native_block, own_block, prefill, restorable,
    result_texts, thought_state, upstream_name,
};
use crate::error::{Error, ErrorKind};
use crate::ir::{Block, Media, Request, Role, State, ToolCall, ToolResult, Turn};
use crate::json::{Raw, Text, Writer};
use crate::profile::Profile;
use crate::report::{Class, Report};
use crate::scrub::PLACEHOLDER;
use crate::target::Target;
use crate::{Format, names};
use std::collections::HashMap;

pub(super) fn text_part(w: &mut Writer<'_>, text: &Text<'_>) {
    w.object(|w| w.key("text").text(text));
}

/// Everything the parts of a turn need to know about the whole conversation.
pub(super) struct Scene<'s> {
    pub(super) target: &'s Target<'s>,
    pub(super) profile: &'s Profile,
    /// Call id -> tool name, for results.
    pub(super) names: HashMap<&'s str, &'s str>,
    /// Tool name -> namespace, for results.
    pub(super) namespaces: HashMap<&'s str, &'s str>,
    /// Turns from this one on belong to the current turn of the conversation: their calls need signatures.
    pub(super) current: usize,
}

/// Contents; consecutive ones of the same role are merged, results stay apart (conversion.md 5.3).
pub(super) fn contents(
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

pub(super) fn next<'w, 'o>(w: &'w mut Writer<'o>) -> &'w mut Writer<'o> {
    if !w.bytes().is_empty() {
        w.bytes().push(b',');
    }
    w
}

pub(super) fn parts(
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
                    crate::encode::parts::joined(w.key("text"), &texts, "\n");
                    if !texts.is_empty() {
                        w.key("thought").bool(true);
                    }
                    w.key("thoughtSignature").str(signature);
                }),
                Some(State::Native(json)) => next(w).raw(Raw(json)),
                // A thought that came without a signature goes back like that, as Google's own SDK sends it.
                Some(State::Plain) if !thought.text.is_empty() => next(w).object(|w| {
                    let texts: Vec<&Text<'_>> = thought.text.iter().collect();
                    crate::encode::parts::joined(w.key("text"), &texts, "\n");
                    w.key("thought").bool(true);
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

pub(super) fn function_call(
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
pub(super) fn call_id(w: &mut Writer<'_>, id: &str, scene: &Scene<'_>) {
    let id = names::call_id(id, Format::Gemini);
    if scene.profile.call_ids && !id.is_empty() && !id.starts_with(names::SYNTHETIC_CALL) {
        w.key("id").str(&id);
    }
}

pub(super) fn function_response(
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
pub(super) fn response(w: &mut Writer<'_>, result: &ToolResult<'_>, attached: bool) {
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
