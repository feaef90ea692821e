//! A shallow look at a request body: what routing, limits and accounting need, without a parse of the rest.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::LazyLock;

use memchr::memmem::Finder;

use crate::error::{Error, ErrorKind};
use crate::json::{self, Kind, Reader};
use crate::usage::ServiceTier;

mod output;

pub use output::{Bounding, ConfigPlace, OutputBound, UNBOUNDED};

/// What a request body says at its top level.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scan<'a> {
    /// `model`.
    pub model: Option<Cow<'a, str>>,
    /// Where the values of `model` stand, quotes included. Mostly one; where there are more, the last is meant, and all of them must
    /// be changed together: another reader might take the first.
    pub model_at: Vec<Range<usize>>,
    /// The places of `model` hold different names.
    pub model_differs: bool,
    /// `stream`.
    pub stream: bool,
    /// `max_tokens`, `max_completion_tokens`, `max_output_tokens`, `generationConfig.maxOutputTokens`, whichever is there; the last of
    /// several. `None` for a negative number. [`crate::bound`] tells more exactly what holds in a format.
    pub max_tokens: Option<u64>,
    /// Every place of every member that bounds the output, whatever the format, in order.
    pub bounds: Vec<OutputBound>,
    /// Every place of Gemini's `generationConfig`.
    pub configs: Vec<ConfigPlace>,
    /// Chat and completions: the larger of `n` and `best_of`; 0 if there is neither. See [`Scan::choices`].
    pub n: u64,
    /// Completions: prompts in the list `prompt`; 0 if it is no list.
    pub prompts: u64,
    /// Gemini: `candidateCount`; 0 if it is not there.
    pub candidates: u64,
    /// `user`, `safety_identifier`.
    pub user: Option<Cow<'a, str>>,
    /// `service_tier`, where it names one with prices of its own.
    pub tier: Option<ServiceTier>,
    /// `prompt_cache_key`, for affinity.
    pub cache_key: Option<Cow<'a, str>>,
    /// Chat: `stream_options.include_usage`; `None` if there is no `stream_options`.
    pub include_usage: Option<bool>,
    /// What of `stream_options` must become which text so that usage is asked for; the rest of it stays. `None` like above.
    pub ask_usage_at: Option<(Range<usize>, &'static str)>,
    /// Byte offset behind the opening brace, where a member can be put in.
    pub members_at: usize,
    /// How the conversation opens: the first messages, up to the first that no system speaks. The same on every turn.
    pub opening: Option<Range<usize>>,
    /// More came after the opening: this is not the conversation's first turn.
    pub continues: bool,
    /// The names of the top-level members, as a set of the known ones: what the body's shape says about its format (wire.md 7.4).
    pub shape: Shape,
}

/// Top-level members that tell the formats apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// `messages`.
    pub messages: bool,
    /// `contents` or `generateContentRequest`.
    pub contents: bool,
    /// `input`.
    pub input: bool,
    /// `prompt`.
    pub prompt: bool,
    /// `system`, `anthropic_version`, `stop_sequences` or `thinking`: only Messages has them.
    pub anthropic: bool,
    /// No member at all.
    pub empty: bool,
}

/// Scans the top level of a body. The rest is checked for syntax and depth, not kept.
///
/// # Errors
/// Not a JSON object; `model`, `stream` or a token limit of a wrong type.
pub fn scan(body: &[u8]) -> Result<Scan<'_>, Error> {
    let text = json::text(body)?;
    let mut reader = Reader::new(text);
    let mut found = Scan {
        members_at: reader.offset() + 1,
        ..Scan::default()
    };
    found.shape.empty = true;
    reader.object(|reader, key| {
        found.shape.empty = false;
        member(&mut found, reader, key)
    })?;
    reader.finish()?;
    Ok(found)
}

fn member<'a>(found: &mut Scan<'a>, reader: &mut Reader<'a>, key: &str) -> Result<(), Error> {
    match key {
        "model" => {
            let start = reader.offset();
            if let Some(model) = string(reader)? {
                found.model_differs |= found.model.as_ref().is_some_and(|before| *before != model);
                found.model = Some(model);
                found.model_at.push(start..reader.offset_behind());
            }
            return Ok(());
        }
        "stream" => {
            found.stream = if reader.null()? { false } else { reader.bool()? };
            return Ok(());
        }
        "max_tokens" => return output::bound(found, reader, Bounding::MaxTokens),
        "max_completion_tokens" => return output::bound(found, reader, Bounding::MaxCompletionTokens),
        "max_output_tokens" => return output::bound(found, reader, Bounding::MaxOutputTokens),
        "n" | "best_of" => return output::answers(&mut found.n, reader),
        "generationConfig" | "generation_config" if matches!(reader.kind(), Kind::Object | Kind::Null) => {
            return output::config(found, reader);
        }
        "service_tier" if reader.kind() == Kind::String => {
            found.tier = ServiceTier::from_name(&reader.text()?.decode()).or(found.tier);
            return Ok(());
        }
        // Anthropic's word for a tier.
        "speed" if reader.kind() == Kind::String => {
            let is_fast = reader.text()?.decode() == "fast";
            found.tier = is_fast.then_some(ServiceTier::Fast).or(found.tier);
            return Ok(());
        }
        "user" | "safety_identifier" if reader.kind() == Kind::String => {
            found.user = string(reader)?;
            return Ok(());
        }
        "prompt_cache_key" if reader.kind() == Kind::String => {
            found.cache_key = string(reader)?;
            return Ok(());
        }
        "stream_options" if matches!(reader.kind(), Kind::Object | Kind::Null) => {
            return stream_options(found, reader);
        }
        "messages" | "contents" | "input" => {
            match key {
                "messages" => found.shape.messages = true,
                "contents" => found.shape.contents = true,
                _ => found.shape.input = true,
            }
            if reader.kind() == Kind::Array {
                return opening(found, reader);
            }
        }
        "generateContentRequest" => found.shape.contents = true,
        "prompt" => {
            found.shape.prompt = true;
            if reader.kind() == Kind::Array {
                return output::prompts(found, reader);
            }
        }
        "system" | "anthropic_version" | "stop_sequences" => found.shape.anthropic = true,
        "thinking" => {
            found.shape.anthropic = true;
            if reader.kind() == Kind::Object {
                return output::thinking(found, reader);
            }
        }
        _ => {}
    }
    reader.skip()
}

