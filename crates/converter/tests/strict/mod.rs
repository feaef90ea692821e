//! Validators as strict as the strictest SDK (wire.md 2.4 and 3): what they accept, every client reads.

mod chat;
mod gemini;
mod messages;
mod responses;

use std::collections::HashMap;

use serde_json::Value;

/// One frame of a stream.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Frame {
    Event(Value),
    /// A line of JSON without `data:` (the second half of Gemini's error).
    Raw(Value),
    Comment,
    Done,
    /// `]` of an array.
    Close,
}

/// How a stream must end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// With the protocol's own terminal.
    Good,
    /// With the in-band error.
    Error,
}

type Check = Result<(), String>;

fn need(condition: bool, why: impl FnOnce() -> String) -> Check {
    if condition { Ok(()) } else { Err(why()) }
}

/// Cuts a stream into frames; the spelling of every frame is checked.
pub(crate) fn frames(format: &str, out: &str) -> Result<Vec<Frame>, String> {
    for separator in ['\u{85}', '\u{2028}', '\u{2029}', '\u{feff}'] {
        need(!out.contains(separator), || {
            format!("raw {separator:?} in the output")
        })?;
    }
    if format == "gemini" && out.starts_with('[') {
        return gemini::array(out);
    }
    let gap = if format == "gemini" { "\r\n\r\n" } else { "\n\n" };
    let Some(body) = out.strip_suffix(gap) else {
        need(out.is_empty(), || {
            format!("no blank line behind the last event: {out:?}")
        })?;
        return Ok(Vec::new());
    };
    body.split(gap).map(|text| frame(format, text)).collect()
}

fn frame(format: &str, text: &str) -> Result<Frame, String> {
    if text.starts_with(": ") && matches!(format, "chat" | "responses") && !text.contains('\n') {
        return Ok(Frame::Comment);
    }
    let json = |text: &str| serde_json::from_str::<Value>(text).map_err(|error| format!("{error}: {text}"));
    if format == "gemini" && text.starts_with('{') {
        return json(text).map(Frame::Raw);
    }
    let named = matches!(format, "messages" | "responses");
    let (name, line) = if named {
        let rest = text
            .strip_prefix("event: ")
            .ok_or_else(|| format!("no event line: {text}"))?;
        rest.split_once('\n')
            .ok_or_else(|| format!("no data line: {text}"))?
    } else {
        ("", text)
    };
    let data = line
        .strip_prefix("data: ")
        .ok_or_else(|| format!("no data line: {text}"))?;
    need(!data.contains(['\n', '\r']) && !data.is_empty(), || {
        format!("not one line: {text}")
    })?;
    if data == "[DONE]" {
        need(format == "chat", || "[DONE] outside Chat".into())?;
        return Ok(Frame::Done);
    }
    let value = json(data)?;
    need(!named || value["type"] == name, || {
        format!("{name} is not the type of {data}")
    })?;
    Ok(Frame::Event(value))
}

/// Checks a whole stream.
pub(crate) fn check(format: &str, out: &str, ending: Ending) -> Check {
    let frames = frames(format, out)?;
    match format {
        "chat" => chat::check(&frames, ending),
        "responses" => responses::check(&frames, ending),
        "messages" => messages::check(&frames, ending),
        _ => gemini::check(&frames, ending),
    }
    .map_err(|why| format!("{why}\n{out}"))
}

/// What must stay the same in all events.
#[derive(Default)]
struct Stable(HashMap<&'static str, Value>);

impl Stable {
    fn same(&mut self, name: &'static str, value: &Value) -> Check {
        let known = self.0.entry(name).or_insert_with(|| value.clone());
        need(known == value && !value.is_null() && *value != "", || {
            format!("{name} changed from {known} to {value}")
        })
    }
}
