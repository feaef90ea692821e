//! The IR to answers of Chat Completions.

use super::answer::{arguments_string, custom_input, of_text, reasoning_detail};
use super::chain::Chain;
use super::usage;
use crate::context::Context;
use crate::format::Format;
use crate::ir::{
    Block, Candidate, Citation, Logprob, Media, MediaKind, Opaque, Response, Source, State, TextBlock,
    Thought, ToolCall,
};
use crate::json::{Raw, Text, Writer};
use crate::names;
use crate::span;
use crate::stop::Stop;

pub(crate) use super::chain::MAX_SEALED_ID;

/// Tiers that Chat's SDKs know.
const TIERS: [&str; 6] = ["auto", "default", "flex", "scale", "priority", "fast"];

pub(super) fn encode(response: &Response<'_>, context: &Context) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    let mut w = Writer::new(&mut out);
    w.object(|w| {
        w.key("id").str(&names::answer_id(
            &response.id,
            context.client,
            &context.request_id,
        ));
        w.key("object").str("chat.completion");
        w.key("created").u64(response.created.unwrap_or(context.now));
        w.key("model")
            .str(response.model.as_deref().unwrap_or(&context.model));
        w.key("choices").array(|w| {
            for candidate in &response.candidates {
                choice(w.item(), candidate, context);
            }
        });
        if !response.usage.is_empty() {
            usage::chat(w.key("usage"), &response.usage);
        }
        let tier = response.service_tier.as_deref();
        if let Some(tier) = tier.filter(|tier| TIERS.contains(tier)) {
            w.key("service_tier").str(tier);
        }
        if let Some(fingerprint) = &response.fingerprint {
            w.key("system_fingerprint").text(fingerprint);
        }
    });
    out
}

fn choice(w: &mut Writer<'_>, candidate: &Candidate<'_>, context: &Context) {
    w.object(|w| {
        w.key("index").u64(candidate.index);
        message(w.key("message"), candidate, context);
        if candidate.logprobs.is_empty() {
            w.key("logprobs").null();
        } else {
            w.key("logprobs").object(|w| {
                w.key("content").array(|w| {
                    for token in &candidate.logprobs {
                        logprob(w.item(), token);
                    }
                });
                w.key("refusal").null();
            });
        }
        w.key("finish_reason")
            .str(candidate.stop.chat(context.legacy_functions));
    });
}

/// One token with its alternatives; bytes are the UTF-8 of the token.
pub(crate) fn logprob(w: &mut Writer<'_>, token: &Logprob<'_>) {
    let one = |w: &mut Writer<'_>, token: &Text<'_>, value: Raw<'_>, bytes: Option<Raw<'_>>| {
        w.key("token").text(token);
        w.key("logprob").raw(value);
        match bytes {
            Some(bytes) => w.key("bytes").raw(bytes),
            None => w.key("bytes").array(|w| {
                for byte in token.decode().bytes() {
                    w.item().u64(u64::from(byte));
                }
            }),
        }
    };
    w.object(|w| {
        one(w, &token.token, token.logprob, token.bytes);
        w.key("top_logprobs").array(|w| {
            for (alternative, value) in &token.top {
                w.item().object(|w| one(w, alternative, *value, None));
            }
        });
    });
}

fn message(w: &mut Writer<'_>, candidate: &Candidate<'_>, context: &Context) {
    let texts: Vec<&Text<'_>> = texts(candidate).map(|text| &text.text).collect();
    let calls = candidate
        .blocks
        .iter()
        .any(|block| matches!(block, Block::ToolCall(_)));
    let refusal = refusal(candidate, texts.is_empty());
    w.object(|w| {
        w.key("role").str("assistant");
        if !texts.is_empty() {
            super::parts::joined(w.key("content"), &texts, "");
        } else if calls || refusal.is_some() {
            w.key("content").null();
        } else {
            w.key("content").str("");
        }
        match refusal {
            Some(refusal) => w.key("refusal").text(refusal),
            None => w.key("refusal").null(),
        }
        reasoning(w, candidate, context);
        annotations(w, candidate);
        media(w, candidate, context);
        tool_calls(w, candidate, context);
    });
}

