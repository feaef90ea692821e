//! Requests and attempts one by one, in SQL.
//!
//! A page is found from its place in the order (keyset), so that the last page costs what the first one does. Which index finds it
//! cannot be left to the planner: it does not know what is bound. So there is a text for each filter that has an index, the most
//! selective first, and all of them hold the whole question.

use std::sync::Arc;

use super::SqlStore;
use super::session::{Row, Value};
use crate::attempt::{AttemptOutcome, Billed, UsageRow, UsageSource};
use crate::error::StoreError;
use crate::line::{stored, wanted};
use crate::request::{Page, RequestQuery, RowCursor};

macro_rules! select {
    ($($rest:expr),*) => {
        concat!(
            "SELECT request_id, attempt, started_ms, at_ms, key_id, user_name, model, upstream_model, channel, format, \
             upstream_format, status, input, output, cached_input, cache_write, reasoning, cost_pico_usd, billed, source, outcome, \
             ttft_ms, total_ms FROM opm_usage WHERE ",
            $($rest),*
        )
    };
}

const ATTEMPTS: &str = select!("request_id = $1 ORDER BY attempt");

/// A page in both directions. Every text binds all of $1 to $13.
macro_rules! pages {
    ($lead:literal) => {
        Pages {
            newest_first: pages!($lead, "<", "DESC"),
            oldest_first: pages!($lead, ">", "ASC"),
        }
    };
    ($lead:literal, $side:literal, $order:literal) => {
        select!(
            $lead,
            "at_ms >= $1 AND at_ms < $2 AND (at_ms, request_id, attempt) ", $side, " ($3, $4, $5) \
             AND ($6 IS NULL OR key_id = $6) AND ($7 IS NULL OR user_name = $7) AND ($8 IS NULL OR model = $8) \
             AND ($9 IS NULL OR channel = $9) AND ($10 IS NULL OR outcome = $10) AND status >= $11 \
             AND ($12 > 0 OR outcome <> 'retried') \
             ORDER BY at_ms ", $order, ", request_id ", $order, ", attempt ", $order, " LIMIT $13"
        )
    };
}

struct Pages {
    newest_first: &'static str,
    oldest_first: &'static str,
}

// The constants repeat the conditions of partial indexes: see migration 0003.
const BY_OUTCOME: Pages = pages!("outcome = $10 AND outcome <> 'answered' AND ");
const BY_STATUS: Pages = pages!("status >= 400 AND ");
const BY_KEY: Pages = pages!("key_id = $6 AND ");
const BY_TIME: Pages = pages!("");

/// The attempts of one request, in order.
pub(super) async fn attempts(store: &SqlStore, request_id: &str) -> Result<Vec<UsageRow>, StoreError> {
    let request_id = stored(request_id);
    let values = [(&*request_id).into()];
    let rows = store.rows("reading the attempts of a request", ATTEMPTS, &values);
    rows.await?.iter().map(read).collect()
}

/// One page of attempts.
pub(super) async fn page(store: &SqlStore, query: &RequestQuery) -> Result<Vec<UsageRow>, StoreError> {
    let pages = pages(query);
    // The bounds of a place are those of its time too: only that narrows what an index walks through.
    let (mut since, mut until) = (
        query.since_ms.unwrap_or(i64::MIN),
        query.until_ms.unwrap_or(i64::MAX),
    );
    let (sql, place) = match &query.page {
        Page::Newest => (pages.newest_first, RowCursor::before(i64::MAX)),
        Page::Before(place) => {
            until = until.min(place.at_ms.saturating_add(1));
            (pages.newest_first, place.clone())
        }
        Page::After(place) => {
            since = since.max(place.at_ms);
            (pages.oldest_first, place.clone())
        }
    };
    let [key_id, user, model, channel] =
        [&query.key_id, &query.user, &query.model, &query.channel].map(wanted);
    let values = [
        since.into(),
        until.into(),
        place.at_ms.into(),
        (&place.request_id).into(),
        place.attempt.into(),
        Value::Text(key_id.as_deref()),
        Value::Text(user.as_deref()),
        Value::Text(model.as_deref()),
        Value::Text(channel.as_deref()),
        Value::Text(query.outcome.map(AttemptOutcome::as_str)),
        query.status_from.unwrap_or(i64::MIN).into(),
        query.attempts.into(),
        i64::from(query.limit.min(RequestQuery::MOST)).into(),
    ];
    let rows = store.rows_planned("reading requests", sql, &values).await?;
    rows.iter().map(read).collect()
}

