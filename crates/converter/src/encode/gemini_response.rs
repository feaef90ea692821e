//! The IR to answers of generateContent.

use super::answer::{arguments_object, slot};
use super::usage;
use crate::context::Context;
use crate::ir::{Block, Candidate, Response, Source, State, Thought, ToolCall};
use crate::json::{Text, Writer};
use crate::names;
use crate::stop::Stop;

pub(super) fn encode(response: &Response<'_>, context: &Context) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    let mut w = Writer::new(&mut out);
    w.object(|w| {
        let blocked = response.candidates.first().and_then(blocked_prompt);
        match blocked {
            Some(reason) => w
                .key("promptFeedback")
                .object(|w| w.key("blockReason").str(reason)),
            None => w.key("candidates").array(|w| {
                for answer in &response.candidates {
                    candidate(w.item(), answer, context);
                }
            }),
        }
        usage::gemini(w.key("usageMetadata"), &response.usage);
        w.key("modelVersion")
            .str(response.model.as_deref().unwrap_or(&context.model));
        w.key("responseId").str(&names::answer_id(
            &response.id,
            context.client,
            &context.request_id,
        ));
    });
    out
}

fn blocked_prompt(candidate: &Candidate<'_>) -> Option<&'static str> {
    match &candidate.stop {
        Stop::Filtered(name) if candidate.blocks.is_empty() && name.starts_with("prompt:") => {
            Some(if name.ends_with("SAFETY") {
                "SAFETY"
            } else {
                "OTHER"
            })
        }
        _ => None,
    }
}

fn candidate(w: &mut Writer<'_>, candidate: &Candidate<'_>, context: &Context) {
    w.object(|w| {
        w.key("content").object(|w| {
            w.key("parts").array(|w| {
                parts(w, candidate, context);
                if w.bytes().last() == Some(&b'[') {
                    w.item().object(|w| w.key("text").str(""));
                }
            });
            w.key("role").str("model");
        });
        w.key("finishReason").str(candidate.stop.gemini());
        if let Stop::Refusal {
            explanation: Some(text),
            ..
        } = &candidate.stop
        {
            w.key("finishMessage").text(text);
        }
        w.key("index").u64(candidate.index);
        if !candidate.logprobs.is_empty() {
            w.key("logprobsResult").object(|w| logprobs(w, candidate));
        }
    });
}

fn logprobs(w: &mut Writer<'_>, candidate: &Candidate<'_>) {
    let one = |w: &mut Writer<'_>, token: &Text<'_>, value: crate::json::Raw<'_>| {
        w.object(|w| {
            w.key("token").text(token);
            w.key("logProbability").raw(value);
        });
    };
    w.key("chosenCandidates").array(|w| {
        for token in &candidate.logprobs {
            one(w.item(), &token.token, token.logprob);
        }
    });
    w.key("topCandidates").array(|w| {
        for token in &candidate.logprobs {
            w.item().object(|w| {
                w.key("candidates").array(|w| {
                    for (alternative, value) in &token.top {
                        one(w.item(), alternative, *value);
                    }
                });
            });
        }
    });
}

fn parts(w: &mut Writer<'_>, candidate: &Candidate<'_>, context: &Context) {
    // Gemini's own signature of a call goes on the call; other state stays with the thought it belongs to.
    let mut pending: Option<String> = None;
    for block in &candidate.blocks {
        match block {
            Block::Text(text) if text.text.is_empty() => {}
            Block::Text(text) => text_part(
                w.item(),
                &text.text,
                text.state.as_ref().and_then(|state| slot(state, context)),
            ),
            Block::Refusal(text) => text_part(w.item(), text, None),
            Block::Thought(thought) => {
                let state = thought.state.as_ref();
                let seal = state
                    .filter(|state| !matches!(state.state, State::Plain))
                    .and_then(|state| slot(state, context));
                let of_call = state.is_some_and(|state| matches!(state.state, State::CallSignature(_)));
                if of_call {
                    pending.clone_from(&seal);
                }
                thought_parts(w, thought, seal.filter(|_| !of_call), context);
            }
            Block::ToolCall(call) => {
                let own = call.state.as_ref().and_then(|state| slot(state, context));
                function_call(w.item(), call, own.or(pending.take()));
            }
            Block::Media(media) => {
                if let Source::Base64 { mime, data } = &media.source {
                    w.item().object(|w| {
                        w.key("inlineData").object(|w| {
                            w.key("mimeType").str(mime);
                            w.key("data").text(data);
                        });
                    });
                }
            }
            Block::ToolResult(_) | Block::Native(_) => {}
        }
    }
}

fn thought_parts(w: &mut Writer<'_>, thought: &Thought<'_>, seal: Option<String>, context: &Context) {
    let texts: Vec<&Text<'_>> = thought.text.iter().filter(|_| context.include_thoughts).collect();
    if texts.is_empty() && !(seal.is_some() && context.declares_tools) {
        return;
    }
    w.item().object(|w| {
        super::parts::joined(w.key("text"), &texts, "\n");
        w.key("thought").bool(true);
        if let Some(seal) = seal {
            w.key("thoughtSignature").str(&standard(&seal));
        }
    });
}

fn text_part(w: &mut Writer<'_>, text: &Text<'_>, seal: Option<String>) {
    w.object(|w| {
        w.key("text").text(text);
        if let Some(seal) = seal {
            w.key("thoughtSignature").str(&standard(&seal));
        }
    });
}

/// Gemini's signatures are bytes in standard base64: SDKs decode and encode them.
pub(crate) fn standard(seal: &str) -> String {
    let mut text = seal.replace('-', "+").replace('_', "/");
    while !text.len().is_multiple_of(4) {
        text.push('=');
    }
    text
}

fn function_call(w: &mut Writer<'_>, call: &ToolCall<'_>, seal: Option<String>) {
    w.object(|w| {
        w.key("functionCall").object(|w| {
            w.key("id").str(&call.id);
            w.key("name").str(&call.name);
            arguments_object(w.key("args"), &call.arguments);
        });
        if let Some(seal) = seal {
            w.key("thoughtSignature").str(&standard(&seal));
        }
    });
}
