//! The items of one Responses answer while they are under way, and how they look when they are done.

use crate::encode::responses::reasoning;
use crate::ir::Opaque;
use crate::json::{Kind, Raw, Reader, Text, Writer};
use crate::stream::event::BlockId;
use crate::stream::unwrap::InputUnwrapper;

/// An item under way.
#[derive(Debug)]
pub(super) struct Item {
    /// The block that fills it now.
    pub(super) block: BlockId,
    pub(super) output: u64,
    pub(super) id: String,
    pub(super) body: Body,
    pub(super) state: Option<Opaque<'static>>,
}

/// What it is.
#[derive(Debug)]
pub(super) enum Body {
    Message(Message),
    Reasoning(Thought),
    Call(Call),
    Search(String),
    /// State without text: announced and done in one.
    State,
}

/// A message: consecutive texts are its parts.
#[derive(Debug, Default)]
pub(super) struct Message {
    /// Finished parts, JSON, separated by commas.
    pub(super) parts: Vec<u8>,
    pub(super) count: u32,
    pub(super) part: Option<Part>,
}

/// A part under way; all bytes are JSON.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) refusal: bool,
    /// The text, escaped.
    pub(super) text: Vec<u8>,
    pub(super) annotations: Vec<u8>,
    pub(super) annotated: u64,
    pub(super) logprobs: Vec<u8>,
    /// Code points of the text.
    pub(super) points: u64,
}

/// Reasoning: finished summary parts and the one under way, escaped.
#[derive(Debug, Default)]
pub(super) struct Thought {
    pub(super) done: Vec<String>,
    pub(super) text: Vec<u8>,
    /// The upstream's number of the part under way.
    pub(super) part: u32,
}

/// A call of a client tool.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) custom: bool,
    pub(super) call_id: String,
    pub(super) name: String,
    pub(super) namespace: Option<String>,
    /// Arguments or free text, escaped.
    pub(super) text: Vec<u8>,
    pub(super) unwrap: Option<InputUnwrapper>,
}

/// Escaped text that was collected.
pub(super) fn escaped(bytes: &[u8]) -> Text<'_> {
    Text::Escaped(std::str::from_utf8(bytes).unwrap_or_default())
}

impl Part {
    /// The part as it stands.
    pub(super) fn write(&self, w: &mut Writer<'_>) {
        w.object(|w| {
            if self.refusal {
                w.key("type").str("refusal");
                return w.key("refusal").text(&escaped(&self.text));
            }
            w.key("type").str("output_text");
            w.key("text").text(&escaped(&self.text));
            w.key("annotations")
                .array(|w| w.bytes().extend_from_slice(&self.annotations));
            w.key("logprobs")
                .array(|w| w.bytes().extend_from_slice(&self.logprobs));
        });
    }
}

impl Item {
    /// The item when it is announced.
    pub(super) fn write_added(&self, w: &mut Writer<'_>) {
        w.object(|w| {
            w.key("id").str(&self.id);
            match &self.body {
                Body::Message(_) => {
                    w.key("type").str("message");
                    w.key("status").str("in_progress");
                    w.key("role").str("assistant");
                    w.key("content").raw(Raw::of_const("[]"));
                }
                Body::Reasoning(_) | Body::State => {
                    w.key("type").str("reasoning");
                    w.key("summary").raw(Raw::of_const("[]"));
                    w.key("status").str("in_progress");
                }
                Body::Call(call) => call.write(w, "in_progress", b""),
                Body::Search(_) => {
                    w.key("type").str("web_search_call");
                    w.key("status").str("in_progress");
                }
            }
        });
    }

    /// The finished item.
    pub(super) fn write_done(&self, w: &mut Writer<'_>, seal: Option<&String>) {
        match &self.body {
            Body::Reasoning(thought) => {
                let parts: Vec<Text<'_>> = thought
                    .done
                    .iter()
                    .map(|text| escaped(text.as_bytes()))
                    .chain([escaped(&thought.text)])
                    .collect();
                let parts: Vec<&Text<'_>> = parts.iter().collect();
                reasoning(w, &self.id, &parts, seal);
            }
            Body::State => reasoning(w, &self.id, &[], seal),
            Body::Message(message) => w.object(|w| {
                w.key("id").str(&self.id);
                w.key("type").str("message");
                w.key("status").str("completed");
                w.key("role").str("assistant");
                w.key("content")
                    .array(|w| w.bytes().extend_from_slice(&message.parts));
            }),
            Body::Call(call) => w.object(|w| {
                w.key("id").str(&self.id);
                call.write(w, "completed", &call.text);
            }),
            Body::Search(arguments) => w.object(|w| {
                w.key("id").str(&self.id);
                w.key("type").str("web_search_call");
                w.key("status").str("completed");
                w.key("action").object(|w| {
                    w.key("type").str("search");
                    w.key("query").str(&query(arguments));
                });
            }),
        }
    }
}

impl Call {
    fn write(&self, w: &mut Writer<'_>, status: &str, text: &[u8]) {
        w.key("type").str(if self.custom {
            "custom_tool_call"
        } else {
            "function_call"
        });
        w.key("status").str(status);
        w.key("call_id").str(&self.call_id);
        w.key("name").str(&self.name);
        if let Some(namespace) = &self.namespace {
            w.key("namespace").str(namespace);
        }
        w.key(if self.custom { "input" } else { "arguments" })
            .text(&escaped(text));
    }
}

/// `query` of a search's arguments.
fn query(arguments: &str) -> String {
    let mut found = String::new();
    let mut reader = Reader::new(arguments);
    // What is no object has no query.
    let _ = reader.object(|reader, key| {
        if key == "query" && reader.kind() == Kind::String {
            found = reader.text()?.decode().into_owned();
            return Ok(());
        }
        reader.skip()
    });
    found
}
