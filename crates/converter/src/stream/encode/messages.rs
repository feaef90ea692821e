//! Hub events to stream events of Messages: strictly one block after another (wire.md 4.4).

use super::Encode;
use crate::context::Context;
use crate::encode::answer::slot;
use crate::encode::messages::{empty_seal, stop as write_stop};
use crate::encode::usage;
use crate::failure::Failure;
use crate::json::{Raw, Text, Writer};
use crate::names;
use crate::stop::Stop;
use crate::stream::event::{BlockId, BlockKind, Event, Start};
use crate::stream::json_scan::JsonScan;
use crate::usage::Usage;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Thinking,
    Tool,
}

/// A block that waits until the one in front of it is done: calls may interleave upstream, not here.
#[derive(Debug)]
struct Waiting {
    block: BlockId,
    kind: Kind,
    start: Vec<u8>,
    /// Escaped text that came meanwhile.
    text: Vec<u8>,
    stopped: bool,
}

#[derive(Debug)]
struct Active {
    block: BlockId,
    kind: Kind,
    /// Written at the end of the thought: nothing may follow a signature.
    seal: Option<String>,
    json: JsonScan,
}

/// Encoder of one Messages stream.
#[derive(Debug)]
pub(crate) struct Encoder {
    context: Context,
    id: String,
    model: String,
    started: bool,
    index: u64,
    active: Option<Active>,
    waiting: Vec<Waiting>,
    /// State without text behind text or calls: written when another block follows, since an answer must not end with it.
    states: Vec<String>,
    usage: Usage,
    /// A call was written.
    calls: bool,
    /// Text or a call was written.
    spoke: bool,
    stop: Option<Stop<'static>>,
}

impl Encoder {
    pub(crate) fn new(context: &Context) -> Self {
        Encoder {
            context: context.clone(),
            id: String::new(),
            model: String::new(),
            started: false,
            index: 0,
            active: None,
            waiting: Vec::new(),
            states: Vec::new(),
            usage: Usage::default(),
            calls: false,
            spoke: false,
            stop: None,
        }
    }

    fn head(&mut self, start: &Start<'_>) {
        self.id = names::answer_id(&start.id, self.context.client, &self.context.request_id);
        self.model = start.model.as_deref().unwrap_or(&self.context.model).to_owned();
    }

    fn start(&mut self, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        let mut counted = self.usage.clone();
        counted.input = counted
            .input
            .filter(|input| *input > 0)
            .or(Some(self.context.input_estimate));
        counted.output = Some(0);
        counted.reasoning = None;
        out.extend_from_slice(b"event: message_start\ndata: ");
        Writer::line(out).object(|w| {
            w.key("type").str("message_start");
            w.key("message").object(|w| {
                w.key("id").str(&self.id);
                w.key("type").str("message");
                w.key("role").str("assistant");
                w.key("model").str(&self.model);
                w.key("content").raw(Raw::of_const("[]"));
                w.key("stop_reason").null();
                w.key("stop_sequence").null();
                usage::messages(w.key("usage"), &counted);
            });
        });
        out.extend_from_slice(b"\n\n");
        self.keep_alive(out);
    }

