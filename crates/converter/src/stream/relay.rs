//! A stream whose format is the same on both sides: bytes pass unchanged, cut at event boundaries, while a tap reads what accounting
//! and failover need (wire.md 2.7). The one edit is to take out usage that the client did not ask for.

use super::Progress;
use super::decode::{Decode, decoder};
use super::encode::{Encode, encoder};
use super::event::{BlockKind, Event, Sink};
use crate::context::Context;
use crate::estimate::Estimator;
use crate::failure::{Failure, FailureClass};
use crate::format::Format;
use crate::json::{Kind, Reader};
use crate::sse::{Framing, Parser, SseEvent};
use crate::usage::Usage;

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
    /// The gateway's request id, for in-band errors.
    pub request_id: String,
    /// Arrival time, seconds since 1970.
    pub now: u64,
}

/// Relays one stream.
#[derive(Debug)]
pub struct Relay {
    hide_usage: bool,
    parser: Parser,
    decoder: Box<dyn Decode>,
    encoder: Box<dyn Encode>,
    /// Bytes that belong to no complete event yet.
    held: Vec<u8>,
    /// Where `held` begins in the stream.
    offset: u64,
    tap: Tap,
    failure: Option<Failure>,
    closed: bool,
}

/// What the tap has seen.
#[derive(Debug, Default)]
struct Tap {
    content: bool,
    finished: bool,
    ended: bool,
    usage: Usage,
    output: Estimator,
    encoder_told: bool,
}

/// A tap with the encoder that must know how the answer began, in case it has to end it.
struct TapSink<'t> {
    tap: &'t mut Tap,
    encoder: &'t mut dyn Encode,
}

impl Sink for TapSink<'_> {
    fn event(&mut self, event: Event<'_>) {
        let tap = &mut *self.tap;
        match event {
            Event::Start(start) if !std::mem::replace(&mut tap.encoder_told, true) => {
                self.encoder.resume(&start);
            }
            Event::BlockStart {
                kind: BlockKind::Tool { name, .. },
                ..
            } => {
                tap.content = true;
                tap.output.add(&name);
            }
            Event::Text { text, .. } | Event::Reasoning { text, .. } | Event::Refusal { text, .. } => {
                tap.content |= !text.is_empty();
                tap.output.add_text(&text);
            }
            Event::Arguments { fragment, .. } => tap.output.add_text(&fragment),
            Event::Seal { state, .. } => tap.content |= !matches!(state.state, crate::ir::State::Plain),
            Event::Media { .. } => tap.content = true,
            Event::Usage { usage, .. } => tap.usage.update(&usage),
            Event::Finish { .. } => {
                tap.finished = true;
                tap.content = true;
            }
            Event::End => tap.ended = true,
            _ => {}
        }
    }
}

