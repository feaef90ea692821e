//! A provider of Chat Completions that costs as little as possible: fixed answers, streams of one write per event.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{spawn_local, yield_now};
use tokio::time::sleep;

use crate::Result;

/// Events of a stream before its last two.
const EVENTS: usize = 125;
/// Time between the events of a paced stream.
const PACE: Duration = Duration::from_millis(20);

/// Begins to serve, on the current `LocalSet`.
pub(crate) async fn serve(listen: &str) -> Result<()> {
    let listener = TcpListener::bind(listen).await?;
    spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A caller that goes away is none of ours.
            spawn_local(async move { _ = answer_all(stream).await });
        }
    });
    Ok(())
}

async fn answer_all(mut stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let whole = whole();
    let events = events();
    let mut got = Vec::new();
    loop {
        let Some(length) = read_request(&mut stream, &mut got).await? else {
            return Ok(());
        };
        let request = &got[..length];
        let (is_stream, is_paced) = (holds(request, b"\"stream\":true"), holds(request, b"paced"));
        got.drain(..length);
        if !is_stream {
            stream.write_all(whole.as_bytes()).await?;
            continue;
        }
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).await?;
        for event in &events {
            match is_paced {
                true => sleep(PACE).await,
                false => yield_now().await,
            }
            stream.write_all(event.as_bytes()).await?;
        }
    }
}

/// Reads until `got` begins with a whole request and says how long it is; `None` at the end of the connection.
async fn read_request(stream: &mut TcpStream, got: &mut Vec<u8>) -> Result<Option<usize>> {
    let mut known = 0;
    loop {
        if known == 0
            && let Some(end) = end_of_head(got)
        {
            known = end + 4 + content_length(&got[..end]);
        }
        if known > 0 && got.len() >= known {
            return Ok(Some(known));
        }
        got.reserve(64 << 10);
        if stream.read_buf(got).await? == 0 {
            return Ok(None);
        }
    }
}

/// Where the blank line behind a head begins.
pub(crate) fn end_of_head(got: &[u8]) -> Option<usize> {
    got.windows(4).position(|four| four == b"\r\n\r\n")
}

/// What a head says of the length of its body; 0 if nothing.
pub(crate) fn content_length(head: &[u8]) -> usize {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let value = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

fn holds(text: &[u8], wanted: &[u8]) -> bool {
    // The flags stand at the beginning of a body: a large one need not be searched.
    let text = &text[..text.len().min(2_000)];
    text.windows(wanted.len()).any(|window| window == wanted)
}

fn whole() -> String {
    let text = "All that is gold does not glitter, not all those who wander are lost. ".repeat(18);
    let body = format!(
        r#"{{"id":"chatcmpl-9x","object":"chat.completion","created":1790000000,"model":"gpt-5-2026-08-07","choices":[{{"index":0,"message":{{"role":"assistant","content":"{text}","refusal":null}},"finish_reason":"stop","logprobs":null}}],"usage":{{"prompt_tokens":212,"completion_tokens":261,"total_tokens":473}}}}"#
    );
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
}

fn events() -> Vec<String> {
    let chunk = |delta: &str, finish: &str, usage: &str| {
        format!(
            r#"{{"id":"chatcmpl-9x","object":"chat.completion.chunk","created":1790000000,"model":"gpt-5-2026-08-07","system_fingerprint":"fp_1","choices":[{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{finish}}}]{usage}}}"#
        )
    };
    let mut datas = vec![chunk(r#"{"role":"assistant","content":""}"#, "null", "")];
    datas.extend((1..EVENTS).map(|number| chunk(&format!(r#"{{"content":" word{number}"}}"#), "null", "")));
    let usage = r#","usage":{"prompt_tokens":212,"completion_tokens":125,"total_tokens":337}"#;
    datas.push(chunk("{}", r#""stop""#, usage));
    datas.push("[DONE]".to_owned());
    let last = datas.len() - 1;
    let frame = |(number, data): (usize, &String)| {
        let event = format!("data: {data}\n\n");
        let end = if number == last { "0\r\n\r\n" } else { "" };
        format!("{:x}\r\n{event}\r\n{end}", event.len())
    };
    datas.iter().enumerate().map(frame).collect()
}
