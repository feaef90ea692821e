//! Connecting to SQLite.

use std::io;
use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection as _, SqlitePool};
use tokio::time::{Instant, sleep};

use super::Pool;
use crate::error::StoreError;
use crate::secret_file;

/// How long a writer waits for one in another process. Shorter than the limit of a call, so that SQLite gives the reason.
const BUSY: Duration = Duration::from_secs(8);
/// Connections for reading; a gateway polls with one, an operator's pages use the rest.
const READERS: u32 = 4;
/// How long several first starts may get into each other's way.
const PATIENCE: Duration = Duration::from_secs(10);
/// `SQLITE_BUSY`: the low byte of the code.
const CODE_BUSY: i32 = 5;

/// A database in memory: lives in one connection, which therefore must stay.
pub(super) async fn memory() -> Result<Pool, StoreError> {
    let only = SqlitePoolOptions::new()
        .min_connections(1)
        .max_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .connect_with(SqliteConnectOptions::new().in_memory(true))
        .await
        .map_err(failed(":memory:", "is there memory left?"))?;
    Ok(Pool::Sqlite {
        read: only.clone(),
        write: only,
    })
}

/// A database file, made with mode 0600 if there is none; SQLite gives its write-ahead log the same mode.
pub(super) async fn file(path: &Path) -> Result<Pool, StoreError> {
    let what = path.display().to_string();
    match secret_file::private(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(StoreError::Open {
                what,
                hint: "create its directory and let this user write to it",
                source: Box::new(error),
            });
        }
        Ok(_) | Err(_) => {}
    }
    let options = SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(BUSY)
        // Larger than the default: rows of usage come in batches, and a quarter of the pages is a quarter less work (measured). It holds
        // for new files only.
        .page_size(16 << 10)
        .journal_mode(SqliteJournalMode::Wal)
        // A revoked key must stay revoked after a power failure.
        .synchronous(SqliteSynchronous::Full);
    // Statements of many rows keep a journal, which would else be a file.
    let writing = options.clone().pragma("temp_store", "MEMORY");
    let write = connect(&what, 1, writing).await?;
    let read = connect(&what, READERS, options).await?;
    Ok(Pool::Sqlite { read, write })
}

/// Two processes that turn a new file to WAL at the same moment may be told that it is locked, whatever the busy timeout says.
async fn connect(what: &str, most: u32, options: SqliteConnectOptions) -> Result<SqlitePool, StoreError> {
    let give_up = Instant::now() + PATIENCE;
    loop {
        let pool = SqlitePoolOptions::new()
            .max_connections(most)
            .acquire_timeout(PATIENCE)
            // A thread that has ended is noticed, and so is what SQLite has rolled back by itself (a full disk): sqlx takes it for open
            // and would begin no other transaction on this connection.
            .test_before_acquire(true)
            .before_acquire(|connection, _| Box::pin(async move { Ok(!connection.is_in_transaction()) }));
        match pool.connect_with(options.clone()).await {
            Err(error) if is_busy(&error) && Instant::now() < give_up => {
                sleep(Duration::from_millis(20)).await
            }
            Err(error) => {
                return Err(failed(
                    what,
                    "it must be a SQLite database that this user can write, on a local disk",
                )(error));
            }
            Ok(pool) => return Ok(pool),
        }
    }
}

fn is_busy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.and_then(|code| code.parse::<i32>().ok())
        .is_some_and(|code| code & 0xff == CODE_BUSY)
}

fn failed(what: &str, hint: &'static str) -> impl FnOnce(sqlx::Error) -> StoreError {
    move |source| StoreError::Open {
        what: format!("sqlite:{what}"),
        hint,
        source: Box::new(source),
    }
}
