//! Hub events to stream events of streamGenerateContent.

use super::Encode;
use crate::context::Context;
use crate::encode::answer::slot;
use crate::encode::gemini::standard;
use crate::encode::{is_json, usage};
use crate::failure::Failure;
use crate::json::{Raw, Text, Writer};
use crate::names;
use crate::stop::Stop;
use crate::stream::event::{BlockId, BlockKind, Event, Start};
use crate::usage::Usage;

/// A call whose arguments are still coming: Gemini has them whole.
#[derive(Debug)]
struct Call {
    block: BlockId,
    choice: u32,
    id: String,
    name: String,
    arguments: String,
    seal: Option<String>,
}

/// Encoder of one Gemini stream.
#[derive(Debug)]
pub(crate) struct Encoder {
    context: Context,
    id: String,
    model: String,
    choices: Vec<(BlockId, u32)>,
    calls: Vec<Call>,
    /// Calls that ended with broken arguments: shown unless the answer was cut there.
    broken: Vec<Call>,
    pending: Option<String>,
    usage: Usage,
    stops: Vec<(u32, Stop<'static>)>,
    written: bool,
}

impl Encoder {
    pub(crate) fn new(context: &Context) -> Self {
        Encoder {
            context: context.clone(),
            id: String::new(),
            model: String::new(),
            choices: Vec::new(),
            calls: Vec::new(),
            broken: Vec::new(),
            pending: None,
            usage: Usage::default(),
            stops: Vec::new(),
            written: false,
        }
    }

    fn start(&mut self, start: &Start<'_>) {
        self.id = names::answer_id(&start.id, self.context.client, &self.context.request_id);
        self.model = start.model.as_deref().unwrap_or(&self.context.model).to_owned();
    }

