//! Hub events to stream events of Responses.

use super::Encode;
use super::chat::owned;
use crate::context::Context;
use crate::encode::answer::slot;
use crate::encode::responses::{Ending, Head, item_id, object, reasoning};
use crate::failure::Failure;
use crate::ir::Opaque;
use crate::json::{Raw, Text, Writer};
use crate::names;
use crate::stop::Stop;
use crate::stream::event::{BlockId, BlockKind, Event, Start};
use crate::stream::unwrap::InputUnwrapper;
use crate::usage::Usage;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Refusal,
    Reasoning,
    State,
    Function,
    Custom,
}

/// An item under way. `text` is what was streamed, escaped; finished parts of a message stand in `parts`.
#[derive(Debug)]
struct Item {
    block: BlockId,
    kind: Kind,
    output: u64,
    id: String,
    call_id: String,
    name: String,
    namespace: Option<String>,
    text: Vec<u8>,
    part: u32,
    summaries: Vec<String>,
    annotations: Vec<u8>,
    state: Option<Opaque<'static>>,
    unwrap: Option<InputUnwrapper>,
}

/// Encoder of one Responses stream.
#[derive(Debug)]
pub(crate) struct Encoder {
    context: Context,
    head: Head,
    sequence: u64,
    next_output: u64,
    open: Vec<Item>,
    /// Finished items by output index.
    done: Vec<(u64, Vec<u8>)>,
    created: bool,
    usage: Usage,
    stop: Option<Stop<'static>>,
}

impl Encoder {
    pub(crate) fn new(context: &Context) -> Self {
        Encoder {
            context: context.clone(),
            head: Head {
                id: names::answer_id("", context.client, &context.request_id),
                created: context.now,
                model: context.model.clone(),
            },
            sequence: 0,
            next_output: 0,
            open: Vec::new(),
            done: Vec::new(),
            created: false,
            usage: Usage::default(),
            stop: None,
        }
    }

    /// Writes one event; `body` adds the members behind `type` and `sequence_number`.
    fn emit(&mut self, kind: &str, out: &mut Vec<u8>, body: impl FnOnce(&mut Writer<'_>)) {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(kind.as_bytes());
        out.extend_from_slice(b"\ndata: ");
        let sequence = self.sequence;
        self.sequence += 1;
        Writer::line(out).object(|w| {
            w.key("type").str(kind);
            w.key("sequence_number").u64(sequence);
            body(w);
        });
        out.extend_from_slice(b"\n\n");
    }

    fn start(&mut self, start: &Start<'_>) {
        self.head = Head {
            id: names::answer_id(&start.id, self.context.client, &self.context.request_id),
            created: start.created.unwrap_or(self.context.now),
            model: start.model.as_deref().unwrap_or(&self.context.model).to_owned(),
        };
    }

    fn created(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.created, true) {
            return;
        }
        for kind in ["response.created", "response.in_progress"] {
            let (head, context) = (self.head.clone(), self.context.clone());
            self.emit(kind, out, |w| {
                object(w.key("response"), &head, &Ending::default(), b"", &context)
            });
        }
    }

    fn block_start(&mut self, block: BlockId, kind: BlockKind<'_>, out: &mut Vec<u8>) {
        self.created(out);
        let (kind, call_id, name, namespace) = match kind {
            BlockKind::Text => (Kind::Text, String::new(), String::new(), None),
            BlockKind::Refusal => (Kind::Refusal, String::new(), String::new(), None),
            BlockKind::Reasoning { .. } => (Kind::Reasoning, String::new(), String::new(), None),
            BlockKind::State => (Kind::State, String::new(), String::new(), None),
            BlockKind::Tool { id, name, custom } => {
                let custom = custom || self.context.is_custom(&name);
                let namespace = self
                    .context
                    .tools
                    .get(name.as_ref())
                    .and_then(|tool| tool.namespace.clone());
                let kind = if custom { Kind::Custom } else { Kind::Function };
                (
                    kind,
                    id.into_owned(),
                    self.context.tool_name(&name).to_owned(),
                    namespace,
                )
            }
            BlockKind::Media => return,
        };
        let output = self.next_output;
        self.next_output += 1;
        let prefix = match kind {
            Kind::Text | Kind::Refusal => "msg_",
            Kind::Reasoning | Kind::State => "rs_",
            Kind::Function => "fc_",
            Kind::Custom => "ctc_",
        };
        let id = item_id(prefix, &self.head.id, usize::try_from(output).unwrap_or(0));
        let unwrap = (kind == Kind::Custom && self.context.tools.values().any(|tool| tool.custom))
            .then(InputUnwrapper::default);
        let item = Item {
            block,
            kind,
            output,
            id,
            call_id,
            name,
            namespace,
            text: Vec::new(),
            part: 0,
            summaries: Vec::new(),
            annotations: Vec::new(),
            state: None,
            unwrap,
        };
        self.added(&item, out);
        self.open.push(item);
    }

