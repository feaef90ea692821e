//! What a token costs. Integers only: picodollars per token, so that no sum depends on the order of its parts.

use std::fmt;
use std::str::FromStr;

use opm_core::Usage;

use crate::prices::PriceError;

/// Money, in 10⁻¹² US dollars. $0.075 per million tokens is 75,000 of these per token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PicoUsd(pub u64);

impl PicoUsd {
    /// A price per million tokens as people write it (`0.075`), per token. `None` if it is no plain decimal number or
    /// finer than a picodollar per token.
    #[must_use]
    pub fn per_million(dollars: &str) -> Option<PicoUsd> {
        let (whole, fraction) = dollars.split_once('.').unwrap_or((dollars, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > 6 {
            return None;
        }
        let micro: u64 = format!("{fraction:0<6}").parse().ok()?;
        let whole: u64 = whole.parse().ok()?;
        whole.checked_mul(1_000_000)?.checked_add(micro).map(PicoUsd)
    }

    /// In 10⁻⁹ dollars, rounded to the nearest.
    #[must_use]
    pub fn nano(self) -> u64 {
        self.0 / 1000 + u64::from(self.0 % 1000 >= 500)
    }
}

impl fmt::Display for PicoUsd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = format!("{:012}", self.0 % 1_000_000_000_000);
        write!(
            f,
            "${}.{}",
            self.0 / 1_000_000_000_000,
            digits.trim_end_matches('0')
        )?;
        if digits.ends_with("000000000000") {
            f.write_str("0")
        } else {
            Ok(())
        }
    }
}

/// What is counted and priced apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Text input that no cache had to do with.
    Input,
    /// Input read from a prompt cache.
    CacheRead,
    /// Input written to a cache with the short lifetime (5 or 30 minutes).
    CacheWriteShort,
    /// Input written to a cache with the long lifetime (1 or 12 hours).
    CacheWriteLong,
    /// Audio input.
    AudioInput,
    /// Image input.
    ImageInput,
    /// Text output.
    Output,
    /// Reasoning.
    Reasoning,
    /// Audio output.
    AudioOutput,
    /// Image output.
    ImageOutput,
    /// One search of a hosted tool; not a token.
    WebSearch,
}

/// Every class, its name in rules, and the class whose price counts where it has none of its own.
const CLASSES: [(Class, &str, Option<Class>); 11] = [
    (Class::Input, "input", None),
    (Class::CacheRead, "cache_read", Some(Class::Input)),
    (Class::CacheWriteShort, "cache_write_short", Some(Class::Input)),
    (
        Class::CacheWriteLong,
        "cache_write_long",
        Some(Class::CacheWriteShort),
    ),
    (Class::AudioInput, "audio_input", Some(Class::Input)),
    (Class::ImageInput, "image_input", Some(Class::Input)),
    (Class::Output, "output", None),
    (Class::Reasoning, "reasoning", Some(Class::Output)),
    (Class::AudioOutput, "audio_output", Some(Class::Output)),
    (Class::ImageOutput, "image_output", Some(Class::Output)),
    (Class::WebSearch, "web_search", None),
];

impl Class {
    /// The name used in rules, the store and the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        CLASSES.get(self as usize).map_or("", |row| row.1)
    }

    fn stand_in(self) -> Option<Class> {
        CLASSES.get(self as usize).and_then(|row| row.2)
    }
}

/// The provider's service tier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Tier {
    /// The usual one.
    #[default]
    Standard,
    /// Batch APIs.
    Batch,
    /// OpenAI and Gemini `flex`: cheaper, slower.
    Flex,
    /// `priority`: dearer, faster.
    Priority,
    /// OpenAI `ultrafast`.
    Ultrafast,
    /// Anthropic `speed: fast`.
    Fast,
    /// Anthropic, made in the United States alone (`inference_geo: us`).
    Us,
    /// Both.
    FastUs,
    /// Anthropic's batches, made there.
    BatchUs,
}

const TIERS: [(Tier, &str); 9] = [
    (Tier::Standard, "standard"),
    (Tier::Batch, "batch"),
    (Tier::Flex, "flex"),
    (Tier::Priority, "priority"),
    (Tier::Ultrafast, "ultrafast"),
    (Tier::Fast, "fast"),
    (Tier::Us, "us"),
    (Tier::FastUs, "fast_us"),
    (Tier::BatchUs, "batch_us"),
];

impl Tier {
    /// The tier that an answer names in `service_tier`; names without a price of their own (`default`, `auto`, `scale`)
    /// are the standard one.
    #[must_use]
    pub fn from_service_tier(name: &str) -> Tier {
        TIERS
            .iter()
            .find(|row| row.1 == name)
            .map_or(Tier::Standard, |row| row.0)
    }

