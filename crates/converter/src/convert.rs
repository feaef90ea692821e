//! The entry points: whole requests and whole answers.

use std::borrow::Cow;

use crate::context::Context;
use crate::error::Error;
use crate::failure::{Failure, FailureClass};
use crate::format::Format;
use crate::ir::{Block, Candidate, MediaKind, Opaque, Response};
use crate::json::{self, Writer};
use crate::particulars::Particulars;
use crate::report::Report;
use crate::scan::scan;
use crate::scrub::scrub;
use crate::stop::Stop;
use crate::target::{Options, Source, Target};
use crate::usage::Usage;
use crate::{decode, encode, names, prepare, unseal};

/// A converted request.
#[derive(Clone, Debug)]
pub struct Converted {
    /// The upstream's body.
    pub body: Vec<u8>,
    /// What the way back needs.
    pub context: Context,
    /// What was lost.
    pub report: Report,
}

/// A converted answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The client's body.
    pub body: Vec<u8>,
    /// Token usage.
    pub usage: Usage,
    /// The upstream's own finish reason, if its mapping is not one to one.
    pub native_finish: Option<String>,
    /// What the client's format could not show, for `x-gateway-dropped`: `grounding.searchEntryPoint`, `content.image`.
    pub dropped: Vec<Cow<'static, str>>,
}

/// Converts a request body between two formats.
///
/// # Errors
/// The body is not a request of the client's format, or holds something of class M that the upstream cannot carry.
pub fn convert_request(
    body: &[u8],
    source: &Source<'_>,
    target: &Target<'_>,
    options: &Options,
) -> Result<Converted, Error> {
    let text = json::text(body)?;
    let mut report = Report::new(source.format, target.format, options.mode);
    if source.format == target.format {
        return relay(text, source, target, options, report);
    }
    let mut request = decode::request(text, source)?;
    unseal::unseal(&mut request, options.seal_key.as_ref(), &mut report);
    prepare::prepare(&mut request, target, &mut report)?;
    let encoded = encode::request(&request, target, options, &mut report)?;
    let context = prepare::context(&request, source, target, options, text);
    Ok(Converted {
        body: encoded,
        context,
        report,
    })
}

/// The same format on both sides: the bytes stay, but for the model's name and the seals (conversion.md 2.6, 7.6).
fn relay(
    text: &str,
    source: &Source<'_>,
    target: &Target<'_>,
    options: &Options,
    mut report: Report,
) -> Result<Converted, Error> {
    let scrubbed = scrub(
        text.as_bytes(),
        target.format,
        target.domain,
        options.seal_key.as_ref(),
    );
    let mut body = match scrubbed {
        None => text.as_bytes().to_vec(),
        Some(scrubbed) => {
            report.states_restored = scrubbed.restored;
            report.states_dropped = scrubbed.dropped;
            report.state_reason = scrubbed.reason;
            scrubbed.body
        }
    };
    let mut name = Vec::with_capacity(target.model.len() + 2);
    Writer::new(&mut name).str(target.model);
    // From behind, so that the places in front keep theirs.
    for place in scan(&body)?.model_at.into_iter().rev() {
        body.splice(place, name.iter().copied());
    }
    // What no decoder knows is not our business here; the way back needs little of it.
    let request = decode::request(text, source).unwrap_or_default();
    let context = prepare::context(&request, source, target, options, text);
    Ok(Converted {
        body,
        context,
        report,
    })
}

/// Converts a whole answer back to the client's format.
///
/// # Errors
/// The upstream's body is not an answer, is an error document, or an answer with nothing in it.
pub fn convert_response(body: &[u8], context: &Context) -> Result<Answer, Failure> {
    convert_response_noting(body, context, None)
}

