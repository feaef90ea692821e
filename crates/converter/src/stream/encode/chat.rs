//! Hub events to stream events of Chat Completions.

use super::{Encode, owned};
use crate::context::Context;
use crate::encode::answer::{reasoning_detail, slot};
use crate::encode::chat::{MAX_SEALED_ID, google_extra, logprob, url_citation};
use crate::encode::usage;
use crate::failure::Failure;
use crate::ir::{Citation, Logprob, Opaque};
use crate::json::{Raw, Text, Writer};
use crate::names;
use crate::stop::Stop;
use crate::stream::event::{BlockId, BlockKind, Event, Start};
use crate::stream::position::points;
use crate::stream::unwrap::InputUnwrapper;
use crate::usage::Usage;

/// A tool call that is being streamed.
#[derive(Debug)]
struct Tool {
    block: BlockId,
    choice: u32,
    index: u64,
    custom: bool,
    /// The upstream sees the free text tool as a function: its text is taken out of the arguments.
    unwrap: Option<InputUnwrapper>,
}

/// One of the answers (`n`).
#[derive(Debug)]
struct Choice {
    number: u32,
    /// How many calls it has.
    calls: u64,
    /// Code points of its visible text.
    points: u64,
    /// It said something that a client shows.
    said: bool,
    /// The last thought: thoughts are separated by a line break.
    thought: Option<BlockId>,
}

/// A block under way and what its answer had said before it, in code points.
#[derive(Debug)]
struct Place {
    block: BlockId,
    choice: u32,
    points: u64,
}

/// Encoder of one Chat stream.
#[derive(Debug)]
pub(crate) struct Encoder {
    context: Context,
    /// Everything in front of `choices`, made once.
    head: Vec<u8>,
    choices: Vec<Choice>,
    blocks: Vec<Place>,
    tools: Vec<Tool>,
    seals: usize,
    /// State since the last call: it rides on the id of the next one.
    pending: Option<Opaque<'static>>,
    usage: Usage,
}

impl Encoder {
    pub(crate) fn new(context: &Context) -> Self {
        Encoder {
            context: context.clone(),
            head: Vec::new(),
            choices: Vec::new(),
            blocks: Vec::new(),
            tools: Vec::new(),
            seals: 0,
            pending: None,
            usage: Usage::default(),
        }
    }

    fn start(&mut self, start: &Start<'_>) {
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
    }

