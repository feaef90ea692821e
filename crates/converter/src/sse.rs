//! Server-sent events: an incremental parser for what providers really send (wire.md 2.1, 2.3), and for the JSON that comes where
//! events were expected.

use memchr::{memchr, memchr2};

/// Largest event that is held, bytes: answers with inline images are large (wire.md 2.3).
pub const MAX_EVENT: usize = 64 << 20;

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
    /// Its data; several lines are joined with a line feed.
    pub data: &'e str,
    /// How many bytes of the input have been consumed behind it, counted from the start of the stream.
    pub end: u64,
}

/// The event is larger than [`MAX_EVENT`], or not UTF-8 beyond repair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

/// Parses a body in any split.
#[derive(Debug, Default)]
pub struct Parser {
    framing: Framing,
    buffer: Vec<u8>,
    offset: u64,
    skip_lf: bool,
    name: String,
    has_name: bool,
    data: String,
    has_data: bool,
}

impl Parser {
    /// How the body is framed, as far as that is known.
    #[must_use]
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// True if part of an event is waiting for the rest.
    #[must_use]
    pub fn is_inside(&self) -> bool {
        self.has_data || self.has_name || !self.buffer.is_empty()
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
        if self.buffer.len() + self.data.len() > MAX_EVENT {
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
                });
            }
            Framing::Sse => {
                if !self.buffer.is_empty() {
                    let line = std::mem::take(&mut self.buffer);
                    self.offset += line.len() as u64;
                    self.line(&line);
                }
                self.dispatch(take);
            }
            Framing::Unknown | Framing::Array => {}
        }
    }

    fn sniff(&mut self) {
        if self.framing != Framing::Unknown {
            return;
        }
        let start: &[u8] = if self.buffer.starts_with(b"\xef\xbb\xbf") {
            self.buffer.get(3..).unwrap_or_default()
        } else {
            &self.buffer
        };
        let mut solid = start.iter().filter(|byte| !byte.is_ascii_whitespace());
        self.framing = match solid.next() {
            None => return,
            // A byte order mark cut in two is waited for.
            Some(0xef) if self.buffer.len() < 3 => return,
            Some(b'{') => Framing::Document,
            Some(b'[') => Framing::Array,
            Some(_) => Framing::Sse,
        };
        if self.buffer.starts_with(b"\xef\xbb\xbf") {
            self.buffer.drain(..3);
            self.offset += 3;
        }
    }

    fn lines(&mut self, take: &mut dyn FnMut(SseEvent<'_>) -> bool) {
        let buffer = std::mem::take(&mut self.buffer);
        let mut at = 0;
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
            let Some(length) = memchr2(b'\n', b'\r', rest) else {
                break;
            };
            let line = rest.get(..length).unwrap_or_default();
            self.skip_lf = rest.get(length) == Some(&b'\r');
            at += length + 1;
            if self.skip_lf && buffer.get(at) == Some(&b'\n') {
                at += 1;
                self.skip_lf = false;
            }
            let end = self.offset + at as u64;
            if line.is_empty() {
                if !self.dispatch_at(end, take) {
                    break;
                }
            } else {
                self.line(line);
            }
        }
        self.offset += at as u64;
        self.buffer = buffer;
        self.buffer.drain(..at);
    }

    /// One field line: `name: value` with one optional blank behind the colon.
    fn line(&mut self, line: &[u8]) {
        let (field, value) = match memchr(b':', line) {
            Some(colon) => {
                let value = line.get(colon + 1..).unwrap_or_default();
                (
                    line.get(..colon).unwrap_or_default(),
                    value.strip_prefix(b" ").unwrap_or(value),
                )
            }
            None => (line, [].as_slice()),
        };
        match field {
            b"data" => {
                if self.has_data {
                    self.data.push('\n');
                }
                self.has_data = true;
                match std::str::from_utf8(value) {
                    Ok(text) => self.data.push_str(text),
                    Err(_) => self.data.push_str(&String::from_utf8_lossy(value)),
                }
            }
            b"event" => {
                self.name = String::from_utf8_lossy(value).into_owned();
                self.has_name = true;
            }
            // Comments, `id`, `retry` and unknown fields mean nothing to us. A raw JSON error line among events is Google's way.
            _ if line.first() == Some(&b'{') || self.looks_like_json() => {
                self.has_data = true;
                self.data.push_str(&String::from_utf8_lossy(line));
            }
            _ => {}
        }
    }

    /// A pretty-printed error document goes on over several lines.
    fn looks_like_json(&self) -> bool {
        self.has_data && !self.has_name && self.data.starts_with('{') && !crate::encode::is_json(&self.data)
    }

    fn dispatch(&mut self, take: &mut dyn FnMut(SseEvent<'_>) -> bool) -> bool {
        self.dispatch_at(self.offset, take)
    }

    fn dispatch_at(&mut self, end: u64, take: &mut dyn FnMut(SseEvent<'_>) -> bool) -> bool {
        let trimmed = self.data.trim();
        // Empty data and comments wrapped into data are signs of life, nothing more.
        let empty = !self.has_data || trimmed.is_empty() || trimmed.starts_with(':');
        let mut go_on = true;
        if !empty {
            let name = self.has_name.then_some(self.name.as_str());
            go_on = take(SseEvent {
                name,
                data: &self.data,
                end,
            });
        }
        self.data.clear();
        self.has_data = false;
        self.has_name = false;
        go_on
    }

    /// Every object directly inside the array is one event; `]` is the end.
    fn elements(&mut self, take: &mut dyn FnMut(SseEvent<'_>) -> bool) {
        let buffer = std::mem::take(&mut self.buffer);
        let mut consumed = 0;
        let (mut depth, mut string, mut escaped, mut start) = (0usize, false, false, None);
        for (at, &byte) in buffer.iter().enumerate() {
            if string {
                string = escaped || byte != b'"';
                escaped = !escaped && byte == b'\\';
                continue;
            }
            match byte {
                b'"' => string = true,
                b'{' => {
                    if depth == 0 {
                        start = Some(at);
                    }
                    depth += 1;
                }
                b'}' if depth > 0 => {
                    depth -= 1;
                    if depth == 0 {
                        let element = buffer.get(start.unwrap_or(at)..=at).unwrap_or_default();
                        consumed = at + 1;
                        let text = String::from_utf8_lossy(element);
                        if !take(SseEvent {
                            name: None,
                            data: &text,
                            end: self.offset + consumed as u64,
                        }) {
                            break;
                        }
                    }
                }
                b']' if depth == 0 => {
                    consumed = at + 1;
                    take(SseEvent {
                        name: None,
                        data: "[DONE]",
                        end: self.offset + consumed as u64,
                    });
                }
                _ => {}
            }
        }
        self.offset += consumed as u64;
        self.buffer = buffer;
        self.buffer.drain(..consumed);
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
