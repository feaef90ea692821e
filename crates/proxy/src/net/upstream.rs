//! Connections to upstreams: pooled, HTTP/1.1 in one write or HTTP/2, stale connections retried, answers decoded.

use std::fmt;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use pingora_core::connectors::http::Connector;
use pingora_core::connectors::{ConnectorOptions, TransportConnector};
use pingora_core::protocols::Stream;
use pingora_core::protocols::http::client::HttpSession;
use pingora_core::protocols::http::v1::client::HttpSession as Http1Session;
use pingora_core::upstreams::peer::Peer as _;
use pingora_core::{Error, ErrorType};
use pingora_http::RequestHeader;
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use super::coding::Decoder;
use super::peer::EndpointPeer;

/// Decoded bytes that one answer may have: far above any answer, far below a bomb.
const MAX_DECODED: usize = 1 << 30;
/// Tries on pooled connections that turn out dead, before a fresh one must do.
const STALE_TRIES: usize = 2;
/// Connections kept idle in all.
const POOL_SIZE: usize = 4096;

/// What to send.
#[derive(Clone, Debug)]
pub struct UpstreamRequest {
    /// Method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// Headers, without `host`, `content-length` and hop-by-hop fields.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
}

/// Where it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamErrorKind {
    /// The name could not be resolved.
    Dns,
    /// No connection.
    Connect,
    /// No TLS, or a certificate that is not trusted.
    Tls,
    /// No connection in time.
    ConnectTimeout,
    /// No first byte in time.
    FirstByteTimeout,
    /// Silence in the middle of the answer.
    IdleTimeout,
    /// The connection broke.
    Reset,
    /// The answer is not HTTP, or its content coding is broken.
    Protocol,
}

/// An upstream failure. The text names no secret and no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpstreamError {
    /// What failed.
    pub kind: UpstreamErrorKind,
}

impl fmt::Display for UpstreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            UpstreamErrorKind::Dns => "the upstream's host name could not be resolved",
            UpstreamErrorKind::Connect => "the upstream refused the connection",
            UpstreamErrorKind::Tls => "no trusted TLS connection to the upstream",
            UpstreamErrorKind::ConnectTimeout => "the upstream did not accept the connection in time",
            UpstreamErrorKind::FirstByteTimeout => "the upstream did not answer in time",
            UpstreamErrorKind::IdleTimeout => "the upstream fell silent in the middle of its answer",
            UpstreamErrorKind::Reset => "the upstream broke the connection",
            UpstreamErrorKind::Protocol => "the upstream's answer is not readable HTTP",
        })
    }
}

impl std::error::Error for UpstreamError {}

impl From<UpstreamErrorKind> for UpstreamError {
    fn from(kind: UpstreamErrorKind) -> Self {
        UpstreamError { kind }
    }
}

/// All connections to upstreams.
pub struct Upstreams {
    transport: TransportConnector,
    http2: Connector,
}

impl Upstreams {
    /// Connectors with the system's roots, or those of `ca_file`.
    #[must_use]
    pub fn new(ca_file: Option<String>) -> Self {
        let mut options = ConnectorOptions::new(POOL_SIZE);
        options.ca_file = ca_file;
        Upstreams {
            transport: TransportConnector::new(Some(options.clone())),
            http2: Connector::new(Some(options)),
        }
    }

