//! The IR to answers of Responses.

use super::answer::{arguments_string, custom_input, slot};
use super::usage;
use crate::context::Context;
use crate::ir::{Block, Candidate, Citation, Response, Thought, ToolCall};
use crate::json::{Text, Writer};
use crate::names;
use crate::stop::Stop;
use crate::usage::Usage;

pub(super) fn encode(response: &Response<'_>, context: &Context) -> Vec<u8> {
    let mut out = Vec::with_capacity(2048);
    let nothing = Candidate::default();
    let candidate = response.candidates.first().unwrap_or(&nothing);
    let head = Head {
        id: names::answer_id(&response.id, context.client, &context.request_id),
        created: response.created.unwrap_or(context.now),
        model: response.model.as_deref().unwrap_or(&context.model).to_owned(),
    };
    let mut items = Vec::new();
    output(&mut Writer::new(&mut items), candidate, context, &head.id);
    let ending = Ending {
        stop: Some(&candidate.stop),
        usage: Some(&response.usage),
        error: None,
    };
    object(&mut Writer::new(&mut out), &head, &ending, &items, context);
    out
}

/// What stays the same in all events of an answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head {
    pub(crate) id: String,
    pub(crate) created: u64,
    pub(crate) model: String,
}

/// How an answer ended; nothing in it: it is under way.
#[derive(Default)]
pub(crate) struct Ending<'e> {
    pub(crate) stop: Option<&'e Stop<'e>>,
    pub(crate) usage: Option<&'e Usage>,
    pub(crate) error: Option<&'e crate::failure::Failure>,
}

/// Writes a whole response object; `items` are the JSON items of `output`, separated by commas.
pub(crate) fn object(w: &mut Writer<'_>, head: &Head, ending: &Ending<'_>, items: &[u8], context: &Context) {
    let incomplete = ending.stop.and_then(Stop::incomplete);
    let status = match (ending.error, ending.stop) {
        (Some(_), _) => "failed",
        (None, None) => "in_progress",
        (None, Some(_)) if incomplete.is_some() => "incomplete",
        (None, Some(_)) => "completed",
    };
    w.object(|w| {
        w.key("id").str(&head.id);
        w.key("object").str("response");
        w.key("created_at").u64(head.created);
        w.key("status").str(status);
        match ending.error {
            Some(failure) => failure.write_responses_error(w.key("error")),
            None => w.key("error").null(),
        }
        match incomplete {
            Some(reason) => w
                .key("incomplete_details")
                .object(|w| w.key("reason").str(reason)),
            None => w.key("incomplete_details").null(),
        }
        w.key("model").str(&head.model);
        w.key("output").array(|w| w.bytes().extend_from_slice(items));
        match ending.usage {
            Some(counted) => usage::responses(w.key("usage"), counted),
            None => w.key("usage").null(),
        }
        if !context.echo.is_empty() {
            w.bytes().push(b',');
            w.raw_members(&context.echo);
        }
    });
}

/// The id of the item at a place: deterministic (conversion.md 12.1).
pub(crate) fn item_id(prefix: &str, answer: &str, place: usize) -> String {
    format!(
        "{prefix}{}",
        names::hash(&[answer.as_bytes(), &place.to_le_bytes()], 22)
    )
}

fn output(w: &mut Writer<'_>, candidate: &Candidate<'_>, context: &Context, answer: &str) {
    let mut place = 0;
    let mut message: Vec<&Block<'_>> = Vec::new();
    for block in &candidate.blocks {
        if matches!(block, Block::Text(_) | Block::Refusal(_)) {
            message.push(block);
            continue;
        }
        flush_message(w, &mut message, candidate, answer, &mut place);
        match block {
            Block::Thought(thought) => thought_item(w, thought, context, answer, &mut place),
            Block::ToolCall(call) => {
                if let Some(seal) = call.state.as_ref().and_then(|state| slot(state, context)) {
                    reasoning(
                        next(w),
                        &item_id("rs_", answer, place),
                        &[],
                        Some(&seal).filter(|_| context.include_encrypted),
                    );
                    place += 1;
                }
                call_item(next(w), call, answer, place, context);
                place += 1;
            }
            _ => {}
        }
    }
    let explained = if let Stop::Refusal {
        explanation: Some(text),
        ..
    } = &candidate.stop
    {
        Some(text)
    } else {
        None
    };
    if let (true, Some(text)) = (message.is_empty() && place == 0, explained) {
        next(w).object(|w| {
            message_head(w, &item_id("msg_", answer, place));
            w.key("content").array(|w| refusal_part(w.item(), text));
        });
        return;
    }
    flush_message(w, &mut message, candidate, answer, &mut place);
}

