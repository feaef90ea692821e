//! Stream events of Responses to hub events. Blocks are found by output index, never by item id: some servers change the ids.

mod item;

use std::borrow::Cow;

use super::{Decode, event, in_band, read};
use crate::decode::chat_response::{TokenLogprob, logprob};
use crate::decode::{ResponsesAnswer, ResponsesItem, usage};
use crate::failure::{Failure, FailureClass};
use crate::json::Text;
use crate::stop::Stop;
use crate::stream::event::{Event, Sink, Start};
use item::{Blocks, Kind};

event! {
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
        /// Log probabilities of it.
        logprobs: Vec<TokenLogprob<'a>> = "logprobs",
        /// All of it.
        text: Text<'a> = "text",
        /// All of it.
        refusal: Text<'a> = "refusal",
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

/// Decoder of one Responses stream.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    blocks: Blocks,
}

impl Decode for Decoder {
    fn event(&mut self, name: Option<&str>, data: &str, sink: &mut dyn Sink) -> Result<(), Failure> {
        let wire: Wire<'_> = read(data)?;
        let kind = wire.kind.clone().or(name.map(Cow::Borrowed)).unwrap_or_default();
        let (output, content) = (wire.output_index.unwrap_or(0), wire.content_index.unwrap_or(0));
        let summary = wire.summary_index.unwrap_or(0);
        let blocks = &mut self.blocks;
        let delta = wire.delta.unwrap_or_default();
        match kind.as_ref() {
            "response.created" => start(wire.response.unwrap_or_default(), sink),
            "response.output_item.added" => blocks.added(output, wire.item.unwrap_or_default(), sink),
            "response.output_text.delta" => {
                let logprobs = wire.logprobs.unwrap_or_default().into_iter();
                let logprobs = logprobs.filter_map(logprob).collect();
                blocks.text(output, content, delta, logprobs, sink);
            }
            "response.refusal.delta" => blocks.delta(output, content, Kind::Refusal, delta, sink),
            "response.reasoning_summary_text.delta" => {
                blocks.delta(output, summary, Kind::Reasoning, delta, sink)
            }
            "response.reasoning_text.delta" => blocks.delta(output, content, Kind::Reasoning, delta, sink),
            "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta" => {
                blocks.delta(output, 0, Kind::Tool, delta, sink);
            }
            "response.output_text.done" => blocks.rest(output, content, Kind::Text, wire.text, sink),
            "response.refusal.done" => blocks.rest(output, content, Kind::Refusal, wire.refusal, sink),
            "response.reasoning_summary_text.done" => {
                blocks.rest(output, summary, Kind::Reasoning, wire.text, sink)
            }
            "response.reasoning_text.done" => blocks.rest(output, content, Kind::Reasoning, wire.text, sink),
            "response.function_call_arguments.done" => {
                blocks.rest(output, 0, Kind::Tool, wire.arguments, sink)
            }
            "response.custom_tool_call_input.done" => blocks.rest(output, 0, Kind::Tool, wire.input, sink),
            "response.output_text.annotation.added" => {
                if let Some(Annotation {
                    url: Some(url),
                    title,
                    start_index,
                    end_index,
                    ..
                }) = wire.annotation
                {
                    blocks.annotation(output, content, (url, title), start_index.zip(end_index), sink);
                }
            }
            "response.output_item.done" => blocks.done(output, wire.item.unwrap_or_default(), sink),
            "response.completed" | "response.incomplete" => {
                self.terminal(wire.response.unwrap_or_default(), sink);
            }
            "response.failed" | "error" => return Err(failed(wire.response, data, sink)),
            "response.cancelled" => {
                let text = "The provider cancelled the answer.";
                return Err(Failure::new(FailureClass::UpstreamBad, text));
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

/// The error stands in the response object or in the event itself; what was used up is told all the same.
fn failed(response: Option<ResponsesAnswer<'_>>, data: &str, sink: &mut dyn Sink) -> Failure {
    let mut response = response.unwrap_or_default();
    used(&mut response, sink);
    match response.error {
        Some(error) => in_band(&format!("{{\"error\":{}}}", error.get())),
        None => in_band(data),
    }
}

/// Tells what the response says was used.
fn used(response: &mut ResponsesAnswer<'_>, sink: &mut dyn Sink) {
    let (counted, tools) = (response.usage.take(), response.tool_usage.take());
    if let Ok(Some(usage)) = usage::responses(counted, tools, response.service_tier.as_deref()) {
        sink.event(Event::Usage { usage, last: true });
    }
}

fn start(response: ResponsesAnswer<'_>, sink: &mut dyn Sink) {
    sink.event(Event::Start(Start {
        id: response.id.unwrap_or_default(),
        model: response.model,
        created: response.created_at,
        service_tier: response.service_tier,
        fingerprint: None,
    }));
}

impl Decoder {
    fn terminal(&mut self, mut response: ResponsesAnswer<'_>, sink: &mut dyn Sink) {
        let details = response.incomplete_details.take();
        let reason = details.and_then(|details| details.reason);
        let incomplete = response.status.as_deref() == Some("incomplete") || reason.is_some();
        // Only the terminal object had the answer: nothing was streamed.
        if !self.blocks.is_used() {
            for (index, item) in response.output.take().unwrap_or_default().into_iter().enumerate() {
                self.blocks.done(index as u64, item, sink);
            }
        }
        used(&mut response, sink);
        let stop = if incomplete {
            reason.map_or(Stop::MaxTokens, Stop::from_incomplete)
        } else {
            Stop::EndTurn
        };
        sink.event(Event::Finish { choice: 0, stop });
        sink.event(Event::End);
    }
}
