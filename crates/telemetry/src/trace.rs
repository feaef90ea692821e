//! A request's place in a trace (<https://www.w3.org/TR/trace-context/>).

use std::num::NonZeroU64;

/// Where a request stands in a trace, and what an upstream is told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The trace: the caller's, or a new one.
    pub id: u128,
    /// The caller's span; `None`: the trace begins here.
    pub parent: Option<NonZeroU64>,
    /// The span of the whole request.
    pub request: NonZeroU64,
    /// The span of the try under way; before the first one, that of the request.
    pub attempt: NonZeroU64,
    /// Its spans are sent.
    pub sampled: bool,
}

impl Trace {
    /// The `traceparent` header of the try under way.
    #[must_use]
    pub fn traceparent(&self) -> String {
        let flags = u8::from(self.sampled);
        format!("00-{:032x}-{:016x}-{flags:02x}", self.id, self.attempt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_has_all_its_zeros() {
        let trace = Trace {
            id: 0xab,
            parent: None,
            request: NonZeroU64::MAX,
            attempt: NonZeroU64::MIN,
            sampled: true,
        };
        let wanted = "00-000000000000000000000000000000ab-0000000000000001-01";
        assert_eq!(trace.traceparent(), wanted);
        let unsampled = Trace {
            sampled: false,
            ..trace
        };
        assert_eq!(unsampled.traceparent(), wanted.replace("-01", "-00"));
    }
}
