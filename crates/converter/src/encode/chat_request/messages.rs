//! Messages of a Chat request.

use super::media::media_part;
use super::results::results;
use crate::encode::parts::{
    arguments_string, joined, names_lost, native_block, only_texts, own_block, prefill, restorable,
    thought_state, upstream_name,
};
use crate::error::Error;
use crate::ir::{Arguments, Block, CacheMark, Request, Role, State, TextBlock, ToolCall, Turn};
use crate::json::{Raw, Text, Writer};
use crate::profile::Profile;
use crate::report::{Class, Report};
use crate::target::Target;
use crate::{Dialect, Format, names};

pub(super) fn system_role(
    developer: bool,
    target: &Target<'_>,
    profile: &Profile,
    report: &Report,
) -> &'static str {
    let same = report.client() == Format::Chat;
    let wanted = if same { developer } else { profile.reasoning };
    if wanted && target.dialect == Dialect::Native {
        "developer"
    } else {
        "system"
    }
}

pub(super) fn messages(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    target: &Target<'_>,
    profile: &Profile,
    report: &mut Report,
) -> Result<(), Error> {
    w.begin_array();
    if !request.system.is_empty() {
        let role = system_role(
            request.system.iter().any(|block| block.developer),
            target,
            profile,
            report,
        );
        w.item().begin_object();
        w.key("role").str(role);
        let texts: Vec<&TextBlock<'_>> = request.system.iter().map(|block| &block.text).collect();
        text_content(w.key("content"), &texts, target);
        w.end_object();
    }
    for turn in &request.turns {
        match turn.role {
            Role::System => system(w, turn, target, profile, report),
            Role::User => user(w, turn, target, report)?,
            Role::Assistant => assistant(w, turn, target, report)?,
            Role::Tool => results(w, turn, target, report)?,
        }
    }
    w.end_array();
    if report.client() != Format::Chat {
        names_lost(request, report)?;
    }
    prefill(request, report)
}

/// One text is a string. Several are parts, or one joined string for servers that know no parts there.
pub(super) fn text_content(w: &mut Writer<'_>, texts: &[&TextBlock<'_>], target: &Target<'_>) {
    let plain: Vec<&Text<'_>> = texts.iter().map(|block| &block.text).collect();
    let marked = texts.iter().any(|block| block.cache.is_some()) && !target.dialect.is_compat();
    if plain.len() == 1 && !marked || target.dialect.is_compat() {
        return joined(w, &plain, "\n\n");
    }
    w.array(|w| {
        for block in texts {
            text_part(w.item(), block, target);
        }
    });
}

pub(super) fn text_part(w: &mut Writer<'_>, block: &TextBlock<'_>, target: &Target<'_>) {
    w.object(|w| {
        w.key("type").str("text");
        w.key("text").text(&block.text);
        breakpoint(w, block.cache, target);
    });
}

