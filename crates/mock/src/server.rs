//! The HTTP side: one port, four providers.

use std::convert::Infallible;
use std::io::Write as _;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::answer::{Asked, Fault, Plan, plan};
use crate::record::Recorded;
use crate::{completions, gemini, messages, openai, strict};

/// Which provider a path belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Provider {
    Chat,
    /// OpenAI's old `/v1/completions`.
    Completions,
    Responses,
    Messages,
    Gemini,
}

type Body = BoxBody<Bytes, Infallible>;

/// A running mock.
#[derive(Debug)]
pub struct Mock {
    /// Where it listens.
    pub address: SocketAddr,
    /// What it received.
    pub recorded: Recorded,
}

impl Mock {
    /// Starts on the current Tokio runtime; port 0 takes a free one.
    ///
    /// # Errors
    /// The address cannot be used.
    pub async fn start(address: SocketAddr) -> std::io::Result<Mock> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let recorded = Recorded::default();
        let list = recorded.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let list = list.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let list = list.clone();
                        async move { Ok::<_, Infallible>(handle(request, list).await) }
                    });
                    // A client that breaks the connection is part of what is tested.
                    let _ = auto::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Ok(Mock { address, recorded })
    }
}

/// Starts a mock on a thread and runtime of its own; returns where it listens.
///
/// # Errors
/// The address cannot be used.
pub fn spawn(address: SocketAddr) -> std::io::Result<SocketAddr> {
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::Builder::new().name("mock".into()).spawn(move || {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return drop(send.send(Err(error))),
        };
        runtime.block_on(async {
            let started = Mock::start(address).await.map(|mock| mock.address);
            let running = started.is_ok();
            if send.send(started).is_ok() && running {
                std::future::pending::<()>().await;
            }
        });
    })?;
    receive
        .recv()
        .unwrap_or_else(|_| Err(std::io::Error::other("the mock did not start")))
}

fn full(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(body.into()).boxed());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (
            http::HeaderName::try_from(*name),
            http::HeaderValue::from_str(value),
        ) {
            response.headers_mut().append(name, value);
        }
    }
    response
}

fn json_answer(status: u16, headers: &[(&str, &str)], body: &Value) -> Response<Body> {
    let mut all = vec![
        ("content-type", "application/json"),
        ("x-request-id", "req_mock"),
        ("set-cookie", "mock=1"),
    ];
    all.extend_from_slice(headers);
    full(status, &all, body.to_string())
}

/// The provider, the model in the path and whether the path asks for a stream.
fn recognize(path: &str) -> Option<(Provider, Option<String>, bool)> {
    let path = path.trim_end_matches('/');
    if path.ends_with("/chat/completions") {
        Some((Provider::Chat, None, false))
    } else if path.ends_with("/completions") {
        Some((Provider::Completions, None, false))
    } else if path.ends_with("/responses") {
        Some((Provider::Responses, None, false))
    } else if path.ends_with("/messages") {
        Some((Provider::Messages, None, false))
    } else {
        let (_, rest) = path.split_once("/models/")?;
        let decoded = rest.replace("%2F", "/").replace("%40", "@").replace("%3A", ":");
        let (model, method) = decoded.rsplit_once(':')?;
        let stream = match method {
            "generateContent" => false,
            "streamGenerateContent" => true,
            _ => return None,
        };
        Some((Provider::Gemini, Some(model.to_owned()), stream))
    }
}

async fn handle(request: Request<Incoming>, recorded: Recorded) -> Response<Body> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    if path == "/_mock/requests" {
        if head.method == Method::DELETE {
            recorded.clear();
        }
        return json_answer(200, &[], &recorded.list());
    }
    let bytes = body
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes)
        .unwrap_or_default();
    let parsed: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    let headers: serde_json::Map<String, Value> = head
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), json!(value.to_str().unwrap_or(""))))
        .collect();
    let number = recorded.add(json!({
        "method": head.method.as_str(), "path": path, "query": head.uri.query(), "headers": headers, "body": parsed,
        "raw": String::from_utf8_lossy(&bytes),
    }));
    let Some((provider, model, path_stream)) = recognize(&path) else {
        return other(&path, &parsed, &head.headers);
    };
    if let Err(response) = authorized(provider, &head.headers, head.uri.query()) {
        return *response;
    }
    if let Err(message) = strict::check(provider, &parsed, &head.headers) {
        return error(provider, 400, &message, false);
    }
    let mut asked = match provider {
        Provider::Chat => openai::asked_chat(&parsed),
        Provider::Completions => completions::asked(&parsed),
        Provider::Responses => openai::asked_responses(&parsed),
        Provider::Messages => messages::asked(&parsed),
        Provider::Gemini => gemini::asked(&parsed, model.as_deref().unwrap_or_default()),
    };
    asked.credential = credential(&head.headers);
    let plan = plan(&asked);
    if !plan.first_byte.is_zero() {
        let guard = Closed {
            recorded: recorded.clone(),
            number,
            done: false,
        };
        tokio::time::sleep(plan.first_byte).await;
        guard.finish();
    }
    if let Some(status) = plan.error {
        return error(provider, status, "scripted error", plan.says_when);
    }
    let stream = path_stream || parsed.get("stream") == Some(&json!(true));
    if !stream {
        return whole(provider, &parsed, &asked, &plan);
    }
    let sse = provider != Provider::Gemini || head.uri.query().is_some_and(|query| query.contains("alt=sse"));
    streamed(
        provider,
        &parsed,
        &asked,
        plan,
        sse,
        Closed {
            recorded,
            number,
            done: false,
        },
    )
}

