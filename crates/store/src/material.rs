//! The secrets beside a store: the pepper of client keys, the master key of provider keys, and the token of the admin API.
//!
//! All are texts: the value of an environment variable, or else the content of a file beside the database that is made on first
//! use. So a file's content can become the variable's value when the store moves to Postgres.

use std::io;
use std::path::{Path, PathBuf};

use hkdf::Hkdf;
use opm_core::Secret;
use sha2::Sha256;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::location::{Location, Place};
use crate::secret_file;
use crate::vault::Vault;

/// Fewest characters of a secret: 32 hexadecimal digits are 128 bits.
const SHORTEST: usize = 32;
/// Fewest different characters: `changeme…` and `00000000…` are no secrets.
const VARIETY: usize = 10;

/// Which of the secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Key of the hash of client keys.
    Pepper,
    /// Key from which those of provider keys are derived.
    Master,
    /// Token of the admin API.
    Admin,
}

impl Purpose {
    /// The environment variable that may hold it.
    #[must_use]
    pub const fn variable(self) -> &'static str {
        match self {
            Purpose::Pepper => "OPM_KEY_PEPPER",
            Purpose::Master => "OPM_MASTER_KEY",
            Purpose::Admin => "OPM_ADMIN_TOKEN",
        }
    }

    /// The file beside the database: `opm.db.pepper`, `opm.db.master`, `opm.db.admin`.
    #[must_use]
    pub fn file_beside(self, database: &Path) -> PathBuf {
        let mut name = database.as_os_str().to_owned();
        name.push(match self {
            Purpose::Pepper => ".pepper",
            Purpose::Master => ".master",
            Purpose::Admin => ".admin",
        });
        PathBuf::from(name)
    }
}

/// What is wrong with a secret. Never says what it is.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MaterialError {
    /// Empty, too short or too uniform.
    #[error(
        "{from} {why}: it must be random text of at least 32 characters, for example the output of `openssl rand -hex 32`"
    )]
    Weak {
        /// Variable or file.
        from: String,
        /// What is wrong.
        why: &'static str,
    },
    /// Several gateways share the store, so none may make up a secret of its own.
    #[error(
        "{0} is not set: a Postgres store needs it, with the same value on every gateway; make one with `openssl rand -hex 32`"
    )]
    Missing(&'static str),
    /// The file beside the database cannot be read or made.
    #[error("{}: {doing} failed; check the directory's permissions or set {variable}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// The variable to set instead.
        variable: &'static str,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// The operating system gave no random bytes.
    #[error("the operating system gives no random bytes")]
    Random(#[source] getrandom::Error),
    /// No keys can be derived.
    #[error("a key cannot be derived from the secret")]
    Derive,
}

/// The secrets of one store, ready for use.
#[derive(Debug)]
pub struct StoreSecrets {
    /// For `opm_core::client_key::mac`.
    pub pepper: Pepper,
    /// For provider keys.
    pub vault: Vault,
}

/// The pepper of client keys. Prints its id only.
pub struct Pepper {
    key: Zeroizing<[u8; 32]>,
    id: String,
}

impl Pepper {
    fn new(text: &[u8]) -> Result<Self, MaterialError> {
        Ok(Pepper {
            key: derive(text, "opm client keys 1")?,
            id: hex(derive(text, "opm pepper id 1")?.iter().take(4)),
        })
    }

    /// The key of the hash.
    #[must_use]
    pub fn key(&self) -> &[u8; 32] {
        &self.key
    }

    /// Its id: not secret.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl std::fmt::Debug for Pepper {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pepper({})", self.id)
    }
}

impl StoreSecrets {
    /// The secrets of the store at `location`. `pepper` and `master` are the values of their variables, `None` where not set: then
    /// a SQLite file has them in files beside it, made on first use, and a store in memory has new ones.
    ///
    /// # Errors
    /// [`MaterialError`].
    pub fn load(
        location: &Location,
        pepper: Option<&str>,
        master: Option<&str>,
    ) -> Result<Self, MaterialError> {
        Ok(StoreSecrets {
            pepper: Pepper::new(text(Purpose::Pepper, location, pepper)?.as_bytes())?,
            vault: Vault::new(text(Purpose::Master, location, master)?.as_bytes())?,
        })
    }
}

/// The token of the admin API in the file beside a SQLite file, made on first use: whoever may read it may administrate. `None`: the
/// store has no file (memory, Postgres), so the token must be configured.
///
/// # Errors
/// [`MaterialError`].
pub fn admin_token(location: &Location) -> Result<Option<Secret>, MaterialError> {
    let Some(database) = location.file() else {
        return Ok(None);
    };
    let text = secret_file::text(Purpose::Admin, &Purpose::Admin.file_beside(database))?;
    Ok(Some(Secret::new(text.to_string())))
}

fn text(
    purpose: Purpose,
    location: &Location,
    variable: Option<&str>,
) -> Result<Zeroizing<String>, MaterialError> {
    if let Some(value) = variable {
        return checked(value, || purpose.variable().to_owned());
    }
    match &location.0 {
        Place::Memory => fresh(),
        Place::Postgres(_) => Err(MaterialError::Missing(purpose.variable())),
        Place::File(database) => secret_file::text(purpose, &purpose.file_beside(database)),
    }
}

/// The trimmed text, if it can be a secret at all.
pub(crate) fn checked(text: &str, from: impl FnOnce() -> String) -> Result<Zeroizing<String>, MaterialError> {
    let text = text.trim();
    let mut bytes = text.as_bytes().to_vec();
    bytes.sort_unstable();
    bytes.dedup();
    let why = match text.len() {
        0 => "is empty",
        length if length < SHORTEST => "is too short",
        _ if bytes.len() < VARIETY => "is not random",
        _ => return Ok(Zeroizing::new(text.to_owned())),
    };
    Err(MaterialError::Weak { from: from(), why })
}

