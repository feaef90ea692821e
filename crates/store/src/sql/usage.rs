//! Usage in SQL. A batch is three statements however many rows it has: each takes a JSON list, so that a distant Postgres costs no
//! round trip per row. How a list becomes rows is all that differs between the databases.

use std::collections::HashSet;

use async_trait::async_trait;

use super::SqlStore;
use super::bulk::Bulk;
use super::request;
use super::session::{Change, Row, Sql, Value};
use super::used;
use crate::attempt::UsageRow;
use crate::error::StoreError;
use crate::ledger::Ledger;
use crate::line::{Line, alike, wanted};
use crate::request::RequestQuery;
use crate::usage::{Retention, UsageBy, UsageGroup, UsageQuery, UsageStore, UsageSums, Width, most_sum};
use crate::used::{Used, UsedQuery};

/// Rows of one transaction at most: what many requests share, the sums of a minute and the commit, is written once.
const BATCH: usize = 2_000;
/// Rows forgotten in one transaction at most, so that writers do not wait long.
const FORGET: i64 = 5_000;

/// `INSERT INTO table (columns) SELECT columns FROM the list $1`, for both databases, and what follows.
macro_rules! insert_list {
    ($table:literal ($($column:ident $kind:ident),*) $rest:expr) => {
        Sql {
            sqlite: concat!(
                "INSERT INTO ", $table, " (", insert_list!(@names $($column)*), ") SELECT ",
                insert_list!(@fields $($column)*), " FROM json_each($1) WHERE true ", $rest
            ),
            postgres: concat!(
                "INSERT INTO ", $table, " (", insert_list!(@names $($column)*), ") SELECT ",
                insert_list!(@names $($column)*), " FROM jsonb_to_recordset($1::jsonb) AS list (",
                insert_list!(@kinds $($column $kind)*), ") WHERE true ", $rest
            ),
        }
    };
    (@bulk $table:literal ($($common:ident),*) ($($column:ident),*) $rest:expr) => {
        Bulk::new(
            concat!("INSERT OR FAIL INTO ", $table, " (", insert_list!(@names $($common)* $($column)*), ") VALUES"),
            <[&str]>::len(&[$(stringify!($common)),*]),
            <[&str]>::len(&[$(stringify!($column)),*]),
            $rest,
        )
    };
    (@names $first:ident $($more:ident)*) => { concat!(stringify!($first) $(, ", ", stringify!($more))*) };
    (@fields $first:ident $($more:ident)*) => {
        concat!("value ->> '", stringify!($first), "'" $(, ", value ->> '", stringify!($more), "'")*)
    };
    (@kinds $first:ident $kind:ident $($more:ident $kinds:ident)*) => {
        concat!(stringify!($first), " ", stringify!($kind) $(, ", ", stringify!($more), " ", stringify!($kinds))*)
    };
}

/// `DO UPDATE SET` of columns that grow, up to [`most_sum`]: no sum makes a batch fail.
macro_rules! added {
    ($table:literal ($key:literal): $first:literal $(, $more:literal)*) => {
        concat!("ON CONFLICT (", $key, ") DO UPDATE SET ", added!(@one $table $first) $(, ", ", added!(@one $table $more))*)
    };
    (@one $table:literal $column:literal) => {
        concat!(
            $column, " = CASE WHEN ", $table, ".", $column, " > ", most_sum!(), " - excluded.", $column,
            " THEN ", most_sum!(), " ELSE ", $table, ".", $column, " + excluded.", $column, " END"
        )
    };
}
macro_rules! added_to_sums {
    () => {
        added!("opm_usage_sums" ("width, start, key_id, user_name, model, channel"):
            "attempts", "requests", "failures", "estimated", "unpriced", "input", "output", "cached_input", "cache_write",
            "reasoning", "cost_pico_usd", "ttft_ms", "ttft_count", "total_ms")
    };
}
macro_rules! added_to_budgets {
    () => { added!("opm_budgets" ("subject, period_start"): "spent_pico_usd") };
}

/// Returns the rows that were not known yet: only they count.
const RECORD: Sql = insert_list!("opm_usage" (
    request_id text, attempt bigint, started_ms bigint, at_ms bigint, key_id text, user_name text, model text,
    upstream_model text, channel text, format text, upstream_format text, status bigint, input bigint, output bigint,
    cached_input bigint, cache_write bigint, reasoning bigint, cost_pico_usd bigint, billed text, source text, estimated bigint,
    outcome text, ttft_ms bigint, total_ms bigint, held bigint)
    "ON CONFLICT (request_id, attempt) DO NOTHING RETURNING request_id, attempt");
