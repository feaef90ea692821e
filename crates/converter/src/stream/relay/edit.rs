//! The edits that a relay may make (wire.md 2.7): the model's name, usage that the client did not ask for, item ids that change
//! under way, line separators inside JSON, and frames spelled in a way that some client cannot read. All else keeps its bytes.

mod ids;

use std::ops::Range;
use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::RelayOptions;
use crate::format::Format;
use crate::json::{Kind, Reader, Writer, copy_line_safe};
use crate::sse::SseEvent;
use ids::Ids;

/// Replacements in one event's data, in order of their places.
type Edits = Vec<(Range<usize>, String)>;

/// What is looked for in every event: to make a finder costs more than its search.
static USAGE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"usage\""));
static SEQUENCE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"sequence_number\":"));

/// Edits the events of one stream.
#[derive(Debug)]
pub(super) struct Editor {
    format: Format,
    array: bool,
    hide_usage: bool,
    model: Option<String>,
    ids: Ids,
    /// Events of Responses that were passed on, by their own count.
    sequence: u64,
    written: bool,
    closed: bool,
}

impl Editor {
    pub(super) fn new(options: &RelayOptions) -> Self {
        Editor {
            format: options.format,
            array: options.array && options.format == Format::Gemini,
            hide_usage: options.hide_usage && options.format == Format::Chat,
            model: options.rename.then(|| options.model.clone()),
            ids: Ids::default(),
            sequence: 0,
            written: false,
            closed: false,
        }
    }

    /// The sequence number that an event of ours would have.
    pub(super) fn next_sequence(&self) -> u64 {
        self.sequence
    }

    /// Ends an array that the upstream left open.
    pub(super) fn close_array(&mut self, out: &mut Vec<u8>) {
        if self.array && !std::mem::replace(&mut self.closed, true) {
            out.extend_from_slice(if self.written { b"]" } else { b"[]" });
        }
    }

    /// Passes an event on. `raw` are its bytes.
    pub(super) fn event(&mut self, event: SseEvent<'_>, raw: &[u8], out: &mut Vec<u8>) {
        let element = matches!(raw.trim_ascii_start().first(), Some(b'[' | b',' | b'{' | b']'));
        if event.data.trim() == "[DONE]" {
            return self.done(event, raw, element, out);
        }
        let Some(edits) = self.edits(event.data) else {
            return;
        };
        let unchanged = edits.is_empty() && !has_separators(raw);
        if self.array {
            self.element(event.data, raw, &edits, unchanged && element, out);
        } else if unchanged && event.plain && !element && event.name.is_some() == self.is_named() {
            out.extend_from_slice(raw);
        } else {
            self.reframe(event, &edits, out);
        }
        self.written = true;
    }

    fn done(&mut self, event: SseEvent<'_>, raw: &[u8], element: bool, out: &mut Vec<u8>) {
        if self.format == Format::Chat && event.plain && event.name.is_none() {
            out.extend_from_slice(raw);
        } else if self.format == Format::Chat {
            out.extend_from_slice(b"data: [DONE]\n\n");
        } else if self.array && element && self.written {
            self.closed = true;
            out.extend_from_slice(raw);
        }
    }

    /// Messages and Responses name their events, the others do not.
    fn is_named(&self) -> bool {
        matches!(self.format, Format::Messages | Format::Responses)
    }

    /// An element of an array, with what stood in front of it.
    fn element(&self, data: &str, raw: &[u8], edits: &Edits, unchanged: bool, out: &mut Vec<u8>) {
        if unchanged {
            return out.extend_from_slice(raw);
        }
        match raw.strip_suffix(data.as_bytes()) {
            Some(before) if before.trim_ascii().iter().all(|byte| b"[,".contains(byte)) => {
                out.extend_from_slice(before);
            }
            _ => out.extend_from_slice(if self.written { b",\r\n" } else { b"[" }),
        }
        splice(data, edits, out);
    }

    /// Writes an event as every client reads it.
    fn reframe(&self, event: SseEvent<'_>, edits: &Edits, out: &mut Vec<u8>) {
        if self.is_named() {
            let kind = span(event.data, &["type"]).and_then(|range| event.data.get(range));
            let kind = kind.map(|kind| kind.trim_matches('"')).or(event.name);
            out.extend_from_slice(b"event: ");
            out.extend_from_slice(kind.unwrap_or_default().as_bytes());
            out.push(b'\n');
        }
        out.extend_from_slice(b"data: ");
        splice(event.data.trim(), &shifted(event.data, edits), out);
        out.extend_from_slice(if self.format == Format::Gemini {
            b"\r\n\r\n"
        } else {
            b"\n\n"
        });
    }

    /// What must change in an event; `None` if all of it must go.
    fn edits(&mut self, data: &str) -> Option<Edits> {
        let mut edits = Edits::new();
        if self.format == Format::Chat {
            self.usage(data, &mut edits)?;
        }
        if self.format == Format::Responses {
            self.sequence = sequence_number(data).unwrap_or(self.sequence) + 1;
            self.ids.repair(data, &mut edits);
        }
        if let Some(model) = &self.model {
            let path: &[&str] = match self.format {
                Format::Chat => &["model"],
                Format::Responses => &["response", "model"],
                Format::Messages => &["message", "model"],
                Format::Gemini => &["modelVersion"],
            };
            if let Some(range) = span(data, path) {
                edits.push((range, string(model)));
            }
        }
        edits.sort_by_key(|(range, _)| range.start);
        Some(edits)
    }

