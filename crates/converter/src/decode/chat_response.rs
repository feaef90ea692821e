//! Answers of Chat Completions to the IR.

use std::borrow::Cow;

use super::openai::{google_signature, opaque};
use super::usage;
use crate::error::Error;
use crate::format::Format;
use crate::ir::{
    Arguments, Block, Candidate, Citation, Logprob, Media, MediaKind, Opaque, Response, Source, State,
    TextBlock, Thought, ToolCall,
};
use crate::json::{Raw, Text, from_str};
use crate::stop::Stop;
use crate::wire::chat::{ReasoningDetail, ToolCall as WireCall};
use crate::wire::{Content, object};

object! {
    /// An answer.
    struct Answer {
        /// Id.
        id: Cow<'a, str> = "id",
        /// Model.
        model: Cow<'a, str> = "model",
        /// Seconds.
        created: u64 = "created",
        /// Choices.
        choices: Vec<Choice<'a>> = "choices",
        /// Usage.
        usage: Raw<'a> = "usage",
        /// Tier.
        service_tier: Cow<'a, str> = "service_tier",
        /// Fingerprint.
        system_fingerprint: Text<'a> = "system_fingerprint",
    }

    /// A choice.
    struct Choice {
        /// Number.
        index: u64 = "index",
        /// Message.
        message: Message<'a> = "message",
        /// Why it ended.
        finish_reason: Cow<'a, str> = "finish_reason",
        /// Log probabilities.
        logprobs: Logprobs<'a> = "logprobs",
    }

    /// The message of an answer.
    struct Message {
        /// Text; some servers send parts.
        content: Content<'a, Part<'a>> = "content",
        /// Refusal.
        refusal: Text<'a> = "refusal",
        /// Calls.
        tool_calls: Vec<WireCall<'a>> = "tool_calls",
        /// Call, old form.
        function_call: crate::wire::chat::FunctionCall<'a> = "function_call",
        /// Reasoning text.
        reasoning_content: Text<'a> = "reasoning_content" | "reasoning",
        /// Reasoning state.
        reasoning_details: Vec<ReasoningDetail<'a>> = "reasoning_details",
        /// Citations.
        annotations: Vec<Annotation<'a>> = "annotations",
        /// Images.
        images: Vec<Raw<'a>> = "images",
    }

    /// A part.
    struct Part {
        /// Text.
        text: Text<'a> = "text",
    }

    /// An annotation.
    struct Annotation {
        /// Web source.
        url_citation: UrlCitation<'a> = "url_citation",
    }

    /// A web source.
    struct UrlCitation {
        /// Address.
        url: Text<'a> = "url",
        /// Title.
        title: Text<'a> = "title",
        /// Range.
        start_index: u64 = "start_index",
        /// Range.
        end_index: u64 = "end_index",
    }

    /// Log probabilities.
    pub struct Logprobs {
        /// Of the text.
        content: Vec<TokenLogprob<'a>> = "content",
    }

    /// One token.
    pub struct TokenLogprob {
        /// Token.
        token: Text<'a> = "token",
        /// Value.
        logprob: Raw<'a> = "logprob",
        /// Alternatives.
        top_logprobs: Vec<TokenLogprob<'a>> = "top_logprobs",
    }
}

pub(super) fn decode(body: &str) -> Result<Response<'_>, Error> {
    let wire: Answer<'_> = from_str(body)?;
    Ok(Response {
        id: wire.id.unwrap_or_default(),
        model: wire.model,
        created: wire.created,
        candidates: wire
            .choices
            .unwrap_or_default()
            .into_iter()
            .map(candidate)
            .collect(),
        usage: wire.usage.map(usage::openai).transpose()?.unwrap_or_default(),
        service_tier: wire.service_tier,
        fingerprint: wire.system_fingerprint,
    })
}