/// The same, for rows that are all new: first what those of one statement have in common.
static RECORD_ALL: Bulk = insert_list!(@bulk "opm_usage"
    (attempt, key_id, model, upstream_model, channel, format, upstream_format, status, billed, source, estimated, outcome, held)
    (request_id, started_ms, at_ms, user_name, input, output, cached_input, cache_write, reasoning, cost_pico_usd, ttft_ms, total_ms)
    "ON CONFLICT (request_id, attempt) DO NOTHING");

const ADD: Sql = insert_list!("opm_usage_sums" (
    width bigint, start bigint, key_id text, user_name text, model text, channel text, attempts bigint, requests bigint,
    failures bigint, estimated bigint, unpriced bigint, input bigint, output bigint, cached_input bigint, cache_write bigint,
    reasoning bigint, cost_pico_usd bigint, ttft_ms bigint, ttft_count bigint, total_ms bigint)
    added_to_sums!());
static ADD_ALL: Bulk = insert_list!(@bulk "opm_usage_sums" ()
    (width, start, key_id, user_name, model, channel, attempts, requests, failures, estimated, unpriced, input, output, cached_input,
    cache_write, reasoning, cost_pico_usd, ttft_ms, ttft_count, total_ms)
    added_to_sums!());

const SPEND: Sql = insert_list!("opm_budgets" (subject text, period_start bigint, spent_pico_usd bigint)
    added_to_budgets!());
static SPEND_ALL: Bulk = insert_list!(@bulk "opm_budgets" () (subject, period_start, spent_pico_usd)
    added_to_budgets!());

/// The sums by `$name`, in an order. Costs are summed in two parts: more than nine million dollars are more pico-USD than a BIGINT holds.
/// Every question binds all of $1 to $9, so that they share their text.
macro_rules! summed {
    ($name:literal, $order:expr) => {
        concat!(
            "SELECT ", $name, " AS name, \
             CAST(SUM(attempts) AS BIGINT) AS attempts, CAST(SUM(requests) AS BIGINT) AS requests, \
             CAST(SUM(failures) AS BIGINT) AS failures, CAST(SUM(estimated) AS BIGINT) AS estimated, \
             CAST(SUM(unpriced) AS BIGINT) AS unpriced, CAST(SUM(input) AS BIGINT) AS input, \
             CAST(SUM(output) AS BIGINT) AS output, CAST(SUM(cached_input) AS BIGINT) AS cached_input, \
             CAST(SUM(cache_write) AS BIGINT) AS cache_write, CAST(SUM(reasoning) AS BIGINT) AS reasoning, \
             CAST(SUM(cost_pico_usd / 1000000) AS BIGINT) AS cost_micro_usd, CAST(SUM(ttft_ms) AS BIGINT) AS ttft_ms, \
             CAST(SUM(ttft_count) AS BIGINT) AS ttft_count, CAST(SUM(total_ms) AS BIGINT) AS total_ms, \
             CAST(SUM(cost_pico_usd % 1000000) AS BIGINT) AS cost_rest \
             FROM opm_usage_sums WHERE width = $1 AND start >= $2 AND start < $3 \
             AND ($4 IS NULL OR key_id = $4) AND ($5 IS NULL OR user_name = $5) AND ($6 IS NULL OR model = $6) \
             AND ($7 IS NULL OR channel = $7) AND $9 > 0 GROUP BY 1 ORDER BY ", $order, " LIMIT $8"
        )
    };
}
/// The dearest first.
macro_rules! dearest {
    () => {
        "SUM(cost_pico_usd / 1000000) + SUM(cost_pico_usd % 1000000) / 1000000 DESC, \
         SUM(cost_pico_usd % 1000000) % 1000000 DESC, 3 DESC, 1"
    };
}
const BY_KEY: &str = summed!("key_id", dearest!());
const BY_USER: &str = summed!("user_name", dearest!());
const BY_MODEL: &str = summed!("model", dearest!());
const BY_CHANNEL: &str = summed!("channel", dearest!());
const BY_TIME: &str = summed!("start - (start - $2) % $9", "1");

const OLDEST: &str = "SELECT (SELECT MIN(start) FROM opm_usage_sums WHERE width = 60) AS minutes, \
    (SELECT MIN(start) FROM opm_usage_sums WHERE width = 3600) AS hours";
const FORGET_ROWS: &str = "DELETE FROM opm_usage WHERE (request_id, attempt) IN \
     (SELECT request_id, attempt FROM opm_usage WHERE at_ms < $1 ORDER BY at_ms LIMIT $2)";
const FORGET_SUMS: &str = "DELETE FROM opm_usage_sums WHERE (width, start, key_id, user_name, model, channel) IN \
     (SELECT width, start, key_id, user_name, model, channel FROM opm_usage_sums WHERE width = $3 AND start < $1 \
     ORDER BY start LIMIT $2)";