fn string<'a>(reader: &mut Reader<'a>) -> Result<Option<Cow<'a, str>>, Error> {
    if reader.null()? {
        Ok(None)
    } else {
        Ok(Some(reader.text()?.decode()))
    }
}

/// Where the conversation opens, for affinity: a hint, so a look at the edges of a message is enough to tell who speaks.
fn opening<'a>(found: &mut Scan<'a>, reader: &mut Reader<'a>) -> Result<(), Error> {
    let start = reader.offset();
    let mut end = None;
    reader.array(|reader, _| {
        if end.is_some() {
            found.continues = true;
            return reader.skip();
        }
        let message = reader.raw()?;
        if !is_preamble(message.get().as_bytes()) {
            end = Some(reader.offset_behind());
        }
        Ok(())
    })?;
    found.opening = end.map(|end| start..end);
    Ok(())
}

/// A message of the system or developer: its role stands near one of its ends.
fn is_preamble(message: &[u8]) -> bool {
    const EDGE: usize = 48;
    let head = message.get(..EDGE).unwrap_or(message);
    let tail = message
        .get(message.len().saturating_sub(EDGE)..)
        .unwrap_or_default();
    [head, tail].into_iter().any(|edge| {
        let mut finders = PREAMBLES.iter();
        finders.any(|finder| finder.find(edge).is_some())
    })
}

/// The roles of a preamble. Made once: to prepare a search takes longer than to search so little.
static PREAMBLES: LazyLock<[Finder<'static>; 2]> =
    LazyLock::new(|| [Finder::new(b"\"system\""), Finder::new(b"\"developer\"")]);

fn stream_options(found: &mut Scan<'_>, reader: &mut Reader<'_>) -> Result<(), Error> {
    let start = reader.offset();
    let (mut include, mut said, mut empty) = (false, None, true);
    if !reader.null()? {
        reader.object(|reader, key| {
            empty = false;
            if key != "include_usage" {
                return reader.skip();
            }
            let start = reader.offset();
            if reader.kind() == Kind::Bool {
                include = reader.bool()?;
            } else {
                include = false;
                reader.skip()?;
            }
            said = Some(start..reader.offset_behind());
            Ok(())
        })?;
    }
    found.include_usage = Some(include);
    found.ask_usage_at = Some(match said {
        Some(at) => (at, "true"),
        None if empty => (start..reader.offset_behind(), r#"{"include_usage":true}"#),
        None => (start + 1..start + 1, r#""include_usage":true,"#),
    });
    Ok(())
}

/// Where the bodies of Gemini's counting and batch methods name a model once more, and which: `generateContentRequest.model`,
/// `requests[].model`. What the path names decides; these must not say anything else.
///
/// # Errors
/// The body is not JSON.
pub fn nested_models(body: &[u8]) -> Result<Vec<(Range<usize>, String)>, Error> {
    let text = std::str::from_utf8(body)
        .map_err(|_| Error::new(ErrorKind::Syntax, "the body is not UTF-8".to_owned()))?;
    let mut found = Vec::new();
    let mut reader = Reader::new(text);
    reader.object(|reader, key| match (&**key, reader.kind()) {
        ("generateContentRequest" | "generate_content_request", Kind::Object) => {
            nested_model(&mut found, reader)
        }
        ("requests", Kind::Array) => reader.array(|reader, _| match reader.kind() {
            Kind::Object => nested_model(&mut found, reader),
            _ => reader.skip(),
        }),
        _ => reader.skip(),
    })?;
    Ok(found)
}

fn nested_model(found: &mut Vec<(Range<usize>, String)>, reader: &mut Reader<'_>) -> Result<(), Error> {
    reader.object(|reader, key| {
        if &**key != "model" || reader.kind() != Kind::String {
            return reader.skip();
        }
        let start = reader.offset();
        let name = reader.text()?.decode().into_owned();
        found.push((start..reader.offset_behind(), name));
        Ok(())
    })
}
