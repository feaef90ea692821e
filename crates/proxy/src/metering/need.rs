//! What a request will need, before it is known: tokens, and money. Pure.

use ai_api_converter::estimate::Expected;
use opm_ledger::{Class, PicoUsd, Tier, Tokens};
use opm_limits::{Dimension, Mode, Rule};

use super::learned::{Habit, as_f64};

/// A request that names no bound is not admitted for fewer output tokens (or a sixteenth of a small limit): an answer cut after a
/// few words helps nobody.
const OUTPUT_FLOOR: u64 = 128;

/// What a request will need.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Need {
    /// Input tokens.
    pub(crate) input: Expected,
    /// Output.
    pub(crate) output: Output,
}

/// The output that a request may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// None: a count, an embedding.
    None,
    /// As much as the request says, for all its choices together; and what is likely.
    Given { most: u64, likely: u64 },
    /// It does not say.
    Open { cap: u64, likely: u64 },
}

/// How much to reserve: exactly `most`, or as much as is free but at least `least`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Amount {
    pub(crate) least: u64,
    pub(crate) most: u64,
}

impl Amount {
    fn exactly(most: u64) -> Self {
        Amount { least: most, most }
    }
}

impl Need {
    /// What is known beforehand. `given`: the bound of one choice; `cap`: the most that the model writes.
    pub(crate) fn new(
        input: Expected,
        habit: Habit,
        generates: bool,
        (given, choices, cap): (Option<u64>, u64, u64),
    ) -> Self {
        let choices = choices.max(1);
        let likely = rounded(habit.output * 1.5).saturating_mul(choices);
        let output = match given {
            _ if !generates => Output::None,
            Some(given) => {
                let most = given.saturating_mul(choices);
                Output::Given {
                    most,
                    likely: likely.min(most),
                }
            }
            None => {
                let cap = cap.saturating_mul(choices);
                Output::Open {
                    cap,
                    likely: likely.min(cap),
                }
            }
        };
        Need {
            input: Expected {
                likely: rounded(as_f64(input.likely) * habit.factor),
                // A model that counts more than the estimator has more of everything.
                most: rounded(as_f64(input.most) * habit.factor.max(1.0)),
                sound: input.sound,
            },
            output,
        }
    }

    /// What a rule is to reserve; `None`: its price is not known.
    pub(crate) fn amount(&self, rule: &Rule, price: &Price<'_>) -> Option<Amount> {
        let strict = rule.reserves() == Mode::Strict;
        match rule.dimension() {
            Dimension::Requests | Dimension::Concurrency => Some(Amount::exactly(1)),
            Dimension::Tokens => Some(self.tokens(strict, rule.limit())),
            Dimension::Money => self.money(strict, rule.limit(), price),
        }
    }

    fn tokens(&self, strict: bool, limit: u64) -> Amount {
        let (input, output) = self.each(strict, limit);
        Amount {
            least: input.saturating_add(output.least),
            most: input.saturating_add(output.most),
        }
    }

    fn money(&self, strict: bool, limit: u64, price: &Price<'_>) -> Option<Amount> {
        let (input, output) = self.each(strict, u64::MAX);
        let dearest = price.dearest(&self.input)?;
        let cost = |output: u64| price.real(dearest.of(input, output));
        let (least, most) = (cost(output.least), cost(output.most));
        // Half of a small budget must not go to one answer that nobody asked to be that long.
        let most = if output.least == output.most {
            most
        } else {
            most.min(limit / 2).max(least)
        };
        Some(Amount { least, most })
    }

    /// Input and output to reserve.
    fn each(&self, strict: bool, limit: u64) -> (u64, Amount) {
        let input = if strict {
            self.input.most
        } else {
            self.input.likely
        };
        let output = match self.output {
            Output::None => Amount::exactly(0),
            Output::Given { likely, .. } | Output::Open { likely, .. } if !strict => Amount::exactly(likely),
            Output::Given { most, .. } => Amount::exactly(most),
            Output::Open { cap, .. } => {
                let floor = OUTPUT_FLOOR.min(limit / 16).max(1);
                let most = cap.min(limit / 2).max(floor);
                Amount {
                    least: floor.min(most),
                    most,
                }
            }
        };
        (input, output)
    }

    /// The output that fits into what strict token rules have granted; `None`: not even the prompt does.
    pub(crate) fn output_within(&self, tokens: u64) -> Option<u64> {
        /// Below this the upper bound of the prompt is not believed, which holds for texts that nobody writes; what is likely and a
        /// margin, which holds for single letters too, is. A prompt may be large beside a small limit.
        const ENOUGH: u64 = 16;
        let rest = |input: u64| tokens.checked_sub(input);
        let cautious = self.input.likely.saturating_mul(8) / 5;
        let surely = rest(self.input.most);
        surely
            .filter(|rest| *rest >= ENOUGH)
            // Of digits more is likely than by the margin can be.
            .or_else(|| surely.max(rest(cautious)).filter(|rest| *rest > 0))
    }

