//! Answers whose client has left: some providers bill them anyway, so channels can ask that they are read to their usage
//! (`on_client_gone: drain`, promise P4). Bounded in number and time; otherwise the upstream request is dropped at once.

use std::future::Future;
use std::time::Duration;

use ai_api_converter::stream::Stream;
use ai_api_converter::{Context, Particulars, Report};
use bytes::Bytes;
use opm_ledger::Outcome;
use tokio::time::{Instant, timeout_at};

use crate::answer::usage_of;
use crate::attempt::Exchange;
use crate::metering::account::{Account, Seen};
use crate::net::upstream::UpstreamResponse;

/// Answers that are read to their end at the same time, at most.
pub(crate) const DRAINS: usize = 64;
/// How long one may take.
const LONGEST: Duration = Duration::from_secs(60);
/// Silence after which it is given up.
const IDLE: Duration = Duration::from_secs(20);
/// Largest answer.
const LARGEST: usize = 64 << 20;

/// When an answer whose client leaves now must have been read.
pub(crate) fn deadline() -> Instant {
    Instant::now() + LONGEST
}

/// Reads the rest of a stream into `stream`; true if it came to its end.
pub(crate) async fn rest_of_stream(stream: &mut Stream, response: &mut UpstreamResponse<'_>) -> bool {
    let until = deadline();
    let mut out = Vec::new();
    loop {
        let Ok(Ok(chunk)) = timeout_at(until, response.chunk(IDLE)).await else {
            return false;
        };
        let progress = match &chunk {
            Some(chunk) => stream.push(chunk, &mut out),
            None => stream.end(&mut out),
        };
        out.clear();
        if progress.ended || progress.failure.is_some() || chunk.is_none() {
            return progress.ended;
        }
    }
}

/// Waits for the head and the body of an answer that is not streamed.
pub(crate) async fn rest_of_answer<E>(
    head: impl Future<Output = Result<UpstreamResponse<'_>, E>>,
    until: Instant,
) -> Option<Bytes> {
    let mut response = timeout_at(until, head).await.ok()?.ok()?;
    if response.status() >= 300 {
        return None;
    }
    timeout_at(until, response.body(LARGEST, IDLE)).await.ok()?.ok()
}

/// Settles with the usage of an answer that nobody waits for any more. What it said of itself is given back, if that is wanted.
pub(crate) async fn settle(
    exchange: &Exchange<'_>,
    conversion: Option<&(Context, Report)>,
    bytes: &Bytes,
    sent: std::time::Instant,
    account: &mut Account<'_>,
) -> Option<Box<Particulars>> {
    let mut notes = exchange.notes.then(Box::<Particulars>::default);
    let usage = usage_of(exchange, conversion, bytes, notes.as_deref_mut()).ok()?;
    let seen = Seen {
        reported: usage.believed(),
        complete: true,
        ..Seen::default()
    };
    let first = Some(sent.elapsed());
    account.interrupted(Outcome::ClientGone, 499, &seen, first).await;
    notes
}
