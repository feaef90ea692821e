//! Stream events of Messages to hub events.

use std::borrow::Cow;

use super::envelope::Envelope;
use super::{Decode, event, in_band, read};
use crate::decode::{MessagesStopDetails as StopDetails, messages_citation, usage};
use crate::failure::Failure;
use crate::format::Format;
use crate::ir::{Opaque, State};
use crate::json::{Raw, Text};
use crate::stop::Stop;
use crate::stream::event::{BlockId, BlockKind, Event, Sink, Start};
use crate::usage::Usage;

event! {
    /// Any event.
    struct Wire {
        /// Its type.
        kind: Cow<'a, str> = "type",
        /// `message_start`.
        message: Message<'a> = "message",
        /// Block number.
        index: u64 = "index",
        /// `content_block_start`.
        content_block: ContentBlock<'a> = "content_block",
        /// Deltas.
        delta: Delta<'a> = "delta",
        /// Usage of `message_delta`.
        usage: Raw<'a> = "usage",
    }

    /// `message_start.message`.
    struct Message {
        /// Id.
        id: Cow<'a, str> = "id",
        /// Model.
        model: Cow<'a, str> = "model",
        /// Usage.
        usage: Raw<'a> = "usage",
    }

    /// `content_block`.
    struct ContentBlock {
        /// Its type.
        kind: Cow<'a, str> = "type",
        /// Text.
        text: Text<'a> = "text",
        /// Thinking.
        thinking: Text<'a> = "thinking",
        /// Redacted.
        data: Cow<'a, str> = "data",
        /// Tool id.
        id: Cow<'a, str> = "id",
        /// Tool name.
        name: Cow<'a, str> = "name",
        /// Tool input.
        input: Raw<'a> = "input",
        /// The server tool's call that a result belongs to.
        tool_use_id: Cow<'a, str> = "tool_use_id",
    }

    /// `delta` of a block or of the message.
    struct Delta {
        /// Its type.
        kind: Cow<'a, str> = "type",
        /// Text.
        text: Text<'a> = "text",
        /// Thinking.
        thinking: Text<'a> = "thinking",
        /// Signature.
        signature: Cow<'a, str> = "signature",
        /// Arguments.
        partial_json: Text<'a> = "partial_json",
        /// Citation.
        citation: Raw<'a> = "citation",
        /// Why it ended.
        stop_reason: Cow<'a, str> = "stop_reason",
        /// Which sequence.
        stop_sequence: Text<'a> = "stop_sequence",
        /// Refusal.
        stop_details: StopDetails<'a> = "stop_details",
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Thinking,
    Tool,
    /// A web search of the vendor's.
    Search,
    /// Its result.
    Result,
    Other,
}

#[derive(Debug)]
struct Open {
    index: u64,
    block: BlockId,
    kind: Kind,
    /// Input that stood in the start of a tool block; used if no fragment follows.
    input: Option<String>,
    /// Id of a web search: its result names it.
    search: String,
}

/// Decoder of one Messages stream.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    next: BlockId,
    open: Vec<Open>,
    /// Searches whose result is still to come.
    searches: Vec<(String, BlockId)>,
    /// Usage as the start says it.
    begun: Usage,
    /// What the last delta with nothing but text was like: the block of its text, and its type.
    envelope: Envelope<(u64, &'static str)>,
}

impl<'a> Wire<'a> {
    /// The text of a delta that says nothing else, its block and its type.
    fn only_text(&self) -> Option<(&Text<'a>, (u64, &'static str))> {
        if self.kind.as_deref() != Some("content_block_delta") {
            return None;
        }
        let delta = self.delta.as_ref()?;
        let (kind, text) = match delta.kind.as_deref()? {
            "text_delta" => ("text_delta", delta.text.as_ref()),
            "thinking_delta" => ("thinking_delta", delta.thinking.as_ref()),
            "input_json_delta" => ("input_json_delta", delta.partial_json.as_ref()),
            _ => return None,
        };
        let text = text?;
        (*delta == Delta::saying(kind, text.clone())).then_some((text, (self.index.unwrap_or(0), kind)))
    }
}

impl<'a> Delta<'a> {
    /// A delta of a type with its text alone.
    fn saying(kind: &'static str, text: Text<'a>) -> Self {
        let mut delta = Delta {
            kind: Some(Cow::Borrowed(kind)),
            ..Delta::default()
        };
        let place = match kind {
            "text_delta" => &mut delta.text,
            "thinking_delta" => &mut delta.thinking,
            _ => &mut delta.partial_json,
        };
        *place = Some(text);
        delta
    }
}

