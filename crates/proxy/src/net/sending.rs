//! A request on its way to an upstream, until the head of its answer is there.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pingora_core::RetryType;

use super::peer::EndpointPeer;
use super::response::UpstreamResponse;
use super::upstream::{Line, UpstreamError, UpstreamErrorKind, UpstreamRequest, Upstreams, exchange};

/// Tries on pooled connections that turn out dead, before a fresh one must do: the upstream may have read the request (promise P5).
const STALE_TRIES: usize = 1;
/// A stale connection breaks as soon as something is sent over it.
const STALE_WITHIN: Duration = Duration::from_millis(500);
/// Further tries on fresh connections where the upstream says that it did nothing.
const REFUSED_TRIES: usize = 2;

/// A request, and what it has met so far. Dropping it, or the future of its answer, cancels it upstream.
pub(crate) struct Sending<'u, 'r> {
    upstreams: &'u Upstreams,
    peer: &'u EndpointPeer,
    request: &'r UpstreamRequest,
    first_byte: Duration,
    tries: usize,
    /// Pooled connections will not do any more.
    fresh: bool,
    /// A connection that was there too late.
    line: Option<Line>,
    begun: &'r Begun,
}

/// Whether something of a request may have gone out: readable while its future waits.
#[derive(Debug, Default)]
pub(crate) struct Begun(AtomicBool);

impl Begun {
    pub(crate) fn has(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl<'u, 'r> Sending<'u, 'r> {
    pub(crate) fn new(
        upstreams: &'u Upstreams,
        peer: &'u EndpointPeer,
        request: &'r UpstreamRequest,
        first_byte: Duration,
        begun: &'r Begun,
    ) -> Self {
        Sending {
            upstreams,
            peer,
            request,
            first_byte,
            tries: 0,
            fresh: false,
            line: None,
            begun,
        }
    }

    /// Sends it and waits for the head of its answer. Where a connection is there only after `send_by`, nothing is sent over it
    /// ([`UpstreamErrorKind::Late`]): it waits for the next call.
    ///
    /// # Errors
    /// See [`UpstreamError`]; nothing of the answer was seen.
    pub(crate) async fn answer(
        &mut self,
        send_by: Option<Instant>,
    ) -> Result<UpstreamResponse<'u>, UpstreamError> {
        loop {
            let line = match self.line.take() {
                Some(line) => line,
                None => self.upstreams.connect(self.peer, self.fresh).await?,
            };
            if send_by.is_some_and(|by| Instant::now() > by) {
                self.line = Some(line);
                return Err(UpstreamErrorKind::Late.into());
            }
            self.begun.0.store(true, Ordering::Relaxed);
            let (reused, began) = (line.reused, Instant::now());
            match exchange(line, self.peer, self.request, self.first_byte).await {
                Ok((head, link)) => return Ok(UpstreamResponse::new(self.upstreams, self.peer, head, link)),
                // A pooled connection that died before its first answer byte was stale: that is nobody's failure.
                // One that took its time was not: the provider may have worked, and bill it.
                Err(failed)
                    if failed.again(reused && began.elapsed() < STALE_WITHIN)
                        && self.tries < STALE_TRIES + REFUSED_TRIES =>
                {
                    self.tries += 1;
                    self.fresh |= self.tries >= STALE_TRIES || matches!(failed.again, RetryType::Decided(_));
                }
                Err(failed) => return Err(failed.kind.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, Method};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::net::peer::{Address, HttpVersion};

    /// Answers one request, over the first connection only.
    async fn upstream(listener: TcpListener) -> String {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = vec![0; 1024];
        let length = stream.read(&mut asked).await.unwrap();
        let answer = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
        asked.truncate(length);
        String::from_utf8(asked).unwrap()
    }

    #[tokio::test]
    async fn a_connection_that_is_there_too_late_waits_for_the_next_call() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address {
            host: "127.0.0.1".into(),
            port: listener.local_addr().unwrap().port(),
            tls: false,
            version: HttpVersion::Http1,
        };
        let served = tokio::spawn(upstream(listener));
        let second = Duration::from_secs(1);
        let peer = EndpointPeer::new(&address, second, second);
        let request = UpstreamRequest {
            method: Method::GET,
            path: "/asked".to_owned(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
        };
        let upstreams = Upstreams::new(None);
        let begun = Begun::default();
        let mut sending = Sending::new(&upstreams, &peer, &request, 5 * second, &begun);
        for _ in 0..3 {
            let late = sending.answer(Some(Instant::now())).await;
            assert_eq!(late.err().unwrap().kind, UpstreamErrorKind::Late);
        }
        assert!(!begun.has());
        let answer = sending.answer(Some(Instant::now() + 5 * second)).await;
        assert_eq!(answer.unwrap().status(), 200);
        assert!(begun.has());
        assert!(served.await.unwrap().starts_with("GET /asked HTTP/1.1"));
    }
}
