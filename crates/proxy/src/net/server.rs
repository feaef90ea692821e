//! Accepts requests: header deadline, framing gate, one boxed future per request, keep-alive.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use pingora_core::apps::{HttpPersistentSettings, HttpServerApp, HttpServerOptions, ReusedHttpStream};
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora_core::server::ShutdownWatch;

use super::client::Client;
use super::drain::Drain;
use super::framing;

/// Handles one request after another.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request. Whatever it leaves unanswered is answered with a plain 500.
    fn handle<'c>(&'c self, client: &'c mut Client) -> Pin<Box<dyn Future<Output = ()> + Send + 'c>>;
}

impl Handler for Box<dyn Handler> {
    fn handle<'c>(&'c self, client: &'c mut Client) -> Pin<Box<dyn Future<Output = ()> + Send + 'c>> {
        (**self).handle(client)
    }
}

/// A request head must be complete within this time.
pub const HEADER_DEADLINE: Duration = Duration::from_secs(10);
/// An idle connection is kept for this long, seconds.
const KEEP_ALIVE: u64 = 75;
/// Streams that one HTTP/2 client may have open (reliability.md section 1: Envoy's number is 100, agents open more).
const MAX_H2_STREAMS: u32 = 128;

/// The HTTP server in front of a handler.
pub struct HttpServer<H> {
    handler: H,
    drain: Drain,
    options: HttpServerOptions,
}

impl<H: Handler> HttpServer<H> {
    /// A server for this handler.
    #[must_use]
    pub fn new(handler: H, drain: Drain) -> Self {
        let mut options = HttpServerOptions::default();
        options.h2c = true;
        options.h2_idle_timeout = Some(Duration::from_secs(KEEP_ALIVE));
        HttpServer {
            handler,
            drain,
            options,
        }
    }

    /// Reads the head; `None` if the connection is done.
    async fn read_head(&self, session: &mut ServerSession, shutdown: &ShutdownWatch) -> Option<()> {
        // A kept connection may idle first; a new one must talk at once.
        let reused = session.take_connection_user_context().is_some();
        let patience = if reused {
            HEADER_DEADLINE + Duration::from_secs(KEEP_ALIVE)
        } else {
            HEADER_DEADLINE
        };
        let mut stopping = shutdown.clone();
        let stop = async {
            if stopping.wait_for(|stopping| *stopping).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            read = tokio::time::timeout(patience, session.read_request()) => match read {
                Ok(Ok(true)) => Some(()),
                Ok(Err(_)) => {
                    // A head that cannot be parsed gets an answer; a closed connection cannot take one.
                    let _ = session.respond_error(400).await;
                    None
                }
                Ok(Ok(false)) | Err(_) => None,
            },
            () = stop => None,
        }
    }

    /// The request's own future, boxed apart so that an idle connection stays small (pingora.md section 1, item 4).
    #[inline(never)]
    fn boxed<'c>(&'c self, client: &'c mut Client) -> Pin<Box<dyn Future<Output = ()> + Send + 'c>> {
        self.handler.handle(client)
    }

    async fn answer(&self, client: &mut Client) {
        if let Err(reason) = gate(client) {
            client.close_after();
            let body = format!(
                "{{\"error\":{{\"message\":\"{reason}\",\"type\":\"invalid_request_error\",\"param\":null,\"code\":null}}}}"
            );
            let _ = client
                .respond(400, &[("content-type", "application/json")], body.into())
                .await;
            return;
        }
        let outcome = AssertUnwindSafe(self.boxed(client)).catch_unwind().await;
        if outcome.is_err() {
            tracing::error!("a request handler panicked; the request was answered with 500");
            client.close_after();
            if !client.is_started() {
                let body: &[u8] = br#"{"error":{"message":"internal error","type":"server_error","param":null,"code":"server_error"}}"#;
                let _ = client
                    .respond(500, &[("content-type", "application/json")], body.into())
                    .await;
            }
        }
    }
}

fn gate(client: &Client) -> Result<(), &'static str> {
    let http2 = client.is_http2();
    if !http2 && client.headers().contains_key("transfer-encoding") && framing::has_length(&client.raw_head())
    {
        // Pingora drops the length silently (RFC 9112 allows it); another parser in front may have used it.
        return Err("content-length and transfer-encoding exclude each other");
    }
    framing::check(client.headers(), http2, client.authority())?;
    if matches!(client.method(), "TRACE" | "CONNECT") {
        return Err("this method is not served");
    }
    Ok(())
}

impl Client {
    fn is_http2(&self) -> bool {
        self.session_ref().is_http2()
    }

    fn raw_head(&self) -> bytes::Bytes {
        self.session_ref().to_h1_raw()
    }

    fn authority(&self) -> Option<&str> {
        self.session_ref()
            .req_header()
            .uri
            .authority()
            .map(http::uri::Authority::as_str)
    }
}

#[async_trait]
impl<H: Handler> HttpServerApp for HttpServer<H> {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        self.read_head(&mut session, shutdown).await?;
        let guard = self.drain.enter();
        session.set_keepalive(if self.drain.is_draining() {
            None
        } else {
            Some(KEEP_ALIVE)
        });
        session.set_pipelining_enabled(true);
        let mut client = Client::new(session);
        self.answer(&mut client).await;
        let session = client.into_session();
        let mut settings = HttpPersistentSettings::for_session(&session);
        settings.set_user_context(Box::new(()));
        let reusable = session.finish().await.ok().flatten();
        drop(guard);
        reusable.map(|stream| ReusedHttpStream::from_reusable_stream(stream, settings))
    }

    fn h2_options(&self) -> Option<H2Options> {
        let mut options = default_h2_options();
        options.max_concurrent_streams(MAX_H2_STREAMS);
        Some(options)
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.options)
    }
}