/// [`convert_response`], noting on the way what the answer says of itself.
///
/// # Errors
/// As [`convert_response`].
pub fn convert_response_noting(
    body: &[u8],
    context: &Context,
    notes: Option<&mut Particulars>,
) -> Result<Answer, Failure> {
    let text = json::text(body)
        .map_err(|_| Failure::new(FailureClass::UpstreamBad, "the upstream's answer is not UTF-8"))?;
    let mut response = judge(text, context)?;
    if let Some(notes) = notes {
        note(&response, context.upstream, notes);
    }
    settle_all(&mut response, context)?;
    let first = response.candidates.first();
    let native_finish = first
        .and_then(|candidate| candidate.native_stop.clone())
        .map(Cow::into_owned);
    Ok(Answer {
        body: encode::response(&response, context),
        dropped: losses(&response, context.client),
        usage: response.usage,
        native_finish,
    })
}

/// Before reasons are settled: the upstream's own words are wanted.
fn note(response: &Response<'_>, upstream: Format, notes: &mut Particulars) {
    notes.begin(&response.id, response.model.as_deref());
    for candidate in &response.candidates {
        let number = u32::try_from(candidate.index).unwrap_or(u32::MAX);
        notes.finish(number, candidate.stop.word(upstream));
    }
}

/// Decodes, judges and settles a whole answer: what a stream gets when the upstream does not stream.
pub(crate) fn read_response<'a>(text: &'a str, context: &Context) -> Result<Response<'a>, Failure> {
    let mut response = judge(text, context)?;
    settle_all(&mut response, context)?;
    Ok(response)
}

/// Decodes a whole answer and judges whether it is one.
fn judge<'a>(text: &'a str, context: &Context) -> Result<Response<'a>, Failure> {
    let decoded = decode::response(text, context.upstream);
    // Only what does not look like an answer is worth a second look for an error document.
    let suspect = decoded.as_ref().map_or(true, |response| {
        response.candidates.is_empty()
            || response
                .candidates
                .iter()
                .any(|candidate| matches!(candidate.stop, Stop::Failed(_)))
    });
    if let Some(failed) = suspect.then(|| in_band(text)).flatten() {
        return Err(failed);
    }
    let response = decoded.map_err(|_| {
        Failure::new(
            FailureClass::UpstreamBad,
            "The provider's answer could not be read.",
        )
    })?;
    if response.candidates.is_empty() {
        let empty = Failure::new(FailureClass::UpstreamBad, "The provider's answer is empty.");
        return Err(Failure {
            code: Some("empty_response"),
            ..empty
        });
    }
    Ok(response)
}

/// What the answer holds becomes what this client can be told.
fn settle_all(response: &mut Response<'_>, context: &Context) -> Result<(), Failure> {
    for candidate in &mut response.candidates {
        settle(candidate, context.client)?;
    }
    tools_back(response, context);
    Ok(())
}

