//! Reads an HTTP/1 answer: the head, then the body piece by piece, without a copy where it can be had.

use std::io;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use httparse::Status;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::head::{Framing, Head, Malformed, take};

/// Room for one read, bytes: at first for the head and the body of an ordinary answer or a burst of events; where it is used up, for
/// more.
const READ: usize = 8 * 1024;
const MORE: usize = 64 * 1024;
/// Largest head, bytes (Pingora's number).
const MAX_HEAD: usize = 1 << 20;
/// Most trailers, bytes.
const MAX_TRAILERS: usize = 64 * 1024;
/// Longest line that states the size of a chunk, bytes.
const MAX_SIZE_LINE: usize = 8 * 1024;

/// Why no head came.
#[derive(Debug)]
pub(in crate::net) enum NoHead {
    /// It is no HTTP.
    Malformed,
    /// The connection ended. Nothing of an answer had come, and the end is the kernel's word: the upstream may not even have seen
    /// the request.
    Untouched,
    /// The connection ended.
    Broken,
}

/// An answer whose head was read.
#[derive(Debug)]
pub(in crate::net) struct Answer<S> {
    stream: S,
    /// Read, but not taken yet.
    buffer: BytesMut,
    /// A read has filled the room it had.
    much: bool,
    at: Place,
    keep: bool,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// So many bytes of the body.
    Body(u64),
    /// The size of a chunk.
    Size,
    /// So many bytes of a chunk.
    Chunk(u64),
    /// The line end behind a chunk.
    ChunkEnd,
    /// Trailers, up to an empty line; so many bytes of them were there already.
    Trailers(usize),
    /// The body, up to the end of the connection.
    UntilClose,
    /// Nothing.
    Done,
}

impl<S: AsyncRead + Unpin> Answer<S> {
    /// Reads up to the end of the head, informational heads skipped. `early`: what was read of it before.
    pub(in crate::net) async fn begin(mut stream: S, early: &[u8]) -> Result<(Head, Self), NoHead> {
        let mut buffer = BytesMut::from(early);
        let mut informed = false;
        loop {
            if !buffer.is_empty() {
                match take(&mut buffer) {
                    // Nobody has asked for another protocol.
                    Ok(Some(Head { status: 101, .. })) => return Err(NoHead::Malformed),
                    Ok(Some(Head { status: ..200, .. })) => {
                        informed = true;
                        continue;
                    }
                    Ok(Some(head)) => {
                        let (at, keep) = (Place::of(head.framing), head.keep);
                        let answer = Answer {
                            stream,
                            much: false,
                            buffer,
                            at,
                            keep,
                        };
                        return Ok((head, answer));
                    }
                    Ok(None) if buffer.len() <= MAX_HEAD => {}
                    Ok(None) | Err(Malformed) => return Err(NoHead::Malformed),
                }
            }
            room(&mut buffer, false);
            let read = stream.read_buf(&mut buffer).await;
            let begun = informed || !buffer.is_empty();
            match read {
                Ok(1..) => {}
                Ok(0) if !begun => return Err(NoHead::Untouched),
                // What TLS complains about is no sign of a connection that was closed while it was idle.
                Err(error) if !begun && error.raw_os_error().is_some() => return Err(NoHead::Untouched),
                Ok(0) | Err(_) => return Err(NoHead::Broken),
            }
        }
    }

    /// The next piece of the body, as much as is there; `None` at its end.
    pub(in crate::net) async fn piece(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if let Some(piece) = self.buffered()? {
                return Ok(Some(piece));
            }
            if self.is_done() {
                return Ok(None);
            }
            room(&mut self.buffer, self.much);
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                self.closed()?;
            }
            self.much |= self.buffer.len() == self.buffer.capacity();
        }
    }

    /// Appends the next piece to `all`, straight from the socket where nothing stands between; false at the end.
    pub(in crate::net) async fn append(&mut self, all: &mut Vec<u8>) -> io::Result<bool> {
        let Place::Body(left @ 1..) = self.at else {
            let piece = self.piece().await?;
            all.extend_from_slice(piece.as_deref().unwrap_or_default());
            return Ok(piece.is_some());
        };
        if let Some(piece) = self.buffered()? {
            all.extend_from_slice(&piece);
            return Ok(true);
        }
        let mut rest = all.limit(usize::try_from(left).unwrap_or(usize::MAX));
        let read = self.stream.read_buf(&mut rest).await?;
        if read == 0 {
            self.closed()?;
        }
        self.at = Place::Body(left - read as u64);
        Ok(true)
    }
}

impl<S> Answer<S> {
    /// True behind the last byte of the body.
    pub(in crate::net) fn is_done(&self) -> bool {
        matches!(self.at, Place::Done | Place::Body(0))
    }

