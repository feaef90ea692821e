//! The IR to answers of generateContent.

use super::answer::{arguments_object, slot, text_slot, thought_slot};
use super::grounding::Cited;
use super::hosted::{self, Hosted};
use super::usage;
use crate::context::Context;
use crate::date;
use crate::ir::{Block, Candidate, Response, Source, State, Thought, ToolCall};
use crate::json::{Raw, Text, Writer};
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
        if !response.usage.is_empty() {
            let tier = response.service_tier.as_deref();
            usage::gemini_with_tier(w.key("usageMetadata"), &response.usage, tier);
        }
        if let Some(created) = response.created {
            w.key("createTime").str(&date::rfc3339(created));
        }
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
    let mut cited = Cited::default();
    w.object(|w| {
        w.key("content").object(|w| {
            w.key("parts").array(|w| parts(w, candidate, context, &mut cited));
            w.key("role").str("model");
        });
        w.key("finishReason").str(candidate.stop.gemini());
        match &candidate.stop {
            Stop::Refusal {
                explanation: Some(text),
                ..
            } => w.key("finishMessage").text(text),
            Stop::Continuation(token) if !token.is_empty() => w.key("continuationToken").text(token),
            _ => {}
        }
        w.key("index").u64(candidate.index);
        if !candidate.logprobs.is_empty() {
            w.key("logprobsResult").object(|w| logprobs(w, candidate));
        }
        cited.write(w, candidate);
    });
}

/// What OpenAI writes for a token that practically never comes; Gemini leaves the value out.
fn is_never(value: Raw<'_>) -> bool {
    value.get().parse::<f64>().is_ok_and(|value| value <= -9999.0)
}

fn logprobs(w: &mut Writer<'_>, candidate: &Candidate<'_>) {
    let one = |w: &mut Writer<'_>, token: &Text<'_>, value: Raw<'_>| {
        w.object(|w| {
            w.key("token").text(token);
            if !is_never(value) {
                w.key("logProbability").raw(value);
            }
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

fn parts(w: &mut Writer<'_>, candidate: &Candidate<'_>, context: &Context, cited: &mut Cited) {
    // Gemini's own signature of a call goes on the call; other state stays with the thought it belongs to.
    let mut pending: Option<String> = None;
    let mut count = 0;
    for (index, block) in candidate.blocks.iter().enumerate() {
        match block {
            Block::Text(text) if text.text.is_empty() => {}
            Block::Text(text) => {
                let seal = text.state.as_ref().and_then(|state| text_slot(state, context));
                cited.text(count, index);
                text_part(w.item(), &text.text, seal);
                count += 1;
            }
            Block::Refusal(text) => {
                text_part(w.item(), text, None);
                count += 1;
            }
            Block::Thought(thought) => {
                let state = thought.state.as_ref();
                let of_call = state.is_some_and(|state| matches!(state.state, State::CallSignature(_)));
                let seal = thought_slot(thought, context)
                    .filter(|_| !matches!(state, Some(state) if matches!(state.state, State::Plain)));
                if of_call {
                    pending.clone_from(&seal);
                }
                count += thought_parts(w, thought, seal.filter(|_| !of_call), context);
                count += code_parts(w, block);
            }
            Block::ToolCall(call) => {
                let own = call.state.as_ref().and_then(|state| slot(state, context));
                function_call(w.item(), call, own.or(pending.take()));
                count += 1;
            }
            Block::Media(media) => {
                if let Source::Base64 { mime, data } = &media.source {
                    w.item().object(|w| {
                        w.key("inlineData").object(|w| {
                            w.key("mimeType").str(mime);
                            w.key("data").text(data);
                        });
                    });
                    count += 1;
                }
            }
            Block::ToolResult(_) | Block::Native(_) => {}
        }
    }
    if count == 0 {
        w.item().object(|w| w.key("text").str(""));
    }
}

/// Code that the vendor ran, visible as Gemini shows its own; returns how many parts that were.
fn code_parts(w: &mut Writer<'_>, block: &Block<'_>) -> u64 {
    let code = |w: &mut Writer<'_>, code: &Text<'_>| {
        w.object(|w| {
            w.key("executableCode").object(|w| {
                w.key("language").str("PYTHON");
                w.key("code").text(code);
            });
        });
    };
    let result = |w: &mut Writer<'_>, output: &str| {
        w.object(|w| {
            w.key("codeExecutionResult").object(|w| {
                w.key("outcome").str("OUTCOME_OK");
                w.key("output").str(output);
            });
        });
    };
    match hosted::of_block(block) {
        Some(Hosted::Code(text, None)) => {
            code(w.item(), &text);
            1
        }
        Some(Hosted::Code(text, Some(output))) => {
            code(w.item(), &text);
            result(w.item(), &output);
            2
        }
        Some(Hosted::CodeResult(output)) => {
            result(w.item(), &output);
            1
        }
        _ => 0,
    }
}

/// Writes a thought part and returns 1, or nothing and 0.
fn thought_parts(w: &mut Writer<'_>, thought: &Thought<'_>, seal: Option<String>, context: &Context) -> u64 {
    let texts: Vec<&Text<'_>> = thought.text.iter().filter(|_| context.include_thoughts).collect();
    if texts.is_empty() && seal.is_none() {
        return 0;
    }
    w.item().object(|w| {
        super::parts::joined(w.key("text"), &texts, "\n");
        w.key("thought").bool(true);
        if let Some(seal) = seal {
            w.key("thoughtSignature").str(&standard(&seal));
        }
    });
    1
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
