//! The client of one request: its head, its body, and the answer to it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use pingora_core::protocols::http::ServerSession;
use pingora_http::ResponseHeader;
use tokio::time::Instant;

use super::budget::Share;
use super::coding::{CodingError, Decoder};
use super::drain::Drain;
use super::patience::within;
use super::tap::Tap;

/// A client may be silent for this long while it sends its body.
const BODY_IDLE: Duration = Duration::from_secs(30);
/// From then on a body must have come at [`BODY_RATE`].
const BODY_GRACE: Duration = Duration::from_secs(10);
/// Slowest body, bytes per second.
const BODY_RATE: usize = 1024;
/// A client that does not take a byte for this long is gone.
const WRITE_STALL: Duration = Duration::from_secs(60);
/// What Pingora calls malformed chunks.
const BAD_CHUNKS: [&str; 2] = ["InvalidChunk", "InvalidTrailerEnd"];

/// Bytes of a refused body that are read and thrown away.
const MAX_DISCARD: usize = 256 << 20;
/// How long that may take.
const DISCARD_FOR: Duration = Duration::from_secs(10);

/// Why a body could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// Larger than the limit, as sent or decoded.
    TooLarge,
    /// The client was silent for too long, or slower than 1 KiB per second.
    Slow,
    /// The client left.
    Gone,
    /// The chunks are malformed.
    Framing,
    /// The memory for bodies is used up by other requests.
    Full,
    /// An unknown content coding.
    Coding,
    /// The content coding is damaged.
    Corrupt,
}

/// The client left; nothing more can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

/// The client of one request.
pub struct Client {
    session: ServerSession,
    tap: Option<Arc<Tap>>,
    drain: Drain,
    /// What the request's body holds of the memory for bodies, until the request is over.
    share: Share,
    started: bool,
    /// What is left of the body is not worth reading.
    broken: bool,
}

impl Client {
    pub(super) fn new(session: ServerSession, tap: Option<Arc<Tap>>, drain: Drain, share: Share) -> Self {
        Client {
            session,
            tap,
            drain,
            share,
            started: false,
            broken: false,
        }
    }

    /// Where the body ends is not known: it is not read.
    pub(super) fn give_up_body(&mut self) {
        self.broken = true;
    }

