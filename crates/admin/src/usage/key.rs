//! Client keys by name: usage is kept by their ids.

use std::collections::HashMap;

use opm_store::{Store, StoreError};

/// In front of the name of a key of the config file, whose id that is.
const OF_THE_FILE: &str = "static:";

/// The client keys of the store, by id; those of the config file have their names in their ids.
#[derive(Debug, Default)]
pub struct KeyNames {
    by_id: HashMap<String, String>,
    /// Of several keys of one name the one that is not revoked, else the last one.
    by_name: HashMap<String, String>,
}

impl KeyNames {
    /// Those of the store now, revoked ones too.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn of(store: &dyn Store) -> Result<Self, StoreError> {
        let mut keys = store.keys().await?;
        keys.sort_by_key(|key| key.revoked_at.is_none());
        Ok(KeyNames {
            by_name: keys
                .iter()
                .map(|key| (key.name.clone(), key.id.clone()))
                .collect(),
            by_id: keys.into_iter().map(|key| (key.id, key.name)).collect(),
        })
    }

    /// The name of a key; `None` for requests without one, and for an id that nobody knows.
    #[must_use]
    pub fn name<'n>(&'n self, id: &'n str) -> Option<&'n str> {
        id.strip_prefix(OF_THE_FILE)
            .or_else(|| self.by_id.get(id).map(String::as_str))
    }

    /// The id of a key that was named by its id or its name. What the store does not know is the name of one in the config file.
    #[must_use]
    pub fn id(&self, given: &str) -> String {
        if given.is_empty() || given.starts_with(OF_THE_FILE) || self.by_id.contains_key(given) {
            return given.to_owned();
        }
        let known = self.by_name.get(given).cloned();
        known.unwrap_or_else(|| format!("{OF_THE_FILE}{given}"))
    }

    /// Ids and names of all keys of the store.
    pub fn known(&self) -> impl Iterator<Item = &str> {
        self.by_id
            .iter()
            .flat_map(|(id, name)| [id.as_str(), name.as_str()])
    }
}
