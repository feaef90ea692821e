//! Server-sent events: an incremental parser for what providers really send (wire.md 2.1, 2.3), and for the JSON that comes where
//! events were expected.

use memchr::{memchr, memchr2};

/// Largest event that is held, bytes: answers with inline images are large (wire.md 2.3).
pub const MAX_EVENT: usize = 64 << 20;

/// Longest error document among events that is put together line by line, bytes.
const MAX_LOOSE_JSON: usize = 64 << 10;

/// How the body is framed; the first byte that is not blank decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Framing {
    /// Nothing but blanks so far.
    #[default]
    Unknown,
    /// Server-sent events.
    Sse,
    /// One JSON document where a stream was expected.
    Document,
    /// Gemini's stream without `alt=sse`: one JSON array.
    Array,
}

/// One event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SseEvent<'e> {
    /// Its name, if any.
    pub name: Option<&'e str>,
    /// Its data; several lines are joined with a line feed. Empty for a frame without data (see [`Parser::with_blank_frames`]).
    pub data: &'e str,
    /// How many bytes of the input have been consumed behind it, counted from the start of the stream.
    pub end: u64,
    /// Its bytes are spelled as every client reads them: at most an `event: ` line, one `data: ` line, a blank line.
    pub plain: bool,
    /// Nothing but comments and blank lines stood in the frame.
    pub comment: bool,
}

/// The event is larger than [`MAX_EVENT`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

/// Parses a body in any split.
#[derive(Debug, Default)]
pub struct Parser {
    framing: Framing,
    blank_frames: bool,
    buffer: Vec<u8>,
    /// Bytes at the start of `buffer` that hold no line end.
    searched: usize,
    offset: u64,
    skip_lf: bool,
    frame: Frame,
    array: ArrayScan,
}

/// The event under way.
#[derive(Debug, Default)]
struct Frame {
    name: String,
    has_name: bool,
    data: String,
    has_data: bool,
    /// A line was spelled in a way that some client does not read.
    odd: bool,
    comment: bool,
    any: bool,
}

impl Parser {
    /// A parser that also hands out frames without data (comments, names alone), for a relay that must know their bytes.
    #[must_use]
    pub fn with_blank_frames() -> Self {
        Parser {
            blank_frames: true,
            ..Parser::default()
        }
    }

    /// How the body is framed, as far as that is known.
    #[must_use]
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// True if part of an event is waiting for the rest.
    #[must_use]
    pub fn is_inside(&self) -> bool {
        self.frame.any || !self.buffer.is_empty()
    }

