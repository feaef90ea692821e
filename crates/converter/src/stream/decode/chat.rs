//! Stream events of Chat Completions to hub events.

use std::borrow::Cow;

use super::{Decode, in_band, read};
use crate::decode::{self, ChatLogprobs, chat_logprobs, usage};
use crate::failure::Failure;
use crate::format::Format;
use crate::ir::{Opaque, State};
use crate::json::{Raw, Text};
use crate::stop::Stop;
use crate::stream::event::{BlockId, BlockKind, Event, Sink, Start};
use crate::wire::chat::{CustomCall, FunctionCall, ReasoningDetail};
use crate::wire::{Content, object};

object! {
    /// A chunk.
    struct Chunk {
        /// Id.
        id: Cow<'a, str> = "id",
        /// Model.
        model: Cow<'a, str> = "model",
        /// Seconds.
        created: u64 = "created",
        /// Choices.
        choices: Vec<Choice<'a>> = "choices",
        /// Usage.
        usage: Raw<'a> = "usage",
        /// Tier.
        service_tier: Cow<'a, str> = "service_tier",
        /// Fingerprint.
        system_fingerprint: Text<'a> = "system_fingerprint",
        /// In-band error.
        error: Raw<'a> = "error",
    }

    /// A choice.
    struct Choice {
        /// Number.
        index: u64 = "index",
        /// What is new.
        delta: Delta<'a> = "delta",
        /// Why it ended.
        finish_reason: Cow<'a, str> = "finish_reason",
        /// Log probabilities.
        logprobs: ChatLogprobs<'a> = "logprobs",
        /// Usage, where some servers put it.
        usage: Raw<'a> = "usage",
    }

    /// A delta.
    struct Delta {
        /// Text; some servers send parts.
        content: Content<'a, Part<'a>> = "content",
        /// Refusal.
        refusal: Text<'a> = "refusal",
        /// Reasoning text.
        reasoning: Text<'a> = "reasoning_content" | "reasoning",
        /// Reasoning state.
        reasoning_details: Vec<ReasoningDetail<'a>> = "reasoning_details",
        /// Calls.
        tool_calls: Vec<ToolCall<'a>> = "tool_calls",
        /// Call, old form.
        function_call: FunctionCall<'a> = "function_call",
    }

    /// A part.
    struct Part {
        /// Text.
        text: Text<'a> = "text",
    }

    /// A fragment of a tool call.
    struct ToolCall {
        /// Number.
        index: u64 = "index",
        /// Id.
        id: Cow<'a, str> = "id",
        /// Function.
        function: FunctionCall<'a> = "function",
        /// Custom tool.
        custom: CustomCall<'a> = "custom",
        /// Google's signature.
        extra_content: Raw<'a> = "extra_content",
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Reasoning,
    Refusal,
}

#[derive(Debug)]
struct Tool {
    index: u64,
    id: String,
    /// `None` until the name is known: nothing was started yet.
    block: Option<BlockId>,
    early: String,
}

#[derive(Debug, Default)]
struct ChoiceState {
    number: u32,
    current: Option<(BlockId, Kind)>,
    tools: Vec<Tool>,
    finished: bool,
}

/// Decoder of one Chat stream.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    next: BlockId,
    started: bool,
    choices: Vec<ChoiceState>,
}

impl Decode for Decoder {
    fn event(&mut self, _name: Option<&str>, data: &str, sink: &mut dyn Sink) -> Result<(), Failure> {
        let chunk: Chunk<'_> = read(data)?;
        if chunk.error.is_some() || (chunk.choices.is_none() && crate::failure::document(data).is_some()) {
            return Err(in_band(data));
        }
        let choices = chunk.choices.unwrap_or_default();
        if !self.started && !choices.is_empty() {
            self.started = true;
            sink.event(Event::Start(Start {
                id: chunk.id.unwrap_or_default(),
                model: chunk.model.filter(|model| !model.is_empty()),
                created: chunk.created,
                service_tier: chunk.service_tier,
                fingerprint: chunk.system_fingerprint,
            }));
        }
        let alone = choices.is_empty();
        let mut counted = chunk.usage;
        for choice in choices {
            counted = counted.or(choice.usage);
            self.choice(choice, sink);
        }
        if let Some(Ok(usage)) = counted.map(usage::openai) {
            sink.event(Event::Usage { usage, last: alone });
        }
        Ok(())
    }

    fn done(&mut self, sink: &mut dyn Sink) -> Result<(), Failure> {
        sink.event(Event::End);
        Ok(())
    }

    fn end(&mut self, _sink: &mut dyn Sink) -> Result<(), Failure> {
        Ok(())
    }
}

impl Decoder {
    fn choice(&mut self, wire: Choice<'_>, sink: &mut dyn Sink) {
        let number = u32::try_from(wire.index.unwrap_or(0)).unwrap_or(0);
        let at = self
            .choices
            .iter()
            .position(|choice| choice.number == number)
            .unwrap_or_else(|| {
                self.choices.push(ChoiceState {
                    number,
                    ..ChoiceState::default()
                });
                self.choices.len() - 1
            });
        let Decoder { next, choices, .. } = self;
        let Some(choice) = choices.get_mut(at) else { return };
        choice.delta(
            wire.delta.unwrap_or_default(),
            chat_logprobs(wire.logprobs),
            next,
            sink,
        );
        if let Some(reason) = wire.finish_reason
            && !std::mem::replace(&mut choice.finished, true)
        {
            choice.close(sink);
            for tool in choice.tools.drain(..).filter_map(|tool| tool.block) {
                sink.event(Event::BlockStop { block: tool });
            }
            sink.event(Event::Finish {
                choice: number,
                stop: Stop::from_chat(reason),
            });
        }
    }
}