    /// The tier that served an answer.
    #[must_use]
    pub fn of(usage: &Usage) -> Tier {
        let tier = usage
            .tier
            .map_or(Tier::Standard, |tier| Tier::from_service_tier(tier.as_str()));
        if usage.in_us == Some(true) {
            tier.in_us()
        } else {
            tier
        }
    }

    /// The same, made in the United States alone: itself, where that has no price of its own.
    #[must_use]
    pub fn in_us(self) -> Tier {
        match self {
            Tier::Standard => Tier::Us,
            Tier::Fast => Tier::FastUs,
            Tier::Batch => Tier::BatchUs,
            other => other,
        }
    }

    /// The tier whose price counts where this one has none; else the standard one.
    fn elsewhere(self) -> Tier {
        match self {
            Tier::FastUs => Tier::Fast,
            Tier::BatchUs => Tier::Batch,
            other => other,
        }
    }

    /// The name used in rules, the store and the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        TIERS.get(self as usize).map_or("", |row| row.1)
    }
}

/// One price of a rule: written `class[.tier][>tokens]`, for example `input`, `output.batch`, `input.flex>200000`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// What is counted.
    pub class: Class,
    /// In which tier.
    pub tier: Tier,
    /// For requests with more input tokens than this.
    pub above: u64,
    /// Per token (or search).
    pub price: PicoUsd,
}

impl Rate {
    pub(crate) fn parse(name: &str, price: u64) -> Result<Rate, PriceError> {
        let unknown = || PriceError::Rate(name.to_owned());
        let (kind, above) = match name.split_once('>') {
            None => (name, 0),
            Some((kind, above)) => (kind, u64::from_str(above).map_err(|_| unknown())?),
        };
        let (class, tier) = kind.split_once('.').unwrap_or((kind, "standard"));
        let class = CLASSES.iter().find(|row| row.1 == class).ok_or_else(unknown)?;
        let tier = TIERS.iter().find(|row| row.1 == tier).ok_or_else(unknown)?;
        Ok(Rate {
            class: class.0,
            tier: tier.0,
            above,
            price: PicoUsd(price),
        })
    }
}

/// Usage taken apart: no token is counted in two classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    counts: [u64; CLASSES.len()],
    /// All input, which decides the context threshold.
    context: u64,
}

impl From<&Usage> for Tokens {
    fn from(usage: &Usage) -> Self {
        let known = |counter: Option<u64>| counter.unwrap_or(0);
        let long = known(usage.cache_write_long);
        let written = usage
            .cache_write
            .unwrap_or(known(usage.cache_write_short).saturating_add(long));
        let uncached = known(usage.input).saturating_sub(known(usage.cache_read).saturating_add(written));
        let audio_input = known(usage.input_audio).min(uncached);
        let image_input = known(usage.input_image).min(uncached - audio_input);
        let reasoning = known(usage.reasoning).min(known(usage.output));
        let answer = known(usage.output) - reasoning;
        let audio_output = known(usage.output_audio).min(answer);
        let image_output = known(usage.output_image).min(answer - audio_output);
        Tokens {
            context: known(usage.input),
            ..Tokens::default()
        }
        .with(Class::Input, uncached - audio_input - image_input)
        .with(Class::CacheRead, known(usage.cache_read))
        .with(Class::CacheWriteShort, written.saturating_sub(long))
        .with(Class::CacheWriteLong, long)
        .with(Class::AudioInput, audio_input)
        .with(Class::ImageInput, image_input)
        .with(Class::Output, answer - audio_output - image_output)
        .with(Class::Reasoning, reasoning)
        .with(Class::AudioOutput, audio_output)
        .with(Class::ImageOutput, image_output)
        .with(Class::WebSearch, known(usage.web_searches))
    }
}

impl Tokens {
    /// None yet, of a request with so much input in all: it decides which price counts.
    #[must_use]
    pub fn of(input: u64) -> Self {
        Tokens {
            context: input,
            ..Tokens::default()
        }
    }

    /// With another count for one class.
    #[must_use]
    pub fn with(mut self, class: Class, count: u64) -> Self {
        self.counts
            .iter_mut()
            .skip(class as usize)
            .take(1)
            .for_each(|place| *place = count);
        self
    }
}

/// One line of a bill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// What was counted.
    pub class: Class,
    /// How much.
    pub count: u64,
    /// Per token (or search).
    pub price: PicoUsd,
    /// The product.
    pub cost: PicoUsd,
}

/// What a request costs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// The sum of the lines.
    pub total: PicoUsd,
    /// Only classes that were used.
    pub lines: Vec<Line>,
}

/// The prices of one rule, and which of them counts for each class, tier and size of a prompt: worked out once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rates {
    pub(crate) list: Vec<Rate>,
    /// By the size from which they count, smallest first; the first is 0.
    bands: Vec<Band>,
}

