//! The headers of an answer: ours, and the few of the upstream's that may reach a client (wire.md 6.5).

use ai_api_converter::Format;

use crate::attempt::{Answered, Exchange};
use crate::reply;

/// Headers of the upstream that may reach a client of the same format.
const RELAYED: &[&str] = &[
    "openai-model",
    "openai-version",
    "x-codex-turn-state",
    "x-models-etag",
    "x-reasoning-included",
];
/// Where upstreams state their own request id.
const UPSTREAM_IDS: &[&str] = &[
    "x-request-id",
    "request-id",
    "x-goog-request-id",
    "apim-request-id",
    "cf-ray",
];

pub(crate) fn answer_headers(
    exchange: &Exchange<'_>,
    answered: &Answered<'_>,
) -> Vec<(&'static str, String)> {
    let id = exchange.id.as_str();
    let mut headers = vec![
        (reply::id_header(exchange.format), id.to_owned()),
        ("x-gateway-request-id", id.to_owned()),
    ];
    let own = answered.response.headers();
    let text = |value: &http::HeaderValue| value.to_str().ok().map(str::to_owned);
    // One pass over the few headers there are, instead of a look-up for each name there might be.
    let upstream = own.iter().find(|(name, _)| UPSTREAM_IDS.contains(&name.as_str()));
    if let Some(upstream) = upstream.and_then(|(_, value)| text(value)) {
        headers.push(("x-gateway-upstream-request-id", upstream));
    }
    match answered.conversion.as_deref() {
        Some((context, report)) => reply::report_headers(report, context.upstream, &mut headers),
        None => headers.extend(own.iter().filter_map(|(name, value)| {
            let known = RELAYED.iter().find(|known| **known == name.as_str())?;
            Some((*known, text(value)?))
        })),
    }
    headers
}

pub(crate) fn stream_headers(exchange: &Exchange<'_>, headers: &mut Vec<(&'static str, String)>) {
    let array = exchange.format == Format::Gemini && exchange.array;
    let kind = if array {
        "application/json; charset=UTF-8"
    } else {
        "text/event-stream; charset=utf-8"
    };
    headers.push(("content-type", kind.into()));
    headers.push(("cache-control", "no-cache, no-transform".into()));
    headers.push(("x-accel-buffering", "no".into()));
}
