//! The invariants between decoder and encoder (wire.md 4.2): one start, balanced blocks, no empty text, one finish per answer, one
//! end. Most bugs of stream converters are these invariants broken.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::encode::Encode;
use super::event::{BlockId, BlockKind, Event, Sink, Start};
use crate::context::Context;
use crate::estimate::Estimator;
use crate::failure::{Failure, FailureClass};
use crate::json::Text;
use crate::names;
use crate::stop::Stop;
use crate::usage::Usage;

/// What a stream has said so far.
#[derive(Debug, Default)]
pub(super) struct State {
    started: bool,
    ended: bool,
    /// Content was seen: the answer may be committed.
    pub(super) content: bool,
    /// A finish was passed on, but not yet the end.
    pub(super) finished: bool,
    open: Vec<Open>,
    choices: BTreeMap<u32, Choice>,
    /// Cumulative counters.
    pub(super) usage: Usage,
    /// Counts what was generated, for streams that end without usage.
    pub(super) output: Estimator,
    /// Found on the way: the upstream's fault.
    pub(super) failure: Option<Failure>,
}

#[derive(Debug)]
struct Open {
    block: BlockId,
    choice: u32,
    kind: OpenKind,
    announced: bool,
    has_arguments: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OpenKind {
    Text,
    Reasoning { summary: bool },
    State,
    Tool { custom: bool },
    Refusal,
    Media,
}

impl OpenKind {
    fn kind(self) -> BlockKind<'static> {
        match self {
            OpenKind::Text | OpenKind::Tool { .. } => BlockKind::Text,
            OpenKind::Reasoning { summary } => BlockKind::Reasoning { summary },
            OpenKind::State => BlockKind::State,
            OpenKind::Refusal => BlockKind::Refusal,
            OpenKind::Media => BlockKind::Media,
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Choice {
    tools: bool,
    content: bool,
    finished: bool,
}

impl State {
    /// True once the end was passed on.
    pub(super) fn is_ended(&self) -> bool {
        self.ended
    }

    /// The body ended: decides between a good end, an inferred one and a truncated stream.
    pub(super) fn close(&mut self, encoder: &mut dyn Encode, out: &mut Vec<u8>, context: &Context) {
        if self.ended || self.failure.is_some() {
            return;
        }
        if self.choices.values().any(|choice| choice.finished) {
            Normaliser {
                state: self,
                encoder,
                out,
                context,
            }
            .event(Event::End);
        } else if self.content || self.started {
            let cut = Failure::new(
                FailureClass::UpstreamBad,
                "The provider's stream ended before the answer was complete.",
            );
            self.failure = Some(Failure {
                code: Some("upstream_truncated"),
                ..cut
            });
        } else {
            let empty = Failure::new(FailureClass::UpstreamBad, "The provider's answer is empty.");
            self.failure = Some(Failure {
                code: Some("empty_response"),
                ..empty
            });
        }
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
            Event::Start(start) => self.start(start),
            Event::BlockStart { choice, block, kind } => self.block_start(choice, block, kind),
            Event::Text {
                block,
                text,
                logprobs,
            } => {
                if self.content(block, &text) {
                    self.emit(Event::Text {
                        block,
                        text,
                        logprobs,
                    });
                }
            }
            Event::Reasoning { block, part, text } => {
                if self.content(block, &text) {
                    self.emit(Event::Reasoning { block, part, text });
                }
            }
            Event::Refusal { block, text } => {
                if self.content(block, &text) {
                    self.emit(Event::Refusal { block, text });
                }
            }
            Event::Arguments { block, fragment } => self.arguments(block, fragment),
            Event::Seal { block, mut state } => {
                state.domain = Some(self.context.domain);
                if self.announce(block) {
                    self.emit(Event::Seal { block, state });
                }
            }
            Event::Citation { block, citation } => {
                if self.is_announced(block) {
                    self.emit(Event::Citation { block, citation });
                }
            }
            Event::Media { block, mime, data } => {
                if self.announce(block) {
                    self.emit(Event::Media { block, mime, data });
                }
            }
            Event::BlockStop { block } => self.block_stop(block),
            Event::Usage { usage, last } => {
                self.state.usage.update(&usage);
                let usage = self.state.usage.clone();
                self.start_if_needed();
                self.emit(Event::Usage { usage, last });
            }
            Event::Finish { choice, stop } => self.finish(choice, stop),
            Event::End => self.end(),
            Event::Ping => {}
            Event::Foreign { .. } => {}
        }
    }
}

impl Normaliser<'_> {
    fn emit(&mut self, event: Event<'_>) {
        self.encoder.event(event, self.out);
    }

