//! Connections to upstreams: pooled, HTTP/1.1 in one write or HTTP/2, stale connections retried, answers decoded.

use std::fmt;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use pingora_core::connectors::http::{Connector, v2};
use pingora_core::connectors::{ConnectorOptions, TransportConnector};
use pingora_core::protocols::Stream;
use pingora_core::protocols::http::client::HttpSession;
use pingora_core::protocols::http::v1::client::HttpSession as Http1Session;
use pingora_core::upstreams::peer::Peer as _;
use pingora_core::{Error, ErrorType, RetryType};
use pingora_http::RequestHeader;
use tokio::time::timeout;

use super::coding::Decoder;
use super::http1;
use super::peer::EndpointPeer;

/// Decoded bytes that one answer may have: far above any answer, far below a bomb.
const MAX_DECODED: usize = 1 << 30;
/// Tries on pooled connections that turn out dead, before a fresh one must do.
const STALE_TRIES: usize = 2;
/// Further tries on fresh connections where the upstream says that it did nothing.
const REFUSED_TRIES: usize = 2;
/// An HTTP/2 upstream must open its window for the whole request body within this time.
const WRITE_WINDOW: Duration = Duration::from_secs(120);
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
    /// Connections for requests that the pooled ones refused.
    spare: v2::Connector,
}

/// A connection for one request.
struct Link {
    session: HttpSession,
    /// It served requests before.
    reused: bool,
    /// It belongs to the spare connector.
    spare: bool,
    /// It may serve more requests.
    keep: bool,
}

/// Why no head of an answer came, and whether another connection may be tried.
struct Failed {
    kind: UpstreamErrorKind,
    again: RetryType,
}

impl Failed {
    fn again(&self, reused: bool) -> bool {
        match self.again {
            RetryType::Decided(again) => again,
            RetryType::ReusedOnly => reused,
        }
    }
}

