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
    if let Some(upstream) = UPSTREAM_IDS
        .iter()
        .find_map(|name| answered.response.header(name))
    {
        headers.push(("x-gateway-upstream-request-id", upstream.to_owned()));
    }
    match &answered.conversion {
        Some((context, report)) => reply::report_headers(report, context.upstream, &mut headers),
        None => headers.extend(
            RELAYED
                .iter()
                .filter_map(|name| Some((*name, answered.response.header(name)?.to_owned()))),
        ),
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
