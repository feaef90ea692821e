//! The IR to answers of Messages.

use super::answer::{arguments_object, slot, tail, tail_slot, text_slot, thought_slot};
use super::usage;
use crate::context::Context;
use crate::ir::{Block, Candidate, Response, Thought};
use crate::json::{Text, Writer};
use crate::names;
use crate::stop::Stop;

pub(super) fn encode(response: &Response<'_>, context: &Context) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    let mut w = Writer::new(&mut out);
    let nothing = Candidate::default();
    let candidate = response.candidates.first().unwrap_or(&nothing);
    w.object(|w| {
        w.key("id").str(&names::answer_id(
            &response.id,
            context.client,
            &context.request_id,
        ));
        w.key("type").str("message");
        w.key("role").str("assistant");
        w.key("model")
            .str(response.model.as_deref().unwrap_or(&context.model));
        w.key("content").array(|w| content(w, candidate, context));
        stop(w, &candidate.stop);
        usage::messages_with_tier(w.key("usage"), &response.usage, response.service_tier.as_deref());
    });
    out
}

/// `stop_reason`, `stop_sequence` and, for refusals, `stop_details`.
pub(crate) fn stop(w: &mut Writer<'_>, stop: &Stop<'_>) {
    w.key("stop_reason").str(stop.messages());
    match stop {
        Stop::StopSequence(Some(text)) => w.key("stop_sequence").text(text),
        _ => w.key("stop_sequence").null(),
    }
    let (category, explanation) = match stop {
        Stop::Refusal {
            category,
            explanation,
        } => (category.as_ref(), explanation.as_ref()),
        Stop::Filtered(_) => (None, None),
        _ => return,
    };
    w.key("stop_details").object(|w| {
        w.key("type").str("refusal");
        optional(w.key("category"), category);
        optional(w.key("explanation"), explanation);
    });
}

fn optional(w: &mut Writer<'_>, text: Option<&Text<'_>>) {
    match text {
        Some(text) => w.text(text),
        None => w.null(),
    }
}

fn content(w: &mut Writer<'_>, candidate: &Candidate<'_>, context: &Context) {
    let tail = tail(candidate);
    if let Some(seal) = tail.and_then(|state| tail_slot(state, context)) {
        // A turn may not end with it, and its place is known: the end (wire.md 4.4).
        redacted(w.item(), &seal);
    }
    // Nothing but a call or a text may end the answer (wire.md 4.4).
    let last = candidate
        .blocks
        .iter()
        .rposition(|block| !matches!(block, Block::Thought(_) | Block::Native(_)))
        .unwrap_or(candidate.blocks.len());
    let refused = matches!(candidate.stop, Stop::Refusal { .. });
    for (index, block) in candidate.blocks.iter().enumerate() {
        match block {
            Block::Text(text) if text.text.is_empty() => {}
            Block::Text(text) => {
                if let Some(seal) = text.state.as_ref().and_then(|state| text_slot(state, context)) {
                    redacted(w.item(), &seal);
                }
                text_block(w.item(), &text.text);
            }
            // The explanation of a refusal stands in `stop_details`.
            Block::Refusal(_) if refused => {}
            Block::Refusal(text) => text_block(w.item(), text),
            Block::Thought(thought) if index < last => thought_block(w, thought, context),
            Block::ToolCall(call) => {
                if let Some(seal) = call.state.as_ref().and_then(|state| slot(state, context)) {
                    redacted(w.item(), &seal);
                }
                w.item().object(|w| {
                    w.key("type").str("tool_use");
                    w.key("id").str(&names::call_id(&call.id, context.client));
                    w.key("name").str(&call.name);
                    arguments_object(w.key("input"), &call.arguments);
                });
            }
            Block::Thought(_) | Block::Media(_) | Block::ToolResult(_) | Block::Native(_) => {}
        }
    }
}

fn text_block(w: &mut Writer<'_>, text: &Text<'_>) {
    w.object(|w| {
        w.key("type").str("text");
        w.key("text").text(text);
        w.key("citations").null();
    });
}

fn redacted(w: &mut Writer<'_>, seal: &str) {
    w.object(|w| {
        w.key("type").str("redacted_thinking");
        w.key("data").str(seal);
    });
}

fn thought_block(w: &mut Writer<'_>, thought: &Thought<'_>, context: &Context) {
    let seal = thought_slot(thought, context);
    if thought.text.is_empty() {
        if let Some(seal) = seal {
            redacted(w.item(), &seal);
        }
        return;
    }
    let texts: Vec<&Text<'_>> = thought.text.iter().collect();
    w.item().object(|w| {
        w.key("type").str("thinking");
        super::parts::joined(w.key("thinking"), &texts, "\n");
        // Clients check that there is a signature; without state it says just that.
        w.key("signature")
            .str(&seal.unwrap_or_else(|| empty_seal(context)));
    });
}

/// The seal of reasoning that has no state: dropped wherever it comes back.
pub(crate) fn empty_seal(context: &Context) -> String {
    use crate::ir::{Opaque, State};
    let plain = Opaque {
        origin: context.upstream,
        domain: Some(context.domain),
        state: State::Plain,
    };
    crate::seal::seal(&plain, context.seal_key.as_ref())
}
