//! Answers of Responses to the IR.

use std::borrow::Cow;

use super::chat_response::{TokenLogprob, logprob};
use super::usage;
use crate::error::Error;
use crate::format::Format;
use crate::ir::block::Native;
use crate::ir::{
    Arguments, Block, Candidate, Citation, Logprob, Opaque, Response, State, TextBlock, Thought, ToolCall,
};
use crate::json::{Raw, Text, from_str};
use crate::stop::Stop;
use crate::wire::object;

object! {
    /// An answer.
    pub struct Answer {
        /// Id.
        id: Cow<'a, str> = "id",
        /// Model.
        model: Cow<'a, str> = "model",
        /// Seconds.
        created_at: u64 = "created_at",
        /// completed, incomplete, failed …
        status: Cow<'a, str> = "status",
        /// Why incomplete.
        incomplete_details: Incomplete<'a> = "incomplete_details",
        /// Items.
        output: Vec<Item<'a>> = "output",
        /// Usage.
        usage: Raw<'a> = "usage",
        /// Tier.
        service_tier: Cow<'a, str> = "service_tier",
        /// Error.
        error: Raw<'a> = "error",
    }

    /// `incomplete_details`.
    pub struct Incomplete {
        /// Reason.
        reason: Cow<'a, str> = "reason",
    }

    /// An output item.
    pub struct Item {
        /// Its type.
        kind: Cow<'a, str> = "type",
        /// Id.
        id: Cow<'a, str> = "id",
        /// Call id.
        call_id: Cow<'a, str> = "call_id",
        /// Name.
        name: Cow<'a, str> = "name",
        /// Namespace.
        namespace: Cow<'a, str> = "namespace",
        /// Arguments.
        arguments: Text<'a> = "arguments",
        /// Custom input.
        input: Text<'a> = "input",
        /// Parts.
        content: Vec<Part<'a>> = "content",
        /// Reasoning summary.
        summary: Vec<Part<'a>> = "summary",
        /// Opaque state.
        encrypted_content: Cow<'a, str> = "encrypted_content",
    }

    /// A part.
    pub struct Part {
        /// Its type.
        kind: Cow<'a, str> = "type",
        /// Text.
        text: Text<'a> = "text",
        /// Refusal.
        refusal: Text<'a> = "refusal",
        /// Citations.
        annotations: Vec<Annotation<'a>> = "annotations",
        /// Log probabilities.
        logprobs: Vec<TokenLogprob<'a>> = "logprobs",
    }

    /// An annotation.
    pub struct Annotation {
        /// Its type.
        kind: Cow<'a, str> = "type",
        /// Address.
        url: Text<'a> = "url",
        /// Title.
        title: Text<'a> = "title",
        /// Range.
        start_index: u64 = "start_index",
        /// Range.
        end_index: u64 = "end_index",
    }
}

pub(super) fn decode(body: &str) -> Result<Response<'_>, Error> {
    let wire: Answer<'_> = from_str(body)?;
    let mut blocks = Vec::new();
    let mut logprobs = Vec::new();
    let known = wire.output.is_some();
    for item in wire.output.unwrap_or_default() {
        push_item(item, &mut blocks, &mut logprobs);
    }
    let refused = !blocks
        .iter()
        .any(|block| matches!(block, Block::Text(_) | Block::ToolCall(_)))
        && blocks.iter().any(|block| matches!(block, Block::Refusal(_)));
    let reason = wire.incomplete_details.and_then(|details| details.reason);
    let native = reason.clone().or(wire.status.clone());
    let stop = match wire.status.as_deref() {
        Some("incomplete") => reason.map_or(Stop::MaxTokens, Stop::from_incomplete),
        Some("failed" | "cancelled") => Stop::Failed(wire.status.unwrap_or_default()),
        _ if refused => {
            let explanation = blocks.iter().find_map(|block| {
                if let Block::Refusal(text) = block {
                    Some(text.clone())
                } else {
                    None
                }
            });
            Stop::Refusal {
                category: None,
                explanation,
            }
        }
        _ => Stop::EndTurn,
    };
    let native_stop = native.filter(|_| stop.is_ambiguous());
    let candidate = Candidate {
        index: 0,
        blocks,
        stop,
        native_stop,
        logprobs,
    };
    Ok(Response {
        id: wire.id.unwrap_or_default(),
        model: wire.model,
        created: wire.created_at,
        candidates: if known { vec![candidate] } else { Vec::new() },
        usage: wire.usage.map(usage::openai).transpose()?.unwrap_or_default(),
        service_tier: wire.service_tier,
        fingerprint: None,
    })
}

fn push_item<'a>(item: Item<'a>, blocks: &mut Vec<Block<'a>>, logprobs: &mut Vec<Logprob<'a>>) {
    match item.kind.as_deref() {
        Some("message") => {
            for part in item.content.unwrap_or_default() {
                logprobs.extend(part.logprobs.unwrap_or_default().into_iter().filter_map(logprob));
                if let Some(refusal) = part.refusal {
                    blocks.push(Block::Refusal(refusal));
                } else if let Some(text) = part.text {
                    let citations = part
                        .annotations
                        .unwrap_or_default()
                        .into_iter()
                        .filter_map(citation)
                        .collect();
                    blocks.push(Block::Text(TextBlock {
                        text,
                        citations,
                        ..TextBlock::default()
                    }));
                }
            }
        }
        Some("function_call" | "custom_tool_call") => {
            let arguments = match item.input {
                Some(input) => Arguments::Freeform(input),
                None => Arguments::Encoded(item.arguments.unwrap_or_default()),
            };
            let id = item.call_id.or(item.id).unwrap_or_default();
            let name = item.name.unwrap_or_default();
            let namespace = item.namespace;
            blocks.push(Block::ToolCall(ToolCall {
                id,
                name,
                arguments,
                namespace,
                state: None,
                cache: None,
            }));
        }
        Some("reasoning") => blocks.push(thought(item)),
        kind => blocks.push(Block::Native(Native {
            format: Format::Responses,
            kind: kind.unwrap_or_default().to_owned().into(),
            json: Raw::of_const("{}"),
            path: String::new(),
            must: false,
        })),
    }
}

fn thought(item: Item<'_>) -> Block<'_> {
    let raw: Vec<Text<'_>> = item
        .content
        .unwrap_or_default()
        .into_iter()
        .filter_map(|part| part.text)
        .collect();
    let summary: Vec<Text<'_>> = item
        .summary
        .unwrap_or_default()
        .into_iter()
        .filter_map(|part| part.text)
        .collect();
    let id = item.id;
    let encrypted = item.encrypted_content.filter(|data| !data.is_empty());
    let state = encrypted.map(|encrypted| Opaque {
        origin: Format::Responses,
        domain: None,
        state: State::Reasoning { id, encrypted },
    });
    let is_summary = raw.is_empty();
    Block::Thought(Thought {
        text: if is_summary { summary } else { raw },
        summary: is_summary,
        state,
    })
}

fn citation(annotation: Annotation<'_>) -> Option<Citation<'_>> {
    let range = annotation.start_index.zip(annotation.end_index);
    Some(Citation {
        url: Some(annotation.url?),
        title: annotation.title,
        range,
        ..Citation::default()
    })
}
