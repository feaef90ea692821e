//! Hub events to stream events of streamGenerateContent.

mod grounding;

use super::Encode;
use crate::context::Context;
use crate::encode::answer::slot;
use crate::encode::gemini::standard;
use crate::encode::{is_json, usage};
use crate::failure::Failure;
use crate::ir::{Citation, Logprob, Opaque, State};
use crate::json::{Raw, Text, Writer};
use crate::names;
use crate::stop::Stop;
use crate::stream::event::{BlockId, BlockKind, Event, Start};
use crate::usage::Usage;
use grounding::Grounding;

/// Longest refusal that is repeated as `finishMessage`, bytes.
const MAX_REFUSAL: usize = 4_096;

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

impl Call {
    fn is_whole(&self) -> bool {
        is_json(self.arguments.trim())
    }
}

/// One of the answers (`candidateCount`).
#[derive(Debug, Default)]
struct Candidate {
    number: u32,
    grounding: Grounding,
    refusal: String,
    stop: Option<Stop<'static>>,
}

/// Encoder of one Gemini stream.
#[derive(Debug)]
pub(crate) struct Encoder {
    context: Context,
    /// Everything behind the candidates, made once: model and id.
    tail: Vec<u8>,
    blocks: Vec<(BlockId, u32)>,
    candidates: Vec<Candidate>,
    calls: Vec<Call>,
    /// State of the next call.
    pending: Option<String>,
    usage: Usage,
    written: bool,
}

impl Encoder {
    pub(crate) fn new(context: &Context) -> Self {
        let mut encoder = Encoder {
            context: context.clone(),
            tail: Vec::new(),
            blocks: Vec::new(),
            candidates: Vec::new(),
            calls: Vec::new(),
            pending: None,
            usage: Usage::default(),
            written: false,
        };
        encoder.start(&Start::default());
        encoder
    }

    fn start(&mut self, start: &Start<'_>) {
        let id = names::answer_id(&start.id, self.context.client, &self.context.request_id);
        self.tail.clear();
        let mut w = Writer::line(&mut self.tail);
        w.key("modelVersion")
            .str(start.model.as_deref().unwrap_or(&self.context.model));
        w.key("responseId").str(&id);
    }