    /// The output that fits into what strict budgets have granted.
    pub(crate) fn output_for(&self, money: u64, price: &Price<'_>) -> Option<u64> {
        let dearest = price.dearest(&self.input)?;
        let rest = money.checked_sub(price.real(dearest.of(self.input.most, 0)))?;
        // Rounded up for each token: never a token too many.
        let token = price.real(dearest.output);
        Some(rest.checked_div(token).unwrap_or(u64::MAX)).filter(|output| *output > 0)
    }

    /// The bound that the request states itself, for all choices together.
    pub(crate) fn stated(&self) -> Option<u64> {
        match self.output {
            Output::Given { most, .. } => Some(most),
            Output::None | Output::Open { .. } => None,
        }
    }
}

/// The prices of one upstream model.
#[derive(Clone, Copy)]
pub(crate) struct Price<'p> {
    /// `None`: the model has no price.
    pub(crate) rule: Option<&'p opm_ledger::Rule>,
    /// Millionths of the list price.
    pub(crate) millionths: u64,
    /// The tier that was asked for by name.
    pub(crate) tier: Option<Tier>,
}

impl Price<'_> {
    /// The most that input costs; `None`: the price is not known.
    pub(crate) fn input(&self, input: &Expected) -> Option<u64> {
        Some(self.real(self.dearest(input)?.of(input.most, 0)))
    }

    /// What was used costs; `None`: the price is not known.
    pub(crate) fn of(&self, tokens: &Tokens, tier: Tier) -> Option<PicoUsd> {
        let total = self.rule?.total(tokens, tier)?;
        Some(PicoUsd(self.real(total.0)))
    }

    /// The model has a price.
    pub(crate) fn is_known(&self) -> bool {
        self.rule.is_some()
    }

    /// What the account really pays.
    fn real(&self, listed: u64) -> u64 {
        let real = u128::from(listed) * u128::from(self.millionths);
        u64::try_from(real.div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }

    /// The dearest that a token of the prompt and a token of the answer can be, at the tier that was asked for, of such a prompt: input
    /// that is written to a cache costs more, reasoning, pictures and sound may.
    fn dearest(&self, input: &Expected) -> Option<Dearest> {
        let rule = self.rule?;
        // A provider may serve a request in a dearer tier than the usual one, or in a dearer place, by a setting of the account.
        let tiers = match self.tier {
            None => [Tier::Standard, Tier::Us, Tier::Priority],
            // OpenAI's word for its priority, too.
            Some(Tier::Fast) => [Tier::Fast, Tier::FastUs, Tier::Priority],
            Some(asked) => [asked, asked.in_us(), asked],
        };
        let of = |classes: &[Class]| {
            let each = classes.iter().flat_map(|class| tiers.map(|tier| (*class, tier)));
            each.map(|(class, tier)| rule.price(class, tier, input.most))
                .max()
                .flatten()
        };
        let sound = if input.sound {
            of(&[Class::AudioInput])
        } else {
            None
        };
        Some(Dearest {
            input: of(&[
                Class::Input,
                Class::CacheWriteShort,
                Class::CacheWriteLong,
                Class::ImageInput,
            ])?
            .max(sound.unwrap_or_default())
            .0,
            output: of(&[
                Class::Output,
                Class::Reasoning,
                Class::AudioOutput,
                Class::ImageOutput,
            ])?
            .0,
        })
    }

    /// The most that so many tokens can cost.
    #[cfg(test)]
    fn most(&self, input: &Expected, output: u64) -> Option<u64> {
        Some(self.real(self.dearest(input)?.of(input.most, output)))
    }
}

/// List prices of one token.
#[derive(Clone, Copy)]
struct Dearest {
    input: u64,
    output: u64,
}

