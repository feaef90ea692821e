//! Which call a fragment belongs to: servers leave indices out, repeat ids and put several calls under one index
//! (wire.md 4.3, 5.13).

use std::borrow::Cow;

use super::wire::ToolCall;
use crate::decode::google_signature;
use crate::json::Text;
use crate::stream::event::{BlockId, BlockKind, Event, Sink};
use crate::stream::json_scan::JsonScan;

/// The calls of one answer.
#[derive(Debug, Default)]
pub(super) struct Tools {
    calls: Vec<Call>,
}

#[derive(Debug, Default)]
struct Call {
    index: u64,
    id: String,
    name: String,
    /// `None` until the name is known: nothing was started yet.
    block: Option<BlockId>,
    /// The arguments so far, decoded: a server that sends all of them again is seen by it.
    arguments: String,
    scan: JsonScan,
}

impl Call {
    /// Starts the call: its name is known.
    fn start(&mut self, custom: bool, choice: u32, next: &mut BlockId, sink: &mut dyn Sink) {
        *next += 1;
        self.block = Some(*next);
        let (bare, _) = crate::names::strip_seal(&self.id);
        sink.event(Event::BlockStart {
            choice,
            block: *next,
            kind: BlockKind::Tool {
                id: Cow::Borrowed(bare),
                name: Cow::Borrowed(&self.name),
                custom,
            },
        });
        if !self.arguments.is_empty() {
            sink.event(Event::Arguments {
                block: *next,
                fragment: Text::from(self.arguments.as_str()),
            });
        }
    }

    fn append(&mut self, fragment: Text<'_>, sink: &mut dyn Sink) {
        let decoded = fragment.decode();
        let repeated = decoded.trim().is_empty() || *decoded == self.arguments;
        if self.scan.is_complete() && repeated {
            return;
        }
        self.scan.push(&decoded);
        self.arguments.push_str(&decoded);
        if let Some(block) = self.block {
            sink.event(Event::Arguments { block, fragment });
        }
    }
}

impl Tools {
    /// The answer is finished: so are its calls.
    pub(super) fn close(&mut self, sink: &mut dyn Sink) {
        for block in self.calls.drain(..).filter_map(|call| call.block) {
            sink.event(Event::BlockStop { block });
        }
    }

    /// Takes the next fragment.
    pub(super) fn fragment(
        &mut self,
        wire: ToolCall<'_>,
        choice: u32,
        next: &mut BlockId,
        sink: &mut dyn Sink,
    ) {
        let id = wire.id.unwrap_or_default();
        let custom = wire.custom.is_some();
        let (name, arguments) = match (wire.function, wire.custom) {
            (Some(function), _) => (function.name, function.arguments.map(|arguments| arguments.0)),
            (None, Some(custom)) => (custom.name, custom.input),
            (None, None) => (None, None),
        };
        let name = name.filter(|name| !name.is_empty());
        let at = self.find(wire.index.and_then(|index| index.0), &id, name.as_deref());
        let Some(call) = self.calls.get_mut(at) else {
            return;
        };
        if call.id.is_empty() {
            call.id = id.into_owned();
        }
        if call.block.is_none() {
            if let Some(name) = name {
                call.name = name.into_owned();
            }
            if !call.name.is_empty() {
                if let Some(state) = google_signature(wire.extra_content) {
                    *next += 1;
                    let block = *next;
                    sink.event(Event::BlockStart {
                        choice,
                        block,
                        kind: BlockKind::State,
                    });
                    sink.event(Event::Seal { block, state });
                    sink.event(Event::BlockStop { block });
                }
                call.start(custom, choice, next, sink);
            }
        }
        if let Some(fragment) = arguments.filter(|fragment| !fragment.is_empty()) {
            call.append(fragment, sink);
        }
    }

    /// The call that a fragment belongs to; a new one if it belongs to none.
    fn find(&mut self, index: Option<u64>, id: &str, name: Option<&str>) -> usize {
        let known = match index {
            Some(index) => self.calls.iter().rposition(|call| call.index == index),
            None if id.is_empty() => self.calls.len().checked_sub(1),
            None => self.calls.iter().position(|call| call.id == id),
        };
        let before = known.and_then(|at| self.calls.get(at));
        let other = before.is_some_and(|call| {
            let new_id = !id.is_empty() && !call.id.is_empty() && call.id != id;
            new_id && (name.is_some() || call.scan.is_complete())
        });
        if let Some(at) = known.filter(|_| !other) {
            return at;
        }
        // A second call under the index of a finished one, without a name of its own, is a call of the same tool.
        let name = before
            .filter(|_| other && name.is_none())
            .map(|call| call.name.clone())
            .unwrap_or_default();
        self.calls.push(Call {
            index: index.unwrap_or(self.calls.len() as u64),
            name,
            ..Call::default()
        });
        self.calls.len() - 1
    }
}
