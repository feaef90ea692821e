//! Stream events of Responses to hub events.

use std::borrow::Cow;

use super::{Decode, in_band, read};
use crate::decode::{ResponsesAnswer, ResponsesItem, usage};
use crate::failure::{Failure, FailureClass};
use crate::format::Format;
use crate::ir::{Citation, Opaque, State};
use crate::json::Text;
use crate::stop::Stop;
use crate::stream::event::{BlockId, BlockKind, Event, Sink, Start};
use crate::wire::object;

object! {
    /// Any event.
    struct Wire {
        /// Its type.
        kind: Cow<'a, str> = "type",
        /// Lifecycle events.
        response: ResponsesAnswer<'a> = "response",
        /// Items.
        item: ResponsesItem<'a> = "item",
        /// Item number.
        output_index: u64 = "output_index",
        /// Part number.
        content_index: u64 = "content_index",
        /// Summary part number.
        summary_index: u64 = "summary_index",
        /// What is new.
        delta: Text<'a> = "delta",
        /// All of it.
        text: Text<'a> = "text",
        /// All of it.
        arguments: Text<'a> = "arguments",
        /// All of it.
        input: Text<'a> = "input",
        /// Citation.
        annotation: Annotation<'a> = "annotation",
    }

    /// An annotation.
    struct Annotation {
        /// Address.
        url: Text<'a> = "url",
        /// Title.
        title: Text<'a> = "title",
        /// Range.
        start_index: u64 = "start_index",
        /// Range.
        end_index: u64 = "end_index",
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Refusal,
    Reasoning,
    Tool,
}

#[derive(Debug)]
struct Open {
    output: u64,
    content: u64,
    block: BlockId,
    kind: Kind,
    /// Something was passed on.
    written: bool,
    /// Bytes of decoded text passed on, to find what a `done` event adds.
    length: usize,
}

/// Decoder of one Responses stream.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    next: BlockId,
    started: bool,
    open: Vec<Open>,
    seen: Vec<u64>,
    refused: bool,
    texts: bool,
}

impl Decode for Decoder {
    fn event(&mut self, name: Option<&str>, data: &str, sink: &mut dyn Sink) -> Result<(), Failure> {
        let wire: Wire<'_> = read(data)?;
        let kind = wire.kind.clone().or(name.map(Cow::Borrowed)).unwrap_or_default();
        let (output, content) = (wire.output_index.unwrap_or(0), wire.content_index.unwrap_or(0));
        match kind.as_ref() {
            "response.created" | "response.in_progress" | "response.queued" => {
                self.start(wire.response.unwrap_or_default(), sink);
            }
            "response.output_item.added" => self.item_added(output, wire.item.unwrap_or_default(), sink),
            "response.output_text.delta" => self.delta(output, content, Kind::Text, 0, wire.delta, sink),
            "response.refusal.delta" => self.delta(output, content, Kind::Refusal, 0, wire.delta, sink),
            "response.reasoning_summary_text.delta" => {
                let part = u32::try_from(wire.summary_index.unwrap_or(0)).unwrap_or(0);
                self.delta(output, 0, Kind::Reasoning, part, wire.delta, sink);
            }
            "response.reasoning_text.delta" => self.delta(output, 0, Kind::Reasoning, 0, wire.delta, sink),
            "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta" => {
                self.delta(output, 0, Kind::Tool, 0, wire.delta, sink);
            }
            "response.output_text.done" => self.rest(output, content, Kind::Text, wire.text, sink),
            "response.function_call_arguments.done" => self.rest(output, 0, Kind::Tool, wire.arguments, sink),
            "response.custom_tool_call_input.done" => self.rest(output, 0, Kind::Tool, wire.input, sink),
            "response.output_text.annotation.added" => {
                self.annotation(output, content, wire.annotation, sink)
            }
            "response.output_item.done" => self.item_done(output, wire.item.unwrap_or_default(), sink),
            "response.completed" | "response.incomplete" => {
                self.terminal(wire.response.unwrap_or_default(), sink)
            }
            "response.failed" | "error" => return Err(failed(wire.response, data)),
            "response.cancelled" => {
                return Err(Failure::new(
                    FailureClass::UpstreamBad,
                    "The provider cancelled the answer.",
                ));
            }
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

/// The error stands in the response object or in the event itself.
fn failed(response: Option<ResponsesAnswer<'_>>, data: &str) -> Failure {
    match response.and_then(|response| response.error) {
        Some(error) => in_band(&format!("{{\"error\":{}}}", error.get())),
        None => in_band(data),
    }
}

impl Decoder {
    fn start(&mut self, response: ResponsesAnswer<'_>, sink: &mut dyn Sink) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        sink.event(Event::Start(Start {
            id: response.id.unwrap_or_default(),
            model: response.model,
            created: response.created_at,
            service_tier: None,
            fingerprint: None,
        }));
    }

