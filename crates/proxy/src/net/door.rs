//! The first thing behind the accept: every client's connection gets its [`Tap`], and the search for the HTTP/2 preface its
//! deadline. Pingora's own search waits for 24 bytes without one.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use pingora_core::apps::ServerApp;
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::raw_connect::ProxyDigest;
use pingora_core::protocols::tls::SslDigest;
use pingora_core::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, Stream,
    TimingDigest, UniqueID, UniqueIDType,
};
use pingora_core::server::ShutdownWatch;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::time::timeout_at;

use super::held::Held;
use super::server::{Handler, HttpServer};
use super::tap::Tap;

/// What an HTTP/2 client begins with (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Takes connections in and gives them to the HTTP server.
pub struct Door<H>(Arc<HttpServer<H>>);

impl<H: Handler> Door<H> {
    /// The door of this server.
    #[must_use]
    pub fn new(server: HttpServer<H>) -> Self {
        Door(Arc::new(server))
    }
}

#[async_trait]
impl<H: Handler> ServerApp for Door<H> {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let mut watched = Watched {
            stream,
            tap: Arc::new(Tap::default()),
            replay: Vec::new(),
            held: Some(Held::default()),
        };
        if matches!(watched.selected_alpn_proto(), Some(ALPN::H2)) {
            watched.look_away();
        }
        self.0.process_new(Box::new(watched), shutdown).await
    }

    async fn cleanup(&self) {
        self.0.cleanup().await;
    }
}

/// The tap of a session's connection; none for HTTP/2.
pub(super) fn tap(session: &ServerSession) -> Option<Arc<Tap>> {
    let stream = session.stream()?;
    let watched = (**stream).as_any().downcast_ref::<Watched>()?;
    Some(Arc::clone(&watched.tap))
}

/// A client's connection whose reads are seen by its tap.
struct Watched {
    stream: Stream,
    tap: Arc<Tap>,
    /// Read while looking for the preface, to be read again; already seen by the tap.
    replay: Vec<u8>,
    /// What was written but not flushed; none for HTTP/2.
    held: Option<Held>,
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stream.fmt(f)
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.replay.is_empty() {
            let here = self.replay.len().min(buf.remaining());
            buf.put_slice(self.replay.get(..here).unwrap_or_default());
            self.replay.drain(..here);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if matches!(read, Poll::Ready(Ok(()))) {
            self.tap.see(buf.filled().get(before..).unwrap_or_default());
        }
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let Watched { stream, held, .. } = &mut *self;
        match held {
            Some(held) => held.poll_write(stream, cx, buf),
            None => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_held(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_held(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.held.is_none() {
            return Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        }
        let first = bufs.iter().find(|buf| !buf.is_empty());
        self.poll_write(cx, first.map_or(&[], |buf| buf))
    }

    fn is_write_vectored(&self) -> bool {
        self.held.is_none() && self.stream.is_write_vectored()
    }
}

impl Watched {
    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.held {
            Some(held) => held.poll_empty(&mut self.stream, cx),
            None => Poll::Ready(Ok(())),
        }
    }

    /// The connection speaks HTTP/2, which has frames and buffers of its own.
    fn look_away(&mut self) {
        self.tap.look_away();
        self.held = None;
    }
}

#[async_trait]
impl Peek for Watched {
    /// Looks for the preface until the first byte that differs, so that a short HTTP/1 request needs no more bytes to be one.
    async fn try_peek(&mut self, buf: &mut [u8]) -> io::Result<bool> {
        let deadline = self.tap.first_deadline();
        let mut seen = Vec::with_capacity(PREFACE.len());
        let search = async {
            while seen.len() < PREFACE.len() && PREFACE.starts_with(&seen) {
                let mut piece = [0u8; 24];
                let room = piece.get_mut(..PREFACE.len() - seen.len()).unwrap_or_default();
                match self.read(room).await? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    read => seen.extend_from_slice(piece.get(..read).unwrap_or_default()),
                }
            }
            io::Result::Ok(())
        };
        timeout_at(deadline, search)
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        if seen == PREFACE {
            self.look_away();
        }
        if let Some(room) = buf.get_mut(..seen.len()) {
            room.copy_from_slice(&seen);
        }
        self.replay = seen;
        Ok(true)
    }
}

#[async_trait]
impl Shutdown for Watched {
    async fn shutdown(&mut self) {
        self.stream.shutdown().await;
    }
}

impl UniqueID for Watched {
    fn id(&self) -> UniqueIDType {
        self.stream.id()
    }
}

impl Ssl for Watched {
    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.stream.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.stream.selected_alpn_proto()
    }
}

impl GetTimingDigest for Watched {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.stream.get_timing_digest()
    }

    fn get_read_pending_time(&self) -> Duration {
        self.stream.get_read_pending_time()
    }

    fn get_write_pending_time(&self) -> Duration {
        self.stream.get_write_pending_time()
    }
}

impl GetProxyDigest for Watched {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.stream.get_proxy_digest()
    }

    fn set_proxy_digest(&mut self, digest: ProxyDigest) {
        self.stream.set_proxy_digest(digest);
    }
}

impl GetSocketDigest for Watched {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.stream.get_socket_digest()
    }

    fn set_socket_digest(&mut self, digest: SocketDigest) {
        self.stream.set_socket_digest(digest);
    }
}
