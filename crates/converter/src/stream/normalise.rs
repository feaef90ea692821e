//! The invariants between decoder and encoder (wire.md 4.2): one start, balanced blocks, no empty text, one finish per answer, one
//! end. Most bugs of stream converters are these invariants broken.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::encode::Encode;
use super::event::{BlockId, BlockKind, Event, Sink, Start};
use super::notes::Notes;
use super::surrogates::Half;
use crate::context::Context;
use crate::estimate::Estimator;
use crate::failure::{Failure, FailureClass};
use crate::format::Format;
use crate::json::{Text, Writer};
use crate::names;
use crate::stop::Stop;
use crate::usage::Usage;

/// What a stream has said so far.
#[derive(Debug, Default)]
pub(super) struct State {
    /// The first start's id, once there was a start.
    id: Option<String>,
    /// A start that waits for content: an upstream that fails before it may be replaced by another.
    start: Option<Start<'static>>,
    announced: bool,
    settled: bool,
    ended: bool,
    /// Content was seen: the answer may be committed.
    pub(super) content: bool,
    open: Vec<Open>,
    choices: BTreeMap<u32, Choice>,
    /// Cumulative counters.
    pub(super) usage: Usage,
    /// Counts what was generated, for streams that end without usage.
    pub(super) output: Estimator,
    /// What the upstream says of its answer, where that was asked for.
    pub(super) notes: Option<Box<Notes>>,
    /// Found on the way: the upstream's fault.
    pub(super) failure: Option<Failure>,
}

#[derive(Debug)]
struct Open {
    block: BlockId,
    choice: u32,
    kind: OpenKind,
    announced: bool,
    /// Arguments or reasoning text were passed on.
    written: bool,
    /// Free text on its way to a client that has no free text tools: it travels inside `{"input":"…"}`.
    wrapped: bool,
    half: Half,
    /// Number of the reasoning part under way.
    part: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OpenKind {
    Text,
    Reasoning { summary: bool },
    State,
    Tool { custom: bool },
    Refusal,
    Media,
    Search,
}

impl OpenKind {
    fn kind(self) -> BlockKind<'static> {
        match self {
            OpenKind::Text | OpenKind::Tool { .. } => BlockKind::Text,
            OpenKind::Reasoning { summary } => BlockKind::Reasoning { summary },
            OpenKind::State => BlockKind::State,
            OpenKind::Refusal => BlockKind::Refusal,
            OpenKind::Media => BlockKind::Media,
            OpenKind::Search => BlockKind::Search,
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Choice {
    tools: bool,
    content: bool,
    spoke: bool,
    refused: bool,
    finished: bool,
}

/// A failure of the upstream's stream with its finer code.
pub(super) fn broken(message: &'static str, code: &'static str) -> Failure {
    Failure {
        code: Some(code),
        ..Failure::new(FailureClass::UpstreamBad, message)
    }
}

/// The end of a body that is no end of an answer.
pub(super) fn cut(content: bool) -> Failure {
    if content {
        broken(
            "The provider's stream ended before the answer was complete.",
            "upstream_truncated",
        )
    } else {
        broken("The provider's answer is empty.", "empty_response")
    }
}

/// Two answers in one body: a middlebox that tried again put them together.
pub(super) fn spliced() -> Failure {
    broken(
        "The provider's stream began a second answer inside the first.",
        "upstream_protocol",
    )
}

impl State {
    /// True once the end was passed on.
    pub(super) fn is_ended(&self) -> bool {
        self.ended
    }

    /// True once the event that carries the usage has left.
    pub(super) fn is_settled(&self) -> bool {
        self.settled
    }

    /// True once every answer has its finish: only usage and the end are still to come.
    pub(super) fn is_finished(&self) -> bool {
        !self.choices.is_empty() && self.choices.values().all(|choice| choice.finished)
    }

    /// The body ended: decides between a good end and a truncated stream.
    pub(super) fn close(&mut self, encoder: &mut dyn Encode, out: &mut Vec<u8>, context: &Context) {
        if self.ended || self.failure.is_some() {
            return;
        }
        if !self.is_finished() {
            self.failure = Some(cut(self.content || self.id.is_some()));
            return;
        }
        let mut sink = Normaliser {
            state: self,
            encoder,
            out,
            context,
        };
        sink.event(Event::End);
    }

    /// The state of one answer; numbers beyond reason share the last entry.
    fn choice(&mut self, number: u32) -> &mut Choice {
        self.choices.entry(number.min(127)).or_default()
    }
}

/// A sink that repairs events and hands them to the encoder.
pub(super) struct Normaliser<'n> {
    pub(super) state: &'n mut State,
    pub(super) encoder: &'n mut dyn Encode,
    pub(super) out: &'n mut Vec<u8>,
    pub(super) context: &'n Context,
}

impl Sink for Normaliser<'_> {
    fn event(&mut self, event: Event<'_>) {
        if self.state.ended || self.state.failure.is_some() {
            return;
        }
        match event {
            Event::Usage { usage, last } => return self.usage(&usage, last),
            Event::End => return self.end(),
            // Behind the event that carries the usage there is no place for anything.
            _ if self.state.settled => return,
            _ => {}
        }
        match event {
            Event::Start(start) => self.start(start),
            Event::BlockStart { choice, block, kind } => self.block_start(choice, block, kind),
            Event::Text {
                block,
                text,
                logprobs,
            } => {
                if let Some(text) = self.content(block, OpenKind::Text, text) {
                    self.emit(Event::Text {
                        block,
                        text,
                        logprobs,
                    });
                }
            }
            Event::Reasoning { block, part, text } => self.reasoning(block, part, text),
            Event::Refusal { block, text } => {
                if let Some(text) = self.content(block, OpenKind::Refusal, text) {
                    self.emit(Event::Refusal { block, text });
                }
            }
            Event::Arguments { block, fragment } => self.arguments(block, fragment),
            Event::Seal { block, mut state } => {
                state.domain = Some(self.context.domain);
                if self.holds_state(block) && self.announce(block) {
                    self.emit(Event::Seal { block, state });
                }
            }
            Event::Citation { block, citation } => {
                if self.is_text(block) {
                    self.emit(Event::Citation { block, citation });
                }
            }
            Event::Media { block, mime, data } => {
                let media = self.find(block).is_some_and(|open| open.kind == OpenKind::Media);
                if media && self.announce(block) {
                    self.emit(Event::Media { block, mime, data });
                }
            }
            Event::BlockStop { block } => self.block_stop(block),
            Event::Finish { choice, stop } => {
                if let Some(notes) = &mut self.state.notes {
                    notes.finish(choice, &stop);
                }
                self.finish(choice, stop);
            }
            Event::Usage { .. } | Event::End | Event::Ping | Event::Foreign { .. } => {}
        }
    }
}

impl Normaliser<'_> {
    fn emit(&mut self, event: Event<'_>) {
        event.frame(&mut self.state.output);
        self.encoder.event(event, self.out);
    }

