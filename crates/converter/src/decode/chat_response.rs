//! Answers of Chat Completions to the IR.

use std::borrow::Cow;

use super::openai::google_signature;
use super::usage;
use crate::error::Error;
use crate::format::Format;
use crate::ir::{
    Arguments, Block, Candidate, Citation, Logprob, Media, MediaKind, Opaque, Response, Source, State,
    TextBlock, Thought, ToolCall,
};
use crate::json::{Raw, Text, from_str};
use crate::span;
use crate::stop::Stop;
use crate::wire::chat::ToolCall as WireCall;
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
        reasoning_details: Raw<'a> = "reasoning_details",
        /// Sound.
        audio: Audio<'a> = "audio",
        /// Citations.
        annotations: Vec<Annotation<'a>> = "annotations",
        /// Images.
        images: Vec<Raw<'a>> = "images",
    }

    /// Sound.
    struct Audio {
        /// Base64.
        data: Text<'a> = "data",
        /// What is said.
        transcript: Text<'a> = "transcript",
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
        /// Its bytes.
        bytes: Raw<'a> = "bytes",
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
            .enumerate()
            .map(|(number, choice)| candidate(number as u64, choice))
            .collect(),
        usage: wire
            .usage
            .and_then(|raw| usage::openai(raw).ok())
            .unwrap_or_default()
            .in_tier(wire.service_tier.as_deref()),
        service_tier: wire.service_tier,
        fingerprint: wire.system_fingerprint,
        dropped: Vec::new(),
    })
}

fn candidate(number: u64, choice: Choice<'_>) -> Candidate<'_> {
    let message = choice.message.unwrap_or_default();
    let native_stop = choice.finish_reason.clone();
    let stop = choice
        .finish_reason
        .map_or(Stop::Unknown("".into()), Stop::from_chat);
    let mut blocks = thoughts(message.reasoning_content, message.reasoning_details);
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
    let texts = texts.into_iter().filter(|text| !text.is_empty());
    push_texts(texts.collect(), citations, &mut blocks);
    blocks.extend(message.images.unwrap_or_default().into_iter().filter_map(image));
    if let Some(audio) = message.audio {
        push_audio(audio, &mut blocks);
    }
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
        index: choice.index.unwrap_or(number),
        blocks,
        stop,
        native_stop,
        logprobs: logprobs(choice.logprobs),
    }
}

/// Citations count in the whole content: each goes to the text in which it begins.
fn push_texts<'a>(texts: Vec<Text<'a>>, citations: Vec<Citation<'a>>, blocks: &mut Vec<Block<'a>>) {
    let last = texts.len().saturating_sub(1);
    let mut before = 0;
    for (index, text) in texts.into_iter().enumerate() {
        let length = if citations.is_empty() {
            0
        } else {
            span::points(&text.decode())
        };
        let here = citations.iter().filter(|citation| match citation.range {
            Some((start, _)) => start >= before && (start < before + length || index == last),
            None => index == 0,
        });
        let here = here.map(|citation| Citation {
            range: citation
                .range
                .map(|(start, end)| (start - before, end.saturating_sub(before).min(length)))
                .filter(|(start, end)| start <= end),
            ..citation.clone()
        });
        blocks.push(Block::Text(TextBlock {
            text,
            citations: here.collect(),
            ..TextBlock::default()
        }));
        before += length;
    }
}

/// What is said stands beside the sound, for formats that take only text.
fn push_audio<'a>(audio: Audio<'a>, blocks: &mut Vec<Block<'a>>) {
    let silent = !blocks.iter().any(|block| matches!(block, Block::Text(_)));
    let transcript = audio.transcript.filter(|text| silent && !text.is_empty());
    blocks.extend(transcript.map(|text| {
        Block::Text(TextBlock {
            text,
            ..TextBlock::default()
        })
    }));
    if let Some(data) = audio.data.filter(|data| !data.is_empty()) {
        let mime = crate::media::sniff_audio(&data.decode()).into();
        blocks.push(Block::Media(Media {
            kind: MediaKind::Audio,
            source: Source::Base64 { mime, data },
            detail: None,
            title: None,
            cache: None,
        }));
    }
}

fn thoughts<'a>(text: Option<Text<'a>>, details: Option<Raw<'a>>) -> Vec<Block<'a>> {
    let text: Vec<Text<'a>> = text.into_iter().filter(|text| !text.is_empty()).collect();
    let opaque = |state| Opaque {
        origin: Format::Chat,
        domain: None,
        state,
    };
    // OpenRouter wants its details back as they were; everybody else has only the text.
    let state = match details {
        Some(raw) if raw.get().contains('{') => opaque(State::Native(raw.get().into())),
        _ if text.is_empty() => return Vec::new(),
        _ => opaque(State::Plain),
    };
    vec![Block::Thought(Thought {
        text,
        summary: false,
        state: Some(state),
    })]
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
        bytes: token.bytes.filter(|bytes| !bytes.is_null()),
        top,
    })
}