    /// The connection, if it may serve another request.
    pub(in crate::net) fn into_idle(self) -> Option<S> {
        // More than the answer: the next request would be answered with it.
        let reusable = self.keep && self.is_done() && self.buffer.is_empty();
        reusable.then_some(self.stream)
    }

    /// The connection has ended.
    fn closed(&mut self) -> io::Result<()> {
        if self.at != Place::UntilClose {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at = Place::Done;
        Ok(())
    }

    /// The next piece of what was read already.
    fn buffered(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            let left = match self.at {
                Place::Done | Place::Body(0) => return Ok(None),
                Place::Body(left) | Place::Chunk(left) => left,
                Place::UntilClose => u64::MAX,
                Place::Size | Place::ChunkEnd | Place::Trailers(_) => {
                    if self.line()? {
                        continue;
                    }
                    return Ok(None);
                }
            };
            if self.buffer.is_empty() {
                return Ok(None);
            }
            let here = usize::try_from(left).unwrap_or(usize::MAX).min(self.buffer.len());
            let rest = left - here as u64;
            self.at = match self.at {
                Place::Body(_) => Place::Body(rest),
                Place::Chunk(_) if rest == 0 => Place::ChunkEnd,
                Place::Chunk(_) => Place::Chunk(rest),
                other => other,
            };
            return Ok(Some(self.buffer.split_to(here).freeze()));
        }
    }

    /// Steps over what stands between chunks; false if more must be read first.
    fn line(&mut self) -> io::Result<bool> {
        let bad = || io::Error::from(io::ErrorKind::InvalidData);
        match self.at {
            Place::Size => match httparse::parse_chunk_size(&self.buffer) {
                Ok(Status::Complete((length, size))) => {
                    self.buffer.advance(length);
                    self.at = if size == 0 {
                        Place::Trailers(0)
                    } else {
                        Place::Chunk(size)
                    };
                    Ok(true)
                }
                Ok(Status::Partial) if self.buffer.len() <= MAX_SIZE_LINE => Ok(false),
                Ok(Status::Partial) | Err(_) => Err(bad()),
            },
            Place::ChunkEnd => match self.buffer.first_chunk() {
                Some(b"\r\n") => {
                    self.buffer.advance(2);
                    self.at = Place::Size;
                    Ok(true)
                }
                Some(_) => Err(bad()),
                None => Ok(false),
            },
            // Their text is of no use here; an empty line ends them.
            Place::Trailers(seen) if seen + self.buffer.len() <= MAX_TRAILERS => {
                let Some(at) = memchr::memchr(b'\n', &self.buffer) else {
                    return Ok(false);
                };
                let line = self.buffer.split_to(at + 1);
                self.at = match &*line {
                    b"\r\n" | b"\n" => Place::Done,
                    line => Place::Trailers(seen + line.len()),
                };
                Ok(true)
            }
            _ => Err(bad()),
        }
    }
}

/// Makes room for a read, if there is not enough.
fn room(buffer: &mut BytesMut, much: bool) {
    let wanted = if much { MORE } else { READ };
    if buffer.capacity() - buffer.len() < wanted / 2 {
        buffer.reserve(wanted);
    }
}

