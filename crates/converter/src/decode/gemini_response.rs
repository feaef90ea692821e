//! Answers of generateContent to the IR.

use std::borrow::Cow;

use super::usage;
use crate::error::Error;
use crate::format::Format;
use crate::ir::{
    Arguments, Block, Candidate, Media, Opaque, Response, Source, State, TextBlock, Thought, ToolCall,
};
use crate::json::{Raw, Text, from_str};
use crate::stop::Stop;
use crate::wire::gemini::{Content, Part};
use crate::wire::object;

object! {
    /// An answer, or one chunk of a stream.
    pub struct Answer {
        /// Candidates.
        candidates: Vec<WireCandidate<'a>> = "candidates",
        /// Blocked prompt.
        prompt_feedback: PromptFeedback<'a> = "promptFeedback",
        /// Usage.
        usage_metadata: Raw<'a> = "usageMetadata",
        /// Model.
        model_version: Cow<'a, str> = "modelVersion",
        /// Id.
        response_id: Cow<'a, str> = "responseId",
        /// Error in a started stream.
        error: Raw<'a> = "error",
    }

    /// One candidate.
    pub struct WireCandidate {
        /// Number.
        index: u64 = "index",
        /// Content.
        content: Content<'a> = "content",
        /// Why it ended.
        finish_reason: Cow<'a, str> = "finishReason",
        /// Why in words.
        finish_message: Text<'a> = "finishMessage",
    }

    /// `promptFeedback`.
    pub struct PromptFeedback {
        /// Why it was blocked.
        block_reason: Cow<'a, str> = "blockReason",
    }
}

pub(super) fn decode(body: &str) -> Result<Response<'_>, Error> {
    let trimmed = body.trim_start();
    let wire: Answer<'_> = if trimmed.starts_with('[') {
        let list: Vec<Answer<'_>> = from_str(body)?;
        list.into_iter().next().unwrap_or_default()
    } else {
        from_str(body)?
    };
    let mut candidates: Vec<Candidate<'_>> = wire
        .candidates
        .unwrap_or_default()
        .into_iter()
        .map(candidate)
        .collect();
    let blocked = wire.prompt_feedback.and_then(|feedback| feedback.block_reason);
    if let (true, Some(reason)) = (candidates.is_empty(), blocked) {
        let stop = Stop::Filtered(format!("prompt:{reason}").into());
        candidates.push(Candidate {
            stop,
            native_stop: Some(reason),
            ..Candidate::default()
        });
    }
    Ok(Response {
        id: wire.response_id.unwrap_or_default(),
        model: wire.model_version,
        candidates,
        usage: wire
            .usage_metadata
            .map(usage::gemini)
            .transpose()?
            .unwrap_or_default(),
        ..Response::default()
    })
}

fn candidate(wire: WireCandidate<'_>) -> Candidate<'_> {
    let native = wire.finish_reason.clone();
    let stop = wire
        .finish_reason
        .map_or(Stop::Unknown("".into()), Stop::from_gemini);
    let mut blocks: Vec<Block<'_>> = Vec::new();
    for part in wire.content.and_then(|content| content.parts).unwrap_or_default() {
        if let Some(next) = block(part) {
            merge(&mut blocks, next);
        }
    }
    let native_stop = native.filter(|_| stop.is_ambiguous());
    Candidate {
        index: wire.index.unwrap_or(0),
        blocks,
        stop,
        native_stop,
        logprobs: Vec::new(),
    }
}

/// Gemini cuts one text into several parts; parts that carry state stay apart.
fn merge<'a>(blocks: &mut Vec<Block<'a>>, next: Block<'a>) {
    match (blocks.last_mut(), next) {
        (Some(Block::Text(before)), Block::Text(after))
            if before.state.is_none() && after.state.is_none() =>
        {
            let joined = format!("{}{}", before.text.decode(), after.text.decode());
            before.text = joined.into();
        }
        (Some(Block::Thought(before)), Block::Thought(after))
            if before.state.is_none() && after.state.is_none() =>
        {
            before.text.extend(after.text);
        }
        (_, next) => blocks.push(next),
    }
}

fn block(part: Part<'_>) -> Option<Block<'_>> {
    let signature = part.thought_signature.filter(|signature| !signature.is_empty());
    let opaque = |state| Opaque {
        origin: Format::Gemini,
        domain: None,
        state,
    };
    if let Some(call) = part.function_call {
        let arguments = Arguments::Object(
            call.args
                .filter(|args| args.is_object())
                .unwrap_or(Raw::of_const("{}")),
        );
        let state = signature.map(|signature| opaque(State::CallSignature(signature)));
        let id = call.id.unwrap_or_default();
        return Some(Block::ToolCall(ToolCall {
            id,
            name: call.name?,
            arguments,
            namespace: None,
            state,
            cache: None,
        }));
    }
    if let Some(blob) = part.inline_data {
        let mime = blob.mime_type.unwrap_or_default();
        let kind = crate::media::kind(&mime);
        let source = Source::Base64 {
            mime,
            data: blob.data?,
        };
        return Some(Block::Media(Media {
            kind,
            source,
            detail: None,
            title: None,
            cache: None,
        }));
    }
    let state = signature.map(|signature| opaque(State::PartSignature(signature)));
    let text = part.text.unwrap_or_default();
    if part.thought == Some(true) || (text.is_empty() && state.is_some()) {
        let text = if text.is_empty() { Vec::new() } else { vec![text] };
        return Some(Block::Thought(Thought {
            text,
            summary: true,
            state,
        }));
    }
    (!text.is_empty()).then(|| {
        Block::Text(TextBlock {
            text,
            state,
            ..TextBlock::default()
        })
    })
}
