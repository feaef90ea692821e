//! Connections to upstreams: pooled, HTTP/1.1 in one write or HTTP/2, stale connections retried.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use pingora_core::connectors::http::{Connector, v2};
use pingora_core::connectors::{ConnectorOptions, TransportConnector};
use pingora_core::protocols::Stream;
use pingora_core::protocols::http::client::HttpSession;
use pingora_core::upstreams::peer::Peer as _;
use pingora_core::{Error, ErrorType, RetryType};
use pingora_http::RequestHeader;

use super::http1;
use super::http1::answer::{Answer, NoHead};
use super::patience::within;
use super::peer::EndpointPeer;
use super::response::Link;
pub use super::response::UpstreamResponse;
use super::sending::{Begun, Sending};

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
    /// The connection took so long that what is to be sent is out of date: nothing was sent.
    Late,
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
            UpstreamErrorKind::Late => "the connection to the upstream took too long",
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

/// A connection before its request.
pub(super) struct Line {
    to: Speaks,
    /// It served requests before.
    pub(super) reused: bool,
    /// It belongs to the spare connector.
    spare: bool,
}

/// What a connection speaks.
enum Speaks {
    Http1(Stream),
    Other(Box<HttpSession>),
}

/// The head of an answer, and where its body comes from.
pub(super) type Answered = ((u16, HeaderMap), Link);

/// Why no head of an answer came, and whether another connection may be tried.
pub(super) struct Failed {
    pub(super) kind: UpstreamErrorKind,
    pub(super) again: RetryType,
}

impl Failed {
    /// True if another connection may be tried.
    pub(super) fn again(&self, reused: bool) -> bool {
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
        Sending::new(self, peer, request, first_byte, &Begun::default())
            .answer(None)
            .await
    }

    /// A pooled connection, or a new one; `fresh`: a new one.
    pub(super) async fn connect(&self, peer: &EndpointPeer, fresh: bool) -> Result<Line, UpstreamError> {
        // Every HTTP/1 connection is kept here, whichever connector has dialled it.
        if !fresh && let Some(stream) = self.transport.reused_stream(peer).await {
            return Ok(Line {
                to: Speaks::Http1(stream),
                reused: true,
                spare: false,
            });
        }
        // Dialling is rare and its futures are large: boxed, they do not weigh on every request.
        let connected = match (peer.may_http2(), fresh) {
            (true, false) => Box::pin(self.http2.get_http_session(peer))
                .await
                .map(|(session, reused)| (speaks(session), reused)),
            (true, true) => Box::pin(self.spare.new_http_session(peer))
                .await
                .map(|session| (speaks(session), false)),
            (false, _) => Box::pin(self.transport.new_stream(peer))
                .await
                .map(|stream| (Speaks::Http1(stream), false)),
        };
        let (to, reused) = connected.map_err(|error| connect_error(&error))?;
        Ok(Line {
            to,
            reused,
            spare: peer.may_http2() && fresh,
        })
    }

    /// Takes back an HTTP/1 connection that may serve another request.
    pub(super) fn release(&self, peer: &EndpointPeer, stream: Stream) {
        let idle = peer.idle_timeout();
        self.transport.release_stream(stream, peer.reuse_hash(), idle);
    }

    /// Takes back any other connection.
    pub(super) async fn release_other(&self, peer: &EndpointPeer, session: HttpSession, spare: bool) {
        let idle = peer.idle_timeout();
        match session {
            HttpSession::H2(http2) if spare => self.spare.release_http_session(http2, peer, idle),
            other => self.http2.release_http_session(other, peer, idle).await,
        }
    }
}

fn speaks(session: HttpSession) -> Speaks {
    match session {
        HttpSession::H1(session) => Speaks::Http1(session.into_inner()),
        other => Speaks::Other(Box::new(other)),
    }
}

/// Writes the request and reads the head of the answer, informational heads skipped. An upstream may answer, and close, before it
/// has read all of a large request: its answer counts, not the failed write.
pub(super) async fn exchange(
    line: Line,
    peer: &EndpointPeer,
    request: &UpstreamRequest,
    first_byte: Duration,
) -> Result<Answered, Failed> {
    let spare = line.spare;
    match line.to {
        Speaks::Http1(mut stream) => {
            let (early, keep) = http1::write(&mut stream, peer, request).await;
            let begun = within(first_byte, Answer::begin(stream, &early)).await;
            let (head, answer) = begun.ok_or(TOO_LATE)?.map_err(|error| no_head(&error))?;
            Ok(((head.status, head.headers), Link::Http1 { answer, keep }))
        }
        Speaks::Other(session) => Box::pin(exchange_other(session, spare, peer, request, first_byte)).await,
    }
}

/// No first byte in time.
const TOO_LATE: Failed = Failed {
    kind: UpstreamErrorKind::FirstByteTimeout,
    again: RetryType::Decided(false),
};

fn no_head(error: &NoHead) -> Failed {
    let (kind, again) = match error {
        NoHead::Malformed => (UpstreamErrorKind::Protocol, RetryType::Decided(false)),
        NoHead::Untouched => (UpstreamErrorKind::Reset, RetryType::ReusedOnly),
        NoHead::Broken => (UpstreamErrorKind::Reset, RetryType::Decided(false)),
    };
    Failed { kind, again }
}

async fn exchange_other(
    mut session: Box<HttpSession>,
    spare: bool,
    peer: &EndpointPeer,
    request: &UpstreamRequest,
    first_byte: Duration,
) -> Result<Answered, Failed> {
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
    let read = async {
        loop {
            session
                .read_response_header()
                .await
                .map_err(|error| failed(&error))?;
            let head = session.response_header();
            if let Some(head) = head.filter(|head| !head.status.is_informational()) {
                return Ok((head.status.as_u16(), head.headers.clone()));
            }
        }
    };
    let head = within(first_byte, read).await.ok_or(TOO_LATE)??;
    Ok((head, Link::Other { session, spare }))
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
    match within(WRITE_WINDOW, write).await {
        Some(written) => written.map_err(|error| failed(&error)),
        None => Err(Failed {
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

pub(super) fn read_error(error: &Error) -> UpstreamErrorKind {
    match error.etype() {
        ErrorType::InvalidHTTPHeader => UpstreamErrorKind::Protocol,
        _ => UpstreamErrorKind::Reset,
    }
}

/// A head that did not come. Pingora knows which errors mean that the upstream did nothing.
fn failed(error: &Error) -> Failed {
    Failed {
        kind: read_error(error),
        again: error.retry,
    }
}
