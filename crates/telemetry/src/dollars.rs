//! A counter of money: fed with whole pico-dollars, shown in dollars.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

const PICO: f64 = 1e12;

/// Sums in integers, so that no small cost is lost beside a large sum; stays at 18 million dollars.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dollars(Arc<AtomicU64>);

impl Dollars {
    pub(crate) fn add(&self, pico: u64) {
        let added = |sum: u64| Some(sum.saturating_add(pico));
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, added);
    }

    fn get(&self) -> f64 {
        dollars(self.0.load(Ordering::Relaxed))
    }
}

/// Pico-dollars as dollars.
pub(crate) fn dollars(pico: u64) -> f64 {
    pico as f64 / PICO
}

impl TypedMetric for Dollars {
    const TYPE: MetricType = MetricType::Counter;
}

impl EncodeMetric for Dollars {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        encoder.encode_counter::<NoLabelSet, _, u64>(&self.get(), None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_of_one_pico_dollar_is_not_lost_beside_a_large_sum() {
        let sum = Dollars::default();
        sum.add(9_000_000_000_000_000);
        for _ in 0..1_000_000 {
            sum.add(1);
        }
        assert!((sum.get() - 9_000.000_001).abs() < 1e-9, "{}", sum.get());
        sum.add(u64::MAX);
        assert!(sum.get() > 18_000_000.0, "the sum wrapped: {}", sum.get());
    }
}
