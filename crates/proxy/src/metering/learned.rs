//! What models have used so far: how far the estimates of their input are off, and how long their answers are.

use std::collections::HashMap;

use parking_lot::Mutex;

/// Models that are remembered; what comes later is not learned.
const MODELS: usize = 2_000;
/// How much one answer changes the mean.
const STEP: f64 = 0.1;
/// Output of a model that nothing is known of, tokens.
const FIRST_OUTPUT: f64 = 512.0;

/// What is known of one model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Habit {
    /// Reported input / estimated input.
    pub(crate) factor: f64,
    /// Mean output of an answer, tokens.
    pub(crate) output: f64,
    /// The mean is of answers, not assumed.
    pub(crate) known: bool,
}

impl Default for Habit {
    fn default() -> Self {
        Habit {
            factor: 1.0,
            output: FIRST_OUTPUT,
            known: false,
        }
    }
}

impl Habit {
    /// The output that an answer probably has, at most what the request says; `None` if neither it nor an answer before says anything.
    pub(crate) fn likely_output(self, given: Option<u64>) -> Option<u64> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a mean of token counts"
        )]
        let likely = self.output.ceil() as u64;
        let known = self.known.then_some(likely);
        given.map(|given| given.min(likely)).or(known)
    }

    /// With what one more answer has shown: its estimated and reported input, its output. Numbers that are not known: 0.
    fn after(self, likely: u64, reported: u64, output: u64) -> Self {
        Habit {
            factor: ai_api_converter::estimate::learned(self.factor, likely, reported),
            output: if self.known {
                self.output + STEP * (as_f64(output) - self.output)
            } else {
                as_f64(output)
            },
            known: true,
        }
    }
}

/// Upstream models by name. Bounded: names come from the configuration, but globs let callers choose.
#[derive(Debug, Default)]
pub struct Learned(Mutex<HashMap<String, Habit>>);

impl Learned {
    pub(crate) fn of(&self, model: &str) -> Habit {
        self.0.lock().get(model).copied().unwrap_or_default()
    }

    pub(crate) fn learn(&self, model: &str, likely: u64, reported: u64, output: u64) {
        let mut known = self.0.lock();
        if let Some(habit) = known.get_mut(model) {
            *habit = habit.after(likely, reported, output);
        } else if known.len() < MODELS {
            known.insert(model.to_owned(), Habit::default().after(likely, reported, output));
        }
    }

    /// The correction of each model's estimates, for metrics.
    #[must_use]
    pub fn factors(&self) -> Vec<(String, f64)> {
        let known = self.0.lock();
        known
            .iter()
            .map(|(model, habit)| (model.clone(), habit.factor))
            .collect()
    }
}

#[expect(clippy::cast_precision_loss, reason = "token counts are far below 2^53")]
pub(crate) fn as_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_output_follows_the_answers_and_models_are_bounded() {
        let learned = Learned::default();
        for _ in 0..100 {
            learned.learn("m", 100, 120, 2_000);
        }
        let habit = learned.of("m");
        assert!((habit.output - 2_000.0).abs() < 10.0, "{habit:?}");
        assert!(habit.factor > 1.1 && habit.factor < 1.3, "{habit:?}");
        for number in 0..(2 * MODELS) {
            learned.learn(&format!("x{number}"), 1, 1, 1);
        }
        assert_eq!(learned.factors().len(), MODELS);
        let unknown = learned.of("unknown");
        assert_eq!((unknown, unknown.likely_output(None)), (Habit::default(), None));
        assert_eq!(
            [20, 9_000].map(|given| unknown.likely_output(Some(given))),
            [Some(20), Some(512)]
        );
        assert_eq!(habit.likely_output(Some(9_000)), habit.likely_output(None));
    }
}
