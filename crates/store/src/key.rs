//! Client keys in the store.

use async_trait::async_trait;

use crate::error::StoreError;

/// A client key as it is kept: never the key, only its keyed hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredKey {
    /// Its id, part of the key's text; not secret.
    pub id: String,
    /// Name given by the operator; unique among keys that are not revoked.
    pub name: String,
    /// HMAC-SHA-256 of the key under the pepper (`opm_core::client_key::mac`).
    pub mac: [u8; 32],
    /// What may be shown: prefix and last four characters.
    pub hint: String,
    /// Names of the channels it may use; `None`: all.
    pub channels: Option<Vec<String>>,
    /// Globs of the models it may name; empty: all.
    pub models: Vec<String>,
    /// Addresses it may come from, CIDR; empty: all.
    pub ip_ranges: Vec<String>,
    /// Limits as JSON text, of the same shape as in the config file; not read here.
    pub limits: Option<String>,
    /// Budget as JSON text, of the same shape as in the config file; not read here.
    pub budget: Option<String>,
    /// Unix seconds after which it is refused.
    pub expires_at: Option<i64>,
    /// False while it is switched off.
    pub enabled: bool,
    /// Unix seconds.
    pub created_at: i64,
    /// Unix seconds of the last change of its secret.
    pub rotated_at: Option<i64>,
    /// Unix seconds of its revocation, which is for good; the key stays listed.
    pub revoked_at: Option<i64>,
    /// Unix seconds of the last request with it, as last reported.
    pub last_used_at: Option<i64>,
}

impl StoredKey {
    /// True if a request that carries this key may go on at `now` (Unix seconds).
    #[must_use]
    pub fn is_usable(&self, now: i64) -> bool {
        self.enabled && self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }
}

/// A client key to be stored; the members are those of [`StoredKey`].
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "documented at StoredKey")]
pub struct NewKey {
    pub id: String,
    pub name: String,
    pub mac: [u8; 32],
    pub hint: String,
    pub channels: Option<Vec<String>>,
    pub models: Vec<String>,
    pub ip_ranges: Vec<String>,
    pub limits: Option<String>,
    pub budget: Option<String>,
    pub expires_at: Option<i64>,
    pub created_at: i64,
}

/// What to change of a client key; `None` leaves a member as it is. The members are those of [`StoredKey`].
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "documented at StoredKey")]
pub struct KeyChange {
    pub name: Option<String>,
    pub channels: Option<Option<Vec<String>>>,
    pub models: Option<Vec<String>>,
    pub ip_ranges: Option<Vec<String>>,
    pub limits: Option<Option<String>>,
    pub budget: Option<Option<String>>,
    pub expires_at: Option<Option<i64>>,
    pub enabled: Option<bool>,
}

impl KeyChange {
    /// Changes `key`.
    pub(crate) fn apply(self, key: &mut StoredKey) {
        fn set<T>(place: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *place = value;
            }
        }
        set(&mut key.name, self.name);
        set(&mut key.channels, self.channels);
        set(&mut key.models, self.models);
        set(&mut key.ip_ranges, self.ip_ranges);
        set(&mut key.limits, self.limits);
        set(&mut key.budget, self.budget);
        set(&mut key.expires_at, self.expires_at);
        set(&mut key.enabled, self.enabled);
    }
}

/// Keeps client keys. Every method but the reading ones and [`KeyStore::touch_keys`] makes the revision grow.
#[async_trait]
pub trait KeyStore {
    /// Stores a new key.
    ///
    /// # Errors
    /// [`StoreError::Taken`] if a key that is not revoked has its name, or any key its id.
    async fn create_key(&self, key: NewKey) -> Result<(), StoreError>;

    /// All keys, revoked ones too, oldest first.
    async fn keys(&self) -> Result<Vec<StoredKey>, StoreError>;

    /// One key, revoked or not.
    async fn key(&self, id: &str) -> Result<Option<StoredKey>, StoreError>;

    /// Changes a key and returns it.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Revoked`], [`StoreError::Taken`] for its new name.
    async fn update_key(&self, id: &str, change: KeyChange) -> Result<StoredKey, StoreError>;

    /// Revokes a key for good at `now` (Unix seconds). A second time changes nothing and is no error.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    async fn revoke_key(&self, id: &str, now: i64) -> Result<(), StoreError>;

    /// Gives a key another secret at `now`; the old one ends at once.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Revoked`].
    async fn rotate_key(&self, id: &str, mac: [u8; 32], hint: &str, now: i64) -> Result<(), StoreError>;

    /// Notes when keys were last used (id, Unix seconds); earlier times than those known and unknown ids are passed over. Does not
    /// make the revision grow.
    async fn touch_keys(&self, used: &[(String, i64)]) -> Result<(), StoreError>;
}
