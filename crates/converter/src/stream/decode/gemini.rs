//! Stream events of streamGenerateContent to hub events.

use super::{Decode, in_band, read};
use crate::decode::{GeminiAnswer, usage};
use crate::failure::Failure;
use crate::format::Format;
use crate::ir::{Opaque, State};
use crate::json::{Raw, Text};
use crate::stop::Stop;
use crate::stream::event::{BlockId, BlockKind, Event, Sink, Start};
use crate::wire::gemini::Part;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Thought,
}

#[derive(Debug, Default)]
struct Candidate {
    number: u32,
    current: Option<(BlockId, Kind)>,
    finish: Option<Stop<'static>>,
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
        let chunk: GeminiAnswer<'_> = read(data)?;
        if chunk.error.is_some() {
            return Err(in_band(data));
        }
        if !self.started {
            self.started = true;
            let id = chunk.response_id.unwrap_or_default();
            sink.event(Event::Start(Start {
                id,
                model: chunk.model_version,
                ..Start::default()
            }));
        }
        if let Some(Ok(usage)) = chunk.usage_metadata.map(usage::gemini) {
            sink.event(Event::Usage { usage, last: false });
        }
        let blocked = chunk.prompt_feedback.and_then(|feedback| feedback.block_reason);
        let candidates = chunk.candidates.unwrap_or_default();
        if let (true, Some(reason)) = (candidates.is_empty(), blocked) {
            let at = self.candidate(0);
            if let Some(candidate) = self.candidates.get_mut(at) {
                candidate.finish = Some(Stop::Filtered(format!("prompt:{reason}").into()));
            }
        }
        for wire in candidates {
            let at = self.candidate(u32::try_from(wire.index.unwrap_or(0)).unwrap_or(0));
            let Decoder { next, candidates, .. } = self;
            let Some(candidate) = candidates.get_mut(at) else {
                continue;
            };
            for part in wire.content.and_then(|content| content.parts).unwrap_or_default() {
                candidate.part(part, next, sink);
            }
            if let Some(reason) = wire.finish_reason {
                candidate.finish = Some(Stop::from_gemini(reason).into_owned());
            }
        }
        Ok(())
    }

    fn is_held(&self) -> bool {
        !self.ended && self.candidates.iter().any(|candidate| candidate.finish.is_some())
    }

    /// The last reason counts: relays repeat STOP on every chunk (wire.md 4.3).
    fn end(&mut self, sink: &mut dyn Sink) -> Result<(), Failure> {
        let mut finished = false;
        for candidate in &mut self.candidates {
            if let Some(stop) = candidate.finish.take() {
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
}

fn opaque(state: State<'_>) -> Opaque<'_> {
    Opaque {
        origin: Format::Gemini,
        domain: None,
        state,
    }
}

impl Candidate {
    fn part(&mut self, part: Part<'_>, next: &mut BlockId, sink: &mut dyn Sink) {
        let signature = part.thought_signature.filter(|signature| !signature.is_empty());
        if let Some(call) = part.function_call {
            let Some(name) = call.name else { return };
            if let Some(signature) = signature {
                self.call_signature(opaque(State::CallSignature(signature)), next, sink);
            }
            self.close(sink);
            let kind = BlockKind::Tool {
                id: call.id.unwrap_or_default(),
                name,
                custom: false,
            };
            let block = self.begin(kind, next, sink);
            let args = call.args.filter(|args| args.is_object()).map_or("{}", Raw::get);
            sink.event(Event::Arguments {
                block,
                fragment: Text::from(args),
            });
            sink.event(Event::BlockStop { block });
            return;
        }
        if let Some(blob) = part.inline_data {
            self.close(sink);
            let block = self.begin(BlockKind::Media, next, sink);
            let (mime, data) = (blob.mime_type.unwrap_or_default(), blob.data.unwrap_or_default());
            sink.event(Event::Media { block, mime, data });
            sink.event(Event::BlockStop { block });
            return;
        }
        let text = part.text.unwrap_or_default();
        let kind = if part.thought == Some(true) {
            Kind::Thought
        } else {
            Kind::Text
        };
        if !text.is_empty() {
            let block = self.block(kind, next, sink);
            match kind {
                Kind::Thought => sink.event(Event::Reasoning { block, part: 0, text }),
                Kind::Text => sink.event(Event::Text {
                    block,
                    text,
                    logprobs: Vec::new(),
                }),
            }
        }
        if let Some(signature) = signature {
            let state = opaque(State::PartSignature(signature));
            match self.current {
                Some((block, _)) => sink.event(Event::Seal { block, state }),
                None => {
                    let block = self.begin(BlockKind::State, next, sink);
                    sink.event(Event::Seal { block, state });
                    sink.event(Event::BlockStop { block });
                }
            }
        }
    }

    /// The state of a call stands in front of it: on the thought that led to it, or as a block of its own (wire.md 4.5).
    fn call_signature(&mut self, state: Opaque<'_>, next: &mut BlockId, sink: &mut dyn Sink) {
        if let Some((block, Kind::Thought)) = self.current {
            return sink.event(Event::Seal { block, state });
        }
        self.close(sink);
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
