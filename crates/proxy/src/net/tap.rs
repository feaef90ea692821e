//! Watches what a client sends over HTTP/1, byte by byte, for what Pingora's reader lets pass: bare line feeds in heads and chunk
//! lines, and when a head began. It changes nothing; what it finds, the gate and the body reader ask for.

use std::future::Future as _;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};

/// A request head must be complete so long after its first byte; the first one of a connection, so long after the accept.
pub const HEADER_DEADLINE: Duration = Duration::from_secs(10);
/// An idle connection is kept for this long.
pub const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// Longest chunk line or trailer line, bytes (Pingora's own limit).
const MAX_LINE: usize = 8 * 1024;
/// Digits of a chunk size: 15 hex digits are an exbibyte.
const MAX_DIGITS: usize = 15;

const BARE_LF: &str = "a line of the request head ends without a carriage return";
const BAD_CHUNK: &str = "the chunked request body is malformed";

/// How the body of a request is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// By content-length, bytes; zero without a body.
    Length(u64),
    /// By chunks.
    Chunked,
}

/// One HTTP/1 connection as seen on the wire.
#[derive(Debug)]
pub struct Tap {
    state: Mutex<State>,
    accepted: Instant,
}

#[derive(Debug)]
struct State {
    mode: Mode,
    /// Bytes that came before it was known what they are.
    pending: Vec<u8>,
    fault: Option<&'static str>,
    /// First byte of the head.
    head: Option<Instant>,
}

#[derive(Debug)]
enum Mode {
    Head(Head),
    /// Behind a head or a body: what follows is not known yet.
    Between,
    Length(u64),
    Chunked(Chunk),
    /// Not HTTP/1, or at fault already.
    Blind,
}

#[derive(Debug, Default)]
struct Head {
    line: usize,
    lines: usize,
    carriage: bool,
}

#[derive(Clone, Copy, Debug)]
enum Chunk {
    Size {
        value: u64,
        digits: usize,
    },
    Extension {
        value: u64,
        length: usize,
    },
    SizeLf(u64),
    Data(u64),
    DataCr,
    DataLf,
    /// A trailer line, so long already.
    Trailer(usize),
    TrailerLf(usize),
    End,
}

impl Default for Tap {
    fn default() -> Self {
        Tap {
            state: Mutex::new(State {
                mode: Mode::Head(Head::default()),
                pending: Vec::new(),
                fault: None,
                head: None,
            }),
            accepted: Instant::now(),
        }
    }
}

impl Tap {
    /// When the first head of the connection must be complete.
    #[must_use]
    pub fn first_deadline(&self) -> Instant {
        self.accepted + HEADER_DEADLINE
    }

    /// The connection speaks something else than HTTP/1.
    pub fn look_away(&self) {
        self.state.lock().mode = Mode::Blind;
    }

    /// Sees what was just read.
    pub fn see(&self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let mut state = self.state.lock();
        if matches!(state.mode, Mode::Head(_)) && state.head.is_none() {
            state.head = Some(Instant::now());
        }
        state.see(bytes);
    }

    /// A request head comes next.
    pub fn expect_head(&self) {
        let mut state = self.state.lock();
        if matches!(state.mode, Mode::Blind) {
            return;
        }
        state.mode = Mode::Head(Head::default());
        let pending = std::mem::take(&mut state.pending);
        state.head = (!pending.is_empty()).then(Instant::now);
        state.see(&pending);
    }

    /// The head was read; its body is framed like this.
    pub fn expect_body(&self, framing: Framing) {
        let mut state = self.state.lock();
        match state.mode {
            Mode::Between => {}
            Mode::Blind => return,
            // The reader found the end of the head where it is not.
            _ => {
                state.fail(BARE_LF);
                return;
            }
        }
        state.mode = match framing {
            Framing::Length(0) => Mode::Between,
            Framing::Length(length) => Mode::Length(length),
            Framing::Chunked => Mode::Chunked(Chunk::START),
        };
        let pending = std::mem::take(&mut state.pending);
        state.see(&pending);
    }