    /// One start. Before content the last one counts, afterwards another answer is an error.
    fn start(&mut self, start: Start<'_>) {
        let other = self
            .state
            .id
            .as_ref()
            .is_none_or(|id| !start.id.is_empty() && *id != *start.id);
        if !other {
            return;
        }
        if self.state.announced || self.state.content {
            self.state.failure = Some(spliced());
            return;
        }
        if let Some(notes) = &mut self.state.notes {
            notes.start(&start);
        }
        self.state.id = Some(start.id.clone().into_owned());
        self.state.start = Some(start.into_owned());
    }

    /// Passes the start on: content follows.
    fn begin(&mut self) {
        if !std::mem::replace(&mut self.state.announced, true) {
            self.state.id.get_or_insert_default();
            let start = self.state.start.take().unwrap_or_default();
            self.emit(Event::Start(start));
        }
    }

    fn block_start(&mut self, choice: u32, block: BlockId, kind: BlockKind<'_>) {
        if kind == BlockKind::Search && self.context.client != Format::Responses {
            // Only Responses can show a search that the vendor ran.
            return;
        }
        if self.find(block).is_some() || !self.is_shown(choice) {
            return;
        }
        let mut open = Open {
            block,
            choice,
            kind: OpenKind::Text,
            announced: false,
            written: false,
            wrapped: false,
            half: Half::default(),
            part: 0,
        };
        open.kind = match kind {
            BlockKind::Text => OpenKind::Text,
            BlockKind::Reasoning { summary } => OpenKind::Reasoning { summary },
            BlockKind::State => OpenKind::State,
            BlockKind::Refusal => OpenKind::Refusal,
            BlockKind::Media => OpenKind::Media,
            BlockKind::Search => OpenKind::Search,
            BlockKind::Tool { id, name, custom } => {
                // Messages and Gemini know no free text: what is no JSON object is put into one.
                let free = matches!(self.context.client, Format::Chat | Format::Responses);
                open.wrapped = custom && !free;
                open.announced = true;
                self.tool(choice, block, id, name, custom && free);
                OpenKind::Tool { custom }
            }
        };
        self.state.open.push(open);
    }

    /// Several answers exist only in Chat and Gemini.
    fn is_shown(&self, choice: u32) -> bool {
        choice == 0 || matches!(self.context.client, Format::Chat | Format::Gemini)
    }

