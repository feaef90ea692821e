//! What a batch of attempts adds to the sums and to budgets. Pure.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;

use crate::attempt::{Billed, UsageRow};
use crate::sql::session::Value;
use crate::usage::{UsageSums, Width};

/// Longest text of a row in bytes. An entry of a Postgres index holds 2,700, and the sums have four texts in one.
const LONGEST: usize = 256;

/// A row as it is stored.
#[derive(Serialize)]
pub(crate) struct Line<'r> {
    pub(crate) request_id: Cow<'r, str>,
    pub(crate) attempt: i64,
    started_ms: i64,
    at_ms: i64,
    key_id: Cow<'r, str>,
    user_name: Cow<'r, str>,
    model: Cow<'r, str>,
    upstream_model: Cow<'r, str>,
    channel: Cow<'r, str>,
    format: Cow<'r, str>,
    upstream_format: Cow<'r, str>,
    status: i64,
    input: i64,
    output: i64,
    cached_input: i64,
    cache_write: i64,
    reasoning: i64,
    cost_pico_usd: Option<i64>,
    billed: &'static str,
    source: &'static str,
    estimated: i64,
    outcome: &'static str,
    ttft_ms: Option<i64>,
    total_ms: i64,
    held: i64,
}

impl<'r> Line<'r> {
    pub(crate) fn new(row: &'r UsageRow) -> Self {
        Line {
            request_id: stored(&row.request_id),
            attempt: row.attempt,
            started_ms: row.started_ms,
            at_ms: row.at_ms,
            key_id: stored(&row.key_id),
            user_name: stored(&row.user),
            model: stored(&row.model),
            upstream_model: stored(&row.upstream_model),
            channel: stored(&row.channel),
            format: stored(&row.format),
            upstream_format: stored(&row.upstream_format),
            status: row.status,
            input: row.input,
            output: row.output,
            cached_input: row.cached_input,
            cache_write: row.cache_write,
            reasoning: row.reasoning,
            cost_pico_usd: row.cost_pico_usd,
            billed: row.billed.as_str(),
            source: row.source.as_str(),
            estimated: i64::from(row.is_estimated()),
            outcome: row.outcome.as_str(),
            ttft_ms: row.ttft_ms,
            total_ms: row.total_ms,
            held: row.held,
        }
    }
}

impl Line<'_> {
    /// Its values, in the order of the columns.
    pub(crate) fn bind<'v>(&'v self, values: &mut Vec<Value<'v>>) {
        values.extend::<[Value<'v>; 25]>([
            (&self.request_id).into(),
            self.attempt.into(),
            self.started_ms.into(),
            self.at_ms.into(),
            (&self.key_id).into(),
            (&self.user_name).into(),
            (&self.model).into(),
            (&self.upstream_model).into(),
            (&self.channel).into(),
            (&self.format).into(),
            (&self.upstream_format).into(),
            self.status.into(),
            self.input.into(),
            self.output.into(),
            self.cached_input.into(),
            self.cache_write.into(),
            self.reasoning.into(),
            self.cost_pico_usd.into(),
            self.billed.into(),
            self.source.into(),
            self.estimated.into(),
            self.outcome.into(),
            self.ttft_ms.into(),
            self.total_ms.into(),
            self.held.into(),
        ]);
    }
}

/// The text as every database takes it: bounded, on a character's edge, and without NUL, which Postgres refuses. What is looked for
/// goes the same way, so that it is found as it was given.
pub(crate) fn stored(text: &str) -> Cow<'_, str> {
    let cut = text.get(..text.floor_char_boundary(LONGEST)).unwrap_or(text);
    match cut.contains('\0') {
        true => Cow::Owned(cut.replace('\0', "\u{fffd}")),
        false => Cow::Borrowed(cut),
    }
}

/// A text that is looked for, as it would be stored.
pub(crate) fn wanted(text: &Option<String>) -> Option<Cow<'_, str>> {
    text.as_deref().map(stored)
}

/// What identifies a sum.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Cell<'r> {
    width: i64,
    start: i64,
    key_id: Cow<'r, str>,
    user_name: Cow<'r, str>,
    model: Cow<'r, str>,
    channel: Cow<'r, str>,
}

