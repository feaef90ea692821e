//! A stream between two formats.

use super::Progress;
use super::decode::{Decode, decoder};
use super::encode::{Encode, encoder};
use super::normalise::{Normaliser, State, broken};
use super::notes::Notes;
use super::replay::replay;
use crate::context::Context;
use crate::failure::Failure;
use crate::format::Format;
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
            state.failure = Some(too_large());
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
                let mut sink = Normaliser {
                    state: &mut *state,
                    encoder: encoder.as_mut(),
                    out: &mut *out,
                    context,
                };
                if let Err(failure) = replay(event.data, context, &mut sink) {
                    state.failure.get_or_insert(failure);
                }
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
        if state.is_finished() {
            state.close(encoder.as_mut(), out, context);
        }
        self.progress()
    }

    pub(super) fn fail(&mut self, failure: &Failure, out: &mut Vec<u8>) {
        // Whoever has its last word takes the answer for whole.
        if !self.is_terminal() {
            self.encoder.fail(failure, out);
        }
    }

    pub(super) fn keep_alive(&mut self, out: &mut Vec<u8>) {
        self.encoder.keep_alive(out);
    }

    pub(super) fn take_notes(&mut self) {
        self.state.notes = Some(Box::new(Notes::new(self.context.upstream)));
    }

    pub(super) fn notes(&mut self) -> Option<Box<Notes>> {
        self.state.notes.take()
    }

    pub(super) fn usage(&self) -> &Usage {
        &self.state.usage
    }

    pub(super) fn is_finished(&self) -> bool {
        self.state.is_finished()
    }

    pub(super) fn output_estimate(&self) -> u64 {
        self.state.output.tokens()
    }

    pub(super) fn output_most(&self) -> u64 {
        self.state.output.most()
    }

    /// The client has the last word of its format. In two of them that is the event which carries the usage, whatever of the upstream is
    /// still to come.
    fn is_terminal(&self) -> bool {
        let ends_with_usage = matches!(self.context.client, Format::Responses | Format::Gemini);
        self.state.is_ended() || (ends_with_usage && self.state.is_settled())
    }

    fn progress(&self) -> Progress {
        Progress {
            content: self.state.content,
            ended: self.state.is_ended(),
            terminal: self.is_terminal(),
            failure: self.state.failure.clone(),
            held: (self.state.is_finished() || self.decoder.is_held()) && !self.state.is_ended(),
        }
    }
}

/// An event grew beyond what is held.
pub(super) fn too_large() -> Failure {
    broken(
        "An event of the provider's stream is too large.",
        "upstream_event_too_large",
    )
}

/// A last event without its blank line counts if it is whole.
pub(super) fn complete(data: &str) -> bool {
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