    fn tool(&mut self, choice: u32, block: BlockId, id: Cow<'_, str>, name: Cow<'_, str>, custom: bool) {
        self.begin();
        self.state.content = true;
        let state = self.state.choice(choice);
        state.tools = true;
        state.content = true;
        let id = if id.is_empty() {
            Cow::Owned(names::synthetic_call(
                &self.context.request_id,
                &block.to_string(),
            ))
        } else {
            id
        };
        self.state.output.add(&name);
        // The upstream's name travels; encoders map it with the context, which knows custom tools and namespaces too.
        self.emit(Event::BlockStart {
            choice,
            block,
            kind: BlockKind::Tool { id, name, custom },
        });
    }

    fn find(&mut self, block: BlockId) -> Option<&mut Open> {
        self.state.open.iter_mut().find(|open| open.block == block)
    }

    fn is_text(&mut self, block: BlockId) -> bool {
        self.find(block)
            .is_some_and(|open| open.announced && open.kind == OpenKind::Text)
    }

    /// Makes sure that a block can hold state. One that says nothing yet holds nothing else: it becomes a block of state.
    fn holds_state(&mut self, block: BlockId) -> bool {
        match self.find(block).map(|open| (open.kind, open.announced)) {
            Some((OpenKind::Text | OpenKind::Refusal, false)) => self.ensure(block, OpenKind::State),
            Some((OpenKind::Media | OpenKind::Search, _)) | None => return false,
            Some(_) => {}
        }
        true
    }

    /// The block that a delta of this kind belongs to: one of another kind ends here, one that is not open begins.
    fn ensure(&mut self, block: BlockId, kind: OpenKind) {
        let same = std::mem::discriminant(&kind);
        let choice = match self.find(block) {
            Some(open) if std::mem::discriminant(&open.kind) == same => return,
            Some(open) => {
                let choice = open.choice;
                self.block_stop(block);
                choice
            }
            None => 0,
        };
        self.block_start(choice, block, kind.kind());
    }

    /// Passes the start of a lazily opened block on; false if the block is not open.
    fn announce(&mut self, block: BlockId) -> bool {
        let Some(open) = self.find(block) else {
            return false;
        };
        let (choice, kind) = (open.choice, open.kind);
        if std::mem::replace(&mut open.announced, true) {
            return true;
        }
        self.begin();
        self.emit(Event::BlockStart {
            choice,
            block,
            kind: kind.kind(),
        });
        self.state.content = true;
        let state = self.state.choice(choice);
        state.content = true;
        state.spoke |= kind == OpenKind::Text;
        state.refused |= kind == OpenKind::Refusal;
        true
    }

