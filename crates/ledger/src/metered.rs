//! Usage counters and where each of them comes from (wire.md 9.3): the upstream reported it, or we estimated it.

use opm_core::Usage;

use crate::row::Billed;

/// How many counters [`Usage`] has; `prediction` counts as two.
pub(crate) const COUNTERS: usize = 18;

/// Token counters with one bit each: reported by the upstream, or estimated here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metered {
    usage: Usage,
    estimated: u32,
}

/// Where the counters of a record come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// All that is known was reported by the upstream.
    Reported,
    /// Some counters were reported, the missing ones estimated.
    Partial,
    /// Nothing was reported.
    Estimated,
}

impl Source {
    /// The name used in the store and the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Source::Reported => "reported",
            Source::Partial => "partial",
            Source::Estimated => "estimated",
        }
    }
}

impl Metered {
    /// Counters that the upstream reported.
    #[must_use]
    pub fn reported(usage: Usage) -> Self {
        Metered { usage, estimated: 0 }
    }

    /// Counters that were estimated.
    #[must_use]
    pub fn estimated(usage: Usage) -> Self {
        let estimated = present(&counters(&usage));
        Metered { usage, estimated }
    }

    /// The counters.
    #[must_use]
    pub fn usage(&self) -> &Usage {
        &self.usage
    }

    /// Fills what the upstream did not report with estimates.
    pub fn complete(&mut self, estimate: &Usage) {
        let mut merged = estimate.clone();
        merged.update(&self.usage);
        let before = present(&counters(&self.usage));
        self.estimated |= present(&counters(&merged)) & !before;
        self.usage = merged;
    }

    /// True if `input` is an estimate.
    #[must_use]
    pub fn input_is_estimated(&self) -> bool {
        self.estimated & 1 != 0
    }

    /// True if `output` is an estimate.
    #[must_use]
    pub fn output_is_estimated(&self) -> bool {
        self.estimated & (1 << 5) != 0
    }

    /// Where the counters come from; `Reported` if there are none.
    #[must_use]
    pub fn source(&self) -> Source {
        let present = present(&counters(&self.usage));
        match self.estimated & present {
            0 => Source::Reported,
            all if all == present => Source::Estimated,
            _ => Source::Partial,
        }
    }

    /// What an interrupted request was probably billed: if anything was counted, the model had begun to work.
    pub(crate) fn billed(&self) -> Billed {
        if self.usage.is_empty() {
            Billed::No
        } else {
            Billed::Estimated
        }
    }

    pub(crate) fn bits(&self) -> u32 {
        self.estimated
    }

    pub(crate) fn from_parts(values: [Option<u64>; COUNTERS], estimated: u32) -> Self {
        Metered {
            usage: usage(values),
            estimated,
        }
    }
}

/// One bit per counter that is known.
pub(crate) fn present(counters: &[Option<u64>; COUNTERS]) -> u32 {
    counters
        .iter()
        .rev()
        .fold(0, |bits, counter| bits << 1 | u32::from(counter.is_some()))
}

/// The counters in the order of the record format. New ones go to the end.
pub(crate) fn counters(usage: &Usage) -> [Option<u64>; COUNTERS] {
    // No `..`: a new counter must be given its place here, or it would not be recorded.
    let Usage {
        input,
        cache_read,
        cache_write,
        cache_write_short,
        cache_write_long,
        output,
        reasoning,
        tool_prompt,
        input_audio,
        output_audio,
        web_searches,
        prediction,
        input_text,
        input_image,
        output_text,
        output_image,
        web_fetches,
        // No counter: it has done its work when the cost is known.
        tier: _,
        in_us: _,
    } = *usage;
    [
        input,
        cache_read,
        cache_write,
        cache_write_short,
        cache_write_long,
        output,
        reasoning,
        tool_prompt,
        input_audio,
        output_audio,
        web_searches,
        prediction.map(|both| both.0),
        prediction.map(|both| both.1),
        input_text,
        input_image,
        output_text,
        output_image,
        web_fetches,
    ]
}

fn usage(counters: [Option<u64>; COUNTERS]) -> Usage {
    let [
        input,
        cache_read,
        cache_write,
        cache_write_short,
        cache_write_long,
        output,
        reasoning,
        tool_prompt,
        input_audio,
        output_audio,
        web_searches,
        accepted,
        rejected,
        input_text,
        input_image,
        output_text,
        output_image,
        web_fetches,
    ] = counters;
    Usage {
        input,
        cache_read,
        cache_write,
        cache_write_short,
        cache_write_long,
        output,
        reasoning,
        tool_prompt,
        input_audio,
        output_audio,
        web_searches,
        prediction: accepted.zip(rejected),
        input_text,
        input_image,
        output_text,
        output_image,
        web_fetches,
        tier: None,
        in_us: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage_of(input: Option<u64>, output: Option<u64>) -> Usage {
        Usage {
            input,
            output,
            ..Usage::default()
        }
    }

    #[test]
    fn estimates_fill_the_gaps_and_are_flagged() {
        let mut metered = Metered::reported(usage_of(Some(10), None));
        assert_eq!(metered.source(), Source::Reported);
        metered.complete(&usage_of(Some(99), Some(5)));
        assert_eq!(metered.usage(), &usage_of(Some(10), Some(5)));
        assert!(metered.output_is_estimated() && !metered.input_is_estimated());
        assert_eq!(metered.source(), Source::Partial);
        let guess = Metered::estimated(usage_of(Some(1), Some(2)));
        assert!(guess.input_is_estimated() && guess.output_is_estimated());
        assert_eq!(guess.source(), Source::Estimated);
    }
}
