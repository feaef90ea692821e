//! Budgets in the store: what a settled row is counted against, and what was spent before this process started.

use opm_config::Config;
use opm_ledger::Row;
use opm_limits::{Charge, Limiter, SubjectKind, Subjects};

use super::rules::{RuleBook, Ruled, Who};

/// Between the parts of a subject; no name holds it.
const PART: char = '\u{1f}';

/// One period of one budget, as the store names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetOf {
    /// Rule, period, and the values it counts apart.
    pub subject: String,
    /// Seconds since 1970 at which the period began.
    pub start: i64,
}

/// The budgets that a settled row is counted against, under the rules in force.
#[must_use]
pub fn budgets_of(book: &RuleBook, config: &Config, row: &Row) -> Vec<BudgetOf> {
    let name = config.keys.iter().find(|key| key.id == row.key);
    let who = Who {
        key: &row.key,
        key_name: name.map_or("", |key| &key.name),
        user: &row.user,
        model: &row.model,
    };
    let number = config
        .channels
        .iter()
        .position(|channel| channel.name == row.channel);
    let of_channel = number.map(|number| book.of_channel(&who, (number, &row.channel)));
    let rules = book.of_request(&who).chain(of_channel.into_iter().flatten());
    let found = rules.filter_map(|ruled| {
        let calendar = ruled.budget.as_ref()?;
        let start = calendar.period.bounds(row.started_ms).start / 1000;
        Some(BudgetOf {
            subject: subject(ruled, &calendar.name, &who, &row.channel),
            start: i64::try_from(start).unwrap_or(i64::MAX),
        })
    });
    found.collect()
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

impl RuleBook {
    /// Tells the limiter what was spent of a budget before this process started: `pico_usd` in the period that began at `start`
    /// (seconds since 1970). Periods that are over and budgets that are not configured any more change nothing.
    pub fn raise(&self, config: &Config, limiter: &Limiter, spent: &BudgetOf, pico_usd: u64, now_ms: u64) {
        let parts: Vec<&str> = spent.subject.split(PART).collect();
        let [name, calendar, key, user, model, channel] = parts[..] else {
            return;
        };
        let number = config.channels.iter().position(|known| known.name == channel);
        let Some(ruled) = self.budget(name, calendar, key, number) else {
            return;
        };
        let current = ruled.budget.as_ref().is_some_and(|budget| {
            i64::try_from(budget.period.bounds(now_ms).start / 1000) == Ok(spent.start)
        });
        if current {
            let subjects = Subjects {
                key: Some(key),
                user: Some(user),
                model: Some(model),
                channel: Some(channel),
            };
            limiter.raise(&Charge::new(&ruled.rule, &subjects, pico_usd), now_ms);
        }
    }
}
