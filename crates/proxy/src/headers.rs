//! The headers of an answer: ours, and the few of the upstream's that may reach a client (wire.md 6.5).

use ai_api_converter::Format;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::attempt::{Answered, Exchange};
use crate::metering::headers::Left;
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

/// Headers of an answer beside those of the limits, usually: three ids, type, coding and length, date, connection, two more.
const OTHERS: usize = 10;

/// The gateway's id of a request, whatever the client's format.
pub(crate) static GATEWAY_ID: HeaderName = HeaderName::from_static("x-gateway-request-id");
static UPSTREAM_ID: HeaderName = HeaderName::from_static("x-gateway-upstream-request-id");
static BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// JSON, as `content-type`.
pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The headers of an answer, with what is left of the limits.
pub(crate) fn answer_headers(exchange: &Exchange<'_>, answered: &Answered<'_>, left: Left) -> HeaderMap {
    let mut headers = of_request(exchange, left);
    let own = answered.response.headers();
    // One pass over the few headers there are, instead of a look-up for each name there might be.
    let upstream = own.iter().find(|(name, _)| UPSTREAM_IDS.contains(&name.as_str()));
    if let Some((_, value)) = upstream.filter(|(_, value)| value.to_str().is_ok()) {
        headers.insert(UPSTREAM_ID.clone(), value.clone());
    }
    match answered.conversion.as_deref() {
        Some((context, report)) => reply::report_headers(report, context.upstream, &mut headers),
        None => {
            for (name, value) in own {
                if RELAYED.contains(&name.as_str()) && value.to_str().is_ok() {
                    headers.append(name.clone(), value.clone());
                }
            }
        }
    }
    headers
}

/// What every answer to a request says of it, and what is left of the limits.
pub(crate) fn of_request(exchange: &Exchange<'_>, left: Left) -> HeaderMap {
    // A map that grows puts all of its headers in place once more.
    let mut headers = HeaderMap::with_capacity(left.len() + OTHERS);
    // An id is always header text.
    if let Ok(id) = HeaderValue::from_str(exchange.id.as_str()) {
        headers.insert(reply::id_header(exchange.format).clone(), id.clone());
        headers.insert(GATEWAY_ID.clone(), id);
    }
    for (name, value) in left {
        headers.append(name.clone(), value);
    }
    headers
}

pub(crate) fn stream_headers(exchange: &Exchange<'_>, headers: &mut HeaderMap) {
    let array = exchange.format == Format::Gemini && exchange.array;
    let kind = if array {
        "application/json; charset=UTF-8"
    } else {
        "text/event-stream; charset=utf-8"
    };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    let uncached = HeaderValue::from_static("no-cache, no-transform");
    headers.insert(CACHE_CONTROL, uncached);
    headers.insert(BUFFERING.clone(), HeaderValue::from_static("no"));
}

/// Adds a header; a value that is no header text is left out rather than sent broken.
pub(crate) fn put(headers: &mut HeaderMap, name: &'static str, value: String) {
    match HeaderValue::try_from(value) {
        Ok(value) => {
            headers.append(HeaderName::from_static(name), value);
        }
        Err(_) => tracing::warn!(header = name, "a response header could not be sent"),
    }
}
