//! A site of whole requests and answers (the admin API) on one of our listeners, so that its socket takes part in an upgrade.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use http::{Request, Response};

use super::client::{BodyError, Client};
use super::server::Handler;

/// Largest request body of a site, bytes.
const MAX_BODY: usize = 1 << 20;

/// Answers whole requests.
pub trait Site: Send + Sync + 'static {
    /// Answers one request.
    fn answer(&self, request: Request<Bytes>) -> Pin<Box<dyn Future<Output = Response<Bytes>> + Send + '_>>;
}

/// A site as a handler.
pub struct Served<S>(pub S);

impl<S: Site> Handler for Served<S> {
    fn handle<'c>(&'c self, client: &'c mut Client) -> Pin<Box<dyn Future<Output = ()> + Send + 'c>> {
        Box::pin(async move {
            let response = match client.body(MAX_BODY).await {
                Ok(body) => match request(client, body) {
                    Some(request) => self.0.answer(request).await,
                    None => refused(400, "the request cannot be read"),
                },
                Err(BodyError::Gone) => return,
                Err(BodyError::TooLarge) => refused(413, "the body is larger than 1 MiB"),
                Err(BodyError::Slow) => refused(408, "the body did not arrive in time"),
                Err(BodyError::Framing) => refused(400, "the body is malformed"),
                Err(BodyError::Full) => refused(503, "too many request bodies are being read; try again"),
                Err(BodyError::Coding | BodyError::Corrupt) => {
                    refused(415, "the content-encoding cannot be read")
                }
            };
            let (head, body) = response.into_parts();
            let headers: Vec<(&str, &str)> = head
                .headers
                .iter()
                .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
                // The length is ours to write.
                .filter(|(name, _)| *name != "content-length")
                .collect();
            // A client that left needs no answer.
            let _ = client.respond(head.status.as_u16(), &headers, body).await;
        })
    }
}

fn request(client: &Client, body: Bytes) -> Option<Request<Bytes>> {
    let target = match client.query() {
        Some(query) => format!("{}?{query}", client.path()),
        None => client.path().to_owned(),
    };
    let mut request = Request::builder()
        .method(client.method())
        .uri(target)
        .body(body)
        .ok()?;
    *request.headers_mut() = client.headers().clone();
    // A decoded body is no longer what the header says of it.
    request.headers_mut().remove("content-encoding");
    if let Some(address) = client.socket_address() {
        request.extensions_mut().insert(address);
    }
    Some(request)
}

fn refused(status: u16, why: &str) -> Response<Bytes> {
    let body = format!("{{\"error\":{{\"code\":\"unreadable\",\"message\":\"{why}\"}}}}");
    let mut response = Response::new(Bytes::from(body));
    if let Ok(status) = http::StatusCode::from_u16(status) {
        *response.status_mut() = status;
    }
    let json = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(http::header::CONTENT_TYPE, json);
    response
}
