//! Input items of a Responses request.

use super::results::results;
use crate::encode::chat_request::{breakpoint, detail_word, envelope, envelope_ends, url};
use crate::encode::parts::{
    arguments_object, arguments_string, names_lost, native_block, own_block, prefill, restorable,
    thought_state, upstream_name,
};
use crate::error::Error;
use crate::ir::{
    Arguments, Block, Media, MediaKind, Request, Role, Source, State, TextBlock, Thought, ToolCall, ToolKind,
    Turn,
};
use crate::json::{Raw, Text, Writer};
use crate::report::{Class, Report};
use crate::shim::CallItem;
use crate::target::Target;
use crate::{Format, names};

pub(super) fn input(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    with_system: bool,
    target: &Target<'_>,
    report: &mut Report,
) -> Result<(), Error> {
    w.key("input").begin_array();
    if with_system && !request.system.is_empty() {
        w.item().object(|w| {
            w.key("type").str("message");
            let developer =
                request.system.iter().any(|block| block.developer) || report.client() != Format::Chat;
            w.key("role").str(if developer { "developer" } else { "system" });
            w.key("content").array(|w| {
                for block in &request.system {
                    text_part(w.item(), &block.text, target);
                }
            });
        });
    }
    for turn in &request.turns {
        match turn.role {
            Role::User | Role::System => message(w, turn, target, report)?,
            Role::Assistant => assistant(w, turn, request, target, report)?,
            Role::Tool => results(w, turn, request, target, report)?,
        }
    }
    w.end_array();
    names_lost(request, report)?;
    prefill(request, report)
}

pub(super) fn text_part(w: &mut Writer<'_>, block: &TextBlock<'_>, target: &Target<'_>) {
    w.object(|w| {
        w.key("type").str("input_text");
        w.key("text").text(&block.text);
        breakpoint(w, block.cache, target);
    });
}

pub(super) fn plain_part(w: &mut Writer<'_>, text: Text<'_>, target: &Target<'_>) {
    let block = TextBlock {
        text,
        ..TextBlock::default()
    };
    text_part(w, &block, target);
}

/// Blocks that are items of their own on this format, not parts of a message.
pub(super) fn own_items(w: &mut Writer<'_>, blocks: &[Block<'_>], target: &Target<'_>) -> bool {
    let mut found = false;
    for block in blocks {
        if let Block::Native(native) = block
            && let Some(raw) = own_block(native, target)
        {
            w.item().raw(raw);
            found = true;
        }
    }
    found
}

pub(super) fn message(
    w: &mut Writer<'_>,
    turn: &Turn<'_>,
    target: &Target<'_>,
    report: &mut Report,
) -> Result<(), Error> {
    if turn.blocks.is_empty() {
        return Ok(());
    }
    let alone = turn
        .blocks
        .iter()
        .all(|block| matches!(block, Block::Native(native) if !native.path.contains(".content[")));
    if alone && own_items(w, &turn.blocks, target) {
        return Ok(());
    }
    let mut content = Vec::new();
    parts(
        &mut Writer::new(&mut content),
        &turn.blocks,
        &turn.path,
        target,
        report,
    )?;
    if content.is_empty() {
        return Ok(());
    }
    w.item().object(|w| {
        w.key("type").str("message");
        w.key("role").str(match turn.role {
            Role::User => "user",
            _ if turn.developer || report.client() != Format::Chat => "developer",
            _ => "system",
        });
        w.key("content").array(|w| w.bytes().extend_from_slice(&content));
    });
    Ok(())
}

pub(super) fn next<'w, 'o>(w: &'w mut Writer<'o>) -> &'w mut Writer<'o> {
    if !w.bytes().is_empty() {
        w.bytes().push(b',');
    }
    w
}

