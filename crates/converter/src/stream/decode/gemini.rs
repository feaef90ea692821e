//! Stream events of streamGenerateContent to hub events.

mod grounding;
mod partial;
mod wire;

use super::{Decode, in_band, read};
use crate::decode::usage;
use crate::failure::Failure;
use crate::format::Format;
use crate::ir::{Logprob, Opaque, State};
use crate::json::{Raw, Text};
use crate::stop::Stop;
use crate::stream::event::{BlockId, BlockKind, Event, Sink, Start};
use crate::stream::position::Position;
use partial::ArgumentWriter;
use wire::{Chunk, FunctionCall, Part};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Thought,
}

#[derive(Debug, Default)]
struct Candidate {
    number: u32,
    current: Option<(BlockId, Kind)>,
    /// A call that comes in pieces.
    call: Option<(BlockId, ArgumentWriter)>,
    finish: Option<Stop<'static>>,
    /// The visible text, and where the text block under way began, in code points.
    text: Position,
    block_at: u64,
}

/// Decoder of one Gemini stream.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    next: BlockId,
    started: bool,
    candidates: Vec<Candidate>,
    ended: bool,
}

impl Decode for Decoder {
    fn event(&mut self, _name: Option<&str>, data: &str, sink: &mut dyn Sink) -> Result<(), Failure> {
        let chunk: Chunk<'_> = read(data)?;
        let bare = chunk.candidates.is_none() && chunk.usage.is_none() && chunk.prompt_feedback.is_none();
        if chunk.error.is_some() || (bare && crate::failure::document(data).is_some()) {
            return Err(in_band(data));
        }
        if !self.started {
            self.started = true;
            sink.event(Event::Start(Start {
                id: chunk.id.unwrap_or_default(),
                model: chunk.model,
                ..Start::default()
            }));
        }
        if let Some(Ok(usage)) = chunk.usage.map(usage::gemini) {
            sink.event(Event::Usage { usage, last: false });
        }
        let blocked = chunk.prompt_feedback.and_then(|feedback| feedback.block_reason);
        let candidates = chunk.candidates.unwrap_or_default();
        if let (None, Some(reason)) = (&candidates.first, blocked) {
            let at = self.candidate(0);
            if let Some(candidate) = self.candidates.get_mut(at) {
                candidate.finish = Some(Stop::Filtered(format!("prompt:{reason}").into()));
            }
        }
        for wire in candidates {
            self.chunk(wire, sink);
        }
        Ok(())
    }

    fn is_held(&self) -> bool {
        !self.ended
            && !self.candidates.is_empty()
            && self.candidates.iter().all(|candidate| candidate.finish.is_some())
    }

    /// The last reason counts: relays repeat STOP on every chunk (wire.md 4.3).
    fn end(&mut self, sink: &mut dyn Sink) -> Result<(), Failure> {
        if self.candidates.iter().any(|candidate| candidate.finish.is_none()) {
            // One of the answers is not complete.
            return Ok(());
        }
        let mut finished = false;
        for candidate in &mut self.candidates {
            if let Some(stop) = candidate.finish.take() {
                candidate.end_call(sink);
                candidate.close(sink);
                sink.event(Event::Finish {
                    choice: candidate.number,
                    stop,
                });
                finished = true;
            }
        }
        if finished {
            self.ended = true;
            sink.event(Event::End);
        }
        Ok(())
    }
}

impl Decoder {
    fn candidate(&mut self, number: u32) -> usize {
        self.candidates
            .iter()
            .position(|candidate| candidate.number == number)
            .unwrap_or_else(|| {
                self.candidates.push(Candidate {
                    number,
                    ..Candidate::default()
                });
                self.candidates.len() - 1
            })
    }

    fn chunk(&mut self, wire: wire::Candidate<'_>, sink: &mut dyn Sink) {
        let index = wire.index.and_then(|index| index.0).unwrap_or(0);
        let at = self.candidate(u32::try_from(index).unwrap_or(0));
        let Decoder { next, candidates, .. } = self;
        let Some(candidate) = candidates.get_mut(at) else {
            return;
        };
        let mut logprobs = grounding::logprobs(wire.logprobs);
        for part in wire.content.and_then(|content| content.parts).unwrap_or_default() {
            candidate.part(part, &mut logprobs, next, sink);
        }
        if let Some(sources) = wire.grounding {
            candidate.ground(sources, next, sink);
        }
        let reason = wire.finish_reason.filter(|reason| !reason.is_empty());
        if let Some(reason) = reason.filter(|reason| reason != "FINISH_REASON_UNSPECIFIED") {
            candidate.finish = Some(Stop::from_gemini(reason).into_owned());
        }
    }
}

