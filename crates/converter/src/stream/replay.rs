//! An upstream that answered a stream request with a whole document: its answer as a stream (wire.md 2.3).

use super::event::{BlockKind, Event, Sink, Start};
use crate::context::Context;
use crate::convert::read_response;
use crate::failure::Failure;
use crate::ir::{Arguments, Block, Response, Source};
use crate::json::{Raw, Text};

/// Sends the answer in `document` through `sink`.
///
/// # Errors
/// The document is an error, or no answer.
pub(super) fn replay(document: &str, context: &Context, sink: &mut dyn Sink) -> Result<(), Failure> {
    let response = read_response(document, context)?;
    events_of(&response, sink);
    Ok(())
}

fn events_of(response: &Response<'_>, sink: &mut dyn Sink) {
    sink.event(Event::Start(Start {
        id: response.id.clone(),
        model: response.model.clone(),
        created: response.created,
        service_tier: response.service_tier.clone(),
        fingerprint: response.fingerprint.clone(),
    }));
    let mut block = 0;
    for candidate in &response.candidates {
        let choice = u32::try_from(candidate.index).unwrap_or(0);
        for part in &candidate.blocks {
            block += 2;
            block_events(part, choice, block, sink);
        }
        sink.event(Event::Finish {
            choice,
            stop: candidate.stop.clone(),
        });
    }
    sink.event(Event::Usage {
        usage: response.usage.clone(),
        last: true,
    });
    sink.event(Event::End);
}

fn block_events(part: &Block<'_>, choice: u32, block: u32, sink: &mut dyn Sink) {
    let mut start = |kind| sink.event(Event::BlockStart { choice, block, kind });
    match part {
        Block::Text(text) => {
            start(BlockKind::Text);
            sink.event(Event::Text {
                block,
                text: text.text.clone(),
                logprobs: Vec::new(),
            });
            for citation in &text.citations {
                sink.event(Event::Citation {
                    block,
                    citation: citation.clone(),
                });
            }
        }
        Block::Thought(thought) => {
            start(if thought.text.is_empty() {
                BlockKind::State
            } else {
                BlockKind::Reasoning {
                    summary: thought.summary,
                }
            });
            for (part, text) in thought.text.iter().enumerate() {
                sink.event(Event::Reasoning {
                    block,
                    part: u32::try_from(part).unwrap_or(0),
                    text: text.clone(),
                });
            }
            if let Some(state) = &thought.state {
                sink.event(Event::Seal {
                    block,
                    state: state.clone(),
                });
            }
        }
        Block::ToolCall(call) => {
            let custom = matches!(call.arguments, Arguments::Freeform(_));
            if let Some(state) = &call.state {
                // Numbers of replayed blocks are even; the state in front of a call takes the odd one before it.
                let before = block - 1;
                sink.event(Event::BlockStart {
                    choice,
                    block: before,
                    kind: BlockKind::State,
                });
                sink.event(Event::Seal {
                    block: before,
                    state: state.clone(),
                });
                sink.event(Event::BlockStop { block: before });
            }
            sink.event(Event::BlockStart {
                choice,
                block,
                kind: BlockKind::Tool {
                    id: call.id.clone(),
                    name: call.name.clone(),
                    custom,
                },
            });
            let fragment = match &call.arguments {
                Arguments::Object(Raw(json)) => Text::from(*json),
                Arguments::Encoded(text) | Arguments::Freeform(text) => text.clone(),
            };
            sink.event(Event::Arguments { block, fragment });
        }
        Block::Refusal(text) => {
            start(BlockKind::Refusal);
            sink.event(Event::Refusal {
                block,
                text: text.clone(),
            });
        }
        Block::Media(media) => {
            if let Source::Base64 { mime, data } = &media.source {
                start(BlockKind::Media);
                sink.event(Event::Media {
                    block,
                    mime: mime.clone(),
                    data: data.clone(),
                });
            }
        }
        Block::ToolResult(_) | Block::Native(_) => return,
    }
    sink.event(Event::BlockStop { block });
}