fn next<'w, 'o>(w: &'w mut Writer<'o>) -> &'w mut Writer<'o> {
    if !w.bytes().is_empty() {
        w.bytes().push(b',');
    }
    w
}

fn message_head(w: &mut Writer<'_>, id: &str) {
    w.key("id").str(id);
    w.key("type").str("message");
    w.key("status").str("completed");
    w.key("role").str("assistant");
}

fn flush_message(
    w: &mut Writer<'_>,
    message: &mut Vec<&Block<'_>>,
    candidate: &Candidate<'_>,
    answer: &str,
    place: &mut usize,
) {
    if message.is_empty() {
        return;
    }
    next(w).object(|w| {
        message_head(w, &item_id("msg_", answer, *place));
        w.key("content").array(|w| {
            for block in message.drain(..) {
                match block {
                    Block::Text(text) => text_part(w.item(), &text.text, &text.citations, candidate),
                    Block::Refusal(text) => refusal_part(w.item(), text),
                    _ => {}
                }
            }
        });
    });
    *place += 1;
}

fn refusal_part(w: &mut Writer<'_>, text: &Text<'_>) {
    w.object(|w| {
        w.key("type").str("refusal");
        w.key("refusal").text(text);
    });
}

fn text_part(w: &mut Writer<'_>, text: &Text<'_>, citations: &[Citation<'_>], candidate: &Candidate<'_>) {
    w.object(|w| {
        w.key("type").str("output_text");
        w.key("text").text(text);
        w.key("annotations").array(|w| {
            for citation in citations.iter().filter(|citation| citation.url.is_some()) {
                w.item().object(|w| {
                    w.key("type").str("url_citation");
                    super::chat_response::url_citation(w, citation);
                });
            }
        });
        w.key("logprobs").array(|w| {
            for token in &candidate.logprobs {
                super::chat_response::logprob(w.item(), token);
            }
        });
    });
}

fn thought_item(
    w: &mut Writer<'_>,
    thought: &Thought<'_>,
    context: &Context,
    answer: &str,
    place: &mut usize,
) {
    let seal = thought
        .state
        .as_ref()
        .and_then(|state| slot(state, context))
        .filter(|_| context.include_encrypted);
    if thought.text.is_empty() && seal.is_none() {
        return;
    }
    let texts: Vec<&Text<'_>> = thought.text.iter().collect();
    reasoning(next(w), &item_id("rs_", answer, *place), &texts, seal.as_ref());
    *place += 1;
}

/// A complete reasoning item.
pub(crate) fn reasoning(w: &mut Writer<'_>, id: &str, texts: &[&Text<'_>], seal: Option<&String>) {
    w.object(|w| {
        w.key("id").str(id);
        w.key("type").str("reasoning");
        w.key("summary").array(|w| {
            for text in texts {
                w.item().object(|w| {
                    w.key("type").str("summary_text");
                    w.key("text").text(text);
                });
            }
        });
        if let Some(seal) = seal {
            w.key("encrypted_content").str(seal);
        }
        w.key("status").str("completed");
    });
}

fn call_item(w: &mut Writer<'_>, call: &ToolCall<'_>, answer: &str, place: usize, context: &Context) {
    let custom = context
        .tools
        .values()
        .any(|tool| tool.custom && tool.name == call.name);
    w.object(|w| {
        w.key("id")
            .str(&item_id(if custom { "ctc_" } else { "fc_" }, answer, place));
        w.key("type").str(if custom {
            "custom_tool_call"
        } else {
            "function_call"
        });
        w.key("status").str("completed");
        w.key("call_id").str(&call.id);
        w.key("name").str(&call.name);
        if let Some(namespace) = &call.namespace {
            w.key("namespace").str(namespace);
        }
        if custom {
            w.key("input").text(&custom_input(&call.arguments));
        } else {
            arguments_string(w.key("arguments"), &call.arguments);
        }
    });
}
