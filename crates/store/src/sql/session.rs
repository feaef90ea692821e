//! Running constant SQL with bound values on either database. Texts are `&'static str` all the way down: sqlx takes no other, so no
//! query can be put together from what a client sent.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments as _, Decode, Postgres, Row as _, Sqlite, Transaction, Type};
use tokio::time::{Instant, timeout_at};

use super::{Pool, SqlStore};
use crate::error::StoreError;

/// Longest time of one call of the store, waiting for a connection included.
const LIMIT: Duration = Duration::from_secs(10);

/// A constant text, in the form of each database where they differ.
#[derive(Clone, Copy)]
pub(super) struct Sql {
    pub(super) sqlite: &'static str,
    pub(super) postgres: &'static str,
}

impl From<&'static str> for Sql {
    fn from(both: &'static str) -> Self {
        Sql {
            sqlite: both,
            postgres: both,
        }
    }
}

/// A value for a placeholder: the three kinds that both databases hold alike.
#[derive(Clone, Copy)]
pub(crate) enum Value<'v> {
    Int(Option<i64>),
    Text(Option<&'v str>),
    /// A text that many rows have in common.
    Shared(&'v Arc<str>),
    Bytes(&'v [u8]),
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Value::Int(Some(value))
    }
}

impl From<Option<i64>> for Value<'_> {
    fn from(value: Option<i64>) -> Self {
        Value::Int(value)
    }
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Value::Int(Some(i64::from(value)))
    }
}

impl<'v> From<&'v str> for Value<'v> {
    fn from(value: &'v str) -> Self {
        Value::Text(Some(value))
    }
}

impl<'v> From<&'v String> for Value<'v> {
    fn from(value: &'v String) -> Self {
        Value::Text(Some(value))
    }
}

impl<'v> From<&'v Cow<'_, str>> for Value<'v> {
    fn from(value: &'v Cow<'_, str>) -> Self {
        Value::Text(Some(value))
    }
}

impl<'v> From<&'v Cow<'_, Arc<str>>> for Value<'v> {
    fn from(value: &'v Cow<'_, Arc<str>>) -> Self {
        Value::Shared(value)
    }
}

impl<'v> From<&'v Option<String>> for Value<'v> {
    fn from(value: &'v Option<String>) -> Self {
        Value::Text(value.as_deref())
    }
}

impl<'v> From<&'v [u8]> for Value<'v> {
    fn from(value: &'v [u8]) -> Self {
        Value::Bytes(value)
    }
}

/// What a column can be read as, from both databases.
pub(super) trait Cell:
    for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres>
{
}

impl<T> Cell for T where
    T: for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres>
{
}

/// A row of an answer.
pub(super) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    /// The value of a column.
    pub(super) fn get<T: Cell>(&self, column: &'static str) -> Result<T, StoreError> {
        let value = match self {
            Row::Sqlite(row) => row.try_get(column),
            Row::Postgres(row) => row.try_get(column),
        };
        value.map_err(|error| StoreError::damaged(column)(error.to_string()))
    }
}

fn sqlite(
    doing: &'static str,
    sql: &'static str,
    values: &[Value<'_>],
    more: &[Value<'_>],
) -> Result<Query<'static, Sqlite, SqliteArguments>, StoreError> {
    let mut arguments = SqliteArguments::default();
    arguments.reserve(values.len() + more.len(), 0);
    // Not by `Query::bind`, which moves the whole query for every value.
    for value in values.iter().chain(more) {
        let added = match *value {
            Value::Int(value) => arguments.add(value),
            Value::Text(value) => arguments.add(value),
            Value::Shared(value) => arguments.add(Arc::clone(value)),
            Value::Bytes(value) => arguments.add(value),
        };
        added.map_err(|error| StoreError::database(doing)(sqlx::Error::Encode(error)))?;
    }
    Ok(sqlx::query_with(sql, arguments))
}

fn postgres(sql: &'static str, values: &[Value<'_>]) -> Query<'static, Postgres, PgArguments> {
    values.iter().fold(sqlx::query(sql), |query, value| match *value {
        Value::Int(value) => query.bind(value),
        Value::Text(value) => query.bind(value),
        Value::Shared(value) => query.bind(&**value),
        Value::Bytes(value) => query.bind(value),
    })
}

