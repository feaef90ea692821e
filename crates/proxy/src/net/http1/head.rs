//! The head of an HTTP/1 answer, and what it says about the body behind it (RFC 9112 sections 4 to 6). Pure.

use std::mem::MaybeUninit;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue};
use httparse::{ParserConfig, Response, Status};

/// Headers of one answer (Pingora's number).
const MAX_HEADERS: usize = 256;

/// The head of an answer.
#[derive(Debug, PartialEq)]
pub(in crate::net) struct Head {
    pub(in crate::net) status: u16,
    pub(in crate::net) headers: HeaderMap,
    pub(super) framing: Framing,
    /// The connection may serve another request behind the body.
    pub(super) keep: bool,
}

/// Where the body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// Behind so many bytes.
    Length(u64),
    /// Where its chunks say.
    Chunked,
    /// Where the connection does.
    UntilClose,
}

/// What came is not HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Takes the head off the front of what was read; `None` if its end is not there yet.
pub(super) fn take(buffer: &mut BytesMut) -> Result<Option<Head>, Malformed> {
    let Some(Found {
        status,
        http11,
        length,
        fields,
    }) = parse(buffer)?
    else {
        return Ok(None);
    };
    let head = buffer.split_to(length).freeze();
    let mut headers = HeaderMap::with_capacity(fields.len());
    for (name, at) in fields {
        let value = value(head.slice(at)).ok_or(Malformed)?;
        headers.try_append(name, value).map_err(|_| Malformed)?;
    }
    let coded = headers.contains_key(TRANSFER_ENCODING);
    if coded {
        // It overrides a length (RFC 9112 section 6.3), which nobody behind us may see then.
        headers.remove(CONTENT_LENGTH);
    }
    let framing = match length_of(&headers)? {
        _ if matches!(status, 204 | 304) => Framing::Length(0),
        _ if coded && is_chunked(&headers) => Framing::Chunked,
        Some(length) => Framing::Length(length),
        None => Framing::UntilClose,
    };
    // HTTP/1.0 has no codings: whoever sends them is not to be trusted with where they end.
    let keep = framing != Framing::UntilClose && keeps(&headers).unwrap_or(http11) && (http11 || !coded);
    Ok(Some(Head {
        status,
        headers,
        framing,
        keep,
    }))
}

/// A head in the buffer.
struct Found {
    status: u16,
    http11: bool,
    length: usize,
    fields: Vec<(HeaderName, Range<usize>)>,
}

fn parse(buffer: &[u8]) -> Result<Option<Found>, Malformed> {
    let mut room = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut response = Response::new(&mut []);
    let mut config = ParserConfig::default();
    config.allow_spaces_after_header_name_in_responses(true);
    config.allow_obsolete_multiline_headers_in_responses(true);
    let parsed = config.parse_response_with_uninit_headers(&mut response, buffer, &mut room);
    let Status::Complete(length) = parsed.map_err(|_| Malformed)? else {
        return Ok(None);
    };
    let start = buffer.as_ptr().addr();
    let mut fields = Vec::with_capacity(response.headers.len());
    for field in &*response.headers {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Malformed)?;
        let at = field.value.as_ptr().addr().saturating_sub(start);
        fields.push((name, at..at + field.value.len()));
    }
    Ok(Some(Found {
        status: response.code.ok_or(Malformed)?,
        http11: response.version == Some(1),
        length,
        fields,
    }))
}

/// The value of a field; folded lines are unfolded, and what no value may hold becomes a blank (RFC 9110 section 5.5).
fn value(raw: Bytes) -> Option<HeaderValue> {
    if let Ok(value) = HeaderValue::from_maybe_shared(raw.clone()) {
        return Some(value);
    }
    let lines = raw.split(|byte| matches!(byte, b'\r' | b'\n'));
    let lines: Vec<&[u8]> = lines
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty())
        .collect();
    let mut text = lines.join(&b' ');
    for byte in &mut text {
        if (*byte < 0x20 && *byte != b'\t') || *byte == 0x7f {
            *byte = b' ';
        }
    }
    HeaderValue::try_from(text).ok()
}

/// The one length that the head states, however often; two different ones are an attack or a fault.
fn length_of(headers: &HeaderMap) -> Result<Option<u64>, Malformed> {
    let mut found = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        for text in value.as_bytes().split(|byte| *byte == b',') {
            let digits = text.trim_ascii();
            if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
                return Err(Malformed);
            }
            let text = std::str::from_utf8(digits).map_err(|_| Malformed)?;
            let length: u64 = text.parse().map_err(|_| Malformed)?;
            if found.is_some_and(|before| before != length) {
                return Err(Malformed);
            }
            found = Some(length);
        }
    }
    Ok(found)
}

/// Is `chunked` the last of the codings?
fn is_chunked(headers: &HeaderMap) -> bool {
    let last = headers.get_all(TRANSFER_ENCODING).iter().next_back();
    let last = last.and_then(|value| value.as_bytes().rsplit(|byte| *byte == b',').next());
    last.is_some_and(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"chunked"))
}

