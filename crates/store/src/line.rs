//! A row of usage as it is stored. Pure.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Serialize;

use crate::attempt::UsageRow;
use crate::sql::session::Value;

/// Longest text of a row in bytes. An entry of a Postgres index holds 2,700, and the sums have four texts in one.
const LONGEST: usize = 256;

/// A text that is shared with the row it comes from, unless it had to be changed.
pub(crate) type Text<'r> = Cow<'r, Arc<str>>;

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
