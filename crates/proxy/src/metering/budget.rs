//! Budgets in the store: how they are named there, and which of them a settled row is counted against.

use std::ops::Range;

use opm_config::Config;
use opm_ledger::Row;
use opm_limits::SubjectKind;

use super::rules::{GONE, RuleBook, Ruled, Who};

/// Between the parts of a subject; no name holds it.
const PART: char = '\u{1f}';
/// Rule, period, key, user, model, channel.
const PARTS: usize = 6;

/// One period of one budget, as the store names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BudgetOf {
    /// Rule, period, and the values it counts apart.
    pub subject: String,
    /// Seconds since 1970 at which the period began.
    pub start: i64,
}

impl BudgetOf {
    /// The part of it that one of several instances on one store has spent.
    #[must_use]
    pub fn part_of(&self, instance: &str) -> Self {
        BudgetOf {
            subject: format!("{}{PART}{instance}", self.subject),
            start: self.start,
        }
    }

    /// Rule, period, key, user, model, channel; `None` of a part, and of what no gateway writes.
    pub(super) fn values(&self) -> Option<[&str; PARTS]> {
        let values: Vec<&str> = self.subject.split(PART).collect();
        values.try_into().ok()
    }

    /// The budget that this is a part of, and whose; `None`: it is a whole one.
    pub(super) fn split(&self) -> Option<(Self, &str)> {
        let (subject, instance) = self.subject.rsplit_once(PART)?;
        let whole = BudgetOf {
            subject: subject.to_owned(),
            start: self.start,
        };
        whole.values().is_some().then_some((whole, instance))
    }
}

/// The budgets that a settled row is counted against, under the rules in force. What they are hangs on its key, user, model and channel,
/// and on when it began: they are the same for all rows that began in the same `during`.
#[must_use]
pub fn budgets_of(book: &RuleBook, config: &Config, row: &Row) -> (Vec<BudgetOf>, Range<u64>) {
    let mut during = 0..u64::MAX;
    let who = book.who(&row.key, &row.user, &row.model);
    let number = config.channel_number(&row.channel);
    let was_sent = !row.channel.is_empty();
    let of_channel = was_sent.then(|| book.of_channel(&who, (number.unwrap_or(GONE), &row.channel)));
    let rules = book.of_request(&who).chain(of_channel.into_iter().flatten());
    let found = rules.filter_map(|ruled| {
        let calendar = ruled.budget.as_ref()?;
        let bounds = calendar.period.bounds(row.started_ms);
        during = during.start.max(bounds.start)..during.end.min(bounds.end);
        Some(BudgetOf {
            subject: subject(ruled, &calendar.name, &who, &row.channel),
            start: i64::try_from(bounds.start / 1000).unwrap_or(i64::MAX),
        })
    });
    (found.collect(), during)
}

fn subject(ruled: &Ruled, calendar: &str, who: &Who<'_>, channel: &str) -> String {
    let mut text = format!("{}{PART}{calendar}", ruled.rule.name());
    for (kind, value) in [
        (SubjectKind::Key, who.key),
        (SubjectKind::User, who.user),
        (SubjectKind::Model, who.model),
        (SubjectKind::Channel, channel),
    ] {
        text.push(PART);
        if ruled.rule.subjects().contains(kind) {
            text.push_str(value);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use opm_config::{Environment, compile_file};

    use super::*;

    const FILE: &str = r#"
version: 1
channels:
  - { name: one, format: openai, keys: [sk-x], models: ["*"], budget: { usd: 5, per: day } }
keys:
  - { name: team, key: 0123456789abcdef0123, budget: { usd: 1, per: month, tz: Asia/Shanghai } }
  - { name: other, key: 0123456789abcdef0124 }
limits:
  - { name: large, by: [user, model], models: ["gpt-5*"], budget: { usd: 2, per: day } }
"#;

    fn config() -> Config {
        let loaded = compile_file(Path::new("opm.yaml"), FILE, &Environment::default());
        loaded.config.unwrap_or_else(|| panic!("{:?}", loaded.problems))
    }

    fn row(key: &str, user: &str, model: &str, at: &str) -> Row {
        Row {
            key: key.into(),
            user: user.into(),
            model: model.into(),
            channel: "one".into(),
            started_ms: u64::try_from(at.parse::<jiff::Timestamp>().unwrap().as_millisecond()).unwrap(),
            ..Row::default()
        }
    }

    fn subjects(book: &RuleBook, config: &Config, row: &Row) -> Vec<(String, i64)> {
        let of = budgets_of(book, config, row).0.into_iter();
        of.map(|of| (of.subject.replace(PART, "|"), of.start)).collect()
    }

    #[test]
    fn a_row_counts_against_the_budgets_that_concern_it() {
        let config = config();
        let book = RuleBook::new(&config);
        let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_second();
        let found = subjects(
            &book,
            &config,
            &row("static:team", "ada", "gpt-5", "2026-11-30T17:00:00Z"),
        );
        assert_eq!(
            found,
            [
                (
                    "key.budget|month Asia/Shanghai|static:team|||".to_owned(),
                    at("2026-11-30T16:00:00Z")
                ),
                (
                    "large.budget|day UTC||ada|gpt-5|".to_owned(),
                    at("2026-11-30T00:00:00Z")
                ),
                (
                    "channel.budget|day UTC||||one".to_owned(),
                    at("2026-11-30T00:00:00Z")
                ),
            ]
        );
        let found = subjects(
            &book,
            &config,
            &row("static:other", "", "claude", "2026-11-30T17:00:00Z"),
        );
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn a_part_knows_what_it_is_a_part_of() {
        let whole = BudgetOf {
            subject: "key.budget|day UTC|static:team|||".replace('|', &PART.to_string()),
            start: 7,
        };
        assert_eq!(whole.part_of("0123").split(), Some((whole.clone(), "0123")));
        assert_eq!(whole.split(), None);
    }
}
