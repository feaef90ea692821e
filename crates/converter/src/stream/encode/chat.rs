//! Hub events to stream events of Chat Completions.

use super::Encode;
use crate::context::Context;
use crate::encode::answer::{reasoning_detail, slot};
use crate::encode::chat::{MAX_SEALED_ID, google_extra, logprob, url_citation};
use crate::encode::usage;
use crate::failure::Failure;
use crate::ir::Opaque;
use crate::json::{Raw, Text, Writer};
use crate::names;
use crate::stop::Stop;
use crate::stream::event::{BlockId, BlockKind, Event, Start};
use crate::stream::unwrap::InputUnwrapper;
use crate::usage::Usage;

/// A tool call that is being streamed.
#[derive(Debug)]
struct Tool {
    block: BlockId,
    choice: u32,
    index: u64,
    unwrap: Option<InputUnwrapper>,
}

/// Encoder of one Chat stream.
#[derive(Debug)]
pub(crate) struct Encoder {
    context: Context,
    /// Everything in front of `choices`, made once.
    head: Vec<u8>,
    choices: Vec<(BlockId, u32)>,
    tools: Vec<Tool>,
    /// How many calls each answer has.
    calls: Vec<(u32, u64)>,
    /// Parts of reasoning are separated by a line break.
    part: Option<(BlockId, u32)>,
    seals: usize,
    /// State since the last call: it rides on the id of the next one.
    pending: Option<Opaque<'static>>,
    usage: Usage,
    said: bool,
}

impl Encoder {
    pub(crate) fn new(context: &Context) -> Self {
        Encoder {
            context: context.clone(),
            head: Vec::new(),
            choices: Vec::new(),
            tools: Vec::new(),
            calls: Vec::new(),
            part: None,
            seals: 0,
            pending: None,
            usage: Usage::default(),
            said: false,
        }
    }

