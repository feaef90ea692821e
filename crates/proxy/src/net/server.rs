//! Accepts requests: header deadline, framing gate, one boxed future per request, keep-alive.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use pingora_core::apps::{HttpPersistentSettings, HttpServerApp, HttpServerOptions, ReusedHttpStream};
use pingora_core::protocols::http::ServerSession;
use pingora_core::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora_core::server::ShutdownWatch;
use pingora_http::ResponseHeader;

use super::budget::BodyBudget;
use super::client::Client;
use super::door::tap;
use super::drain::{Drain, LINGER};
use super::framing;
use super::tap::{Framing, HEADER_DEADLINE, KEEP_ALIVE, Tap};

/// A handler's work on one request.
pub type Work<'c> = Pin<Box<dyn Future<Output = ()> + Send + 'c>>;

/// Why a request is refused before its handler sees it, or answered in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The head is malformed or ambiguous; the sentence says how.
    Malformed(&'static str),
    /// The process stops before the request is done.
    Stopping,
    /// The handler broke.
    Broken,
}

impl Refusal {
    /// Status and sentence.
    #[must_use]
    pub fn words(self) -> (u16, &'static str) {
        match self {
            Refusal::Malformed(reason) => (400, reason),
            Refusal::Stopping => (503, "The gateway is shutting down; try again."),
            Refusal::Broken => (500, "internal error"),
        }
    }
}

/// What is said of a head that cannot be read.
pub const UNREADABLE: &str = "The request head is malformed.";

/// Handles one request after another.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request. Whatever it leaves unanswered is answered with a plain 500.
    fn handle<'c>(&'c self, client: &'c mut Client) -> Work<'c>;

    /// Headers and body of the 400 for a head that cannot be read at all, so that nothing is known of its caller.
    fn unreadable(&self) -> (Vec<(&'static str, String)>, Bytes) {
        (Vec::new(), plain_error(UNREADABLE).into())
    }

    /// Refuses a request in the words of its caller.
    fn refuse<'c>(&'c self, client: &'c mut Client, refusal: Refusal) -> Work<'c> {
        Box::pin(async move {
            let (status, reason) = refusal.words();
            let body = plain_error(reason);
            // A client that left needs no answer.
            let _ = client
                .respond(status, &[("content-type", "application/json")], body.into())
                .await;
        })
    }
}

impl Handler for Box<dyn Handler> {
    fn handle<'c>(&'c self, client: &'c mut Client) -> Work<'c> {
        (**self).handle(client)
    }

    fn refuse<'c>(&'c self, client: &'c mut Client, refusal: Refusal) -> Work<'c> {
        (**self).refuse(client, refusal)
    }

    fn unreadable(&self) -> (Vec<(&'static str, String)>, Bytes) {
        (**self).unreadable()
    }
}

/// Streams that one HTTP/2 client may have open (reliability.md section 1: Envoy's number is 100, agents open more).
const MAX_H2_STREAMS: u32 = 128;

/// The HTTP server in front of a handler.
pub struct HttpServer<H> {
    handler: H,
    drain: Drain,
    budget: BodyBudget,
    options: HttpServerOptions,
    ticking: std::sync::Once,
}

/// The runtime's next wake-up is never farther away than this. A timer that is due before the next wake-up costs tokio a write to its
/// event descriptor; with a tick close by, no timer of a request is (measured: one system call less per request).
const TICK: std::time::Duration = std::time::Duration::from_millis(100);

async fn tick() {
    loop {
        tokio::time::sleep(TICK).await;
    }
}

/// What came on a connection.
enum Head {
    /// A request.
    Request,
    /// Something that cannot be read as one.
    Malformed,
    /// Nothing, or not in time.
    Nothing,
}

impl<H: Handler> HttpServer<H> {
    /// A server for this handler. The bodies of its requests share `budget`.
    #[must_use]
    pub fn new(handler: H, drain: Drain, budget: BodyBudget) -> Self {
        let mut options = HttpServerOptions::default();
        options.h2c = true;
        options.h2_idle_timeout = Some(KEEP_ALIVE);
        HttpServer {
            handler,
            drain,
            budget,
            options,
            ticking: std::sync::Once::new(),
        }
    }

    async fn read_head(
        &self,
        session: &mut ServerSession,
        tap: Option<&Tap>,
        shutdown: &ShutdownWatch,
    ) -> Head {
        let kept = session.take_connection_user_context().is_some();
        if kept && let Some(tap) = tap {
            tap.expect_head();
        }
        let overdue = async {
            match tap {
                Some(tap) => tap.overdue(kept).await,
                None => tokio::time::sleep(HEADER_DEADLINE).await,
            }
        };
        tokio::select! {
            biased;
            read = session.read_request() => match read {
                Ok(true) => Head::Request,
                Err(_) => Head::Malformed,
                Ok(false) => Head::Nothing,
            },
            () = overdue => Head::Nothing,
            () = stopped(tap, shutdown) => Head::Nothing,
        }
    }