    /// Sends a request and waits for the head of its answer. Dropping the future or the answer cancels the request upstream.
    ///
    /// # Errors
    /// See [`UpstreamError`]; nothing of the answer was seen.
    pub async fn send<'u>(
        &'u self,
        peer: &'u EndpointPeer,
        request: &UpstreamRequest,
        first_byte: Duration,
    ) -> Result<UpstreamResponse<'u>, UpstreamError> {
        let mut tries = 0;
        loop {
            let (session, reused) = self.connect(peer, tries >= STALE_TRIES).await?;
            match exchange(session, peer, request, first_byte).await {
                Ok(session) => return Ok(UpstreamResponse::new(self, peer, session)),
                // A pooled connection that died before its first answer byte was stale: that is nobody's failure.
                Err(error) if reused && error.kind == UpstreamErrorKind::Reset && tries < STALE_TRIES => {
                    tries += 1
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn connect(&self, peer: &EndpointPeer, fresh: bool) -> Result<(HttpSession, bool), UpstreamError> {
        if peer.may_http2() {
            let (session, reused) = self
                .http2
                .get_http_session(peer)
                .await
                .map_err(|error| connect_error(&error))?;
            return Ok((session, reused && !fresh));
        }
        let connected = if fresh {
            self.transport
                .new_stream(peer)
                .await
                .map(|stream| (stream, false))
        } else {
            self.transport.get_stream(peer).await
        };
        let (stream, reused) = connected.map_err(|error| connect_error(&error))?;
        Ok((
            HttpSession::H1(Http1Session::new_with_options(stream, peer)),
            reused,
        ))
    }

    async fn release(&self, peer: &EndpointPeer, session: HttpSession) {
        match session {
            HttpSession::H1(mut http1) if !peer.may_http2() => {
                http1.respect_keepalive();
                if let Some(stream) = http1.reuse().await {
                    self.transport
                        .release_stream(stream, peer.reuse_hash(), peer.idle_timeout());
                }
            }
            HttpSession::H1(mut http1) => {
                http1.respect_keepalive();
                self.http2
                    .release_http_session(HttpSession::H1(http1), peer, peer.idle_timeout())
                    .await;
            }
            other => {
                self.http2
                    .release_http_session(other, peer, peer.idle_timeout())
                    .await
            }
        }
    }
}

/// Writes the request and reads the head of the answer, informational heads skipped.
async fn exchange(
    session: HttpSession,
    peer: &EndpointPeer,
    request: &UpstreamRequest,
    first_byte: Duration,
) -> Result<HttpSession, UpstreamError> {
    let mut session = match session {
        HttpSession::H1(http1) => HttpSession::H1(write_http1(http1.into_inner(), peer, request).await?),
        mut other => {
            write_http2(&mut other, peer, request).await?;
            other
        }
    };
    let read = async {
        loop {
            session
                .read_response_header()
                .await
                .map_err(|error| read_error(&error))?;
            let informational = session
                .response_header()
                .is_some_and(|head| head.status.is_informational());
            if !informational {
                return Ok(());
            }
        }
    };
    match timeout(first_byte, read).await {
        Ok(done) => done.map(|()| session),
        Err(_) => Err(UpstreamErrorKind::FirstByteTimeout.into()),
    }
}

/// Head and body in one write: half the system calls of Pingora's own way (pingora.md section 1, item 10).
async fn write_http1(
    mut stream: Stream,
    peer: &EndpointPeer,
    request: &UpstreamRequest,
) -> Result<Http1Session, UpstreamError> {
    let mut wire = BytesMut::with_capacity(1024 + request.body.len().min(64 * 1024));
    wire.extend_from_slice(request.method.as_str().as_bytes());
    wire.extend_from_slice(b" ");
    wire.extend_from_slice(request.path.as_bytes());
    wire.extend_from_slice(b" HTTP/1.1\r\nhost: ");
    wire.extend_from_slice(peer.authority().as_bytes());
    for (name, value) in &request.headers {
        wire.extend_from_slice(b"\r\n");
        wire.extend_from_slice(name.as_str().as_bytes());
        wire.extend_from_slice(b": ");
        wire.extend_from_slice(value.as_bytes());
    }
    if !request.body.is_empty() || request.method == Method::POST {
        wire.extend_from_slice(format!("\r\ncontent-length: {}", request.body.len()).as_bytes());
    }
    wire.extend_from_slice(b"\r\n\r\n");
    let write = async {
        // Large bodies are not copied: they go out behind the head as they are.
        if request.body.len() <= 64 * 1024 {
            wire.extend_from_slice(&request.body);
            stream.write_all(&wire).await?;
        } else {
            stream.write_all(&wire).await?;
            stream.write_all(&request.body).await?;
        }
        stream.flush().await
    };
    write.await.map_err(|_| UpstreamErrorKind::Reset)?;
    Ok(Http1Session::new_with_options(stream, peer))
}

async fn write_http2(
    session: &mut HttpSession,
    peer: &EndpointPeer,
    request: &UpstreamRequest,
) -> Result<(), UpstreamError> {
    let bad = |_| UpstreamError::from(UpstreamErrorKind::Protocol);
    let mut head =
        RequestHeader::build(request.method.clone(), request.path.as_bytes(), None).map_err(bad)?;
    for (name, value) in &request.headers {
        head.append_header(name.clone(), value.clone()).map_err(bad)?;
    }
    let length = HeaderValue::from(request.body.len());
    head.insert_header(HeaderName::from_static("content-length"), length)
        .map_err(bad)?;
    let scheme = if peer.tls() { "https" } else { "http" };
    let uri = format!("{scheme}://{}{}", peer.authority(), request.path);
    head.set_uri(uri.parse().map_err(|_| UpstreamErrorKind::Protocol)?);
    session
        .write_request_header(Box::new(head))
        .await
        .map_err(|error| read_error(&error))?;
    session
        .write_request_body(request.body.clone(), true)
        .await
        .map_err(|error| read_error(&error))?;
    session
        .finish_request_body()
        .await
        .map_err(|error| read_error(&error))
}

fn connect_error(error: &Error) -> UpstreamError {
    UpstreamError::from(match error.etype() {
        ErrorType::ConnectTimedout | ErrorType::TLSHandshakeTimedout => UpstreamErrorKind::ConnectTimeout,
        ErrorType::ConnectNoRoute => UpstreamErrorKind::Dns,
        ErrorType::TLSHandshakeFailure | ErrorType::InvalidCert | ErrorType::HandshakeError => {
            UpstreamErrorKind::Tls
        }
        _ => UpstreamErrorKind::Connect,
    })
}

fn read_error(error: &Error) -> UpstreamError {
    UpstreamError::from(match error.etype() {
        ErrorType::InvalidHTTPHeader => UpstreamErrorKind::Protocol,
        _ => UpstreamErrorKind::Reset,
    })
}

/// The answer of an upstream: its head, and its body chunk by chunk, decoded.
pub struct UpstreamResponse<'u> {
    upstreams: &'u Upstreams,
    peer: &'u EndpointPeer,
    session: Option<HttpSession>,
    status: u16,
    headers: HeaderMap,
    decoder: Option<Decoder>,
    sniffed: bool,
}

impl<'u> UpstreamResponse<'u> {
    fn new(upstreams: &'u Upstreams, peer: &'u EndpointPeer, session: HttpSession) -> Self {
        let head = session.response_header();
        let status = head.map_or(502, |head| head.status.as_u16());
        let headers = head.map(|head| head.headers.clone()).unwrap_or_default();
        UpstreamResponse {
            upstreams,
            peer,
            session: Some(session),
            status,
            headers,
            decoder: None,
            sniffed: false,
        }
    }

    /// HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The text of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The next decoded piece; `None` at the end. What has already arrived comes together with it.
    ///
    /// # Errors
    /// The connection broke, fell silent for `idle`, or the content coding is damaged.
    pub async fn chunk(&mut self, idle: Duration) -> Result<Option<Bytes>, UpstreamError> {
        loop {
            let Some(session) = &mut self.session else {
                return Ok(None);
            };
            let read = timeout(idle, session.read_response_body()).await;
            let chunk = read
                .map_err(|_| UpstreamErrorKind::IdleTimeout)?
                .map_err(|error| read_error(&error))?;
            let Some(mut chunk) = chunk else {
                return self.end().await;
            };
            if let Some(more) = Self::ready(session)? {
                chunk = join(chunk, &more);
            }
            let decoded = self.decode(chunk)?;
            if !decoded.is_empty() {
                return Ok(Some(decoded));
            }
        }
    }

    /// Chunks that are there already: Pingora hands out one HTTP chunk per call (pingora.md section 1, item 5).
    fn ready(session: &mut HttpSession) -> Result<Option<BytesMut>, UpstreamError> {
        let mut more: Option<BytesMut> = None;
        while !session.response_done() {
            match session.read_response_body().now_or_never() {
                Some(Ok(Some(chunk))) => more.get_or_insert_default().extend_from_slice(&chunk),
                Some(Ok(None)) | None => break,
                Some(Err(error)) => return Err(read_error(&error)),
            }
            if more.as_ref().is_some_and(|more| more.len() > 64 * 1024) {
                break;
            }
        }
        Ok(more)
    }

    fn decode(&mut self, chunk: Bytes) -> Result<Bytes, UpstreamError> {
        if !self.sniffed {
            self.sniffed = true;
            let encoding = match self.header("content-encoding") {
                Some(encoding) => encoding.to_owned(),
                None => Decoder::sniff(&chunk).to_owned(),
            };
            self.decoder = Decoder::new(&encoding, MAX_DECODED).map_err(|_| UpstreamErrorKind::Protocol)?;
        }
        let Some(decoder) = &mut self.decoder else {
            return Ok(chunk);
        };
        let mut out = Vec::new();
        decoder
            .push(&chunk, &mut out)
            .map_err(|_| UpstreamErrorKind::Protocol)?;
        Ok(out.into())
    }

    /// Behind the last chunk: the rest of the decoder, and the connection back to the pool.
    async fn end(&mut self) -> Result<Option<Bytes>, UpstreamError> {
        if let Some(session) = self.session.take() {
            self.upstreams.release(self.peer, session).await;
        }
        let Some(mut decoder) = self.decoder.take() else {
            return Ok(None);
        };
        let mut out = Vec::new();
        decoder
            .finish(&mut out)
            .map_err(|_| UpstreamErrorKind::Protocol)?;
        Ok((!out.is_empty()).then(|| out.into()))
    }

    /// Reads what is left behind the protocol's own end, so that the connection goes back to the pool. Bounded: a connection that
    /// is not done by then is dropped.
    pub async fn drain(&mut self, patience: Duration) {
        let rest = async {
            // Anything but a clean end drops the connection, which is what an error needs.
            while let Ok(Some(_)) = self.chunk(patience).await {}
        };
        let _ = timeout(patience, rest).await;
    }

    /// Reads the whole body, at most `limit` bytes.
    ///
    /// # Errors
    /// See [`UpstreamResponse::chunk`]; an answer over the limit is a protocol error.
    pub async fn body(&mut self, limit: usize, idle: Duration) -> Result<Bytes, UpstreamError> {
        let Some(first) = self.chunk(idle).await? else {
            return Ok(Bytes::new());
        };
        let mut all: Option<BytesMut> = None;
        while let Some(chunk) = self.chunk(idle).await? {
            let all = all.get_or_insert_with(|| BytesMut::from(&first[..]));
            all.extend_from_slice(&chunk);
            if all.len() > limit {
                return Err(UpstreamErrorKind::Protocol.into());
            }
        }
        Ok(all.map_or(first, BytesMut::freeze))
    }
}

impl Drop for UpstreamResponse<'_> {
    fn drop(&mut self) {
        // An HTTP/1 connection closes by being dropped; an HTTP/2 stream must be reset.
        if let Some(HttpSession::H2(http2)) = &mut self.session {
            http2.shutdown();
        }
    }
}

fn join(first: Bytes, more: &BytesMut) -> Bytes {
    let mut all = BytesMut::with_capacity(first.len() + more.len());
    all.extend_from_slice(&first);
    all.extend_from_slice(more);
    all.freeze()
}