/// The prices of requests with more input than this.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Band {
    above: u64,
    prices: [[Option<PicoUsd>; TIERS.len()]; CLASSES.len()],
}

impl Rates {
    pub(crate) fn new(list: Vec<Rate>) -> Self {
        let mut from: Vec<u64> = list.iter().map(|rate| rate.above).chain([0]).collect();
        from.sort_unstable();
        from.dedup();
        let band = |above: u64| {
            let of = |class| TIERS.map(|(tier, _)| price(&list, class, tier, above.saturating_add(1)));
            Band {
                above,
                prices: CLASSES.map(|(class, ..)| of(class)),
            }
        };
        Rates {
            bands: from.into_iter().map(band).collect(),
            list,
        }
    }

    /// The price of one token of a class in a request of so much input; `None` if it has none.
    pub(crate) fn price(&self, class: Class, tier: Tier, context: u64) -> Option<PicoUsd> {
        let mut bands = self.bands.iter().rev();
        let band = bands.find(|band| band.above == 0 || context > band.above)?;
        *band.prices.get(class as usize)?.get(tier as usize)?
    }

    /// What was used, line by line; `None` for something without a price. Searches without one are left out: what the tokens cost
    /// must not be lost with them.
    fn lines(&self, tokens: &Tokens, tier: Tier) -> impl Iterator<Item = Option<Line>> {
        let context = tokens.context;
        let used = CLASSES
            .into_iter()
            .zip(tokens.counts)
            .filter(|(_, count)| *count > 0)
            .filter(move |((class, ..), _)| {
                *class != Class::WebSearch || self.price(*class, tier, context).is_some()
            });
        used.map(move |((class, ..), count)| {
            let price = self.price(class, tier, context)?;
            Some(Line {
                class,
                count,
                price,
                cost: PicoUsd(count.saturating_mul(price.0)),
            })
        })
    }

    /// The sum of the bill alone; `None` if something was used that has no price.
    pub(crate) fn total(&self, tokens: &Tokens, tier: Tier) -> Option<PicoUsd> {
        self.lines(tokens, tier).try_fold(PicoUsd(0), |sum, line| {
            Some(PicoUsd(sum.0.saturating_add(line?.cost.0)))
        })
    }

    /// The bill; `None` if something was used that has no price.
    pub(crate) fn bill(&self, tokens: &Tokens, tier: Tier) -> Option<Cost> {
        Some(Cost {
            total: self.total(tokens, tier)?,
            lines: self.lines(tokens, tier).collect::<Option<_>>()?,
        })
    }
}

/// A class without a price counts as the one that it stands in for. With one, but none in the tier, its price changes there as that of
/// the other does: tiers are dearer or cheaper as a whole.
fn price(rates: &[Rate], class: Class, tier: Tier, context: u64) -> Option<PicoUsd> {
    let stand_in = |tier: Tier| price(rates, class.stand_in()?, tier, context);
    let own = price_of_class(rates, class, tier, context);
    if own.is_none() {
        return stand_in(tier);
    }
    let usual = own.filter(|_| !has_tier(rates, class, tier));
    let changed = usual.zip(stand_in(tier)).zip(stand_in(Tier::Standard));
    let changed = changed.filter(|((_, there), here)| there != here && here.0 > 0);
    changed.map_or(own, |((usual, there), here)| {
        let price = (u128::from(usual.0) * u128::from(there.0)).div_ceil(u128::from(here.0));
        Some(PicoUsd(u64::try_from(price).unwrap_or(u64::MAX)))
    })
}

fn has_tier(rates: &[Rate], class: Class, tier: Tier) -> bool {
    let of = [tier, tier.elsewhere()];
    tier == Tier::Standard
        || rates
            .iter()
            .any(|rate| rate.class == class && of.contains(&rate.tier))
}