    /// The text to pass on, if there is any: empty deltas open nothing.
    fn content<'t>(&mut self, block: BlockId, kind: OpenKind, text: Text<'t>) -> Option<Text<'t>> {
        if text.is_empty() {
            return None;
        }
        self.ensure(block, kind);
        let text = self.find(block)?.half.join(text);
        if text.is_empty() || !self.announce(block) {
            return None;
        }
        self.state.output.add_text(&text);
        Some(text)
    }

    /// Parts of one thought are parts only to Responses; elsewhere a line break stands between them.
    fn reasoning(&mut self, block: BlockId, part: u32, text: Text<'_>) {
        let kind = OpenKind::Reasoning { summary: true };
        let Some(text) = self.content(block, kind, text) else {
            return;
        };
        if self.context.client == Format::Responses {
            return self.emit(Event::Reasoning { block, part, text });
        }
        let before = self.find(block).map(|open| {
            (
                std::mem::replace(&mut open.part, part),
                std::mem::replace(&mut open.written, true),
            )
        });
        if before.is_some_and(|(before, written)| written && before != part) {
            let line = Text::from("\n");
            self.emit(Event::Reasoning {
                block,
                part: 0,
                text: line,
            });
        }
        self.emit(Event::Reasoning { block, part: 0, text });
    }

    fn arguments(&mut self, block: BlockId, fragment: Text<'_>) {
        if self.find(block).is_some_and(|open| open.kind == OpenKind::Search) && !self.announce(block) {
            return;
        }
        let callable = |open: &&mut Open| matches!(open.kind, OpenKind::Tool { .. } | OpenKind::Search);
        let Some(open) = self.find(block).filter(callable) else {
            return;
        };
        let fragment = open.half.join(fragment);
        if fragment.is_empty() {
            return;
        }
        let first = !std::mem::replace(&mut open.written, true);
        let wrapped = open.wrapped;
        if open.kind != OpenKind::Search {
            self.state.output.add_text(&fragment);
        }
        let fragment = if wrapped { wrap(&fragment, first) } else { fragment };
        self.emit(Event::Arguments { block, fragment });
    }

    fn block_stop(&mut self, block: BlockId) {
        let rest = self
            .find(block)
            .and_then(|open| Some((open.kind, open.part, open.half.rest()?)));
        match rest {
            Some((OpenKind::Text, _, text)) if self.announce(block) => self.emit(Event::Text {
                block,
                text,
                logprobs: Vec::new(),
            }),
            Some((OpenKind::Reasoning { .. }, part, text)) if self.announce(block) => {
                self.emit(Event::Reasoning { block, part, text })
            }
            Some((OpenKind::Refusal, _, text)) if self.announce(block) => {
                self.emit(Event::Refusal { block, text })
            }
            Some((OpenKind::Tool { .. }, _, text)) => self.arguments(block, text),
            _ => {}
        }
        let Some(at) = self.state.open.iter().position(|open| open.block == block) else {
            return;
        };
        let open = self.state.open.remove(at);
        let missing = match open.kind {
            OpenKind::Tool { .. } if open.wrapped && open.written => "\"}",
            OpenKind::Tool { .. } if open.wrapped => "{\"input\":\"\"}",
            OpenKind::Tool { custom: false } if !open.written => "{}",
            _ => "",
        };
        if !missing.is_empty() {
            self.emit(Event::Arguments {
                block,
                fragment: Text::from(missing),
            });
        }
        if open.announced {
            self.emit(Event::BlockStop { block });
        }
    }

    /// Stops the open blocks of one answer, or of all, in start order.
    fn stop_open(&mut self, choice: Option<u32>) {
        let open: Vec<BlockId> = self
            .state
            .open
            .iter()
            .filter(|open| choice.is_none_or(|choice| open.choice == choice))
            .map(|open| open.block)
            .collect();
        for block in open {
            self.block_stop(block);
        }
    }

    fn finish(&mut self, choice: u32, stop: Stop<'_>) {
        if !self.is_shown(choice) {
            return;
        }
        let state = self.state.choice(choice);
        if state.finished {
            return;
        }
        let unusable =
            matches!(stop, Stop::Failed(_)) || (matches!(stop, Stop::Malformed(_)) && !state.content);
        if unusable {
            let fault = "The provider's answer could not be used.";
            self.state.failure = Some(Failure::new(FailureClass::UpstreamBad, fault));
            return;
        }
        state.finished = true;
        let tools = state.tools;
        let stop = match stop {
            // OpenAI says that it refused by where the text stands.
            Stop::EndTurn if state.refused && !state.spoke && !tools => Stop::Refusal {
                category: None,
                explanation: None,
            },
            // What was said before stands; the last thing was unreadable.
            Stop::Malformed(word) => Stop::Unknown(word),
            stop => stop,
        };
        self.begin();
        self.stop_open(Some(choice));
        self.state.content = true;
        self.emit(Event::Finish {
            choice,
            stop: stop.corrected(tools),
        });
    }

    fn usage(&mut self, usage: &Usage, last: bool) {
        self.state.usage.update(usage);
        if self.state.settled {
            return;
        }
        let usage = self.state.usage.clone();
        self.emit(Event::Usage { usage, last });
        if last && self.state.is_finished() {
            self.settle();
        }
    }

    /// Lets the event go that carries usage: it is known, or nothing better than an estimate will come.
    fn settle(&mut self) {
        if std::mem::replace(&mut self.state.settled, true) {
            return;
        }
        // What came behind the finish.
        self.stop_open(None);
        let mut usage = self.state.usage.clone();
        usage.input.get_or_insert(self.context.input_estimate);
        usage.output.get_or_insert(self.state.output.tokens());
        self.emit(Event::Usage { usage, last: true });
        self.encoder.settle(self.out);
    }

    fn end(&mut self) {
        if !self.state.is_finished() {
            if !self.state.content {
                self.state.failure = Some(cut(false));
                return;
            }
            // The protocol's own end was seen, only the reason is missing.
            let open: Vec<u32> = self
                .state
                .choices
                .iter()
                .filter(|(_, choice)| !choice.finished)
                .map(|(number, _)| *number)
                .collect();
            for choice in open {
                self.finish(choice, Stop::EndTurn);
            }
        }
        self.settle();
        self.emit(Event::End);
        self.state.ended = true;
    }
}

/// Free text as a piece of the JSON string in `{"input":"…"}`.
fn wrap(text: &Text<'_>, first: bool) -> Text<'static> {
    let mut out = Vec::from(if first { "{\"input\":\"" } else { "" });
    Writer::new(&mut out).text_inside(text);
    String::from_utf8_lossy(&out).into_owned().into()
}
