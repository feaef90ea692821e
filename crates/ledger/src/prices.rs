//! Which prices count for a model at a time: rules as data, the built-in list under the operator's own.

use std::collections::{BTreeMap, HashMap};
use std::str::FromStr;

use serde::Deserialize;

use crate::price::{Class, Cost, PicoUsd, Rate, Rates, Tier, Tokens};

/// Made by `tools/prices.py`; sources and licence in NOTICE.
const BUILT_IN: &str = include_str!("../data/prices.json");

/// Why a price list is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PriceError {
    /// A price has an unknown name.
    #[error(
        "unknown price {0:?}; write class[.tier][>tokens], for example input, output.batch or input>200000"
    )]
    Rate(String),
    /// A date cannot be read.
    #[error("{0:?} is no date; write YYYY-MM-DD")]
    Day(String),
    /// The list is no JSON of the right shape.
    #[error("the price list cannot be read: {0}")]
    Json(String),
}

/// A day in UTC, counted from 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(i64);

impl Day {
    /// The day of a time in milliseconds since 1970.
    #[must_use]
    pub fn of_ms(ms: u64) -> Day {
        Day(i64::try_from(ms / 86_400_000).unwrap_or(i64::MAX))
    }
}

impl FromStr for Day {
    type Err = PriceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unreadable = || PriceError::Day(text.to_owned());
        let parts: Vec<i64> = text
            .split('-')
            .map(|part| part.parse().map_err(|_| unreadable()))
            .collect::<Result<_, _>>()?;
        let [year @ 1970..=9999, month @ 1..=12, day @ 1..=31] = parts[..] else {
            return Err(unreadable());
        };
        // Years begin in March here, so that the leap day is the last (proleptic Gregorian calendar).
        let (year, month) = if month > 2 {
            (year, month - 3)
        } else {
            (year - 1, month + 9)
        };
        let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
        Ok(Day(days - 719_468))
    }
}

