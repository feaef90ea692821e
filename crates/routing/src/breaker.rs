//! The circuit breaker of one channel (promise P6): open after failures in a row or too many of them, half-open with one probe at a
//! time, longer each time the probe fails. Pure: time (milliseconds of a monotonic clock) and chance are arguments.

use opm_config::Breaker as Limits;

/// Milliseconds of a monotonic clock.
pub type Millis = u64;

const BUCKETS: usize = 30;

/// How a channel stands with its breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It serves.
    Closed,
    /// Its pause is over and one request may try it.
    HalfOpen,
    /// It is left alone until then.
    Open(Millis),
}

/// Leave to try a channel once. Give it back to [`Breaker::succeeded`], [`Breaker::failed`] or [`Breaker::abandoned`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Admitted {
    probe: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    number: u64,
    good: u32,
    bad: u32,
}

/// The breaker of one channel.
#[derive(Clone, Debug)]
pub struct Breaker {
    limits: Limits,
    in_a_row: u32,
    buckets: [Bucket; BUCKETS],
    open_until: Option<Millis>,
    /// How often the probe failed since the breaker opened.
    doublings: u32,
    probing: bool,
}

impl Breaker {
    /// A closed breaker.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Breaker {
            limits,
            in_a_row: 0,
            buckets: [Bucket::default(); BUCKETS],
            open_until: None,
            doublings: 0,
            probing: false,
        }
    }

    /// Other limits from now on; what was seen stays.
    pub fn limit(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// How the channel stands.
    #[must_use]
    pub fn standing(&self, now: Millis) -> Standing {
        match self.open_until {
            None => Standing::Closed,
            Some(until) if now < until => Standing::Open(until),
            // Somebody is trying it already: for everybody else it is still closed to traffic.
            Some(_) if self.probing => Standing::Open(now + 1),
            Some(_) => Standing::HalfOpen,
        }
    }

    /// Closed, and no failure since the last success.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.open_until.is_none() && self.in_a_row == 0
    }

    /// Leave to try the channel, unless it is open or being probed.
    pub fn admit(&mut self, now: Millis) -> Option<Admitted> {
        match self.standing(now) {
            Standing::Closed => Some(Admitted { probe: false }),
            Standing::HalfOpen => {
                self.probing = true;
                Some(Admitted { probe: true })
            }
            Standing::Open(_) => None,
        }
    }

    /// Leave in any case: the last channel is never ejected.
    pub fn force(&mut self) -> Admitted {
        Admitted {
            probe: self.open_until.is_some(),
        }
    }

    /// The try was good.
    pub fn succeeded(&mut self, now: Millis, admitted: Admitted) {
        self.in_a_row = 0;
        self.bucket(now).good += 1;
        if admitted.probe {
            self.probing = false;
            self.open_until = None;
            self.doublings = 0;
            self.buckets = [Bucket::default(); BUCKETS];
        }
    }

    /// The try failed. `chance` in 0..1 spreads the pauses by ±20 %.
    pub fn failed(&mut self, now: Millis, admitted: Admitted, chance: f64) {
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.bucket(now).bad += 1;
        if admitted.probe {
            self.probing = false;
            self.doublings = self.doublings.saturating_add(1);
            self.open(now, chance);
        } else if self.open_until.is_none()
            && (self.in_a_row >= self.limits.failures || self.rate_is_bad(now))
        {
            self.doublings = 0;
            self.open(now, chance);
        }
    }

    /// The try ended without telling anything about the channel: the client left.
    pub fn abandoned(&mut self, admitted: Admitted) {
        if admitted.probe {
            self.probing = false;
        }
    }

    fn open(&mut self, now: Millis, chance: f64) {
        let least = millis(self.limits.open_min);
        let most = millis(self.limits.open_max);
        let pause = least.saturating_mul(1u64.checked_shl(self.doublings.min(20)).unwrap_or(u64::MAX));
        // 0.8 to 1.2 of it, in whole thousandths.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "chance is in 0..1, so the value is in 800..=1200"
        )]
        let spread = 800 + (chance.clamp(0.0, 1.0) * 400.0) as u64;
        let pause = (pause.min(most).saturating_mul(spread) / 1000).min(most);
        self.open_until = Some(now.saturating_add(pause.max(1)));
    }

    fn bucket_number(&self, now: Millis) -> u64 {
        now / (millis(self.limits.window) / BUCKETS as u64).max(1)
    }

    fn bucket(&mut self, now: Millis) -> &mut Bucket {
        let number = self.bucket_number(now);
        let at = usize::try_from(number % BUCKETS as u64).unwrap_or(0);
        #[expect(clippy::indexing_slicing, reason = "the remainder is below the length")]
        let bucket = &mut self.buckets[at];
        if bucket.number != number {
            *bucket = Bucket {
                number,
                ..Bucket::default()
            };
        }
        bucket
    }

    fn rate_is_bad(&self, now: Millis) -> bool {
        let newest = self.bucket_number(now);
        let fresh = |bucket: &&Bucket| bucket.number + BUCKETS as u64 > newest;
        let (good, bad) = self
            .buckets
            .iter()
            .filter(fresh)
            .fold((0u64, 0u64), |(good, bad), bucket| {
                (good + u64::from(bucket.good), bad + u64::from(bucket.bad))
            });
        let all = good + bad;
        all >= u64::from(self.limits.least) && bad * 100 >= all * u64::from(self.limits.percent)
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fail(breaker: &mut Breaker, now: Millis) {
        let admitted = breaker.admit(now).unwrap();
        breaker.failed(now, admitted, 0.5);
    }

    #[test]
    fn five_failures_in_a_row_open_it_for_ten_seconds() {
        let mut breaker = Breaker::new(Limits::default());
        for _ in 0..4 {
            fail(&mut breaker, 0);
        }
        let admitted = breaker.admit(0).unwrap();
        breaker.succeeded(0, admitted);
        for _ in 0..5 {
            assert_eq!(breaker.standing(0), Standing::Closed);
            fail(&mut breaker, 0);
        }
        assert_eq!(breaker.standing(9_999), Standing::Open(10_000));
        assert_eq!(breaker.admit(9_999), None);
        assert_eq!(breaker.standing(10_000), Standing::HalfOpen);
    }

    #[test]
    fn one_probe_at_a_time_decides() {
        let mut breaker = Breaker::new(Limits::default());
        (0..5).for_each(|_| fail(&mut breaker, 0));
        let probe = breaker.admit(10_000).unwrap();
        assert_eq!(breaker.admit(10_000), None, "a second probe at the same time");
        breaker.abandoned(probe);
        let probe = breaker.admit(10_000).unwrap();
        breaker.failed(10_000, probe, 0.5);
        assert_eq!(breaker.standing(10_001), Standing::Open(30_000), "twice as long");
        let probe = breaker.admit(30_000).unwrap();
        breaker.succeeded(30_000, probe);
        assert_eq!(breaker.standing(30_000), Standing::Closed);
    }

    #[test]
    fn pauses_double_up_to_the_limit_and_are_spread() {
        let mut breaker = Breaker::new(Limits::default());
        (0..5).for_each(|_| fail(&mut breaker, 0));
        let mut now = 0;
        let mut pauses = Vec::new();
        for _ in 0..7 {
            let Standing::Open(until) = breaker.standing(now) else {
                panic!()
            };
            pauses.push((until - now) / 1000);
            now = until;
            let probe = breaker.admit(now).unwrap();
            breaker.failed(now, probe, 0.5);
        }
        assert_eq!(pauses, [10, 20, 40, 80, 160, 300, 300]);
        for (chance, wanted) in [(0.0, 8_000), (1.0, 12_000)] {
            let mut breaker = Breaker::new(Limits::default());
            for _ in 0..5 {
                let admitted = breaker.admit(0).unwrap();
                breaker.failed(0, admitted, chance);
            }
            assert_eq!(breaker.standing(0), Standing::Open(wanted));
        }
    }

    #[test]
    fn half_of_twenty_failures_in_the_window_open_it_and_old_ones_are_forgotten() {
        let mut breaker = Breaker::new(Limits::default());
        let turn = |breaker: &mut Breaker, now: Millis| {
            let good = breaker.admit(now).unwrap();
            breaker.succeeded(now, good);
            fail(breaker, now);
        };
        (0..9).for_each(|_| turn(&mut breaker, 0));
        (0..9).for_each(|_| turn(&mut breaker, 31_000));
        assert_eq!(
            breaker.standing(31_000),
            Standing::Closed,
            "the first nine are too old to count"
        );
        turn(&mut breaker, 32_000);
        assert!(matches!(breaker.standing(32_000), Standing::Open(_)));
    }

    #[test]
    fn the_last_channel_is_tried_although_open_and_a_success_closes_it() {
        let mut breaker = Breaker::new(Limits::default());
        (0..5).for_each(|_| fail(&mut breaker, 0));
        let forced = breaker.force();
        breaker.succeeded(1, forced);
        assert_eq!(breaker.standing(1), Standing::Closed);
    }
}
