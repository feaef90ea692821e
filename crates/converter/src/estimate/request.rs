//! The input tokens of a raw request of any format, in one pass.
//!
//! The members that make the prompt are walked by name, whatever the format: texts are counted decoded, tool definitions, schemas and
//! arguments as minified JSON, media flat, sealed reasoning by its length. Keys, roles, ids and settings are framing and cost what
//! each message and part costs in any case. Members that no vendor's API knows count for the most only: a compatible server might
//! put them into the prompt.
//!
//! Not in the body, so not counted: what the vendor keeps (`previous_response_id`, `conversation`, `cachedContent`, prompts by id),
//! tool lists of MCP servers, and what hosted tools read while they run.

mod part;

use super::classes::BEFORE;
use super::{Estimator, Expected, Frame, LONG, UNIT};
use crate::error::Error;
use crate::format::Format;
use crate::json::{Kind as Json, Reader, Text};

/// What opens every request.
const REQUEST: (u64, u64) = (3, 32);
/// A message, an item, a content. The most is a header of OpenAI's harmony format with channel and recipient.
const TURN: (u64, u64) = (4, 16);
/// A tool's definition.
const TOOL: (u64, u64) = (0, 16);
/// A tool that the vendor defines (Anthropic: computer use 735, editor 700, bash 245).
const HOSTED: (u64, u64) = (300, 1_500);
/// Anthropic's instructions for tools (346; older models 530).
const ANTHROPIC_TOOLS: (u64, u64) = (346, 600);

/// Counts the input tokens of a request body, as far as the body tells. `upstream` is the vendor's format, for what it makes of media
/// and tools. A body that is no JSON counts a token for each byte at most.
#[must_use]
pub fn input_of(body: &[u8], upstream: Format) -> Expected {
    walk(body, upstream, false)
}

/// The same, rougher and several times faster where texts are long: of those only samples are read, and the most is a token for each
/// of their bytes. For a request that its limits have ample room for.
#[must_use]
pub fn rough_input_of(body: &[u8], upstream: Format) -> Expected {
    walk(body, upstream, true)
}

fn walk(body: &[u8], upstream: Format, rough: bool) -> Expected {
    let walked = std::str::from_utf8(body).ok().and_then(|text| {
        let mut walk = Walk {
            sum: Estimator::default(),
            upstream,
            rough,
            sound: false,
        };
        let mut reader = Reader::new(text);
        walk.flat(REQUEST);
        walk.top(&mut reader).ok()?;
        Some((walk.sum, walk.sound))
    });
    match walked {
        Some((sum, sound)) => Expected {
            likely: sum.tokens(),
            most: sum.most(),
            sound,
        },
        None => Expected {
            likely: body.len() as u64 / 4,
            most: body.len() as u64,
            sound: false,
        },
    }
}

/// What a member of the body is.
enum Place {
    /// The conversation: a list of turns, or one.
    Turns,
    /// One turn.
    Turn,
    Tools,
    /// Settings, among which schemas are.
    Settings,
    /// A request inside a request.
    Body,
    /// Known, and no part of the prompt.
    Framing,
    Unknown,
}

fn place(key: &str) -> Place {
    match key {
        "messages" | "contents" | "input" | "prompt" | "documents" | "texts" => Place::Turns,
        "system" | "instructions" | "systemInstruction" | "system_instruction" | "content" | "suffix"
        | "prediction" | "query" => Place::Turn,
        "tools" | "functions" => Place::Tools,
        "response_format" | "text" | "output_config" | "generationConfig" | "generation_config" => {
            Place::Settings
        }
        "generateContentRequest" | "generate_content_request" | "requests" => Place::Body,
        "model"
        | "user"
        | "safety_identifier"
        | "prompt_cache_key"
        | "metadata"
        | "labels"
        | "logit_bias"
        | "previous_response_id"
        | "stop"
        | "stop_sequences"
        | "tool_choice"
        | "toolConfig"
        | "tool_config"
        | "stream_options"
        | "service_tier"
        | "thinking"
        | "reasoning"
        | "safetySettings"
        | "safety_settings"
        | "include"
        | "mcp_servers"
        | "cache_control" => Place::Framing,
        _ => Place::Unknown,
    }
}

struct Walk {
    sum: Estimator,
    upstream: Format,
    /// Of long texts samples are enough.
    rough: bool,
    /// There is sound, or a film, which has some.
    sound: bool,
}

type Done = Result<(), Error>;

impl Walk {
    fn flat(&mut self, (likely, most): (u64, u64)) {
        self.sum.flat(likely, most);
    }

    /// A text of its own: words do not go on from the one before.
    fn text(&mut self, text: &Text<'_>) {
        self.sum.before = BEFORE;
        self.characters(text);
    }

    /// Adds a text and tells how many escapes are in it, as far as they are not in the sum.
    fn characters(&mut self, text: &Text<'_>) -> u64 {
        let inside = part::inside(text);
        if self.rough && inside.len() >= LONG {
            self.sum.samples(inside);
            return 0;
        }
        self.sum.characters(text)
    }

    fn top(&mut self, reader: &mut Reader<'_>) -> Done {
        match reader.kind() {
            Json::Object => reader.object(|reader, key| self.member(reader, key)),
            Json::Array => reader.array(|reader, _| self.top(reader)),
            _ => reader.skip(),
        }
    }