/// Prompt cache markers exist on OpenAI's own API from gpt-5.6 on. A long lifetime of another vendor is no reason to pay for
/// OpenAI's long one (conversion.md 10.5).
pub(in crate::encode) fn breakpoint(w: &mut Writer<'_>, mark: Option<CacheMark>, target: &Target<'_>) {
    if mark.is_some() && knows_breakpoints(target) {
        w.key("prompt_cache_breakpoint")
            .raw(Raw::of_const(r#"{"mode":"explicit"}"#));
    }
}

/// Prompt cache controls: gpt-5.6 and later on OpenAI's own API.
pub(in crate::encode) fn knows_breakpoints(target: &Target<'_>) -> bool {
    let model = target.model.rsplit('/').next().unwrap_or(target.model);
    let new = |version: &str| model.starts_with(&format!("gpt-{version}"));
    target.dialect == Dialect::Native && (new("5.6") || new("6"))
}

pub(super) fn system(
    w: &mut Writer<'_>,
    turn: &Turn<'_>,
    target: &Target<'_>,
    profile: &Profile,
    report: &Report,
) {
    let texts: Vec<&TextBlock<'_>> = turn.blocks.iter().filter_map(as_text).collect();
    w.item().object(|w| {
        w.key("role")
            .str(system_role(turn.developer, target, profile, report));
        text_content(w.key("content"), &texts, target);
    });
}

pub(super) fn as_text<'b, 'a>(block: &'b Block<'a>) -> Option<&'b TextBlock<'a>> {
    match block {
        Block::Text(text) => Some(text),
        _ => None,
    }
}

pub(super) fn user(
    w: &mut Writer<'_>,
    turn: &Turn<'_>,
    target: &Target<'_>,
    report: &mut Report,
) -> Result<(), Error> {
    w.item().begin_object();
    w.key("role").str("user");
    match only_texts(&turn.blocks) {
        Some(texts) if texts.len() == 1 || (target.dialect.is_compat() && !texts.is_empty()) => {
            joined(w.key("content"), &texts, "\n\n");
        }
        _ => parts(w.key("content"), &turn.blocks, &turn.path, target, report)?,
    }
    if let Some(name) = turn.name.as_ref().filter(|_| report.client() == Format::Chat) {
        w.key("name").text(name);
    }
    w.end_object();
    Ok(())
}

pub(super) fn parts(
    w: &mut Writer<'_>,
    blocks: &[Block<'_>],
    path: &str,
    target: &Target<'_>,
    report: &mut Report,
) -> Result<(), Error> {
    w.begin_array();
    for block in blocks {
        match block {
            Block::Text(text) => text_part(w.item(), text, target),
            Block::Media(media) => media_part(w, media, path, target, report)?,
            Block::Native(native) => match own_block(native, target) {
                Some(raw) => w.item().raw(raw),
                None => native_block(native, report)?,
            },
            Block::Refusal(text) => {
                w.item().object(|w| {
                    w.key("type").str("text");
                    w.key("text").text(text);
                });
            }
            Block::ToolCall(_) | Block::ToolResult(_) | Block::Thought(_) => {}
        }
    }
    w.end_array();
    Ok(())
}

pub(super) fn plain_part(w: &mut Writer<'_>, text: &str) {
    w.item().object(|w| {
        w.key("type").str("text");
        w.key("text").str(text);
    });
}

pub(super) fn assistant(
    w: &mut Writer<'_>,
    turn: &Turn<'_>,
    target: &Target<'_>,
    report: &mut Report,
) -> Result<(), Error> {
    let texts: Vec<&Text<'_>> = turn
        .blocks
        .iter()
        .filter_map(|block| as_text(block).map(|text| &text.text))
        .collect();
    let calls: Vec<&ToolCall<'_>> = turn
        .blocks
        .iter()
        .filter_map(|block| {
            if let Block::ToolCall(call) = block {
                Some(call)
            } else {
                None
            }
        })
        .collect();
    let refusal = turn.blocks.iter().find_map(|block| {
        if let Block::Refusal(text) = block {
            Some(text)
        } else {
            None
        }
    });
    for block in &turn.blocks {
        match block {
            Block::Native(native) if own_block(native, target).is_none() => native_block(native, report)?,
            Block::Media(_) => report.cannot_carry(turn.path.clone(), Class::Hint)?,
            _ => {}
        }
    }
    if texts.is_empty() && calls.is_empty() && refusal.is_none() {
        // A turn of which only foreign reasoning is left has nothing to say here.
        report_thoughts(turn, target, report);
        return Ok(());
    }
    w.item().begin_object();
    w.key("role").str("assistant");
    if !texts.is_empty() {
        joined(w.key("content"), &texts, "");
    } else if target.dialect.is_compat() {
        w.key("content").str("");
    } else if refusal.is_none() {
        w.key("content").null();
    }
    if let Some(refusal) = refusal {
        w.key("refusal").text(refusal);
    }
    thoughts(w, turn, target, !calls.is_empty(), report);
    if !calls.is_empty() {
        w.key("tool_calls").array(|w| {
            for call in calls {
                tool_call(w.item(), call, target, report);
            }
        });
    }
    w.end_object();
    Ok(())
}

pub(super) fn report_thoughts(turn: &Turn<'_>, target: &Target<'_>, report: &mut Report) {
    for block in &turn.blocks {
        if let Block::Thought(thought) = block {
            thought_state(thought, target, report);
        }
    }
}

/// DeepSeek wants the reasoning of turns with calls back; nobody else takes it.
pub(super) fn thoughts(
    w: &mut Writer<'_>,
    turn: &Turn<'_>,
    target: &Target<'_>,
    has_calls: bool,
    report: &mut Report,
) {
    report_thoughts(turn, target, report);
    if target.dialect == Dialect::OpenRouter {
        return reasoning_details(w, turn, target);
    }
    if target.dialect != Dialect::DeepSeek || !has_calls {
        return;
    }
    let mut texts: Vec<&Text<'_>> = Vec::new();
    for block in &turn.blocks {
        if let Block::Thought(thought) = block
            && thought
                .state
                .as_ref()
                .is_none_or(|state| matches!(state.state, State::Plain))
        {
            texts.extend(thought.text.iter());
        }
    }
    joined(w.key("reasoning_content"), &texts, "\n");
}

/// OpenRouter wants the details that it gave back as they were.
fn reasoning_details(w: &mut Writer<'_>, turn: &Turn<'_>, target: &Target<'_>) {
    for block in &turn.blocks {
        if let Block::Thought(crate::ir::Thought {
            state: Some(opaque), ..
        }) = block
            && let State::Native(json) = &opaque.state
            && opaque.origin == target.format
            && opaque.domain == Some(target.domain)
        {
            return w.key("reasoning_details").raw(Raw(json));
        }
    }
}

/// Google's signature, on its own OpenAI-compatible surface only.
fn google_signature(w: &mut Writer<'_>, call: &ToolCall<'_>, target: &Target<'_>) {
    let own = call
        .state
        .as_ref()
        .filter(|state| state.origin == target.format && state.domain == Some(target.domain));
    if target.dialect == Dialect::GoogleCompat {
        crate::encode::chat_response::google_extra(w, own);
    }
}

pub(super) fn tool_call(w: &mut Writer<'_>, call: &ToolCall<'_>, target: &Target<'_>, report: &mut Report) {
    if let Some(opaque) = &call.state {
        restorable(Some(opaque), target, report);
    }
    let name = upstream_name(&call.name, call.namespace.as_deref(), target);
    w.object(|w| {
        let id = names::call_id(&call.id, Format::Chat);
        w.key("id").str(&id);
        match &call.arguments {
            Arguments::Freeform(input) if target.dialect == Dialect::Native => {
                w.key("type").str("custom");
                w.key("custom").object(|w| {
                    w.key("name").str(&name);
                    w.key("input").text(input);
                });
            }
            arguments => {
                w.key("type").str("function");
                w.key("function").object(|w| {
                    w.key("name").str(&name);
                    arguments_string(w.key("arguments"), arguments);
                });
                google_signature(w, call, target);
            }
        }
    });
}