/// The price at the highest threshold that is passed. Where a list has a threshold for the standard tier only, the dearer
/// of the two counts: a price that is not known must not come out cheaper than it can be.
fn price_of_class(rates: &[Rate], class: Class, tier: Tier, context: u64) -> Option<PicoUsd> {
    let best = |tier: Tier| {
        let fitting = rates
            .iter()
            .filter(|rate| rate.class == class && rate.tier == tier)
            .filter(|rate| rate.above == 0 || context > rate.above);
        fitting.max_by_key(|rate| rate.above)
    };
    let own = best(tier).or_else(|| best(tier.elsewhere()));
    match (own, best(Tier::Standard)) {
        (Some(own), Some(standard)) if standard.above > own.above => Some(own.price.max(standard.price)),
        (own, standard) => own.or(standard).map(|rate| rate.price),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bands_say_what_the_list_says() {
        let rate = |name, price| Rate::parse(name, price).unwrap();
        let list = vec![
            rate("input", 10),
            rate("input>200", 20),
            rate("input>900", 15),
            rate("input.batch", 5),
            rate("input.flex>300", 12),
            rate("input.us", 11),
            rate("input.fast>200", 40),
            rate("cache_read>200", 2),
            rate("output", 30),
            rate("web_search", 7),
        ];
        let rates = Rates::new(list.clone());
        for context in [0, 1, 200, 201, 300, 301, 900, 901, u64::MAX] {
            for (class, ..) in CLASSES {
                for (tier, _) in TIERS {
                    let listed = price(&list, class, tier, context);
                    assert_eq!(
                        rates.price(class, tier, context),
                        listed,
                        "{class:?} {tier:?} {context}"
                    );
                }
            }
        }
        assert_eq!(
            Rates::new(Vec::new()).price(Class::Input, Tier::Standard, 1),
            None
        );
    }

    #[test]
    fn a_class_without_a_price_in_a_tier_is_as_much_dearer_or_cheaper_as_the_one_it_stands_in_for() {
        let rate = |name, price| Rate::parse(name, price).unwrap();
        let rates = Rates::new(vec![
            rate("input", 10),
            rate("input.flex", 5),
            rate("audio_input", 31),
            rate("cache_read", 4),
            rate("cache_read.flex", 3),
            rate("output", 90),
            rate("output.priority", 162),
            rate("output.flex", 45),
            rate("reasoning", 90),
        ]);
        let price = |class, tier| rates.price(class, tier, 1).unwrap().0;
        use Class::{AudioInput, CacheRead, CacheWriteShort, ImageInput, Reasoning};
        assert_eq!(price(Reasoning, Tier::Priority), 162);
        assert_eq!(price(Reasoning, Tier::Flex), 45);
        assert_eq!(price(Reasoning, Tier::Batch), 90);
        assert_eq!(price(AudioInput, Tier::Flex), 16, "rounded up");
        assert_eq!(price(AudioInput, Tier::Priority), 31);
        assert_eq!(price(CacheRead, Tier::Flex), 3, "its own");
        assert_eq!(
            (price(CacheWriteShort, Tier::Flex), price(ImageInput, Tier::Flex)),
            (5, 5)
        );
    }

    #[test]
    fn the_order_of_the_tables_is_the_number_of_the_class() {
        assert!(
            CLASSES
                .iter()
                .enumerate()
                .all(|(index, row)| row.0 as usize == index)
        );
        assert!(
            TIERS
                .iter()
                .enumerate()
                .all(|(index, row)| row.0 as usize == index)
        );
    }

    #[test]
    fn dollars_per_million_become_exact_picodollars() {
        let cases = [
            ("0.075", Some(75_000)),
            ("15", Some(15_000_000)),
            ("0.000001", Some(1)),
            ("0.0000001", None),
            ("-1", None),
            ("1e3", None),
            ("", None),
            (".5", None),
            ("99999999999999999999", None),
        ];
        for (text, expected) in cases {
            assert_eq!(PicoUsd::per_million(text), expected.map(PicoUsd), "{text}");
        }
    }

    #[test]
    fn money_is_shown_in_dollars() {
        let shown = |pico| PicoUsd(pico).to_string();
        assert_eq!(shown(7_500_000_000), "$0.0075");
        assert_eq!(shown(2_000_000_000_000), "$2.0");
        assert_eq!(shown(1), "$0.000000000001");
        assert_eq!((PicoUsd(1499).nano(), PicoUsd(1500).nano()), (1, 2));
    }

    #[test]
    fn no_token_is_counted_twice() {
        let usage = Usage {
            input: Some(1000),
            cache_read: Some(300),
            cache_write: Some(200),
            cache_write_long: Some(50),
            input_audio: Some(100),
            input_image: Some(70),
            output: Some(500),
            reasoning: Some(200),
            output_audio: Some(30),
            output_image: Some(20),
            web_searches: Some(2),
            ..Usage::default()
        };
        let tokens = Tokens::from(&usage);
        assert_eq!(tokens.counts, [330, 300, 150, 50, 100, 70, 250, 200, 30, 20, 2]);
        assert_eq!(tokens.context, 1000);
    }

    #[test]
    fn parts_larger_than_the_whole_do_not_wrap_around() {
        let usage = Usage {
            input: Some(5),
            cache_read: Some(300),
            input_audio: Some(9),
            input_image: Some(9),
            output: Some(1),
            reasoning: Some(7),
            output_audio: Some(9),
            output_image: Some(9),
            ..Usage::default()
        };
        assert_eq!(Tokens::from(&usage).counts, [0, 300, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
    }
}
