//! The canonical stream events between decoders and encoders (wire.md 4.1).

use std::borrow::Cow;

use crate::estimate::{Estimator, Frame};
use crate::format::Format;
use crate::ir::{Citation, Logprob, Opaque};
use crate::json::{Raw, Text};
use crate::stop::Stop;
use crate::usage::Usage;

/// Number of a block, unique in a stream and increasing.
pub type BlockId = u32;

/// One canonical event. `choice` is 0 unless the client asked for several answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Event<'e> {
    /// The answer begins.
    Start(Start<'e>),
    /// A block begins.
    BlockStart {
        /// Answer number.
        choice: u32,
        /// Its number.
        block: BlockId,
        /// What it is.
        kind: BlockKind<'e>,
    },
    /// More visible text.
    Text {
        /// Its block.
        block: BlockId,
        /// The text.
        text: Text<'e>,
        /// Log probabilities of this text.
        logprobs: Vec<Logprob<'e>>,
    },
    /// More reasoning text.
    Reasoning {
        /// Its block.
        block: BlockId,
        /// Number of the summary part, from 0.
        part: u32,
        /// The text.
        text: Text<'e>,
    },
    /// Opaque state, bound to a reasoning, text or tool block, or to the place where it stands (a block of kind `State`).
    Seal {
        /// Its block.
        block: BlockId,
        /// The state; its `domain` is set by the normaliser.
        state: Opaque<'e>,
    },
    /// More of a tool's arguments: a fragment of JSON text, or of free text for a custom tool.
    Arguments {
        /// Its block.
        block: BlockId,
        /// The fragment. The concatenation is the argument text.
        fragment: Text<'e>,
    },
    /// More of a refusal.
    Refusal {
        /// Its block.
        block: BlockId,
        /// The text.
        text: Text<'e>,
    },
    /// A source cited by a text block.
    Citation {
        /// Its block.
        block: BlockId,
        /// The citation.
        citation: Citation<'e>,
    },
    /// A whole inline image or sound.
    Media {
        /// Its block.
        block: BlockId,
        /// MIME type.
        mime: Cow<'e, str>,
        /// Base64.
        data: Text<'e>,
    },
    /// A block is complete.
    BlockStop {
        /// Its number.
        block: BlockId,
    },
    /// Cumulative usage. `last` if no later one is expected.
    Usage {
        /// The counters.
        usage: Usage,
        /// Nothing newer will come.
        last: bool,
    },
    /// The model stopped.
    Finish {
        /// Answer number.
        choice: u32,
        /// Why.
        stop: Stop<'e>,
    },
    /// The protocol's own end was seen.
    End,
    /// A sign of life without content.
    Ping,
    /// Something only its own format knows; other formats drop it.
    Foreign {
        /// Whose.
        format: Format,
        /// Its event or block type.
        name: Cow<'e, str>,
        /// It.
        json: Raw<'e>,
    },
}

/// The answer's head.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Start<'e> {
    /// The upstream's id; empty if none.
    pub id: Cow<'e, str>,
    /// The model the upstream reports.
    pub model: Option<Cow<'e, str>>,
    /// Seconds since 1970.
    pub created: Option<u64>,
    /// Tier, in OpenAI's words.
    pub service_tier: Option<Cow<'e, str>>,
    /// `system_fingerprint`.
    pub fingerprint: Option<Text<'e>>,
}

/// Kinds of blocks in a stream.
#[derive(Clone, Debug, PartialEq)]
pub enum BlockKind<'e> {
    /// Visible text.
    Text,
    /// Reasoning text; a summary or raw.
    Reasoning {
        /// It is a summary.
        summary: bool,
    },
    /// State without visible text (redacted thinking, a signature in a part of its own).
    State,
    /// A client tool call. `id` is empty if the upstream gave none: the normaliser makes one.
    Tool {
        /// Call id.
        id: Cow<'e, str>,
        /// Tool name as the upstream knows it; the normaliser maps it to the client's.
        name: Cow<'e, str>,
        /// Arguments are free text (Responses custom tool).
        custom: bool,
    },
    /// A refusal.
    Refusal,
    /// An inline image or sound.
    Media,
    /// A web search that the vendor ran: its arguments are a JSON object with `query`. Never shown as a client tool.
    Search,
}

impl Event<'_> {
    /// Adds what an event costs besides its text, at most: tokens that frame an answer, its blocks and calls, and media.
    pub(super) fn frame(&self, output: &mut Estimator) {
        match self {
            Event::Start(_) => output.add_frame(Frame::Part),
            Event::BlockStart {
                kind: BlockKind::Tool { .. },
                ..
            } => output.add_frame(Frame::Call),
            Event::BlockStart { .. } => output.add_frame(Frame::Part),
            Event::Media { mime, data, .. } => output.add_media(mime, data),
            _ => {}
        }
    }
}

impl Start<'_> {
    /// The same head without a borrow of the stream.
    #[must_use]
    pub fn into_owned(self) -> Start<'static> {
        fn own(text: Cow<'_, str>) -> Cow<'static, str> {
            Cow::Owned(text.into_owned())
        }
        Start {
            id: own(self.id),
            model: self.model.map(own),
            created: self.created,
            service_tier: self.service_tier.map(own),
            fingerprint: self.fingerprint.map(Text::into_owned),
        }
    }
}

/// Takes events in order.
pub trait Sink {
    /// Takes the next event.
    fn event(&mut self, event: Event<'_>);
}