    fn added(&mut self, item: &Item, out: &mut Vec<u8>) {
        if item.kind == Kind::State {
            return;
        }
        self.emit("response.output_item.added", out, |w| {
            w.key("output_index").u64(item.output);
            w.key("item").object(|w| {
                w.key("id").str(&item.id);
                match item.kind {
                    Kind::Text | Kind::Refusal => {
                        w.key("type").str("message");
                        w.key("status").str("in_progress");
                        w.key("role").str("assistant");
                        w.key("content").raw(Raw::of_const("[]"));
                    }
                    Kind::Reasoning | Kind::State => {
                        w.key("type").str("reasoning");
                        w.key("summary").raw(Raw::of_const("[]"));
                        w.key("status").str("in_progress");
                    }
                    Kind::Function | Kind::Custom => call_members(w, item, "in_progress", b""),
                }
            });
        });
        let (id, output) = (item.id.clone(), item.output);
        match item.kind {
            Kind::Text | Kind::Refusal => {
                let refusal = item.kind == Kind::Refusal;
                self.emit("response.content_part.added", out, |w| {
                    place(w, &id, output, Some("content_index"), 0);
                    part(w.key("part"), refusal, b"", b"");
                });
            }
            Kind::Reasoning => self.summary_added(&id, output, 0, out),
            _ => {}
        }
    }