/// What `connection` says about another request; `close` counts more.
fn keeps(headers: &HeaderMap) -> Option<bool> {
    let values = headers.get_all(CONNECTION).iter();
    let words = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let mut keeps = None;
    for word in words.map(<[u8]>::trim_ascii) {
        if word.eq_ignore_ascii_case(b"close") {
            return Some(false);
        }
        if word.eq_ignore_ascii_case(b"keep-alive") {
            keeps = Some(true);
        }
    }
    keeps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Result<Option<Head>, Malformed> {
        take(&mut BytesMut::from(text.as_bytes()))
    }

    fn framed(text: &str) -> (Framing, bool) {
        let head = head(text).unwrap().unwrap();
        (head.framing, head.keep)
    }

    #[test]
    fn a_head_is_taken_once_it_is_complete_and_leaves_the_rest() {
        let text = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nX-A: b\r\nx-a:  c \r\n\r\nhello";
        let mut buffer = BytesMut::new();
        for byte in text.trim_end_matches("\nhello").bytes() {
            buffer.extend_from_slice(&[byte]);
            assert_eq!(take(&mut buffer), Ok(None));
        }
        buffer.extend_from_slice(b"\nhello");
        let head = take(&mut buffer).unwrap().unwrap();
        assert_eq!(
            (head.status, head.framing, head.keep),
            (200, Framing::Length(5), true)
        );
        let values: Vec<_> = head.headers.get_all("x-a").iter().collect();
        assert_eq!(values, ["b", "c"]);
        assert_eq!(&buffer[..], b"hello");
    }

    #[test]
    fn bodies_end_where_the_standard_says() {
        use Framing::{Chunked, Length, UntilClose};
        for (rest, wanted) in [
            ("1.1 200 OK\r\ncontent-length: 0", (Length(0), true)),
            ("1.1 200 OK\r\ncontent-length: 7, 7", (Length(7), true)),
            (
                "1.1 200 OK\r\ncontent-length: 7\r\ncontent-length: 7",
                (Length(7), true),
            ),
            ("1.1 200 OK\r\ntransfer-encoding: chunked", (Chunked, true)),
            ("1.1 200 OK\r\ntransfer-encoding: gzip, Chunked", (Chunked, true)),
            (
                "1.1 200 OK\r\ntransfer-encoding: gzip\r\ntransfer-encoding: chunked",
                (Chunked, true),
            ),
            (
                "1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 3",
                (Chunked, true),
            ),
            (
                "1.1 200 OK\r\ntransfer-encoding: chunked, gzip",
                (UntilClose, false),
            ),
            (
                "1.1 200 OK\r\ntransfer-encoding: gzip\r\ncontent-length: 3",
                (UntilClose, false),
            ),
            (
                "1.0 200 OK\r\ntransfer-encoding: chunked\r\nconnection: keep-alive",
                (Chunked, false),
            ),
            ("1.1 200 OK\r\nx: y", (UntilClose, false)),
            ("1.1 204 No Content\r\nx: y", (Length(0), true)),
            ("1.1 304 Not Modified\r\ncontent-length: 9", (Length(0), true)),
            (
                "1.1 200 OK\r\ncontent-length: 1\r\nconnection: close",
                (Length(1), false),
            ),
            (
                "1.1 200 OK\r\ncontent-length: 1\r\nconnection: keep-alive, Close",
                (Length(1), false),
            ),
            (
                "1.1 200 OK\r\ncontent-length: 1\r\nconnection: keep-alive\r\nconnection: close",
                (Length(1), false),
            ),
            ("1.0 200 OK\r\ncontent-length: 1", (Length(1), false)),
            (
                "1.0 200 OK\r\ncontent-length: 1\r\nconnection: Keep-Alive",
                (Length(1), true),
            ),
        ] {
            assert_eq!(framed(&format!("HTTP/{rest}\r\n\r\n")), wanted, "{rest}");
        }
        let both = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n";
        assert!(!head(both).unwrap().unwrap().headers.contains_key(CONTENT_LENGTH));
    }

    #[test]
    fn what_is_ambiguous_or_no_http_is_refused() {
        for text in [
            "SSH-2.0-OpenSSH_9.6\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 5, 6\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: +5\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length:\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n",
            "HTTP/1.1 200 OK\r\nx y: z\r\n\r\n",
        ] {
            assert_eq!(head(text), Err(Malformed), "{text}");
        }
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(MAX_HEADERS + 1));
        assert_eq!(head(&many), Err(Malformed));
    }

    #[test]
    fn folded_values_are_unfolded() {
        let text = "HTTP/1.1 200 OK\r\nx-a: one\r\n  two\r\n\tthree\r\nx-b : c\r\ncontent-length: 0\r\n\r\n";
        let head = head(text).unwrap().unwrap();
        assert_eq!(head.headers["x-a"], "one two three");
        assert_eq!(head.headers["x-b"], "c");
    }
}
