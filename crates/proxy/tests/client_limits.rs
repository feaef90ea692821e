//! What a client may take its time for, and what it may hold: on a clock that runs by itself.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use opm_proxy::net::budget::BodyBudget;
use opm_proxy::net::client::{BodyError, Client};
use opm_proxy::net::door::Door;
use opm_proxy::net::drain::Drain;
use opm_proxy::net::server::{Handler, HttpServer, Work};
use pingora_core::apps::ServerApp as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

const LIMIT: usize = 32 << 20;

/// Says how large the body was, or why it could not be read. `/wait` never answers by itself.
struct Sizes;

impl Handler for Sizes {
    fn handle<'c>(&'c self, client: &'c mut Client) -> Work<'c> {
        Box::pin(async move {
            let (status, text) = match client.body(LIMIT).await {
                Ok(_) if client.path() == "/wait" => {
                    client.gone().await;
                    return;
                }
                Ok(body) => (200, body.len().to_string()),
                Err(BodyError::Gone) => return,
                Err(BodyError::Slow) => (408, "slow".to_owned()),
                Err(BodyError::Full) => (503, "full".to_owned()),
                Err(error) => (400, format!("{error:?}")),
            };
            client.respond(status, &[], Bytes::from(text)).await.unwrap();
        })
    }
}

struct Server {
    door: Arc<Door<Sizes>>,
    drain: Drain,
    budget: BodyBudget,
    stop: watch::Sender<bool>,
}

impl Server {
    fn new() -> Self {
        let (drain, budget) = (Drain::default(), BodyBudget::new(64 << 20));
        Server {
            door: Arc::new(Door::new(HttpServer::new(Sizes, drain.clone(), budget.clone()))),
            drain,
            budget,
            stop: watch::Sender::new(false),
        }
    }

    fn connect(&self) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let (door, stop) = (Arc::clone(&self.door), self.stop.subscribe());
        tokio::spawn(async move { door.process_new(Box::new(theirs), &stop).await });
        ours
    }
}

/// Everything until the server closes, and the seconds that took.
async fn to_end(mut stream: DuplexStream) -> (String, f64) {
    let started = Instant::now();
    let mut all = Vec::new();
    let _ = timeout(Duration::from_secs(400), stream.read_to_end(&mut all)).await;
    (String::from_utf8(all).unwrap(), started.elapsed().as_secs_f64())
}

/// Sends a byte per `gap` until the server closes; gives its answer and the seconds.
async fn drip(mut stream: DuplexStream, bytes: impl Iterator<Item = u8>, gap: Duration) -> (String, f64) {
    let started = Instant::now();
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    for byte in bytes {
        if stream.write_all(&[byte]).await.is_err() {
            break;
        }
        match timeout(gap, stream.read(&mut buffer)).await {
            Ok(Ok(read @ 1..)) => answer.extend_from_slice(&buffer[..read]),
            Ok(_) => break,
            Err(_) => {}
        }
    }
    (
        String::from_utf8(answer).unwrap(),
        started.elapsed().as_secs_f64(),
    )
}

fn head(framing: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n")
}

