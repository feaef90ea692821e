//! One HTTP/1 request on its way to an upstream: head and body in as few writes as possible, with an eye on early answers.

pub(super) mod answer;
pub(super) mod head;

use std::fmt::Write as _;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use http::Method;
use pingora_core::protocols::Stream;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::patience::within;
use super::peer::EndpointPeer;
use super::upstream::UpstreamRequest;

/// A body up to this size is in the kernel before an upstream can answer early, bytes.
const SMALL: usize = 64 * 1024;
/// A body up to this size is copied behind its head: one write of one piece is the cheapest (pingora.md section 1, item 10), bytes.
const TINY: usize = 8 * 1024;
/// Pieces in which a larger body is written, bytes: each must be taken within [`STALL`].
const PIECE: usize = 256 * 1024;
/// An upstream that takes nothing for this long is stuck.
const STALL: Duration = Duration::from_secs(60);

/// Writes a request. Gives what was read of the answer meanwhile; and false if the connection must not be used again. A write that
/// fails is no error here: the answer says more, and without one the read fails.
pub(super) async fn write(
    stream: &mut Stream,
    peer: &EndpointPeer,
    request: &UpstreamRequest,
) -> (Vec<u8>, bool) {
    let mut wire = head(peer, request);
    if request.body.len() <= TINY {
        wire.extend_from_slice(&request.body);
        (Vec::new(), small(stream, &wire, &[]).await)
    } else if request.body.len() <= SMALL {
        (Vec::new(), small(stream, &wire, &request.body).await)
    } else {
        // Boxed: what only large bodies need does not weigh on every request.
        Box::pin(large(stream, &wire, &request.body)).await
    }
}

fn head(peer: &EndpointPeer, request: &UpstreamRequest) -> BytesMut {
    let body = request.body.len();
    let mut wire = BytesMut::with_capacity(1024 + if body <= TINY { body } else { 0 });
    wire.extend_from_slice(request.method.as_str().as_bytes());
    wire.extend_from_slice(b" ");
    wire.extend_from_slice(request.path.as_bytes());
    wire.extend_from_slice(b" HTTP/1.1\r\nhost: ");
    wire.extend_from_slice(peer.authority().as_bytes());
    for (name, value) in &request.headers {
        wire.extend_from_slice(b"\r\n");
        wire.extend_from_slice(name.as_str().as_bytes());
        wire.extend_from_slice(b": ");
        wire.extend_from_slice(value.as_bytes());
    }
    if body > 0 || request.method == Method::POST {
        // A buffer that grows takes every write.
        let _ = write!(wire, "\r\ncontent-length: {body}");
    }
    wire.extend_from_slice(b"\r\n\r\n");
    wire
}

async fn small(stream: &mut Stream, head: &[u8], body: &[u8]) -> bool {
    let write = async {
        if body.is_empty() {
            stream.write_all(head).await?;
        } else {
            stream.write_all_buf(&mut Buf::chain(head, body)).await?;
        }
        stream.flush().await
    };
    matches!(within(STALL, write).await, Some(Ok(())))
}

/// Writes until the upstream refuses: an answer with an error status ends the writing. Gives what was read meanwhile.
async fn large(stream: &mut Stream, head: &[u8], body: &[u8]) -> (Vec<u8>, bool) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut early = Vec::new();
    let mut write = std::pin::pin!(all(&mut writer, head, body));
    let keep = tokio::select! {
        biased;
        written = &mut write => written,
        read = early_bytes(&mut reader, &mut early) => match read {
            // An upstream that goes on reading although it answers already gets the rest.
            Answer::GoesOn => write.await,
            Answer::Refuses => false,
        },
    };
    (early, keep)
}

async fn all(writer: &mut (impl AsyncWrite + Unpin), mut head: &[u8], body: &[u8]) -> bool {
    // The head goes with the first piece.
    for piece in body.chunks(PIECE) {
        let mut piece = Buf::chain(std::mem::take(&mut head), piece);
        if !matches!(
            within(STALL, writer.write_all_buf(&mut piece)).await,
            Some(Ok(()))
        ) {
            return false;
        }
    }
    matches!(within(STALL, writer.flush()).await, Some(Ok(())))
}

enum Answer {
    GoesOn,
    Refuses,
}

async fn early_bytes(reader: &mut (impl AsyncRead + Unpin), early: &mut Vec<u8>) -> Answer {
    /// Up to the first digit of the status.
    const START: &[u8] = b"HTTP/1.1 ";
    early.reserve(1024);
    while early.len() <= START.len() {
        match reader.read_buf(early).await {
            // Closed without an answer: writing on is of no use.
            Ok(0) | Err(_) => return Answer::Refuses,
            Ok(_) => {}
        }
    }
    match early.get(START.len()) {
        Some(b'1'..=b'3') => Answer::GoesOn,
        _ => Answer::Refuses,
    }
}
