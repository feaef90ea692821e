//! How far budgets are, for who watches them: those of client keys, of channels, and of everybody together. Users are too many.

use std::sync::Arc;

use opm_config::Config;
use opm_limits::{Limiter, Subjects};

use super::rules::{RuleBook, Ruled};

/// Whose a budget is that does not count anybody apart.
const ALL: &str = "all";

/// How far one budget is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spent<'b> {
    /// Name of the rule.
    pub limit: Arc<str>,
    /// Id of the client key, name of the channel, or `all`.
    pub subject: &'b str,
    /// Its period and time zone (`month UTC`).
    pub period: &'b str,
    /// Spent in the current period, 10^-12 US dollars, with what running requests have reserved.
    pub pico_usd: u64,
    /// Its amount, 10^-12 US dollars.
    pub limit_pico_usd: u64,
}

impl RuleBook {
    /// Every budget of the configuration that has one subject.
    pub fn spent<'b>(
        &'b self,
        config: &'b Config,
        limiter: &'b Limiter,
        now_ms: u64,
    ) -> impl Iterator<Item = Spent<'b>> {
        let keys = self.of_keys().map(|(key, ruled)| {
            let subjects = Subjects {
                key: Some(key),
                ..Subjects::default()
            };
            (key, subjects, ruled)
        });
        let names = config.channels.iter().map(|channel| channel.name.as_str());
        let channels = names.zip(self.of_channels()).flat_map(|(channel, rules)| {
            let subjects = Subjects {
                channel: Some(channel),
                ..Subjects::default()
            };
            rules.iter().map(move |ruled| (channel, subjects, ruled))
        });
        let everybody = self.of_everybody();
        let everybody = everybody.map(|ruled| (ALL, Subjects::default(), ruled));
        let all = keys.chain(channels).chain(everybody);
        all.filter_map(move |(subject, subjects, ruled)| spent(limiter, ruled, subject, &subjects, now_ms))
    }
}

/// Nothing for what is no budget.
fn spent<'b>(
    limiter: &Limiter,
    ruled: &'b Ruled,
    subject: &'b str,
    subjects: &Subjects<'_>,
    now_ms: u64,
) -> Option<Spent<'b>> {
    let calendar = ruled.budget.as_ref()?;
    Some(Spent {
        limit: Arc::clone(ruled.rule.name()),
        subject,
        period: &calendar.name,
        pico_usd: limiter.used(&ruled.rule, subjects, now_ms),
        limit_pico_usd: ruled.rule.limit(),
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use opm_config::{Environment, compile_file};
    use opm_limits::{Actual, Charge};

    use super::*;
    use crate::metering::rules::Who;

    const FILE: &str = r#"
version: 1
channels:
  - { name: one, format: openai, keys: [sk-x], models: ["*"], budget: { usd: 5, per: day } }
  - { name: two, format: openai, keys: [sk-x], models: ["*"] }
keys:
  - { name: team, key: 0123456789abcdef0123, budget: [{ usd: 1, per: day }, { usd: 9, per: month, tz: Asia/Shanghai }] }
  - { name: other, key: 0123456789abcdef0124, limits: { rpm: 5 } }
users: { budget: { usd: 2, per: day } }
limits:
  - { name: house, by: [], budget: { usd: 100, per: month } }
"#;
    const NOW: u64 = 1_800_000_000_000;
    const USD: u64 = 1_000_000_000_000;

    #[tokio::test]
    async fn budgets_of_keys_channels_and_everybody_are_told_and_those_of_users_are_not() {
        let loaded = compile_file(Path::new("opm.yaml"), FILE, &Environment::default());
        let config = loaded.config.unwrap_or_else(|| panic!("{:?}", loaded.problems));
        let book = RuleBook::new(&config);
        let limiter = Limiter::memory(100);
        let who = Who {
            key: "static:team",
            key_name: "team",
            user: "ada",
            model: "gpt-5",
        };
        let subjects = who.subjects("one");
        let rules = book.of_request(&who).chain(book.of_channel(&who, (0, "one")));
        let rules: Vec<_> = rules.map(|ruled| &ruled.rule).collect();
        let charges = rules.iter().map(|rule| Charge::new(rule, &subjects, USD / 2));
        let held = limiter.reserve(&charges.collect::<Vec<_>>(), NOW).await.unwrap();
        let told = |now| -> Vec<(String, u64, u64)> {
            let spent = book.spent(&config, &limiter, now);
            let text = |spent: &Spent<'_>| format!("{} {} {}", spent.limit, spent.subject, spent.period);
            let part = |pico: u64| pico / (USD / 100);
            spent
                .map(|spent| (text(&spent), part(spent.pico_usd), part(spent.limit_pico_usd)))
                .collect()
        };
        let cents = |day: u64, month: u64| {
            vec![
                ("key.budget static:team day UTC".to_owned(), day, 100),
                (
                    "key.budget static:team month Asia/Shanghai".to_owned(),
                    month,
                    900,
                ),
                ("channel.budget one day UTC".to_owned(), day, 500),
                ("house.budget all month UTC".to_owned(), month, 10_000),
            ]
        };
        assert_eq!(told(NOW), cents(50, 50));
        held.settle(Actual {
            tokens: 0,
            money: USD / 4,
        });
        assert_eq!(told(NOW), cents(25, 25));
        // The next day; looking stores nothing.
        assert_eq!(told(NOW + 86_400_000), cents(0, 25));
        assert_eq!(limiter.health().subjects, rules.len());
    }
}
