//! The items of a Responses stream as blocks. What `done` events repeat is passed on only as far as it is new.

use crate::decode::ResponsesItem;
use crate::format::Format;
use crate::ir::{Citation, Logprob, Opaque, State};
use crate::json::Text;
use crate::stream::event::{BlockId, BlockKind, Event, Sink};
use crate::stream::position::points;

/// What an item's text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Refusal,
    Reasoning,
    Tool,
}

/// A block under way: the parts of one message, or of one thought, are one block.
#[derive(Debug)]
struct Open {
    output: u64,
    block: BlockId,
    kind: Kind,
    parts: Vec<Part>,
    /// Code points so far.
    points: u64,
    /// Another kind of text follows in the same item.
    stopped: bool,
}

#[derive(Debug)]
struct Part {
    number: u64,
    /// Bytes of decoded text passed on, to find what a `done` event adds.
    length: usize,
    /// Code points of the block in front of it.
    at: u64,
}

/// All blocks under way.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    next: BlockId,
    open: Vec<Open>,
    /// Items that were announced or done.
    seen: Vec<u64>,
    used: bool,
}

impl Blocks {
    /// Anything was passed on.
    pub(super) fn is_used(&self) -> bool {
        self.used
    }

    fn begin(&mut self, output: u64, kind: Kind, wire: BlockKind<'_>, sink: &mut dyn Sink) -> usize {
        self.next += 1;
        let block = self.next;
        sink.event(Event::BlockStart {
            choice: 0,
            block,
            kind: wire,
        });
        self.open.push(Open {
            output,
            block,
            kind,
            parts: Vec::new(),
            points: 0,
            stopped: false,
        });
        self.open.len() - 1
    }

    /// An item begins; only calls say enough at this time.
    pub(super) fn added(&mut self, output: u64, item: ResponsesItem<'_>, sink: &mut dyn Sink) {
        if self.seen.contains(&output) {
            return;
        }
        let custom = match item.kind.as_deref() {
            Some("function_call") => false,
            Some("custom_tool_call") => true,
            _ => return,
        };
        self.seen.push(output);
        self.used = true;
        let id = item.call_id.or(item.id).unwrap_or_default();
        let name = item.name.unwrap_or_default();
        self.begin(output, Kind::Tool, BlockKind::Tool { id, name, custom }, sink);
    }

    fn find(&mut self, output: u64, kind: Kind, sink: &mut dyn Sink) -> Option<usize> {
        let same = |open: &Open| open.output == output && open.kind == kind && !open.stopped;
        if let Some(at) = self.open.iter().position(same) {
            return Some(at);
        }
        let wire = match kind {
            Kind::Text => BlockKind::Text,
            Kind::Refusal => BlockKind::Refusal,
            Kind::Reasoning => BlockKind::Reasoning { summary: true },
            Kind::Tool => return None,
        };
        // Text and refusal of one message follow each other.
        let before = self
            .open
            .iter_mut()
            .filter(|open| open.output == output && !open.stopped);
        for open in before {
            open.stopped = true;
            sink.event(Event::BlockStop { block: open.block });
        }
        Some(self.begin(output, kind, wire, sink))
    }

    fn stop(&mut self, output: u64, sink: &mut dyn Sink) {
        self.open.retain(|open| {
            if open.output == output && !open.stopped {
                sink.event(Event::BlockStop { block: open.block });
            }
            open.output != output
        });
    }

    /// Counts a piece of text; its block and where its part began.
    fn count(
        &mut self,
        output: u64,
        part: u64,
        kind: Kind,
        text: &Text<'_>,
        sink: &mut dyn Sink,
    ) -> Option<BlockId> {
        if text.is_empty() {
            return None;
        }
        let at = self.find(output, kind, sink)?;
        self.used = true;
        let open = self.open.get_mut(at)?;
        let known = open.parts.iter().position(|known| known.number == part);
        let known = known.unwrap_or_else(|| {
            open.parts.push(Part {
                number: part,
                length: 0,
                at: open.points,
            });
            open.parts.len() - 1
        });
        if let Some(part) = open.parts.get_mut(known) {
            part.length += text.decode().len();
        }
        if kind == Kind::Text {
            open.points += points(text);
        }
        Some(open.block)
    }

    /// More visible text.
    pub(super) fn text(
        &mut self,
        output: u64,
        part: u64,
        text: Text<'_>,
        logprobs: Vec<Logprob<'_>>,
        sink: &mut dyn Sink,
    ) {
        if let Some(block) = self.count(output, part, Kind::Text, &text, sink) {
            sink.event(Event::Text {
                block,
                text,
                logprobs,
            });
        }
    }

