//! The answer of an upstream: head, and body decoded as it comes.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt as _;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use pingora_core::protocols::http::client::HttpSession;

use super::coding::Decoder;
use super::patience::within;
use super::peer::EndpointPeer;
use super::upstream::{Link, UpstreamError, UpstreamErrorKind, Upstreams, read_error};

/// Decoded bytes that one answer may have: far above any answer, far below a bomb.
const MAX_DECODED: usize = 1 << 30;

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
    pub(super) fn new(upstreams: &'u Upstreams, peer: &'u EndpointPeer, link: Link) -> Self {
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
            let read = within(idle, session.read_response_body()).await;
            let chunk = read
                .ok_or(UpstreamErrorKind::IdleTimeout)?
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
            let stated = self.headers.get(CONTENT_ENCODING);
            let encoding = stated.and_then(|value| value.to_str().ok());
            let encoding = encoding.unwrap_or_else(|| Decoder::sniff(&chunk));
            self.decoder = Decoder::new(encoding, MAX_DECODED).map_err(|_| UpstreamErrorKind::Protocol)?;
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
            // Boxed: it is needed once, and would be part of every read.
            Box::pin(self.upstreams.release(self.peer, link)).await;
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
        let Some(first) = self.chunk(idle).await? else {
            return Ok(Bytes::new());
        };
        let length = self.headers.get(CONTENT_LENGTH);
        let length = length.and_then(|value| value.to_str().ok()?.parse().ok());
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
            let read = within(idle, session.read_body_ref()).await;
            let piece = read
                .ok_or(UpstreamErrorKind::IdleTimeout)?
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
