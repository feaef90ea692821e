//! Peak-EWMA of the time to first token: rises at once, falls slowly, forgets when nothing is asked (the measure of Finagle and
//! linkerd). Pure.

use crate::breaker::Millis;

/// Time in which an old value loses two thirds of its weight, milliseconds.
const DECAY: f64 = 10_000.0;

/// The recent time to first token of one channel.
#[derive(Clone, Copy, Debug, Default)]
pub struct PeakEwma {
    value: f64,
    at: Millis,
}

impl PeakEwma {
    /// A measured time, milliseconds.
    pub fn observe(&mut self, now: Millis, time: f64) {
        let kept = self.weight(now);
        let faded = self.value * kept;
        self.value = if time > faded {
            time
        } else {
            faded + time * (1.0 - kept)
        };
        self.at = now;
    }

    /// Milliseconds; 0 as long as nothing is known, so that a new channel gets its chance.
    #[must_use]
    pub fn get(&self, now: Millis) -> f64 {
        self.value * self.weight(now)
    }

    fn weight(&self, now: Millis) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "milliseconds since the last request")]
        let age = now.saturating_sub(self.at) as f64;
        (-age / DECAY).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rises_at_once_and_falls_slowly() {
        let mut ewma = PeakEwma::default();
        ewma.observe(0, 100.0);
        ewma.observe(1, 900.0);
        assert!(ewma.get(1) >= 900.0);
        ewma.observe(2, 100.0);
        assert!(ewma.get(2) > 800.0, "one fast answer does not excuse a slow one");
        (3..20_000).step_by(100).for_each(|now| ewma.observe(now, 100.0));
        assert!((90.0..250.0).contains(&ewma.get(20_000)));
        assert!(
            ewma.get(100_000) < 1.0,
            "a channel that is left alone gets another chance"
        );
    }
}
