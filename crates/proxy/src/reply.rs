//! The only place where a failure becomes an HTTP answer.

use ai_api_converter::{Failure, FailureClass, Format, Report};
use http::{HeaderMap, HeaderName};
use opm_core::RequestId;

use crate::headers::put;
use crate::metering::headers::Left;
use crate::net::client::Client;
use crate::stage::path::{Unrecognized, recognize};

/// Longest report header, bytes (conversion.md 2.4).
const MAX_REPORT: usize = 1_024;

/// Answers with a failure in the client's format.
pub(crate) async fn failure(
    client: &mut Client,
    format: Format,
    id: &RequestId,
    failure: &Failure,
    limits: &Left,
) -> u16 {
    let status = failure.status(format);
    let body = failure.body(format, id.as_str());
    // Whoever may try again is told when (wire.md 6.3).
    let known = failure.retry_after_seconds();
    let seconds = known
        .or(failure.should_retry().then_some(2))
        .map(|seconds| seconds.to_string());
    let millis = failure.retry_after.map(|wait| wait.as_millis().to_string());
    let mut headers = vec![
        ("content-type", "application/json"),
        ("x-gateway-request-id", id.as_str()),
    ];
    headers.push((id_header(format).as_str(), id.as_str()));
    headers.extend(
        limits
            .iter()
            .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?))),
    );
    headers.push((
        "x-should-retry",
        if failure.should_retry() { "true" } else { "false" },
    ));
    if let Some(seconds) = &seconds {
        headers.push(("retry-after", seconds));
        match &millis {
            Some(millis) => headers.push(("retry-after-ms", millis)),
            None => headers.push(("retry-after-ms", "2000")),
        }
    }
    if failure.class == FailureClass::UnsupportedMedia {
        headers.push(("accept-encoding", "gzip, zstd, br, deflate"));
    }
    if let Some(allowed) = allowed(client).filter(|_| failure.class == FailureClass::MethodNotAllowed) {
        headers.push(("allow", allowed));
        if client.method() == "OPTIONS" {
            return options(client, id, allowed).await;
        }
    }
    if client.respond(status, &headers, body.into()).await.is_err() {
        499
    } else {
        status
    }
}

/// The methods that the client's path is served with.
fn allowed(client: &Client) -> Option<&'static str> {
    match recognize(client.method(), client.path()) {
        Err(Unrecognized::Method("GET", _)) => Some("GET, HEAD, OPTIONS"),
        Err(Unrecognized::Method(..)) => Some("POST, OPTIONS"),
        _ => None,
    }
}

async fn options(client: &mut Client, id: &RequestId, allowed: &str) -> u16 {
    let headers = [("allow", allowed), ("x-gateway-request-id", id.as_str())];
    match client.respond(204, &headers, bytes::Bytes::new()).await {
        Ok(()) => 204,
        Err(_) => 499,
    }
}

/// The header in which a format's SDK looks for the request id.
pub(crate) fn id_header(format: Format) -> &'static HeaderName {
    static ANTHROPIC: HeaderName = HeaderName::from_static("request-id");
    static OTHERS: HeaderName = HeaderName::from_static("x-request-id");
    if format == Format::Messages {
        &ANTHROPIC
    } else {
        &OTHERS
    }
}

/// What a conversion says about itself (conversion.md 2.4).
pub(crate) fn report_headers(report: &Report, upstream: Format, headers: &mut HeaderMap) {
    let converted = format!("{}->{upstream}", report.client());
    put(headers, "x-gateway-converted", converted);
    for (name, list) in [
        ("x-gateway-dropped", &report.dropped),
        ("x-gateway-altered", &report.altered),
        ("x-gateway-emulated", &report.emulated),
    ] {
        if !list.is_empty() {
            put(headers, name, cut(list));
        }
    }
    if report.states_restored + report.states_dropped > 0 {
        let reason = report
            .state_reason
            .map(|reason| format!(";{reason}"))
            .unwrap_or_default();
        let text = format!(
            "restored={},dropped={}{reason}",
            report.states_restored, report.states_dropped
        );
        put(headers, "x-gateway-state", text);
    }
}

/// Adds what the answer could not show to `x-gateway-dropped`.
pub(crate) fn also_dropped(
    report: &Report,
    more: &[std::borrow::Cow<'static, str>],
    headers: &mut HeaderMap,
) {
    if more.is_empty() {
        return;
    }
    headers.remove("x-gateway-dropped");
    let all: Vec<std::borrow::Cow<'static, str>> = report.dropped.iter().chain(more).cloned().collect();
    put(headers, "x-gateway-dropped", cut(&all));
}

fn cut(list: &[std::borrow::Cow<'static, str>]) -> String {
    let mut out = String::new();
    for entry in list {
        if out.len() + entry.len() + 4 > MAX_REPORT {
            out.push_str(",...");
            return out;
        }
        if !out.is_empty() {
            out.push(',');
        }
        // Paths can hold what a client named a member; a header cannot hold everything.
        out.extend(entry.chars().map(|c| if c.is_ascii_graphic() { c } else { '?' }));
    }
    out
}
