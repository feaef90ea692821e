//! A row of usage as it is stored. Pure.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;

use crate::attempt::{AttemptOutcome, Billed, UsageRow, UsageSource};
use crate::sql::session::Value;

/// Longest text of a row in bytes. An entry of a Postgres index holds 2,700, and the sums have four texts in one.
const LONGEST: usize = 256;

/// A text that is shared with the row it comes from, unless it had to be changed.
pub(crate) type Text<'r> = Cow<'r, Arc<str>>;

/// A row as it is stored.
#[derive(Serialize)]
pub(crate) struct Line<'r> {
    #[serde(flatten)]
    pub(crate) common: Common<'r>,
    #[serde(flatten)]
    pub(crate) own: Own<'r>,
}

impl<'r> Line<'r> {
    pub(crate) fn new(row: &'r UsageRow) -> Self {
        Line {
            common: Common::new(row),
            own: Own::new(row),
        }
    }
}

/// What most rows of a batch have in common with many others: bound once for all of them.
#[derive(Serialize)]
pub(crate) struct Common<'r> {
    pub(crate) attempt: i64,
    key_id: Text<'r>,
    model: Text<'r>,
    upstream_model: Text<'r>,
    channel: Text<'r>,
    format: Text<'r>,
    upstream_format: Text<'r>,
    status: i64,
    billed: &'static Arc<str>,
    source: &'static Arc<str>,
    estimated: i64,
    outcome: &'static Arc<str>,
    held: i64,
}

/// Tells apart rows that have not all of it in common.
#[derive(PartialEq, Eq, Hash)]
struct Alike<'r>([&'r str; 6], [i64; 3], (Billed, UsageSource, AttemptOutcome));

impl<'r> Alike<'r> {
    /// A glance: rows that come one after the other mostly share their texts.
    fn surely(one: &UsageRow, next: &UsageRow) -> bool {
        let shared = |of: fn(&UsageRow) -> &Arc<str>| Arc::ptr_eq(of(one), of(next));
        let counts = |row: &UsageRow| (row.attempt, row.status, row.held);
        let words = |row: &UsageRow| (row.billed, row.source, row.outcome);
        shared(|row| &row.key_id)
            && shared(|row| &row.model)
            && shared(|row| &row.upstream_model)
            && shared(|row| &row.channel)
            && shared(|row| &row.format)
            && shared(|row| &row.upstream_format)
            && counts(one) == counts(next)
            && words(one) == words(next)
    }

    fn new(row: &'r UsageRow) -> Self {
        let texts = [
            &*row.key_id,
            &*row.model,
            &*row.upstream_model,
            &*row.channel,
            &*row.format,
            &*row.upstream_format,
        ];
        Alike(
            texts,
            [row.attempt, row.status, row.held],
            (row.billed, row.source, row.outcome),
        )
    }
}

/// The rows of a batch by what they have in common.
pub(crate) fn alike(rows: &[UsageRow]) -> Vec<(Common<'_>, Vec<Own<'_>>)> {
    let mut groups: Vec<(Common<'_>, Vec<Own<'_>>)> = Vec::new();
    let mut known: HashMap<Alike<'_>, usize> = HashMap::new();
    for run in rows.chunk_by(Alike::surely) {
        let Some(row) = run.first() else { continue };
        let at = *known.entry(Alike::new(row)).or_insert_with(|| {
            groups.push((Common::new(row), Vec::new()));
            groups.len() - 1
        });
        if let Some((_, own)) = groups.get_mut(at) {
            own.extend(run.iter().map(Own::new));
        }
    }
    groups
}

impl<'r> Common<'r> {
    fn new(row: &'r UsageRow) -> Self {
        Common {
            attempt: row.attempt,
            key_id: shared(&row.key_id),
            model: shared(&row.model),
            upstream_model: shared(&row.upstream_model),
            channel: shared(&row.channel),
            format: shared(&row.format),
            upstream_format: shared(&row.upstream_format),
            status: row.status,
            billed: row.billed.text(),
            source: row.source.text(),
            estimated: i64::from(row.is_estimated()),
            outcome: row.outcome.text(),
            held: row.held,
        }
    }

    /// Its values, in the order of the columns.
    pub(crate) fn values(&self) -> [Value<'_>; 13] {
        [
            self.attempt.into(),
            (&self.key_id).into(),
            (&self.model).into(),
            (&self.upstream_model).into(),
            (&self.channel).into(),
            (&self.format).into(),
            (&self.upstream_format).into(),
            self.status.into(),
            Value::Shared(self.billed),
            Value::Shared(self.source),
            self.estimated.into(),
            Value::Shared(self.outcome),
            self.held.into(),
        ]
    }
}