fn opaque(state: State<'_>) -> Opaque<'_> {
    Opaque {
        origin: Format::Gemini,
        domain: None,
        state,
    }
}

impl Candidate {
    fn part<'p>(
        &mut self,
        part: Part<'p>,
        logprobs: &mut Vec<Logprob<'p>>,
        next: &mut BlockId,
        sink: &mut dyn Sink,
    ) {
        let signature = part.signature.filter(|signature| !signature.is_empty());
        if let Some(call) = part.call {
            let state = signature.map(|signature| opaque(State::CallSignature(signature)));
            return self.call(call, state, next, sink);
        }
        self.end_call(sink);
        if let Some(blob) = part.inline_data {
            self.close(sink);
            let block = self.begin(BlockKind::Media, next, sink);
            let (mime, data) = (blob.mime.unwrap_or_default(), blob.data.unwrap_or_default());
            sink.event(Event::Media { block, mime, data });
            return sink.event(Event::BlockStop { block });
        }
        let text = part.text.unwrap_or_default();
        if !text.is_empty() && part.thought == Some(true) {
            let block = self.block(Kind::Thought, next, sink);
            sink.event(Event::Reasoning { block, part: 0, text });
        } else if !text.is_empty() {
            let block = self.block(Kind::Text, next, sink);
            self.text.add(&text);
            sink.event(Event::Text {
                block,
                text,
                logprobs: std::mem::take(logprobs),
            });
        }
        if let Some(signature) = signature {
            let state = opaque(State::PartSignature(signature));
            match self.current {
                Some((block, _)) => sink.event(Event::Seal { block, state }),
                None => self.state(state, next, sink),
            }
        }
    }

    /// A whole call, or a piece of one.
    fn call(
        &mut self,
        call: FunctionCall<'_>,
        state: Option<Opaque<'_>>,
        next: &mut BlockId,
        sink: &mut dyn Sink,
    ) {
        let name = call.name.filter(|name| !name.is_empty());
        if let Some(name) = name {
            self.end_call(sink);
            if let Some(state) = state {
                self.call_signature(state, next, sink);
            }
            self.close(sink);
            let kind = BlockKind::Tool {
                id: call.id.unwrap_or_default(),
                name,
                custom: false,
            };
            let block = self.begin(kind, next, sink);
            if call.partial.is_none() && call.more != Some(true) {
                let args = call.args.filter(|args| args.is_object()).map_or("{}", Raw::get);
                let fragment = Text::from(args);
                sink.event(Event::Arguments { block, fragment });
                return sink.event(Event::BlockStop { block });
            }
            self.call = Some((block, ArgumentWriter::default()));
        }
        let Some((block, writer)) = &mut self.call else {
            return;
        };
        let block = *block;
        for piece in call.partial.unwrap_or_default() {
            let fragment = writer.piece(&piece).into();
            sink.event(Event::Arguments { block, fragment });
        }
        if call.more != Some(true) {
            self.end_call(sink);
        }
    }

    /// The end of a call that came in pieces.
    fn end_call(&mut self, sink: &mut dyn Sink) {
        if let Some((block, mut writer)) = self.call.take() {
            let fragment = writer.end().into();
            sink.event(Event::Arguments { block, fragment });
            sink.event(Event::BlockStop { block });
        }
    }

    /// The state of a call stands in front of it: on the thought that led to it, or as a block of its own (wire.md 4.5).
    fn call_signature(&mut self, state: Opaque<'_>, next: &mut BlockId, sink: &mut dyn Sink) {
        if let Some((block, Kind::Thought)) = self.current {
            return sink.event(Event::Seal { block, state });
        }
        self.close(sink);
        self.state(state, next, sink);
    }

    fn state(&mut self, state: Opaque<'_>, next: &mut BlockId, sink: &mut dyn Sink) {
        let block = self.begin(BlockKind::State, next, sink);
        sink.event(Event::Seal { block, state });
        sink.event(Event::BlockStop { block });
    }

    fn begin(&mut self, kind: BlockKind<'_>, next: &mut BlockId, sink: &mut dyn Sink) -> BlockId {
        *next += 1;
        sink.event(Event::BlockStart {
            choice: self.number,
            block: *next,
            kind,
        });
        *next
    }

    fn block(&mut self, kind: Kind, next: &mut BlockId, sink: &mut dyn Sink) -> BlockId {
        match self.current {
            Some((block, open)) if open == kind => return block,
            _ => self.close(sink),
        }
        let wire = if kind == Kind::Text {
            self.block_at = self.text.points();
            BlockKind::Text
        } else {
            BlockKind::Reasoning { summary: true }
        };
        let block = self.begin(wire, next, sink);
        self.current = Some((block, kind));
        block
    }

    fn close(&mut self, sink: &mut dyn Sink) {
        if let Some((block, _)) = self.current.take() {
            sink.event(Event::BlockStop { block });
        }
    }
}
