//! A stream whose format is the same on both sides: bytes pass unchanged, cut at event boundaries, while a tap reads what accounting
//! and failover need. The permitted edits are those of wire.md 2.7; see [`edit`].

mod edit;
mod tap;

use super::Progress;
use super::converter::{complete, too_large};
use super::decode::{Decode, decoder};
use super::encode::{Encode, encoder};
use super::normalise::{Normaliser, State, cut};
use super::notes::Notes;
use super::replay::replay;
use crate::context::Context;
use crate::failure::Failure;
use crate::format::Format;
use crate::sse::{Framing, Parser, SseEvent};
use crate::usage::Usage;
use edit::Editor;
use tap::{Tap, TapSink};

/// Comments in front of the first event that are kept, bytes.
const MAX_COMMENTS: usize = 16 << 10;

/// What a relay must know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayOptions {
    /// The format of both sides.
    pub format: Format,
    /// Chat: the gateway asked for usage on its own account; the client gets no usage chunk and no `usage` member.
    pub hide_usage: bool,
    /// Gemini: the stream is a JSON array.
    pub array: bool,
    /// The client's model name, for in-band errors.
    pub model: String,
    /// Write the client's model name where the upstream reports its own.
    pub rename: bool,
    /// The gateway's request id, for in-band errors.
    pub request_id: String,
    /// Arrival time, seconds since 1970.
    pub now: u64,
}

/// Relays one stream.
#[derive(Debug)]
pub struct Relay {
    context: Context,
    parser: Parser,
    decoder: Box<dyn Decode>,
    encoder: Box<dyn Encode>,
    editor: Editor,
    /// Bytes that belong to no complete event yet.
    held: Vec<u8>,
    /// Where `held` begins in the stream.
    offset: u64,
    /// Comments that wait for an event.
    comments: Vec<u8>,
    tap: Tap,
    failure: Option<Failure>,
    closed: bool,
}

