//! Answers of Messages to the IR.

use std::borrow::Cow;

use super::usage;
use crate::error::Error;
use crate::format::Format;
use crate::ir::{
    Arguments, Block, Candidate, Citation, Opaque, Response, State, TextBlock, Thought, ToolCall,
};
use crate::json::{Raw, Text, from_str};
use crate::stop::Stop;
use crate::wire::object;

object! {
    /// An answer.
    struct Answer {
        /// Id.
        id: Cow<'a, str> = "id",
        /// Model.
        model: Cow<'a, str> = "model",
        /// Blocks.
        content: Vec<(Raw<'a>, Result<ContentBlock<'a>, Error>)> = "content",
        /// Why it ended.
        stop_reason: Cow<'a, str> = "stop_reason",
        /// Which sequence.
        stop_sequence: Text<'a> = "stop_sequence",
        /// Refusal.
        stop_details: StopDetails<'a> = "stop_details",
        /// Usage.
        usage: Raw<'a> = "usage",
    }

    /// `stop_details`.
    pub struct StopDetails {
        /// Category.
        category: Text<'a> = "category",
        /// Explanation.
        explanation: Text<'a> = "explanation",
    }

    /// A block.
    struct ContentBlock {
        /// Its type.
        kind: Cow<'a, str> = "type",
        /// Text.
        text: Text<'a> = "text",
        /// Citations.
        citations: Vec<Raw<'a>> = "citations",
        /// Thinking.
        thinking: Text<'a> = "thinking",
        /// Signature.
        signature: Cow<'a, str> = "signature",
        /// Redacted.
        data: Cow<'a, str> = "data",
        /// Tool id.
        id: Cow<'a, str> = "id",
        /// Tool name.
        name: Cow<'a, str> = "name",
        /// Tool input.
        input: Raw<'a> = "input",
    }

    /// A citation.
    struct WireCitation {
        /// Address.
        url: Text<'a> = "url",
        /// Search result source.
        source: Text<'a> = "source",
        /// Title.
        title: Text<'a> = "title",
        /// Words.
        cited_text: Text<'a> = "cited_text",
    }
}

pub(super) fn decode(body: &str) -> Result<Response<'_>, Error> {
    let wire: Answer<'_> = from_str(body)?;
    let blocks: Vec<Block<'_>> = wire
        .content
        .unwrap_or_default()
        .into_iter()
        .filter_map(block)
        .collect();
    let details = wire.stop_details.unwrap_or_default();
    let native = wire.stop_reason.clone();
    let stop = match wire.stop_reason {
        Some(word) => Stop::from_messages(word, wire.stop_sequence, (details.category, details.explanation)),
        None => Stop::Unknown("".into()),
    };
    let native_stop = native.filter(|_| stop.is_ambiguous());
    let empty = blocks.is_empty() && native_stop.is_none() && wire.id.is_none();
    let candidate = Candidate {
        index: 0,
        blocks,
        stop,
        native_stop,
        logprobs: Vec::new(),
    };
    Ok(Response {
        id: wire.id.unwrap_or_default(),
        model: wire.model,
        candidates: if empty { Vec::new() } else { vec![candidate] },
        usage: wire
            .usage
            .and_then(|raw| usage::anthropic(raw).ok())
            .unwrap_or_default(),
        service_tier: wire
            .usage
            .and_then(|raw| usage::anthropic_tier(raw).ok())
            .flatten()
            .map(Cow::Borrowed),
        ..Response::default()
    })
}

fn block<'a>((raw, block): (Raw<'a>, Result<ContentBlock<'a>, Error>)) -> Option<Block<'a>> {
    let Ok(block) = block else {
        return Some(native(raw));
    };
    let opaque = |state| {
        Some(Opaque {
            origin: Format::Messages,
            domain: None,
            state,
        })
    };
    match block.kind.as_deref()? {
        "text" => {
            let citations = block
                .citations
                .unwrap_or_default()
                .into_iter()
                .filter_map(citation)
                .collect();
            Some(Block::Text(TextBlock {
                text: block.text?,
                citations,
                ..TextBlock::default()
            }))
        }
        "thinking" => {
            let text = block
                .thinking
                .into_iter()
                .filter(|text| !text.is_empty())
                .collect();
            let state = block
                .signature
                .filter(|signature| !signature.is_empty())
                .and_then(|data| opaque(State::Signature(data)));
            Some(Block::Thought(Thought {
                text,
                summary: false,
                state,
            }))
        }
        "redacted_thinking" => {
            let state = opaque(State::Redacted(block.data?));
            Some(Block::Thought(Thought {
                state,
                ..Thought::default()
            }))
        }
        "tool_use" => {
            let arguments = match block.input {
                // Servers that only imitate the format send the arguments as a string.
                Some(input) if !input.is_object() => {
                    Arguments::Encoded(input.as_text().unwrap_or_else(|| input.get().into()))
                }
                input => Arguments::Object(input.unwrap_or(Raw::of_const("{}"))),
            };
            let (id, name) = (block.id.unwrap_or_default(), block.name?);
            Some(Block::ToolCall(ToolCall {
                id,
                name,
                arguments,
                namespace: None,
                state: None,
                cache: None,
            }))
        }
        _ => Some(native(raw)),
    }
}

/// A server's own tool call is never shown as a client tool call: it travels sealed, and comes back as it was.
fn native(raw: Raw<'_>) -> Block<'_> {
    Block::Thought(Thought {
        state: Some(Opaque {
            origin: Format::Messages,
            domain: None,
            state: State::Native(raw.get().into()),
        }),
        ..Thought::default()
    })
}

pub(crate) fn citation(raw: Raw<'_>) -> Option<Citation<'_>> {
    let wire: WireCitation<'_> = from_str(raw.get()).ok()?;
    let url = wire
        .url
        .or(wire.source.filter(|source| source.decode().starts_with("http")));
    Some(Citation {
        url,
        title: wire.title,
        range: None,
        quote: wire.cited_text,
        native: Some((Format::Messages, raw)),
        ..Citation::default()
    })
}
