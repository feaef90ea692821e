//! What Chat clients lose, written down for the way back: the order of texts, thoughts and calls of one turn (conversion.md 7.3).

use crate::context::Context;
use crate::ir::{State, Thought};
use crate::json::Text;
use crate::names;
use crate::seal::MAX_TEXT;
use crate::seal::layout::{self, Segment};

/// Longest id that carries a seal, bytes. What most Chat clients store and echo (conversion.md 7.3).
pub(crate) const MAX_SEALED_ID: usize = 4_096;

/// The segments since the last seal of one carrier (`reasoning_details`, or the ids of tool calls).
#[derive(Clone, Debug, Default)]
pub(crate) struct Chain {
    segments: Vec<Segment<'static>>,
    /// The text that is still growing.
    length: u32,
    check: crc32fast::Hasher,
    /// A call was passed: text behind it has a place that Chat cannot say.
    called: bool,
}

impl Chain {
    /// Visible text; pieces may be cut anywhere.
    pub(crate) fn text(&mut self, text: &Text<'_>) {
        let text = text.decode();
        self.check.update(text.as_bytes());
        // Texts beyond 4 GiB do not exist here.
        self.length = self
            .length
            .saturating_add(u32::try_from(text.len()).unwrap_or(u32::MAX));
    }

    /// A thought, with whatever state it has.
    pub(crate) fn thought(&mut self, thought: &Thought<'_>) {
        self.settle();
        self.segments.push(Segment::thought(thought).into_owned());
    }

    /// State without text: of a call, of the text that follows.
    pub(crate) fn state(&mut self, state: &State<'_>) {
        self.settle();
        let segment = Segment::Thought {
            texts: Vec::new(),
            summary: false,
            state: Some(state.clone()),
        };
        self.segments.push(segment.into_owned());
    }

    /// A tool call.
    pub(crate) fn call(&mut self) {
        self.settle();
        self.segments.push(Segment::Call);
        self.called = true;
    }

    fn settle(&mut self) {
        if self.length > 0 {
            let check = std::mem::take(&mut self.check).finalize();
            let length = std::mem::take(&mut self.length);
            self.segments.push(Segment::Text { length, check });
        }
    }

    /// The seal of everything so far; without the texts of the thoughts if it would be too large to be opened again.
    pub(crate) fn seal(&mut self, context: &Context) -> String {
        self.settle();
        let mut seal = self.write(true, context);
        if seal.len() > MAX_TEXT {
            seal = self.write(false, context);
        }
        self.segments.clear();
        seal
    }

    fn write(&self, texts: bool, context: &Context) -> String {
        let key = context.seal_key.as_ref();
        layout::seal(&self.segments, context.upstream, context.domain, texts, key)
    }

    /// True if there are thoughts that no seal holds yet.
    pub(crate) fn has_thoughts(&self) -> bool {
        let thought = |segment: &Segment<'_>| matches!(segment, Segment::Thought { .. });
        self.segments.iter().any(thought)
    }

    /// True if a text stands behind a call: the one order that Chat cannot say.
    pub(crate) fn is_mixed(&mut self) -> bool {
        self.settle();
        let text = |segment: &Segment<'_>| matches!(segment, Segment::Text { .. });
        self.called && self.segments.iter().any(text)
    }

    /// The id of the next call, with a seal on it if something would be lost without. An id that would grow too long goes
    /// without the texts of the thoughts (their signatures are what the vendor checks), or without a seal.
    pub(crate) fn on_id(&mut self, id: &str, context: &Context) -> String {
        let mixed = self.is_mixed();
        let thought = |segment: &Segment<'_>| matches!(segment, Segment::Thought { .. });
        let state = |segment: &Segment<'_>| matches!(segment, Segment::Thought { state: Some(_), .. });
        let thoughts = self.segments.iter().any(state);
        if !context.declares_tools || !(thoughts || mixed) {
            return id.to_owned();
        }
        for texts in [true, false] {
            let sealed = names::with_seal(id, &self.write(texts, context));
            if sealed.len() <= MAX_SEALED_ID {
                self.segments.clear();
                return sealed;
            }
        }
        self.segments.retain(|segment| !thought(segment));
        id.to_owned()
    }
}