fn texts<'c, 'a>(candidate: &'c Candidate<'a>) -> impl Iterator<Item = &'c TextBlock<'a>> {
    candidate.blocks.iter().filter_map(|block| match block {
        Block::Text(text) => Some(text),
        _ => None,
    })
}

fn refusal<'c, 'a>(candidate: &'c Candidate<'a>, silent: bool) -> Option<&'c Text<'a>> {
    let block = candidate.blocks.iter().find_map(|block| {
        if let Block::Refusal(text) = block {
            Some(text)
        } else {
            None
        }
    });
    match &candidate.stop {
        Stop::Refusal {
            explanation: Some(text),
            ..
        } if silent => block.or(Some(text)),
        _ => block,
    }
}

/// Reasoning text for readers, and the sealed layout of the turn for the way back: one seal behind every state.
fn reasoning(w: &mut Writer<'_>, candidate: &Candidate<'_>, context: &Context) {
    let mut texts: Vec<&Text<'_>> = Vec::new();
    let mut seals: Vec<String> = Vec::new();
    let mut chain = Chain::default();
    for block in &candidate.blocks {
        match block {
            Block::Thought(thought) => {
                texts.extend(&thought.text);
                if carried(thought, context) {
                    chain.thought(thought);
                }
                if thought.state.as_ref().is_some_and(is_sealed) {
                    seals.push(chain.seal(context));
                }
            }
            Block::ToolCall(call) => {
                if let Some(state) = call.state.as_ref().filter(|state| is_sealed(state)) {
                    chain.state(&state.state);
                    seals.push(chain.seal(context));
                }
                chain.call();
            }
            Block::Text(text) => {
                if let Some(state) = text.state.as_ref().filter(|state| is_sealed(state)) {
                    chain.state(&of_text(state).state);
                    seals.push(chain.seal(context));
                }
                chain.text(&text.text);
            }
            _ => {}
        }
    }
    if chain.is_mixed() || chain.has_thoughts() {
        seals.push(chain.seal(context));
    }
    if !texts.is_empty() {
        super::parts::joined(w.key("reasoning_content"), &texts, "\n");
    }
    if !seals.is_empty() {
        w.key("reasoning_details").array(|w| {
            for (index, seal) in seals.iter().enumerate() {
                reasoning_detail(w.item(), seal, index);
            }
        });
    }
}

/// Plain reasoning text carries itself.
fn is_sealed(state: &Opaque<'_>) -> bool {
    !matches!(state.state, State::Plain)
}

/// Thoughts that have a place in the layout: those with state, and Gemini's, which go back even without.
fn carried(thought: &Thought<'_>, context: &Context) -> bool {
    match &thought.state {
        Some(state) => is_sealed(state),
        None => context.upstream == Format::Gemini,
    }
}

/// Web citations, counted over the whole content.
fn annotations(w: &mut Writer<'_>, candidate: &Candidate<'_>) {
    let mut before = 0;
    w.key("annotations").array(|w| {
        for block in texts(candidate) {
            let length = span::points(&block.text.decode());
            for citation in block.citations.iter().filter(|citation| citation.url.is_some()) {
                w.item().object(|w| {
                    w.key("type").str("url_citation");
                    w.key("url_citation")
                        .object(|w| placed_citation(w, citation, before, length));
                });
            }
            before += length;
        }
    });
}

/// Members of a web citation in a text that begins at `before`. Anthropic's citations mean the whole text.
pub(super) fn placed_citation(w: &mut Writer<'_>, citation: &Citation<'_>, before: u64, length: u64) {
    let whole = matches!(citation.native, Some((Format::Messages, _))).then_some((0, length));
    let range = citation
        .range
        .or(whole)
        .map(|(start, end)| (before + start, before + end));
    url_citation(
        w,
        &Citation {
            range,
            ..citation.clone()
        },
    );
}