    /// Frames one element: an SSE event, or the next element of the array.
    fn frame(&mut self, out: &mut Vec<u8>, body: impl FnOnce(&mut Writer<'_>)) {
        self.open_frame(out);
        body(&mut Writer::line(out));
        out.extend_from_slice(if self.context.array { b"\r\n" } else { b"\r\n\r\n" });
    }

    fn open_frame(&mut self, out: &mut Vec<u8>) {
        let before: &[u8] = match (self.context.array, self.written) {
            (true, false) => b"[",
            (true, true) => b",\r\n",
            (false, _) => b"data: ",
        };
        self.written = true;
        out.extend_from_slice(before);
    }

    /// One chunk with one part; `beside` adds members of the candidate.
    fn chunk(
        &mut self,
        choice: u32,
        out: &mut Vec<u8>,
        part: impl FnOnce(&mut Writer<'_>),
        beside: impl FnOnce(&mut Writer<'_>),
    ) {
        self.open_frame(out);
        let mut w = Writer::line(out);
        w.object(|w| {
            w.key("candidates").array(|w| {
                w.item().object(|w| {
                    w.key("content").object(|w| {
                        w.key("parts").array(|w| w.item().object(part));
                        w.key("role").str("model");
                    });
                    w.key("index").u64(u64::from(choice));
                    beside(w);
                });
            });
            w.bytes().extend_from_slice(&self.tail);
        });
        out.extend_from_slice(if self.context.array { b"\r\n" } else { b"\r\n\r\n" });
    }

    fn part(&mut self, choice: u32, out: &mut Vec<u8>, part: impl FnOnce(&mut Writer<'_>)) {
        self.chunk(choice, out, part, |_| {});
    }

    fn choice_of(&self, block: BlockId) -> u32 {
        self.blocks
            .iter()
            .rev()
            .find(|(known, _)| *known == block)
            .map_or(0, |(_, choice)| *choice)
    }

    fn candidate(&mut self, number: u32) -> Option<&mut Candidate> {
        let known = self
            .candidates
            .iter()
            .position(|candidate| candidate.number == number);
        let at = known.unwrap_or_else(|| {
            self.candidates.push(Candidate {
                number,
                ..Candidate::default()
            });
            self.candidates.len() - 1
        });
        self.candidates.get_mut(at)
    }

    fn block_start(&mut self, choice: u32, block: BlockId, kind: BlockKind<'_>, out: &mut Vec<u8>) {
        self.flush_whole(choice, out);
        self.blocks.push((block, choice));
        match kind {
            BlockKind::Tool { id, name, .. } => {
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
            BlockKind::Text => {
                if let Some(candidate) = self.candidate(choice) {
                    candidate.grounding.begin(block);
                }
            }
            _ => {}
        }
    }

    /// Calls that have all their arguments leave when something else begins.
    fn flush_whole(&mut self, choice: u32, out: &mut Vec<u8>) {
        while let Some(at) = self
            .calls
            .iter()
            .position(|call| call.choice == choice)
            .filter(|at| self.calls.get(*at).is_some_and(Call::is_whole))
        {
            let call = self.calls.remove(at);
            self.call(&call, out);
        }
    }

    fn call(&mut self, call: &Call, out: &mut Vec<u8>) {
        let arguments = call.arguments.trim();
        self.part(call.choice, out, |w| {
            w.key("functionCall").object(|w| {
                w.key("id").str(&call.id);
                w.key("name").str(&call.name);
                if call.is_whole() {
                    w.key("args").raw(Raw(arguments));
                } else if arguments.is_empty() || arguments == "null" {
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
    }

    fn block_stop(&mut self, block: BlockId, out: &mut Vec<u8>) {
        let at = self.calls.iter().position(|call| call.block == block);
        if let Some(at) = at.filter(|at| self.calls.get(*at).is_some_and(Call::is_whole)) {
            let call = self.calls.remove(at);
            self.call(&call, out);
        }
        self.blocks.retain(|(known, _)| *known != block);
    }

    /// A call with broken arguments is shown unless the answer was cut there.
    fn finish(&mut self, choice: u32, stop: Stop<'_>, out: &mut Vec<u8>) {
        let cut = matches!(stop, Stop::MaxTokens | Stop::Filtered(_) | Stop::ContextFull);
        let (calls, others) = std::mem::take(&mut self.calls)
            .into_iter()
            .partition(|call: &Call| call.choice == choice);
        self.calls = others;
        for call in calls {
            if !cut || call.is_whole() {
                self.call(&call, out);
            }
        }
        if let Some(candidate) = self.candidate(choice) {
            candidate.stop = Some(stop.into_owned());
        }
    }

    /// Gemini's own signature of a call waits for the call; other state leaves as the end of its thought.
    fn seal(&mut self, block: BlockId, state: &Opaque<'_>, out: &mut Vec<u8>) {
        let Some(seal) = slot(state, &self.context) else {
            return;
        };
        match state.state {
            State::Plain => {}
            State::CallSignature(_) | State::PartSignature(_) => self.pending = Some(seal),
            // A thought that is not shown has no place of its own.
            _ if !self.context.include_thoughts => self.pending = Some(seal),
            _ => self.part(self.choice_of(block), out, |w| {
                w.key("text").str("");
                w.key("thought").bool(true);
                w.key("thoughtSignature").str(&standard(&seal));
            }),
        }
    }

    fn text(&mut self, block: BlockId, text: &Text<'_>, logprobs: &[Logprob<'_>], out: &mut Vec<u8>) {
        let choice = self.choice_of(block);
        if let Some(candidate) = self.candidate(choice) {
            candidate.grounding.add(text);
        }
        self.chunk(
            choice,
            out,
            |w| w.key("text").text(text),
            |w| grounding::logprobs(w, logprobs),
        );
    }

    fn refusal(&mut self, block: BlockId, text: &Text<'_>, out: &mut Vec<u8>) {
        let choice = self.choice_of(block);
        if let Some(candidate) = self.candidate(choice)
            && candidate.refusal.len() < MAX_REFUSAL
        {
            candidate.refusal.push_str(&text.decode());
        }
        self.part(choice, out, |w| w.key("text").text(text));
    }

    fn citation(&mut self, block: BlockId, citation: &Citation<'_>) {
        let choice = self.choice_of(block);
        if let Some(candidate) = self.candidate(choice) {
            candidate.grounding.cite(block, citation);
        }
    }

    fn last(w: &mut Writer<'_>, candidate: &Candidate, seal: Option<&String>) {
        let stop = candidate.stop.as_ref().unwrap_or(&Stop::EndTurn);
        w.object(|w| {
            w.key("content").object(|w| {
                w.key("parts").array(|w| {
                    w.item().object(|w| {
                        w.key("text").str("");
                        if let Some(seal) = seal {
                            w.key("thoughtSignature").str(&standard(seal));
                        }
                    });
                });
                w.key("role").str("model");
            });
            w.key("finishReason").str(stop.gemini());
            match stop {
                Stop::Refusal {
                    explanation: Some(text),
                    ..
                } => w.key("finishMessage").text(text),
                Stop::Refusal { .. } if !candidate.refusal.is_empty() => {
                    w.key("finishMessage").str(&candidate.refusal);
                }
                _ => {}
            }
            w.key("index").u64(u64::from(candidate.number));
            candidate.grounding.write(w);
        });
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
            Event::Refusal { block, text } => self.refusal(block, &text, out),
            Event::Reasoning { block, text, .. } if self.context.include_thoughts => {
                self.part(self.choice_of(block), out, |w| {
                    w.key("text").text(&text);
                    w.key("thought").bool(true);
                });
            }
            Event::Seal { block, state } => self.seal(block, &state, out),
            Event::Arguments { block, fragment } => {
                if let Some(call) = self.calls.iter_mut().find(|call| call.block == block) {
                    call.arguments.push_str(&fragment.decode());
                }
            }
            Event::Media { block, mime, data } => self.part(self.choice_of(block), out, |w| {
                w.key("inlineData").object(|w| {
                    w.key("mimeType").str(&mime);
                    w.key("data").text(&data);
                });
            }),
            Event::Citation { block, citation } => self.citation(block, &citation),
            Event::BlockStop { block } => self.block_stop(block, out),
            Event::Usage { usage, .. } => self.usage = usage,
            Event::Finish { choice, stop } => self.finish(choice, stop, out),
            Event::End => {
                if self.context.array {
                    out.extend_from_slice(b"]");
                }
            }
            Event::Reasoning { .. } | Event::Ping | Event::Foreign { .. } => {}
        }
    }

    fn settle(&mut self, out: &mut Vec<u8>) {
        let candidates = std::mem::take(&mut self.candidates);
        let (usage, seal) = (self.usage.clone(), self.pending.take());
        let tail = std::mem::take(&mut self.tail);
        self.frame(out, |w| {
            w.object(|w| {
                w.key("candidates").array(|w| {
                    for candidate in &candidates {
                        Self::last(w.item(), candidate, seal.as_ref());
                    }
                });
                usage::gemini(w.key("usageMetadata"), &usage);
                w.bytes().extend_from_slice(&tail);
            });
        });
        self.tail = tail;
    }

    fn resume(&mut self, start: &Start<'_>) {
        self.start(start);
        self.written = true;
    }

    /// Twice: no single frame is seen as an error by all clients (wire.md 2.2).
    fn fail(&mut self, failure: &Failure, out: &mut Vec<u8>) {
        let mut body = Vec::new();
        failure.write(
            &mut Writer::line(&mut body),
            self.context.client,
            &self.context.request_id,
        );
        self.frame(out, |w| w.bytes().extend_from_slice(&body));
        if self.context.array {
            out.extend_from_slice(b"]");
        } else {
            out.extend_from_slice(&body);
            out.extend_from_slice(b"\r\n\r\n");
        }
    }

    fn keep_alive(&mut self, out: &mut Vec<u8>) {
        if !self.context.array {
            self.part(0, out, |w| w.key("text").str(""));
        } else if self.written {
            out.extend_from_slice(b"\n");
        }
    }
}