    fn start(&mut self, start: &Start<'_>, out: &mut Vec<u8>) {
        let context = &self.context;
        let mut w = Writer::line(&mut self.head);
        w.bytes().extend_from_slice(b"data: {");
        w.key("id")
            .str(&names::answer_id(&start.id, context.client, &context.request_id));
        w.key("object").str("chat.completion.chunk");
        w.key("created").u64(start.created.unwrap_or(context.now));
        w.key("model")
            .str(start.model.as_deref().unwrap_or(&context.model));
        if let Some(tier) = &start.service_tier {
            w.key("service_tier").str(tier);
        }
        if let Some(fingerprint) = &start.fingerprint {
            w.key("system_fingerprint").text(fingerprint);
        }
        self.chunk(0, out, |w| {
            w.raw(Raw::of_const(r#"{"role":"assistant","content":null}"#))
        });
    }

    /// One chunk with a delta.
    fn chunk(&self, choice: u32, out: &mut Vec<u8>, delta: impl FnOnce(&mut Writer<'_>)) {
        self.open(choice, out);
        delta(&mut Writer::line(out));
        out.extend_from_slice(b",\"finish_reason\":null}]");
        self.close(out);
    }

    fn open(&self, choice: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
        out.extend_from_slice(b",\"choices\":[{\"index\":");
        Writer::line(out).u64(u64::from(choice));
        out.extend_from_slice(b",\"delta\":");
    }

    fn close(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.context.include_usage {
            b",\"usage\":null}\n\n"
        } else {
            b"}\n\n"
        });
    }

    fn choice_of(&self, block: BlockId) -> u32 {
        self.choices
            .iter()
            .rev()
            .find(|(known, _)| *known == block)
            .map_or(0, |(_, choice)| *choice)
    }

    fn member(&self, block: BlockId, name: &str, text: &Text<'_>, out: &mut Vec<u8>) {
        self.chunk(self.choice_of(block), out, |w| {
            w.object(|w| w.key(name).text(text))
        });
    }

    fn block_start(&mut self, choice: u32, block: BlockId, kind: BlockKind<'_>, out: &mut Vec<u8>) {
        self.choices.push((block, choice));
        let BlockKind::Tool { id, name, custom } = kind else {
            return;
        };
        let custom = custom || self.context.is_custom(&name);
        let at = self
            .calls
            .iter()
            .position(|(known, _)| *known == choice)
            .unwrap_or_else(|| {
                self.calls.push((choice, 0));
                self.calls.len() - 1
            });
        let Some((_, count)) = self.calls.get_mut(at) else {
            return;
        };
        let index = *count;
        *count += 1;
        let state = self.pending.take();
        let sealed = state
            .as_ref()
            .filter(|_| self.context.declares_tools)
            .and_then(|state| slot(state, &self.context));
        let id = match sealed {
            Some(seal) if id.len() + seal.len() < MAX_SEALED_ID => names::with_seal(&id, &seal),
            _ => id.into_owned(),
        };
        let name = self.context.tool_name(&name);
        let legacy = self.context.legacy_functions;
        self.chunk(choice, out, |w| {
            w.object(|w| {
                if legacy {
                    return w.key("function_call").object(|w| {
                        w.key("name").str(name);
                        w.key("arguments").str("");
                    });
                }
                w.key("tool_calls").array(|w| {
                    w.item().object(|w| {
                        w.key("index").u64(index);
                        w.key("id").str(&id);
                        w.key("type").str(if custom { "custom" } else { "function" });
                        w.key(if custom { "custom" } else { "function" }).object(|w| {
                            w.key("name").str(name);
                            w.key(if custom { "input" } else { "arguments" }).str("");
                        });
                        google_extra(w, state.as_ref());
                    });
                });
            });
        });
        self.tools.push(Tool {
            block,
            choice,
            index,
            unwrap: custom.then(InputUnwrapper::default),
        });
    }

    fn arguments(&mut self, block: BlockId, fragment: &Text<'_>, out: &mut Vec<u8>) {
        let legacy = self.context.legacy_functions;
        let Some(tool) = self.tools.iter_mut().find(|tool| tool.block == block) else {
            return;
        };
        let unwrapped = tool
            .unwrap
            .as_mut()
            .map(|unwrap| Text::from(unwrap.push(&fragment.decode())));
        let (choice, index, custom) = (tool.choice, tool.index, unwrapped.is_some());
        let text = unwrapped.as_ref().unwrap_or(fragment);
        if text.is_empty() {
            return;
        }
        self.chunk(choice, out, |w| {
            w.object(|w| {
                if legacy {
                    return w.key("function_call").object(|w| w.key("arguments").text(text));
                }
                w.key("tool_calls").array(|w| {
                    w.item().object(|w| {
                        w.key("index").u64(index);
                        if custom {
                            w.key("custom").object(|w| w.key("input").text(text));
                        } else {
                            w.key("function").object(|w| w.key("arguments").text(text));
                        }
                    });
                });
            });
        });
    }

    fn reasoning(&mut self, block: BlockId, part: u32, text: &Text<'_>, out: &mut Vec<u8>) {
        let break_before = self
            .part
            .is_some_and(|(known, before)| known != block || before != part);
        self.part = Some((block, part));
        if break_before {
            self.member(block, "reasoning_content", &Text::from("\n"), out);
        }
        self.member(block, "reasoning_content", text, out);
    }

    fn seal(&mut self, block: BlockId, state: Opaque<'_>, out: &mut Vec<u8>) {
        let Some(seal) = slot(&state, &self.context) else {
            return;
        };
        let index = self.seals;
        self.seals += 1;
        self.chunk(self.choice_of(block), out, |w| {
            w.object(|w| {
                w.key("reasoning_details")
                    .array(|w| reasoning_detail(w.item(), &seal, index))
            });
        });
        self.pending = Some(owned(state));
    }

    fn finish(&mut self, choice: u32, stop: &Stop<'_>, out: &mut Vec<u8>) {
        if let (
            false,
            Stop::Refusal {
                explanation: Some(text),
                ..
            },
        ) = (self.said, stop)
        {
            self.chunk(choice, out, |w| w.object(|w| w.key("refusal").text(text)));
        }
        self.open(choice, out);
        out.extend_from_slice(b"{},\"finish_reason\":");
        Writer::line(out).str(stop.chat(self.context.legacy_functions));
        out.extend_from_slice(b"}]");
        self.close(out);
    }

    fn end(&self, out: &mut Vec<u8>) {
        if self.context.include_usage {
            out.extend_from_slice(&self.head);
            out.extend_from_slice(b",\"choices\":[],\"usage\":");
            usage::chat(&mut Writer::line(out), &self.usage);
            out.extend_from_slice(b"}\n\n");
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }
}

/// The same state without a borrow of the stream.
pub(super) fn owned(state: Opaque<'_>) -> Opaque<'static> {
    state.into_owned()
}

impl Encode for Encoder {
    fn event(&mut self, event: Event<'_>, out: &mut Vec<u8>) {
        match event {
            Event::Start(start) => self.start(&start, out),
            Event::BlockStart { choice, block, kind } => self.block_start(choice, block, kind, out),
            Event::Text {
                block,
                text,
                logprobs,
            } => {
                self.said = true;
                if logprobs.is_empty() {
                    return self.member(block, "content", &text, out);
                }
                self.open(self.choice_of(block), out);
                let mut w = Writer::line(out);
                w.object(|w| w.key("content").text(&text));
                w.bytes().extend_from_slice(b",\"logprobs\":{\"content\":[");
                for token in &logprobs {
                    logprob(w.item(), token);
                }
                out.extend_from_slice(b"],\"refusal\":null},\"finish_reason\":null}]");
                self.close(out);
            }
            Event::Reasoning { block, part, text } => self.reasoning(block, part, &text, out),
            Event::Seal { block, state } => self.seal(block, state, out),
            Event::Arguments { block, fragment } => self.arguments(block, &fragment, out),
            Event::Refusal { block, text } => {
                self.said = true;
                self.member(block, "refusal", &text, out);
            }
            Event::Citation { block, citation } if citation.url.is_some() => {
                self.chunk(self.choice_of(block), out, |w| {
                    w.object(|w| {
                        w.key("annotations").array(|w| {
                            w.item().object(|w| {
                                w.key("type").str("url_citation");
                                w.key("url_citation").object(|w| url_citation(w, &citation));
                            });
                        });
                    });
                });
            }
            Event::Media { block, mime, data } => self.chunk(self.choice_of(block), out, |w| {
                w.object(|w| {
                    w.key("images").array(|w| {
                        w.item().object(|w| {
                            w.key("type").str("image_url");
                            w.key("image_url").object(|w| {
                                w.key("url").str(&format!("data:{mime};base64,{}", data.decode()))
                            });
                        });
                    });
                });
            }),
            Event::Usage { usage, .. } => self.usage = usage,
            Event::Finish { choice, stop } => self.finish(choice, &stop, out),
            Event::End => self.end(out),
            Event::BlockStop { .. } | Event::Citation { .. } | Event::Ping | Event::Foreign { .. } => {}
        }
    }

    fn release(&mut self, _out: &mut Vec<u8>) {}

    fn fail(&mut self, failure: &Failure, out: &mut Vec<u8>) {
        out.extend_from_slice(b"data: ");
        failure.write(
            &mut Writer::line(out),
            self.context.client,
            &self.context.request_id,
        );
        out.extend_from_slice(b"\n\n");
    }

    fn keep_alive(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b": keep-alive\n\n");
    }
}
