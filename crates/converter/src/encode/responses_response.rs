//! The IR to answers of Responses.

use super::answer::{arguments_object, arguments_string, custom_input, slot, text_slot, thought_slot};
use super::hosted::{self, Hosted};
use super::usage;
use crate::context::Context;
use crate::failure::{Failure, FailureClass};
use crate::ir::{
    Block, Candidate, Citation, Logprob, Media, MediaKind, Response, Source, TextBlock, Thought, ToolCall,
};
use crate::json::{Raw, Text, Writer};
use crate::names;
use crate::span;
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
    let failed = match &candidate.stop {
        Stop::Failed(_) => Some("The provider reports that the answer failed."),
        Stop::Malformed(_) => Some("The model produced an unreadable tool call."),
        _ => None,
    };
    let failed = failed.map(|why| Failure::new(FailureClass::ServerError, why));
    let ending = Ending {
        stop: Some(&candidate.stop),
        usage: Some(&response.usage).filter(|usage| !usage.is_empty()),
        error: failed.as_ref(),
    };
    let mut w = Writer::new(&mut out);
    w.object(|w| {
        members(w, &head, &ending, &items, context);
        let tier = response.service_tier.as_deref();
        if let Some(tier) = tier.filter(|tier| TIERS.contains(tier)) {
            w.key("service_tier").str(tier);
        }
    });
    out
}

/// Tiers that the SDKs know.
const TIERS: [&str; 7] = [
    "auto",
    "default",
    "flex",
    "scale",
    "priority",
    "fast",
    "ultrafast",
];

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
    w.object(|w| members(w, head, ending, items, context));
}

fn members(w: &mut Writer<'_>, head: &Head, ending: &Ending<'_>, items: &[u8], context: &Context) {
    let incomplete = ending.stop.and_then(Stop::incomplete);
    let incomplete = incomplete.filter(|_| ending.error.is_none());
    let status = match (ending.error, ending.stop) {
        (Some(_), _) => "failed",
        (None, None) => "in_progress",
        (None, Some(_)) if incomplete.is_some() => "incomplete",
        (None, Some(_)) => "completed",
    };
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
    match status {
        "completed" => w.key("completed_at").u64(head.created.max(context.now)),
        _ => w.key("completed_at").null(),
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
}

/// The id of the item at a place: deterministic (conversion.md 12.1).
pub(crate) fn item_id(prefix: &str, answer: &str, place: usize) -> String {
    format!(
        "{prefix}{}",
        names::hash(&[answer.as_bytes(), &place.to_le_bytes()], 22)
    )
}

/// What the items of an answer share while they are written.
struct Items<'i> {
    context: &'i Context,
    /// The answer's id, from which those of the items are made.
    answer: &'i str,
    /// How many items there are.
    place: usize,
    /// The answer was cut: its last item says so.
    incomplete: bool,
    /// Log probabilities that no text took yet.
    logprobs: &'i [Logprob<'i>],
}

fn output(w: &mut Writer<'_>, candidate: &Candidate<'_>, context: &Context, answer: &str) {
    let mut items = Items {
        context,
        answer,
        place: 0,
        incomplete: false,
        logprobs: &candidate.logprobs,
    };
    let last = candidate.blocks.len().saturating_sub(1);
    let cut = candidate.stop.incomplete().is_some();
    let mut message: Vec<&Block<'_>> = Vec::new();
    for (index, block) in candidate.blocks.iter().enumerate() {
        items.incomplete = cut && index == last;
        match block {
            Block::Text(text) => {
                if let Some(seal) = text.state.as_ref().and_then(|state| text_slot(state, context)) {
                    items.message(w, &mut message);
                    items.state(w, &seal);
                }
                message.push(block);
                continue;
            }
            Block::Refusal(_) => {
                message.push(block);
                continue;
            }
            _ => items.message(w, &mut message),
        }
        match block {
            Block::Thought(thought) => {
                items.thought(w, thought);
                items.hosted(w, block, candidate.blocks.get(index + 1..).unwrap_or_default());
            }
            Block::Native(_) => items.hosted(w, block, &[]),
            Block::ToolCall(call) => {
                if let Some(seal) = call.state.as_ref().and_then(|state| slot(state, context)) {
                    items.state(w, &seal);
                }
                items.call(w, call);
            }
            Block::Media(media) => items.image(w, media),
            Block::Text(_) | Block::Refusal(_) | Block::ToolResult(_) => {}
        }
    }
    items.incomplete = cut;
    items.message(w, &mut message);
    if let (
        0,
        Stop::Refusal {
            explanation: Some(text),
            ..
        },
    ) = (items.place, &candidate.stop)
    {
        let refusal = Block::Refusal(text.clone());
        items.message(w, &mut vec![&refusal]);
    }
}

