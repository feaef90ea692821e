//! Stream events of Chat Completions to hub events.

mod tool;
mod wire;

use super::envelope::Envelope;
use super::{Decode, in_band, read};
use crate::decode::{chat_logprobs, google_signature, usage};
use crate::failure::Failure;
use crate::format::Format;
use crate::ir::{Citation, Logprob, Opaque, State};
use crate::json::Text;
use crate::stop::Stop;
use crate::stream::event::{BlockId, BlockKind, Event, Sink, Start};
use crate::stream::position::points;
use crate::usage::{ServiceTier, Usage};
use crate::wire::Content;
use tool::Tools;
use wire::{Annotation, Choice, Chunk, Delta, Detail, Part, ToolCall};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Reasoning,
    Refusal,
}

#[derive(Debug, Default)]
struct ChoiceState {
    number: u32,
    current: Option<(BlockId, Kind)>,
    tools: Tools,
    finished: bool,
    /// Code points of visible text, and where the text block under way began.
    points: u64,
    block_at: u64,
}

/// Decoder of one Chat stream.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    next: BlockId,
    started: bool,
    choices: Vec<ChoiceState>,
    tier: Option<ServiceTier>,
    /// What the last chunk with nothing but text was like, and the number of its answer.
    envelope: Envelope<u32>,
}

