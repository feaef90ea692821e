//! A closed loop of callers: each asks again when its answer is whole. Costs little beside a gateway.

use std::rc::Rc;
use std::time::Instant;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::spawn_local;

use crate::Result;
use crate::upstream::{content_length, end_of_head};

const CHAT: &str = "/v1/chat/completions";
const MESSAGES: &str = "/v1/messages";

/// What is asked, by how many, how often.
pub(crate) struct Plan {
    address: String,
    request: String,
    connections: usize,
    requests: usize,
}

impl Plan {
    /// From `ADDRESS CASE CONNECTIONS REQUESTS`.
    pub(crate) fn new(words: &[&str]) -> Result<Self> {
        let &[address, case, connections, requests] = words else {
            return Err("a line is ADDRESS CASE CONNECTIONS REQUESTS".into());
        };
        let body = |settings: &str, times: usize| {
            let prompt = "The road goes ever on and on, down from the door where it began. ".repeat(times);
            format!(
                r#"{{"model":"gpt-5",{settings}"max_tokens":300,"messages":[{{"role":"user","content":"{prompt}"}}]}}"#
            )
        };
        let stream = format!(r#""stream":true,"stream_options":{{"include_usage":true}},"user":"{case}","#);
        let (path, body) = match case {
            "relay" => (CHAT, body("", 16)),
            "large" => (CHAT, body("", 1_575)),
            "convert" => (MESSAGES, body("", 16)),
            "stream" | "paced" => (CHAT, body(&stream, 16)),
            _ => return Err(format!("no case is named {case}").into()),
        };
        let length = body.len();
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer sk-bench-0123456789abcdef0123456789\r\ncontent-type: application/json\r\nuser-agent: bench/1\r\naccept: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        Ok(Plan {
            address: address.to_owned(),
            request,
            connections: connections.parse()?,
            requests: requests.parse()?,
        })
    }
}

/// Runs the plan on the current `LocalSet`: requests per second.
pub(crate) async fn run(plan: Plan) -> Result<f64> {
    let plan = Rc::new(plan);
    let begun = Instant::now();
    let each = plan.requests.div_ceil(plan.connections);
    let mut running = Vec::new();
    for _ in 0..plan.connections {
        let plan = Rc::clone(&plan);
        running.push(spawn_local(async move {
            call(&plan, each).await.map_err(|error| error.to_string())
        }));
    }
    for caller in running {
        caller.await??;
    }
    Ok((each * plan.connections) as f64 / begun.elapsed().as_secs_f64())
}

async fn call(plan: &Plan, times: usize) -> Result<()> {
    let mut stream = TcpStream::connect(&plan.address).await?;
    stream.set_nodelay(true)?;
    let mut got = Vec::with_capacity(64 << 10);
    for _ in 0..times {
        stream.write_all(plan.request.as_bytes()).await?;
        got.clear();
        let mut whole = None;
        loop {
            if stream.read_buf(&mut got).await? == 0 {
                return Err("the connection ended within an answer".into());
            }
            if whole.is_none()
                && let Some(end) = end_of_head(&got)
            {
                let head = &got[..end];
                if !head.starts_with(b"HTTP/1.1 200") {
                    return Err(String::from_utf8_lossy(&got).into());
                }
                whole = Some((end + 4, content_length(head)));
            }
            match whole {
                Some((head, length)) if length > 0 && got.len() >= head + length => break,
                Some((_, 0)) if got.ends_with(b"0\r\n\r\n") => break,
                _ => {}
            }
        }
    }
    Ok(())
}