const FORGET_BUDGETS: &str = "DELETE FROM opm_budgets WHERE (subject, period_start) IN \
     (SELECT subject, period_start FROM opm_budgets WHERE period_start < $1 LIMIT $2)";

/// Where the last of so many newest ones lies. Both bind $2, so that they share their caller.
const NEWEST_ROWS: &str =
    "SELECT at_ms AS place FROM opm_usage WHERE $2 = 0 ORDER BY at_ms DESC LIMIT 1 OFFSET $1";
const NEWEST_SUMS: &str =
    "SELECT start AS place FROM opm_usage_sums WHERE width = $2 ORDER BY start DESC LIMIT 1 OFFSET $1";

#[async_trait]
impl UsageStore for SqlStore {
    async fn record_usage(&self, batch: &[UsageRow]) -> Result<(), StoreError> {
        for rows in batch.chunks(BATCH) {
            if self.is_sqlite() && record_new(self, rows).await? {
                continue;
            }
            let mut change = self.record("recording usage").await?;
            record(&mut change, rows).await?;
            change.commit().await?;
        }
        Ok(())
    }

    async fn attempts(&self, request_id: &str) -> Result<Vec<UsageRow>, StoreError> {
        request::attempts(self, request_id).await
    }

    async fn requests(&self, query: &RequestQuery) -> Result<Vec<UsageRow>, StoreError> {
        request::page(self, query).await
    }

    async fn minutes_since(&self) -> Result<i64, StoreError> {
        let oldest = self.row("looking for the oldest usage", OLDEST, &[]).await?;
        let Some(oldest) = oldest else { return Ok(i64::MIN) };
        Ok(whole_since(oldest.get("minutes")?, oldest.get("hours")?))
    }

    async fn usage(&self, query: &UsageQuery) -> Result<Vec<UsageGroup>, StoreError> {
        let (sql, step) = match query.by {
            UsageBy::Key => (BY_KEY, 1),
            UsageBy::User => (BY_USER, 1),
            UsageBy::Model => (BY_MODEL, 1),
            UsageBy::Channel => (BY_CHANNEL, 1),
            UsageBy::Time(step) => (BY_TIME, step.max(query.width.seconds())),
        };
        let [key_id, user, model, channel] =
            [&query.key_id, &query.user, &query.model, &query.channel].map(wanted);
        let values = [
            query.width.seconds().into(),
            query.since.into(),
            query.until.into(),
            Value::Text(key_id.as_deref()),
            Value::Text(user.as_deref()),
            Value::Text(model.as_deref()),
            Value::Text(channel.as_deref()),
            i64::from(query.limit).into(),
            step.into(),
        ];
        let rows = self.rows("summing usage", sql, &values).await?;
        rows.iter().map(|row| read_group(row, query.by)).collect()
    }

    async fn used(&self, query: &UsedQuery, show: &mut (dyn FnMut(Used) + Send)) -> Result<(), StoreError> {
        used::used(self, query, show).await
    }

    async fn forget_usage(&self, retention: &Retention) -> Result<u64, StoreError> {
        let width = |width: Width| width.seconds();
        let steps = [
            (FORGET_ROWS, retention.rows_before_ms, None, Some(NEWEST_ROWS)),
            (
                FORGET_SUMS,
                retention.minutes_before,
                Some(width(Width::Minute)),
                Some(NEWEST_SUMS),
            ),
            (
                FORGET_SUMS,
                retention.hours_before,
                Some(width(Width::Hour)),
                Some(NEWEST_SUMS),
            ),
            (FORGET_BUDGETS, retention.budgets_before, None, None),
        ];
        let mut forgotten = 0;
        for (sql, before, width, newest) in steps {
            let before = match newest.zip(retention.most) {
                Some((newest, most)) => before.max(oldest_kept(self, newest, most, width).await?),
                None => before,
            };
            forgotten += forget(self, sql, before, width).await?;
        }
        Ok(forgotten)
    }
}

/// Records attempts that are all new; false, and nothing is recorded, if one of them is known.
async fn record_new(store: &SqlStore, rows: &[UsageRow]) -> Result<bool, StoreError> {
    let mut change = store.record("recording usage").await?;
    for (common, own) in alike(rows) {
        // Statement by statement, so that what is made for one is still in the processor's cache when it is bound.
        for group in own.chunks(Bulk::MOST) {
            let mut values = Vec::with_capacity(RECORD_ALL.values_of(group.len()));
            group.iter().for_each(|own| values.extend(own.values()));
            let touched = RECORD_ALL.insert(&mut change, &common.values(), &values).await?;
            if usize::try_from(touched) != Ok(group.len()) {
                return Ok(false);
            }
        }
    }
    let mut ledger = Ledger::default();
    ledger.add(rows);
    let sums = ledger.sums();
    let mut values = Vec::new();
    sums.iter().for_each(|sum| sum.bind(&mut values));
    ADD_ALL.insert(&mut change, &[], &values).await?;
    SPEND_ALL
        .insert(&mut change, &[], &ledger.budget_values())
        .await?;
    change.commit().await?;
    Ok(true)
}