    fn summary_added(&mut self, id: &str, output: u64, index: u32, out: &mut Vec<u8>) {
        self.emit("response.reasoning_summary_part.added", out, |w| {
            place(w, id, output, Some("summary_index"), index);
            w.key("part")
                .raw(Raw::of_const(r#"{"type":"summary_text","text":""}"#));
        });
    }

    fn summary_done(&mut self, id: &str, output: u64, index: u32, text: &str, out: &mut Vec<u8>) {
        let text = Text::Escaped(text);
        self.emit("response.reasoning_summary_text.done", out, |w| {
            place(w, id, output, Some("summary_index"), index);
            w.key("text").text(&text);
        });
        self.emit("response.reasoning_summary_part.done", out, |w| {
            place(w, id, output, Some("summary_index"), index);
            w.key("part").object(|w| {
                w.key("type").str("summary_text");
                w.key("text").text(&text);
            });
        });
    }

    fn take(&mut self, block: BlockId) -> Option<Item> {
        let at = self.open.iter().position(|item| item.block == block)?;
        Some(self.open.remove(at))
    }

    fn delta(&mut self, block: BlockId, index: u32, text: &Text<'_>, out: &mut Vec<u8>) {
        let Some(at) = self.open.iter().position(|item| item.block == block) else {
            return;
        };
        let Some(item) = self.open.get_mut(at) else { return };
        let unwrapped = item
            .unwrap
            .as_mut()
            .map(|unwrap| Text::from(unwrap.push(&text.decode())));
        let text = unwrapped.as_ref().unwrap_or(text);
        if text.is_empty() {
            return;
        }
        let mut ended = None;
        if item.kind == Kind::Reasoning && index != item.part {
            let whole = String::from_utf8_lossy(&item.text).into_owned();
            item.text.clear();
            item.summaries.push(whole.clone());
            ended = Some((item.part, whole));
            item.part = index;
        }
        Writer::line(&mut item.text).text_inside(text);
        let (id, output, kind) = (item.id.clone(), item.output, item.kind);
        if let Some((before, whole)) = ended {
            self.summary_done(&id, output, before, &whole, out);
            self.summary_added(&id, output, index, out);
        }
        let (event, counter) = match kind {
            Kind::Text => ("response.output_text.delta", Some("content_index")),
            Kind::Refusal => ("response.refusal.delta", Some("content_index")),
            Kind::Reasoning | Kind::State => ("response.reasoning_summary_text.delta", Some("summary_index")),
            Kind::Function => ("response.function_call_arguments.delta", None),
            Kind::Custom => ("response.custom_tool_call_input.delta", None),
        };
        let index = if kind == Kind::Reasoning { index } else { 0 };
        self.emit(event, out, |w| {
            place(w, &id, output, counter, index);
            w.key("delta").text(text);
            if kind == Kind::Text {
                w.key("logprobs").raw(Raw::of_const("[]"));
            }
        });
    }

    fn stop_item(&mut self, item: Item, out: &mut Vec<u8>) {
        let seal = item
            .state
            .as_ref()
            .and_then(|state| slot(state, &self.context))
            .filter(|_| self.context.include_encrypted);
        if item.kind == Kind::State {
            let Some(seal) = seal else { return };
            self.state_item(&item, &seal, out);
            return;
        }
        let text = String::from_utf8_lossy(&item.text).into_owned();
        let mut body = Vec::new();
        let mut w = Writer::line(&mut body);
        match item.kind {
            Kind::Text | Kind::Refusal => {
                self.text_done(&item, &text, out);
                w.object(|w| {
                    w.key("id").str(&item.id);
                    w.key("type").str("message");
                    w.key("status").str("completed");
                    w.key("role").str("assistant");
                    w.key("content").array(|w| {
                        part(
                            w.item(),
                            item.kind == Kind::Refusal,
                            &item.text,
                            &item.annotations,
                        )
                    });
                });
            }
            Kind::Reasoning | Kind::State => {
                self.summary_done(&item.id, item.output, item.part, &text, out);
                let parts: Vec<Text<'_>> = item
                    .summaries
                    .iter()
                    .map(String::as_str)
                    .chain([text.as_str()])
                    .map(Text::Escaped)
                    .collect();
                let parts: Vec<&Text<'_>> = parts.iter().collect();
                reasoning(&mut w, &item.id, &parts, seal.as_ref());
            }
            Kind::Function | Kind::Custom => {
                let custom = item.kind == Kind::Custom;
                let event = if custom {
                    "response.custom_tool_call_input.done"
                } else {
                    "response.function_call_arguments.done"
                };
                self.emit(event, out, |w| {
                    place(w, &item.id, item.output, None, 0);
                    if !custom {
                        w.key("name").str(&item.name);
                    }
                    w.key(if custom { "input" } else { "arguments" })
                        .text(&Text::Escaped(&text));
                });
                w.object(|w| {
                    w.key("id").str(&item.id);
                    call_members(w, &item, "completed", &item.text);
                });
            }
        }
        self.item_done(item.output, body, out);
    }

    /// State without text: an item of its own, added and done at once.
    fn state_item(&mut self, item: &Item, seal: &String, out: &mut Vec<u8>) {
        let mut body = Vec::new();
        reasoning(&mut Writer::line(&mut body), &item.id, &[], Some(seal));
        self.emit("response.output_item.added", out, |w| {
            w.key("output_index").u64(item.output);
            w.key("item").object(|w| {
                w.key("id").str(&item.id);
                w.key("type").str("reasoning");
                w.key("summary").raw(Raw::of_const("[]"));
                w.key("status").str("in_progress");
            });
        });
        self.item_done(item.output, body, out);
    }

    fn item_done(&mut self, output: u64, body: Vec<u8>, out: &mut Vec<u8>) {
        self.emit("response.output_item.done", out, |w| {
            w.key("output_index").u64(output);
            w.key("item").bytes().extend_from_slice(&body);
        });
        self.done.push((output, body));
    }

    fn text_done(&mut self, item: &Item, text: &str, out: &mut Vec<u8>) {
        let refusal = item.kind == Kind::Refusal;
        let event = if refusal {
            "response.refusal.done"
        } else {
            "response.output_text.done"
        };
        self.emit(event, out, |w| {
            place(w, &item.id, item.output, Some("content_index"), 0);
            w.key(if refusal { "refusal" } else { "text" })
                .text(&Text::Escaped(text));
            if !refusal {
                w.key("logprobs").raw(Raw::of_const("[]"));
            }
        });
        self.emit("response.content_part.done", out, |w| {
            place(w, &item.id, item.output, Some("content_index"), 0);
            part(w.key("part"), refusal, &item.text, &item.annotations);
        });
    }

    fn annotation(&mut self, block: BlockId, citation: &crate::ir::Citation<'_>, out: &mut Vec<u8>) {
        let Some(item) = self
            .open
            .iter_mut()
            .find(|item| item.block == block && item.kind == Kind::Text)
        else {
            return;
        };
        let mut body = Vec::new();
        Writer::line(&mut body).object(|w| {
            w.key("type").str("url_citation");
            crate::encode::chat::url_citation(w, citation);
        });
        let index = item.annotations.iter().filter(|byte| **byte == b'\n').count();
        if !item.annotations.is_empty() {
            item.annotations.push(b',');
        }
        item.annotations.extend_from_slice(&body);
        let (id, output) = (item.id.clone(), item.output);
        self.emit("response.output_text.annotation.added", out, |w| {
            place(w, &id, output, Some("content_index"), 0);
            w.key("annotation_index").u64(index as u64);
            w.key("annotation").bytes().extend_from_slice(&body);
        });
    }

    fn items(&mut self) -> Vec<u8> {
        self.done.sort_by_key(|(output, _)| *output);
        let bodies: Vec<&[u8]> = self.done.iter().map(|(_, body)| body.as_slice()).collect();
        bodies.join(&b','.to_owned())
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.created(out);
        let stop = self.stop.take().unwrap_or_default();
        let event = if stop.incomplete().is_some() {
            "response.incomplete"
        } else {
            "response.completed"
        };
        let (items, head, context, usage) = (
            self.items(),
            self.head.clone(),
            self.context.clone(),
            self.usage.clone(),
        );
        let ending = Ending {
            stop: Some(&stop),
            usage: Some(&usage),
            error: None,
        };
        self.emit(event, out, |w| {
            object(w.key("response"), &head, &ending, &items, &context)
        });
    }
}

/// `item_id`, `output_index` and the number of the part.
fn place(w: &mut Writer<'_>, id: &str, output: u64, counter: Option<&str>, index: u32) {
    w.key("item_id").str(id);
    w.key("output_index").u64(output);
    if let Some(counter) = counter {
        w.key(counter).u64(u64::from(index));
    }
}

fn part(w: &mut Writer<'_>, refusal: bool, text: &[u8], annotations: &[u8]) {
    let text = String::from_utf8_lossy(text);
    w.object(|w| {
        if refusal {
            w.key("type").str("refusal");
            return w.key("refusal").text(&Text::Escaped(&text));
        }
        w.key("type").str("output_text");
        w.key("text").text(&Text::Escaped(&text));
        w.key("annotations")
            .array(|w| w.bytes().extend_from_slice(annotations));
        w.key("logprobs").raw(Raw::of_const("[]"));
    });
}

fn call_members(w: &mut Writer<'_>, item: &Item, status: &str, text: &[u8]) {
    let custom = item.kind == Kind::Custom;
    let text = String::from_utf8_lossy(text);
    w.key("type").str(if custom {
        "custom_tool_call"
    } else {
        "function_call"
    });
    w.key("status").str(status);
    w.key("call_id").str(&item.call_id);
    w.key("name").str(&item.name);
    if let Some(namespace) = &item.namespace {
        w.key("namespace").str(namespace);
    }
    w.key(if custom { "input" } else { "arguments" })
        .text(&Text::Escaped(&text));
}

impl Encode for Encoder {
    fn event(&mut self, event: Event<'_>, out: &mut Vec<u8>) {
        match event {
            Event::Start(start) => self.start(&start),
            Event::BlockStart { block, kind, .. } => self.block_start(block, kind, out),
            Event::Text { block, text, .. } | Event::Refusal { block, text } => {
                self.delta(block, 0, &text, out)
            }
            Event::Reasoning { block, part, text } => self.delta(block, part, &text, out),
            Event::Arguments { block, fragment } => self.delta(block, 0, &fragment, out),
            Event::Seal { block, state } => {
                if let Some(item) = self.open.iter_mut().find(|item| item.block == block) {
                    item.state = Some(owned(state));
                }
            }
            Event::Citation { block, citation } if citation.url.is_some() => {
                self.annotation(block, &citation, out)
            }
            Event::BlockStop { block } => {
                if let Some(item) = self.take(block) {
                    self.stop_item(item, out);
                }
            }
            Event::Usage { usage, .. } => self.usage = usage,
            Event::Finish { stop, .. } => self.stop = Some(stop.into_owned()),
            Event::End => self.end(out),
            Event::Citation { .. } | Event::Media { .. } | Event::Ping | Event::Foreign { .. } => {}
        }
    }

    fn resume(&mut self, start: &Start<'_>) {
        self.start(start);
        self.created = true;
    }

    fn release(&mut self, _out: &mut Vec<u8>) {}

    fn fail(&mut self, failure: &Failure, out: &mut Vec<u8>) {
        self.created(out);
        let (items, head, context, usage) = (
            self.items(),
            self.head.clone(),
            self.context.clone(),
            self.usage.clone(),
        );
        let ending = Ending {
            stop: None,
            usage: Some(&usage).filter(|usage| !usage.is_empty()),
            error: Some(failure),
        };
        self.emit("response.failed", out, |w| {
            object(w.key("response"), &head, &ending, &items, &context)
        });
    }

    fn keep_alive(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b": keep-alive\n\n");
    }
}