    /// Chat: hides usage that only the gateway wanted; `None` for the chunk that carries nothing else.
    fn usage(&self, data: &str, edits: &mut Edits) -> Option<()> {
        if USAGE.find(data.as_bytes()).is_none() {
            return Some(());
        }
        let members = Members::read(data);
        let Some(usage) = members.usage else {
            return Some(());
        };
        if !self.hide_usage {
            if members.choices.is_none() && members.counts {
                // Clients read `choices[0]` of every chunk, but all know the empty list.
                edits.push((members.start..members.start, "\"choices\":[],".into()));
            }
            return Some(());
        }
        if members.counts && members.choices != Some(true) {
            return None;
        }
        edits.push((usage, String::new()));
        Some(())
    }
}

/// The members of a Chat chunk that matter for usage.
#[derive(Debug, Default)]
struct Members {
    /// Behind the opening brace.
    start: usize,
    /// `usage` with a comma on one side.
    usage: Option<Range<usize>>,
    /// `usage` is an object.
    counts: bool,
    /// `choices` is there, and not empty.
    choices: Option<bool>,
}

impl Members {
    fn read(data: &str) -> Members {
        let mut reader = Reader::new(data);
        let start = reader.offset() + 1;
        let mut found = Members {
            start,
            ..Members::default()
        };
        let mut before = start;
        // The data was decoded before, so it reads without errors.
        let _ = reader.object(|reader, key| {
            let at = reader.offset();
            let kind = reader.kind();
            reader.skip()?;
            let end = reader.offset_behind();
            if key == "choices" && kind == Kind::Array {
                let list = data.get(at..end).unwrap_or_default();
                found.choices = Some(list.trim_matches(['[', ']']).trim() != "");
            }
            if key == "usage" {
                found.counts = kind == Kind::Object;
                let rest = data.get(end..).unwrap_or_default();
                let comma = rest.trim_start().starts_with(',') && before == start;
                let behind = rest.find(',').map_or(0, |comma| comma + 1);
                found.usage = Some(before..end + if comma { behind } else { 0 });
            }
            before = end;
            Ok(())
        });
        found
    }
}

/// Where the value at a path of members stands, if it is a string.
fn span(data: &str, path: &[&str]) -> Option<Range<usize>> {
    let mut reader = Reader::new(data);
    find(&mut reader, path)
}

fn find(reader: &mut Reader<'_>, path: &[&str]) -> Option<Range<usize>> {
    let (first, rest) = path.split_first()?;
    let mut found = None;
    if reader.kind() != Kind::Object {
        return None;
    }
    let read = reader.object(|reader, key| {
        if key != first {
            return reader.skip();
        }
        let start = reader.offset();
        if !rest.is_empty() && reader.kind() == Kind::Object {
            found = find(reader, rest);
            return Ok(());
        }
        let text = reader.kind() == Kind::String;
        reader.skip()?;
        if rest.is_empty() && text {
            found = Some(start..reader.offset_behind());
        }
        Ok(())
    });
    read.ok().and(found)
}

/// The number behind `"sequence_number":`. Inside a JSON string its quotes would be escaped.
fn sequence_number(data: &str) -> Option<u64> {
    let at = SEQUENCE.find(data.as_bytes())? + SEQUENCE.needle().len();
    let digits = data.get(at..)?.trim_start();
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits.get(..end)?.parse().ok()
}

fn string(text: &str) -> String {
    let mut out = Vec::new();
    Writer::line(&mut out).str(text);
    String::from_utf8_lossy(&out).into_owned()
}

/// Characters that some clients take for line ends (wire.md 2.4).
fn has_separators(raw: &[u8]) -> bool {
    memchr::memchr2_iter(0xe2, 0xc2, raw).any(|at| {
        matches!(
            raw.get(at..),
            Some([0xe2, 0x80, 0xa8 | 0xa9, ..] | [0xc2, 0x85, ..])
        )
    })
}

/// Edits of `data` as edits of its trimmed form.
fn shifted(data: &str, edits: &Edits) -> Edits {
    let blank = data.len() - data.trim_start().len();
    edits
        .iter()
        .map(|(range, text)| {
            (
                range.start.saturating_sub(blank)..range.end.saturating_sub(blank),
                text.clone(),
            )
        })
        .collect()
}

/// Writes `data` with its edits, in one line.
fn splice(data: &str, edits: &Edits, out: &mut Vec<u8>) {
    let start = out.len();
    let mut at = 0;
    for (range, text) in edits {
        copy_line_safe(data.get(at..range.start).unwrap_or_default(), out);
        out.extend_from_slice(text.as_bytes());
        at = range.end.max(at);
    }
    copy_line_safe(data.get(at..).unwrap_or_default(), out);
    // Inside JSON a raw line break can only stand between tokens, where a blank is the same.
    for byte in out.iter_mut().skip(start) {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
}