/// What is to be added to one sum.
#[derive(Serialize)]
struct Addition<'r> {
    #[serde(flatten)]
    cell: Cell<'r>,
    #[serde(flatten)]
    sums: UsageSums,
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
    sums: BTreeMap<Cell<'r>, UsageSums>,
    budgets: BTreeMap<(Cow<'r, str>, i64), i64>,
}

impl<'r> Ledger<'r> {
    /// Counts an attempt.
    pub(crate) fn add(&mut self, row: &'r UsageRow) {
        for width in [Width::Minute, Width::Hour] {
            let second = row.at_ms.div_euclid(1000);
            let cell = Cell {
                width: width.seconds(),
                start: second - second.rem_euclid(width.seconds()),
                key_id: stored(&row.key_id),
                user_name: stored(&row.user),
                model: stored(&row.model),
                channel: stored(&row.channel),
            };
            count(self.sums.entry(cell).or_default(), row);
        }
        let Some(cost) = row.cost_pico_usd else {
            return;
        };
        for period in &row.budgets {
            let spent = self
                .budgets
                .entry((stored(&period.subject), period.start))
                .or_default();
            *spent = spent.saturating_add(cost);
        }
    }

    /// Additions to the sums, as a JSON list.
    pub(crate) fn sums(&self) -> Result<String, serde_json::Error> {
        let additions = self.sums.iter().map(|(cell, sums)| Addition {
            cell: cell.clone(),
            sums: sums.clone(),
        });
        serde_json::to_string(&additions.collect::<Vec<_>>())
    }

    /// Additions to the sums, as values in the order of the columns.
    pub(crate) fn sum_values(&self) -> Vec<Value<'_>> {
        let mut values = Vec::new();
        for (cell, sums) in &self.sums {
            values.extend::<[Value<'_>; 6]>([
                cell.width.into(),
                cell.start.into(),
                (&cell.key_id).into(),
                (&cell.user_name).into(),
                (&cell.model).into(),
                (&cell.channel).into(),
            ]);
            values.extend(
                [
                    sums.attempts,
                    sums.requests,
                    sums.failures,
                    sums.estimated,
                    sums.unpriced,
                    sums.input,
                    sums.output,
                    sums.cached_input,
                    sums.cache_write,
                    sums.reasoning,
                    sums.cost_pico_usd,
                    sums.ttft_ms,
                    sums.ttft_count,
                    sums.total_ms,
                ]
                .map(Value::from),
            );
        }
        values
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

fn count(sums: &mut UsageSums, row: &UsageRow) {
    let settled = row.outcome.is_settled();
    let unpriced = row.billed != Billed::No && row.cost_pico_usd.is_none();
    let additions = [
        (&mut sums.attempts, 1),
        (&mut sums.requests, i64::from(settled)),
        (&mut sums.failures, i64::from(row.outcome.is_failure())),
        (&mut sums.estimated, i64::from(row.is_estimated())),
        (&mut sums.unpriced, i64::from(unpriced)),
        (&mut sums.input, row.input),
        (&mut sums.output, row.output),
        (&mut sums.cached_input, row.cached_input),
        (&mut sums.cache_write, row.cache_write),
        (&mut sums.reasoning, row.reasoning),
        (&mut sums.cost_pico_usd, row.cost_pico_usd.unwrap_or(0)),
        (&mut sums.ttft_ms, row.ttft_ms.unwrap_or(0)),
        (&mut sums.ttft_count, i64::from(row.ttft_ms.is_some())),
        (&mut sums.total_ms, if settled { row.total_ms } else { 0 }),
    ];
    for (sum, addition) in additions {
        *sum = sum.saturating_add(addition);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_on_a_characters_edge_and_hold_no_nul() {
        assert_eq!(stored("渠道"), "渠道");
        assert_eq!(stored("a\0b"), "a\u{fffd}b");
        let long = "渠".repeat(200);
        assert_eq!(stored(&long), "渠".repeat(85));
    }
}
