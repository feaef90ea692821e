//! What can go wrong with a store: what was being done, why it failed, what to do.

use std::error::Error;

use sqlx::error::DatabaseError;
use thiserror::Error;

/// A failure of the store. Its texts and those of its sources hold names and SQL, never a secret.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The URL is none that we know.
    #[error(
        "storage url: {0}; write sqlite:./opm.db, sqlite:///var/lib/opm/opm.db, sqlite::memory: or postgres://user:password@host/database"
    )]
    Url(String),
    /// The store could not be opened.
    #[error("opening the store {what}: {hint}")]
    Open {
        /// The place, without a password.
        what: String,
        /// What to check.
        hint: &'static str,
        /// What the database or the operating system said.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The tables are of a later version of this program.
    #[error(
        "the store has version {found} of its tables, this program knows up to {known}: it was opened by a newer opm; start that one, or restore the backup made before the upgrade"
    )]
    Newer {
        /// Version of the tables.
        found: i64,
        /// Newest version known here.
        known: i64,
    },
    /// The name is in use.
    #[error("{what} `{name}` exists already: take another name")]
    Taken {
        /// Kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// There is no such thing.
    #[error("there is no {what} `{name}`")]
    NotFound {
        /// Kind of thing.
        what: &'static str,
        /// Its name or id.
        name: String,
    },
    /// A revoked client key was to be changed.
    #[error("client key `{id}` is revoked for good: create another one")]
    Revoked {
        /// Id of the key.
        id: String,
    },
    /// The store was used with another pepper or master key.
    #[error(
        "{what} was made under another {secret} (id {expected}) than the one given (id {given}): bring the former one back, or {otherwise}"
    )]
    OtherSecret {
        /// What depends on the secret.
        what: &'static str,
        /// Which secret.
        secret: &'static str,
        /// Id of the secret that the store was used with.
        expected: String,
        /// Id of the secret that was given.
        given: String,
        /// The way out without it.
        otherwise: &'static str,
    },
    /// Something stored cannot be read back.
    #[error("{what} in the store is damaged ({why}): restore it from a backup or delete it")]
    Damaged {
        /// Which value.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The database did not answer in time.
    #[error(
        "{doing}: the store did not answer within {seconds} s; check its load and whether another process keeps it locked, then look whether the change was made"
    )]
    Late {
        /// What was being done.
        doing: &'static str,
        /// The limit.
        seconds: u64,
    },
    /// The database said no.
    #[error("{doing}: the store failed")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// What the database said.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

impl StoreError {
    /// What the database said while `doing` something.
    pub(crate) fn database(doing: &'static str) -> impl FnOnce(sqlx::Error) -> StoreError {
        move |source| StoreError::Database {
            doing,
            source: Box::new(source),
        }
    }

    /// A stored value that does not read back.
    pub(crate) fn damaged(what: &'static str) -> impl FnOnce(String) -> StoreError {
        move |why| StoreError::Damaged { what, why }
    }

    /// True if the database refused a second row of the same name.
    pub(crate) fn is_duplicate(&self) -> bool {
        self.said().is_some_and(DatabaseError::is_unique_violation)
    }

    /// True if the database refused a value for good: it has no such character, or no room for so large a number. Another try is of no use.
    #[must_use]
    pub fn is_of_data(&self) -> bool {
        // Postgres: data exceptions and constraints; the codes of SQLite are shorter.
        let of_data = |code: &str| code.len() == 5 && (code.starts_with("22") || code.starts_with("23"));
        let code = self.said().and_then(DatabaseError::code);
        matches!(self, StoreError::Damaged { .. }) || code.is_some_and(|code| of_data(&code))
    }

    /// True if the database could not be reached, or does not take connections yet: it may, in a moment.
    #[must_use]
    pub fn is_away(&self) -> bool {
        // Postgres: it starts, is shut down, or has too many clients.
        let of_moment = |code: &str| ["57P01", "57P02", "57P03", "53300"].contains(&code);
        let code = self.said().and_then(DatabaseError::code);
        let unreached = matches!(self.source_of_database(), Some(sqlx::Error::Io(_)));
        matches!(self, StoreError::Late { .. }) || unreached || code.is_some_and(|code| of_moment(&code))
    }

    /// What the database said itself.
    fn said(&self) -> Option<&dyn DatabaseError> {
        self.source_of_database()?.as_database_error()
    }

    fn source_of_database(&self) -> Option<&sqlx::Error> {
        match self {
            StoreError::Database { source, .. } | StoreError::Open { source, .. } => source.downcast_ref(),
            _ => None,
        }
    }
}