impl Decode for Decoder {
    fn event(&mut self, _name: Option<&str>, data: &str, sink: &mut dyn Sink) -> Result<(), Failure> {
        if let Some((text, number)) = self.envelope.text(data) {
            self.again(number, text, sink);
            return Ok(());
        }
        let chunk: Chunk<'_> = read(data)?;
        if self.envelope.learns()
            && let Some((number, text)) = chunk.only_text()
        {
            let idle = chunk.obfuscation.as_ref();
            self.envelope.learn(data, text, idle, number);
        }
        if chunk.error.is_some() || (chunk.choices.is_none() && crate::failure::document(data).is_some()) {
            return Err(in_band(data));
        }
        let choices = chunk.choices.unwrap_or_default();
        let alone = choices.first.is_none();
        let tier = chunk.service_tier.as_deref().and_then(ServiceTier::from_name);
        if !self.started && !alone {
            self.started = true;
            sink.event(Event::Start(Start {
                id: chunk.id.unwrap_or_default(),
                model: chunk.model.filter(|model| !model.is_empty()),
                created: chunk.created.and_then(|created| created.0),
                service_tier: chunk.service_tier,
                fingerprint: chunk.system_fingerprint,
            }));
        }
        self.tier = self.tier.or(tier);
        let mut counted = chunk.usage;
        for choice in choices {
            counted = counted.or(choice.usage);
            self.choice(choice, sink);
        }
        if let Some(Ok(usage)) = counted.map(usage::openai) {
            let usage = Usage {
                tier: self.tier,
                ..usage
            };
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
    /// A chunk like the last one, but for its text.
    fn again(&mut self, number: u32, text: Text<'_>, sink: &mut dyn Sink) {
        let known = self.choices.iter_mut().find(|choice| choice.number == number);
        if let Some(choice) = known {
            choice.text(text, Vec::new(), &mut self.next, sink);
        }
    }

    fn choice(&mut self, wire: Choice<'_>, sink: &mut dyn Sink) {
        let number = wire.number();
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
        let logprobs = chat_logprobs(wire.logprobs.map(|logprobs| *logprobs));
        match (wire.delta, wire.text) {
            (None, Some(text)) => choice.text(text, Vec::new(), next, sink),
            (delta, _) => choice.delta(delta.unwrap_or_default(), logprobs, next, sink),
        }
        // Some servers send an empty reason until there is one.
        if let Some(reason) = wire.finish_reason.filter(|reason| !reason.is_empty())
            && !std::mem::replace(&mut choice.finished, true)
        {
            let stop = Stop::from_chat(reason);
            if !matches!(stop, Stop::Failed(_)) {
                choice.close(sink);
                choice.tools.close(sink);
            }
            sink.event(Event::Finish { choice: number, stop });
        }
    }
}

impl ChoiceState {
    fn delta(
        &mut self,
        delta: Delta<'_>,
        logprobs: Vec<Logprob<'_>>,
        next: &mut BlockId,
        sink: &mut dyn Sink,
    ) {
        // One of the spellings per chunk: servers repeat the same text in several.
        let said = delta.reasoning.filter(|text| !text.is_empty());
        let silent = said.is_none();
        if let Some(text) = said {
            self.reasoning(text, next, sink);
        }
        for detail in delta.reasoning_details.unwrap_or_default() {
            self.detail(detail, silent, next, sink);
        }
        if let Some(state) = google_signature(delta.extra_content) {
            self.state(state, next, sink);
        }
        match delta.content {
            None => {}
            Some(Content::Text(text)) => self.text(text, logprobs, next, sink),
            Some(Content::Parts(parts)) => self.parts(parts, logprobs, next, sink),
        }
        for annotation in delta.annotations.unwrap_or_default() {
            self.annotation(annotation, sink);
        }
        if let Some(text) = delta.refusal.filter(|text| !text.is_empty()) {
            let block = self.block(Kind::Refusal, next, sink);
            sink.event(Event::Refusal { block, text });
        }
        for call in delta.tool_calls.unwrap_or_default() {
            self.call(call, next, sink);
        }
        if let Some(function) = delta.function_call {
            let call = ToolCall {
                index: Some(super::Whole(Some(0))),
                function: Some(*function),
                ..ToolCall::default()
            };
            self.call(call, next, sink);
        }
    }

    fn call(&mut self, call: ToolCall<'_>, next: &mut BlockId, sink: &mut dyn Sink) {
        self.close(sink);
        self.tools.fragment(call, self.number, next, sink);
    }

    fn reasoning(&mut self, text: Text<'_>, next: &mut BlockId, sink: &mut dyn Sink) {
        let block = self.block(Kind::Reasoning, next, sink);
        sink.event(Event::Reasoning { block, part: 0, text });
    }

    fn detail(&mut self, detail: Detail<'_>, silent: bool, next: &mut BlockId, sink: &mut dyn Sink) {
        if let Some(text) = detail.text.filter(|text| silent && !text.is_empty()) {
            self.reasoning(text, next, sink);
        }
        if let Some(state) = detail.data.and_then(|data| crate::seal::open(&data, None).ok()) {
            self.state(state, next, sink);
        }
    }

    /// State belongs to the thought under way, or to its place.
    fn state(&mut self, state: Opaque<'_>, next: &mut BlockId, sink: &mut dyn Sink) {
        if let Some((block, Kind::Reasoning)) = self.current {
            return sink.event(Event::Seal { block, state });
        }
        self.close(sink);
        *next += 1;
        let block = *next;
        sink.event(Event::BlockStart {
            choice: self.number,
            block,
            kind: BlockKind::State,
        });
        sink.event(Event::Seal { block, state });
        sink.event(Event::BlockStop { block });
    }

    fn text(&mut self, text: Text<'_>, logprobs: Vec<Logprob<'_>>, next: &mut BlockId, sink: &mut dyn Sink) {
        if text.is_empty() {
            return;
        }
        let block = self.block(Kind::Text, next, sink);
        self.points += points(&text);
        sink.event(Event::Text {
            block,
            text,
            logprobs,
        });
    }

    fn parts(
        &mut self,
        parts: Vec<Part<'_>>,
        mut logprobs: Vec<Logprob<'_>>,
        next: &mut BlockId,
        sink: &mut dyn Sink,
    ) {
        for part in parts {
            for thought in part.thinking.unwrap_or_default() {
                if let Some(text) = thought.text.filter(|text| !text.is_empty()) {
                    self.reasoning(text, next, sink);
                }
            }
            if let Some(text) = part.text {
                self.text(text, std::mem::take(&mut logprobs), next, sink);
            }
        }
    }

    /// Places count from the start of the whole content; a block counts from its own.
    fn annotation(&mut self, annotation: Annotation<'_>, sink: &mut dyn Sink) {
        let (Some((block, Kind::Text)), Some(source)) = (self.current, annotation.url_citation) else {
            return;
        };
        let place = |index: Option<super::Whole>| index?.0?.checked_sub(self.block_at);
        let range = place(source.start_index).zip(place(source.end_index));
        let citation = Citation {
            url: source.url,
            title: source.title,
            range: range.filter(|(start, end)| start < end),
            ..Citation::default()
        };
        sink.event(Event::Citation { block, citation });
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
        self.block_at = self.points;
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
}