impl Upstreams {
    /// Connectors with the system's roots, or those of `ca_file`.
    #[must_use]
    pub fn new(ca_file: Option<String>) -> Self {
        let mut options = ConnectorOptions::new(POOL_SIZE);
        options.ca_file = ca_file;
        Upstreams {
            transport: TransportConnector::new(Some(options.clone())),
            spare: v2::Connector::new(Some(options.clone())),
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
        let (mut tries, mut fresh) = (0, false);
        loop {
            let link = self.connect(peer, fresh).await?;
            let reused = link.reused;
            match exchange(link, peer, request, first_byte).await {
                Ok(link) => return Ok(UpstreamResponse::new(self, peer, link)),
                // A pooled connection that died before its first answer byte was stale: that is nobody's failure.
                Err(failed) if failed.again(reused) && tries < STALE_TRIES + REFUSED_TRIES => {
                    tries += 1;
                    fresh |= tries >= STALE_TRIES || matches!(failed.again, RetryType::Decided(_));
                }
                Err(failed) => return Err(failed.kind.into()),
            }
        }
    }

    async fn connect(&self, peer: &EndpointPeer, fresh: bool) -> Result<Link, UpstreamError> {
        let connected = match (peer.may_http2(), fresh) {
            (true, false) => self.http2.get_http_session(peer).await,
            (true, true) => self
                .spare
                .new_http_session(peer)
                .await
                .map(|session| (session, false)),
            (false, false) => self
                .transport
                .get_stream(peer)
                .await
                .map(|(stream, reused)| (session(stream, peer), reused)),
            (false, true) => self
                .transport
                .new_stream(peer)
                .await
                .map(|stream| (session(stream, peer), false)),
        };
        let (session, reused) = connected.map_err(|error| connect_error(&error))?;
        Ok(Link {
            session,
            reused,
            spare: peer.may_http2() && fresh,
            keep: true,
        })
    }

    async fn release(&self, peer: &EndpointPeer, link: Link) {
        let Link {
            session, spare, keep, ..
        } = link;
        let idle = peer.idle_timeout();
        match session {
            HttpSession::H1(_) if !keep => {}
            HttpSession::H1(mut http1) => {
                http1.respect_keepalive();
                if peer.may_http2() {
                    self.http2
                        .release_http_session(HttpSession::H1(http1), peer, idle)
                        .await;
                } else if let Some(stream) = http1.reuse().await {
                    self.transport.release_stream(stream, peer.reuse_hash(), idle);
                }
            }
            HttpSession::H2(http2) if spare => self.spare.release_http_session(http2, peer, idle),
            other => self.http2.release_http_session(other, peer, idle).await,
        }
    }
}

fn session(stream: Stream, peer: &EndpointPeer) -> HttpSession {
    HttpSession::H1(Http1Session::new_with_options(stream, peer))
}

/// Writes the request and reads the head of the answer, informational heads skipped. An upstream may answer, and close, before it
/// has read all of a large request: its answer counts, not the failed write.
async fn exchange(
    link: Link,
    peer: &EndpointPeer,
    request: &UpstreamRequest,
    first_byte: Duration,
) -> Result<Link, Failed> {
    let mut link = match link.session {
        HttpSession::H1(session) => {
            let (session, keep) = http1::write(session.into_inner(), peer, request).await;
            Link {
                session: HttpSession::H1(session),
                keep,
                ..link
            }
        }
        mut session => {
            let written = write_http2(&mut session, peer, request).await;
            if let Err(
                failed @ Failed {
                    again: RetryType::Decided(true),
                    ..
                },
            ) = written
            {
                return Err(failed);
            }
            Link { session, ..link }
        }
    };
    let read = async {
        loop {
            link.session
                .read_response_header()
                .await
                .map_err(|error| failed(&error))?;
            let informational = link
                .session
                .response_header()
                .is_some_and(|head| head.status.is_informational());
            if !informational {
                return Ok(());
            }
        }
    };
    match timeout(first_byte, read).await {
        Ok(done) => done.map(|()| link),
        Err(_) => Err(Failed {
            kind: UpstreamErrorKind::FirstByteTimeout,
            again: RetryType::Decided(false),
        }),
    }
}

async fn write_http2(
    session: &mut HttpSession,
    peer: &EndpointPeer,
    request: &UpstreamRequest,
) -> Result<(), Failed> {
    let head = http2_head(peer, request).ok_or(Failed {
        kind: UpstreamErrorKind::Protocol,
        again: RetryType::Decided(false),
    })?;
    session
        .write_request_header(Box::new(head))
        .await
        .map_err(|_| Failed {
            kind: UpstreamErrorKind::Reset,
            // Nothing was sent.
            again: RetryType::Decided(true),
        })?;
    let write = async {
        session.write_request_body(request.body.clone(), true).await?;
        session.finish_request_body().await
    };
    match timeout(WRITE_WINDOW, write).await {
        Ok(written) => written.map_err(|error| failed(&error)),
        Err(_) => Err(Failed {
            kind: UpstreamErrorKind::Reset,
            again: RetryType::Decided(false),
        }),
    }
}

fn http2_head(peer: &EndpointPeer, request: &UpstreamRequest) -> Option<RequestHeader> {
    let mut head = RequestHeader::build(request.method.clone(), request.path.as_bytes(), None).ok()?;
    for (name, value) in &request.headers {
        head.append_header(name.clone(), value.clone()).ok()?;
    }
    let length = HeaderValue::from(request.body.len());
    head.insert_header(HeaderName::from_static("content-length"), length)
        .ok()?;
    let scheme = if peer.tls() { "https" } else { "http" };
    let uri = format!("{scheme}://{}{}", peer.authority(), request.path);
    head.set_uri(uri.parse().ok()?);
    Some(head)
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

/// A head that did not come. Pingora knows which errors mean that the upstream did nothing, but calls an HTTP/1 answer that broke
/// off within its head repeatable too.
fn failed(error: &Error) -> Failed {
    let context = error.context.as_ref().map_or("", |context| context.as_str());
    let begun = context
        .rsplit_once("bytes already read: ")
        .is_some_and(|(_, bytes)| bytes != "0");
    Failed {
        kind: read_error(error).kind,
        again: if begun {
            RetryType::Decided(false)
        } else {
            error.retry
        },
    }
}

/// The answer of an upstream: its head, and its body chunk by chunk, decoded.
pub struct UpstreamResponse<'u> {
    upstreams: &'u Upstreams,
    peer: &'u EndpointPeer,
    link: Option<Link>,
    status: u16,
    headers: HeaderMap,
    decoder: Option<Decoder>,
    sniffed: bool,
}

impl<'u> UpstreamResponse<'u> {
    fn new(upstreams: &'u Upstreams, peer: &'u EndpointPeer, link: Link) -> Self {
        let head = link.session.response_header();
        let status = head.map_or(502, |head| head.status.as_u16());
        let headers = head.map(|head| head.headers.clone()).unwrap_or_default();
        UpstreamResponse {
            upstreams,
            peer,
            link: Some(link),
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
            let Some(Link { session, .. }) = &mut self.link else {
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
        if let Some(link) = self.link.take() {
            self.upstreams.release(self.peer, link).await;
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
        let length = self.header("content-length").and_then(|text| text.parse().ok());
        if self.decoder.is_none() && length == Some(first.len()) {
            // Ends the answer and gives the connection back.
            return match self.chunk(idle).await? {
                None => Ok(first),
                Some(_) => Err(UpstreamErrorKind::Protocol.into()),
            };
        }
        let mut all = Vec::with_capacity(length.unwrap_or(first.len() * 2).min(limit));
        all.extend_from_slice(&first);
        while self.append(&mut all, idle).await? {
            if all.len() > limit {
                return Err(UpstreamErrorKind::Protocol.into());
            }
        }
        Ok(all.into())
    }

    /// Appends the next piece; false at the end. An HTTP/1 body that needs no decoding comes straight from the read buffer.
    async fn append(&mut self, all: &mut Vec<u8>, idle: Duration) -> Result<bool, UpstreamError> {
        if let (
            None,
            Some(Link {
                session: HttpSession::H1(session),
                ..
            }),
        ) = (&self.decoder, &mut self.link)
            && !session.is_body_done()
        {
            let read = timeout(idle, session.read_body_ref()).await;
            let piece = read
                .map_err(|_| UpstreamErrorKind::IdleTimeout)?
                .map_err(|error| read_error(&error))?;
            all.extend_from_slice(piece.unwrap_or_default());
            return Ok(true);
        }
        let piece = self.chunk(idle).await?;
        all.extend_from_slice(piece.as_deref().unwrap_or_default());
        Ok(piece.is_some())
    }
}

impl Drop for UpstreamResponse<'_> {
    fn drop(&mut self) {
        // An HTTP/1 connection closes by being dropped; an HTTP/2 stream must be reset.
        if let Some(Link {
            session: HttpSession::H2(http2),
            ..
        }) = &mut self.link
        {
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
