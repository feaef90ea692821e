//! Hub events to stream events of Responses.

mod item;

use super::{Encode, owned};
use crate::context::Context;
use crate::encode::answer::slot;
use crate::encode::chat::{logprob, url_citation};
use crate::encode::responses::{Ending, Head, item_id, object};
use crate::failure::Failure;
use crate::ir::{Citation, Logprob};
use crate::json::{Raw, Text, Writer};
use crate::names;
use crate::stop::Stop;
use crate::stream::event::{BlockId, BlockKind, Event, Start};
use crate::stream::position::points;
use crate::stream::unwrap::InputUnwrapper;
use crate::usage::Usage;
use item::{Body, Call, Item, Message, Part, Thought, escaped};

/// Encoder of one Responses stream.
#[derive(Debug)]
pub(crate) struct Encoder {
    context: Context,
    head: Head,
    events: Events,
    next_output: u64,
    open: Vec<Item>,
    /// Finished items by output index.
    done: Vec<(u64, Vec<u8>)>,
    created: bool,
    usage: Usage,
    stop: Option<Stop<'static>>,
}

/// Numbers the events.
#[derive(Debug, Default)]
struct Events {
    sequence: u64,
}

impl Events {
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
}

/// `item_id`, `output_index` and the number of the part.
fn place(w: &mut Writer<'_>, id: &str, output: u64, counter: Option<(&str, u32)>) {
    w.key("item_id").str(id);
    w.key("output_index").u64(output);
    if let Some((counter, index)) = counter {
        w.key(counter).u64(u64::from(index));
    }
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
            events: Events::default(),
            next_output: 0,
            open: Vec::new(),
            done: Vec::new(),
            created: false,
            usage: Usage::default(),
            stop: None,
        }
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
            let (head, context) = (&self.head, &self.context);
            self.events.emit(kind, out, |w| {
                object(w.key("response"), head, &Ending::default(), b"", context)
            });
        }
    }

    fn block_start(&mut self, block: BlockId, kind: BlockKind<'_>, out: &mut Vec<u8>) {
        self.created(out);
        let body = match kind {
            BlockKind::Text | BlockKind::Refusal => {
                return self.part_start(block, kind == BlockKind::Refusal, out);
            }
            BlockKind::Reasoning { .. } => Body::Reasoning(Thought::default()),
            BlockKind::State => Body::State,
            BlockKind::Search => Body::Search(String::new()),
            BlockKind::Media => return,
            BlockKind::Tool { id, name, custom } => {
                let shim = !custom && self.context.is_custom(&name);
                let origin = self.context.tools.get(name.as_ref());
                Body::Call(Call {
                    custom: custom || shim,
                    call_id: id.into_owned(),
                    namespace: origin.and_then(|tool| tool.namespace.clone()),
                    name: self.context.tool_name(&name).to_owned(),
                    text: Vec::new(),
                    unwrap: shim.then(InputUnwrapper::default),
                })
            }
        };
        self.close_messages(out);
        self.item_start(block, body, out);
    }

    fn item_start(&mut self, block: BlockId, body: Body, out: &mut Vec<u8>) {
        let mut item = Item {
            block,
            output: 0,
            id: String::new(),
            body,
            state: None,
        };
        // Whether state is shown at all is known at its end.
        if !matches!(item.body, Body::State) {
            self.announce(&mut item, out);
        }
        self.open.push(item);
    }

    /// Gives an item its number and id and tells of it.
    fn announce(&mut self, item: &mut Item, out: &mut Vec<u8>) {
        let prefix = match &item.body {
            Body::Message(_) => "msg_",
            Body::Reasoning(_) | Body::State => "rs_",
            Body::Call(call) if call.custom => "ctc_",
            Body::Call(_) => "fc_",
            Body::Search(_) => "ws_",
        };
        item.output = self.next_output;
        self.next_output += 1;
        let number = usize::try_from(item.output).unwrap_or(0);
        item.id = item_id(prefix, &self.head.id, number);
        self.events.emit("response.output_item.added", out, |w| {
            w.key("output_index").u64(item.output);
            item.write_added(w.key("item"));
        });
        match item.body {
            Body::Reasoning(_) => self.summary_added(&item.id, item.output, 0, out),
            Body::Search(_) => {
                for kind in ["in_progress", "searching"] {
                    self.search_event(kind, item, out);
                }
            }
            Body::Message(_) | Body::Call(_) | Body::State => {}
        }
    }

    fn search_event(&mut self, kind: &str, item: &Item, out: &mut Vec<u8>) {
        self.events
            .emit(&format!("response.web_search_call.{kind}"), out, |w| {
                place(w, &item.id, item.output, None);
            });
    }

    /// A text is the next part of the message in front of it, or the first of a new one.
    fn part_start(&mut self, block: BlockId, refusal: bool, out: &mut Vec<u8>) {
        let resting = |item: &Item| matches!(&item.body, Body::Message(message) if message.part.is_none());
        if !self.open.iter().any(resting) {
            self.item_start(block, Body::Message(Message::default()), out);
        }
        let Some(item) = self.open.iter_mut().find(|item| resting(item)) else {
            return;
        };
        item.block = block;
        let Body::Message(message) = &mut item.body else {
            return;
        };
        let part = Part {
            refusal,
            ..Part::default()
        };
        let counter = Some(("content_index", message.count));
        self.events.emit("response.content_part.added", out, |w| {
            place(w, &item.id, item.output, counter);
            part.write(w.key("part"));
        });
        message.part = Some(part);
    }

    fn summary_added(&mut self, id: &str, output: u64, index: u32, out: &mut Vec<u8>) {
        self.events
            .emit("response.reasoning_summary_part.added", out, |w| {
                place(w, id, output, Some(("summary_index", index)));
                w.key("part")
                    .raw(Raw::of_const(r#"{"type":"summary_text","text":""}"#));
            });
    }

    fn text(&mut self, block: BlockId, text: &Text<'_>, logprobs: &[Logprob<'_>], out: &mut Vec<u8>) {
        let Some(item) = self.open.iter_mut().find(|item| item.block == block) else {
            return;
        };
        let Body::Message(message) = &mut item.body else {
            return;
        };
        let counter = Some(("content_index", message.count));
        let Some(part) = &mut message.part else { return };
        Writer::line(&mut part.text).text_inside(text);
        part.points += points(text);
        let known = part.logprobs.len();
        for token in logprobs {
            if !part.logprobs.is_empty() {
                part.logprobs.push(b',');
            }
            logprob(&mut Writer::line(&mut part.logprobs), token);
        }
        let added = part.logprobs.get(known..).unwrap_or_default();
        let added = added.strip_prefix(b",").unwrap_or(added);
        let kind = if part.refusal {
            "response.refusal.delta"
        } else {
            "response.output_text.delta"
        };
        self.events.emit(kind, out, |w| {
            place(w, &item.id, item.output, counter);
            w.key("delta").text(text);
            if !part.refusal {
                w.key("logprobs").array(|w| w.bytes().extend_from_slice(added));
            }
        });
    }

    fn reasoning(&mut self, block: BlockId, part: u32, text: &Text<'_>, out: &mut Vec<u8>) {
        let Some(at) = self.open.iter().position(|item| item.block == block) else {
            return;
        };
        let mut item = self.open.remove(at);
        if let Body::Reasoning(thought) = &mut item.body {
            if part != thought.part {
                if !thought.text.is_empty() {
                    self.summary_done(&item.id, item.output, thought, out);
                    let whole = std::mem::take(&mut thought.text);
                    thought.done.push(String::from_utf8(whole).unwrap_or_default());
                    let index = u32::try_from(thought.done.len()).unwrap_or(0);
                    self.summary_added(&item.id, item.output, index, out);
                }
                thought.part = part;
            }
            Writer::line(&mut thought.text).text_inside(text);
            let index = u32::try_from(thought.done.len()).unwrap_or(0);
            self.events
                .emit("response.reasoning_summary_text.delta", out, |w| {
                    place(w, &item.id, item.output, Some(("summary_index", index)));
                    w.key("delta").text(text);
                });
        }
        self.open.insert(at, item);
    }

    fn summary_done(&mut self, id: &str, output: u64, thought: &Thought, out: &mut Vec<u8>) {
        let text = escaped(&thought.text);
        let counter = Some(("summary_index", u32::try_from(thought.done.len()).unwrap_or(0)));
        self.events
            .emit("response.reasoning_summary_text.done", out, |w| {
                place(w, id, output, counter);
                w.key("text").text(&text);
            });
        self.events
            .emit("response.reasoning_summary_part.done", out, |w| {
                place(w, id, output, counter);
                w.key("part").object(|w| {
                    w.key("type").str("summary_text");
                    w.key("text").text(&text);
                });
            });
    }

    fn arguments(&mut self, block: BlockId, fragment: &Text<'_>, out: &mut Vec<u8>) {
        let Some(item) = self.open.iter_mut().find(|item| item.block == block) else {
            return;
        };
        let call = match &mut item.body {
            Body::Call(call) => call,
            Body::Search(arguments) => return arguments.push_str(&fragment.decode()),
            _ => return,
        };
        let unwrapped = call
            .unwrap
            .as_mut()
            .map(|unwrap| Text::from(unwrap.push(&fragment.decode())));
        let text = unwrapped.as_ref().unwrap_or(fragment);
        if text.is_empty() {
            return;
        }
        Writer::line(&mut call.text).text_inside(text);
        let kind = if call.custom {
            "response.custom_tool_call_input.delta"
        } else {
            "response.function_call_arguments.delta"
        };
        self.events.emit(kind, out, |w| {
            place(w, &item.id, item.output, None);
            w.key("delta").text(text);
        });
    }

    fn annotation(&mut self, block: BlockId, citation: &Citation<'_>, out: &mut Vec<u8>) {
        let Some(item) = self.open.iter_mut().find(|item| item.block == block) else {
            return;
        };
        let Body::Message(message) = &mut item.body else {
            return;
        };
        let counter = Some(("content_index", message.count));
        let Some(part) = message.part.as_mut().filter(|part| !part.refusal) else {
            return;
        };
        let ranged = Citation {
            range: citation.range.or(Some((0, part.points))),
            ..citation.clone()
        };
        let mut body = Vec::new();
        Writer::line(&mut body).object(|w| {
            w.key("type").str("url_citation");
            url_citation(w, &ranged);
        });
        let index = part.annotated;
        part.annotated += 1;
        if index > 0 {
            part.annotations.push(b',');
        }
        part.annotations.extend_from_slice(&body);
        self.events
            .emit("response.output_text.annotation.added", out, |w| {
                place(w, &item.id, item.output, counter);
                w.key("annotation_index").u64(index);
                w.key("annotation").bytes().extend_from_slice(&body);
            });
    }

    fn block_stop(&mut self, block: BlockId, out: &mut Vec<u8>) {
        let Some(at) = self.open.iter().position(|item| item.block == block) else {
            return;
        };
        let mut item = self.open.remove(at);
        if let Body::Message(message) = &mut item.body {
            let Some(part) = message.part.take() else {
                self.open.insert(at, item);
                return;
            };
            self.part_done(&item.id, item.output, message, part, out);
            let state = item.state.take();
            let last = item.output + 1 == self.next_output;
            if state.is_none() && last {
                // The next text may be a part of the same message.
                self.open.insert(at, item);
                return;
            }
            self.item_done(&item, None, out);
            if state.is_some() {
                self.item_start(block, Body::State, out);
                if let Some(item) = self.open.last_mut() {
                    item.state = state;
                }
                self.block_stop(block, out);
            }
            return;
        }
        let seal = item
            .state
            .as_ref()
            .and_then(|state| slot(state, &self.context))
            .filter(|_| self.context.include_encrypted);
        match &item.body {
            Body::Reasoning(thought) => self.summary_done(&item.id, item.output, thought, out),
            Body::Call(call) => self.call_done(&item.id, item.output, call, out),
            Body::Search(_) => self.search_event("completed", &item, out),
            Body::State if seal.is_none() => return,
            Body::State | Body::Message(_) => {}
        }
        if matches!(item.body, Body::State) {
            self.announce(&mut item, out);
        }
        self.item_done(&item, seal.as_ref(), out);
    }

    fn part_done(&mut self, id: &str, output: u64, message: &mut Message, part: Part, out: &mut Vec<u8>) {
        let counter = Some(("content_index", message.count));
        let kind = if part.refusal {
            "response.refusal.done"
        } else {
            "response.output_text.done"
        };
        self.events.emit(kind, out, |w| {
            place(w, id, output, counter);
            let text = escaped(&part.text);
            if part.refusal {
                return w.key("refusal").text(&text);
            }
            w.key("text").text(&text);
            w.key("logprobs")
                .array(|w| w.bytes().extend_from_slice(&part.logprobs));
        });
        self.events.emit("response.content_part.done", out, |w| {
            place(w, id, output, counter);
            part.write(w.key("part"));
        });
        if message.count > 0 {
            message.parts.push(b',');
        }
        part.write(&mut Writer::line(&mut message.parts));
        message.count += 1;
    }

    fn call_done(&mut self, id: &str, output: u64, call: &Call, out: &mut Vec<u8>) {
        let (kind, member) = if call.custom {
            ("response.custom_tool_call_input.done", "input")
        } else {
            ("response.function_call_arguments.done", "arguments")
        };
        self.events.emit(kind, out, |w| {
            place(w, id, output, None);
            if !call.custom {
                w.key("name").str(&call.name);
            }
            w.key(member).text(&escaped(&call.text));
        });
    }

    fn item_done(&mut self, item: &Item, seal: Option<&String>, out: &mut Vec<u8>) {
        let mut body = Vec::new();
        item.write_done(&mut Writer::line(&mut body), seal);
        self.events.emit("response.output_item.done", out, |w| {
            w.key("output_index").u64(item.output);
            w.key("item").bytes().extend_from_slice(&body);
        });
        self.done.push((item.output, body));
    }

    /// Messages whose last part is done are done when anything else begins.
    fn close_messages(&mut self, out: &mut Vec<u8>) {
        let resting = |item: &Item| matches!(&item.body, Body::Message(message) if message.part.is_none());
        while let Some(at) = self.open.iter().position(resting) {
            let item = self.open.remove(at);
            self.item_done(&item, None, out);
        }
    }

    fn items(&mut self) -> Vec<u8> {
        self.done.sort_by_key(|(output, _)| *output);
        let bodies: Vec<&[u8]> = self.done.iter().map(|(_, body)| body.as_slice()).collect();
        bodies.join(&b',')
    }

    /// A refusal that was only explained beside the answer becomes its message.
    fn explain(&mut self, stop: &Stop<'_>, out: &mut Vec<u8>) {
        let Stop::Refusal {
            explanation: Some(text),
            ..
        } = stop
        else {
            return;
        };
        if self.next_output == 0 {
            self.part_start(BlockId::MAX, true, out);
            self.text(BlockId::MAX, text, &[], out);
            self.block_stop(BlockId::MAX, out);
        }
    }

    fn ending(&mut self, kind: &str, stop: Option<&Stop<'_>>, error: Option<&Failure>, out: &mut Vec<u8>) {
        let items = self.items();
        let (head, context) = (&self.head, &self.context);
        let usage = Some(&self.usage).filter(|usage| error.is_none() || !usage.is_empty());
        let ending = Ending { stop, usage, error };
        self.events.emit(kind, out, |w| {
            object(w.key("response"), head, &ending, &items, context)
        });
    }
}