/// Why the answer ended, judged by what it holds (conversion.md 12.4). What is no answer is a failure.
fn settle(candidate: &mut Candidate<'_>, client: Format) -> Result<(), Failure> {
    let has = |kind: fn(&Block<'_>) -> bool| candidate.blocks.iter().any(kind);
    let calls = has(|block| matches!(block, Block::ToolCall(_)));
    let said = has(|block| matches!(block, Block::Text(text) if !text.text.is_empty()));
    let refusal = candidate.blocks.iter().find_map(|block| match block {
        Block::Refusal(text) => Some(text.clone()),
        _ => None,
    });
    let mut stop = std::mem::take(&mut candidate.stop).corrected(calls);
    if !calls && !said && refusal.is_some() && matches!(stop, Stop::EndTurn | Stop::Unknown(_)) {
        stop = Stop::Refusal {
            category: None,
            explanation: refusal,
        };
    }
    // Only two formats can say inside an answer that it failed.
    let says_failed = matches!(client, Format::Responses | Format::Gemini);
    let failure = match &stop {
        Stop::Malformed(_) if !has_content(&candidate.blocks) => {
            Some("The model produced an unreadable tool call.")
        }
        Stop::Failed(_) if !says_failed || !has_content(&candidate.blocks) => {
            Some("The provider reports that the answer failed.")
        }
        _ => None,
    };
    candidate.stop = stop;
    match failure {
        Some(why) => Err(Failure::new(FailureClass::UpstreamBad, why)),
        None => Ok(()),
    }
}

/// What stands in an answer and cannot be shown to this client.
fn losses(response: &Response<'_>, client: Format) -> Vec<Cow<'static, str>> {
    let mut dropped: Vec<Cow<'static, str>> = response
        .dropped
        .iter()
        .filter(|_| client != Format::Gemini)
        .cloned()
        .collect();
    let mut add = |what: &'static str| {
        if !dropped.iter().any(|known| known == what) {
            dropped.push(what.into());
        }
    };
    for block in response.candidates.iter().flat_map(|candidate| &candidate.blocks) {
        match block {
            Block::Media(media) => match (media.kind, client) {
                (_, Format::Gemini) | (MediaKind::Image, Format::Chat | Format::Responses) => {}
                (MediaKind::Audio, Format::Chat) => {}
                (MediaKind::Image, _) => add("content.image"),
                (MediaKind::Audio, _) => add("content.audio"),
                (MediaKind::Video | MediaKind::Document, _) => add("content.media"),
            },
            Block::Text(text) => {
                let shown = text.citations.iter().all(|citation| match client {
                    Format::Chat => citation.url.is_some(),
                    Format::Responses | Format::Gemini => citation.url.is_some() || citation.file.is_some(),
                    // Its citations need an index that only Anthropic can make.
                    Format::Messages => false,
                });
                if !shown {
                    add("content.citations");
                }
            }
            _ => {}
        }
    }
    if let Some(counter) = response.usage.contradiction() {
        add(counter);
    }
    dropped
}

/// An error document in place of an answer.
pub(crate) fn in_band(text: &str) -> Option<Failure> {
    let error = crate::failure::document(text)?;
    let unknown =
        error.kind.is_empty() && error.code.is_empty() && error.status.is_none() && error.message.is_empty();
    (!unknown).then(|| crate::failure::from_upstream(None, &|_| None, text.as_bytes(), true))
}

fn has_content(blocks: &[Block<'_>]) -> bool {
    blocks.iter().any(|block| match block {
        Block::Text(text) => !text.text.is_empty(),
        Block::Thought(_) => false,
        _ => true,
    })
}

/// Gives tool calls the client's names and ids, and states their owner.
fn tools_back(response: &mut Response<'_>, context: &Context) {
    // The answer's own id makes the ids of its calls; only where it has none does the gateway's.
    let seed = if response.id.is_empty() {
        context.request_id.clone()
    } else {
        response.id.clone().into_owned()
    };
    for (number, candidate) in response.candidates.iter_mut().enumerate() {
        for (index, block) in candidate.blocks.iter_mut().enumerate() {
            match block {
                Block::ToolCall(call) => {
                    if call.id.is_empty() {
                        let place = format!("{number}.{index}.{}", call.name);
                        call.id = names::synthetic_call(&seed, &place).into();
                    }
                    if let Some(tool) = context.tools.get(call.name.as_ref()) {
                        call.namespace = tool.namespace.clone().map(Into::into);
                        call.name = tool.name.clone().into();
                    }
                    set_owner(call.state.as_mut(), context);
                }
                Block::Thought(thought) => set_owner(thought.state.as_mut(), context),
                Block::Text(text) => set_owner(text.state.as_mut(), context),
                _ => {}
            }
        }
    }
}

/// State goes back to the channel it came from, in that channel's format (Google's signatures may come in Chat's).
fn set_owner(state: Option<&mut Opaque<'_>>, context: &Context) {
    if let Some(state) = state {
        state.origin = context.upstream;
        state.domain = Some(context.domain);
    }
}
