//! What a store knows of budgets, brought to the limits in force: at the start, and when the shared store of limits has lost its data.

use std::collections::BTreeMap;

use opm_limits::{Charge, Limiter, Spender};

use super::budget::BudgetOf;
use crate::snapshot::Snapshot;

/// What a store knows of budgets, by who has spent it.
#[derive(Debug, Default)]
pub struct Spendings {
    /// By everybody.
    all: BTreeMap<BudgetOf, u64>,
    /// By one instance each.
    parts: BTreeMap<BudgetOf, Vec<(String, u64)>>,
}

impl Spendings {
    /// Of budgets and parts of them (pico-USD) in any order.
    #[must_use]
    pub fn new(known: impl IntoIterator<Item = (BudgetOf, u64)>) -> Self {
        let mut spendings = Spendings::default();
        for (of, pico_usd) in known {
            match of.split() {
                Some((whole, instance)) => {
                    let part = (instance.to_owned(), pico_usd);
                    spendings.parts.entry(whole).or_default().push(part);
                }
                None => {
                    spendings.all.insert(of, pico_usd);
                }
            }
        }
        spendings
    }

    /// Tells a limiter whose instance is the only one on that store.
    pub fn tell_own(&self, snapshot: &Snapshot, limiter: &Limiter, now_ms: u64) {
        for (of, pico_usd) in &self.all {
            let told = (limiter, Spender::Instance);
            raise(snapshot, told, of, *pico_usd, now_ms);
        }
    }

    /// Tells a limiter that shares that store with others: what everybody has spent and what each one has.
    pub fn tell_all(&self, snapshot: &Snapshot, limiter: &Limiter, now_ms: u64) {
        for (of, pico_usd) in &self.all {
            let parts = self.parts_of(of, *pico_usd);
            let told = (limiter, Spender::Each(&parts));
            raise(snapshot, told, of, *pico_usd, now_ms);
        }
    }

    /// By whom so much was spent; the last is what gateways of former versions have, who do not say who they are.
    fn parts_of(&self, of: &BudgetOf, pico_usd: u64) -> Vec<(&str, u64)> {
        let parts = self.parts.get(of).map_or(&[][..], Vec::as_slice);
        let mut parts: Vec<_> = parts.iter().map(|(name, part)| (name.as_str(), *part)).collect();
        let known = parts.iter().map(|part| part.1).fold(0, u64::saturating_add);
        parts.push(("", pico_usd.saturating_sub(known)));
        parts
    }
}

/// Tells the limiter what `spender` had spent of a budget: `pico_usd` in its period. Periods that are over and budgets that are not
/// configured any more change nothing.
fn raise(
    snapshot: &Snapshot,
    (limiter, spender): (&Limiter, Spender<'_>),
    spent: &BudgetOf,
    pico_usd: u64,
    now_ms: u64,
) {
    let Some([name, calendar, key, user, model, channel]) = spent.values() else {
        return;
    };
    let (rules, config) = (&snapshot.rules, &snapshot.config);
    let number = config.channel_number(channel);
    let Some(ruled) = rules.budget(name, calendar, key, number).filter(|_| pico_usd > 0) else {
        return;
    };
    let current = ruled
        .budget
        .as_ref()
        .is_some_and(|budget| i64::try_from(budget.period.bounds(now_ms).start / 1000) == Ok(spent.start));
    if current {
        let who = rules.who(key, user, model);
        let subjects = who.subjects(channel);
        limiter.raise(&Charge::new(&ruled.rule, &subjects, pico_usd), spender, now_ms);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use opm_config::{Environment, compile_file};
    use opm_ledger::Row;
    use opm_routing::Live;

    use super::*;
    use crate::metering::budget::budgets_of;
    use crate::metering::rules::Who;

    const FILE: &str = r#"
version: 1
channels:
  - { name: one, format: openai, keys: [sk-x], models: ["*"], budget: { usd: 5, per: day } }
keys:
  - { name: team, key: 0123456789abcdef0123, budget: { usd: 1, per: month, tz: Asia/Shanghai } }
limits:
  - { name: large, by: [user, model], models: ["gpt-5*"], budget: { usd: 2, per: day } }
"#;

    fn snapshot() -> Snapshot {
        let loaded = compile_file(Path::new("opm.yaml"), FILE, &Environment::default());
        let config = loaded.config.unwrap_or_else(|| panic!("{:?}", loaded.problems));
        Snapshot::new(config, &Live::default(), None)
    }

    fn row() -> Row {
        Row {
            key: "static:team".into(),
            user: "ada".into(),
            model: "gpt-5".into(),
            channel: "one".into(),
            started_ms: 1_796_058_000_000,
            ..Row::default()
        }
    }

    /// What is left of the three budgets of a row.
    async fn left(snapshot: &Snapshot, limiter: &Limiter, row: &Row) -> Vec<u64> {
        let who = Who {
            key: &row.key,
            key_name: "team",
            user: &row.user,
            model: &row.model,
        };
        let subjects = who.subjects("one");
        let book = &snapshot.rules;
        let rules = book.of_request(&who).chain(book.of_channel(&who, (0, "one")));
        let mut left = Vec::new();
        for ruled in rules {
            let charge = Charge::new(&ruled.rule, &subjects, 0);
            let held = limiter.reserve(&[charge], row.started_ms).await.unwrap();
            left.push(held.standings()[0].remaining);
        }
        left
    }

    #[tokio::test]
    async fn what_was_spent_before_the_start_is_spent() {
        let snapshot = snapshot();
        let row = row();
        let limiter = Limiter::memory(100);
        let (of, _) = budgets_of(&snapshot.rules, &snapshot.config, &row);
        let old = of.iter().map(|of| BudgetOf {
            start: of.start - 86_400,
            ..of.clone()
        });
        let known = old.map(|old| (old, u64::MAX / 2));
        // Parts change nothing of what one instance has spent alone.
        let parts = of.iter().map(|of| (of.part_of("other"), 800_000_000_000));
        let current = of.iter().map(|of| (of.clone(), 900_000_000_000));
        let spendings = Spendings::new(known.chain(parts).chain(current));
        spendings.tell_own(&snapshot, &limiter, row.started_ms);
        assert_eq!(
            left(&snapshot, &limiter, &row).await,
            [100_000_000_000, 1_100_000_000_000, 4_100_000_000_000]
        );
    }

    #[test]
    fn what_nobody_says_to_have_spent_is_a_part_too() {
        let snapshot = snapshot();
        let whole = budgets_of(&snapshot.rules, &snapshot.config, &row()).0.remove(0);
        let spendings = Spendings::new([
            (whole.part_of("0123"), 3),
            (whole.clone(), 9),
            (whole.part_of("4567"), 4),
        ]);
        assert_eq!(spendings.all, BTreeMap::from([(whole.clone(), 9)]));
        let parts = spendings.parts_of(&whole, 9);
        assert_eq!(parts, [("0123", 3), ("4567", 4), ("", 2)]);
    }
}