    fn begin(
        &mut self,
        output: u64,
        content: u64,
        kind: Kind,
        wire: BlockKind<'_>,
        sink: &mut dyn Sink,
    ) -> usize {
        self.next += 1;
        let block = self.next;
        sink.event(Event::BlockStart {
            choice: 0,
            block,
            kind: wire,
        });
        self.open.push(Open {
            output,
            content,
            block,
            kind,
            written: false,
            length: 0,
        });
        self.open.len() - 1
    }

    fn item_added(&mut self, output: u64, item: ResponsesItem<'_>, sink: &mut dyn Sink) {
        self.seen.push(output);
        let custom = match item.kind.as_deref() {
            Some("function_call") => false,
            Some("custom_tool_call") => true,
            _ => return,
        };
        let (id, name) = (
            item.call_id.or(item.id).unwrap_or_default(),
            item.name.unwrap_or_default(),
        );
        self.begin(output, 0, Kind::Tool, BlockKind::Tool { id, name, custom }, sink);
    }

    fn find(&mut self, output: u64, content: u64, kind: Kind, sink: &mut dyn Sink) -> Option<usize> {
        let same = |open: &Open| {
            open.output == output && open.kind == kind && (open.content == content || kind == Kind::Tool)
        };
        if let Some(at) = self.open.iter().position(same) {
            return Some(at);
        }
        let wire = match kind {
            Kind::Text => BlockKind::Text,
            Kind::Refusal => BlockKind::Refusal,
            Kind::Reasoning => BlockKind::Reasoning { summary: true },
            Kind::Tool => return None,
        };
        Some(self.begin(output, content, kind, wire, sink))
    }