/// What is a row's own.
#[derive(Serialize)]
pub(crate) struct Own<'r> {
    pub(crate) request_id: Text<'r>,
    started_ms: i64,
    at_ms: i64,
    user_name: Text<'r>,
    input: i64,
    output: i64,
    cached_input: i64,
    cache_write: i64,
    reasoning: i64,
    cost_pico_usd: Option<i64>,
    ttft_ms: Option<i64>,
    total_ms: i64,
}

impl<'r> Own<'r> {
    fn new(row: &'r UsageRow) -> Self {
        Own {
            request_id: shared(&row.request_id),
            started_ms: row.started_ms,
            at_ms: row.at_ms,
            user_name: shared(&row.user),
            input: row.input,
            output: row.output,
            cached_input: row.cached_input,
            cache_write: row.cache_write,
            reasoning: row.reasoning,
            cost_pico_usd: row.cost_pico_usd,
            ttft_ms: row.ttft_ms,
            total_ms: row.total_ms,
        }
    }

    /// Its values, in the order of the columns.
    pub(crate) fn values(&self) -> [Value<'_>; 12] {
        [
            (&self.request_id).into(),
            self.started_ms.into(),
            self.at_ms.into(),
            (&self.user_name).into(),
            self.input.into(),
            self.output.into(),
            self.cached_input.into(),
            self.cache_write.into(),
            self.reasoning.into(),
            self.cost_pico_usd.into(),
            self.ttft_ms.into(),
            self.total_ms.into(),
        ]
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
pub(crate) fn shared(text: &Arc<str>) -> Text<'_> {
    match stored(text) {
        Cow::Borrowed(kept) if kept.len() == text.len() => Cow::Borrowed(text),
        changed => Cow::Owned(changed.into()),
    }
}

/// A text that is looked for, as it would be stored.
pub(crate) fn wanted(text: &Option<String>) -> Option<Cow<'_, str>> {
    text.as_deref().map(stored)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn row(request_id: &str, model: &str) -> UsageRow {
        UsageRow {
            request_id: request_id.into(),
            attempt: 1,
            started_ms: 0,
            at_ms: 0,
            key_id: "k".into(),
            user: request_id.into(),
            model: model.into(),
            upstream_model: Arc::default(),
            channel: Arc::default(),
            format: Arc::default(),
            upstream_format: Arc::default(),
            status: 200,
            input: 0,
            output: 0,
            cached_input: 0,
            cache_write: 0,
            reasoning: 0,
            cost_pico_usd: None,
            held: 0,
            held_cost: 0,
            billed: Billed::No,
            source: UsageSource::Reported,
            outcome: AttemptOutcome::Answered,
            ttft_ms: None,
            total_ms: 0,
            budgets: Arc::default(),
        }
    }

    #[test]
    fn rows_are_grouped_by_all_that_is_bound_once() {
        let mut rows = vec![row("a", "m"), row("b", "n"), row("c", "m")];
        type Change = fn(&mut UsageRow);
        let changes: [Change; 12] = [
            |row| row.attempt = 2,
            |row| row.key_id = "x".into(),
            |row| row.upstream_model = "x".into(),
            |row| row.channel = "x".into(),
            |row| row.format = "x".into(),
            |row| row.upstream_format = "x".into(),
            |row| row.status = 500,
            |row| row.billed = Billed::Yes,
            |row| row.source = UsageSource::Partial,
            |row| row.source = UsageSource::Estimated,
            |row| row.outcome = AttemptOutcome::Failed,
            |row| row.held = 1,
        ];
        for change in changes {
            let mut other = row("d", "m");
            change(&mut other);
            rows.push(other);
        }
        let groups = alike(&rows);
        let of = |own: &[Own<'_>]| {
            own.iter()
                .map(|own| own.request_id.to_string())
                .collect::<String>()
        };
        let found: Vec<_> = groups.iter().map(|(_, own)| of(own)).collect();
        assert_eq!((&*found[0], &*found[1]), ("ac", "b"));
        assert_eq!(found[2..], vec!["d"; changes.len()]);
    }

    #[test]
    fn rows_that_share_their_texts_are_grouped_as_others_are() {
        let first = row("a", "m");
        let mut other = first.clone();
        other.source = UsageSource::Estimated;
        let rows = [
            first.clone(),
            first.clone(),
            other.clone(),
            first,
            other,
            row("b", "m"),
        ];
        let lengths: Vec<_> = alike(&rows).iter().map(|(_, own)| own.len()).collect();
        assert_eq!(lengths, [4, 2]);
    }

    #[test]
    fn texts_are_cut_on_a_characters_edge_and_hold_no_nul() {
        assert_eq!(stored("渠道"), "渠道");
        assert_eq!(stored("a\0b"), "a\u{fffd}b");
        let long = "渠".repeat(200);
        assert_eq!(stored(&long), "渠".repeat(85));
    }
}
