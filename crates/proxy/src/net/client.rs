//! The client of one request: its head, its body, and the answer to it.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use pingora_core::protocols::http::ServerSession;
use pingora_http::ResponseHeader;
use tokio::time::timeout;

use super::coding::{CodingError, Decoder};

/// A client may be silent for this long while it sends its body.
const BODY_IDLE: Duration = Duration::from_secs(30);
/// A client that does not take a byte for this long is gone.
const WRITE_STALL: Duration = Duration::from_secs(60);

/// Bytes of a refused body that are read and thrown away.
const MAX_DISCARD: usize = 256 << 20;
/// How long that may take.
const DISCARD_FOR: Duration = Duration::from_secs(10);

/// Why a body could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// Larger than the limit, as sent or decoded.
    TooLarge,
    /// The client was silent for too long.
    Slow,
    /// The client left.
    Gone,
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
    started: bool,
}

impl Client {
    pub(super) fn new(session: ServerSession) -> Self {
        Client {
            session,
            started: false,
        }
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
        let length = self
            .header("content-length")
            .and_then(|value| value.parse::<usize>().ok());
        if length.is_some_and(|length| length > limit) {
            self.session.set_keepalive(None);
            return Err(BodyError::TooLarge);
        }
        let encoding = self.header("content-encoding").unwrap_or_default().to_owned();
        let mut decoder = Decoder::new(&encoding, limit).map_err(|_| BodyError::Coding)?;
        if self
            .header("expect")
            .is_some_and(|value| value.eq_ignore_ascii_case("100-continue"))
        {
            self.session
                .write_continue_response()
                .await
                .map_err(|_| BodyError::Gone)?;
        }
        let mut body = Vec::new();
        let mut first = None;
        let mut read = 0;
        while let Some(chunk) = self.body_chunk().await? {
            read += chunk.len();
            if read > limit {
                self.session.set_keepalive(None);
                return Err(BodyError::TooLarge);
            }
            match &mut decoder {
                Some(decoder) => decoder.push(&chunk, &mut body).map_err(coding_error)?,
                // A body of one chunk is passed on without a copy.
                None if first.is_none() && body.is_empty() => {
                    if length.is_none_or(|length| length > chunk.len()) {
                        body.reserve(length.unwrap_or(chunk.len()).min(limit));
                        body.extend_from_slice(&chunk);
                    } else {
                        first = Some(chunk);
                    }
                }
                None => body.extend_from_slice(&chunk),
            }
        }
        if let Some(decoder) = &mut decoder {
            decoder.finish(&mut body).map_err(coding_error)?;
        }
        Ok(first.unwrap_or_else(|| body.into()))
    }

    async fn body_chunk(&mut self) -> Result<Option<Bytes>, BodyError> {
        match timeout(BODY_IDLE, self.session.read_request_body()).await {
            Ok(Ok(chunk)) => Ok(chunk),
            Ok(Err(_)) => Err(BodyError::Gone),
            Err(_) => {
                self.session.set_keepalive(None);
                Err(BodyError::Slow)
            }
        }
    }

    /// Answers with a whole body.
    ///
    /// # Errors
    /// The client left.
    pub async fn respond(&mut self, status: u16, headers: &[(&str, &str)], body: Bytes) -> Result<(), Gone> {
        let mut head = response_head(status, headers)?;
        head.insert_header("content-length", body.len().to_string())
            .map_err(|_| Gone)?;
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
        timeout(WRITE_STALL, write).await.map_err(|_| Gone)??;
        self.discard_body().await;
        Ok(())
    }

    /// Reads on, so that a client that is still sending gets to see the answer instead of a broken connection. Bounded.
    async fn discard_body(&mut self) {
        if self.session.is_body_done() {
            return;
        }
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
        let _ = timeout(DISCARD_FOR, drain).await;
    }

    /// Sends the head of a streamed answer. It leaves together with the first bytes of the body.
    ///
    /// # Errors
    /// The client left.
    pub async fn start_stream(&mut self, status: u16, headers: &[(&str, &str)]) -> Result<(), Gone> {
        let mut head = response_head(status, headers)?;
        if !self.session.is_http2() {
            head.insert_header("transfer-encoding", "chunked")
                .map_err(|_| Gone)?;
        }
        self.started = true;
        let write = self.session.write_response_header(Box::new(head));
        timeout(WRITE_STALL, write)
            .await
            .map_err(|_| Gone)?
            .map_err(|_| Gone)
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
        timeout(WRITE_STALL, write)
            .await
            .map_err(|_| Gone)?
            .map_err(|_| Gone)
    }

    /// Ends a streamed answer.
    ///
    /// # Errors
    /// The client left.
    pub async fn finish(&mut self) -> Result<(), Gone> {
        let write = self.session.write_response_body(Bytes::new(), true);
        timeout(WRITE_STALL, write)
            .await
            .map_err(|_| Gone)?
            .map_err(|_| Gone)
    }

    /// Resolves when the client has left; never otherwise. Only after the request body was read.
    pub async fn gone(&mut self) -> Gone {
        loop {
            match self.session.read_body_or_idle(true).await {
                Err(_) => return Gone,
                // HTTP/2 says `None` when the stream was closed by the client.
                Ok(None) => return Gone,
                Ok(Some(_)) => {}
            }
        }
    }

    /// Closes the connection after this answer.
    pub fn close_after(&mut self) {
        self.session.set_keepalive(None);
    }
}

fn coding_error(error: CodingError) -> BodyError {
    match error {
        CodingError::TooLarge => BodyError::TooLarge,
        CodingError::Corrupt => BodyError::Corrupt,
        CodingError::Unsupported => BodyError::Coding,
    }
}

/// A head from names and values; a value that is no header text is left out rather than sent broken.
fn response_head(status: u16, headers: &[(&str, &str)]) -> Result<ResponseHeader, Gone> {
    let mut head = ResponseHeader::build(status, Some(headers.len() + 2)).map_err(|_| Gone)?;
    for (name, value) in headers {
        if head.append_header((*name).to_owned(), *value).is_err() {
            tracing::warn!(header = name, "a response header could not be sent");
        }
    }
    Ok(head)
}
