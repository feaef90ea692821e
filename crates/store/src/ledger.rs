//! What a batch of attempts adds to the sums and to budgets. Pure.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::attempt::{Billed, UsageRow};
use crate::line::{Text, shared, stored};
use crate::sql::session::Value;
use crate::usage::{MOST_SUM, UsageSums, Width};

/// What identifies a sum.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Cell<'r> {
    width: i64,
    start: i64,
    key_id: Text<'r>,
    user_name: Text<'r>,
    model: Text<'r>,
    channel: Text<'r>,
}

impl<'r> Cell<'r> {
    /// The cell of a second (Unix) and of what it is counted by.
    fn new(width: Width, second: i64, [key_id, user_name, model, channel]: [Text<'r>; 4]) -> Self {
        Cell {
            width: width.seconds(),
            start: second - second.rem_euclid(width.seconds()),
            key_id,
            user_name,
            model,
            channel,
        }
    }

    /// The hour around a minute.
    fn hour(&self) -> Self {
        let Cell {
            key_id,
            user_name,
            model,
            channel,
            ..
        } = self.clone();
        Cell::new(Width::Hour, self.start, [key_id, user_name, model, channel])
    }
}

/// What is to be added to one sum.
#[derive(Serialize)]
pub(crate) struct Addition<'r> {
    #[serde(flatten)]
    cell: Cell<'r>,
    #[serde(flatten)]
    sums: UsageSums,
}

impl Addition<'_> {
    /// Its values, in the order of the columns.
    pub(crate) fn bind<'v>(&'v self, values: &mut Vec<Value<'v>>) {
        let (cell, sums) = (&self.cell, &self.sums);
        values.extend::<[Value<'v>; 20]>([
            cell.width.into(),
            cell.start.into(),
            (&cell.key_id).into(),
            (&cell.user_name).into(),
            (&cell.model).into(),
            (&cell.channel).into(),
            sums.attempts.into(),
            sums.requests.into(),
            sums.failures.into(),
            sums.estimated.into(),
            sums.unpriced.into(),
            sums.input.into(),
            sums.output.into(),
            sums.cached_input.into(),
            sums.cache_write.into(),
            sums.reasoning.into(),
            sums.cost_pico_usd.into(),
            sums.ttft_ms.into(),
            sums.ttft_count.into(),
            sums.total_ms.into(),
        ]);
    }
}

/// What is to be added to one budget.
#[derive(Serialize)]
struct Spending<'r> {
    subject: Cow<'r, str>,
    period_start: i64,
    spent_pico_usd: i64,
}

/// All that a batch adds. In one order everywhere, so that two gateways cannot wait for each other's rows.
#[derive(Default)]
pub(crate) struct Ledger<'r> {
    /// By the minute.
    minutes: BTreeMap<Cell<'r>, UsageSums>,
    budgets: BTreeMap<(Cow<'r, str>, i64), i64>,
}

impl<'r> Ledger<'r> {
    /// Counts attempts. Those that come one after the other mostly count in the same places.
    pub(crate) fn add(&mut self, rows: &'r [UsageRow]) {
        for run in rows.chunk_by(counts_with) {
            self.add_run(run);
        }
    }

    fn add_run(&mut self, run: &'r [UsageRow]) {
        let Some(row) = run.first() else { return };
        let by = [&row.key_id, &row.user, &row.model, &row.channel].map(shared);
        let cell = Cell::new(Width::Minute, row.at_ms.div_euclid(1000), by);
        let sums = self.minutes.entry(cell).or_default();
        run.iter().for_each(|row| sums.add(&sums_of(row)));
        let costs = run.iter().filter_map(UsageRow::spent);
        let Some(cost) = costs.reduce(|sum, cost| sum.saturating_add(cost)) else {
            return;
        };
        for period in &*row.budgets {
            let spent = self
                .budgets
                .entry((stored(&period.subject), period.start))
                .or_default();
            *spent = spent.saturating_add(cost).min(MOST_SUM);
        }
    }

