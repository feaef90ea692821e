//! Answers of generateContent to the IR.

use std::borrow::Cow;

use super::grounding::{self, Grounding, Places, Recitations};
use super::usage;
use crate::error::Error;
use crate::format::Format;
use crate::ir::{
    Arguments, Block, Candidate, Logprob, Media, Opaque, Response, Source, State, TextBlock, Thought,
    ToolCall,
};
use crate::json::{Raw, Text, Writer, from_str};
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
        /// When.
        create_time: Cow<'a, str> = "createTime",
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
        /// Sources.
        grounding: (Raw<'a>, Result<Grounding<'a>, Error>) = "groundingMetadata",
        /// Repeated sources.
        recitations: (Raw<'a>, Result<Recitations<'a>, Error>) = "citationMetadata",
        /// Log probabilities.
        logprobs: (Raw<'a>, Result<Logprobs<'a>, Error>) = "logprobsResult",
        /// Where to go on.
        continuation_token: Text<'a> = "continuationToken",
    }

    /// `logprobsResult`.
    pub struct Logprobs {
        /// The tokens of the answer.
        chosen: Vec<LogprobToken<'a>> = "chosenCandidates",
        /// Their alternatives.
        top: Vec<TopTokens<'a>> = "topCandidates",
    }

    /// Alternatives of one place.
    pub struct TopTokens {
        /// They.
        tokens: Vec<LogprobToken<'a>> = "candidates",
    }

    /// A token.
    pub struct LogprobToken {
        /// Text.
        token: Text<'a> = "token",
        /// Value.
        value: Raw<'a> = "logProbability",
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
    let mut dropped = Vec::new();
    let mut candidates: Vec<Candidate<'_>> = wire
        .candidates
        .unwrap_or_default()
        .into_iter()
        .enumerate()
        .map(|(number, wire)| candidate(number as u64, wire, &mut dropped))
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
    let tier = wire
        .usage_metadata
        .and_then(|raw| usage::gemini_tier(raw).ok())
        .flatten();
    Ok(Response {
        id: wire.response_id.unwrap_or_default(),
        model: wire.model_version,
        created: wire.create_time.as_deref().and_then(crate::date::seconds),
        candidates,
        usage: wire
            .usage_metadata
            .and_then(|raw| usage::gemini(raw).ok())
            .unwrap_or_default(),
        service_tier: tier.map(Cow::Borrowed),
        dropped,
        ..Response::default()
    })
}

fn candidate<'a>(
    number: u64,
    wire: WireCandidate<'a>,
    dropped: &mut Vec<Cow<'static, str>>,
) -> Candidate<'a> {
    let native = wire.finish_reason.clone();
    let mut stop = wire
        .finish_reason
        .map_or(Stop::Unknown("".into()), Stop::from_gemini);
    if let (Stop::Continuation(token), Some(given)) = (&mut stop, wire.continuation_token) {
        *token = given;
    }
    let mut blocks: Vec<Block<'_>> = Vec::new();
    let mut places = Places::new();
    for part in wire.content.and_then(|content| content.parts).unwrap_or_default() {
        match block(part) {
            Some(next) => places.push(merge(&mut blocks, next)),
            None => places.push(None),
        }
    }
    // Decoration that cannot be read is no reason to lose the answer.
    let grounding = wire
        .grounding
        .and_then(|(raw, grounding)| Some((raw, grounding.ok()?)));
    if let Some((_, grounding)) = &grounding
        && grounding.entry_point.is_some()
    {
        // Google's terms want it shown; no other format has a place for it.
        dropped.push("grounding.searchEntryPoint".into());
    }
    let recitations = wire.recitations.and_then(|(_, recitations)| recitations.ok());
    grounding::apply(&mut blocks, &places, grounding, recitations);
    let native_stop = native.filter(|_| stop.is_ambiguous());
    Candidate {
        index: wire.index.unwrap_or(number),
        blocks,
        stop,
        native_stop,
        logprobs: logprobs(wire.logprobs.and_then(|(_, list)| list.ok()).unwrap_or_default()),
    }
}

/// Gemini leaves out what OpenAI writes as −9999: a token that practically never comes.
const NEVER: Raw<'static> = Raw::of_const("-9999.0");

fn logprobs(wire: Logprobs<'_>) -> Vec<Logprob<'_>> {
    let mut top = wire.top.unwrap_or_default().into_iter();
    let mut list = Vec::new();
    for token in wire.chosen.unwrap_or_default() {
        let others = top.next().and_then(|top| top.tokens).unwrap_or_default();
        let others = others
            .into_iter()
            .filter_map(|token| Some((token.token?, token.value.unwrap_or(NEVER))));
        list.push(Logprob {
            token: token.token.unwrap_or_default(),
            logprob: token.value.unwrap_or(NEVER),
            bytes: None,
            top: others.collect(),
        });
    }
    list
}

/// Gemini cuts one text into several parts; parts that carry state stay apart. Returns where a text went.
fn merge<'a>(blocks: &mut Vec<Block<'a>>, next: Block<'a>) -> Option<(usize, usize)> {
    let last = blocks.len().saturating_sub(1);
    match (blocks.last_mut(), next) {
        (Some(Block::Text(before)), Block::Text(after))
            if before.state.is_none() && after.state.is_none() =>
        {
            let mut joined = before.text.decode().into_owned();
            let offset = joined.len();
            joined.push_str(&after.text.decode());
            before.text = joined.into();
            return Some((last, offset));
        }
        (Some(Block::Thought(before)), Block::Thought(after))
            if before.state.is_none() && after.state.is_none() =>
        {
            before.text.extend(after.text);
            return None;
        }
        (_, next) => blocks.push(next),
    }
    matches!(blocks.last(), Some(Block::Text(_))).then_some((blocks.len() - 1, 0))
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
            title: blob.display_name,
            cache: None,
        }));
    }
    if part.text.is_none() && !part.extra.is_empty() {
        return Some(native(&part.extra, signature.as_deref()));
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

/// A part that only Gemini understands (code it ran, server-side tools), as the whole part it was.
fn native<'a>(members: &[(Cow<'a, str>, Raw<'a>)], signature: Option<&str>) -> Block<'a> {
    let mut out = Vec::new();
    Writer::new(&mut out).object(|w| {
        for (name, value) in members {
            w.key(name).raw(*value);
        }
        if let Some(signature) = signature {
            w.key("thoughtSignature").str(signature);
        }
    });
    let json = String::from_utf8_lossy(&out).into_owned();
    Block::Thought(Thought {
        state: Some(Opaque {
            origin: Format::Gemini,
            domain: None,
            state: State::Native(json.into()),
        }),
        ..Thought::default()
    })
}
