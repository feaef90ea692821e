//! Bringing the tables up to date. All migrations run in one transaction under a lock, so that several first starts do not race and
//! a failed one leaves nothing behind.

use std::time::Duration;

use super::SqlStore;
use super::session::{Change, Sql};
use crate::error::StoreError;

/// One step. Never edited once released: a later step corrects an earlier one.
struct Migration {
    version: i64,
    name: &'static str,
    script: Sql,
}

macro_rules! migration {
    ($version:literal, $name:literal) => {
        Migration {
            version: $version,
            name: $name,
            script: Sql {
                sqlite: include_str!(concat!("../../migrations/sqlite/", $name, ".sql")),
                postgres: include_str!(concat!("../../migrations/postgres/", $name, ".sql")),
            },
        }
    };
}

const MIGRATIONS: &[Migration] = &[
    migration!(1, "0001_keys_channels_routes_audit"),
    migration!(2, "0002_usage"),
    migration!(3, "0003_requests"),
    migration!(4, "0004_held"),
];

/// Held until the transaction ends. SQLite's immediate transaction is such a lock itself. The number is this program's own:
/// the bytes of `opm` and a 1.
const LOCK: Sql = Sql {
    sqlite: "",
    postgres: "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; SELECT pg_advisory_xact_lock(1869638913)",
};
/// Longer than that of a call: a migration may rewrite a large table, and another process may be doing so.
const LIMIT: Duration = Duration::from_secs(600);
const TABLE: &str =
    "CREATE TABLE IF NOT EXISTS opm_migrations (version BIGINT PRIMARY KEY, name TEXT NOT NULL)";
const NEWEST: &str = "SELECT COALESCE(MAX(version), 0) AS version FROM opm_migrations";
const APPLIED: &str = "INSERT INTO opm_migrations (version, name) VALUES ($1, $2)";

/// Applies what is missing.
pub(super) async fn run(store: &SqlStore) -> Result<(), StoreError> {
    let mut change = store.begin("bringing the tables up to date", LIMIT).await?;
    change.script(LOCK).await?;
    change.script(TABLE.into()).await?;
    let found = version(&mut change).await?;
    let known = MIGRATIONS.last().map_or(0, |newest| newest.version);
    if found > known {
        return Err(StoreError::Newer { found, known });
    }
    for migration in MIGRATIONS.iter().filter(|migration| migration.version > found) {
        change.script(migration.script).await?;
        let values = [migration.version.into(), migration.name.into()];
        change.execute(APPLIED, &values).await?;
    }
    change.commit().await
}

async fn version(change: &mut Change) -> Result<i64, StoreError> {
    match change.rows(NEWEST, &[]).await?.first() {
        Some(row) => row.get("version"),
        None => Ok(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_are_numbered_without_a_gap() {
        for (expected, migration) in (1..).zip(MIGRATIONS) {
            assert_eq!(migration.version, expected);
            assert!(migration.name.starts_with(&format!("{expected:04}_")));
        }
    }
}