/// Waits for the database until `deadline`.
async fn within<T>(
    doing: &'static str,
    deadline: Instant,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, StoreError> {
    let late = || StoreError::Late {
        doing,
        seconds: LIMIT.as_secs(),
    };
    match timeout_at(deadline, work).await {
        Ok(Err(sqlx::Error::PoolTimedOut)) | Err(_) => Err(late()),
        Ok(done) => done.map_err(StoreError::database(doing)),
    }
}

/// A transaction. Dropped without [`Change::commit`] it changes nothing.
pub(super) struct Change {
    transaction: Open,
    doing: &'static str,
    deadline: Instant,
}

enum Open {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

impl Change {
    /// As [`Change::execute`], for SQLite alone and with values in two parts.
    pub(super) async fn insert(
        &mut self,
        sql: &'static str,
        values: &[Value<'_>],
        more: &[Value<'_>],
    ) -> Result<u64, StoreError> {
        let Open::Sqlite(open) = &mut self.transaction else {
            return Ok(0);
        };
        let done = sqlite(self.doing, sql, values, more)?.execute(&mut **open);
        Ok(within(self.doing, self.deadline, done).await?.rows_affected())
    }

    /// Runs a statement and tells how many rows it touched.
    pub(super) async fn execute(
        &mut self,
        sql: impl Into<Sql>,
        values: &[Value<'_>],
    ) -> Result<u64, StoreError> {
        let (sql, doing, deadline) = (sql.into(), self.doing, self.deadline);
        match &mut self.transaction {
            Open::Sqlite(open) => {
                let done = sqlite(doing, sql.sqlite, values, &[])?.execute(&mut **open);
                Ok(within(doing, deadline, done).await?.rows_affected())
            }
            Open::Postgres(open) => {
                let done = postgres(sql.postgres, values).execute(&mut **open);
                Ok(within(doing, deadline, done).await?.rows_affected())
            }
        }
    }

    /// Runs a query.
    pub(super) async fn rows(
        &mut self,
        sql: impl Into<Sql>,
        values: &[Value<'_>],
    ) -> Result<Vec<Row>, StoreError> {
        let (sql, doing, deadline) = (sql.into(), self.doing, self.deadline);
        match &mut self.transaction {
            Open::Sqlite(open) => {
                let rows = sqlite(doing, sql.sqlite, values, &[])?.fetch_all(&mut **open);
                let rows = within(doing, deadline, rows).await?;
                Ok(rows.into_iter().map(Row::Sqlite).collect())
            }
            Open::Postgres(open) => {
                let rows = postgres(sql.postgres, values).fetch_all(&mut **open);
                let rows = within(doing, deadline, rows).await?;
                Ok(rows.into_iter().map(Row::Postgres).collect())
            }
        }
    }

    /// Runs a script of several statements without values: only for migrations.
    pub(super) async fn script(&mut self, sql: Sql) -> Result<(), StoreError> {
        let (doing, deadline) = (self.doing, self.deadline);
        match &mut self.transaction {
            Open::Sqlite(open) => {
                let done = sqlx::raw_sql(sql.sqlite).execute(&mut **open);
                within(doing, deadline, done).await.map(|_| ())
            }
            Open::Postgres(open) => {
                let done = sqlx::raw_sql(sql.postgres).execute(&mut **open);
                within(doing, deadline, done).await.map(|_| ())
            }
        }
    }

    /// Makes the change last.
    pub(super) async fn commit(self) -> Result<(), StoreError> {
        match self.transaction {
            Open::Sqlite(open) => within(self.doing, self.deadline, open.commit()).await,
            Open::Postgres(open) => within(self.doing, self.deadline, open.commit()).await,
        }
    }
}

impl SqlStore {
    /// Starts a change that gateways need not see at once: the revision stays.
    pub(super) async fn record(&self, doing: &'static str) -> Result<Change, StoreError> {
        self.begin(doing, LIMIT).await
    }

    /// True for SQLite.
    pub(super) fn is_sqlite(&self) -> bool {
        matches!(self.pool, Pool::Sqlite { .. })
    }

    /// Starts a transaction that may take as long as `limit`.
    pub(super) async fn begin(&self, doing: &'static str, limit: Duration) -> Result<Change, StoreError> {
        let deadline = Instant::now() + limit;
        let transaction = match &self.pool {
            // Immediate: a transaction that turns from reading to writing could not wait for another writer.
            Pool::Sqlite { write, .. } => {
                Open::Sqlite(within(doing, deadline, write.begin_with("BEGIN IMMEDIATE")).await?)
            }
            Pool::Postgres(pool) => Open::Postgres(within(doing, deadline, pool.begin()).await?),
        };
        Ok(Change {
            transaction,
            doing,
            deadline,
        })
    }

    /// Runs a query outside any transaction.
    pub(super) async fn rows(
        &self,
        doing: &'static str,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> Result<Vec<Row>, StoreError> {
        self.read(doing, sql, values, true).await
    }

    /// As [`SqlStore::rows`], planned for these very values. Postgres may go over to one plan for all values once it has seen a text a few
    /// times, and then guesses wrong where the values decide how much there is to read.
    pub(super) async fn rows_planned(
        &self,
        doing: &'static str,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> Result<Vec<Row>, StoreError> {
        self.read(doing, sql, values, false).await
    }

    /// As [`SqlStore::rows_planned`], one row at a time: for answers that may be long.
    pub(super) async fn each_row(
        &self,
        doing: &'static str,
        sql: &'static str,
        values: &[Value<'_>],
        mut show: impl FnMut(&Row) -> Result<(), StoreError> + Send,
    ) -> Result<(), StoreError> {
        let deadline = Instant::now() + LIMIT;
        match &self.pool {
            Pool::Sqlite { read, .. } => {
                let mut rows = sqlite(doing, sql, values, &[])?.fetch(read);
                while let Some(row) = within(doing, deadline, rows.try_next()).await? {
                    show(&Row::Sqlite(row))?;
                }
            }
            Pool::Postgres(pool) => {
                let mut rows = postgres(sql, values).persistent(false).fetch(pool);
                while let Some(row) = within(doing, deadline, rows.try_next()).await? {
                    show(&Row::Postgres(row))?;
                }
            }
        }
        Ok(())
    }

    async fn read(
        &self,
        doing: &'static str,
        sql: &'static str,
        values: &[Value<'_>],
        keep_plan: bool,
    ) -> Result<Vec<Row>, StoreError> {
        let deadline = Instant::now() + LIMIT;
        match &self.pool {
            Pool::Sqlite { read, .. } => {
                let rows = within(doing, deadline, sqlite(doing, sql, values, &[])?.fetch_all(read));
                Ok(rows.await?.into_iter().map(Row::Sqlite).collect())
            }
            Pool::Postgres(pool) => {
                let query = postgres(sql, values).persistent(keep_plan);
                let rows = within(doing, deadline, query.fetch_all(pool));
                Ok(rows.await?.into_iter().map(Row::Postgres).collect())
            }
        }
    }

    /// The only row of an answer, if there is one.
    pub(super) async fn row(
        &self,
        doing: &'static str,
        sql: &'static str,
        values: &[Value<'_>],
    ) -> Result<Option<Row>, StoreError> {
        Ok(self.rows(doing, sql, values).await?.into_iter().next())
    }
}