    /// Frames one element: an SSE event, or the next element of the array.
    fn frame(&mut self, out: &mut Vec<u8>, body: impl FnOnce(&mut Writer<'_>)) {
        let before: &[u8] = match (self.context.array, self.written) {
            (true, false) => b"[",
            (true, true) => b",\r\n",
            (false, _) => b"data: ",
        };
        self.written = true;
        out.extend_from_slice(before);
        body(&mut Writer::line(out));
        out.extend_from_slice(if self.context.array { b"\r\n" } else { b"\r\n\r\n" });
    }

    fn chunk(&mut self, choice: u32, out: &mut Vec<u8>, part: impl FnOnce(&mut Writer<'_>)) {
        let (model, id) = (self.model.clone(), self.id.clone());
        self.frame(out, |w| {
            w.object(|w| {
                w.key("candidates").array(|w| {
                    w.item().object(|w| {
                        w.key("content").object(|w| {
                            w.key("parts").array(|w| part(w.item()));
                            w.key("role").str("model");
                        });
                        w.key("index").u64(u64::from(choice));
                    });
                });
                w.key("modelVersion").str(&model);
                w.key("responseId").str(&id);
            });
        });
    }

    fn choice_of(&self, block: BlockId) -> u32 {
        self.choices
            .iter()
            .rev()
            .find(|(known, _)| *known == block)
            .map_or(0, |(_, choice)| *choice)
    }

    fn call(&mut self, call: &Call, out: &mut Vec<u8>) {
        let arguments = call.arguments.trim();
        self.chunk(call.choice, out, |w| {
            w.object(|w| {
                w.key("functionCall").object(|w| {
                    w.key("id").str(&call.id);
                    w.key("name").str(&call.name);
                    if is_json(arguments) {
                        w.key("args").raw(Raw(arguments));
                    } else if arguments.is_empty() {
                        w.key("args").raw(Raw::of_const("{}"));
                    } else {
                        w.key("args")
                            .object(|w| w.key("__raw_arguments").str(&call.arguments));
                    }
                });
                if let Some(seal) = &call.seal {
                    w.key("thoughtSignature").str(&standard(seal));
                }
            });
        });
    }

    fn block_stop(&mut self, block: BlockId, out: &mut Vec<u8>) {
        let Some(at) = self.calls.iter().position(|call| call.block == block) else {
            return;
        };
        let call = self.calls.remove(at);
        if call.arguments.trim().is_empty() || is_json(call.arguments.trim()) {
            self.call(&call, out);
        } else {
            self.broken.push(call);
        }
    }

    fn finish(&mut self, choice: u32, stop: Stop<'_>, out: &mut Vec<u8>) {
        let cut = matches!(stop, Stop::MaxTokens | Stop::Filtered(_) | Stop::ContextFull);
        for call in std::mem::take(&mut self.broken) {
            if !cut {
                self.call(&call, out);
            }
        }
        self.stops.push((choice, stop.into_owned()));
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        let stops = std::mem::take(&mut self.stops);
        let (usage, model, id) = (self.usage.clone(), self.model.clone(), self.id.clone());
        let seal = self.pending.take();
        self.frame(out, |w| {
            w.object(|w| {
                w.key("candidates").array(|w| {
                    for (choice, stop) in &stops {
                        w.item().object(|w| {
                            w.key("content").object(|w| {
                                w.key("parts").array(|w| {
                                    w.item().object(|w| {
                                        w.key("text").str("");
                                        if let Some(seal) = &seal {
                                            w.key("thoughtSignature").str(&standard(seal));
                                        }
                                    });
                                });
                                w.key("role").str("model");
                            });
                            w.key("finishReason").str(stop.gemini());
                            if let Stop::Refusal {
                                explanation: Some(text),
                                ..
                            } = stop
                            {
                                w.key("finishMessage").text(text);
                            }
                            w.key("index").u64(u64::from(*choice));
                        });
                    }
                });
                usage::gemini(w.key("usageMetadata"), &usage);
                w.key("modelVersion").str(&model);
                w.key("responseId").str(&id);
            });
        });
        if self.context.array {
            out.extend_from_slice(b"]");
        }
    }

    /// Gemini's own signature of a call waits for the call; other state leaves as the end of its thought.
    fn seal(&mut self, block: BlockId, state: &crate::ir::Opaque<'_>, out: &mut Vec<u8>) {
        use crate::ir::State;
        let Some(seal) = slot(state, &self.context) else {
            return;
        };
        match state.state {
            State::Plain => {}
            State::CallSignature(_) | State::PartSignature(_) => self.pending = Some(seal),
            _ if !self.context.declares_tools && !self.context.include_thoughts => {}
            _ => self.chunk(self.choice_of(block), out, |w| {
                w.object(|w| {
                    w.key("text").str("");
                    w.key("thought").bool(true);
                    w.key("thoughtSignature").str(&standard(&seal));
                });
            }),
        }
    }

    fn text(&mut self, block: BlockId, text: &Text<'_>, thought: bool, out: &mut Vec<u8>) {
        self.chunk(self.choice_of(block), out, |w| {
            w.object(|w| {
                w.key("text").text(text);
                if thought {
                    w.key("thought").bool(true);
                }
            });
        });
    }
}

impl Encode for Encoder {
    fn event(&mut self, event: Event<'_>, out: &mut Vec<u8>) {
        match event {
            Event::Start(start) => self.start(&start),
            Event::BlockStart { choice, block, kind } => {
                self.choices.push((block, choice));
                if let BlockKind::Tool { id, name, .. } = kind {
                    let name = self.context.tool_name(&name).to_owned();
                    let (id, seal) = (id.into_owned(), self.pending.take());
                    self.calls.push(Call {
                        block,
                        choice,
                        id,
                        name,
                        arguments: String::new(),
                        seal,
                    });
                }
            }
            Event::Text { block, text, .. } | Event::Refusal { block, text } => {
                self.text(block, &text, false, out)
            }
            Event::Reasoning { block, text, .. } if self.context.include_thoughts => {
                self.text(block, &text, true, out)
            }
            Event::Seal { block, state } => self.seal(block, &state, out),
            Event::Arguments { block, fragment } => {
                if let Some(call) = self.calls.iter_mut().find(|call| call.block == block) {
                    call.arguments.push_str(&fragment.decode());
                }
            }
            Event::Media { block, mime, data } => self.chunk(self.choice_of(block), out, |w| {
                w.object(|w| {
                    w.key("inlineData").object(|w| {
                        w.key("mimeType").str(&mime);
                        w.key("data").text(&data);
                    });
                });
            }),
            Event::BlockStop { block } => self.block_stop(block, out),
            Event::Usage { usage, .. } => self.usage = usage,
            Event::Finish { choice, stop } => self.finish(choice, stop, out),
            Event::End => self.end(out),
            Event::Reasoning { .. } | Event::Citation { .. } | Event::Ping | Event::Foreign { .. } => {}
        }
    }

    fn resume(&mut self, start: &Start<'_>) {
        self.start(start);
        self.written = true;
    }

    fn release(&mut self, _out: &mut Vec<u8>) {}

    /// Twice: no single frame is seen as an error by all clients (wire.md 2.2).
    fn fail(&mut self, failure: &Failure, out: &mut Vec<u8>) {
        let body = failure.body(self.context.client, &self.context.request_id);
        self.frame(out, |w| w.bytes().extend_from_slice(&body));
        if self.context.array {
            out.extend_from_slice(b"]");
        } else {
            out.extend_from_slice(&body);
            out.extend_from_slice(b"\r\n\r\n");
        }
    }

    fn keep_alive(&mut self, out: &mut Vec<u8>) {
        if self.context.array {
            if self.written {
                out.extend_from_slice(b"\n");
            }
            return;
        }
        self.chunk(0, out, |w| w.object(|w| w.key("text").str("")));
    }
}
