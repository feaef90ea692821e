//! Answers of Responses to the IR.

use std::borrow::Cow;

use super::chat_response::{TokenLogprob, logprob};
use super::usage;
use crate::error::Error;
use crate::format::Format;
use crate::ir::{
    Arguments, Block, Candidate, Citation, Logprob, Media, MediaKind, Opaque, Response, Source, State,
    TextBlock, Thought, ToolCall,
};
use crate::json::{Raw, Text, from_str};
use crate::stop::Stop;
use crate::usage::Usage;
use crate::wire::object;

object! {
    /// An answer inside a stream's event.
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
        /// What hosted tools did.
        tool_usage: Raw<'a> = "tool_usage",
        /// Tier.
        service_tier: Cow<'a, str> = "service_tier",
        /// Error.
        error: Raw<'a> = "error",
    }

    /// A whole answer: its items keep their source, for those that only the vendor understands.
    struct Whole {
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
        output: Vec<(Raw<'a>, Result<Item<'a>, Error>)> = "output",
        /// Usage.
        usage: Raw<'a> = "usage",
        /// What hosted tools did.
        tool_usage: Raw<'a> = "tool_usage",
        /// Tier.
        service_tier: Cow<'a, str> = "service_tier",
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
        /// A generated image.
        result: Text<'a> = "result",
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
        /// Place of a file citation.
        index: u64 = "index",
        /// File.
        file_id: Text<'a> = "file_id",
        /// File name.
        filename: Text<'a> = "filename",
    }
}

pub(super) fn decode(body: &str) -> Result<Response<'_>, Error> {
    let wire: Whole<'_> = from_str(body)?;
    let mut blocks = Vec::new();
    let mut logprobs = Vec::new();
    let known = wire.output.is_some();
    for (raw, item) in wire.output.unwrap_or_default() {
        push_item(raw, item, &mut blocks, &mut logprobs);
    }
    let reason = wire.incomplete_details.and_then(|details| details.reason);
    let native = reason.clone().or(wire.status.clone());
    let stop = match wire.status.as_deref() {
        Some("incomplete") => reason.map_or(Stop::MaxTokens, Stop::from_incomplete),
        Some("failed" | "cancelled") => Stop::Failed(wire.status.unwrap_or_default()),
        Some("completed") | None => Stop::EndTurn,
        Some(_) => Stop::Unknown(wire.status.unwrap_or_default()),
    };
    let native_stop = native.filter(|_| stop.is_ambiguous());
    let candidate = Candidate {
        index: 0,
        blocks,
        stop,
        native_stop,
        logprobs,
    };
    let tier = wire.service_tier.as_deref();
    let usage = usage::responses(wire.usage, wire.tool_usage, tier)?;
    let usage = usage.unwrap_or_else(|| Usage::default().in_tier(tier));
    Ok(Response {
        id: wire.id.unwrap_or_default(),
        model: wire.model,
        created: wire.created_at,
        candidates: if known { vec![candidate] } else { Vec::new() },
        usage,
        service_tier: wire.service_tier,
        ..Response::default()
    })
}

fn push_item<'a>(
    raw: Raw<'a>,
    item: Result<Item<'a>, Error>,
    blocks: &mut Vec<Block<'a>>,
    logprobs: &mut Vec<Logprob<'a>>,
) {
    // Kinds that spell a member in another way are the vendor's own.
    let item = item.unwrap_or_default();
    match item.kind.as_deref() {
        Some("message") => {
            for part in item.content.unwrap_or_default() {
                logprobs.extend(part.logprobs.unwrap_or_default().into_iter().filter_map(logprob));
                if let Some(refusal) = part.refusal {
                    blocks.push(Block::Refusal(refusal));
                } else if let Some(text) = part.text {
                    let citations = part.annotations.unwrap_or_default().into_iter();
                    blocks.push(Block::Text(TextBlock {
                        text,
                        citations: citations.filter_map(citation).collect(),
                        ..TextBlock::default()
                    }));
                }
            }
        }
        Some("function_call" | "custom_tool_call") => blocks.push(tool_call(item)),
        Some("reasoning") => blocks.push(thought(item)),
        Some("image_generation_call") if item.result.is_some() => {
            let data = item.result.unwrap_or_default();
            let mime = crate::media::sniff(&data.decode()).unwrap_or("image/png");
            blocks.push(Block::Media(Media {
                kind: MediaKind::Image,
                source: Source::Base64 {
                    mime: mime.into(),
                    data,
                },
                detail: None,
                title: None,
                cache: None,
            }));
        }
        // What the vendor ran itself travels sealed, and comes back as it was.
        _ => blocks.push(Block::Thought(Thought {
            state: Some(Opaque {
                origin: Format::Responses,
                domain: None,
                state: State::Native(raw.get().into()),
            }),
            ..Thought::default()
        })),
    }
}

fn tool_call(item: Item<'_>) -> Block<'_> {
    let arguments = match item.input {
        Some(input) => Arguments::Freeform(input),
        None => Arguments::Encoded(item.arguments.unwrap_or_default()),
    };
    Block::ToolCall(ToolCall {
        id: item.call_id.or(item.id).unwrap_or_default(),
        name: item.name.unwrap_or_default(),
        arguments,
        namespace: item.namespace,
        state: None,
        cache: None,
    })
}

fn thought(item: Item<'_>) -> Block<'_> {
    let raw: Vec<Text<'_>> = texts_of(item.content);
    let summary: Vec<Text<'_>> = texts_of(item.summary);
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

fn texts_of(parts: Option<Vec<Part<'_>>>) -> Vec<Text<'_>> {
    let parts = parts.unwrap_or_default().into_iter();
    parts.filter_map(|part| part.text).collect()
}

fn citation(annotation: Annotation<'_>) -> Option<Citation<'_>> {
    let range = annotation.start_index.zip(annotation.end_index);
    if annotation.url.is_some() {
        return Some(Citation {
            url: annotation.url,
            title: annotation.title,
            range,
            ..Citation::default()
        });
    }
    let file = (annotation.file_id?, annotation.filename.unwrap_or_default());
    Some(Citation {
        file: Some(file),
        // A file citation stands at one place.
        range: range.or(annotation.index.map(|index| (index, index))),
        ..Citation::default()
    })
}
