//! The request to an upstream: path and headers, built from nothing (wire.md 6.6).

use ai_api_converter::{Dialect, Format};
use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use opm_config::{Channel, Vendor};
use opm_telemetry::Trace;

use crate::net::client::Client;
use crate::net::upstream::UpstreamRequest;
use crate::stage::credential::{Credential, Place, X_API_KEY, X_GOOG_API_KEY};
use crate::trace::{TRACEPARENT, TRACESTATE};

/// What one attempt sends.
pub(crate) struct Outgoing<'o> {
    pub(crate) channel: &'o Channel,
    pub(crate) format: Format,
    pub(crate) model: &'o str,
    pub(crate) stream: bool,
    /// Gemini client without `alt=sse`.
    pub(crate) array: bool,
    /// Client and upstream speak the same format.
    pub(crate) same: bool,
    /// Path below the version, for pass-through endpoints.
    pub(crate) endpoint: Option<&'o str>,
    /// The credential to send: the channel's key, or the caller's own.
    pub(crate) credential: Option<Credentials<'o>>,
    /// The request's place in a trace; `None`: the client's own trace headers pass as its others do.
    pub(crate) trace: Option<&'o Trace>,
}

/// Whose credential is sent.
pub(crate) enum Credentials<'o> {
    /// The channel's key.
    Own(&'o str),
    /// The caller's, with the place it stood in.
    Caller(&'o Credential),
}

/// Headers of the client that may reach an upstream of the same format, sorted.
const SAME_FORMAT: &[&str] = &[
    "accept-language",
    "anthropic-beta",
    "anthropic-dangerous-direct-browser-access",
    "anthropic-version",
    "idempotency-key",
    "openai-beta",
    "originator",
    "session-id",
    "session_id",
    "thread-id",
    "traceparent",
    "tracestate",
    "user-agent",
    "x-app",
    "x-claude-code-agent-id",
    "x-claude-code-parent-agent-id",
    "x-claude-code-session-id",
    "x-client-request-id",
    "x-codex-beta-features",
    "x-codex-turn-metadata",
    "x-codex-turn-state",
    "x-codex-window-id",
    "x-goog-api-client",
    "x-openai-subagent",
    "x-session-affinity",
];

static ANTHROPIC_VERSION: HeaderName = HeaderName::from_static("anthropic-version");
const OLD_ANTHROPIC: &str = "2023-06-01";

impl Outgoing<'_> {
    /// The request. Without a client it is one of our own.
    pub(crate) fn request(&self, client: Option<&Client>, body: bytes::Bytes) -> UpstreamRequest {
        UpstreamRequest {
            method: Method::POST,
            path: self.path(client),
            headers: self.headers(client),
            body,
        }
    }

    fn path(&self, client: Option<&Client>) -> String {
        let url = &self.channel.base_url;
        let query = client
            .and_then(Client::query)
            .filter(|_| self.same)
            .map(clean_query)
            .filter(|query| !query.is_empty());
        let with_query = |path: String| match &query {
            Some(query) => format!("{path}?{query}"),
            None => path,
        };
        if let Some(endpoint) = self.endpoint {
            let version = if self.format == Format::Gemini {
                "v1beta"
            } else {
                "v1"
            };
            return with_query(url.path(version, endpoint));
        }
        match self.format {
            Format::Chat => with_query(url.path("v1", "chat/completions")),
            Format::Responses => with_query(url.path("v1", "responses")),
            Format::Messages => with_query(url.path("v1", "messages")),
            Format::Gemini => {
                let model = encode_segment(self.model);
                let method = match (self.stream, self.array) {
                    (false, _) => "generateContent",
                    (true, true) => "streamGenerateContent",
                    (true, false) => "streamGenerateContent?alt=sse",
                };
                url.path("v1beta", &format!("models/{model}:{method}"))
            }
        }
    }

    pub(crate) fn headers(&self, client: Option<&Client>) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(12);
        let mut put = |name: &HeaderName, value: &'static str| {
            headers.insert(name.clone(), HeaderValue::from_static(value));
        };
        put(&CONTENT_TYPE, "application/json");
        let (kind, coding) = if self.stream {
            ("text/event-stream", "identity")
        } else {
            ("application/json", "gzip, br, zstd")
        };
        put(&ACCEPT, kind);
        put(&ACCEPT_ENCODING, coding);
        put(&USER_AGENT, concat!("opm/", env!("CARGO_PKG_VERSION")));
        if self.channel.vendor == Vendor::Anthropic {
            let newest = self.channel.dialect == Dialect::Anthropic20261021;
            put(
                &ANTHROPIC_VERSION,
                if newest { "2026-10-21" } else { OLD_ANTHROPIC },
            );
        }
        let given = client.filter(|_| self.same).into_iter().flat_map(Client::headers);
        let mut seen: Option<&HeaderName> = None;
        for (name, value) in given {
            let text = name.as_str();
            let listed = SAME_FORMAT.binary_search(&text).is_ok() || text.starts_with("x-stainless-");
            if !listed || !concerns(text, self.channel.vendor) || (self.trace.is_some() && is_trace(text)) {
                continue;
            }
            // The client's word replaces ours; further lines of a list (anthropic-beta has them) follow it.
            if seen == Some(name) {
                headers.append(name.clone(), value.clone());
            } else {
                headers.insert(name.clone(), value.clone());
            }
            seen = Some(name);
        }
        if let Some(trace) = self.trace {
            traced(trace, client, &mut headers);
        }
        self.authenticate(&mut headers);
        for (name, value) in &self.channel.headers {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name.as_str()), HeaderValue::from_str(value))
            {
                headers.insert(name, value);
            }
        }
        headers
    }

    fn authenticate(&self, headers: &mut HeaderMap) {
        let (value, place) = match &self.credential {
            None => return,
            Some(Credentials::Own(key)) => (*key, None),
            Some(Credentials::Caller(credential)) => (credential.value.as_str(), Some(credential.place)),
        };
        // OAuth tokens of Anthropic are Bearer tokens; what the caller sent as one stays one.
        let token = self.same && place == Some(Place::Authorization);
        let (name, text) = match self.channel.vendor {
            Vendor::Anthropic if !token => (&X_API_KEY, HeaderValue::from_str(value)),
            Vendor::Gemini => (&X_GOOG_API_KEY, HeaderValue::from_str(value)),
            Vendor::OpenAi | Vendor::Anthropic => {
                (&AUTHORIZATION, HeaderValue::try_from(["Bearer ", value].concat()))
            }
        };
        if let Ok(mut text) = text {
            text.set_sensitive(true);
            headers.insert(name.clone(), text);
        }
    }
}