impl ChoiceState {
    fn delta(
        &mut self,
        delta: Delta<'_>,
        logprobs: Vec<crate::ir::Logprob<'_>>,
        next: &mut BlockId,
        sink: &mut dyn Sink,
    ) {
        if let Some(text) = delta.reasoning.filter(|text| !text.is_empty()) {
            let block = self.block(Kind::Reasoning, next, sink);
            sink.event(Event::Reasoning { block, part: 0, text });
        }
        for detail in delta.reasoning_details.unwrap_or_default() {
            let own = detail.data.and_then(|data| crate::seal::open(&data, None).ok());
            if let Some(state) = own {
                let block = self.block(Kind::Reasoning, next, sink);
                sink.event(Event::Seal { block, state });
            }
        }
        let texts: Vec<Text<'_>> = match delta.content {
            None => Vec::new(),
            Some(Content::Text(text)) => vec![text],
            Some(Content::Parts(parts)) => parts.into_iter().filter_map(|part| part.text).collect(),
        };
        let mut logprobs = logprobs;
        for text in texts.into_iter().filter(|text| !text.is_empty()) {
            let block = self.block(Kind::Text, next, sink);
            sink.event(Event::Text {
                block,
                text,
                logprobs: std::mem::take(&mut logprobs),
            });
        }
        if let Some(text) = delta.refusal.filter(|text| !text.is_empty()) {
            let block = self.block(Kind::Refusal, next, sink);
            sink.event(Event::Refusal { block, text });
        }
        for call in delta.tool_calls.unwrap_or_default() {
            self.tool(call, next, sink);
        }
        if let Some(function) = delta.function_call {
            self.tool(
                ToolCall {
                    index: Some(0),
                    function: Some(function),
                    ..ToolCall::default()
                },
                next,
                sink,
            );
        }
    }

    /// The open block of a kind; another kind is closed first.
    fn block(&mut self, kind: Kind, next: &mut BlockId, sink: &mut dyn Sink) -> BlockId {
        match self.current {
            Some((block, open)) if open == kind => return block,
            _ => self.close(sink),
        }
        *next += 1;
        let block = *next;
        self.current = Some((block, kind));
        let wire = match kind {
            Kind::Text => BlockKind::Text,
            Kind::Reasoning => BlockKind::Reasoning { summary: false },
            Kind::Refusal => BlockKind::Refusal,
        };
        sink.event(Event::BlockStart {
            choice: self.number,
            block,
            kind: wire,
        });
        block
    }

    fn close(&mut self, sink: &mut dyn Sink) {
        if let Some((block, kind)) = self.current.take() {
            if kind == Kind::Reasoning {
                let state = State::Plain;
                sink.event(Event::Seal {
                    block,
                    state: Opaque {
                        origin: Format::Chat,
                        domain: None,
                        state,
                    },
                });
            }
            sink.event(Event::BlockStop { block });
        }
    }

    /// Which call a fragment belongs to (wire.md 4.3, 5.13).
    fn tool(&mut self, call: ToolCall<'_>, next: &mut BlockId, sink: &mut dyn Sink) {
        let id = call.id.unwrap_or_default();
        let custom = call.custom.is_some();
        let (name, arguments) = match (call.function, call.custom) {
            (Some(function), _) => (function.name, function.arguments),
            (None, Some(custom)) => (custom.name, custom.input),
            (None, None) => (None, None),
        };
        let name = name.filter(|name| !name.is_empty());
        let known = match call.index {
            Some(index) => self.tools.iter().rposition(|tool| tool.index == index),
            None if id.is_empty() => self.tools.len().checked_sub(1),
            None => self.tools.iter().position(|tool| tool.id == id),
        };
        let other_call =
            |tool: &Tool| !id.is_empty() && !tool.id.is_empty() && tool.id != id && name.is_some();
        let at = match known {
            Some(at) if !self.tools.get(at).is_some_and(other_call) => at,
            _ => {
                let index = call.index.unwrap_or(self.tools.len() as u64);
                self.tools.push(Tool {
                    index,
                    id: String::new(),
                    block: None,
                    early: String::new(),
                });
                self.tools.len() - 1
            }
        };
        self.close(sink);
        let number = self.number;
        let Some(tool) = self.tools.get_mut(at) else {
            return;
        };
        if tool.id.is_empty() {
            tool.id = id.into_owned();
        }
        if let (None, Some(name)) = (tool.block, name) {
            if let Some(state) = decode::google_signature(call.extra_content) {
                *next += 1;
                let block = *next;
                sink.event(Event::BlockStart {
                    choice: number,
                    block,
                    kind: BlockKind::State,
                });
                sink.event(Event::Seal { block, state });
                sink.event(Event::BlockStop { block });
            }
            *next += 1;
            tool.block = Some(*next);
            let (bare, _) = crate::names::strip_seal(&tool.id);
            let kind = BlockKind::Tool {
                id: Cow::Borrowed(bare),
                name,
                custom,
            };
            sink.event(Event::BlockStart {
                choice: number,
                block: *next,
                kind,
            });
            if !tool.early.is_empty() {
                let fragment = std::mem::take(&mut tool.early).into();
                sink.event(Event::Arguments {
                    block: *next,
                    fragment,
                });
            }
        }
        let Some(fragment) = arguments.filter(|fragment| !fragment.is_empty()) else {
            return;
        };
        match tool.block {
            Some(block) => sink.event(Event::Arguments { block, fragment }),
            None => tool.early.push_str(&fragment.decode()),
        }
    }
}
