//! A stream between two formats.

use super::Progress;
use super::decode::{Decode, decoder};
use super::encode::{Encode, encoder};
use super::event::{BlockKind, Event, Sink, Start};
use super::normalise::{Normaliser, State};
use crate::context::Context;
use crate::convert::read_response;
use crate::failure::{Failure, FailureClass};
use crate::ir::{Arguments, Block, Response, Source};
use crate::json::{Raw, Text};
use crate::sse::{Framing, Parser, SseEvent};
use crate::usage::Usage;

/// Converts one stream.
#[derive(Debug)]
pub struct Converter {
    context: Context,
    parser: Parser,
    decoder: Box<dyn Decode>,
    encoder: Box<dyn Encode>,
    state: State,
}

impl Converter {
    /// A converter for the answer to the request of `context`.
    #[must_use]
    pub fn new(context: Context) -> Self {
        let (decoder, encoder) = (decoder(&context), encoder(&context));
        Converter {
            context,
            parser: Parser::default(),
            decoder,
            encoder,
            state: State::default(),
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Progress {
        let Converter {
            context,
            parser,
            decoder,
            encoder,
            state,
        } = self;
        let pushed = parser.push(bytes, &mut |event| {
            take(event, context, decoder.as_mut(), encoder.as_mut(), state, out);
            state.failure.is_none() && !state.is_ended()
        });
        if pushed.is_err() && state.failure.is_none() {
            let large = Failure::new(
                FailureClass::UpstreamBad,
                "An event of the provider's stream is too large.",
            );
            state.failure = Some(Failure {
                code: Some("upstream_event_too_large"),
                ..large
            });
        }
        self.progress()
    }

    pub(super) fn end(&mut self, out: &mut Vec<u8>) -> Progress {
        let Converter {
            context,
            parser,
            decoder,
            encoder,
            state,
        } = self;
        let document = parser.framing() == Framing::Document;
        parser.end(&mut |event| {
            if document {
                replay(event.data, context, encoder.as_mut(), state, out);
            } else if state.failure.is_none() && complete(event.data) {
                take(event, context, decoder.as_mut(), encoder.as_mut(), state, out);
            }
            true
        });
        if state.failure.is_none() && !document {
            let mut sink = Normaliser {
                state,
                encoder: encoder.as_mut(),
                out,
                context,
            };
            if let Err(failure) = decoder.end(&mut sink) {
                state.failure.get_or_insert(failure);
            }
        }
        state.close(encoder.as_mut(), out, context);
        self.progress()
    }

    pub(super) fn release(&mut self, out: &mut Vec<u8>) -> Progress {
        let Converter {
            context,
            decoder,
            encoder,
            state,
            ..
        } = self;
        if state.failure.is_none() {
            // Gemini tells its end only by closing; the reason is known by now.
            let mut sink = Normaliser {
                state,
                encoder: encoder.as_mut(),
                out,
                context,
            };
            if let Err(failure) = decoder.end(&mut sink) {
                state.failure.get_or_insert(failure);
            }
        }
        if state.finished {
            state.close(encoder.as_mut(), out, context);
            encoder.release(out);
        }
        self.progress()
    }

    pub(super) fn fail(&mut self, failure: &Failure, out: &mut Vec<u8>) {
        self.encoder.fail(failure, out);
    }

    pub(super) fn keep_alive(&mut self, out: &mut Vec<u8>) {
        self.encoder.keep_alive(out);
    }

    pub(super) fn usage(&self) -> &Usage {
        &self.state.usage
    }

    pub(super) fn output_estimate(&self) -> u64 {
        self.state.output.tokens()
    }

    fn progress(&self) -> Progress {
        Progress {
            content: self.state.content,
            ended: self.state.is_ended(),
            failure: self.state.failure.clone(),
            held: (self.state.finished || self.decoder.is_held()) && !self.state.is_ended(),
        }
    }
}

/// A last event without its blank line counts if it is whole.
fn complete(data: &str) -> bool {
    let data = data.trim();
    data == "[DONE]" || crate::encode::is_json(data)
}

fn take(
    event: SseEvent<'_>,
    context: &Context,
    decoder: &mut dyn Decode,
    encoder: &mut dyn Encode,
    state: &mut State,
    out: &mut Vec<u8>,
) {
    let mut sink = Normaliser {
        state,
        encoder,
        out,
        context,
    };
    let taken = if event.data.trim() == "[DONE]" {
        // Chat's terminator, and the end of a JSON array; the other formats ignore it.
        decoder.done(&mut sink)
    } else {
        decoder.event(event.name, event.data, &mut sink)
    };
    if let Err(failure) = taken {
        state.failure.get_or_insert(failure);
    }
}

/// An upstream that answered a stream request with a whole document: replayed as a stream.
fn replay(data: &str, context: &Context, encoder: &mut dyn Encode, state: &mut State, out: &mut Vec<u8>) {
    match read_response(data, context) {
        Err(failure) => state.failure = Some(failure),
        Ok(response) => {
            let mut sink = Normaliser {
                state,
                encoder,
                out,
                context,
            };
            events_of(&response, &mut sink);
        }
    }
}

fn events_of(response: &Response<'_>, sink: &mut dyn Sink) {
    sink.event(Event::Start(Start {
        id: response.id.clone(),
        model: response.model.clone(),
        created: response.created,
        service_tier: response.service_tier.clone(),
        fingerprint: response.fingerprint.clone(),
    }));
    let mut block = 0;
    for candidate in &response.candidates {
        let choice = u32::try_from(candidate.index).unwrap_or(0);
        for part in &candidate.blocks {
            block += 2;
            block_events(part, choice, block, sink);
        }
        sink.event(Event::Finish {
            choice,
            stop: candidate.stop.clone(),
        });
    }
    sink.event(Event::Usage {
        usage: response.usage.clone(),
        last: true,
    });
    sink.event(Event::End);
}

fn block_events(part: &Block<'_>, choice: u32, block: u32, sink: &mut dyn Sink) {
    let mut start = |kind| sink.event(Event::BlockStart { choice, block, kind });
    match part {
        Block::Text(text) => {
            start(BlockKind::Text);
            sink.event(Event::Text {
                block,
                text: text.text.clone(),
                logprobs: Vec::new(),
            });
            for citation in &text.citations {
                sink.event(Event::Citation {
                    block,
                    citation: citation.clone(),
                });
            }
        }
        Block::Thought(thought) => {
            start(if thought.text.is_empty() {
                BlockKind::State
            } else {
                BlockKind::Reasoning {
                    summary: thought.summary,
                }
            });
            for (part, text) in thought.text.iter().enumerate() {
                sink.event(Event::Reasoning {
                    block,
                    part: u32::try_from(part).unwrap_or(0),
                    text: text.clone(),
                });
            }
            if let Some(state) = &thought.state {
                sink.event(Event::Seal {
                    block,
                    state: state.clone(),
                });
            }
        }
        Block::ToolCall(call) => {
            let custom = matches!(call.arguments, Arguments::Freeform(_));
            if let Some(state) = &call.state {
                // Numbers of replayed blocks are even; the state in front of a call takes the odd one before it.
                let before = block - 1;
                sink.event(Event::BlockStart {
                    choice,
                    block: before,
                    kind: BlockKind::State,
                });
                sink.event(Event::Seal {
                    block: before,
                    state: state.clone(),
                });
                sink.event(Event::BlockStop { block: before });
            }
            sink.event(Event::BlockStart {
                choice,
                block,
                kind: BlockKind::Tool {
                    id: call.id.clone(),
                    name: call.name.clone(),
                    custom,
                },
            });
            let fragment = match &call.arguments {
                Arguments::Object(Raw(json)) => Text::from(*json),
                Arguments::Encoded(text) | Arguments::Freeform(text) => text.clone(),
            };
            sink.event(Event::Arguments { block, fragment });
        }
        Block::Refusal(text) => {
            start(BlockKind::Refusal);
            sink.event(Event::Refusal {
                block,
                text: text.clone(),
            });
        }
        Block::Media(media) => {
            if let Source::Base64 { mime, data } = &media.source {
                start(BlockKind::Media);
                sink.event(Event::Media {
                    block,
                    mime: mime.clone(),
                    data: data.clone(),
                });
            }
        }
        Block::ToolResult(_) | Block::Native(_) => return,
    }
    sink.event(Event::BlockStop { block });
}