fn is_trace(name: &str) -> bool {
    matches!(name, TRACEPARENT | TRACESTATE)
}

/// Names the span of this try, whatever the format: a trace is nobody's own. What others put into the caller's trace goes with it.
fn traced(trace: &Trace, client: Option<&Client>, headers: &mut HeaderMap) {
    if let Ok(text) = HeaderValue::try_from(trace.traceparent()) {
        headers.insert(TRACEPARENT, text);
    }
    let lines = client
        .filter(|_| trace.parent.is_some())
        .into_iter()
        .flat_map(|client| client.headers().get_all(TRACESTATE));
    for line in lines {
        headers.append(TRACESTATE, line.clone());
    }
}

/// A vendor's own headers are for that vendor.
fn concerns(name: &str, vendor: Vendor) -> bool {
    const OWN: &[(&str, Vendor)] = &[
        ("anthropic-", Vendor::Anthropic),
        ("x-claude-", Vendor::Anthropic),
        ("openai-", Vendor::OpenAi),
        ("x-openai-", Vendor::OpenAi),
        ("x-codex-", Vendor::OpenAi),
        ("x-goog-", Vendor::Gemini),
    ];
    let owner = OWN.iter().find(|(prefix, _)| name.starts_with(prefix));
    let stainless = name.starts_with("x-stainless-") && vendor == Vendor::Gemini;
    !stainless && owner.is_none_or(|(_, owner)| *owner == vendor)
}

/// The query without credentials and without what we decide ourselves.
fn clean_query(query: &str) -> String {
    let kept = query.split('&').filter(|pair| {
        let name = pair.split('=').next().unwrap_or_default();
        !matches!(name, "key" | "alt" | "" | "api_key" | "access_token")
    });
    kept.collect::<Vec<_>>().join("&")
}

/// A model name as one path segment.
fn encode_segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_headers_is_sorted_as_its_search_needs() {
        assert!(SAME_FORMAT.is_sorted());
    }
}