    /// What its connection does wrong.
    pub(super) fn fault(&self) -> Option<&'static str> {
        self.tap.as_ref().and_then(|tap| tap.fault())
    }

    pub(super) fn session_ref(&self) -> &ServerSession {
        &self.session
    }

    pub(super) fn into_session(self) -> ServerSession {
        self.session
    }

    /// Request method.
    #[must_use]
    pub fn method(&self) -> &str {
        self.session.req_header().method.as_str()
    }

    /// Raw path, without query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.session.req_header().uri.path()
    }

    /// Raw query.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.session.req_header().uri.query()
    }

    /// Request headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.session.req_header().headers
    }

    /// Where the connection comes from.
    #[must_use]
    pub fn socket_address(&self) -> Option<std::net::SocketAddr> {
        self.session.client_addr()?.as_inet().copied()
    }

    /// The address of the client's machine.
    #[must_use]
    pub fn address(&self) -> Option<std::net::IpAddr> {
        // A dual-stack listener shows IPv4 clients as mapped addresses.
        Some(self.socket_address()?.ip().to_canonical())
    }

    /// The text of a request header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().get(name).and_then(|value| value.to_str().ok())
    }

    /// True once the head of the answer was sent.
    #[must_use]
    pub fn is_started(&self) -> bool {
        self.started
    }

    /// Reads the whole body, decoded. At most `limit` bytes, as sent and as decoded.
    ///
    /// # Errors
    /// See [`BodyError`]; what was not read makes the connection close after the answer.
    pub async fn body(&mut self, limit: usize) -> Result<Bytes, BodyError> {
        let read = self.read_body(limit).await;
        if let Err(error) = read {
            self.session.set_keepalive(None);
            self.broken = matches!(error, BodyError::Slow | BodyError::Framing | BodyError::Gone);
        }
        read
    }

    async fn read_body(&mut self, limit: usize) -> Result<Bytes, BodyError> {
        let length = self.headers().get(CONTENT_LENGTH);
        let length = length.and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
        if length.is_some_and(|length| length > limit) {
            return Err(BodyError::TooLarge);
        }
        let mut decoder = Decoder::new(&self.content_encoding(), limit).map_err(|_| BodyError::Coding)?;
        self.go_on().await?;
        let started = Instant::now();
        let mut body = Vec::new();
        let mut read = 0;
        while let Some(chunk) = self.body_chunk().await? {
            read += chunk.len();
            if read > limit {
                return Err(BodyError::TooLarge);
            }
            // A body of one chunk is passed on without a copy.
            if decoder.is_none() && body.is_empty() && length == Some(read) {
                self.share.grow_to(read).map_err(|_| BodyError::Full)?;
                let more = !self.session.is_body_done() && self.body_chunk().await?.is_some();
                return if more { Err(BodyError::Framing) } else { Ok(chunk) };
            }
            pace(read, started.elapsed())?;
            match &mut decoder {
                Some(decoder) => decoder.push(&chunk, &mut body).map_err(coding_error)?,
                None => {
                    if body.is_empty() {
                        body.reserve_exact(length.unwrap_or_default());
                    }
                    body.extend_from_slice(&chunk);
                }
            }
            self.share.grow_to(body.len()).map_err(|_| BodyError::Full)?;
        }
        if let Some(decoder) = &mut decoder {
            decoder.finish(&mut body).map_err(coding_error)?;
        }
        Ok(body.into())
    }

    /// The content codings, in the order in which they were applied; more than one line is one list (RFC 9110 section 5.3).
    fn content_encoding(&self) -> String {
        let lines = self.headers().get_all(CONTENT_ENCODING).iter();
        let lines: Vec<&str> = lines.map(|value| value.to_str().unwrap_or("?")).collect();
        lines.join(",")
    }

    /// Tells a client that waits for it that its body is wanted.
    async fn go_on(&mut self) -> Result<(), BodyError> {
        let expects = self.headers().get(EXPECT);
        let expects = expects.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        if !expects {
            return Ok(());
        }
        self.session
            .write_continue_response()
            .await
            .map_err(|_| BodyError::Gone)
    }

    async fn body_chunk(&mut self) -> Result<Option<Bytes>, BodyError> {
        let chunk = match within(BODY_IDLE, self.session.read_request_body()).await {
            Some(Ok(chunk)) => chunk,
            Some(Err(error)) if BAD_CHUNKS.contains(&error.etype().as_str()) => {
                return Err(BodyError::Framing);
            }
            Some(Err(_)) => return Err(BodyError::Gone),
            None => return Err(BodyError::Slow),
        };
        if self.fault().is_some() {
            return Err(BodyError::Framing);
        }
        Ok(chunk)
    }

    /// Answers with a whole body.
    ///
    /// # Errors
    /// The client left.
    pub async fn respond(&mut self, status: u16, headers: &[(&str, &str)], body: Bytes) -> Result<(), Gone> {
        let mut map = HeaderMap::with_capacity(headers.len() + 2);
        for (name, value) in headers {
            match (HeaderName::try_from(*name), HeaderValue::try_from(*value)) {
                (Ok(name), Ok(value)) => {
                    map.append(name, value);
                }
                _ => tracing::warn!(header = name, "a response header could not be sent"),
            }
        }
        self.answer(status, map, body).await
    }

    /// Answers with a whole body, under headers that are ready to be sent.
    ///
    /// # Errors
    /// The client left.
    pub async fn answer(&mut self, status: u16, mut headers: HeaderMap, body: Bytes) -> Result<(), Gone> {
        if status != 204 {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        let head = response_head(status, headers)?;
        self.started = true;
        if !self.session.is_body_done() {
            // The rest of an unread request body would be taken for the next request.
            self.session.set_keepalive(None);
        }
        let empty = self.method() == "HEAD" || body.is_empty();
        let write = async {
            self.session
                .write_response_header(Box::new(head))
                .await
                .map_err(|_| Gone)?;
            let body = if empty { Bytes::new() } else { body };
            self.session
                .write_response_body(body, true)
                .await
                .map_err(|_| Gone)
        };
        within(WRITE_STALL, write).await.ok_or(Gone)??;
        if !self.broken && !self.session.is_body_done() {
            Box::pin(self.discard_body()).await;
        }
        Ok(())
    }

    /// Reads on, so that a client that is still sending gets to see the answer instead of a broken connection. Bounded.
    async fn discard_body(&mut self) {
        let drain = async {
            let mut left = MAX_DISCARD;
            while let Ok(Some(chunk)) = self.session.read_request_body().await {
                left = left.saturating_sub(chunk.len());
                if left == 0 {
                    return;
                }
            }
        };
        // A client that is slower than this loses the answer.
        let _ = within(DISCARD_FOR, drain).await;
    }

    /// Sends the head of a streamed answer. It leaves together with the first bytes of the body.
    ///
    /// # Errors
    /// The client left.
    pub async fn start_stream(&mut self, status: u16, mut headers: HeaderMap) -> Result<(), Gone> {
        if !self.session.is_http2() {
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        let head = response_head(status, headers)?;
        self.started = true;
        let write = self.session.write_response_header(Box::new(head));
        within(WRITE_STALL, write).await.ok_or(Gone)?.map_err(|_| Gone)
    }

    /// Sends a piece of a streamed answer and flushes it.
    ///
    /// # Errors
    /// The client left, or did not read for 60 seconds.
    pub async fn send(&mut self, bytes: Bytes) -> Result<(), Gone> {
        if bytes.is_empty() {
            return Ok(());
        }
        let write = self.session.write_response_body(bytes, false);
        within(WRITE_STALL, write).await.ok_or(Gone)?.map_err(|_| Gone)
    }

    /// Ends a streamed answer.
    ///
    /// # Errors
    /// The client left.
    pub async fn finish(&mut self) -> Result<(), Gone> {
        let write = self.session.write_response_body(Bytes::new(), true);
        within(WRITE_STALL, write).await.ok_or(Gone)?.map_err(|_| Gone)
    }

    /// Resolves when the client has left, or when the process must (see [`Client::is_expired`]); never otherwise. Only after the
    /// request body was read.
    pub async fn gone(&mut self) -> Gone {
        tokio::select! {
            gone = left(&mut self.session) => gone,
            () = self.drain.expired() => Gone,
        }
    }

    /// Resolves when the client has left. Only after the request body was read.
    pub async fn left(&mut self) -> Gone {
        left(&mut self.session).await
    }

    /// What says when the process must leave, to be waited for apart from the client.
    #[must_use]
    pub fn drain(&self) -> Drain {
        self.drain.clone()
    }

    /// The process stops and its deadline has passed: the client is told so instead of being left with half an answer.
    #[must_use]
    pub fn is_expired(&self) -> bool {
        self.drain.is_expired()
    }

    /// Closes the connection after this answer.
    pub fn close_after(&mut self) {
        self.session.set_keepalive(None);
    }
}

/// Resolves when the peer of a session has left.
async fn left(session: &mut ServerSession) -> Gone {
    // HTTP/2 says `None` when the stream was closed by the client.
    while let Ok(Some(_)) = session.read_body_or_idle(true).await {}
    Gone
}

/// A body must come at [`BODY_RATE`].
fn pace(read: usize, elapsed: Duration) -> Result<(), BodyError> {
    let late = elapsed.saturating_sub(BODY_GRACE);
    if read < usize::try_from(late.as_millis()).unwrap_or(usize::MAX) / 1000 * BODY_RATE {
        return Err(BodyError::Slow);
    }
    Ok(())
}

fn coding_error(error: CodingError) -> BodyError {
    match error {
        CodingError::TooLarge => BodyError::TooLarge,
        CodingError::Corrupt => BodyError::Corrupt,
        CodingError::Unsupported => BodyError::Coding,
    }
}

/// Pingora's head of an answer, made of ready names: its own way from text keeps a second map, for their spelling.
fn response_head(status: u16, headers: HeaderMap) -> Result<ResponseHeader, Gone> {
    let (mut parts, ()) = http::Response::new(()).into_parts();
    parts.status = StatusCode::from_u16(status).map_err(|_| Gone)?;
    parts.headers = headers;
    Ok(parts.into())
}
