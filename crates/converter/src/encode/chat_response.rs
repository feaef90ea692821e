//! The IR to answers of Chat Completions.

use super::answer::{arguments_string, custom_input, reasoning_detail, slot};
use super::usage;
use crate::context::Context;
use crate::ir::{Block, Candidate, Citation, Logprob, Media, Opaque, Response, Source, State, ToolCall};
use crate::json::{Text, Writer};
use crate::names;
use crate::stop::Stop;

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
        usage::chat(w.key("usage"), &response.usage);
        if let Some(tier) = &response.service_tier {
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
    let one = |w: &mut Writer<'_>, token: &Text<'_>, value: crate::json::Raw<'_>| {
        w.key("token").text(token);
        w.key("logprob").raw(value);
        w.key("bytes").array(|w| {
            for byte in token.decode().bytes() {
                w.item().u64(u64::from(byte));
            }
        });
    };
    w.object(|w| {
        one(w, &token.token, token.logprob);
        w.key("top_logprobs").array(|w| {
            for (alternative, value) in &token.top {
                w.item().object(|w| one(w, alternative, *value));
            }
        });
    });
}

fn message(w: &mut Writer<'_>, candidate: &Candidate<'_>, context: &Context) {
    let texts: Vec<&Text<'_>> = candidate
        .blocks
        .iter()
        .filter_map(|block| {
            if let Block::Text(text) = block {
                Some(&text.text)
            } else {
                None
            }
        })
        .collect();
    let calls: Vec<&ToolCall<'_>> = candidate
        .blocks
        .iter()
        .filter_map(|block| {
            if let Block::ToolCall(call) = block {
                Some(call)
            } else {
                None
            }
        })
        .collect();
    let refusal = refusal(candidate, texts.is_empty());
    w.object(|w| {
        w.key("role").str("assistant");
        if texts.is_empty() {
            if calls.is_empty() && refusal.is_none() {
                w.key("content").str("")
            } else {
                w.key("content").null()
            }
        } else {
            super::parts::joined(w.key("content"), &texts, "");
        }
        match refusal {
            Some(refusal) => w.key("refusal").text(refusal),
            None => w.key("refusal").null(),
        }
        reasoning(w, candidate, context);
        annotations(w, candidate);
        images(w, candidate);
        tool_calls(w, candidate, &calls, context);
    });
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

fn reasoning(w: &mut Writer<'_>, candidate: &Candidate<'_>, context: &Context) {
    let mut texts: Vec<&Text<'_>> = Vec::new();
    let mut seals: Vec<String> = Vec::new();
    for block in &candidate.blocks {
        match block {
            Block::Thought(thought) => {
                texts.extend(&thought.text);
                seals.extend(thought.state.as_ref().and_then(|state| slot(state, context)));
            }
            Block::ToolCall(call) => seals.extend(call.state.as_ref().and_then(|state| slot(state, context))),
            Block::Text(text) => seals.extend(text.state.as_ref().and_then(|state| slot(state, context))),
            _ => {}
        }
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

fn annotations(w: &mut Writer<'_>, candidate: &Candidate<'_>) {
    let cited: Vec<&Citation<'_>> = candidate
        .blocks
        .iter()
        .filter_map(|block| {
            if let Block::Text(text) = block {
                Some(&text.citations)
            } else {
                None
            }
        })
        .flatten()
        .filter(|citation| citation.url.is_some())
        .collect();
    w.key("annotations").array(|w| {
        for citation in cited {
            w.item().object(|w| {
                w.key("type").str("url_citation");
                w.key("url_citation").object(|w| url_citation(w, citation));
            });
        }
    });
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

fn images(w: &mut Writer<'_>, candidate: &Candidate<'_>) {
    let images: Vec<&Media<'_>> = candidate
        .blocks
        .iter()
        .filter_map(|block| {
            if let Block::Media(media) = block {
                Some(media)
            } else {
                None
            }
        })
        .filter(|media| matches!(media.source, Source::Base64 { .. }))
        .collect();
    if images.is_empty() {
        return;
    }
    w.key("images").array(|w| {
        for media in images {
            w.item().object(|w| {
                w.key("type").str("image_url");
                w.key("image_url")
                    .object(|w| super::chat_request::url(w.key("url"), &media.source));
            });
        }
    });
}

fn tool_calls(w: &mut Writer<'_>, candidate: &Candidate<'_>, calls: &[&ToolCall<'_>], context: &Context) {
    let Some(first) = calls.first() else { return };
    if context.legacy_functions {
        return w.key("function_call").object(|w| {
            w.key("name").str(&first.name);
            arguments_string(w.key("arguments"), &first.arguments);
        });
    }
    w.key("tool_calls").array(|w| {
        let mut sealed = first_state(candidate);
        for call in calls {
            // Chat clients echo ids but rarely other members: the state rides on the first id too (conversion.md 7.3).
            let own = call.state.as_ref();
            let id = match own
                .or(sealed.take())
                .filter(|_| context.declares_tools)
                .and_then(|state| slot(state, context))
            {
                Some(seal) if call.id.len() + seal.len() < MAX_SEALED_ID => names::with_seal(&call.id, &seal),
                _ => call.id.clone().into_owned(),
            };
            tool_call(w.item(), call, &id, context);
        }
    });
}

/// Longest id that carries a seal, bytes.
pub(crate) const MAX_SEALED_ID: usize = 4_096;

/// The last state in front of the first call.
fn first_state<'c, 'a>(candidate: &'c Candidate<'a>) -> Option<&'c Opaque<'a>> {
    let before = candidate
        .blocks
        .iter()
        .take_while(|block| !matches!(block, Block::ToolCall(_)));
    let states = before.filter_map(|block| {
        if let Block::Thought(thought) = block {
            thought.state.as_ref()
        } else {
            None
        }
    });
    states.last()
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