    /// The request's own future, boxed apart so that an idle connection stays small (pingora.md section 1, item 4).
    #[inline(never)]
    fn boxed<'c>(&'c self, client: &'c mut Client) -> Pin<Box<dyn Future<Output = ()> + Send + 'c>> {
        self.handler.handle(client)
    }

    async fn answer(&self, client: &mut Client, malformed: bool) {
        let passed = framing_gate(client, malformed).inspect_err(|_| client.give_up_body());
        if let Err(reason) = passed.and_then(|()| gate(client)) {
            client.close_after();
            return self.handler.refuse(client, Refusal::Malformed(reason)).await;
        }
        let outcome = AssertUnwindSafe(self.boxed(client)).catch_unwind().await;
        if outcome.is_err() {
            tracing::error!("a request handler panicked; the request was answered with 500");
            client.close_after();
            if !client.is_started() {
                self.handler.refuse(client, Refusal::Broken).await;
            }
        } else if self.drain.is_expired() && !client.is_started() {
            client.close_after();
            self.handler.refuse(client, Refusal::Stopping).await;
        }
    }

    /// Answers a head that cannot be read.
    async fn answer_unreadable(&self, session: &mut ServerSession) {
        let (headers, body) = self.handler.unreadable();
        let Ok(mut head) = ResponseHeader::build(400, Some(8)) else {
            return;
        };
        let length = ("content-length", body.len().to_string());
        let kind = ("content-type", "application/json".to_owned());
        let headers = headers.into_iter().chain([kind, length]);
        if headers
            .into_iter()
            .all(|(name, value)| head.insert_header(name, value).is_ok())
        {
            // A connection that is gone needs no answer.
            let _ = session.write_error_response(head, body).await;
        }
    }
}

/// Resolves when the process stops and no request is on its way.
async fn stopped(tap: Option<&Tap>, shutdown: &ShutdownWatch) {
    let mut stopping = shutdown.clone();
    if stopping.wait_for(|stopping| *stopping).await.is_err() {
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(LINGER).await;
    if tap.is_some_and(Tap::has_begun) {
        // The deadline of the head holds.
        std::future::pending::<()>().await;
    }
}

/// An error for callers of which no format is known: OpenAI's shape, as most understand it.
fn plain_error(reason: &str) -> String {
    format!(
        "{{\"error\":{{\"message\":\"{reason}\",\"type\":\"invalid_request_error\",\"param\":null,\"code\":null}}}}"
    )
}

/// Where the head or the body of a request ends must be beyond doubt.
fn framing_gate(client: &Client, malformed: bool) -> Result<(), &'static str> {
    if let Some(fault) = client.fault() {
        return Err(fault);
    }
    let http2 = client.is_http2();
    if !http2 && client.headers().contains_key(TRANSFER_ENCODING) && framing::has_length(&client.raw_head()) {
        // Pingora drops the length silently (RFC 9112 allows it); another parser in front may have used it.
        return Err("content-length and transfer-encoding exclude each other");
    }
    framing::check(client.headers(), http2, client.authority())?;
    if malformed {
        return Err("the request head is malformed");
    }
    Ok(())
}

fn gate(client: &Client) -> Result<(), &'static str> {
    if matches!(client.method(), "TRACE" | "CONNECT") {
        return Err("this method is not served");
    }
    let raw = (!client.is_http2()).then(|| client.raw_head());
    let target = match &raw {
        Some(raw) => framing::target(raw),
        None => client.target(),
    };
    framing::check_target(client.method(), target)
}

/// How Pingora frames the body of this request.
fn framing_of(headers: &http::HeaderMap) -> Framing {
    if headers.contains_key(TRANSFER_ENCODING) {
        return Framing::Chunked;
    }
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    Framing::Length(length.and_then(|value| value.parse().ok()).unwrap_or(0))
}

impl Client {
    fn is_http2(&self) -> bool {
        self.session_ref().is_http2()
    }

    fn target(&self) -> &[u8] {
        self.session_ref().req_header().raw_path()
    }

    fn raw_head(&self) -> Bytes {
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
        self.ticking.call_once(|| drop(tokio::spawn(tick())));
        let tap = tap(&session);
        let malformed = match self.read_head(&mut session, tap.as_deref(), shutdown).await {
            Head::Request => false,
            // The summary of a request without a head begins with a dash instead of a method.
            Head::Malformed if session.request_summary().starts_with("- ") => {
                self.answer_unreadable(&mut session).await;
                return None;
            }
            Head::Malformed => true,
            Head::Nothing => return None,
        };
        let guard = self.drain.enter();
        let leaving = self.drain.is_draining() || self.drain.is_handed_over();
        session.set_keepalive((!leaving).then_some(KEEP_ALIVE.as_secs()));
        session.set_pipelining_enabled(true);
        if let Some(tap) = &tap {
            tap.expect_body(framing_of(&session.req_header().headers));
        }
        let mut client = Client::new(session, tap, self.drain.clone(), self.budget.share());
        self.answer(&mut client, malformed).await;
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