fn next<'w, 'o>(w: &'w mut Writer<'o>) -> &'w mut Writer<'o> {
    if !w.bytes().is_empty() {
        w.bytes().push(b',');
    }
    w
}

impl Items<'_> {
    /// The id of the next item.
    fn id(&mut self, prefix: &str) -> String {
        let id = item_id(prefix, self.answer, self.place);
        self.place += 1;
        id
    }

    fn status(&self) -> &'static str {
        if self.incomplete {
            "incomplete"
        } else {
            "completed"
        }
    }

    /// Texts and refusals that follow each other are the parts of one message.
    fn message(&mut self, w: &mut Writer<'_>, parts: &mut Vec<&Block<'_>>) {
        if parts.is_empty() {
            return;
        }
        let (id, status) = (self.id("msg_"), self.status());
        next(w).object(|w| {
            w.key("id").str(&id);
            w.key("type").str("message");
            w.key("status").str(status);
            w.key("role").str("assistant");
            w.key("content").array(|w| {
                let last = parts.len() - 1;
                for (index, block) in parts.drain(..).enumerate() {
                    match block {
                        Block::Text(text) => {
                            let logprobs = self.take_logprobs(&text.text, index == last);
                            text_part(w.item(), text, logprobs);
                        }
                        Block::Refusal(text) => refusal_part(w.item(), text),
                        _ => {}
                    }
                }
            });
        });
    }

    /// The tokens that make up a text; a text that ends the message takes all that are left.
    fn take_logprobs(&mut self, text: &Text<'_>, all: bool) -> &[Logprob<'_>] {
        let wanted = text.decode().len();
        let mut length = 0;
        let fitting = self.logprobs.iter().take_while(|token| {
            let takes = all || length < wanted;
            length += token.token.decode().len();
            takes
        });
        let count = fitting.count();
        let (taken, rest) = self.logprobs.split_at_checked(count).unwrap_or((&[], &[]));
        self.logprobs = rest;
        taken
    }

    /// An item that only carries state.
    fn state(&mut self, w: &mut Writer<'_>, seal: &String) {
        let id = self.id("rs_");
        reasoning(next(w), &id, &[], Some(seal));
    }

    fn thought(&mut self, w: &mut Writer<'_>, thought: &Thought<'_>) {
        let gemini = self.context.upstream == crate::Format::Gemini && thought.state.is_none();
        let seal = if gemini {
            // Gemini's thoughts go back to it even without a signature.
            Some(super::messages_response::empty_seal(self.context))
        } else {
            thought_slot(thought, self.context)
        };
        let seal = seal.filter(|_| self.context.include_encrypted);
        if thought.text.is_empty() && seal.is_none() {
            return;
        }
        let texts: Vec<&Text<'_>> = thought.text.iter().collect();
        let id = self.id("rs_");
        reasoning(next(w), &id, &texts, seal.as_ref());
    }

    /// Searches and code that another vendor ran, as OpenAI shows its own.
    fn hosted(&mut self, w: &mut Writer<'_>, block: &Block<'_>, behind: &[Block<'_>]) {
        match hosted::of_block(block) {
            Some(Hosted::Search(queries)) => {
                let id = self.id("ws_");
                next(w).object(|w| {
                    w.key("id").str(&id);
                    w.key("type").str("web_search_call");
                    w.key("status").str("completed");
                    w.key("action").object(|w| {
                        w.key("type").str("search");
                        w.key("query").text(queries.first().unwrap_or(&Text::default()));
                        w.key("queries")
                            .array(|w| queries.iter().for_each(|query| w.item().text(query)));
                    });
                });
            }
            Some(Hosted::Code(code, logs)) => {
                let id = self.id("ci_");
                let logs = logs.or_else(|| hosted::result_behind(behind));
                next(w).object(|w| {
                    w.key("id").str(&id);
                    w.key("type").str("code_interpreter_call");
                    w.key("status").str("completed");
                    w.key("container_id").str("");
                    w.key("code").text(&code);
                    w.key("outputs").array(|w| {
                        if let Some(logs) = &logs {
                            w.item().object(|w| {
                                w.key("type").str("logs");
                                w.key("logs").str(logs);
                            });
                        }
                    });
                });
            }
            Some(Hosted::CodeResult(_)) | None => {}
        }
    }

    /// A picture as the item in which OpenAI's models deliver theirs.
    fn image(&mut self, w: &mut Writer<'_>, media: &Media<'_>) {
        let (MediaKind::Image, Source::Base64 { mime, data }) = (media.kind, &media.source) else {
            return;
        };
        let id = self.id("ig_");
        next(w).object(|w| {
            w.key("id").str(&id);
            w.key("type").str("image_generation_call");
            w.key("status").str("completed");
            w.key("result").text(data);
            if let Some(format @ ("png" | "jpeg" | "webp" | "gif")) = mime.strip_prefix("image/") {
                w.key("output_format").str(format);
            }
        });
    }

    fn call(&mut self, w: &mut Writer<'_>, call: &ToolCall<'_>) {
        let declared = self.context.tools.values().find(|tool| tool.name == call.name);
        let custom = declared.is_some_and(|tool| tool.custom);
        if let Some(item) = declared.and_then(|tool| tool.item) {
            // A vendor-trained tool of the client: its call has an item type of its own.
            let (id, status) = (self.id("call_"), self.status());
            let mut arguments = Vec::new();
            arguments_object(&mut Writer::new(&mut arguments), &call.arguments);
            let arguments = String::from_utf8_lossy(&arguments);
            return next(w).object(|w| {
                w.key("id").str(&id);
                item.write(w, &call.id, Raw(&arguments), status);
            });
        }
        let (prefix, kind) = if custom {
            ("ctc_", "custom_tool_call")
        } else {
            ("fc_", "function_call")
        };
        let (id, status) = (self.id(prefix), self.status());
        next(w).object(|w| {
            w.key("id").str(&id);
            w.key("type").str(kind);
            w.key("status").str(status);
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
}

fn refusal_part(w: &mut Writer<'_>, text: &Text<'_>) {
    w.object(|w| {
        w.key("type").str("refusal");
        w.key("refusal").text(text);
    });
}

fn text_part(w: &mut Writer<'_>, text: &TextBlock<'_>, logprobs: &[Logprob<'_>]) {
    let length = span::points(&text.text.decode());
    w.object(|w| {
        w.key("type").str("output_text");
        w.key("text").text(&text.text);
        w.key("annotations").array(|w| {
            for citation in &text.citations {
                annotation(w, citation, length);
            }
        });
        w.key("logprobs").array(|w| {
            for token in logprobs {
                super::chat_response::logprob(w.item(), token);
            }
        });
    });
}

fn annotation(w: &mut Writer<'_>, citation: &Citation<'_>, length: u64) {
    if citation.url.is_some() {
        w.item().object(|w| {
            w.key("type").str("url_citation");
            super::chat_response::placed_citation(w, citation, 0, length);
        });
    } else if let Some((id, name)) = &citation.file {
        w.item().object(|w| {
            w.key("type").str("file_citation");
            w.key("file_id").text(id);
            w.key("filename").text(name);
            w.key("index").u64(citation.range.map_or(0, |(_, end)| end));
        });
    }
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
