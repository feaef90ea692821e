//! The caller's place in its trace (<https://www.w3.org/TR/trace-context/>), and whether we follow it there.

use std::num::NonZeroU64;

use opentelemetry::trace::{SpanKind, TraceId};
use opentelemetry_sdk::trace::{
    IdGenerator as _, RandomIdGenerator, Sampler, SamplingDecision, ShouldSample as _,
};

use super::Sampling;
use crate::trace::Trace;

/// A span of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Parent {
    trace: TraceId,
    span: NonZeroU64,
    sampled: bool,
}

impl Parent {
    /// Reads a `traceparent` header; `None` if it is not one. Later versions may be longer.
    fn read(header: &str) -> Option<Self> {
        let mut fields = header.split('-');
        let version = hex(fields.next()?, 2)?;
        let trace = hex(fields.next()?, 32)?;
        let span = hex(fields.next()?, 16)?;
        let flags = u8::from_str_radix(hex(fields.next()?, 2)?, 16).ok()?;
        if version == "ff" || (version == "00" && fields.next().is_some()) {
            return None;
        }
        let parent = Parent {
            trace: TraceId::from_hex(trace).ok()?,
            span: NonZeroU64::new(u64::from_str_radix(span, 16).ok()?)?,
            sampled: flags & 1 == 1,
        };
        (parent.trace != TraceId::INVALID).then_some(parent)
    }
}

/// The field, if it is so many small hexadecimal digits.
fn hex(field: &str, digits: usize) -> Option<&str> {
    let small = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (field.len() == digits && field.bytes().all(small)).then_some(field)
}

impl Sampling {
    /// The place of a new request: behind its caller, if that is part of a trace, else in a new one.
    pub(super) fn place(&self, traceparent: Option<&str>) -> Trace {
        let parent = traceparent.and_then(Parent::read);
        let id = parent.map_or_else(
            || RandomIdGenerator::default().new_trace_id(),
            |parent| parent.trace,
        );
        let request = new_span();
        Trace {
            id: u128::from_be_bytes(id.to_bytes()),
            parent: parent.map(|parent| parent.span),
            request,
            attempt: request,
            sampled: self.takes(parent, id),
        }
    }

    /// Are spans sent for this trace?
    fn takes(&self, parent: Option<Parent>, trace: TraceId) -> bool {
        if let Some(parent) = parent.filter(|_| self.parent_based) {
            return parent.sampled;
        }
        let sampler = Sampler::TraceIdRatioBased(self.ratio);
        let result = sampler.should_sample(None, trace, "", &SpanKind::Client, &[], &[]);
        result.decision == SamplingDecision::RecordAndSample
    }
}

/// A span id of our own.
fn new_span() -> NonZeroU64 {
    let id = RandomIdGenerator::default().new_span_id();
    // The generator leaves zero out.
    NonZeroU64::new(u64::from_be_bytes(id.to_bytes())).unwrap_or(NonZeroU64::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_traceparent_is_read_as_the_w3c_writes_it() {
        let parent = Parent::read(GOOD).unwrap();
        assert_eq!(parent.trace.to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(parent.span.get(), 0xb7ad_6b71_6920_3331);
        assert!(parent.sampled);
        assert!(!Parent::read(&GOOD.replace("-01", "-00")).unwrap().sampled);
        assert!(Parent::read(&GOOD.replace("00-0af", "01-0af").replace("-01", "-01-more")).is_some());
    }

    #[test]
    fn what_is_no_traceparent_is_no_parent() {
        for bad in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ] {
            assert_eq!(Parent::read(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_callers_flag_decides_only_where_it_is_asked() {
        let parent = |flags: &str| Parent::read(&GOOD.replace("-01", flags));
        let trace = TraceId::from(1);
        let takes = |parent_based, ratio, parent| Sampling { parent_based, ratio }.takes(parent, trace);
        assert!(takes(true, 1.0, None) && !takes(true, 0.0, None));
        assert!(takes(true, 0.0, parent("-01")) && !takes(true, 1.0, parent("-00")));
        assert!(!takes(false, 0.0, parent("-01")) && takes(false, 1.0, parent("-00")));
    }

    #[test]
    fn a_request_goes_on_in_its_callers_trace_or_begins_one() {
        let sampling = Sampling::default();
        let behind = sampling.place(Some(GOOD));
        assert_eq!(behind.id, 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c);
        assert_eq!(behind.parent.map(NonZeroU64::get), Some(0xb7ad_6b71_6920_3331));
        assert!(behind.sampled && Some(behind.request) != behind.parent && behind.attempt == behind.request);
        assert!(!sampling.place(Some(&GOOD.replace("-01", "-00"))).sampled);
        let (one, other) = (sampling.place(None), sampling.place(Some("unreadable")));
        assert!(one.id != other.id && one.id != 0 && one.sampled);
        assert_eq!((one.parent, other.parent), (None, None));
    }

    #[test]
    fn a_ratio_takes_its_share_of_traces() {
        let half = Sampling {
            parent_based: true,
            ratio: 0.5,
        };
        let taken = (0..1_000_u128).filter(|number| {
            let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c834);
            half.takes(None, TraceId::from(spread))
        });
        let taken = taken.count();
        assert!((400..600).contains(&taken), "{taken} of 1000");
    }
}
