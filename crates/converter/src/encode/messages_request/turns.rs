//! Turns of a Messages request.

use super::content::{cache, media_block, text_block};
use super::plan::{Form, Plan};
use crate::encode::parts::{
    OPERATOR_NOTE, call_input, native_block, own_block, restorable, thought_state, upstream_name,
};
use crate::error::Error;
use crate::ir::{Block, CacheMark, Request, Role, State, Thought, ToolCall, ToolResult, Turn};
use crate::json::{Raw, Text, Writer};
use crate::profile::Profile;
use crate::report::{Class, Report};
use crate::target::Target;
use crate::{Dialect, Format, names};

/// Writes turns; a user turn behind tool results joins them in one message, results first.
pub(super) fn messages(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    target: &Target<'_>,
    profile: &Profile,
    plan: &Plan,
    report: &mut Report,
) -> Result<(), Error> {
    w.key("messages").begin_array();
    let mut open = None;
    let mut written = 0usize;
    let order = order(request, profile, target);
    let last = order.last().map(|(index, _)| *index);
    for (index, role) in order {
        let Some(turn) = request.turns.get(index) else {
            continue;
        };
        let mut content = Vec::new();
        let mut inner = Writer::new(&mut content);
        let prefilled = last == Some(index) && role == Role::Assistant;
        blocks(&mut inner, turn, role, prefilled, target, plan, report)?;
        if content.is_empty() && turn.role == Role::User && !turn.blocks.iter().any(unsayable) {
            // A question without words is still a question; Anthropic refuses empty ones (conversion.md 5.5).
            text_block(&mut Writer::new(&mut content), &"(empty)".into(), None);
        }
        if content.is_empty() {
            continue;
        }
        if open == Some(role) && role != Role::Assistant {
            w.bytes().push(b',');
        } else {
            if open.is_some() {
                w.bytes().extend_from_slice(b"]}");
            }
            w.item().bytes().extend_from_slice(match role {
                Role::Assistant => br#"{"role":"assistant","content":["#,
                Role::System => br#"{"role":"system","content":["#,
                _ => br#"{"role":"user","content":["#,
            });
        }
        w.bytes().extend_from_slice(&content);
        open = Some(role);
        written += 1;
    }
    let extra = closing(request, profile, plan, report)?;
    if let Some(text) = extra {
        if open == Some(Role::User) {
            w.bytes().push(b',');
        } else {
            if open.is_some() {
                w.bytes().extend_from_slice(b"]}");
            }
            w.item()
                .bytes()
                .extend_from_slice(br#"{"role":"user","content":["#);
        }
        text_block(w, &text.into(), None);
        open = Some(Role::User);
        written += 1;
    }
    if open.is_some() {
        w.bytes().extend_from_slice(b"]}");
    }
    if written == 0 {
        w.item().raw(Raw::of_const(
            r#"{"role":"user","content":[{"type":"text","text":"(empty)"}]}"#,
        ));
    }
    w.end_array();
    Ok(())
}

pub(super) fn unsayable(block: &Block<'_>) -> bool {
    !matches!(block, Block::Text(_))
}

/// What must be said at the end: the plea for a tool, or a word behind an assistant turn that the model may not continue.
pub(super) fn closing(
    request: &Request<'_>,
    profile: &Profile,
    plan: &Plan,
    report: &mut Report,
) -> Result<Option<String>, Error> {
    let assistant = request.turns.last().filter(|turn| turn.role == Role::Assistant);
    if let Some(turn) = assistant.filter(|_| !profile.prefill && report.client() != Format::Messages) {
        report.cannot_carry(turn.path.clone(), Class::Must)?;
        return Ok(Some("Continue.".to_owned()));
    }
    Ok(plan
        .plea
        .clone()
        .filter(|_| assistant.is_none() && !request.tools.is_empty()))
}

/// The order in which turns are written, and as whom (conversion.md 5.2). System text may stand directly behind a user turn, if
/// nothing or the assistant follows; in front of a user turn it slides behind it. Everything else of it is said by the user, with
/// a note. Each run is judged by its neighbours alone, so later turns never move it.
pub(super) fn order(request: &Request<'_>, profile: &Profile, target: &Target<'_>) -> Vec<(usize, Role)> {
    let turns = &request.turns;
    let says = |index: usize| turns.get(index).map(|turn| turn.role);
    let mut out: Vec<(usize, Role)> = Vec::with_capacity(turns.len());
    let mut index = 0;
    while let Some(turn) = turns.get(index) {
        if turn.role != Role::System {
            out.push((
                index,
                if turn.role == Role::Assistant {
                    Role::Assistant
                } else {
                    Role::User
                },
            ));
            index += 1;
            continue;
        }
        let mut end = index;
        while says(end) == Some(Role::System) {
            end += 1;
        }
        let run = index..end;
        let user = |role: Option<Role>| matches!(role, Some(Role::User | Role::Tool));
        let free = |role: Option<Role>| matches!(role, None | Some(Role::Assistant));
        let before = out.last().map(|(_, role)| *role);
        let able = profile.mid_system && target.dialect != Dialect::AnthropicCompat;
        if able && before == Some(Role::User) && free(says(end)) {
            out.extend(run.map(|index| (index, Role::System)));
        } else if able && before != Some(Role::User) && user(says(end)) && free(says(end + 1)) {
            out.push((end, Role::User));
            out.extend(run.map(|index| (index, Role::System)));
            end += 1;
        } else {
            out.extend(run.map(|index| (index, Role::User)));
        }
        index = end;
    }
    // Adjacent system turns are one message.
    out
}

/// Comma-separated blocks of one turn.
pub(super) fn blocks(
    w: &mut Writer<'_>,
    turn: &Turn<'_>,
    role: Role,
    prefilled: bool,
    target: &Target<'_>,
    plan: &Plan,
    report: &mut Report,
) -> Result<(), Error> {
    let noted = turn.role == Role::System && role == Role::User;
    for (index, block) in turn.blocks.iter().enumerate() {
        match block {
            Block::Text(text) if text.text.is_blank() => {}
            // White space at the end of a beginning is refused (conversion.md 5.6).
            Block::Text(text) if prefilled && index + 1 == turn.blocks.len() => {
                let whole = text.text.decode();
                text_block(next(w), &whole.trim_end().to_owned().into(), text.cache);
            }
            Block::Text(text) if noted => {
                let text = format!("{OPERATOR_NOTE}{}", text.text.decode());
                text_block(next(w), &text.into(), noted_mark(block));
            }
            Block::Text(text) => text_block(next(w), &text.text, text.cache),
            Block::Refusal(text) if !text.is_blank() => text_block(next(w), text, None),
            Block::Refusal(_) => {}
            Block::Media(_) if role == Role::Assistant => {
                report.cannot_carry(turn.path.clone(), Class::Hint)?;
            }
            Block::Media(media) => media_block(w, media, &turn.path, report)?,
            Block::ToolCall(call) => {
                restorable(call.state.as_ref(), target, report);
                tool_use(next(w), call, &turn.path, target, report);
            }
            Block::ToolResult(result) => tool_result(w, result, &turn.path, report)?,
            // Thinking that is switched off takes the earlier thinking along (conversion.md 7.7).
            Block::Thought(_) if plan.thinking == Form::Disabled => {}
            Block::Thought(thought) => thought_block(w, thought, target, report),
            Block::Native(native) => match own_block(native, target) {
                Some(raw) => next(w).raw(raw),
                None => native_block(native, report)?,
            },
        }
    }
    Ok(())
}

pub(super) fn noted_mark(block: &Block<'_>) -> Option<CacheMark> {
    match block {
        Block::Text(text) => text.cache,
        _ => None,
    }
}

/// A comma in front of every block but the first of this buffer.
pub(super) fn next<'w, 'o>(w: &'w mut Writer<'o>) -> &'w mut Writer<'o> {
    if !w.bytes().is_empty() {
        w.bytes().push(b',');
    }
    w
}

pub(super) fn thought_block(
    w: &mut Writer<'_>,
    thought: &Thought<'_>,
    target: &Target<'_>,
    report: &mut Report,
) {
    match thought_state(thought, target, report) {
        Some(State::Signature(signature)) => next(w).object(|w| {
            w.key("type").str("thinking");
            let texts: Vec<&Text<'_>> = thought.text.iter().collect();
            crate::encode::parts::joined(w.key("thinking"), &texts, "");
            w.key("signature").str(signature);
        }),
        Some(State::Redacted(data)) => next(w).object(|w| {
            w.key("type").str("redacted_thinking");
            w.key("data").str(data);
        }),
        Some(State::Native(json)) => next(w).raw(Raw(json)),
        // Thinking without a signature would be refused; it is never turned into text (conversion.md 7.5).
        _ => {}
    }
}

pub(super) fn tool_use(
    w: &mut Writer<'_>,
    call: &ToolCall<'_>,
    path: &str,
    target: &Target<'_>,
    report: &mut Report,
) {
    let own = report.client() == Format::Messages;
    w.object(|w| {
        w.key("type").str("tool_use");
        w.key("id").str(&names::call_id(&call.id, Format::Messages));
        w.key("name").str(&upstream_name(
            &call.name,
            call.namespace.as_deref().filter(|_| !own),
            target,
        ));
        call_input(w.key("input"), &call.arguments, path, report);
        if let Some(toolset) = call.namespace.as_ref().filter(|_| own) {
            w.key("toolset_name").str(toolset);
        }
        cache(w, call.cache);
    });
}

pub(super) fn tool_result(
    w: &mut Writer<'_>,
    result: &ToolResult<'_>,
    path: &str,
    report: &mut Report,
) -> Result<(), Error> {
    let mut content = Vec::new();
    let mut inner = Writer::new(&mut content);
    if let Some(structured) = result.structured {
        text_block(&mut inner, &structured.get().into(), None);
    }
    for part in &result.parts {
        match part {
            Block::Text(text) if !text.text.is_empty() => {
                text_block(next(&mut inner), &text.text, text.cache)
            }
            Block::Media(media) => media_block(&mut inner, media, path, report)?,
            Block::Native(native) => native_block(native, report)?,
            _ => {}
        }
    }
    next(w).object(|w| {
        w.key("type").str("tool_result");
        w.key("tool_use_id")
            .str(&names::call_id(&result.call_id, Format::Messages));
        if !content.is_empty() {
            w.key("content").array(|w| w.bytes().extend_from_slice(&content));
        }
        if result.is_error {
            w.key("is_error").bool(true);
        }
        cache(w, result.cache);
    });
    Ok(())
}