    /// What is wrong with the request so far.
    #[must_use]
    pub fn fault(&self) -> Option<&'static str> {
        self.state.lock().fault
    }

    /// True once the first byte of the expected head is there.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.state.lock().head.is_some()
    }

    /// Resolves when the expected head is overdue. To be polled in the task that reads, after the read: the first byte wakes nobody
    /// else.
    pub async fn overdue(&self, kept: bool) {
        let first = if kept {
            Instant::now() + KEEP_ALIVE
        } else {
            self.first_deadline()
        };
        let mut sleep = std::pin::pin!(sleep_until(first));
        let mut begun = !kept;
        std::future::poll_fn(|cx| {
            if let Some(at) = self.state.lock().head.filter(|_| !begun) {
                begun = true;
                sleep.as_mut().reset(at + HEADER_DEADLINE);
            }
            sleep.as_mut().poll(cx)
        })
        .await;
    }
}

impl State {
    fn see(&mut self, mut bytes: &[u8]) {
        while let Some((&byte, rest)) = bytes.split_first() {
            match &mut self.mode {
                Mode::Blind => return,
                Mode::Between => {
                    self.pending.extend_from_slice(bytes);
                    return;
                }
                Mode::Head(head) => match head.see(bytes) {
                    Ok(Some(behind)) => {
                        self.mode = Mode::Between;
                        bytes = behind;
                    }
                    Ok(None) => return,
                    Err(fault) => return self.fail(fault),
                },
                Mode::Length(left) => {
                    bytes = skip(bytes, left);
                    if *left == 0 {
                        self.mode = Mode::Between;
                    }
                }
                Mode::Chunked(Chunk::Data(left)) => {
                    bytes = skip(bytes, left);
                    if *left == 0 {
                        self.mode = Mode::Chunked(Chunk::DataCr);
                    }
                }
                Mode::Chunked(chunk) => {
                    let Some(next) = chunk.next(byte) else {
                        return self.fail(BAD_CHUNK);
                    };
                    self.mode = match next {
                        Chunk::End => Mode::Between,
                        next => Mode::Chunked(next),
                    };
                    bytes = rest;
                }
            }
        }
    }

    fn fail(&mut self, fault: &'static str) {
        self.fault = self.fault.or(Some(fault));
        self.mode = Mode::Blind;
        self.pending = Vec::new();
    }
}

/// What is behind the next `left` bytes.
fn skip<'b>(bytes: &'b [u8], left: &mut u64) -> &'b [u8] {
    let here = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
    *left -= here as u64;
    bytes.get(here..).unwrap_or_default()
}

impl Head {
    /// Goes on until the empty line; gives what stands behind it.
    fn see<'b>(&mut self, bytes: &'b [u8]) -> Result<Option<&'b [u8]>, &'static str> {
        let mut from = 0;
        while let Some(at) = bytes.get(from..).and_then(|rest| memchr::memchr(b'\n', rest)) {
            let line = bytes.get(from..from + at).unwrap_or_default();
            let carriage = line.last().map_or(self.carriage, |last| *last == b'\r');
            if !carriage {
                return Err(BARE_LF);
            }
            let length = self.line + line.len() - 1;
            from += at + 1;
            self.line = 0;
            self.carriage = false;
            // Empty lines in front of the request line are tolerated (RFC 9112 section 2.2).
            if length == 0 && self.lines > 0 {
                return Ok(bytes.get(from..));
            }
            self.lines += usize::from(length > 0);
        }
        let rest = bytes.get(from..).unwrap_or_default();
        self.line += rest.len();
        self.carriage = rest.last().map_or(self.carriage, |last| *last == b'\r');
        Ok(None)
    }
}

impl Chunk {
    const START: Chunk = Chunk::Size { value: 0, digits: 0 };