/// Notes a client that leaves early.
struct Closed {
    recorded: Recorded,
    number: u64,
    done: bool,
}

impl Closed {
    fn finish(mut self) {
        self.done = true;
    }
}

impl Drop for Closed {
    fn drop(&mut self) {
        if !self.done {
            self.recorded.closed(self.number);
        }
    }
}

/// Endpoints beside generation.
fn other(path: &str, body: &Value, headers: &HeaderMap) -> Response<Body> {
    if path.ends_with("/models") {
        let asked = Asked {
            credential: credential(headers),
            ..Asked::default()
        };
        if let Some(status) = plan(&asked).error {
            return json_answer(status, &[], &json!({"error": {"message": "scripted error"}}));
        }
        let data = json!([{"id": "mock-model", "object": "model"}]);
        return json_answer(200, &[], &json!({"object": "list", "data": data}));
    }
    if path.ends_with("/embeddings") {
        let data = json!([{"object": "embedding", "index": 0, "embedding": [0.1, 0.2]}]);
        let usage = json!({"prompt_tokens": 3, "total_tokens": 3});
        return json_answer(
            200,
            &[],
            &json!({"object": "list", "data": data, "model": body["model"], "usage": usage}),
        );
    }
    if path.ends_with("/count_tokens") {
        return json_answer(200, &[], &json!({"input_tokens": 42}));
    }
    if path.ends_with(":countTokens") {
        return json_answer(200, &[], &json!({"totalTokens": 42}));
    }
    json_answer(
        404,
        &[],
        &json!({"error": {"message": "not found", "type": "invalid_request_error", "param": null, "code": null}}),
    )
}

/// The credential, wherever it stands.
fn credential(headers: &HeaderMap) -> String {
    let found = ["authorization", "x-api-key", "x-goog-api-key"]
        .iter()
        .find_map(|name| headers.get(*name));
    let text = found.and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.trim_start_matches("Bearer ").to_owned()
}

/// Each provider wants its own header.
fn authorized(
    provider: Provider,
    headers: &HeaderMap,
    query: Option<&str>,
) -> Result<(), Box<Response<Body>>> {
    let bearer = headers
        .get("authorization")
        .is_some_and(|value| value.as_bytes().starts_with(b"Bearer "));
    let good = match provider {
        Provider::Chat | Provider::Completions | Provider::Responses => bearer,
        Provider::Messages => bearer || headers.contains_key("x-api-key"),
        Provider::Gemini => {
            headers.contains_key("x-goog-api-key") || query.is_some_and(|query| query.contains("key="))
        }
    };
    if good {
        Ok(())
    } else {
        Err(Box::new(error(provider, 401, "missing credentials", false)))
    }
}

/// An error in the provider's own shape.
fn error(provider: Provider, status: u16, message: &str, says_when: bool) -> Response<Body> {
    let body = error_body(provider, status, message);
    let retry: &[(&str, &str)] = if status == 429 && says_when {
        &[("retry-after", "7")]
    } else {
        &[]
    };
    json_answer(status, retry, &body)
}

pub(crate) fn error_body(provider: Provider, status: u16, message: &str) -> Value {
    match provider {
        Provider::Chat | Provider::Completions | Provider::Responses => {
            let kind = match status {
                429 => "requests",
                500.. => "server_error",
                _ => "invalid_request_error",
            };
            json!({"error": {"message": message, "type": kind, "param": null, "code": null}})
        }
        Provider::Messages => {
            let kind = match status {
                401 => "authentication_error",
                403 => "permission_error",
                404 => "not_found_error",
                413 => "request_too_large",
                429 => "rate_limit_error",
                529 => "overloaded_error",
                500.. => "api_error",
                _ => "invalid_request_error",
            };
            json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_mock"})
        }
        Provider::Gemini => {
            let word = match status {
                401 => "UNAUTHENTICATED",
                403 => "PERMISSION_DENIED",
                404 => "NOT_FOUND",
                429 => "RESOURCE_EXHAUSTED",
                500 => "INTERNAL",
                503 | 529 => "UNAVAILABLE",
                _ => "INVALID_ARGUMENT",
            };
            json!({"error": {"code": status, "message": message, "status": word}})
        }
    }
}