impl Decode for Decoder {
    fn event(&mut self, name: Option<&str>, data: &str, sink: &mut dyn Sink) -> Result<(), Failure> {
        if let Some((text, (index, kind))) = self.envelope.text(data) {
            self.delta(index, Delta::saying(kind, text), sink);
            return Ok(());
        }
        let wire: Wire<'_> = read(data)?;
        if self.envelope.learns()
            && let Some((text, of)) = wire.only_text()
        {
            self.envelope.learn(data, text, None, of);
        }
        let kind = wire.kind.as_deref().or(name).unwrap_or_default();
        match kind {
            "message_start" => {
                let message = wire.message.unwrap_or_default();
                sink.event(Event::Start(Start {
                    id: message.id.unwrap_or_default(),
                    model: message.model,
                    ..Start::default()
                }));
                if let Some(Ok(mut usage)) = message.usage.map(usage::anthropic) {
                    // A placeholder: nothing was generated yet.
                    usage.output = None;
                    self.begun = usage.clone();
                    sink.event(Event::Usage { usage, last: false });
                }
            }
            "content_block_start" => self.start(
                wire.index.unwrap_or(0),
                wire.content_block.unwrap_or_default(),
                sink,
            ),
            "content_block_delta" => {
                self.delta(wire.index.unwrap_or(0), wire.delta.unwrap_or_default(), sink)
            }
            "content_block_stop" => self.stop(wire.index.unwrap_or(0), sink),
            "message_delta" => message_delta(wire, &self.begun, sink),
            "message_stop" => sink.event(Event::End),
            "ping" => sink.event(Event::Ping),
            "error" => return Err(in_band(data)),
            _ if crate::failure::document(data).is_some() => return Err(in_band(data)),
            _ => {}
        }
        Ok(())
    }

    fn done(&mut self, _sink: &mut dyn Sink) -> Result<(), Failure> {
        Ok(())
    }

    fn end(&mut self, _sink: &mut dyn Sink) -> Result<(), Failure> {
        Ok(())
    }
}

/// Usage first: the finish of this event is followed by the end at once.
fn message_delta(wire: Wire<'_>, begun: &Usage, sink: &mut dyn Sink) {
    let delta = wire.delta.unwrap_or_default();
    if let Some(Ok(usage)) = wire.usage.map(usage::anthropic) {
        // Only the output is surely repeated here; the input side stands in the start.
        sink.event(Event::Usage {
            usage: begun.continued(usage),
            last: delta.stop_reason.is_some(),
        });
    }
    if let Some(word) = delta.stop_reason {
        let details = delta.stop_details.unwrap_or_default();
        let stop = Stop::from_messages(word, delta.stop_sequence, (details.category, details.explanation));
        sink.event(Event::Finish { choice: 0, stop });
    }
}

impl Decoder {
    fn begin(&mut self, index: u64, kind: Kind, wire: BlockKind<'_>, sink: &mut dyn Sink) -> BlockId {
        self.next += 1;
        let block = self.next;
        self.open.push(Open {
            index,
            block,
            kind,
            input: None,
            search: String::new(),
        });
        sink.event(Event::BlockStart {
            choice: 0,
            block,
            kind: wire,
        });
        block
    }