/// Members of a web citation.
pub(crate) fn url_citation(w: &mut Writer<'_>, citation: &Citation<'_>) {
    let (start, end) = citation.range.unwrap_or((0, 0));
    w.key("start_index").u64(start);
    w.key("end_index").u64(end);
    w.key("title")
        .text(citation.title.as_ref().unwrap_or(&Text::default()));
    w.key("url")
        .text(citation.url.as_ref().unwrap_or(&Text::default()));
}

/// Images in the dialect that several servers share; sound in Chat's own place.
fn media(w: &mut Writer<'_>, candidate: &Candidate<'_>, context: &Context) {
    let of_kind = |kind: MediaKind| {
        let media = candidate.blocks.iter().filter_map(|block| match block {
            Block::Media(media) => Some(media),
            _ => None,
        });
        media.filter(move |media| media.kind == kind && matches!(media.source, Source::Base64 { .. }))
    };
    if of_kind(MediaKind::Image).next().is_some() {
        w.key("images").array(|w| {
            for media in of_kind(MediaKind::Image) {
                w.item().object(|w| {
                    w.key("type").str("image_url");
                    w.key("image_url")
                        .object(|w| super::chat_request::url(w.key("url"), &media.source));
                });
            }
        });
    }
    if let Some(Media {
        source: Source::Base64 { data, .. },
        ..
    }) = of_kind(MediaKind::Audio).next()
    {
        w.key("audio").object(|w| {
            let id = names::hash(&[b"audio", context.request_id.as_bytes()], 22);
            w.key("id").str(&format!("audio_{id}"));
            w.key("data").text(data);
            // Nothing is kept for a later request to refer to.
            w.key("expires_at").u64(context.now);
            w.key("transcript").str("");
        });
    }
}

fn tool_calls(w: &mut Writer<'_>, candidate: &Candidate<'_>, context: &Context) {
    let mut calls = candidate.blocks.iter().filter_map(|block| match block {
        Block::ToolCall(call) => Some(call),
        _ => None,
    });
    let Some(first) = calls.next() else { return };
    if context.legacy_functions {
        return w.key("function_call").object(|w| {
            w.key("name").str(&first.name);
            arguments_string(w.key("arguments"), &first.arguments);
        });
    }
    // Chat clients echo ids but rarely other members: the layout rides on them too (conversion.md 7.3).
    let mut chain = Chain::default();
    w.key("tool_calls").array(|w| {
        for block in &candidate.blocks {
            match block {
                Block::Text(text) => {
                    if let Some(state) = text.state.as_ref().filter(|state| is_sealed(state)) {
                        chain.state(&of_text(state).state);
                    }
                    chain.text(&text.text);
                }
                Block::Thought(thought) if carried(thought, context) => chain.thought(thought),
                Block::ToolCall(call) => {
                    if let Some(state) = call.state.as_ref().filter(|state| is_sealed(state)) {
                        chain.state(&state.state);
                    }
                    let id = chain.on_id(&call.id, context);
                    chain.call();
                    tool_call(w.item(), call, &id, context);
                }
                _ => {}
            }
        }
    });
}

fn tool_call(w: &mut Writer<'_>, call: &ToolCall<'_>, id: &str, context: &Context) {
    w.object(|w| {
        w.key("id").str(id);
        if context
            .tools
            .values()
            .any(|tool| tool.custom && tool.name == call.name)
        {
            w.key("type").str("custom");
            w.key("custom").object(|w| {
                w.key("name").str(&call.name);
                w.key("input").text(&custom_input(&call.arguments));
            });
            return;
        }
        w.key("type").str("function");
        w.key("function").object(|w| {
            w.key("name").str(&call.name);
            arguments_string(w.key("arguments"), &call.arguments);
        });
        google_extra(w, call.state.as_ref());
    });
}

/// Google's own place for the signature in Chat.
pub(crate) fn google_extra(w: &mut Writer<'_>, state: Option<&Opaque<'_>>) {
    if let Some(Opaque {
        state: State::CallSignature(signature),
        ..
    }) = state
    {
        w.key("extra_content").object(|w| {
            w.key("google")
                .object(|w| w.key("thought_signature").str(signature))
        });
    }
}