    /// The first start counts; one that only repeats it is ignored.
    fn start(&mut self, start: Start<'_>) {
        if !self.state.started {
            self.state.started = true;
            self.emit(Event::Start(start));
        }
    }

    fn start_if_needed(&mut self) {
        if !self.state.started {
            self.start(Start::default());
        }
    }

    fn block_start(&mut self, choice: u32, block: BlockId, kind: BlockKind<'_>) {
        self.start_if_needed();
        let open = match kind {
            BlockKind::Text => OpenKind::Text,
            BlockKind::Reasoning { summary } => OpenKind::Reasoning { summary },
            BlockKind::State => OpenKind::State,
            BlockKind::Refusal => OpenKind::Refusal,
            BlockKind::Media => OpenKind::Media,
            BlockKind::Tool { custom, .. } => OpenKind::Tool { custom },
        };
        let announced = matches!(kind, BlockKind::Tool { .. });
        self.state.open.push(Open {
            block,
            choice,
            kind: open,
            announced,
            has_arguments: false,
        });
        if let BlockKind::Tool { id, name, custom } = kind {
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
    }

    fn find(&mut self, block: BlockId) -> Option<&mut Open> {
        self.state.open.iter_mut().find(|open| open.block == block)
    }

    fn is_announced(&mut self, block: BlockId) -> bool {
        self.find(block).is_some_and(|open| open.announced)
    }

    /// Passes the start of a lazily opened block on; false if the block is not open.
    fn announce(&mut self, block: BlockId) -> bool {
        let Some(open) = self.find(block) else {
            return false;
        };
        let (choice, kind) = (open.choice, open.kind);
        if !open.announced {
            open.announced = true;
            self.emit(Event::BlockStart {
                choice,
                block,
                kind: kind.kind(),
            });
        }
        self.state.content = true;
        self.state.choice(choice).content = true;
        true
    }

    /// True if there is text to pass on: empty deltas open nothing.
    fn content(&mut self, block: BlockId, text: &Text<'_>) -> bool {
        if text.is_empty() || !self.announce(block) {
            return false;
        }
        self.state.output.add_text(text);
        true
    }

    fn arguments(&mut self, block: BlockId, fragment: Text<'_>) {
        if fragment.is_empty() {
            return;
        }
        let Some(open) = self.find(block) else { return };
        open.has_arguments = true;
        self.state.output.add_text(&fragment);
        self.emit(Event::Arguments { block, fragment });
    }

    fn block_stop(&mut self, block: BlockId) {
        let Some(at) = self.state.open.iter().position(|open| open.block == block) else {
            return;
        };
        let open = self.state.open.remove(at);
        if let (OpenKind::Tool { custom: false }, false) = (open.kind, open.has_arguments) {
            self.emit(Event::Arguments {
                block,
                fragment: Text::from("{}"),
            });
        }
        if open.announced {
            self.emit(Event::BlockStop { block });
        }
    }

    fn finish(&mut self, choice: u32, stop: Stop<'_>) {
        self.start_if_needed();
        let (tools, content) = {
            let state = self.state.choice(choice);
            if std::mem::replace(&mut state.finished, true) {
                return;
            }
            (state.tools, state.content)
        };
        if !content && matches!(stop, Stop::Malformed(_) | Stop::Failed(_)) {
            let fault = Failure::new(
                FailureClass::UpstreamBad,
                "The provider's answer could not be used.",
            );
            self.state.failure = Some(fault);
            return;
        }
        let open: Vec<BlockId> = self
            .state
            .open
            .iter()
            .filter(|open| open.choice == choice)
            .map(|open| open.block)
            .collect();
        for block in open {
            self.block_stop(block);
        }
        self.state.content = true;
        self.state.finished = true;
        self.emit(Event::Finish {
            choice,
            stop: stop.corrected(tools),
        });
    }

    fn end(&mut self) {
        if !self.state.choices.values().any(|choice| choice.finished) {
            if !self.state.content {
                let empty = Failure::new(FailureClass::UpstreamBad, "The provider's answer is empty.");
                self.state.failure = Some(Failure {
                    code: Some("empty_response"),
                    ..empty
                });
                return;
            }
            // The protocol's own end was seen, only the reason is missing.
            self.finish(0, Stop::EndTurn);
        }
        self.emit(Event::End);
        self.state.ended = true;
    }
}
