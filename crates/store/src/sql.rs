//! The one implementation of [`Store`] over SQLite and Postgres. Below it: `sql/session.rs` runs constant SQL with bound values,
//! `sql/sqlite.rs` and `sql/postgres.rs` connect, `sql/migration.rs` brings tables up to date; the rest is one file per subject.

mod audit;
mod binding;
mod budget;
mod bulk;
mod channel;
mod key;
mod migration;
mod postgres;
mod request;
mod route;
pub(crate) mod session;
mod sqlite;
mod usage;
mod used;

use std::fmt;

use async_trait::async_trait;
use sqlx::{PgPool, SqlitePool};

use crate::error::StoreError;
use crate::location::{Location, Place};
use crate::store::Store;
use session::Change;

const REVISION: &str = "SELECT value FROM opm_revision WHERE id = 1";
const GROW: &str = "UPDATE opm_revision SET value = value + 1 WHERE id = 1";

/// A store in a SQL database.
pub(crate) struct SqlStore {
    pool: Pool,
    location: Location,
}

/// Connections to the database.
enum Pool {
    /// Writers of one process queue for the one writing connection instead of polling SQLite's lock.
    Sqlite {
        read: SqlitePool,
        write: SqlitePool,
    },
    Postgres(PgPool),
}

impl SqlStore {
    /// Connects and brings the tables up to date.
    pub(crate) async fn open(location: &Location) -> Result<Self, StoreError> {
        let pool = match &location.0 {
            Place::Memory => sqlite::memory().await?,
            Place::File(path) => sqlite::file(path).await?,
            Place::Postgres(server) => postgres::connect(server).await?,
        };
        let store = SqlStore {
            pool,
            location: location.clone(),
        };
        migration::run(&store).await?;
        Ok(store)
    }

    /// Starts a change that gateways must see. Growing the revision first makes such changes wait for one another, so that what a
    /// change reads stays true until it commits, and revisions become visible in their order.
    async fn change(&self, doing: &'static str) -> Result<Change, StoreError> {
        let mut change = self.record(doing).await?;
        change.execute(GROW, &[]).await?;
        Ok(change)
    }
}

/// The place only: the pools' own form may show a password.
impl fmt::Debug for SqlStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SqlStore({})", self.location)
    }
}

#[async_trait]
impl Store for SqlStore {
    async fn revision(&self) -> Result<u64, StoreError> {
        let row = self.row("reading the revision", REVISION, &[]).await?;
        let value: i64 = match row {
            Some(row) => row.get("value")?,
            None => return Err(StoreError::damaged("the revision")("it is missing".to_owned())),
        };
        u64::try_from(value).map_err(|_| StoreError::damaged("the revision")("it is negative".to_owned()))
    }

    async fn bind_secrets(&self, pepper_id: &str, master_id: &str) -> Result<(), StoreError> {
        binding::bind(self, pepper_id, master_id).await
    }

    async fn close(&self) {
        match &self.pool {
            Pool::Sqlite { read, write } => {
                read.close().await;
                write.close().await;
            }
            Pool::Postgres(pool) => pool.close().await,
        }
    }
}