#[tokio::test(start_paused = true)]
async fn a_new_connection_has_ten_seconds_for_its_head() {
    let server = Server::new();
    let (answer, seconds) = to_end(server.connect()).await;
    assert!((9.9..10.5).contains(&seconds), "silent: {seconds} s, {answer}");
    for gap in [8_000, 300] {
        let text = format!("{}X: {}", head("X: y").trim_end(), "a".repeat(500));
        let (answer, seconds) = drip(server.connect(), text.bytes(), Duration::from_millis(gap)).await;
        assert!(seconds < 20.0, "a byte per {gap} ms: {seconds} s, {answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_kept_connection_may_idle_but_not_drip() {
    let server = Server::new();
    let mut stream = server.connect();
    stream
        .write_all(head("Content-Length: 0").as_bytes())
        .await
        .unwrap();
    let (answer, seconds) = to_end(stream).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!((74.9..76.0).contains(&seconds), "idle: {seconds} s");
    let mut stream = server.connect();
    stream
        .write_all(head("Content-Length: 0").as_bytes())
        .await
        .unwrap();
    sleep(Duration::from_secs(60)).await;
    let bytes = head("X: y").trim_end().to_owned() + &"a".repeat(500);
    let (_, seconds) = drip(stream, bytes.bytes(), Duration::from_secs(1)).await;
    assert!((9.0..12.0).contains(&seconds), "dripping: {seconds} s");
}

#[tokio::test(start_paused = true)]
async fn a_request_shorter_than_the_http2_preface_is_answered_at_once() {
    let server = Server::new();
    let mut stream = server.connect();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    let (answer, seconds) = to_end(stream).await;
    assert!(
        answer.starts_with("HTTP/1.1 400") && answer.contains("host"),
        "{answer}"
    );
    assert!(seconds < 1.0, "{seconds}");
}

#[tokio::test(start_paused = true)]
async fn a_body_may_pause_but_not_creep() {
    let server = Server::new();
    let mut stream = server.connect();
    stream
        .write_all(head("Content-Length: 400").as_bytes())
        .await
        .unwrap();
    let (answer, seconds) = drip(stream, std::iter::repeat_n(b' ', 399), Duration::from_secs(1)).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!((10.0..13.0).contains(&seconds), "{seconds} s");
    let mut stream = server.connect();
    stream
        .write_all((head("Content-Length: 400") + "x").as_bytes())
        .await
        .unwrap();
    let (answer, seconds) = to_end(stream).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!((29.0..31.0).contains(&seconds), "silent: {seconds} s");
    let mut stream = server.connect();
    stream
        .write_all(head("Content-Length: 204800").as_bytes())
        .await
        .unwrap();
    for _ in 0..100 {
        stream.write_all(&[b'x'; 2048]).await.unwrap();
        sleep(Duration::from_secs(1)).await;
    }
    let (answer, _) = to_end(stream).await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("204800"),
        "{answer}"
    );
}

#[tokio::test(start_paused = true)]
async fn malformed_chunks_are_answered_at_once() {
    for body in [
        "zz\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
        "5\nhello\n0\n\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhelloXX\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
    ] {
        let server = Server::new();
        let mut stream = server.connect();
        let text = head("Transfer-Encoding: chunked") + body;
        stream.write_all(text.as_bytes()).await.unwrap();
        let (answer, seconds) = to_end(stream).await;
        // Found by the gate if the chunk came with the head, else by whoever reads the body.
        let named = answer.contains("chunked") || answer.contains("Framing");
        assert!(answer.starts_with("HTTP/1.1 400") && named, "{body:?}: {answer}");
        assert!(answer.contains("Connection: close"), "{body:?}: {answer}");
        assert!(seconds < 1.0, "{body:?}: {seconds} s");
    }
}

#[tokio::test(start_paused = true)]
async fn malformed_heads_and_targets_are_answered_at_once() {
    for head in [
        "POST / HTTP/1.1\nHost: a\nContent-Length: 0\n\n",
        "POST / HTTP/1.1\r\nHost: a\r\nX: y\nContent-Length: 0\r\n\r\n",
        "POST * HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
        "POST v1 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
        "POST /v1#f HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\nx",
        "POST / HTTP/1.1\r\nHost: a\r\nX\0: y\r\n\r\n",
    ] {
        let server = Server::new();
        let mut stream = server.connect();
        stream.write_all(head.as_bytes()).await.unwrap();
        let (answer, seconds) = to_end(stream).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{head:?}: {answer}");
        assert!(answer.contains("invalid_request_error"), "{head:?}: {answer}");
        assert!(seconds < 1.0, "{head:?}: {seconds} s");
    }
}

#[tokio::test(start_paused = true)]
async fn requests_behind_one_another_are_all_answered() {
    let server = Server::new();
    let mut stream = server.connect();
    let chunked = head("Transfer-Encoding: chunked") + "5;x=y\r\nhello\r\n0\r\nX-T: 1\r\n\r\n";
    let text = chunked.clone() + &head("Content-Length: 3") + "a\nb" + &chunked + &head("Connection: close");
    stream.write_all(text.as_bytes()).await.unwrap();
    let (answer, seconds) = to_end(stream).await;
    assert_eq!(answer.matches("HTTP/1.1 200").count(), 4, "{answer}");
    assert!(seconds < 1.0, "{seconds} s");
}

#[tokio::test(start_paused = true)]
async fn bodies_share_a_budget() {
    let server = Server::new();
    let large = head("Content-Length: 31457280");
    let mut open = Vec::new();
    let mut refused = 0;
    for _ in 0..10 {
        let mut stream = server.connect();
        stream.write_all(large.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        let piece = vec![b'x'; 1 << 20];
        let mut full = false;
        for _ in 0..29 {
            stream.write_all(&piece).await.unwrap();
            full = matches!(
                timeout(Duration::from_millis(1), stream.read(&mut answer)).await,
                Ok(Ok(12))
            );
            if full {
                assert_eq!(&answer, b"HTTP/1.1 503");
                break;
            }
        }
        if full {
            refused += 1;
        } else {
            open.push(stream);
        }
    }
    assert_eq!((open.len(), refused), (2, 8));
    assert!(server.budget.used() <= 64 << 20);
    open.clear();
    while server.budget.used() > 0 {
        sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_unanswered_request_is_told_when_the_process_must_go() {
    let server = Server::new();
    let mut stream = server.connect();
    let wait = head("Content-Length: 0").replace("POST / ", "POST /wait ");
    stream.write_all(wait.as_bytes()).await.unwrap();
    while server.drain.in_flight() == 0 {
        sleep(Duration::from_millis(1)).await;
    }
    server.drain.start();
    server.drain.expire();
    let (answer, seconds) = to_end(stream).await;
    assert!(
        answer.starts_with("HTTP/1.1 503") && answer.contains("shutting down"),
        "{answer}"
    );
    assert!(seconds < 1.0);
}

#[tokio::test(start_paused = true)]
async fn after_a_hand_over_connections_close_behind_their_answer() {
    let server = Server::new();
    let mut kept = server.connect();
    server.drain.hand_over();
    kept.write_all(head("Content-Length: 0").as_bytes())
        .await
        .unwrap();
    let (answer, seconds) = to_end(kept).await;
    assert!(
        answer.contains("200 OK") && answer.contains("Connection: close"),
        "{answer}"
    );
    assert!(seconds < 1.0);
    // A connection that was accepted last still gets its answer.
    let mut late = server.connect();
    server.stop.send(true).unwrap();
    sleep(Duration::from_millis(500)).await;
    late.write_all(head("Content-Length: 0").as_bytes())
        .await
        .unwrap();
    let (answer, _) = to_end(late).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