    /// The state of one answer; its first chunk says the role.
    fn choice(&mut self, number: u32, out: &mut Vec<u8>) -> Option<&mut Choice> {
        let known = self.choices.iter().position(|choice| choice.number == number);
        let at = known.unwrap_or_else(|| {
            self.chunk(number, out, |w| {
                w.raw(Raw::of_const(r#"{"role":"assistant","content":null}"#))
            });
            self.choices.push(Choice {
                number,
                calls: 0,
                points: 0,
                said: false,
                thought: None,
            });
            self.choices.len() - 1
        });
        self.choices.get_mut(at)
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
        let place = self.blocks.iter().rev().find(|place| place.block == block);
        place.map_or(0, |place| place.choice)
    }

    fn member(&self, choice: u32, name: &str, text: &Text<'_>, out: &mut Vec<u8>) {
        self.chunk(choice, out, |w| w.object(|w| w.key(name).text(text)));
    }

    fn text(&mut self, block: BlockId, text: &Text<'_>, logprobs: &[Logprob<'_>], out: &mut Vec<u8>) {
        let number = self.choice_of(block);
        if let Some(choice) = self.choice(number, out) {
            choice.said = true;
            choice.points += points(text);
        }
        if logprobs.is_empty() {
            return self.member(number, "content", text, out);
        }
        self.open(number, out);
        let mut w = Writer::line(out);
        w.object(|w| w.key("content").text(text));
        w.bytes().extend_from_slice(b",\"logprobs\":{\"content\":[");
        for token in logprobs {
            logprob(w.item(), token);
        }
        out.extend_from_slice(b"],\"refusal\":null},\"finish_reason\":null}]");
        self.close(out);
    }

    fn refusal(&mut self, block: BlockId, text: &Text<'_>, out: &mut Vec<u8>) {
        let number = self.choice_of(block);
        if let Some(choice) = self.choice(number, out) {
            choice.said = true;
        }
        self.member(number, "refusal", text, out);
    }

    /// Places count code points of the whole message; a citation without a range is about its whole block.
    fn citation(&mut self, block: BlockId, citation: &Citation<'_>, out: &mut Vec<u8>) {
        let number = self.choice_of(block);
        let Some(end) = self.choice(number, out).map(|choice| choice.points) else {
            return;
        };
        let place = self.blocks.iter().rev().find(|place| place.block == block);
        let start = place.map_or(0, |place| place.points);
        let range = match citation.range {
            Some((from, to)) => (start + from, start + to),
            None => (start, end),
        };
        let shifted = Citation {
            range: Some(range),
            ..citation.clone()
        };
        self.chunk(number, out, |w| {
            w.object(|w| {
                w.key("annotations").array(|w| {
                    w.item().object(|w| {
                        w.key("type").str("url_citation");
                        w.key("url_citation").object(|w| url_citation(w, &shifted));
                    });
                });
            });
        });
    }

    fn media(&mut self, block: BlockId, mime: &str, data: &Text<'_>, out: &mut Vec<u8>) {
        let choice = self.choice_of(block);
        self.chunk(choice, out, |w| {
            w.object(|w| {
                w.key("images").array(|w| {
                    w.item().object(|w| {
                        w.key("type").str("image_url");
                        w.key("image_url").object(|w| {
                            w.key("url").str(&format!("data:{mime};base64,{}", data.decode()));
                        });
                    });
                });
            });
        });
    }

    fn block_start(&mut self, choice: u32, block: BlockId, kind: BlockKind<'_>, out: &mut Vec<u8>) {
        let Some(answer) = self.choice(choice, out) else {
            return;
        };
        let (points, index) = (answer.points, answer.calls);
        self.blocks.push(Place {
            block,
            choice,
            points,
        });
        let BlockKind::Tool { id, name, custom } = kind else {
            return;
        };
        if let Some(answer) = self.choice(choice, out) {
            answer.calls += 1;
        }
        let shim = !custom && self.context.is_custom(&name);
        let custom = custom || shim;
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
            custom,
            unwrap: shim.then(InputUnwrapper::default),
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
        let (choice, index, custom) = (tool.choice, tool.index, tool.custom);
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

    fn reasoning(&mut self, block: BlockId, text: &Text<'_>, out: &mut Vec<u8>) {
        let number = self.choice_of(block);
        let before = self
            .choice(number, out)
            .and_then(|choice| choice.thought.replace(block));
        if before.is_some_and(|before| before != block) {
            self.member(number, "reasoning_content", &Text::from("\n"), out);
        }
        self.member(number, "reasoning_content", text, out);
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
        let said = self.choice(choice, out).is_some_and(|choice| choice.said);
        if let Stop::Refusal {
            explanation: Some(text),
            ..
        } = stop
            && !said
        {
            self.member(choice, "refusal", text, out);
        }
        self.open(choice, out);
        out.extend_from_slice(b"{},\"finish_reason\":");
        Writer::line(out).str(stop.chat(self.context.legacy_functions));
        out.extend_from_slice(b"}]");
        self.close(out);
    }
}

impl Encode for Encoder {
    fn event(&mut self, event: Event<'_>, out: &mut Vec<u8>) {
        match event {
            Event::Start(start) => self.start(&start),
            Event::BlockStart { choice, block, kind } => self.block_start(choice, block, kind, out),
            Event::Text {
                block,
                text,
                logprobs,
            } => self.text(block, &text, &logprobs, out),
            Event::Reasoning { block, text, .. } => self.reasoning(block, &text, out),
            Event::Seal { block, state } => self.seal(block, state, out),
            Event::Arguments { block, fragment } => self.arguments(block, &fragment, out),
            Event::Refusal { block, text } => self.refusal(block, &text, out),
            Event::Citation { block, citation } if citation.url.is_some() => {
                self.citation(block, &citation, out)
            }
            Event::Media { block, mime, data } => self.media(block, &mime, &data, out),
            Event::BlockStop { block } => {
                self.blocks.retain(|place| place.block != block);
                self.tools.retain(|tool| tool.block != block);
            }
            Event::Usage { usage, .. } => self.usage = usage,
            Event::Finish { choice, stop } => self.finish(choice, &stop, out),
            Event::End => out.extend_from_slice(b"data: [DONE]\n\n"),
            Event::Citation { .. } | Event::Ping | Event::Foreign { .. } => {}
        }
    }

    fn settle(&mut self, out: &mut Vec<u8>) {
        if self.context.include_usage {
            out.extend_from_slice(&self.head);
            out.extend_from_slice(b",\"choices\":[],\"usage\":");
            usage::chat(&mut Writer::line(out), &self.usage);
            out.extend_from_slice(b"}\n\n");
        }
    }

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