/// The prices of some models.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Only for channels of this provider; `None` for all.
    pub provider: Option<String>,
    /// Names of upstream models; `*` stands for anything.
    pub models: Vec<String>,
    /// Counts from this day on; `None`: always did.
    pub valid_from: Option<Day>,
    rates: Rates,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawList {
    #[expect(dead_code, reason = "for people who read the file")]
    source: Option<String>,
    rules: Vec<RawRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRule {
    provider: Option<String>,
    models: Vec<String>,
    valid_from: Option<String>,
    rates: BTreeMap<String, u64>,
}

impl Rule {
    /// The rules of a JSON list: `{"rules": [{"provider", "models", "valid_from", "rates": {"input": 75000}}]}`, prices in
    /// picodollars per token.
    ///
    /// # Errors
    /// What is wrong with the list.
    pub fn list(json: &str) -> Result<Vec<Rule>, PriceError> {
        let list: RawList =
            serde_json::from_str(json).map_err(|error| PriceError::Json(error.to_string()))?;
        list.rules.into_iter().map(Rule::compile).collect()
    }

    fn compile(raw: RawRule) -> Result<Rule, PriceError> {
        let rates = raw.rates.iter().map(|(name, price)| Rate::parse(name, *price));
        Ok(Rule {
            provider: raw.provider,
            models: raw.models,
            valid_from: raw.valid_from.as_deref().map(Day::from_str).transpose()?,
            rates: Rates::new(rates.collect::<Result<_, _>>()?),
        })
    }

    /// The prices.
    #[must_use]
    pub fn rates(&self) -> &[Rate] {
        &self.rates.list
    }

    /// What was used costs at these prices, without the lines of a bill; `None` if something that was used has no price.
    #[must_use]
    pub fn total(&self, tokens: &Tokens, tier: Tier) -> Option<PicoUsd> {
        self.rates.total(tokens, tier)
    }

    /// The price of one token of a class in a request of so much input; `None` if it has none.
    #[must_use]
    pub fn price(&self, class: Class, tier: Tier, input: u64) -> Option<PicoUsd> {
        self.rates.price(class, tier, input)
    }

    fn fits(&self, provider: &str, day: Day) -> bool {
        self.provider.as_deref().is_none_or(|own| own == provider)
            && self.valid_from.is_none_or(|from| from <= day)
    }
}

/// Rules, findable by name.
#[derive(Clone, Debug, Default)]
struct Book {
    rules: Vec<Rule>,
    exact: HashMap<String, Vec<usize>>,
    globs: Vec<(Glob, usize)>,
}

impl Book {
    fn new(rules: Vec<Rule>) -> Self {
        let mut book = Book::default();
        for (index, rule) in rules.iter().enumerate() {
            for model in &rule.models {
                if model.contains('*') {
                    book.globs.push((Glob::new(model), index));
                } else {
                    book.exact.entry(model.clone()).or_default().push(index);
                }
            }
        }
        book.rules = rules;
        book
    }

    /// The exact name before globs, the longer glob before the shorter, the later date before the earlier.
    fn find(&self, provider: &str, model: &str, day: Day) -> Option<&Rule> {
        let exact = self.exact.get(model).into_iter().flatten();
        let exact = exact.filter_map(|index| self.rules.get(*index));
        let exact = exact.filter(|rule| rule.fits(provider, day));
        exact.max_by_key(|rule| rule.valid_from).or_else(|| {
            let globs = self.globs.iter().filter(|(glob, _)| glob.fits(model));
            globs
                .filter_map(|(glob, index)| Some((glob.text.len(), self.rules.get(*index)?)))
                .filter(|(_, rule)| rule.fits(provider, day))
                .max_by_key(|(length, rule)| (*length, rule.valid_from))
                .map(|(_, rule)| rule)
        })
    }
}

/// A pattern and where its first star stands.
#[derive(Clone, Debug)]
struct Glob {
    text: String,
    star: usize,
}

impl Glob {
    fn new(text: &str) -> Self {
        Glob {
            text: text.to_owned(),
            star: text.find('*').unwrap_or(text.len()),
        }
    }

    /// Nearly every name differs before the first star.
    fn fits(&self, name: &str) -> bool {
        let start = self.text.as_bytes().get(..self.star).unwrap_or_default();
        name.as_bytes().starts_with(start) && matches_glob(&self.text, name)
    }
}

/// `*` stands for any text, also none.
fn matches_glob(glob: &str, text: &str) -> bool {
    let mut parts = glob.split('*');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// The price lists: the operator's over the built-in one. The default is empty: nothing has a price.
#[derive(Clone, Debug, Default)]
pub struct Prices {
    own: Book,
    built_in: Book,
}

impl Prices {
    /// The built-in list (OpenAI, Anthropic, Gemini) with rules of the operator over it. A model that one of these fits
    /// takes no price from the built-in list.
    ///
    /// # Errors
    /// The built-in list is broken, which a test excludes.
    pub fn new(own: Vec<Rule>) -> Result<Prices, PriceError> {
        Ok(Prices {
            own: Book::new(own),
            built_in: Book::new(Rule::list(BUILT_IN)?),
        })
    }

    /// What a request costs; `None` if the model or something that it used has no price. `provider` is `openai`,
    /// `anthropic` or `gemini` for these, else the operator's word; `at_ms` in milliseconds since 1970.
    ///
    /// A dated name (`gpt-5-2025-08-07`) without rules of its own has the price of the name without the date.
    #[must_use]
    pub fn cost(&self, tokens: &Tokens, provider: &str, model: &str, tier: Tier, at_ms: u64) -> Option<Cost> {
        let rule = self.rule(provider, model, Day::of_ms(at_ms))?;
        rule.rates.bill(tokens, tier)
    }

    /// The rule that counts for a model on a day.
    #[must_use]
    pub fn rule(&self, provider: &str, model: &str, day: Day) -> Option<&Rule> {
        // Gemini's own clients write `models/gemini-…`.
        let plain = model.strip_prefix("models/");
        [Some(model), plain, without_date(plain.unwrap_or(model))]
            .into_iter()
            .flatten()
            .find_map(|name| {
                let own = self.own.find(provider, name, day);
                own.or_else(|| self.built_in.find(provider, name, day))
            })
    }
}

/// The name before `-2025-08-07`, `-20250807` or `@20250807`.
fn without_date(model: &str) -> Option<&str> {
    [("-", "####-##-##"), ("-", "########"), ("@", "########")]
        .into_iter()
        .find_map(|(sign, shape)| {
            let (name, date) = model.split_at_checked(model.len().checked_sub(shape.len())?)?;
            let same = date.bytes().zip(shape.bytes());
            let fits = same.into_iter().all(|(byte, wanted)| match wanted {
                b'#' => byte.is_ascii_digit(),
                _ => byte == wanted,
            });
            if fits { name.strip_suffix(sign) } else { None }
        })
}

#[cfg(test)]
mod tests {
    use opm_core::{ServiceTier, Usage};

    use super::*;
    use crate::price::Class;

    /// 2026-11-24.
    const NOW: u64 = 1_795_478_400_000;

    fn built_in() -> Prices {
        Prices::new(Vec::new()).unwrap()
    }

    fn usage(input: u64, output: u64) -> Usage {
        Usage {
            input: Some(input),
            output: Some(output),
            ..Usage::default()
        }
    }

    fn total(usage: &Usage, provider: &str, model: &str, tier: Tier) -> Option<u64> {
        let cost = built_in().cost(&Tokens::from(usage), provider, model, tier, NOW)?;
        Some(cost.total.0)
    }

    #[test]
    fn known_models_have_their_list_prices() {
        let usage = usage(1_000_000, 1_000_000);
        // Dollars per million tokens, as on the providers' price pages.
        for (provider, model, input, output) in [
            ("openai", "gpt-4o", "2.5", "10"),
            ("openai", "gpt-4o-2024-08-06", "2.5", "10"),
            ("openai", "gpt-4.1-nano", "0.1", "0.4"),
            ("openai", "o3", "2", "8"),
            ("anthropic", "claude-sonnet-4-5", "3", "15"),
            ("anthropic", "claude-opus-4-5-20251101", "5", "25"),
            ("gemini", "gemini-2.5-flash", "0.3", "2.5"),
        ] {
            let price = |text| crate::PicoUsd::per_million(text).unwrap().0;
            let expected = (price(input) + price(output)) * 1_000_000;
            // gpt-4o and others have no threshold; with one, the test below counts.
            assert_eq!(
                total(&usage, provider, model, Tier::Standard),
                Some(expected),
                "{model}"
            );
        }
    }

    #[test]
    fn a_bill_shows_every_class_that_was_used() {
        let usage = Usage {
            cache_read: Some(600),
            cache_write: Some(300),
            cache_write_long: Some(100),
            web_searches: Some(1),
            ..usage(1000, 50)
        };
        let cost = built_in()
            .cost(
                &Tokens::from(&usage),
                "anthropic",
                "claude-sonnet-4-5",
                Tier::Standard,
                NOW,
            )
            .unwrap();
        let lines: Vec<_> = cost
            .lines
            .iter()
            .map(|line| (line.class, line.count, line.price.0))
            .collect();
        assert_eq!(
            lines,
            [
                (Class::Input, 100, 3_000_000),
                (Class::CacheRead, 600, 300_000),
                (Class::CacheWriteShort, 200, 3_750_000),
                (Class::CacheWriteLong, 100, 6_000_000),
                (Class::Output, 50, 15_000_000),
                (Class::WebSearch, 1, 10_000_000_000),
            ]
        );
        assert_eq!(
            cost.total.0,
            cost.lines.iter().map(|line| line.cost.0).sum::<u64>()
        );
        assert_eq!(cost.total.0, 12_580_000_000);
    }

    #[test]
    fn long_contexts_cost_more_from_one_token_over_the_threshold() {
        let at = |input| total(&usage(input, 10), "gemini", "gemini-2.5-pro", Tier::Standard);
        assert_eq!(at(200_000), Some(200_000 * 1_250_000 + 10 * 10_000_000));
        assert_eq!(at(200_001), Some(200_001 * 2_500_000 + 10 * 15_000_000));
    }

    #[test]
    fn tiers_have_their_own_prices_and_fall_back_to_standard() {
        let of = |tier| total(&usage(1000, 0), "openai", "gpt-5.4", tier);
        assert_eq!(of(Tier::Standard), Some(1000 * 2_500_000));
        assert_eq!(of(Tier::Batch), Some(1000 * 1_250_000));
        assert_eq!(of(Tier::Flex), Some(1000 * 1_250_000));
        assert_eq!(of(Tier::Priority), Some(1000 * 5_000_000));
        assert_eq!(of(Tier::Ultrafast), of(Tier::Standard));
        assert_eq!(Tier::from_service_tier("priority"), Tier::Priority);
        assert_eq!(Tier::from_service_tier("default"), Tier::Standard);
    }

    #[test]
    fn fast_answers_and_those_made_in_one_country_cost_a_multiple() {
        // Twice the price for fast ones, a tenth more for those made in the United States alone, and both together.
        let of = |tier| total(&usage(1000, 1000), "anthropic", "claude-opus-5-5", tier).unwrap();
        let standard = of(Tier::Standard);
        assert_eq!(standard, 1000 * (4_000_000 + 20_000_000));
        assert_eq!(of(Tier::Fast), 2 * standard);
        assert_eq!(of(Tier::Us), standard / 10 * 11);
        assert_eq!(of(Tier::FastUs), standard / 10 * 22);
        assert_eq!(of(Tier::BatchUs), standard / 20 * 11);
        // A list without that multiple.
        let list =
            r#"{"rules": [{"models": ["m"], "rates": {"input": 2, "input.fast": 9, "input.batch": 1}}]}"#;
        let own = Prices::new(Rule::list(list).unwrap()).unwrap();
        let of = |tier: Tier| {
            own.cost(&Tokens::from(&usage(1, 0)), "x", "m", tier.in_us(), NOW)
                .unwrap()
                .total
                .0
        };
        assert_eq!([Tier::Standard, Tier::Fast, Tier::Batch].map(of), [2, 9, 1]);
        let served = Usage {
            tier: Some(ServiceTier::Fast),
            in_us: Some(true),
            ..Usage::default()
        };
        assert_eq!(Tier::of(&served), Tier::FastUs);
    }

    #[test]
    fn a_threshold_without_a_price_for_the_tier_never_comes_out_cheaper() {
        // The list has priority prices up to 272k only; above, the standard price is as high.
        let of = |tier| total(&usage(300_000, 0), "openai", "gpt-5.4", tier);
        assert_eq!(of(Tier::Priority), Some(300_000 * 5_000_000));
        assert_eq!(of(Tier::Flex), Some(300_000 * 2_500_000));
    }

    #[test]
    fn unknown_models_have_no_price() {
        assert_eq!(
            total(&usage(1, 1), "openai", "gpt-nonsense", Tier::Standard),
            None
        );
        assert_eq!(
            total(&usage(1, 1), "other", "gpt-4o", Tier::Standard),
            None,
            "another provider"
        );
    }

    #[test]
    fn dated_prefixed_and_tuned_names_find_their_model() {
        for (provider, model, same_as) in [
            ("openai", "gpt-5.6-sol-2027-01-02", "gpt-5.6-sol"),
            ("anthropic", "claude-sonnet-5-20270102", "claude-sonnet-5"),
            ("gemini", "models/gemini-2.5-flash", "gemini-2.5-flash"),
        ] {
            let price = total(&usage(7, 3), provider, model, Tier::Standard);
            assert!(price.is_some());
            assert_eq!(price, total(&usage(7, 3), provider, same_as, Tier::Standard));
        }
        let tuned = total(
            &usage(1, 0),
            "openai",
            "ft:gpt-4o-2024-08-06:acme::x1",
            Tier::Standard,
        );
        assert_eq!(tuned, Some(3_750_000));
        assert_eq!(without_date("gpt-4o-2024-0806"), None);
    }

    #[test]
    fn the_operators_rules_come_first_and_count_from_their_day() {
        let own = Rule::list(
            r#"{"rules": [
                {"models": ["gpt-4o*"], "rates": {"input": 1, "output": 2}},
                {"models": ["gpt-4o*"], "valid_from": "2026-11-24", "rates": {"input": 3, "output": 4}},
                {"models": ["gpt-4o*"], "valid_from": "2026-11-25", "rates": {"input": 5, "output": 6}},
                {"provider": "vllm", "models": ["llama-*"], "rates": {"input": 7, "output": 8, "output.batch>10": 9}}
            ]}"#,
        )
        .unwrap();
        let prices = Prices::new(own).unwrap();
        let total = |provider, model, at_ms| {
            let tokens = Tokens::from(&usage(1, 1));
            prices
                .cost(&tokens, provider, model, Tier::Standard, at_ms)
                .map(|cost| cost.total.0)
        };
        assert_eq!(total("openai", "gpt-4o-mini", NOW - 1), Some(3));
        assert_eq!(total("openai", "gpt-4o-mini", NOW), Some(7));
        assert_eq!(total("openai", "gpt-4o-mini", NOW + 86_400_000), Some(11));
        assert_eq!(total("vllm", "llama-4", NOW), Some(15));
        assert_eq!(total("openai", "llama-4", NOW), None);
        assert_eq!(
            total("openai", "gpt-4.1", NOW),
            Some(10_000_000),
            "the built-in list"
        );
    }

    #[test]
    fn broken_lists_say_what_is_wrong() {
        let error =
            |rates: &str| Rule::list(&format!(r#"{{"rules":[{{"models":["m"],{rates}}}]}}"#)).unwrap_err();
        assert_eq!(error(r#""rates":{"inptu":1}"#), PriceError::Rate("inptu".into()));
        assert_eq!(
            error(r#""rates":{"input.quick":1}"#),
            PriceError::Rate("input.quick".into())
        );
        assert_eq!(
            error(r#""rates":{"input>1k":1}"#),
            PriceError::Rate("input>1k".into())
        );
        assert_eq!(
            error(r#""valid_from":"2026-13-01","rates":{}"#),
            PriceError::Day("2026-13-01".into())
        );
        assert!(matches!(error(r#""rates":{"input":0.5}"#), PriceError::Json(_)));
    }

    #[test]
    fn days_are_counted_from_1970() {
        for (text, day) in [
            ("1970-01-01", 0),
            ("2000-02-29", 11_016),
            ("2000-03-01", 11_017),
            ("2026-11-24", 20_781),
        ] {
            assert_eq!(text.parse::<Day>().unwrap(), Day(day), "{text}");
        }
        assert_eq!(Day::of_ms(NOW), "2026-11-24".parse().unwrap());
        assert_eq!(Day::of_ms(NOW - 1), "2026-11-23".parse().unwrap());
    }

    #[test]
    fn globs_match_as_shells_do() {
        for (glob, text, expected) in [
            ("*", "", true),
            ("gpt-*", "gpt-4o", true),
            ("gpt-*", "xgpt-4o", false),
            ("*-mini", "gpt-4o-mini", true),
            ("a*b*c", "abc", true),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
        ] {
            assert_eq!(matches_glob(glob, text), expected, "{glob} {text}");
        }
    }

    #[test]
    fn every_model_of_the_built_in_list_has_one_rule() {
        let prices = built_in();
        assert!(prices.built_in.rules.len() > 100);
        for rule in &prices.built_in.rules {
            for model in rule.models.iter().filter(|model| !model.contains('*')) {
                let provider = rule.provider.as_deref().unwrap();
                assert_eq!(
                    prices.rule(provider, model, Day::of_ms(NOW)),
                    Some(rule),
                    "{model}"
                );
            }
        }
    }
}