/// Comma-separated input parts.
pub(super) fn parts(
    w: &mut Writer<'_>,
    blocks: &[Block<'_>],
    path: &str,
    target: &Target<'_>,
    report: &mut Report,
) -> Result<(), Error> {
    for block in blocks {
        match block {
            Block::Text(text) => text_part(next(w), text, target),
            Block::Refusal(text) => plain_part(next(w), text.clone(), target),
            Block::Media(media) => media_part(w, media, path, target, report)?,
            Block::Native(native) => match own_block(native, target) {
                Some(raw) => next(w).raw(raw),
                None => native_block(native, report)?,
            },
            Block::ToolCall(_) | Block::ToolResult(_) | Block::Thought(_) => {}
        }
    }
    Ok(())
}

pub(super) fn media_part(
    w: &mut Writer<'_>,
    media: &Media<'_>,
    path: &str,
    target: &Target<'_>,
    report: &mut Report,
) -> Result<(), Error> {
    match (media.kind, &media.source) {
        (MediaKind::Image, Source::Base64 { .. } | Source::Url { .. }) => next(w).object(|w| {
            w.key("type").str("input_image");
            w.key("detail").str(media.detail.map_or("auto", detail_word));
            url(w.key("image_url"), &media.source);
        }),
        (MediaKind::Document, Source::Base64 { .. }) => next(w).object(|w| {
            w.key("type").str("input_file");
            match &media.title {
                Some(title) => w.key("filename").text(title),
                None => w.key("filename").str("document.pdf"),
            }
            url(w.key("file_data"), &media.source);
            breakpoint(w, media.cache, target);
        }),
        (MediaKind::Document, Source::Url { url: address, .. }) => next(w).object(|w| {
            w.key("type").str("input_file");
            w.key("file_url").text(address);
            breakpoint(w, media.cache, target);
        }),
        (
            kind,
            Source::File {
                id,
                owner: Format::Chat | Format::Responses,
            },
        ) => next(w).object(|w| {
            w.key("type").str(if kind == MediaKind::Image {
                "input_image"
            } else {
                "input_file"
            });
            if kind == MediaKind::Image {
                w.key("detail").str("auto");
            }
            w.key("file_id").text(id);
        }),
        (_, Source::Text(text)) => {
            let block = TextBlock {
                text: envelope(media, text).into(),
                cache: media.cache,
                ..TextBlock::default()
            };
            text_part(next(w), &block, target);
        }
        (_, Source::Blocks(blocks)) => {
            let (open, close) = envelope_ends(media);
            plain_part(next(w), open.into(), target);
            parts(w, blocks, path, target, report)?;
            plain_part(next(w), close.into(), target);
        }
        _ => report.cannot_carry(path.to_owned(), Class::Must)?,
    }
    Ok(())
}

/// One assistant turn is several items, in the order of its blocks. A text is a message with a string: the one shape of an
/// assistant message that needs no item id of OpenAI's own making.
pub(super) fn assistant(
    w: &mut Writer<'_>,
    turn: &Turn<'_>,
    request: &Request<'_>,
    target: &Target<'_>,
    report: &mut Report,
) -> Result<(), Error> {
    let followed = |index: usize| {
        turn.blocks.iter().skip(index + 1).any(|block| match block {
            Block::Text(text) => !text.text.is_empty(),
            Block::ToolCall(_) | Block::Refusal(_) => true,
            Block::Thought(thought) => is_own_item(thought, target),
            _ => false,
        })
    };
    for (index, block) in turn.blocks.iter().enumerate() {
        match block {
            Block::Text(text) if text.text.is_empty() => {}
            Block::Text(text) => assistant_text(w, &text.text),
            Block::Refusal(text) => assistant_text(w, text),
            Block::ToolCall(call) => {
                restorable(call.state.as_ref(), target, report);
                tool_call(w.item(), call, request, target, report);
            }
            // OpenAI refuses a reasoning item without an item behind it (conversion.md 7.7).
            Block::Thought(thought) => thought_item(w, thought, followed(index), target, report),
            Block::Native(native) => match own_block(native, target) {
                Some(raw) => w.item().raw(raw),
                None => native_block(native, report)?,
            },
            Block::Media(_) => report.cannot_carry(turn.path.clone(), Class::Hint)?,
            Block::ToolResult(_) => {}
        }
    }
    Ok(())
}

pub(super) fn assistant_text(w: &mut Writer<'_>, text: &Text<'_>) {
    w.item().object(|w| {
        w.key("type").str("message");
        w.key("role").str("assistant");
        w.key("content").text(text);
    });
}

pub(super) fn thought_item(
    w: &mut Writer<'_>,
    thought: &Thought<'_>,
    followed: bool,
    target: &Target<'_>,
    report: &mut Report,
) {
    if !followed && !is_own_item(thought, target) {
        if thought.state.is_some() {
            report.state_dropped("edited_turn");
        }
        return;
    }
    let (id, encrypted) = match thought_state(thought, target, report) {
        Some(State::Reasoning { id, encrypted }) => (id, encrypted),
        Some(State::Native(json)) => return w.item().raw(Raw(json)),
        _ => return,
    };
    w.item().object(|w| {
        w.key("type").str("reasoning");
        if let Some(id) = id {
            w.key("id").str(id);
        }
        let parts = |w: &mut Writer<'_>, kind: &str, wanted: bool| {
            w.array(|w| {
                for text in thought.text.iter().filter(|_| wanted) {
                    w.item().object(|w| {
                        w.key("type").str(kind);
                        w.key("text").text(text);
                    });
                }
            });
        };
        parts(w.key("summary"), "summary_text", thought.summary);
        if !thought.summary && !thought.text.is_empty() {
            parts(w.key("content"), "reasoning_text", true);
        }
        w.key("encrypted_content").str(encrypted);
    });
}

