//! What a batch of attempts adds to the sums and to budgets. Pure.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use crate::attempt::{Billed, UsageRow};
use crate::sql::session::Value;
use crate::usage::{UsageSums, Width};

/// Longest text of a row in bytes. An entry of a Postgres index holds 2,700, and the sums have four texts in one.
const LONGEST: usize = 256;

/// A text that is shared with the row it comes from, unless it had to be changed.
type Text<'r> = Cow<'r, Arc<str>>;

/// A row as it is stored.
#[derive(Serialize)]
pub(crate) struct Line<'r> {
    pub(crate) request_id: Text<'r>,
    pub(crate) attempt: i64,
    started_ms: i64,
    at_ms: i64,
    key_id: Text<'r>,
    user_name: Text<'r>,
    model: Text<'r>,
    upstream_model: Text<'r>,
    channel: Text<'r>,
    format: Text<'r>,
    upstream_format: Text<'r>,
    status: i64,
    input: i64,
    output: i64,
    cached_input: i64,
    cache_write: i64,
    reasoning: i64,
    cost_pico_usd: Option<i64>,
    billed: &'static Arc<str>,
    source: &'static Arc<str>,
    estimated: i64,
    outcome: &'static Arc<str>,
    ttft_ms: Option<i64>,
    total_ms: i64,
    held: i64,
}

impl<'r> Line<'r> {
    pub(crate) fn new(row: &'r UsageRow) -> Self {
        Line {
            request_id: shared(&row.request_id),
            attempt: row.attempt,
            started_ms: row.started_ms,
            at_ms: row.at_ms,
            key_id: shared(&row.key_id),
            user_name: shared(&row.user),
            model: shared(&row.model),
            upstream_model: shared(&row.upstream_model),
            channel: shared(&row.channel),
            format: shared(&row.format),
            upstream_format: shared(&row.upstream_format),
            status: row.status,
            input: row.input,
            output: row.output,
            cached_input: row.cached_input,
            cache_write: row.cache_write,
            reasoning: row.reasoning,
            cost_pico_usd: row.cost_pico_usd,
            billed: row.billed.text(),
            source: row.source.text(),
            estimated: i64::from(row.is_estimated()),
            outcome: row.outcome.text(),
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
            Value::Shared(self.billed),
            Value::Shared(self.source),
            self.estimated.into(),
            Value::Shared(self.outcome),
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

/// The same, without a copy of what can stay as it is.
fn shared(text: &Arc<str>) -> Text<'_> {
    match stored(text) {
        Cow::Borrowed(kept) if kept.len() == text.len() => Cow::Borrowed(text),
        changed => Cow::Owned(changed.into()),
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
    /// Counts an attempt.
    pub(crate) fn add(&mut self, row: &'r UsageRow) {
        let by = [&row.key_id, &row.user, &row.model, &row.channel].map(shared);
        let cell = Cell::new(Width::Minute, row.at_ms.div_euclid(1000), by);
        self.minutes.entry(cell).or_default().add(&sums_of(row));
        let Some(cost) = row.cost_pico_usd else {
            return;
        };
        for period in &*row.budgets {
            let spent = self
                .budgets
                .entry((stored(&period.subject), period.start))
                .or_default();
            *spent = spent.saturating_add(cost);
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

    #[test]
    fn texts_are_cut_on_a_characters_edge_and_hold_no_nul() {
        assert_eq!(stored("渠道"), "渠道");
        assert_eq!(stored("a\0b"), "a\u{fffd}b");
        let long = "渠".repeat(200);
        assert_eq!(stored(&long), "渠".repeat(85));
    }
}