impl Dearest {
    fn of(self, input: u64, output: u64) -> u64 {
        let output = output.saturating_mul(self.output);
        input.saturating_mul(self.input).saturating_add(output)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "token counts are never negative and far below 2^53"
)]
fn rounded(count: f64) -> u64 {
    count.ceil() as u64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use opm_ledger::Prices;
    use opm_limits::{Over, Window};

    use super::*;

    const INPUT: Expected = Expected {
        likely: 100,
        most: 250,
        sound: false,
    };

    fn tokens(limit: u64, mode: Mode) -> Rule {
        let over = Over::Window(Window::new(Duration::from_secs(60)).unwrap());
        Rule::new("r", Dimension::Tokens, limit, over).unwrap().mode(mode)
    }

    fn prices() -> Prices {
        let list = r#"{"rules": [{"models": ["m"], "rates": {"input": 1000000, "cache_write_short": 2000000, "output": 5000000,
            "output.priority": 10000000, "audio_input": 3000000, "output.fast": 20000000, "output.fast_us": 22000000}}, {"models": ["pictures"], "rates": {"input": 1000000,
            "output": 5000000, "image_output": 60000000}}]}"#;
        Prices::new(opm_ledger::Rule::list(list).unwrap()).unwrap()
    }

    fn price<'p>(prices: &'p Prices, model: &'p str, tier: Option<Tier>) -> Price<'p> {
        Price {
            rule: prices.rule("openai", model, opm_ledger::Day::of_ms(0)),
            millionths: 1_000_000,
            tier,
        }
    }

    fn need(given: Option<u64>, choices: u64) -> Need {
        Need::new(INPUT, Habit::default(), true, (given, choices, 4_000))
    }

    #[test]
    fn strict_reserves_the_upper_bound_and_estimate_what_is_likely() {
        let list = prices();
        let price = price(&list, "m", Some(Tier::Standard));
        let of = |need: &Need, limit, mode| need.amount(&tokens(limit, mode), &price).unwrap();
        let amount = |least, most| Amount { least, most };
        assert_eq!(of(&need(Some(50), 1), 10_000, Mode::Strict), amount(300, 300));
        assert_eq!(of(&need(Some(50), 4), 10_000, Mode::Strict), amount(450, 450));
        // Without a bound of its own: as much as is free, but half of the limit at most.
        assert_eq!(of(&need(None, 1), 100_000, Mode::Strict), amount(378, 4_250));
        assert_eq!(of(&need(None, 1), 1_000, Mode::Strict), amount(312, 750));
        assert_eq!(of(&need(Some(50), 1), 10_000, Mode::Estimate), amount(150, 150));
        let counted = Need::new(INPUT, Habit::default(), false, (None, 1, 4_000));
        assert_eq!(of(&counted, 10_000, Mode::Strict), amount(250, 250));
    }

    #[test]
    fn a_model_that_counts_more_than_the_estimate_needs_more_of_everything() {
        let habit = Habit {
            factor: 1.5,
            output: 10.0,
            known: true,
        };
        let need = Need::new(INPUT, habit, true, (None, 1, 4_000));
        assert_eq!((need.input.likely, need.input.most), (150, 375));
        assert_eq!(
            need.output,
            Output::Open {
                cap: 4_000,
                likely: 15
            }
        );
        let less = Habit {
            factor: 0.5,
            output: 10.0,
            known: true,
        };
        let need = Need::new(INPUT, less, true, (None, 1, 4_000));
        assert_eq!((need.input.likely, need.input.most), (50, 250));
    }

    #[test]
    fn the_output_is_held_to_what_was_granted() {
        assert_eq!(need(None, 1).output_within(750), Some(500));
        // The upper bound of the prompt is not believed where the limit is small.
        assert_eq!(need(None, 1).output_within(260), Some(100));
        assert_eq!(need(None, 1).output_within(160), None);
        assert_eq!(need(Some(7), 2).stated(), Some(14));
    }

    #[test]
    fn money_counts_the_dearest_that_the_tokens_can_be() {
        let list = prices();
        let usual = price(&list, "m", Some(Tier::Standard));
        // 250 tokens written to a cache, and the output.
        assert_eq!(usual.most(&INPUT, 10), Some(250 * 2_000_000 + 10 * 5_000_000));
        let dear = price(&list, "m", None);
        assert_eq!(dear.most(&INPUT, 10), Some(250 * 2_000_000 + 10 * 10_000_000));
        let fast = price(&list, "m", Some(Tier::Fast));
        assert_eq!(fast.most(&INPUT, 10), Some(250 * 2_000_000 + 10 * 22_000_000));
        let heard = Expected { sound: true, ..INPUT };
        assert_eq!(usual.most(&heard, 10), Some(250 * 3_000_000 + 10 * 5_000_000));
        let pictures = price(&list, "pictures", Some(Tier::Standard));
        assert_eq!(pictures.most(&INPUT, 10), Some(250 * 1_000_000 + 10 * 60_000_000));
        assert_eq!(price(&list, "unknown", None).most(&INPUT, 1), None);
        let money = 250 * 2_000_000 + 7 * 5_000_000 + 1;
        assert_eq!(need(None, 1).output_for(money, &usual), Some(7));
        assert_eq!(need(None, 1).output_for(250 * 2_000_000, &usual), None);
        let half = Price {
            millionths: 500_000,
            ..usual
        };
        assert_eq!(
            half.most(&INPUT, 10),
            Some((250 * 2_000_000 + 10 * 5_000_000) / 2)
        );
    }
}