impl Relay {
    /// A relay.
    #[must_use]
    pub fn new(options: RelayOptions) -> Self {
        let hide_usage = options.hide_usage;
        let context = Context::relay(options);
        Relay {
            hide_usage,
            parser: Parser::default(),
            decoder: decoder(&context),
            encoder: encoder(&context),
            held: Vec::new(),
            offset: 0,
            tap: Tap::default(),
            failure: None,
            closed: false,
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Progress {
        self.held.extend_from_slice(bytes);
        let Relay {
            hide_usage,
            parser,
            decoder,
            encoder,
            held,
            offset,
            tap,
            failure,
            ..
        } = self;
        let mut passed = 0usize;
        let pushed = parser.push(bytes, &mut |event| {
            let end = usize::try_from(event.end - *offset).unwrap_or(0);
            if let Err(found) = watch(event, decoder.as_mut(), encoder.as_mut(), tap) {
                *failure = Some(found);
                return false;
            }
            let raw = held.get(passed..end).unwrap_or_default();
            if !(*hide_usage && without_usage(event.data, out)) {
                out.extend_from_slice(raw);
            }
            passed = end;
            true
        });
        held.drain(..passed);
        *offset += passed as u64;
        if pushed.is_err() {
            let large = Failure::new(
                FailureClass::UpstreamBad,
                "An event of the provider's stream is too large.",
            );
            self.failure.get_or_insert(Failure {
                code: Some("upstream_event_too_large"),
                ..large
            });
        }
        self.progress()
    }

    pub(super) fn end(&mut self, out: &mut Vec<u8>) -> Progress {
        let document = self.parser.framing() == Framing::Document;
        let Relay {
            parser,
            decoder,
            encoder,
            tap,
            failure,
            ..
        } = self;
        let mut whole = true;
        parser.end(&mut |event| {
            if document {
                if let Some(found) = document_failure(event.data) {
                    *failure = Some(found);
                } else {
                    // A whole answer where a stream was asked for: passed on as it is.
                    *tap = Tap {
                        content: true,
                        finished: true,
                        ended: true,
                        ..std::mem::take(tap)
                    };
                }
            } else if crate::encode::is_json(event.data.trim()) || event.data.trim() == "[DONE]" {
                if let Err(found) = watch(event, decoder.as_mut(), encoder.as_mut(), tap) {
                    *failure = Some(found);
                }
            } else {
                whole = false;
            }
            true
        });
        if self.failure.is_none() && !document {
            let mut sink = TapSink {
                tap: &mut self.tap,
                encoder: self.encoder.as_mut(),
            };
            if let Err(found) = self.decoder.end(&mut sink) {
                self.failure = Some(found);
            }
        }
        if self.failure.is_none() && !self.tap.finished && !self.tap.ended {
            let (message, code) = if self.tap.content {
                (
                    "The provider's stream ended before the answer was complete.",
                    "upstream_truncated",
                )
            } else {
                ("The provider's answer is empty.", "empty_response")
            };
            self.failure = Some(Failure {
                code: Some(code),
                ..Failure::new(FailureClass::UpstreamBad, message)
            });
        }
        if self.failure.is_none() {
            let rest = std::mem::take(&mut self.held);
            if whole && !rest.is_empty() {
                out.extend_from_slice(&rest);
                if !document && rest.starts_with(b"data") && !rest.ends_with(b"\n\n") {
                    out.extend_from_slice(b"\n\n");
                }
            }
            self.closed = true;
        }
        self.progress()
    }

    pub(super) fn release(&mut self, _out: &mut Vec<u8>) -> Progress {
        self.progress()
    }

    pub(super) fn fail(&mut self, failure: &Failure, out: &mut Vec<u8>) {
        self.encoder.fail(failure, out);
    }

    pub(super) fn keep_alive(&mut self, out: &mut Vec<u8>) {
        if !self.parser.is_inside() {
            self.encoder.keep_alive(out);
        }
    }

    pub(super) fn usage(&self) -> &Usage {
        &self.tap.usage
    }

    pub(super) fn output_estimate(&self) -> u64 {
        self.tap.output.tokens()
    }

    fn progress(&self) -> Progress {
        Progress {
            content: self.tap.content,
            ended: self.closed,
            failure: self.failure.clone(),
            // The upstream's own end is waited for: its bytes belong to the client.
            held: false,
        }
    }
}

fn watch(
    event: SseEvent<'_>,
    decoder: &mut dyn Decode,
    encoder: &mut dyn Encode,
    tap: &mut Tap,
) -> Result<(), Failure> {
    let mut sink = TapSink { tap, encoder };
    if event.data.trim() == "[DONE]" {
        return decoder.done(&mut sink);
    }
    decoder.event(event.name, event.data, &mut sink)
}

fn document_failure(data: &str) -> Option<Failure> {
    if crate::failure::document(data).is_some() {
        return Some(crate::failure::from_upstream(
            None,
            &|_| None,
            data.as_bytes(),
            true,
        ));
    }
    let readable = crate::encode::is_json(data.trim());
    (!readable).then(|| {
        Failure::new(
            FailureClass::UpstreamBad,
            "The provider's answer could not be read.",
        )
    })
}

/// Writes a Chat chunk without its `usage` and returns true; false if the chunk may pass as it is.
fn without_usage(data: &str, out: &mut Vec<u8>) -> bool {
    if memchr::memmem::find(data.as_bytes(), b"\"usage\"").is_none() {
        return false;
    }
    let (mut span, mut choices) = (None, false);
    let mut reader = Reader::new(data);
    let read = reader.object(|reader, key| {
        let start = reader.offset();
        if key == "choices" && reader.kind() == Kind::Array {
            choices = data
                .get(start..)
                .is_some_and(|rest| !rest.trim_start_matches('[').trim_start().starts_with(']'));
        }
        reader.skip()?;
        if key == "usage" {
            span = Some((start, reader.offset_behind()));
        }
        Ok(())
    });
    let (Ok(()), Some((start, end))) = (read, span) else {
        return false;
    };
    if !choices {
        // The chunk that only carries usage.
        return true;
    }
    let before = data.get(..start).unwrap_or_default();
    let key = before.rfind("\"usage\"").unwrap_or(start);
    let head = before.get(..key).unwrap_or_default().trim_end();
    let tail = data.get(end..).unwrap_or_default().trim_start();
    out.extend_from_slice(b"data: ");
    match head.strip_suffix(',') {
        Some(head) => {
            out.extend_from_slice(head.as_bytes());
            out.extend_from_slice(tail.as_bytes());
        }
        None => {
            out.extend_from_slice(head.as_bytes());
            out.extend_from_slice(tail.strip_prefix(',').unwrap_or(tail).as_bytes());
        }
    }
    out.extend_from_slice(b"\n\n");
    true
}