    /// The state behind a byte; `None` if the byte is wrong here.
    fn next(self, byte: u8) -> Option<Chunk> {
        let next = match (self, byte) {
            (Chunk::Size { value, digits: 1.. } | Chunk::Extension { value, .. }, b'\r') => {
                Chunk::SizeLf(value)
            }
            (Chunk::Size { value, digits: 1.. }, b';' | b' ' | b'\t') => {
                Chunk::Extension { value, length: 0 }
            }
            (
                Chunk::Size {
                    value,
                    digits: 0..MAX_DIGITS,
                },
                _,
            ) => Chunk::Size {
                value: value * 16 + u64::from(char::from(byte).to_digit(16)?),
                digits: self.digits() + 1,
            },
            (
                Chunk::Extension {
                    value,
                    length: 0..MAX_LINE,
                },
                b' '..=b'~' | b'\t' | 0x80..,
            ) => Chunk::Extension {
                value,
                length: self.digits() + 1,
            },
            (Chunk::SizeLf(0), b'\n') => Chunk::Trailer(0),
            (Chunk::SizeLf(value), b'\n') => Chunk::Data(value),
            (Chunk::DataCr, b'\r') => Chunk::DataLf,
            (Chunk::DataLf, b'\n') => Chunk::START,
            (Chunk::Trailer(length), b'\r') => Chunk::TrailerLf(length),
            (Chunk::Trailer(length @ 0..MAX_LINE), b' '..=b'~' | b'\t' | 0x80..) => {
                Chunk::Trailer(length + 1)
            }
            (Chunk::TrailerLf(0), b'\n') => Chunk::End,
            (Chunk::TrailerLf(_), b'\n') => Chunk::Trailer(0),
            _ => return None,
        };
        Some(next)
    }

    /// Length of the line so far.
    fn digits(self) -> usize {
        match self {
            Chunk::Size { digits, .. } => digits,
            Chunk::Extension { length, .. } => length,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both in one piece and byte by byte, since reads end anywhere.
    fn check(parts: &[(&str, Framing)], wanted: Option<&str>) {
        for step in [usize::MAX, 1] {
            let tap = Tap::default();
            let all: String = parts.iter().map(|(text, _)| *text).collect();
            let mut fault = None;
            for piece in all.as_bytes().chunks(step.min(all.len())) {
                tap.see(piece);
            }
            for (at, (_, framing)) in parts.iter().enumerate() {
                if at > 0 {
                    tap.expect_head();
                }
                tap.expect_body(*framing);
                fault = fault.or(tap.fault());
            }
            assert_eq!(fault, wanted, "{parts:?} in pieces of {step}");
        }
    }

    #[tokio::test]
    async fn well_formed_requests_behind_one_another_pass() {
        let chunked = "POST / HTTP/1.1\r\nHost: a\r\n\r\n5;a=\"b\"\r\nhello\r\nA \r\n0123\n56789\r\n0\r\nX-T: 1\r\n\r\n";
        let length = "\r\nPOST / HTTP/1.1\r\nHost: a\r\n\r\nhe\nlo";
        let none = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        check(
            &[
                (chunked, Framing::Chunked),
                (length, Framing::Length(5)),
                (none, Framing::Length(0)),
                (chunked, Framing::Chunked),
            ],
            None,
        );
    }

    #[tokio::test]
    async fn bare_line_feeds_in_a_head_are_found() {
        for head in [
            "POST / HTTP/1.1\nHost: a\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\n\n",
            "\nPOST / HTTP/1.1\r\nHost: a\r\n\r\n",
        ] {
            check(&[(head, Framing::Length(0))], Some(BARE_LF));
        }
    }

    #[tokio::test]
    async fn malformed_chunks_are_found() {
        for body in [
            "zz\r\n",
            "-5\r\n",
            "0x4\r\n",
            " 5\r\nhello\r\n0\r\n\r\n",
            "5\nhello\n0\n\n",
            "5;a\nb\r\nhello\r\n0\r\n\r\n",
            "5\r\nhello0\r\n\r\n",
            "5\r\nhelloXX\r\n0\r\n\r\n",
            "fffffffffffffffff\r\n",
            "\r\n",
            "5\r\nhello\r\n0\r\n\n",
            "5\r\nhello\r\n0\r\nX: 1\n\r\n",
        ] {
            let text = format!("POST / HTTP/1.1\r\nHost: a\r\n\r\n{body}");
            check(&[(&text, Framing::Chunked)], Some(BAD_CHUNK));
        }
    }

    #[tokio::test]
    async fn a_fault_of_the_next_request_is_not_blamed_on_this_one() {
        let tap = Tap::default();
        tap.see(b"POST / HTTP/1.1\r\nHost: a\r\n\r\n5\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\nHost: a\r\n\r\n");
        tap.expect_body(Framing::Chunked);
        assert_eq!(tap.fault(), None);
        tap.expect_head();
        assert_eq!(tap.fault(), Some(BARE_LF));
    }
}
