//! The storage URL, read once.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;

use crate::error::StoreError;

/// Where a store lies. Its text form leaves the password out.
#[derive(Clone, Debug)]
pub struct Location(pub(crate) Place);

#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// SQLite in this process's memory.
    Memory,
    /// A SQLite file.
    File(PathBuf),
    /// A Postgres database. Its `Debug` would show the password: see [`Server`].
    Postgres(Server),
}

/// Connection options that do not print their password.
#[derive(Clone)]
pub(crate) struct Server(pub(crate) Box<PgConnectOptions>);

impl Location {
    /// Reads a storage URL.
    ///
    /// # Errors
    /// [`StoreError::Url`], which never repeats the part that may hold a password.
    pub fn parse(url: &str) -> Result<Self, StoreError> {
        let Some((scheme, rest)) = url.split_once(':') else {
            return Err(StoreError::Url("it has no scheme".to_owned()));
        };
        match scheme {
            "sqlite" => sqlite(rest).map(Location),
            "postgres" | "postgresql" => postgres(url).map(Location),
            other => Err(StoreError::Url(format!("unknown scheme `{other}`"))),
        }
    }

    /// The database file, if it is one.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match &self.0 {
            Place::File(path) => Some(path),
            Place::Memory | Place::Postgres(_) => None,
        }
    }

    /// True if what it holds goes with the process.
    #[must_use]
    pub fn is_in_memory(&self) -> bool {
        matches!(self.0, Place::Memory)
    }
}

/// `./opm.db`, `//relative.db`, `///abs/path`, `:memory:`.
fn sqlite(rest: &str) -> Result<Place, StoreError> {
    let path = rest.strip_prefix("//").unwrap_or(rest);
    if path == ":memory:" {
        return Ok(Place::Memory);
    }
    if path.is_empty() || path.ends_with('/') {
        return Err(StoreError::Url("it names no file".to_owned()));
    }
    if path.contains('?') {
        return Err(StoreError::Url(
            "a SQLite url takes no options after `?`".to_owned(),
        ));
    }
    Ok(Place::File(PathBuf::from(path)))
}

fn postgres(url: &str) -> Result<Place, StoreError> {
    let read = PgConnectOptions::from_str(url);
    // The parser's own error may repeat parts of the URL, so it is not passed on.
    let options = read.map_err(|_| StoreError::Url("the Postgres url cannot be read".to_owned()))?;
    Ok(Place::Postgres(Server(Box::new(options))))
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Place::Memory => f.write_str("sqlite::memory:"),
            Place::File(path) => write!(f, "sqlite:{}", path.display()),
            Place::Postgres(server) => server.fmt(f),
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options = &self.0;
        write!(f, "postgres://{}@", options.get_username())?;
        match options.get_socket() {
            Some(socket) => write!(f, "{}", socket.display())?,
            None => write!(f, "{}:{}", options.get_host(), options.get_port())?,
        }
        write!(f, "/{}", options.get_database().unwrap_or_default())
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, expected: &str) {
        let found = Location::parse(url).map_or_else(|error| error.to_string(), |place| place.to_string());
        assert!(
            found.starts_with(expected),
            "{url}\n expected {expected}\n got      {found}"
        );
    }

    #[test]
    fn urls_name_their_place() {
        check("sqlite:./opm.db", "sqlite:./opm.db");
        check("sqlite:opm.db", "sqlite:opm.db");
        check("sqlite://opm.db", "sqlite:opm.db");
        check("sqlite:///var/lib/opm.db", "sqlite:/var/lib/opm.db");
        check("sqlite::memory:", "sqlite::memory:");
        check("sqlite://:memory:", "sqlite::memory:");
        check("postgres://me:pw@db:5433/opm", "postgres://me@db:5433/opm");
        check("postgresql://me@db/opm", "postgres://me@db:5432/opm");
    }

    #[test]
    fn other_urls_are_refused_with_what_to_write() {
        check("opm.db", "storage url: it has no scheme; write sqlite:./opm.db");
        check("mysql://x", "storage url: unknown scheme `mysql`");
        check("sqlite:", "storage url: it names no file");
        check("sqlite:///var/lib/", "storage url: it names no file");
        check(
            "sqlite:x.db?mode=ro",
            "storage url: a SQLite url takes no options",
        );
        check(
            "postgres://me:pw@db:port/x",
            "storage url: the Postgres url cannot",
        );
    }

    #[test]
    fn the_password_is_never_printed() {
        let place = Location::parse("postgres://me:hunter22@db/opm").unwrap();
        assert!(!format!("{place} {place:?}").contains("hunter22"));
        let wrong = Location::parse("postgres://me:hunter22@db:port/opm").unwrap_err();
        assert!(!format!("{wrong} {wrong:?}").contains("hunter22"));
    }
}
