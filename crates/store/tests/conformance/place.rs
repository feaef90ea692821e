//! Empty stores to test.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use opm_store::Store;
use sqlx::{Connection, PgConnection, SqliteConnection};
use tempfile::TempDir;

use crate::postgres_server::Server;

/// What is tested.
#[derive(Clone, Copy)]
pub(crate) enum Backend<'s> {
    File,
    Memory,
    Postgres(&'s Server),
}

/// An empty place for a store; may be opened several times unless it is in memory.
pub(crate) struct Place {
    pub(crate) url: String,
    _folder: Option<TempDir>,
}

impl Backend<'_> {
    pub(crate) async fn empty(self) -> Place {
        match self {
            Backend::Memory => Place {
                url: "sqlite::memory:".to_owned(),
                _folder: None,
            },
            Backend::File => {
                let folder = tempfile::tempdir().unwrap();
                Place {
                    url: format!("sqlite://{}/opm.db", folder.path().display()),
                    _folder: Some(folder),
                }
            }
            Backend::Postgres(server) => {
                static NUMBER: AtomicU32 = AtomicU32::new(0);
                let name = format!("case{}", NUMBER.fetch_add(1, Ordering::Relaxed));
                let place = Place {
                    url: server.url(),
                    _folder: None,
                };
                place.schema(&name).await
            }
        }
    }
}

impl Place {
    /// An empty schema: much cheaper than a database, and as separate for tables that are named without one.
    async fn schema(&self, name: &str) -> Place {
        let (server, former) = self.url.split_once("&options").unwrap_or((&self.url, ""));
        let name = format!("{}{name}", former.rsplit('=').next().unwrap_or_default());
        self.script("", &format!("CREATE SCHEMA {name}")).await;
        Place {
            url: format!("{server}&options[search_path]={name}"),
            _folder: None,
        }
    }

    /// Another empty place on the same database server or in the same folder.
    pub(crate) async fn sibling(&self, number: usize) -> Place {
        let url = match self.url.strip_suffix(".db") {
            Some(rest) => format!("{rest}-{number}.db"),
            None => return self.schema(&format!("sibling{number}")).await,
        };
        Place { url, _folder: None }
    }

    pub(crate) async fn open(&self) -> Arc<dyn Store> {
        opm_store::open(&self.url).await.unwrap()
    }

    /// Runs a script past the store, on whichever database it is. `BYTES32` stands for 32 bytes of 0xab, as each writes them.
    pub(crate) async fn script(&self, sqlite: &str, postgres: &str) {
        match self.url.strip_prefix("sqlite://") {
            Some(path) => {
                let url = format!("sqlite://{path}?mode=rwc");
                let mut connection = SqliteConnection::connect(&url).await.unwrap();
                let script = sqlx::AssertSqlSafe(bytes(sqlite, |hex| format!("x'{hex}'")));
                sqlx::raw_sql(script).execute(&mut connection).await.unwrap();
                connection.close().await.unwrap();
            }
            None => {
                let mut connection = PgConnection::connect(&self.url).await.unwrap();
                let script = sqlx::AssertSqlSafe(bytes(postgres, |hex| format!("'\\x{hex}'")));
                sqlx::raw_sql(script).execute(&mut connection).await.unwrap();
                connection.close().await.unwrap();
            }
        }
    }
}

fn bytes(script: &str, write: fn(String) -> String) -> String {
    script
        .replace("BYTES32", &write("ab".repeat(32)))
        .replace("BYTES24", &write("ab".repeat(24)))
}