/// A hosted call of this channel's own, which goes back as it was.
fn is_own_item(thought: &Thought<'_>, target: &Target<'_>) -> bool {
    thought
        .state
        .as_ref()
        .is_some_and(|state| matches!(state.state, State::Native(_)) && state.origin == target.format)
}

/// The vendor-trained tool of this format that the request declares under the name of a call.
pub(super) fn trained(name: &str, request: &Request<'_>) -> Option<CallItem> {
    let item = CallItem::of_tool(name)?;
    let declared = request.tools.iter().any(|tool| {
        matches!(&tool.kind, ToolKind::Hosted { format: Format::Responses, kind, .. } if CallItem::of_tool(kind) == Some(item))
    });
    declared.then_some(item)
}

pub(super) fn tool_call(
    w: &mut Writer<'_>,
    call: &ToolCall<'_>,
    request: &Request<'_>,
    target: &Target<'_>,
    report: &Report,
) {
    if let Some(item) = trained(&call.name, request) {
        let mut arguments = Vec::new();
        arguments_object(&mut Writer::new(&mut arguments), &call.arguments);
        let arguments = String::from_utf8_lossy(&arguments);
        let id = names::call_id(&call.id, Format::Responses);
        return w.object(|w| item.write(w, &id, Raw(&arguments), "completed"));
    }
    // Only Responses has namespaces; toolset members of Messages were flattened.
    let own = report.client() == Format::Responses;
    let flat = upstream_name(&call.name, call.namespace.as_deref().filter(|_| !own), target);
    w.object(|w| {
        let custom = if let Arguments::Freeform(input) = &call.arguments {
            Some(input)
        } else {
            None
        };
        w.key("type").str(if custom.is_some() {
            "custom_tool_call"
        } else {
            "function_call"
        });
        w.key("call_id").str(&names::call_id(&call.id, Format::Responses));
        w.key("name").str(&flat);
        if let Some(namespace) = call.namespace.as_ref().filter(|_| own) {
            w.key("namespace").str(namespace);
        }
        match custom {
            Some(input) => w.key("input").text(input),
            None => arguments_string(w.key("arguments"), &call.arguments),
        }
    });
}