async fn record(change: &mut Change, rows: &[UsageRow]) -> Result<(), StoreError> {
    // In one order everywhere: two gateways that are given the same attempts must not wait for each other's rows.
    let mut rows: Vec<_> = rows.iter().collect();
    rows.sort_by(|one, other| (&one.request_id, one.attempt).cmp(&(&other.request_id, other.attempt)));
    let lines: Vec<_> = rows.iter().map(|row| Line::new(row)).collect();
    let list = json(serde_json::to_string(&lines))?;
    let mut new = HashSet::new();
    for row in change.rows(RECORD, &[(&list).into()]).await? {
        new.insert((row.get::<String>("request_id")?, row.get::<i64>("attempt")?));
    }
    let mut ledger = Ledger::default();
    for (row, line) in rows.into_iter().zip(&lines) {
        // Taken out: of two rows of the same attempt in one batch the first was stored and counts.
        if new.remove(&(line.own.request_id.to_string(), line.common.attempt)) {
            ledger.add(std::slice::from_ref(row));
        }
    }
    let sums = json(serde_json::to_string(&ledger.sums()))?;
    change.execute(ADD, &[(&sums).into()]).await?;
    if let Some(spendings) = json(ledger.budgets())? {
        change.execute(SPEND, &[(&spendings).into()]).await?;
    }
    Ok(())
}

/// From when on sums by minute are whole, by the oldest of either width. Those of its own minute may be half forgotten.
fn whole_since(minutes: Option<i64>, hours: Option<i64>) -> i64 {
    match (minutes, hours) {
        (None, Some(_)) => i64::MAX,
        (Some(minute), Some(hour)) if hour < minute - minute.rem_euclid(Width::Hour.seconds()) => {
            minute + Width::Minute.seconds()
        }
        _ => i64::MIN,
    }
}

/// The place of the oldest of `most`; what lies there with it stays too. Nothing lies before `i64::MIN`.
async fn oldest_kept(
    store: &SqlStore,
    newest: &'static str,
    most: u32,
    width: Option<i64>,
) -> Result<i64, StoreError> {
    let values = [
        i64::from(most.saturating_sub(1)).into(),
        width.unwrap_or(0).into(),
    ];
    let row = store.row("looking for old usage", newest, &values).await?;
    row.map_or(Ok(i64::MIN), |row| row.get("place"))
}

async fn forget(
    store: &SqlStore,
    sql: &'static str,
    before: i64,
    width: Option<i64>,
) -> Result<u64, StoreError> {
    let mut values = vec![before.into(), FORGET.into()];
    values.extend(width.map(Value::from));
    let mut forgotten = 0;
    loop {
        let mut change = store.record("forgetting old usage").await?;
        let count = change.execute(sql, &values).await?;
        change.commit().await?;
        forgotten += count;
        if count < FORGET.unsigned_abs() {
            return Ok(forgotten);
        }
    }
}

fn json<T>(made: Result<T, serde_json::Error>) -> Result<T, StoreError> {
    made.map_err(|error| StoreError::damaged("a batch of usage")(error.to_string()))
}

fn read_group(row: &Row, by: UsageBy) -> Result<UsageGroup, StoreError> {
    let name = match by {
        UsageBy::Time(_) => row.get::<i64>("name")?.to_string(),
        UsageBy::Key | UsageBy::User | UsageBy::Model | UsageBy::Channel => row.get("name")?,
    };
    Ok(UsageGroup {
        name,
        sums: UsageSums {
            attempts: row.get("attempts")?,
            requests: row.get("requests")?,
            failures: row.get("failures")?,
            estimated: row.get("estimated")?,
            unpriced: row.get("unpriced")?,
            input: row.get("input")?,
            output: row.get("output")?,
            cached_input: row.get("cached_input")?,
            cache_write: row.get("cache_write")?,
            reasoning: row.get("reasoning")?,
            cost_pico_usd: row
                .get::<i64>("cost_micro_usd")?
                .saturating_mul(1_000_000)
                .saturating_add(row.get("cost_rest")?),
            ttft_ms: row.get("ttft_ms")?,
            ttft_count: row.get("ttft_count")?,
            total_ms: row.get("total_ms")?,
        },
    })
}