    fn start(&mut self, index: u64, content: ContentBlock<'_>, sink: &mut dyn Sink) {
        match content.kind.as_deref() {
            Some("text") => {
                let block = self.begin(index, Kind::Text, BlockKind::Text, sink);
                sink.event(Event::Text {
                    block,
                    text: content.text.unwrap_or_default(),
                    logprobs: Vec::new(),
                });
            }
            Some("thinking") => {
                let block = self.begin(
                    index,
                    Kind::Thinking,
                    BlockKind::Reasoning { summary: false },
                    sink,
                );
                sink.event(Event::Reasoning {
                    block,
                    part: 0,
                    text: content.thinking.unwrap_or_default(),
                });
            }
            Some("redacted_thinking") => {
                let block = self.begin(index, Kind::Other, BlockKind::State, sink);
                let state = State::Redacted(content.data.unwrap_or_default());
                sink.event(Event::Seal {
                    block,
                    state: Opaque {
                        origin: Format::Messages,
                        domain: None,
                        state,
                    },
                });
            }
            Some("tool_use") => {
                let (id, name) = (content.id.unwrap_or_default(), content.name.unwrap_or_default());
                let kind = BlockKind::Tool {
                    id,
                    name,
                    custom: false,
                };
                self.begin(index, Kind::Tool, kind, sink);
                self.keep_input(content.input);
            }
            Some("server_tool_use") if content.name.as_deref() == Some("web_search") => {
                self.begin(index, Kind::Search, BlockKind::Search, sink);
                self.keep_input(content.input);
                if let Some(open) = self.open.last_mut() {
                    open.search = content.id.unwrap_or_default().into_owned();
                }
            }
            Some("web_search_tool_result") => {
                let id = content.tool_use_id.unwrap_or_default();
                if let Some(at) = self.searches.iter().position(|(known, _)| *known == *id) {
                    let (_, block) = self.searches.remove(at);
                    self.open.push(Open {
                        index,
                        block,
                        kind: Kind::Result,
                        input: None,
                        search: String::new(),
                    });
                }
            }
            // Server tools and their results are never shown as client tools.
            _ => {}
        }
    }

    fn keep_input(&mut self, input: Option<Raw<'_>>) {
        if let Some(open) = self.open.last_mut() {
            open.input = input
                .map(Raw::get)
                .filter(|input| input.len() > 2)
                .map(str::to_owned);
        }
    }

    fn delta(&mut self, index: u64, delta: Delta<'_>, sink: &mut dyn Sink) {
        let wanted = match delta.kind.as_deref() {
            Some("text_delta" | "citations_delta") => Kind::Text,
            Some("thinking_delta" | "signature_delta") => Kind::Thinking,
            Some("input_json_delta") => Kind::Tool,
            _ => return,
        };
        let Some(block) = self.block_of(index, wanted, sink) else {
            return;
        };
        if let Some(text) = delta.text {
            sink.event(Event::Text {
                block,
                text,
                logprobs: Vec::new(),
            });
        }
        if let Some(text) = delta.thinking {
            sink.event(Event::Reasoning { block, part: 0, text });
        }
        if let Some(signature) = delta.signature.filter(|signature| !signature.is_empty()) {
            let state = State::Signature(signature);
            sink.event(Event::Seal {
                block,
                state: Opaque {
                    origin: Format::Messages,
                    domain: None,
                    state,
                },
            });
        }
        if let Some(fragment) = delta.partial_json.filter(|fragment| !fragment.is_empty()) {
            if let Some(open) = self.open.iter_mut().find(|open| open.block == block) {
                open.input = None;
            }
            sink.event(Event::Arguments { block, fragment });
        }
        if let Some(citation) = delta.citation.and_then(messages_citation) {
            sink.event(Event::Citation { block, citation });
        }
    }

    /// The open block of this index; a delta of another kind closes it and opens one of its own (wire.md 4.2).
    fn block_of(&mut self, index: u64, wanted: Kind, sink: &mut dyn Sink) -> Option<BlockId> {
        let known = self
            .open
            .iter()
            .find(|open| open.index == index)
            .map(|open| (open.block, open.kind));
        match known {
            Some((block, kind)) if kind == wanted => return Some(block),
            Some((block, Kind::Search)) if wanted == Kind::Tool => return Some(block),
            Some(_) => self.stop(index, sink),
            None => {}
        }
        match wanted {
            Kind::Text => Some(self.begin(index, Kind::Text, BlockKind::Text, sink)),
            Kind::Thinking => Some(self.begin(
                index,
                Kind::Thinking,
                BlockKind::Reasoning { summary: false },
                sink,
            )),
            Kind::Tool | Kind::Search | Kind::Result | Kind::Other => None,
        }
    }

    fn stop(&mut self, index: u64, sink: &mut dyn Sink) {
        let Some(at) = self.open.iter().position(|open| open.index == index) else {
            return;
        };
        let open = self.open.remove(at);
        if let Some(input) = open.input {
            sink.event(Event::Arguments {
                block: open.block,
                fragment: input.into(),
            });
        }
        if open.kind == Kind::Search {
            // The search goes on until its result is there.
            self.searches.push((open.search, open.block));
            return;
        }
        sink.event(Event::BlockStop { block: open.block });
    }
}