/// The texts whose index leaves the least to look through.
fn pages(query: &RequestQuery) -> Pages {
    let rare = |outcome: AttemptOutcome| outcome != AttemptOutcome::Answered;
    let order = [
        (query.outcome.is_some_and(rare), BY_OUTCOME),
        (query.status_from.is_some_and(|status| status >= 400), BY_STATUS),
        (query.key_id.is_some(), BY_KEY),
    ];
    let found = order.into_iter().find(|(given, _)| *given);
    found.map_or(BY_TIME, |(_, pages)| pages)
}

fn read(row: &Row) -> Result<UsageRow, StoreError> {
    Ok(UsageRow {
        request_id: row.get::<String>("request_id")?.into(),
        attempt: row.get("attempt")?,
        started_ms: row.get("started_ms")?,
        at_ms: row.get("at_ms")?,
        key_id: row.get::<String>("key_id")?.into(),
        user: row.get::<String>("user_name")?.into(),
        model: row.get::<String>("model")?.into(),
        upstream_model: row.get::<String>("upstream_model")?.into(),
        channel: row.get::<String>("channel")?.into(),
        format: row.get::<String>("format")?.into(),
        upstream_format: row.get::<String>("upstream_format")?.into(),
        status: row.get("status")?,
        input: row.get("input")?,
        output: row.get("output")?,
        cached_input: row.get("cached_input")?,
        cache_write: row.get("cache_write")?,
        reasoning: row.get("reasoning")?,
        cost_pico_usd: row.get("cost_pico_usd")?,
        held: 0,
        held_cost: 0,
        billed: word(row, "billed", Billed::from_name)?,
        source: word(row, "source", UsageSource::from_name)?,
        outcome: word(row, "outcome", AttemptOutcome::from_name)?,
        ttft_ms: row.get("ttft_ms")?,
        total_ms: row.get("total_ms")?,
        budgets: Arc::default(),
    })
}

/// A word of a closed list.
fn word<T>(row: &Row, column: &'static str, known: fn(&str) -> Option<T>) -> Result<T, StoreError> {
    let text: String = row.get(column)?;
    known(&text).ok_or_else(|| StoreError::damaged(column)(format!("`{text}` is not known")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::location::Location;

    /// How SQLite would answer a text.
    async fn plan(store: &SqlStore, sql: &str) -> String {
        let sql: &'static str = Box::leak(format!("EXPLAIN QUERY PLAN {sql}").into_boxed_str());
        let rows = store.rows("explaining", sql, &[]).await.unwrap();
        let lines = rows.iter().map(|row| row.get::<String>("detail").unwrap());
        lines.collect::<Vec<_>>().join("\n")
    }

    #[tokio::test]
    async fn every_text_walks_through_its_index_in_the_order_of_time() {
        let memory = Location::parse("sqlite::memory:").unwrap();
        let store = SqlStore::open(&memory).await.unwrap();
        for (pages, index) in [
            (
                BY_OUTCOME,
                "opm_usage_outcome (outcome=? AND at_ms>? AND at_ms<?)",
            ),
            (BY_STATUS, "opm_usage_status (at_ms>? AND at_ms<?)"),
            (BY_KEY, "opm_usage_key (key_id=? AND at_ms>? AND at_ms<?)"),
            (BY_TIME, "opm_usage_at (at_ms>? AND at_ms<?)"),
        ] {
            for sql in [pages.newest_first, pages.oldest_first] {
                let plan = plan(&store, sql).await;
                assert!(plan.contains(&format!("USING INDEX {index}")), "{sql}: {plan}");
                // Only attempts of one millisecond are sorted, never all that match.
                let sorted = plan.contains("TEMP B-TREE") && !plan.contains("FOR LAST 2 TERMS OF ORDER BY");
                assert!(!sorted, "{sql}: {plan}");
            }
        }
    }
}