    /// Takes bytes and hands out every event that they complete. `take` says false to stop.
    ///
    /// # Errors
    /// An event grew over the limit.
    pub fn push(&mut self, bytes: &[u8], take: &mut dyn FnMut(SseEvent<'_>) -> bool) -> Result<(), TooLarge> {
        self.buffer.extend_from_slice(bytes);
        self.sniff();
        match self.framing {
            Framing::Unknown => {}
            Framing::Sse => self.lines(take),
            Framing::Array => self.elements(take),
            Framing::Document => {}
        }
        if self.buffer.len() + self.frame.data.len() > MAX_EVENT {
            Err(TooLarge)
        } else {
            Ok(())
        }
    }

    /// The body ended: a last event without its blank line, or the JSON document.
    pub fn end(&mut self, take: &mut dyn FnMut(SseEvent<'_>) -> bool) {
        match self.framing {
            Framing::Document => {
                let text = String::from_utf8_lossy(&self.buffer).into_owned();
                self.offset += self.buffer.len() as u64;
                self.buffer.clear();
                take(SseEvent {
                    name: None,
                    data: &text,
                    end: self.offset,
                    plain: true,
                    comment: false,
                });
            }
            Framing::Sse => {
                let rest = std::mem::take(&mut self.buffer);
                self.offset += rest.len() as u64;
                self.searched = 0;
                let line = rest.strip_suffix(b"\r").unwrap_or(&rest);
                if !line.is_empty() {
                    self.frame.line(line);
                }
                if self.frame.any {
                    // The blank line is missing.
                    self.frame.odd = true;
                    self.dispatch(self.offset, take);
                }
            }
            Framing::Unknown | Framing::Array => {}
        }
    }

    fn sniff(&mut self) {
        const MARK: &[u8] = b"\xef\xbb\xbf";
        if self.framing != Framing::Unknown {
            return;
        }
        let marked = self.buffer.starts_with(MARK);
        if !marked && !self.buffer.is_empty() && MARK.starts_with(&self.buffer) {
            // A byte order mark cut in two is waited for.
            return;
        }
        let start = self.buffer.get(if marked { 3 } else { 0 }..).unwrap_or_default();
        let mut solid = start.iter().filter(|byte| !byte.is_ascii_whitespace());
        self.framing = match solid.next() {
            None => return,
            Some(b'{') => Framing::Document,
            Some(b'[') => Framing::Array,
            Some(_) => Framing::Sse,
        };
        if marked {
            self.buffer.drain(..3);
            self.offset += 3;
            self.frame.odd = true;
        }
    }

    fn lines(&mut self, take: &mut dyn FnMut(SseEvent<'_>) -> bool) {
        let buffer = std::mem::take(&mut self.buffer);
        let mut at = 0;
        // Bytes of the unfinished line that an earlier push has searched.
        let mut searched = std::mem::take(&mut self.searched);
        loop {
            if self.skip_lf {
                match buffer.get(at) {
                    Some(b'\n') => {
                        at += 1;
                        self.skip_lf = false;
                    }
                    Some(_) => self.skip_lf = false,
                    None => break,
                }
            }
            let rest = buffer.get(at..).unwrap_or_default();
            let Some(found) = memchr2(b'\n', b'\r', rest.get(searched..).unwrap_or_default()) else {
                self.searched = rest.len();
                break;
            };
            let length = searched + found;
            searched = 0;
            let line = rest.get(..length).unwrap_or_default();
            if rest.get(length) == Some(&b'\r') {
                match rest.get(length + 1) {
                    Some(b'\n') => at += 1,
                    // A carriage return alone ends a line, but not for every client.
                    Some(_) => self.frame.odd = true,
                    None if self.blank_frames => {
                        // Whether it stands alone decides what is relayed.
                        self.searched = length;
                        break;
                    }
                    None => self.skip_lf = true,
                }
            }
            at += length + 1;
            if line.is_empty() {
                let end = self.offset + at as u64;
                if !self.dispatch(end, take) {
                    break;
                }
            } else {
                self.frame.line(line);
            }
        }
        self.offset += at as u64;
        self.buffer = buffer;
        self.buffer.drain(..at);
    }

    fn dispatch(&mut self, end: u64, take: &mut dyn FnMut(SseEvent<'_>) -> bool) -> bool {
        let frame = &self.frame;
        let trimmed = frame.data.trim();
        // Empty data and comments wrapped into data are signs of life, nothing more.
        let blank = !frame.has_data || trimmed.is_empty() || trimmed.starts_with(':');
        let mut go_on = true;
        if !blank || self.blank_frames {
            go_on = take(SseEvent {
                name: frame.has_name.then_some(frame.name.as_str()),
                data: if blank { "" } else { &frame.data },
                end,
                plain: !frame.odd && !frame.comment && !blank,
                comment: !frame.odd && !frame.has_data && !frame.has_name,
            });
        }
        self.frame.clear();
        go_on
    }

    /// Every object directly inside the array is one event; `]` is the end.
    fn elements(&mut self, take: &mut dyn FnMut(SseEvent<'_>) -> bool) {
        let buffer = std::mem::take(&mut self.buffer);
        let mut consumed = 0;
        let mut at = self.array.at;
        while let Some(&byte) = buffer.get(at) {
            at += 1;
            let (from, data) = match self.array.step(byte, at - 1) {
                Step::Inside => continue,
                Step::Element(start) => (start, None),
                Step::End => (at, Some("[DONE]")),
            };
            let element = String::from_utf8_lossy(buffer.get(from..at).unwrap_or_default());
            consumed = at;
            let go_on = take(SseEvent {
                name: None,
                data: data.unwrap_or(&element),
                end: self.offset + at as u64,
                plain: true,
                comment: false,
            });
            if !go_on {
                break;
            }
        }
        self.offset += consumed as u64;
        self.array.at = at - consumed;
        self.array.start = self.array.start.saturating_sub(consumed);
        self.buffer = buffer;
        self.buffer.drain(..consumed);
    }
}

impl Frame {
    fn clear(&mut self) {
        self.data.clear();
        (self.has_data, self.has_name) = (false, false);
        (self.odd, self.comment, self.any) = (false, false, false);
    }

    /// One field line: `name: value` with one optional blank behind the colon.
    fn line(&mut self, line: &[u8]) {
        self.any = true;
        let (field, value) = match memchr(b':', line) {
            Some(colon) => (
                line.get(..colon).unwrap_or_default(),
                line.get(colon + 1..).unwrap_or_default(),
            ),
            None => (line, [].as_slice()),
        };
        let spaced = value.strip_prefix(b" ");
        let text = spaced.unwrap_or(value);
        match field {
            b"data" => {
                self.odd |= spaced.is_none() || self.has_data;
                if self.has_data {
                    self.data.push('\n');
                }
                self.has_data = true;
                match std::str::from_utf8(text) {
                    Ok(text) => self.data.push_str(text),
                    Err(_) => {
                        self.odd = true;
                        self.data.push_str(&String::from_utf8_lossy(text));
                    }
                }
            }
            b"event" => {
                self.odd |= spaced.is_none() || self.has_data || self.has_name;
                self.name.clear();
                self.name.push_str(&String::from_utf8_lossy(text));
                self.has_name = true;
            }
            // A raw JSON error line among events is Google's way.
            _ if line.first() == Some(&b'{') || self.looks_like_json() => {
                self.odd = true;
                self.has_data = true;
                self.data.push_str(&String::from_utf8_lossy(line));
            }
            // Comments, `id`, `retry` and unknown fields mean nothing to us.
            b"" => {
                self.comment = true;
                self.odd |= self.has_data || self.has_name;
            }
            _ => self.odd = true,
        }
    }

    /// A pretty-printed error document goes on over several lines.
    fn looks_like_json(&self) -> bool {
        self.has_data
            && !self.has_name
            && self.data.starts_with('{')
            && self.data.len() < MAX_LOOSE_JSON
            && !crate::encode::is_json(&self.data)
    }
}

/// Finds the objects of an array without looking at a byte twice.
#[derive(Debug, Default)]
struct ArrayScan {
    /// How far the buffer was scanned.
    at: usize,
    /// Where the open object began in the buffer.
    start: usize,
    depth: usize,
    string: bool,
    escaped: bool,
}

enum Step {
    Inside,
    /// An object ended; it began at this place of the buffer.
    Element(usize),
    End,
}

impl ArrayScan {
    fn step(&mut self, byte: u8, at: usize) -> Step {
        if self.string {
            self.string = self.escaped || byte != b'"';
            self.escaped = !self.escaped && byte == b'\\';
            return Step::Inside;
        }
        match byte {
            b'"' => self.string = true,
            b'{' => {
                if self.depth == 0 {
                    self.start = at;
                }
                self.depth += 1;
            }
            b'}' if self.depth > 0 => {
                self.depth -= 1;
                if self.depth == 0 {
                    return Step::Element(self.start);
                }
            }
            b']' if self.depth == 0 => return Step::End,
            _ => {}
        }
        Step::Inside
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(body: &[u8], split: usize) -> Vec<(Option<String>, String)> {
        let mut parser = Parser::default();
        let mut found = Vec::new();
        let mut take = |event: SseEvent<'_>| {
            found.push((event.name.map(str::to_owned), event.data.to_owned()));
            true
        };
        for piece in body.chunks(split) {
            parser.push(piece, &mut take).unwrap();
        }
        parser.end(&mut take);
        found
    }

    fn check(body: &str, wanted: &[(Option<&str>, &str)]) {
        let wanted: Vec<_> = wanted
            .iter()
            .map(|(name, data)| (name.map(str::to_owned), (*data).to_owned()))
            .collect();
        for split in [1, 2, 3, 7, 1000] {
            assert_eq!(
                events(body.as_bytes(), split),
                wanted,
                "{body:?} in pieces of {split}"
            );
        }
    }

    #[test]
    fn every_line_end_and_oddity_is_understood_in_any_split() {
        check("data: {\"a\":\"你\"}\n\n", &[(None, "{\"a\":\"你\"}")]);
        check(
            "event: x\r\ndata: 1\r\n\r\ndata: 2\r\n\r\n",
            &[(Some("x"), "1"), (None, "2")],
        );
        check(
            "event: x\rdata: 1\r\rdata: 2\r\r",
            &[(Some("x"), "1"), (None, "2")],
        );
        check("\u{feff}data:1\n\n", &[(None, "1")]);
        check("data: a\ndata: b\n\n", &[(None, "a\nb")]);
        check(
            ": comment\n\nid: 7\nretry: 3\ndata: 1\n\ndata:\n\ndata: : keepalive\n\nevent: x\n\n",
            &[(None, "1")],
        );
        check("data: 1\n\ndata: last", &[(None, "1"), (None, "last")]);
        check(
            "data: 1\n\n{\n \"error\": {\"code\": 1}\n}\n\n",
            &[(None, "1"), (None, "{ \"error\": {\"code\": 1}}")],
        );
    }

    #[test]
    fn json_in_place_of_events_is_seen_as_what_it_is() {
        check("  {\"id\":1}", &[(None, "  {\"id\":1}")]);
        check(
            "[{\"a\":\"}]\\\"\"}\r\n,\r\n{\"b\":2}]",
            &[
                (None, "{\"a\":\"}]\\\"\"}"),
                (None, "{\"b\":2}"),
                (None, "[DONE]"),
            ],
        );
    }
}
