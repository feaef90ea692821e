//! The caller's place in its trace (<https://www.w3.org/TR/trace-context/>), and whether we follow it there.

use opentelemetry::trace::{SpanId, SpanKind, TraceId};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, ShouldSample as _};

use super::Sampling;

/// A span of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parent {
    pub(super) trace: TraceId,
    pub(super) span: SpanId,
    pub(super) sampled: bool,
}

impl Parent {
    /// Reads a `traceparent` header; `None` if it is not one. Later versions may be longer.
    pub(super) fn read(header: &str) -> Option<Self> {
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
            span: SpanId::from_hex(span).ok()?,
            sampled: flags & 1 == 1,
        };
        (parent.trace != TraceId::INVALID && parent.span != SpanId::INVALID).then_some(parent)
    }
}

/// The field, if it is so many small hexadecimal digits.
fn hex(field: &str, digits: usize) -> Option<&str> {
    let small = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (field.len() == digits && field.bytes().all(small)).then_some(field)
}

impl Sampling {
    /// Is a span sent for this trace?
    pub(super) fn takes(&self, parent: Option<Parent>, trace: TraceId) -> bool {
        if let Some(parent) = parent.filter(|_| self.parent_based) {
            return parent.sampled;
        }
        let sampler = Sampler::TraceIdRatioBased(self.ratio);
        let result = sampler.should_sample(None, trace, "", &SpanKind::Client, &[], &[]);
        result.decision == SamplingDecision::RecordAndSample
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_traceparent_is_read_as_the_w3c_writes_it() {
        let parent = Parent::read(GOOD).unwrap();
        assert_eq!(parent.trace.to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(parent.span.to_string(), "b7ad6b7169203331");
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
