//! Streams: `bytes -> SSE events -> decoder -> normaliser -> encoder -> bytes` (wire.md section 4).
//!
//! [`Converter`] is the whole chain between two formats; [`Relay`] passes a stream of one format through and only watches it.
//! [`Stream`] is either of them: what the gateway drives. All are synchronous state machines: bytes in, bytes out, no clock.

mod converter;
pub mod decode;
pub mod encode;
pub mod event;
mod json_scan;
mod normalise;
mod notes;
mod position;
#[cfg(test)]
mod properties;
mod relay;
mod replay;
mod surrogates;
mod unwrap;

pub use converter::Converter;
pub use relay::{Relay, RelayOptions};

use crate::failure::Failure;
use crate::particulars::Particulars;
use crate::usage::Usage;

/// What a push of bytes has led to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Content has been seen: the answer may be committed (wire.md 2.6). Stays true once it was.
    pub content: bool,
    /// The stream ended well: everything is in the output, nothing more will come.
    pub ended: bool,
    /// The protocol's own last word (`[DONE]`, `message_stop`, `response.completed`) is in the output: the client takes the answer for
    /// whole, although bytes of the upstream may still come. Gemini has none.
    pub terminal: bool,
    /// The upstream failed (in-band error, truncation, garbage). Nothing about it is in the output yet: before the commit the
    /// gateway tries another channel, after it it calls `fail`.
    pub failure: Option<Failure>,
    /// The end is held until usage arrives: call `release` if nothing comes for 500 ms (wire.md 4.6).
    pub held: bool,
}

/// A stream on its way from the upstream to the client.
#[derive(Debug)]
pub enum Stream {
    /// Between two formats.
    Convert(Box<Converter>),
    /// Same format on both sides.
    Relay(Box<Relay>),
}

macro_rules! either {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self {
            Stream::Convert($stream) => $call,
            Stream::Relay($stream) => $call,
        }
    };
}

impl Stream {
    /// Notes what the answer says of itself, from now on. Without this call nothing is noted.
    pub fn take_notes(&mut self) {
        either!(self, stream => stream.take_notes());
    }

    /// What was noted so far; nothing if it was not asked for. Ends the taking of notes.
    pub fn particulars(&mut self) -> Option<Particulars> {
        let notes = either!(self, stream => stream.notes())?;
        Some(notes.into_particulars())
    }

    /// Takes bytes of the upstream (any split) and appends what the client gets to `out`.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Progress {
        either!(self, stream => stream.push(bytes, out))
    }

    /// The upstream's body ended (cleanly or not: truncation is found here).
    pub fn end(&mut self, out: &mut Vec<u8>) -> Progress {
        either!(self, stream => stream.end(out))
    }

    /// Emits a held end without waiting for usage any longer.
    pub fn release(&mut self, out: &mut Vec<u8>) -> Progress {
        either!(self, stream => stream.release(out))
    }

    /// Writes the in-band error of the client's format. Nothing may follow.
    pub fn fail(&mut self, failure: &Failure, out: &mut Vec<u8>) {
        either!(self, stream => stream.fail(failure, out));
    }

    /// Writes a keep-alive of the client's format. Any time outside `push`: what leaves is always whole events.
    pub fn keep_alive(&mut self, out: &mut Vec<u8>) {
        either!(self, stream => stream.keep_alive(out));
    }

    /// Usage as far as it is known.
    #[must_use]
    pub fn usage(&self) -> &Usage {
        either!(self, stream => stream.usage())
    }

    /// Every answer that began has said why it ended: what was counted by now is all of it.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        either!(self, stream => stream.is_finished())
    }

    /// Estimated output tokens of what was streamed (for cut streams without usage).
    #[must_use]
    pub fn output_estimate(&self) -> u64 {
        either!(self, stream => stream.output_estimate())
    }

    /// The most output tokens that what was streamed can have cost, whatever the tokenizer. Reasoning that the upstream did not show
    /// is not in it.
    #[must_use]
    pub fn output_most(&self) -> u64 {
        either!(self, stream => stream.output_most())
    }
}
