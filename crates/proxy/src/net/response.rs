//! The answer of an upstream: head, and body decoded as it comes.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt as _;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use pingora_core::protocols::http::client::HttpSession;

use pingora_core::protocols::Stream;

use super::coding::Decoder;
use super::http1::answer::Answer;
use super::patience::within;
use super::peer::EndpointPeer;
use super::upstream::{UpstreamError, UpstreamErrorKind, Upstreams, read_error};

/// Decoded bytes that one answer may have: far above any answer, far below a bomb.
const MAX_DECODED: usize = 1 << 30;
/// What has arrived is given together up to this size, bytes.
const TOGETHER: usize = 64 * 1024;

/// A connection with an answer on it.
pub(super) enum Link {
    /// HTTP/1.
    Http1 {
        answer: Answer<Stream>,
        /// The request was written in full.
        keep: bool,
    },
    /// HTTP/2.
    Other {
        session: Box<HttpSession>,
        /// It belongs to the spare connector.
        spare: bool,
    },
}

impl Link {
    async fn piece(&mut self) -> Result<Option<Bytes>, UpstreamErrorKind> {
        match self {
            Link::Http1 { answer, .. } => answer.piece().await.map_err(|_| UpstreamErrorKind::Reset),
            Link::Other { session, .. } => {
                let piece = session.read_response_body().await;
                piece.map_err(|error| read_error(&error))
            }
        }
    }

    fn is_done(&mut self) -> bool {
        match self {
            Link::Http1 { answer, .. } => answer.is_done(),
            Link::Other { session, .. } => session.response_done(),
        }
    }

    /// The next piece, and what else is there already: a protocol's own pieces are those of its sender.
    async fn pieces(&mut self) -> Result<Option<Bytes>, UpstreamErrorKind> {
        let Some(first) = self.piece().await? else {
            return Ok(None);
        };
        let mut all: Option<BytesMut> = None;
        while !self.is_done() {
            let more = match self.piece().now_or_never() {
                Some(more) => more?,
                None => None,
            };
            let Some(more) = more else { break };
            let all = all.get_or_insert_with(|| BytesMut::from(&*first));
            all.extend_from_slice(&more);
            if all.len() > TOGETHER {
                break;
            }
        }
        Ok(Some(all.map_or(first, BytesMut::freeze)))
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
    pub(super) fn new(
        upstreams: &'u Upstreams,
        peer: &'u EndpointPeer,
        (status, headers): (u16, HeaderMap),
        link: Link,
    ) -> Self {
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
        let read = within(idle, self.next_chunk()).await;
        read.ok_or(UpstreamErrorKind::IdleTimeout)?
    }

    /// As [`UpstreamResponse::chunk`], however long it takes. What was read when it is interrupted is not lost.
    ///
    /// # Errors
    /// The connection broke, or the content coding is damaged.
    pub async fn next_chunk(&mut self) -> Result<Option<Bytes>, UpstreamError> {
        loop {
            let Some(link) = &mut self.link else {
                return Ok(None);
            };
            let Some(chunk) = link.pieces().await? else {
                return self.end().await;
            };
            let decoded = self.decode(chunk)?;
            if !decoded.is_empty() {
                return Ok(Some(decoded));
            }
        }
    }

    fn decode(&mut self, chunk: Bytes) -> Result<Bytes, UpstreamError> {
        if !self.sniffed {
            self.sniffed = true;
            self.decoder = decoder(&self.headers, &chunk)?;
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
        match self.link.take() {
            Some(Link::Http1 { answer, keep }) => {
                if let Some(stream) = answer.into_idle().filter(|_| keep) {
                    self.upstreams.release(self.peer, stream);
                }
            }
            Some(Link::Other { session, spare }) => {
                // Boxed: it is needed once, and would be part of every read.
                Box::pin(self.upstreams.release_other(self.peer, *session, spare)).await;
            }
            None => {}
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
        let _ = within(patience, rest).await;
    }

    /// Reads the whole body, at most `limit` bytes.
    ///
    /// # Errors
    /// See [`UpstreamResponse::chunk`]; an answer over the limit is a protocol error.
    pub async fn body(&mut self, limit: usize, idle: Duration) -> Result<Bytes, UpstreamError> {
        let Some(link) = &mut self.link else {
            return Ok(Bytes::new());
        };
        let read = within(idle, link.piece()).await;
        let Some(first) = read.ok_or(UpstreamErrorKind::IdleTimeout)?? else {
            return Ok(self.end().await?.unwrap_or_default());
        };
        let whole = link.is_done();
        let first = self.decode(first)?;
        if whole && self.decoder.is_none() && first.len() <= limit {
            self.end().await?;
            return Ok(first);
        }
        let mut all = Vec::new();
        if self.decoder.is_none() {
            all.reserve_exact(length(&self.headers).unwrap_or(first.len() * 2).min(limit));
        }
        all.extend_from_slice(&first);
        while all.len() <= limit {
            if !self.append(&mut all, idle).await? {
                return Ok(all.into());
            }
        }
        Err(UpstreamErrorKind::Protocol.into())
    }

    /// Appends the next piece; false at the end. What needs no decoding comes straight from an HTTP/1 connection.
    async fn append(&mut self, all: &mut Vec<u8>, idle: Duration) -> Result<bool, UpstreamError> {
        if let (None, Some(Link::Http1 { answer, .. })) = (&self.decoder, &mut self.link)
            && !answer.is_done()
        {
            let read = within(idle, answer.append(all)).await;
            read.ok_or(UpstreamErrorKind::IdleTimeout)?
                .map_err(|_| UpstreamErrorKind::Reset)?;
            return Ok(true);
        }
        let piece = self.chunk(idle).await?;
        all.extend_from_slice(piece.as_deref().unwrap_or_default());
        Ok(piece.is_some())
    }
}

/// The decoder of a body that begins so.
fn decoder(headers: &HeaderMap, start: &[u8]) -> Result<Option<Decoder>, UpstreamErrorKind> {
    let stated = headers.get(CONTENT_ENCODING);
    let encoding = stated.and_then(|value| value.to_str().ok());
    let encoding = encoding.unwrap_or_else(|| Decoder::sniff(start));
    Decoder::new(encoding, MAX_DECODED).map_err(|_| UpstreamErrorKind::Protocol)
}

/// The length that the head states.
fn length(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

impl Drop for UpstreamResponse<'_> {
    fn drop(&mut self) {
        // An HTTP/1 connection closes by being dropped; an HTTP/2 stream must be reset.
        if let Some(Link::Other { session, .. }) = &mut self.link
            && let HttpSession::H2(http2) = &mut **session
        {
            http2.shutdown();
        }
    }
}