fn whole(provider: Provider, body: &Value, asked: &Asked, plan: &Plan) -> Response<Body> {
    if plan.fault == Fault::FirstEvent {
        return json_answer(200, &[], &error_body(provider, 529, "scripted error"));
    }
    let answer = match provider {
        Provider::Chat => openai::chat(asked, plan),
        Provider::Completions => completions::answer(asked, plan),
        Provider::Responses => openai::responses(body, asked, plan),
        Provider::Messages => messages::message(asked, plan),
        Provider::Gemini => gemini::answer(asked, plan),
    };
    // Arguments keep their digits: they were put in as text.
    let text = unquote_raw(&answer.to_string());
    if plan.gzip {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let zipped = encoder
            .write_all(text.as_bytes())
            .and_then(|()| encoder.finish())
            .unwrap_or_default();
        return full(
            200,
            &[("content-type", "application/json"), ("content-encoding", "gzip")],
            zipped,
        );
    }
    full(
        200,
        &[
            ("content-type", "application/json"),
            ("x-request-id", "req_mock"),
            ("set-cookie", "mock=1"),
        ],
        text,
    )
}

/// Marks text that is JSON already; `serde_json` would change its numbers.
pub(crate) fn raw(json_text: &str) -> Value {
    Value::String(format!("\u{1}{json_text}\u{1}"))
}

/// Puts marked text back as what it is.
pub(crate) fn unquote_raw(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("\"\\u0001") {
        let (inside, after) = behind.split_once("\\u0001\"").unwrap_or((behind, ""));
        out.push_str(before);
        let decoded: String = serde_json::from_str(&format!("\"{inside}\"")).unwrap_or_default();
        out.push_str(&decoded);
        rest = after;
    }
    out.push_str(rest);
    out
}

fn streamed(
    provider: Provider,
    body: &Value,
    asked: &Asked,
    plan: Plan,
    sse: bool,
    closed: Closed,
) -> Response<Body> {
    let mut events: Vec<String> = match provider {
        Provider::Chat => openai::chat_events(body, asked, &plan),
        Provider::Completions => completions::events(body, asked, &plan),
        Provider::Responses => openai::responses_events(body, asked, &plan),
        Provider::Messages => messages::events(asked, &plan),
        Provider::Gemini => gemini::events(asked, &plan, sse),
    };
    events.iter_mut().for_each(|event| *event = unquote_raw(event));
    let fault = error_event(provider, sse);
    let middle = events.len().div_ceil(2);
    match plan.fault {
        Fault::None => {}
        Fault::FirstEvent => events = vec![fault],
        Fault::Middle => {
            events.truncate(middle);
            events.push(fault);
        }
        Fault::Cut => events.truncate(middle),
        Fault::Empty => events.clear(),
    }
    let (send, receive) = mpsc::channel::<Bytes>(1);
    tokio::spawn(async move {
        let zip = plan.gzip;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        for event in events {
            if !plan.gap.is_zero() {
                tokio::select! {
                    () = tokio::time::sleep(plan.gap) => {}
                    () = send.closed() => return drop(closed),
                }
            }
            let bytes = if zip {
                let written = encoder.write_all(event.as_bytes()).and_then(|()| encoder.flush());
                if written.is_err() {
                    return;
                }
                std::mem::take(encoder.get_mut())
            } else {
                event.into_bytes()
            };
            let size = plan.split.unwrap_or(bytes.len()).max(1);
            for piece in bytes.chunks(size) {
                if send.send(Bytes::copy_from_slice(piece)).await.is_err() {
                    return drop(closed);
                }
                if plan.split.is_some() {
                    tokio::task::yield_now().await;
                }
            }
        }
        if zip {
            let _ = send.send(encoder.finish().unwrap_or_default().into()).await;
        }
        closed.finish();
    });
    let frames = futures_util::stream::unfold(receive, |mut receive| async move {
        let bytes = receive.recv().await?;
        Some((Ok::<_, Infallible>(Frame::data(bytes)), receive))
    });
    let mut response = Response::new(BoxBody::new(StreamBody::new(frames)));
    let kind = if sse {
        "text/event-stream"
    } else {
        "application/json"
    };
    response
        .headers_mut()
        .insert("content-type", http::HeaderValue::from_static(kind));
    if plan.gzip {
        response
            .headers_mut()
            .insert("content-encoding", http::HeaderValue::from_static("gzip"));
    }
    response
}

fn error_event(provider: Provider, sse: bool) -> String {
    let body = error_body(provider, 529, "scripted error");
    match provider {
        Provider::Chat | Provider::Completions => format!("data: {body}\n\n"),
        Provider::Messages => format!("event: error\ndata: {body}\n\n"),
        Provider::Responses => {
            let response = json!({"id": "resp_mock1", "object": "response", "status": "failed", "output": [],
                "error": {"code": "server_is_overloaded", "message": "scripted error"}});
            let event = json!({"type": "response.failed", "sequence_number": 99, "response": response});
            format!("event: response.failed\ndata: {event}\n\n")
        }
        Provider::Gemini if sse => format!("data: {body}\r\n\r\n"),
        Provider::Gemini => body.to_string(),
    }
}
