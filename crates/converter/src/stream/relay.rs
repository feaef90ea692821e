//! A stream whose format is the same on both sides: bytes pass, a tap watches (wire.md 2.7).

use super::Progress;
use crate::failure::Failure;
use crate::format::Format;
use crate::usage::Usage;

/// What a relay may change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayOptions {
    /// The format of both sides.
    pub format: Format,
    /// Replace the model name in the events by this one (an alias that the client used); `None`: leave it.
    pub model: Option<String>,
    /// Chat: the gateway asked for usage on its own account; the client gets no usage chunk and no `usage` member.
    pub hide_usage: bool,
    /// Gemini: the stream is a JSON array.
    pub array: bool,
    /// The gateway's request id, for in-band errors.
    pub request_id: String,
}

/// Relays one stream.
#[derive(Debug)]
pub struct Relay {
    usage: Usage,
}

impl Relay {
    /// A relay.
    #[must_use]
    pub fn new(_options: RelayOptions) -> Self {
        Relay {
            usage: Usage::default(),
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Progress {
        out.extend_from_slice(bytes);
        Progress {
            content: true,
            ..Progress::default()
        }
    }

    pub(super) fn end(&mut self, _out: &mut Vec<u8>) -> Progress {
        Progress {
            content: true,
            ended: true,
            ..Progress::default()
        }
    }

    pub(super) fn release(&mut self, _out: &mut Vec<u8>) -> Progress {
        Progress::default()
    }

    pub(super) fn fail(&mut self, _failure: &Failure, _out: &mut Vec<u8>) {}

    pub(super) fn keep_alive(&mut self, _out: &mut Vec<u8>) {}

    pub(super) fn usage(&self) -> &Usage {
        &self.usage
    }

    pub(super) fn output_estimate(&self) -> u64 {
        0
    }
}