    /// The sums of the hours.
    fn hours(&self) -> BTreeMap<Cell<'r>, UsageSums> {
        let mut hours = BTreeMap::<Cell<'r>, UsageSums>::new();
        for (minute, sums) in &self.minutes {
            hours.entry(minute.hour()).or_default().add(sums);
        }
        hours
    }

    /// Additions to the sums.
    pub(crate) fn sums(&self) -> Vec<Addition<'r>> {
        let hours = self.hours();
        let all = self.minutes.iter().chain(&hours);
        all.map(|(cell, sums)| Addition {
            cell: cell.clone(),
            sums: sums.clone(),
        })
        .collect()
    }

    /// Additions to budgets, as values in the order of the columns.
    pub(crate) fn budget_values(&self) -> Vec<Value<'_>> {
        let mut values = Vec::new();
        for ((subject, start), spent) in &self.budgets {
            values.extend::<[Value<'_>; 3]>([subject.into(), (*start).into(), (*spent).into()]);
        }
        values
    }

    /// Additions to budgets, as a JSON list; `None` if there are none.
    pub(crate) fn budgets(&self) -> Result<Option<String>, serde_json::Error> {
        let spendings = self.budgets.iter().map(|((subject, start), spent)| Spending {
            subject: subject.clone(),
            period_start: *start,
            spent_pico_usd: *spent,
        });
        let spendings: Vec<_> = spendings.collect();
        (!spendings.is_empty())
            .then(|| serde_json::to_string(&spendings))
            .transpose()
    }
}

/// True if both surely count in the same sums and against the same budgets.
fn counts_with(one: &UsageRow, next: &UsageRow) -> bool {
    let shared = |of: fn(&UsageRow) -> &Arc<str>| Arc::ptr_eq(of(one), of(next));
    let minute = |row: &UsageRow| row.at_ms.div_euclid(60_000);
    minute(one) == minute(next)
        && shared(|row| &row.key_id)
        && shared(|row| &row.user)
        && shared(|row| &row.model)
        && shared(|row| &row.channel)
        && Arc::ptr_eq(&one.budgets, &next.budgets)
}

/// What one attempt adds.
fn sums_of(row: &UsageRow) -> UsageSums {
    let settled = row.outcome.is_settled();
    let unpriced = row.billed != Billed::No && row.cost_pico_usd.is_none();
    UsageSums {
        attempts: 1,
        requests: settled.into(),
        failures: row.outcome.is_failure().into(),
        estimated: row.is_estimated().into(),
        unpriced: unpriced.into(),
        input: row.input,
        output: row.output,
        cached_input: row.cached_input,
        cache_write: row.cache_write,
        reasoning: row.reasoning,
        cost_pico_usd: row.cost_pico_usd.unwrap_or(0),
        ttft_ms: row.ttft_ms.unwrap_or(0),
        ttft_count: row.ttft_ms.is_some().into(),
        total_ms: if settled { row.total_ms } else { 0 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::BudgetPeriod;
    use crate::line::tests::row;

    #[test]
    fn rows_that_share_their_texts_count_as_others_do() {
        let mut rows = vec![row("a", "m")];
        rows[0].budgets = Arc::new([BudgetPeriod {
            subject: "team".into(),
            start: 0,
        }]);
        type Change = fn(&mut UsageRow);
        let changes: [Change; 7] = [
            |_| {},
            |row| row.at_ms = 59_999,
            |row| row.at_ms = 60_000,
            |row| row.channel = "x".into(),
            |row| row.budgets = Arc::default(),
            |row| row.cost_pico_usd = None,
            |row| row.cost_pico_usd = Some(MOST_SUM),
        ];
        for change in changes {
            let mut other = rows[0].clone();
            (other.input, other.cost_pico_usd) = (7, Some(11));
            change(&mut other);
            rows.push(other);
        }
        let told = |ledger: &Ledger<'_>| {
            let sums = serde_json::to_string(&ledger.sums()).unwrap();
            (sums, ledger.budgets().unwrap())
        };
        let (mut together, mut apart) = (Ledger::default(), Ledger::default());
        together.add(&rows);
        rows.iter().for_each(|row| apart.add(std::slice::from_ref(row)));
        assert_eq!(told(&together), told(&apart));
        assert_eq!(together.minutes.len(), 3);
    }
}