/// A new secret of 256 bits, in hexadecimal.
pub(crate) fn fresh() -> Result<Zeroizing<String>, MaterialError> {
    let bytes = Zeroizing::new(random::<32>()?);
    Ok(Zeroizing::new(hex(bytes.iter())))
}

/// `N` bytes from the operating system's generator.
///
/// # Errors
/// [`MaterialError::Random`].
pub fn random<const N: usize>() -> Result<[u8; N], MaterialError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(MaterialError::Random)?;
    Ok(bytes)
}

/// HKDF-SHA-256: another key for each `purpose`.
pub(crate) fn derive(secret: &[u8], purpose: &str) -> Result<Zeroizing<[u8; 32]>, MaterialError> {
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(None, secret)
        .expand(purpose.as_bytes(), &mut *key)
        .map_err(|_| MaterialError::Derive)?;
    Ok(key)
}

/// Lower-case hexadecimal.
pub(crate) fn hex<'b>(bytes: impl IntoIterator<Item = &'b u8>) -> String {
    bytes.into_iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn location(url: &str) -> Location {
        Location::parse(url).unwrap()
    }

    fn in_folder(folder: &Path) -> Location {
        location(&format!("sqlite:{}/opm.db", folder.display()))
    }

    fn ids(secrets: &StoreSecrets) -> (String, String) {
        (secrets.pepper.id().to_owned(), secrets.vault.id().to_owned())
    }

    #[test]
    fn secrets_are_made_once_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let place = in_folder(folder.path());
        let first = StoreSecrets::load(&place, None, None).unwrap();
        let again = StoreSecrets::load(&place, None, None).unwrap();
        assert_eq!(ids(&first), ids(&again));
        assert_eq!(first.pepper.key(), again.pepper.key());
        let mut names: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["opm.db.master", "opm.db.pepper"]);
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_can_read_the_files() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        StoreSecrets::load(&in_folder(folder.path()), None, None).unwrap();
        for name in ["opm.db.master", "opm.db.pepper"] {
            let mode = fs::metadata(folder.path().join(name))
                .unwrap()
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn many_first_starts_agree_on_one_secret() {
        let folder = tempfile::tempdir().unwrap();
        let place = in_folder(folder.path());
        let load = || ids(&StoreSecrets::load(&place, None, None).unwrap());
        let found: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..16).map(|_| scope.spawn(load)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(found.iter().all(|one| *one == found[0]));
    }

    #[test]
    fn the_content_of_the_file_as_variable_is_the_same_secret() {
        let folder = tempfile::tempdir().unwrap();
        let place = in_folder(folder.path());
        let first = StoreSecrets::load(&place, None, None).unwrap();
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
        let (pepper, master) = (read("opm.db.pepper"), read("opm.db.master"));
        let postgres = location("postgres://me@db/opm");
        let moved = StoreSecrets::load(&postgres, Some(&pepper), Some(&master)).unwrap();
        assert_eq!(ids(&first), ids(&moved));
        assert_eq!(first.pepper.key(), moved.pepper.key());
    }

    #[test]
    fn weak_secrets_are_refused_with_their_origin_and_not_repeated() {
        let memory = location("sqlite::memory:");
        let weak = ["", "  \n", "hunter22", &"ab".repeat(20)];
        for value in weak {
            let error = StoreSecrets::load(&memory, Some(value), None)
                .unwrap_err()
                .to_string();
            assert!(error.starts_with("OPM_KEY_PEPPER is "), "{error}");
            assert!(!error.contains("hunter22") && !error.contains("abab"));
        }
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("opm.db.pepper"), "").unwrap();
        let error = StoreSecrets::load(&in_folder(folder.path()), None, None).unwrap_err();
        assert!(error.to_string().contains("opm.db.pepper is empty"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn the_admin_token_is_made_once_for_a_file_and_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let place = in_folder(folder.path());
        let first = admin_token(&place).unwrap().unwrap();
        let again = admin_token(&place).unwrap().unwrap();
        assert_eq!(first.expose(), again.expose());
        assert_eq!(first.expose().len(), 64);
        let file = fs::metadata(folder.path().join("opm.db.admin")).unwrap();
        assert_eq!(file.permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_store_without_a_file_has_no_admin_token_and_a_weak_one_is_refused() {
        for url in ["sqlite::memory:", "postgres://me@db/opm"] {
            assert!(admin_token(&location(url)).unwrap().is_none());
        }
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("opm.db.admin"), "hunter22").unwrap();
        let error = admin_token(&in_folder(folder.path())).unwrap_err().to_string();
        assert!(
            error.contains("opm.db.admin is too short") && !error.contains("hunter22"),
            "{error}"
        );
    }

    #[test]
    fn a_postgres_store_needs_its_variables() {
        let error = StoreSecrets::load(&location("postgres://me@db/opm"), None, None).unwrap_err();
        assert!(
            error.to_string().starts_with("OPM_KEY_PEPPER is not set"),
            "{error}"
        );
    }

    #[test]
    fn a_store_in_memory_has_secrets_of_its_own() {
        let memory = location("sqlite::memory:");
        let load = || ids(&StoreSecrets::load(&memory, None, None).unwrap());
        assert_ne!(load(), load());
    }

    #[test]
    fn one_text_as_both_variables_still_gives_two_keys() {
        let text = "0123456789abcdef0123456789abcdef";
        let both = StoreSecrets::load(&location("sqlite::memory:"), Some(text), Some(text)).unwrap();
        assert_ne!(both.pepper.id(), both.vault.id());
    }
}