    fn delta(
        &mut self,
        output: u64,
        content: u64,
        kind: Kind,
        part: u32,
        text: Option<Text<'_>>,
        sink: &mut dyn Sink,
    ) {
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            return;
        };
        let Some(at) = self.find(output, content, kind, sink) else {
            return;
        };
        let Some(open) = self.open.get_mut(at) else { return };
        open.written = true;
        open.length += text.decode().len();
        let block = open.block;
        match kind {
            Kind::Text => {
                self.texts = true;
                sink.event(Event::Text {
                    block,
                    text,
                    logprobs: Vec::new(),
                });
            }
            Kind::Refusal => {
                self.refused = true;
                sink.event(Event::Refusal { block, text });
            }
            Kind::Reasoning => sink.event(Event::Reasoning { block, part, text }),
            Kind::Tool => {
                self.texts = true;
                sink.event(Event::Arguments {
                    block,
                    fragment: text,
                });
            }
        }
    }

    /// A `done` event may hold more than the deltas brought (or all of it): the suffix is passed on.
    fn rest(&mut self, output: u64, content: u64, kind: Kind, whole: Option<Text<'_>>, sink: &mut dyn Sink) {
        let Some(whole) = whole.filter(|whole| !whole.is_empty()) else {
            return;
        };
        let Some(at) = self.find(output, content, kind, sink) else {
            return;
        };
        let length = self.open.get(at).map_or(0, |open| open.length);
        let whole = whole.decode();
        if let Some(suffix) = whole.get(length..).filter(|suffix| !suffix.is_empty()) {
            self.delta(output, content, kind, 0, Some(suffix.to_owned().into()), sink);
        }
    }

    fn annotation(
        &mut self,
        output: u64,
        content: u64,
        annotation: Option<Annotation<'_>>,
        sink: &mut dyn Sink,
    ) {
        let Some(annotation) = annotation.filter(|annotation| annotation.url.is_some()) else {
            return;
        };
        let Some(at) = self.find(output, content, Kind::Text, sink) else {
            return;
        };
        let block = self.open.get(at).map_or(0, |open| open.block);
        let range = annotation.start_index.zip(annotation.end_index);
        let citation = Citation {
            url: annotation.url,
            title: annotation.title,
            range,
            ..Citation::default()
        };
        sink.event(Event::Citation { block, citation });
    }

    fn item_done(&mut self, output: u64, item: ResponsesItem<'_>, sink: &mut dyn Sink) {
        match item.kind.as_deref() {
            Some("function_call" | "custom_tool_call") => {
                if !self.open.iter().any(|open| open.output == output) && !self.seen.contains(&output) {
                    self.item_added(output, item.clone(), sink);
                }
                self.rest(output, 0, Kind::Tool, item.arguments.or(item.input), sink);
            }
            Some("message") => {
                for (index, part) in item.content.unwrap_or_default().into_iter().enumerate() {
                    let kind = if part.refusal.is_some() {
                        Kind::Refusal
                    } else {
                        Kind::Text
                    };
                    self.rest(output, index as u64, kind, part.refusal.or(part.text), sink);
                }
            }
            Some("reasoning") => self.reasoning_done(output, item, sink),
            _ => {}
        }
        let ids: Vec<BlockId> = self
            .open
            .iter()
            .filter(|open| open.output == output)
            .map(|open| open.block)
            .collect();
        self.open.retain(|open| open.output != output);
        for block in ids {
            sink.event(Event::BlockStop { block });
        }
    }

    /// The state of reasoning stands only in the finished item.
    fn reasoning_done(&mut self, output: u64, item: ResponsesItem<'_>, sink: &mut dyn Sink) {
        let texts: Vec<Text<'_>> = item
            .summary
            .unwrap_or_default()
            .into_iter()
            .filter_map(|part| part.text)
            .collect();
        let written = self.open.iter().any(|open| open.output == output && open.written);
        if !written {
            for (part, text) in texts.into_iter().enumerate() {
                self.delta(
                    output,
                    0,
                    Kind::Reasoning,
                    u32::try_from(part).unwrap_or(0),
                    Some(text),
                    sink,
                );
            }
        }
        let Some(encrypted) = item.encrypted_content.filter(|data| !data.is_empty()) else {
            return;
        };
        let state = State::Reasoning {
            id: item.id,
            encrypted,
        };
        let open = self
            .open
            .iter()
            .find(|open| open.output == output && open.kind == Kind::Reasoning)
            .map(|open| open.block);
        let block = open.unwrap_or_else(|| {
            self.next += 1;
            sink.event(Event::BlockStart {
                choice: 0,
                block: self.next,
                kind: BlockKind::State,
            });
            self.next
        });
        sink.event(Event::Seal {
            block,
            state: Opaque {
                origin: Format::Responses,
                domain: None,
                state,
            },
        });
        if open.is_none() {
            sink.event(Event::BlockStop { block });
        }
    }

    fn terminal(&mut self, response: ResponsesAnswer<'_>, sink: &mut dyn Sink) {
        if let Some(Ok(usage)) = response.usage.map(usage::openai) {
            sink.event(Event::Usage { usage, last: true });
        }
        let reason = response.incomplete_details.and_then(|details| details.reason);
        let incomplete = response.status.as_deref() == Some("incomplete") || reason.is_some();
        // Only the terminal object had the answer: nothing was streamed.
        if !self.texts && !self.refused && self.seen.is_empty() {
            for (index, item) in response.output.unwrap_or_default().into_iter().enumerate() {
                self.item_done(index as u64, item, sink);
            }
        }
        let stop = if incomplete {
            reason.map_or(Stop::MaxTokens, Stop::from_incomplete)
        } else if self.refused && !self.texts {
            Stop::Refusal {
                category: None,
                explanation: None,
            }
        } else {
            Stop::EndTurn
        };
        sink.event(Event::Finish { choice: 0, stop });
        sink.event(Event::End);
    }
}