impl Relay {
    /// A relay.
    #[must_use]
    pub fn new(options: RelayOptions) -> Self {
        let editor = Editor::new(&options);
        let context = Context::relay(options);
        Relay {
            parser: Parser::with_blank_frames(),
            decoder: decoder(&context),
            encoder: encoder(&context),
            editor,
            context,
            held: Vec::new(),
            offset: 0,
            comments: Vec::new(),
            tap: Tap::default(),
            failure: None,
            closed: false,
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Progress {
        if self.failure.is_some() {
            return self.progress();
        }
        let document = matches!(self.parser.framing(), Framing::Document);
        if !document {
            self.held.extend_from_slice(bytes);
        }
        let mut parser = std::mem::take(&mut self.parser);
        let mut passed = 0usize;
        let pushed = parser.push(bytes, &mut |event| {
            let end = usize::try_from(event.end - self.offset).unwrap_or(0);
            let held = std::mem::take(&mut self.held);
            self.frame(event, held.get(passed..end).unwrap_or_default(), out);
            self.held = held;
            passed = end;
            self.failure.is_none()
        });
        self.parser = parser;
        self.held.drain(..passed);
        self.offset += passed as u64;
        if pushed.is_err() {
            self.failure.get_or_insert_with(too_large);
        }
        self.progress()
    }

    /// One frame: its event is watched, then its bytes pass, as they are or edited.
    fn frame(&mut self, event: SseEvent<'_>, raw: &[u8], out: &mut Vec<u8>) {
        if event.data.is_empty() {
            return self.comment(event, raw, out);
        }
        match self.watch(event) {
            Ok(true) => {}
            Ok(false) => {
                out.append(&mut self.comments);
                self.editor.event(event, raw, out);
            }
            Err(failure) => self.failure = Some(failure),
        }
    }

    /// A frame without data. Comments pass, but not to Gemini clients, who cannot read them, and not as a first sign of life.
    fn comment(&mut self, event: SseEvent<'_>, raw: &[u8], out: &mut Vec<u8>) {
        if !event.comment || self.context.client == Format::Gemini {
            return;
        }
        if self.tap.content {
            out.extend_from_slice(raw);
        } else if self.comments.len() + raw.len() <= MAX_COMMENTS {
            self.comments.extend_from_slice(raw);
        }
    }

    /// Reads an event. True if it only repeats the start of the answer and must not pass.
    fn watch(&mut self, event: SseEvent<'_>) -> Result<bool, Failure> {
        let mut sink = TapSink {
            tap: &mut self.tap,
            encoder: self.encoder.as_mut(),
            repeated: false,
            failure: None,
        };
        if event.data.trim() == "[DONE]" {
            self.decoder.done(&mut sink)?;
        } else {
            self.decoder.event(event.name, event.data, &mut sink)?;
        }
        match sink.failure {
            Some(failure) => Err(failure),
            None => Ok(sink.repeated && self.context.client == Format::Messages),
        }
    }

    pub(super) fn end(&mut self, out: &mut Vec<u8>) -> Progress {
        if self.failure.is_some() || self.closed {
            return self.progress();
        }
        let document = self.parser.framing() == Framing::Document;
        let mut parser = std::mem::take(&mut self.parser);
        parser.end(&mut |event| {
            if document {
                self.document(event.data, out);
            } else if event.data.is_empty() || complete(event.data) {
                let held = std::mem::take(&mut self.held);
                self.frame(event, &held, out);
            }
            true
        });
        self.parser = parser;
        if self.failure.is_none() && !document {
            self.finish(out);
        }
        self.closed = self.failure.is_none();
        self.progress()
    }

    /// Judges how the body ended, and adds a terminator that only the upstream forgot.
    fn finish(&mut self, out: &mut Vec<u8>) {
        let mut sink = TapSink {
            tap: &mut self.tap,
            encoder: self.encoder.as_mut(),
            repeated: false,
            failure: None,
        };
        if let Err(failure) = self.decoder.end(&mut sink) {
            self.failure = Some(failure);
            return;
        }
        if !self.tap.is_finished() && !self.tap.ended {
            self.failure = Some(cut(self.tap.content));
            return;
        }
        match self.context.client {
            Format::Chat if !self.tap.ended => out.extend_from_slice(b"data: [DONE]\n\n"),
            Format::Messages if !self.tap.ended => {
                out.extend_from_slice(b"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
            }
            Format::Gemini => {
                self.editor.close_array(out);
                out.extend(self.held.drain(..).filter(u8::is_ascii_whitespace));
            }
            _ => {}
        }
    }

    /// A whole answer where a stream was asked for becomes one.
    fn document(&mut self, data: &str, out: &mut Vec<u8>) {
        let mut state = State::default();
        state.notes = self.tap.notes.take();
        let mut sink = Normaliser {
            state: &mut state,
            encoder: self.encoder.as_mut(),
            out,
            context: &self.context,
        };
        self.failure = replay(data, &self.context, &mut sink).err().or(state.failure);
        self.tap.content |= state.content;
        self.tap.usage = state.usage;
        self.tap.output = state.output;
        self.tap.notes = state.notes;
    }

    pub(super) fn release(&mut self, _out: &mut Vec<u8>) -> Progress {
        self.progress()
    }

    pub(super) fn fail(&mut self, failure: &Failure, out: &mut Vec<u8>) {
        // Whoever has its last word takes the answer for whole.
        if !self.tap.ended {
            self.encoder.resume_at(self.editor.next_sequence());
            self.encoder.fail(failure, out);
        }
    }

    pub(super) fn keep_alive(&mut self, out: &mut Vec<u8>) {
        self.encoder.keep_alive(out);
    }

    pub(super) fn take_notes(&mut self) {
        self.tap.notes = Some(Box::new(Notes::new(self.context.upstream)));
    }

    pub(super) fn notes(&mut self) -> Option<Box<Notes>> {
        self.tap.notes.take()
    }

    pub(super) fn usage(&self) -> &Usage {
        &self.tap.usage
    }

    pub(super) fn is_finished(&self) -> bool {
        self.tap.is_finished()
    }

    pub(super) fn output_estimate(&self) -> u64 {
        self.tap.output.tokens()
    }

    pub(super) fn output_most(&self) -> u64 {
        self.tap.output.most()
    }

    fn progress(&self) -> Progress {
        Progress {
            content: self.tap.content,
            ended: self.closed,
            terminal: self.closed || self.tap.ended,
            failure: self.failure.clone(),
            // The upstream's own end is waited for: its bytes belong to the client.
            held: false,
        }
    }
}