    fn member(&mut self, reader: &mut Reader<'_>, key: &str) -> Done {
        match place(key) {
            Place::Turns => self.turns(reader),
            Place::Turn => self.turn(reader),
            Place::Tools => {
                if self.upstream == Format::Messages && reader.kind() == Json::Array {
                    self.flat(ANTHROPIC_TOOLS);
                }
                self.tools(reader)
            }
            Place::Settings => self.settings(reader),
            Place::Body => self.top(reader),
            Place::Framing => reader.skip(),
            Place::Unknown => {
                let likely = self.sum.likely;
                self.json(reader)?;
                self.sum.likely = likely;
                Ok(())
            }
        }
    }

    fn turns(&mut self, reader: &mut Reader<'_>) -> Done {
        match reader.kind() {
            Json::Array => reader.array(|reader, _| self.turn(reader)),
            _ => self.turn(reader),
        }
    }

    fn turn(&mut self, reader: &mut Reader<'_>) -> Done {
        match reader.kind() {
            // Token ids.
            Json::Number => {
                self.flat((1, 1));
                reader.skip()
            }
            Json::Array => reader.array(|reader, _| self.turn(reader)),
            Json::Null => reader.skip(),
            _ => {
                self.flat(TURN);
                self.content(reader)
            }
        }
    }

    /// Text, a part, or a list of either.
    fn content(&mut self, reader: &mut Reader<'_>) -> Done {
        match reader.kind() {
            Json::String => {
                self.text(&reader.text()?);
                Ok(())
            }
            Json::Object => self.part(reader),
            Json::Array => reader.array(|reader, _| self.content(reader)),
            _ => reader.skip(),
        }
    }

    /// Reasoning that only the vendor can read: base64 of what it was, some of which is not counted again.
    fn state(&mut self, sealed: &str) {
        let length = sealed.len() as u64;
        self.sum.likely += length.saturating_mul(6);
        self.sum.most += length.saturating_mul(25);
    }

    /// The arguments of a call: an object, or their text.
    fn arguments(&mut self, reader: &mut Reader<'_>) -> Done {
        self.sum.add_frame(Frame::Call);
        match reader.kind() {
            Json::String => self.content(reader),
            _ => self.json(reader),
        }
    }

    fn tools(&mut self, reader: &mut Reader<'_>) -> Done {
        match reader.kind() {
            Json::Array => reader.array(|reader, _| match reader.kind() {
                Json::Object => self.tool(reader),
                _ => self.json(reader),
            }),
            _ => self.json(reader),
        }
    }

    fn tool(&mut self, reader: &mut Reader<'_>) -> Done {
        self.flat(TOOL);
        let mut hosted = false;
        self.members(reader, |walk, reader, key| {
            if key != "type" || reader.kind() != Json::String {
                return walk.json(reader);
            }
            let word = reader.text()?;
            hosted = !["function", "custom", "namespace"].iter().any(|own| word.is(own));
            walk.quoted(&word);
            Ok(())
        })?;
        if hosted {
            self.flat(HOSTED);
        }
        Ok(())
    }

    /// Settings: only their schemas are shown to the model.
    fn settings(&mut self, reader: &mut Reader<'_>) -> Done {
        match reader.kind() {
            Json::Object => reader.object(|reader, key| match &**key {
                "schema"
                | "json_schema"
                | "jsonSchema"
                | "responseSchema"
                | "response_schema"
                | "responseJsonSchema"
                | "response_json_schema"
                | "_responseJsonSchema" => self.json(reader),
                _ => self.settings(reader),
            }),
            Json::Array => reader.array(|reader, _| self.settings(reader)),
            _ => reader.skip(),
        }
    }

    /// A value as minified JSON.
    fn json(&mut self, reader: &mut Reader<'_>) -> Done {
        match reader.kind() {
            Json::Object => self.members(reader, |walk, reader, _| walk.json(reader)),
            Json::Array => {
                self.sum.add("[");
                reader.array(|reader, index| {
                    if index > 0 {
                        self.sum.add(",");
                    }
                    self.json(reader)
                })?;
                self.sum.add("]");
                Ok(())
            }
            Json::String => {
                self.quoted(&reader.text()?);
                Ok(())
            }
            _ => {
                self.sum.add(reader.raw()?.get());
                Ok(())
            }
        }
    }

    fn members<'a>(
        &mut self,
        reader: &mut Reader<'a>,
        mut value: impl FnMut(&mut Self, &mut Reader<'a>, &str) -> Done,
    ) -> Done {
        let mut open = "{\"";
        reader.object(|reader, key| {
            self.sum.add(open);
            open = ",\"";
            self.sum.add(key);
            self.sum.add("\":");
            value(self, reader, key)
        })?;
        self.sum.add("}");
        Ok(())
    }

    /// A string inside JSON. What is escaped there may cost its backslash too.
    fn quoted(&mut self, text: &Text<'_>) {
        self.sum.add("\"");
        let escapes = self.characters(text);
        self.sum.most += escapes * UNIT;
        self.sum.add("\"");
    }
}

#[cfg(test)]
mod tests;
