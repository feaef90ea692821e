//! What to answer: the same decision for all providers.

use std::time::Duration;

use serde_json::{Value, json};

/// One piece of an answer.
#[derive(Clone, Debug)]
pub(crate) enum Piece {
    Thinking(String),
    Text(String),
    Call {
        id: String,
        name: String,
        arguments: String,
    },
}

/// A scripted answer.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) pieces: Vec<Piece>,
    pub(crate) stop: Stop,
    /// Answer with this status instead.
    pub(crate) error: Option<u16>,
    /// A 429 says when to come back.
    pub(crate) says_when: bool,
    /// Fault in a stream.
    pub(crate) fault: Fault,
    /// Wait before the first byte.
    pub(crate) first_byte: Duration,
    /// Wait between events.
    pub(crate) gap: Duration,
    /// Compress the answer.
    pub(crate) gzip: bool,
    /// Cut the bytes of the stream into pieces of this many, inside characters too.
    pub(crate) split: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    End,
    Length,
    Tools,
    Refusal,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// The first event is an error, with status 200.
    FirstEvent,
    /// An error in the middle.
    Middle,
    /// The stream ends in the middle.
    Cut,
    /// Nothing comes.
    Empty,
}

/// What the request says, whatever its format.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    pub(crate) model: String,
    /// Last user text.
    pub(crate) text: String,
    /// Results of tools behind the last user text.
    pub(crate) results: Vec<String>,
    /// Declared functions and their schemas.
    pub(crate) tools: Vec<(String, Value)>,
    /// Tools may be called.
    pub(crate) may_call: bool,
    /// Structured output is asked for.
    pub(crate) json: bool,
    /// Reasoning is asked for.
    pub(crate) thinking: bool,
    pub(crate) images: usize,
    /// The credential: faults of one key of a channel are scripted in it.
    pub(crate) credential: String,
}

/// Tokens that every answer reports as its prompt; part of it cached.
pub(crate) const INPUT: u64 = 100;
/// Cached part.
pub(crate) const CACHED: u64 = 40;
/// Tokens that every answer reports as generated.
pub(crate) const OUTPUT: u64 = 20;
/// Reasoning part, if there is any.
pub(crate) const REASONING: u64 = 8;

/// The marker of a request: `key@name` in the credential, else `[[name]]` or `[[name:argument]]` in the text, else `model@name`.
fn scenario(asked: &Asked) -> (String, String) {
    let marker = asked
        .text
        .split_once("[[")
        .and_then(|(_, rest)| rest.split_once("]]"))
        .map(|(name, _)| name);
    let behind_at = |text: &'_ str| text.split_once('@').map(|(_, name)| name.to_owned());
    let word = behind_at(&asked.credential)
        .or(marker.map(str::to_owned))
        .or(behind_at(&asked.model))
        .unwrap_or_default();
    let (name, argument) = word.split_once(':').unwrap_or((&word, ""));
    (name.to_owned(), argument.to_owned())
}

/// Decides.
pub(crate) fn plan(asked: &Asked) -> Plan {
    let (name, argument) = scenario(asked);
    let number: u64 = argument.parse().unwrap_or(200);
    let mut plan = Plan {
        pieces: Vec::new(),
        stop: Stop::End,
        error: None,
        says_when: true,
        fault: Fault::None,
        first_byte: Duration::ZERO,
        gap: Duration::ZERO,
        gzip: false,
        split: None,
    };
    if asked.thinking || name == "thinking" {
        plan.pieces
            .push(Piece::Thinking("Let me think about this.".into()));
    }
    match name.as_str() {
        "error" => plan.error = u16::try_from(number).ok(),
        "bare-error" => (plan.error, plan.says_when) = (u16::try_from(number).ok(), false),
        "first-event-error" => plan.fault = Fault::FirstEvent,
        "mid-stream-error" => plan.fault = Fault::Middle,
        "cut" => plan.fault = Fault::Cut,
        "empty" => plan.fault = Fault::Empty,
        "slow-first-byte" => plan.first_byte = Duration::from_millis(number),
        "slow-chunks" => plan.gap = Duration::from_millis(number),
        "gzip" => plan.gzip = true,
        "unicode" => plan.split = Some(1),
        "length" => plan.stop = Stop::Length,
        "refusal" => plan.stop = Stop::Refusal,
        _ => {}
    }
    let callable = asked.may_call && asked.results.is_empty() && name != "text";
    if callable && !asked.tools.is_empty() {
        plan.pieces.push(Piece::Text("I will look it up.".into()));
        for (index, (tool, schema)) in asked.tools.iter().take(2).enumerate() {
            let arguments = arguments(schema);
            plan.pieces.push(Piece::Call {
                id: format!("call_{index}_abc"),
                name: tool.clone(),
                arguments,
            });
        }
        plan.stop = Stop::Tools;
        return plan;
    }
    let text = match name.as_str() {
        "unicode" => "Grüße, 世界! 👩‍👩‍👧 \u{1F600} é\n\"quoted\" \\ and\ttab".to_owned(),
        "long" => "word ".repeat(2_000),
        "slow-chunks" | "cut" | "mid-stream-error" => {
            "one two three four five six seven eight nine ten".to_owned()
        }
        _ if asked.json => r#"{"answer":"yes","count":3}"#.to_owned(),
        _ if !asked.results.is_empty() => format!("The tools said: {}", asked.results.join(" | ")),
        _ => format!("You said: {} (images: {})", asked.text, asked.images),
    };
    plan.pieces.push(Piece::Text(text));
    plan
}

/// Arguments by the schema, with numbers that must keep their digits.
fn arguments(schema: &Value) -> String {
    let mut members = Vec::new();
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        for (name, property) in properties {
            let value = match property
                .get("type")
                .and_then(Value::as_str)
                .unwrap_or("string")
                .to_lowercase()
                .as_str()
            {
                "integer" => "9007199254740993",
                "number" => "1.10",
                "boolean" => "true",
                "array" => "[]",
                "object" => "{}",
                _ => "\"Paris \\u00e9\"",
            };
            members.push(format!("{}:{value}", Value::String(name.clone())));
        }
    }
    format!("{{{}}}", members.join(","))
}

/// Cuts a text into pieces as a model would, on characters.
pub(crate) fn fragments(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    chars.chunks(6).map(|piece| piece.iter().collect()).collect()
}

/// Has the answer reasoning in it?
pub(crate) fn thinks(plan: &Plan) -> bool {
    plan.pieces
        .iter()
        .any(|piece| matches!(piece, Piece::Thinking(_)))
}

/// All visible text of a plan.
pub(crate) fn text(plan: &Plan) -> String {
    let texts = plan.pieces.iter().filter_map(|piece| {
        if let Piece::Text(text) = piece {
            Some(text.as_str())
        } else {
            None
        }
    });
    texts.collect()
}

/// Strings of a content that is a string or a list of parts with `text`.
pub(crate) fn texts(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts
            .iter()
            .filter_map(|part| part.get("text").and_then(Value::as_str))
            .collect(),
        _ => String::new(),
    }
}

/// An empty JSON object.
pub(crate) fn nothing() -> Value {
    json!({})
}