impl Encode for Encoder {
    fn event(&mut self, event: Event<'_>, out: &mut Vec<u8>) {
        match event {
            Event::Start(start) => self.start(&start),
            Event::BlockStart { block, kind, .. } => self.block_start(block, kind, out),
            Event::Text {
                block,
                text,
                logprobs,
            } => self.text(block, &text, &logprobs, out),
            Event::Refusal { block, text } => self.text(block, &text, &[], out),
            Event::Reasoning { block, part, text } => self.reasoning(block, part, &text, out),
            Event::Arguments { block, fragment } => self.arguments(block, &fragment, out),
            Event::Seal { block, state } => {
                if let Some(item) = self.open.iter_mut().find(|item| item.block == block) {
                    item.state = Some(owned(state));
                }
            }
            Event::Citation { block, citation } if citation.url.is_some() => {
                self.annotation(block, &citation, out)
            }
            Event::BlockStop { block } => self.block_stop(block, out),
            Event::Usage { usage, .. } => self.usage = usage,
            Event::Finish { stop, .. } => {
                self.close_messages(out);
                self.stop = Some(stop.into_owned());
            }
            Event::Citation { .. }
            | Event::Media { .. }
            | Event::Ping
            | Event::End
            | Event::Foreign { .. } => {}
        }
    }

    fn settle(&mut self, out: &mut Vec<u8>) {
        self.created(out);
        let stop = self.stop.take().unwrap_or_default();
        self.explain(&stop, out);
        self.close_messages(out);
        let kind = if stop.incomplete().is_some() {
            "response.incomplete"
        } else {
            "response.completed"
        };
        self.ending(kind, Some(&stop), None, out);
    }

    fn resume(&mut self, start: &Start<'_>) {
        self.start(start);
        self.created = true;
    }

    fn resume_at(&mut self, sequence: u64) {
        self.events.sequence = sequence;
    }

    fn fail(&mut self, failure: &Failure, out: &mut Vec<u8>) {
        self.created(out);
        self.ending("response.failed", None, Some(failure), out);
    }

    fn keep_alive(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b": keep-alive\n\n");
    }
}
