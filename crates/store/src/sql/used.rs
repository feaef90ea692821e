//! What was used in a span of time, in SQL.
//!
//! Attempts are summed by the database, so that the answer has one row for each step and caller however many they made. The texts find
//! what they read by `at_ms` or `(width, start)`, which have indexes; where something is counted is decided in the inner select.

use super::SqlStore;
use super::session::{Row, Value};
use crate::error::StoreError;
use crate::usage::Width;
use crate::used::{Used, UsedFrom, UsedQuery};

/// Sums an inner select by caller and step of $3 milliseconds. The inner one reads what ended from $1 to before $2.
macro_rules! by_step {
    ($($inner:expr),*) => {
        concat!(
            "SELECT key_id, user_name, model, channel, placed - placed % $3 AS step_start_ms, \
             CAST(SUM(tokens) AS BIGINT) AS tokens, CAST(SUM(requests) AS BIGINT) AS requests FROM (", $($inner),*, ") AS counted \
             WHERE tokens > 0 OR requests > 0 GROUP BY 1, 2, 3, 4, 5"
        )
    };
}

/// Gateways before version 3 of the tables do not say when an attempt began.
const ATTEMPTS: &str = by_step!(
    "SELECT key_id, user_name, model, channel, \
     CASE WHEN attempt <= 1 AND started_ms > 0 THEN started_ms ELSE at_ms END AS placed, \
     CASE WHEN held > input + output THEN held ELSE input + output END AS tokens, \
     CASE WHEN outcome IN ('answered', 'crashed', 'aborted') OR input + output > 0 OR held > 0 THEN 1 ELSE 0 END AS requests \
     FROM opm_usage WHERE at_ms >= $1 AND at_ms < $2"
);

/// Sums of $4 seconds. What they do not hold is added from the attempts: see migration 0004.
const SUMS: &str = by_step!(
    "SELECT key_id, user_name, model, channel, (start + width) * 1000 - 1 AS placed, \
     input + output AS tokens, attempts AS requests FROM opm_usage_sums \
     WHERE width = $4 AND start >= $5 AND start < $6 \
     UNION ALL \
     SELECT key_id, user_name, model, channel, at_ms AS placed, \
     held - input - output AS tokens, 0 AS requests FROM opm_usage \
     WHERE held > 0 AND held > input + output AND at_ms >= $1 AND at_ms < $2"
);

pub(super) async fn used(
    store: &SqlStore,
    query: &UsedQuery,
    show: &mut (dyn FnMut(Used) + Send),
) -> Result<(), StoreError> {
    const DOING: &str = "reading what limits count";
    let (since, until) = (query.since_ms, query.until_ms);
    let mut values: Vec<Value<'_>> = vec![since.into(), until.into(), query.step_ms.max(1).into()];
    let sql = match query.from {
        UsedFrom::Attempts => ATTEMPTS,
        UsedFrom::Sums(width) => {
            let starts = [since, until].map(|edge| first_ending(width, edge));
            values.push(width.seconds().into());
            values.extend(starts.map(Value::from));
            SUMS
        }
    };
    let show = |row: &Row| read(row).map(&mut *show);
    store.each_row(DOING, sql, &values, show).await
}

/// The least second from which on spans of this width end at `edge_ms` or later; their last millisecond is their end.
fn first_ending(width: Width, edge_ms: i64) -> i64 {
    let second = edge_ms.saturating_add(1000).div_euclid(1000);
    second.saturating_sub(width.seconds())
}

fn read(row: &Row) -> Result<Used, StoreError> {
    Ok(Used {
        key_id: row.get("key_id")?,
        user: row.get("user_name")?,
        model: row.get("model")?,
        channel: row.get("channel")?,
        step_start_ms: row.get("step_start_ms")?,
        tokens: row.get("tokens")?,
        requests: row.get("requests")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::location::Location;

    #[test]
    fn a_span_is_asked_for_where_it_ends() {
        // The minute that begins at 60 ends with the millisecond 119,999.
        for (edge, start) in [(119_998, 60), (119_999, 60), (120_000, 61), (0, -59)] {
            assert_eq!(first_ending(Width::Minute, edge), start, "{edge}");
        }
    }

    #[tokio::test]
    async fn nothing_is_read_but_the_time_that_was_asked_for() {
        let memory = Location::parse("sqlite::memory:").unwrap();
        let store = SqlStore::open(&memory).await.unwrap();
        for (sql, indexes) in [
            (ATTEMPTS, &["INDEX opm_usage_at (at_ms>? AND at_ms<?)"][..]),
            (
                SUMS,
                &[
                    "(width=? AND start>? AND start<?)",
                    "INDEX opm_usage_held (at_ms>? AND at_ms<?)",
                ],
            ),
        ] {
            let sql: &'static str = Box::leak(format!("EXPLAIN QUERY PLAN {sql}").into_boxed_str());
            let rows = store.rows("explaining", sql, &[]).await.unwrap();
            let plan: Vec<String> = rows.iter().map(|row| row.get("detail").unwrap()).collect();
            for index in indexes {
                assert!(plan.iter().any(|line| line.contains(index)), "{index}: {plan:?}");
            }
        }
    }
}