fn candidate(choice: Choice<'_>) -> Candidate<'_> {
    let message = choice.message.unwrap_or_default();
    let native_stop = choice.finish_reason.clone();
    let stop = choice
        .finish_reason
        .map_or(Stop::Unknown("".into()), Stop::from_chat);
    let mut blocks = thoughts(
        message.reasoning_content,
        message.reasoning_details.unwrap_or_default(),
    );
    let citations: Vec<Citation<'_>> = message
        .annotations
        .unwrap_or_default()
        .into_iter()
        .filter_map(citation)
        .collect();
    let texts: Vec<Text<'_>> = match message.content {
        None => Vec::new(),
        Some(Content::Text(text)) => vec![text],
        Some(Content::Parts(parts)) => parts.into_iter().filter_map(|part| part.text).collect(),
    };
    for (index, text) in texts.into_iter().filter(|text| !text.is_empty()).enumerate() {
        let citations = if index == 0 { citations.clone() } else { Vec::new() };
        blocks.push(Block::Text(TextBlock {
            text,
            citations,
            ..TextBlock::default()
        }));
    }
    blocks.extend(message.images.unwrap_or_default().into_iter().filter_map(image));
    if let Some(refusal) = message.refusal.filter(|refusal| !refusal.is_empty()) {
        blocks.push(Block::Refusal(refusal));
    }
    blocks.extend(
        message
            .tool_calls
            .unwrap_or_default()
            .into_iter()
            .filter_map(tool_call),
    );
    if let Some(call) = message.function_call {
        blocks.push(Block::ToolCall(call_of("".into(), call, None)));
    }
    let native_stop = native_stop.filter(|_| stop.is_ambiguous());
    Candidate {
        index: choice.index.unwrap_or(0),
        blocks,
        stop,
        native_stop,
        logprobs: logprobs(choice.logprobs),
    }
}

fn thoughts<'a>(text: Option<Text<'a>>, details: Vec<ReasoningDetail<'a>>) -> Vec<Block<'a>> {
    let mut states: Vec<Opaque<'a>> = details
        .into_iter()
        .filter_map(|detail| detail.data)
        .filter_map(|data| opaque(data, |_| None))
        .collect();
    let mut blocks = Vec::new();
    if let Some(text) = text.filter(|text| !text.is_empty()) {
        let plain = Opaque {
            origin: Format::Chat,
            domain: None,
            state: State::Plain,
        };
        let state = if states.is_empty() {
            plain
        } else {
            states.remove(0)
        };
        blocks.push(Block::Thought(Thought {
            text: vec![text],
            summary: false,
            state: Some(state),
        }));
    }
    blocks.extend(states.into_iter().map(|state| {
        Block::Thought(Thought {
            state: Some(state),
            ..Thought::default()
        })
    }));
    blocks
}

fn citation(annotation: Annotation<'_>) -> Option<Citation<'_>> {
    let source = annotation.url_citation?;
    let range = source.start_index.zip(source.end_index);
    Some(Citation {
        url: source.url,
        title: source.title,
        range,
        ..Citation::default()
    })
}

/// `{"type":"image_url","image_url":{"url":"data:…"}}`, a dialect of several servers.
fn image(raw: Raw<'_>) -> Option<Block<'_>> {
    object! {
        /// An image.
        struct Image {
            /// Address.
            image_url: crate::wire::chat::ImageUrl<'a> = "image_url",
        }
    }
    let image: Image<'_> = from_str(raw.get()).ok()?;
    let source = crate::media::source(&image.image_url?.url?);
    matches!(source, Source::Base64 { .. }).then_some(Block::Media(Media {
        kind: MediaKind::Image,
        source,
        detail: None,
        title: None,
        cache: None,
    }))
}

fn tool_call(call: WireCall<'_>) -> Option<Block<'_>> {
    let id = call.id.unwrap_or_default();
    let state = google_signature(call.extra_content);
    if let Some(custom) = call.custom {
        let arguments = Arguments::Freeform(custom.input.unwrap_or_default());
        let name = custom.name?;
        return Some(Block::ToolCall(ToolCall {
            id,
            name,
            arguments,
            namespace: None,
            state,
            cache: None,
        }));
    }
    Some(Block::ToolCall(call_of(id, call.function?, state)))
}

fn call_of<'a>(
    id: Cow<'a, str>,
    call: crate::wire::chat::FunctionCall<'a>,
    state: Option<Opaque<'a>>,
) -> ToolCall<'a> {
    let arguments = Arguments::Encoded(call.arguments.unwrap_or_default());
    ToolCall {
        id,
        name: call.name.unwrap_or_default(),
        arguments,
        namespace: None,
        state,
        cache: None,
    }
}

pub(crate) fn logprobs(wire: Option<Logprobs<'_>>) -> Vec<Logprob<'_>> {
    let tokens = wire
        .and_then(|logprobs| logprobs.content)
        .unwrap_or_default()
        .into_iter();
    tokens.filter_map(logprob).collect()
}

pub(crate) fn logprob(token: TokenLogprob<'_>) -> Option<Logprob<'_>> {
    let top = token.top_logprobs.unwrap_or_default().into_iter();
    let top = top.filter_map(|token| token.token.zip(token.logprob)).collect();
    Some(Logprob {
        token: token.token?,
        logprob: token.logprob?,
        top,
    })
}