impl Place {
    fn of(framing: Framing) -> Self {
        match framing {
            Framing::Length(length) => Place::Body(length),
            Framing::Chunked => Place::Size,
            Framing::UntilClose => Place::UntilClose,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::io::ReadBuf;

    use super::*;

    /// Gives pieces, then its end: nothing, or an error of the operating system.
    #[derive(Debug)]
    struct Feed(VecDeque<u8>, usize, Option<i32>);

    impl AsyncRead for Feed {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if self.0.is_empty()
                && let Some(code) = self.2
            {
                return Poll::Ready(Err(io::Error::from_raw_os_error(code)));
            }
            let here = self.1.min(buf.remaining()).min(self.0.len());
            for byte in self.0.drain(..here).collect::<Vec<u8>>() {
                buf.put_slice(&[byte]);
            }
            Poll::Ready(Ok(()))
        }
    }

    fn feed(text: &str, step: usize) -> Feed {
        Feed(text.bytes().collect(), step, None)
    }

    /// The body and whether the connection may serve another request; read in pieces, and whole.
    async fn read(text: &str, step: usize, whole: bool) -> io::Result<(String, bool)> {
        let (_, mut answer) = Answer::begin(feed(text, step), b"").await.unwrap();
        let mut body = Vec::new();
        if whole {
            while answer.append(&mut body).await? {}
        } else {
            while let Some(piece) = answer.piece().await? {
                assert!(!piece.is_empty(), "an empty piece is no piece");
                body.extend_from_slice(&piece);
            }
        }
        assert!(answer.is_done());
        Ok((String::from_utf8(body).unwrap(), answer.into_idle().is_some()))
    }

    async fn each(text: &str, check: impl Fn(io::Result<(String, bool)>)) {
        for step in [1, 2, 7, 4096, usize::MAX] {
            for whole in [false, true] {
                check(read(text, step, whole).await);
            }
        }
    }

    #[tokio::test]
    async fn bodies_come_whole_however_they_arrive() {
        let long = "x".repeat(50_000);
        let chunked = format!(
            "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n1;a=\"b\"\r\n \r\nC350\r\n{long}\r\n0\r\nx-t: 1\r\n\r\n"
        );
        for (rest, body, reusable) in [
            ("content-length: 5\r\n\r\nhello", "hello", true),
            ("content-length: 0\r\n\r\n", "", true),
            (&*format!("content-length: 50000\r\n\r\n{long}"), &*long, true),
            (&*chunked, &*format!("hello {long}"), true),
            ("transfer-encoding: chunked\r\n\r\n0\r\n\r\n", "", true),
            ("connection: close\r\ncontent-length: 2\r\n\r\nhi", "hi", false),
            ("x: y\r\n\r\nto the end", "to the end", false),
        ] {
            let text = format!("HTTP/1.1 200 OK\r\n{rest}");
            each(&text, |read| {
                assert_eq!(read.unwrap(), (body.to_owned(), reusable), "{rest}")
            })
            .await;
        }
    }

    #[tokio::test]
    async fn broken_bodies_are_errors() {
        for rest in [
            "content-length: 5\r\n\r\nhell",
            "transfer-encoding: chunked\r\n\r\n5\r\nhell",
            "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
            "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
            "transfer-encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n",
            "transfer-encoding: chunked\r\n\r\n5 x\r\nhello\r\n0\r\n\r\n",
            "transfer-encoding: chunked\r\n\r\nzz\r\n\r\n",
            "transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
            "transfer-encoding: chunked\r\n\r\n",
        ] {
            let text = format!("HTTP/1.1 200 OK\r\n{rest}");
            each(&text, |read| assert!(read.is_err(), "{rest}")).await;
        }
        let trailers = format!("0\r\n{}", "a: b\r\n".repeat(MAX_TRAILERS));
        let text = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{trailers}");
        assert!(read(&text, usize::MAX, false).await.is_err());
    }

    #[tokio::test]
    async fn a_connection_with_more_on_it_than_its_answer_is_not_used_again() {
        for rest in [
            "content-length: 2\r\n\r\nhi!",
            "transfer-encoding: chunked\r\n\r\n0\r\n\r\nHTTP/1.1",
        ] {
            let text = format!("HTTP/1.1 200 OK\r\n{rest}");
            let (_, reusable) = read(&text, usize::MAX, false).await.unwrap();
            assert!(!reusable, "{rest}");
        }
        let (_, answer) = Answer::begin(feed("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n", 9), b"")
            .await
            .unwrap();
        assert!(answer.into_idle().is_none(), "its body was not read");
    }

    #[tokio::test]
    async fn heads_before_the_answer_are_skipped_and_early_bytes_belong_to_it() {
        let text =
            "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";
        for early in [0, 20, 60, text.len()] {
            let (early, rest) = text.split_at(early);
            let (head, mut answer) = Answer::begin(feed(rest, 3), early.as_bytes()).await.unwrap();
            assert_eq!((head.status, head.headers.len()), (200, 1));
            let mut body = Vec::new();
            while answer.append(&mut body).await.unwrap() {}
            assert_eq!(body, b"hi");
        }
        let upgrade = Answer::begin(feed("HTTP/1.1 101 Switching Protocols\r\n\r\n", 9), b"").await;
        assert!(matches!(upgrade, Err(NoHead::Malformed)));
    }

    #[tokio::test]
    async fn only_a_connection_that_gave_nothing_is_untouched() {
        let none = |text: &str, code| Feed(text.bytes().collect(), 9, code);
        let reset = Some(104);
        for (feed, untouched) in [
            (none("", None), true),
            (none("", reset), true),
            (none("H", None), false),
            (none("HTTP/1.1 200 OK\r\n", reset), false),
            (none("HTTP/1.1 100 Continue\r\n\r\n", None), false),
        ] {
            let text = format!("{feed:?}");
            let end = Answer::begin(feed, b"").await.unwrap_err();
            assert_eq!(matches!(end, NoHead::Untouched), untouched, "{text}");
            assert!(!matches!(end, NoHead::Malformed), "{text}");
        }
        assert!(matches!(
            Answer::begin(none("", None), b"HTTP").await,
            Err(NoHead::Broken)
        ));
    }
}