    /// More of anything.
    pub(super) fn delta(&mut self, output: u64, part: u64, kind: Kind, text: Text<'_>, sink: &mut dyn Sink) {
        if kind == Kind::Text {
            return self.text(output, part, text, Vec::new(), sink);
        }
        let Some(block) = self.count(output, part, kind, &text, sink) else {
            return;
        };
        sink.event(match kind {
            Kind::Refusal => Event::Refusal { block, text },
            Kind::Tool => Event::Arguments {
                block,
                fragment: text,
            },
            Kind::Text | Kind::Reasoning => Event::Reasoning {
                block,
                part: u32::try_from(part).unwrap_or(0),
                text,
            },
        });
    }

    /// A `done` event may hold more than the deltas brought (or all of it): the suffix is passed on.
    pub(super) fn rest(
        &mut self,
        output: u64,
        part: u64,
        kind: Kind,
        whole: Option<Text<'_>>,
        sink: &mut dyn Sink,
    ) {
        let Some(whole) = whole.filter(|whole| !whole.is_empty()) else {
            return;
        };
        let open = self
            .open
            .iter()
            .find(|open| open.output == output && open.kind == kind);
        if open.is_some_and(|open| open.stopped) {
            return;
        }
        let part_of = |open: &Open| {
            open.parts
                .iter()
                .find(|known| known.number == part)
                .map(|part| part.length)
        };
        let length = open.and_then(part_of).unwrap_or(0);
        let whole = whole.decode();
        if let Some(suffix) = whole.get(length..).filter(|suffix| !suffix.is_empty()) {
            self.delta(output, part, kind, suffix.to_owned().into(), sink);
        }
    }

    /// A web source; its places count from the start of its part.
    pub(super) fn annotation(
        &mut self,
        output: u64,
        part: u64,
        (url, title): (Text<'_>, Option<Text<'_>>),
        range: Option<(u64, u64)>,
        sink: &mut dyn Sink,
    ) {
        let Some(open) = self
            .open
            .iter()
            .find(|open| open.output == output && open.kind == Kind::Text)
        else {
            return;
        };
        let shift = open
            .parts
            .iter()
            .find(|known| known.number == part)
            .map_or(0, |part| part.at);
        let citation = Citation {
            url: Some(url),
            title,
            range: range.map(|(start, end)| (start + shift, end + shift)),
            ..Citation::default()
        };
        sink.event(Event::Citation {
            block: open.block,
            citation,
        });
    }

    /// An item is done: what it holds beyond its deltas, its state, its end.
    pub(super) fn done(&mut self, output: u64, item: ResponsesItem<'_>, sink: &mut dyn Sink) {
        match item.kind.as_deref() {
            Some("function_call" | "custom_tool_call") => {
                self.added(output, item.clone(), sink);
                self.rest(output, 0, Kind::Tool, item.arguments.or(item.input), sink);
            }
            // An item is done once: a repeat has no open block and would say everything again.
            Some("message") if !self.seen.contains(&output) => {
                self.seen.push(output);
                for (index, part) in item.content.unwrap_or_default().into_iter().enumerate() {
                    let kind = if part.refusal.is_some() {
                        Kind::Refusal
                    } else {
                        Kind::Text
                    };
                    let text = part.refusal.or(part.text);
                    self.rest(output, index as u64, kind, text, sink);
                }
            }
            Some("reasoning") if !self.seen.contains(&output) => {
                self.seen.push(output);
                self.reasoning(output, item, sink);
            }
            _ => {}
        }
        self.stop(output, sink);
    }

    /// The state of reasoning stands only in the finished item.
    fn reasoning(&mut self, output: u64, item: ResponsesItem<'_>, sink: &mut dyn Sink) {
        let summary = item.summary.unwrap_or_default();
        let raw = item.content.unwrap_or_default();
        let parts = if summary.is_empty() { raw } else { summary };
        for (number, part) in parts.into_iter().enumerate() {
            self.rest(output, number as u64, Kind::Reasoning, part.text, sink);
        }
        let Some(encrypted) = item.encrypted_content.filter(|data| !data.is_empty()) else {
            return;
        };
        let state = Opaque {
            origin: Format::Responses,
            domain: None,
            state: State::Reasoning {
                id: item.id,
                encrypted,
            },
        };
        self.used = true;
        let open = self
            .open
            .iter()
            .find(|open| open.output == output && open.kind == Kind::Reasoning)
            .map(|open| open.block);
        if let Some(block) = open {
            return sink.event(Event::Seal { block, state });
        }
        self.next += 1;
        let block = self.next;
        sink.event(Event::BlockStart {
            choice: 0,
            block,
            kind: BlockKind::State,
        });
        sink.event(Event::Seal { block, state });
        sink.event(Event::BlockStop { block });
    }
}
