//! The caller's trace headers (<https://www.w3.org/TR/trace-context/>): where a request goes on in a trace of the caller's.

use http::HeaderMap;
use opm_telemetry::Trace;

/// Names the caller's span.
pub(crate) const TRACEPARENT: &str = "traceparent";
/// What other tracing systems want to know further down; it belongs to `traceparent`.
pub(crate) const TRACESTATE: &str = "tracestate";
/// Longest `tracestate` that is told, bytes: what everybody must be able to take.
const LONGEST_STATE: usize = 512;

/// The caller's `traceparent`. Two of them are none.
pub(crate) fn traceparent(headers: &HeaderMap) -> Option<&str> {
    let mut given = headers.get_all(TRACEPARENT).iter();
    let first = given.next()?;
    let alone = given.next().is_none();
    alone.then(|| first.to_str().ok()).flatten()
}

/// The caller's `tracestate`, all its lines, if the request goes on in the caller's trace.
pub(crate) fn tracestate(headers: &HeaderMap, trace: &Trace) -> Option<String> {
    trace.parent?;
    let lines = headers.get_all(TRACESTATE).iter();
    let lines: Vec<&str> = lines.filter_map(|line| line.to_str().ok()).collect();
    let state = lines.join(",");
    (!state.is_empty() && state.len() <= LONGEST_STATE).then_some(state)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_traceparent_is_taken_only_if_there_is_one() {
        assert_eq!(traceparent(&headers(&[])), None);
        assert_eq!(traceparent(&headers(&[(TRACEPARENT, "a")])), Some("a"));
        let two = headers(&[(TRACEPARENT, "a"), (TRACEPARENT, "a")]);
        assert_eq!(traceparent(&two), None);
    }

    #[test]
    fn a_tracestate_belongs_to_the_callers_span() {
        let behind = Trace {
            id: 1,
            parent: Some(NonZeroU64::MIN),
            request: NonZeroU64::MAX,
            attempt: NonZeroU64::MAX,
            sampled: true,
        };
        let alone = Trace {
            parent: None,
            ..behind
        };
        let two = headers(&[(TRACESTATE, "a=1"), (TRACESTATE, "b=2")]);
        assert_eq!(tracestate(&two, &behind).as_deref(), Some("a=1,b=2"));
        assert_eq!(tracestate(&two, &alone), None);
        assert_eq!(tracestate(&headers(&[]), &behind), None);
        let mut long = headers(&[]);
        long.insert(
            TRACESTATE,
            format!("a={}", "x".repeat(LONGEST_STATE)).parse().unwrap(),
        );
        assert_eq!(tracestate(&long, &behind), None);
    }
}