    fn block_start(&mut self, block: BlockId, kind: BlockKind<'_>, out: &mut Vec<u8>) {
        self.start(out);
        let mut start = Vec::new();
        let mut w = Writer::line(&mut start);
        let kind = match kind {
            BlockKind::Text | BlockKind::Refusal => {
                w.raw(Raw::of_const(r#"{"type":"text","text":""}"#));
                Kind::Text
            }
            BlockKind::Reasoning { .. } => {
                w.raw(Raw::of_const(
                    r#"{"type":"thinking","thinking":"","signature":""}"#,
                ));
                Kind::Thinking
            }
            BlockKind::Tool { id, name, .. } => {
                w.object(|w| {
                    w.key("type").str("tool_use");
                    w.key("id").str(&names::call_id(&id, self.context.client));
                    w.key("name").str(self.context.tool_name(&name));
                    w.key("input").raw(Raw::of_const("{}"));
                });
                Kind::Tool
            }
            BlockKind::State | BlockKind::Media | BlockKind::Search => return,
        };
        if (self.active.is_some() && !self.is_free()) || !self.waiting.is_empty() {
            self.waiting.push(Waiting {
                block,
                kind,
                start,
                text: Vec::new(),
                stopped: false,
            });
            return;
        }
        self.close(out);
        self.open(block, kind, &start, out);
    }

    /// The active block has all that it needs: a call with whole arguments.
    fn is_free(&self) -> bool {
        self.active
            .as_ref()
            .is_some_and(|active| active.kind == Kind::Tool && active.json.is_complete())
    }

    fn redacted(&mut self, seal: &str, out: &mut Vec<u8>) {
        let mut block = Vec::new();
        Writer::line(&mut block).object(|w| {
            w.key("type").str("redacted_thinking");
            w.key("data").str(seal);
        });
        self.write_start(&block, out);
        self.write_stop(out);
    }

    fn open(&mut self, block: BlockId, kind: Kind, start: &[u8], out: &mut Vec<u8>) {
        for seal in std::mem::take(&mut self.states) {
            self.redacted(&seal, out);
        }
        self.write_start(start, out);
        self.calls |= kind == Kind::Tool;
        self.spoke |= kind != Kind::Thinking;
        self.active = Some(Active {
            block,
            kind,
            seal: None,
            json: JsonScan::default(),
        });
    }

    fn write_start(&self, content: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(
            b"event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":",
        );
        Writer::line(out).u64(self.index);
        out.extend_from_slice(b",\"content_block\":");
        out.extend_from_slice(content);
        out.extend_from_slice(b"}\n\n");
    }

    fn write_stop(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(
            b"event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":",
        );
        Writer::line(out).u64(self.index);
        out.extend_from_slice(b"}\n\n");
        self.index += 1;
    }

    fn delta(&self, kind: &str, member: &str, out: &mut Vec<u8>, value: impl FnOnce(&mut Writer<'_>)) {
        out.extend_from_slice(
            b"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":",
        );
        let mut w = Writer::line(out);
        w.u64(self.index);
        w.bytes().extend_from_slice(b",\"delta\":{\"type\":");
        w.str(kind);
        value(w.key(member));
        out.extend_from_slice(b"}}\n\n");
    }

    /// Text for a block, now or when its turn comes.
    fn text(&mut self, block: BlockId, kind: Kind, text: &Text<'_>, out: &mut Vec<u8>) {
        if let Some(active) = self.active.as_mut().filter(|active| active.block == block) {
            if kind == Kind::Tool {
                active.json.push(&text.decode());
            }
            let (name, member) = delta_names(kind);
            self.delta(name, member, out, |w| w.text(text));
        } else if let Some(waiting) = self.waiting_block(block) {
            Writer::line(&mut waiting.text).text_inside(text);
        }
        self.advance(out);
    }

    /// Lets waiting blocks go as far as the one in front of them allows it.
    fn advance(&mut self, out: &mut Vec<u8>) {
        while !self.waiting.is_empty() && (self.active.is_none() || self.is_free()) {
            self.close(out);
            let waiting = self.waiting.remove(0);
            self.open(waiting.block, waiting.kind, &waiting.start, out);
            if !waiting.text.is_empty() {
                let text = String::from_utf8_lossy(&waiting.text).into_owned();
                let text = Text::Escaped(&text);
                if let Some(active) = &mut self.active {
                    active.json.push(&text.decode());
                }
                let (name, member) = delta_names(waiting.kind);
                self.delta(name, member, out, |w| w.text(&text));
            }
            if waiting.stopped {
                self.close(out);
            }
        }
    }

    fn seal(&mut self, block: BlockId, seal: String, out: &mut Vec<u8>) {
        match &mut self.active {
            None if !self.spoke && self.waiting.is_empty() => self.redacted(&seal, out),
            Some(active) if active.block == block && active.kind == Kind::Thinking => {
                active.seal = Some(seal);
            }
            // Gemini's signature behind the last text is not needed and would end the answer with thinking.
            Some(active) if active.block == block => {}
            _ => self.states.push(seal),
        }
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        let Some(active) = self.active.take() else { return };
        if active.kind == Kind::Thinking {
            let seal = active.seal.unwrap_or_else(|| empty_seal(&self.context));
            self.delta("signature_delta", "signature", out, |w| w.str(&seal));
        }
        self.write_stop(out);
    }

    fn waiting_block(&mut self, block: BlockId) -> Option<&mut Waiting> {
        self.waiting
            .iter_mut()
            .find(|waiting| waiting.block == block && !waiting.stopped)
    }

    fn block_stop(&mut self, block: BlockId, out: &mut Vec<u8>) {
        if self.active.as_ref().is_some_and(|active| active.block == block) {
            self.close(out);
            self.advance(out);
        } else if let Some(waiting) = self.waiting_block(block) {
            waiting.stopped = true;
        }
    }
}

fn delta_names(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Text => ("text_delta", "text"),
        Kind::Thinking => ("thinking_delta", "thinking"),
        Kind::Tool => ("input_json_delta", "partial_json"),
    }
}

impl Encode for Encoder {
    fn event(&mut self, event: Event<'_>, out: &mut Vec<u8>) {
        match event {
            Event::Start(start) => self.head(&start),
            Event::BlockStart { block, kind, .. } => self.block_start(block, kind, out),
            Event::Text { block, text, .. } | Event::Refusal { block, text } => {
                self.text(block, Kind::Text, &text, out)
            }
            Event::Reasoning { block, text, .. } => self.text(block, Kind::Thinking, &text, out),
            Event::Arguments { block, fragment } => self.text(block, Kind::Tool, &fragment, out),
            Event::Seal { block, state } => {
                if let Some(seal) = slot(&state, &self.context) {
                    self.seal(block, seal, out);
                }
            }
            Event::BlockStop { block } => self.block_stop(block, out),
            Event::Usage { usage, .. } => self.usage = usage,
            Event::Finish { stop, .. } => self.stop = Some(stop.into_owned()),
            Event::End => {
                out.extend_from_slice(b"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n")
            }
            Event::Citation { .. } | Event::Media { .. } | Event::Ping | Event::Foreign { .. } => {}
        }
    }

    fn settle(&mut self, out: &mut Vec<u8>) {
        self.start(out);
        // A call may have come behind the finish.
        let stop = self.stop.take().unwrap_or_default().corrected(self.calls);
        out.extend_from_slice(b"event: message_delta\ndata: ");
        Writer::line(out).object(|w| {
            w.key("type").str("message_delta");
            w.key("delta").object(|w| write_stop(w, &stop));
            usage::messages(w.key("usage"), &self.usage);
        });
        out.extend_from_slice(b"\n\n");
    }

    fn fail(&mut self, failure: &Failure, out: &mut Vec<u8>) {
        out.extend_from_slice(b"event: error\ndata: ");
        // As the header says it: with its prefix.
        let id = format!("req_{}", self.context.request_id);
        failure.write(&mut Writer::line(out), self.context.client, &id);
        out.extend_from_slice(b"\n\n");
    }

    fn keep_alive(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"event: ping\ndata: {\"type\": \"ping\"}\n\n");
    }
}
