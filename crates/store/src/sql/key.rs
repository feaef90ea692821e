//! Client keys in SQL.

use async_trait::async_trait;

use super::SqlStore;
use super::session::{Change, Row};
use crate::error::StoreError;
use crate::key::{KeyChange, KeyStore, NewKey, StoredKey};

const CREATE: &str = "INSERT INTO opm_client_keys (id, name, mac, hint, channels, models, ip_ranges, limits, budget, expires_at, \
     enabled, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 1, $11)";
/// Named one by one: a later version may add columns while this one runs.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, name, mac, hint, channels, models, ip_ranges, limits, budget, expires_at, enabled, created_at, rotated_at, \
             revoked_at, last_used_at FROM opm_client_keys ",
            $rest
        )
    };
}
const LIST: &str = select!("ORDER BY created_at, id");
const ONE: &str = select!("WHERE id = $1");
const UPDATE: &str = "UPDATE opm_client_keys SET name = $2, channels = $3, models = $4, ip_ranges = $5, limits = $6, budget = $7, \
     expires_at = $8, enabled = $9 WHERE id = $1";
const REVOKE: &str = "UPDATE opm_client_keys SET revoked_at = $2 WHERE id = $1";
const ROTATE: &str = "UPDATE opm_client_keys SET mac = $2, hint = $3, rotated_at = $4 WHERE id = $1";
const TOUCH: &str = "UPDATE opm_client_keys SET last_used_at = $2 WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2)";

const WHAT: &str = "client key";

#[async_trait]
impl KeyStore for SqlStore {
    async fn create_key(&self, key: NewKey) -> Result<(), StoreError> {
        let mut change = self.change("creating a client key").await?;
        let channels = key.channels.as_ref().map(|names| list(names)).transpose()?;
        let (models, ip_ranges) = (list(&key.models)?, list(&key.ip_ranges)?);
        let values = [
            (&key.id).into(),
            (&key.name).into(),
            key.mac.as_slice().into(),
            (&key.hint).into(),
            (&channels).into(),
            (&models).into(),
            (&ip_ranges).into(),
            (&key.limits).into(),
            (&key.budget).into(),
            key.expires_at.into(),
            key.created_at.into(),
        ];
        change.execute(CREATE, &values).await.map_err(taken(&key.name))?;
        change.commit().await
    }

    async fn keys(&self) -> Result<Vec<StoredKey>, StoreError> {
        let rows = self.rows("reading the client keys", LIST, &[]).await?;
        rows.iter().map(read).collect()
    }

    async fn key(&self, id: &str) -> Result<Option<StoredKey>, StoreError> {
        let row = self.row("reading a client key", ONE, &[id.into()]).await?;
        row.as_ref().map(read).transpose()
    }

    async fn update_key(&self, id: &str, wanted: KeyChange) -> Result<StoredKey, StoreError> {
        let mut change = self.change("changing a client key").await?;
        let mut key = live(&mut change, id).await?;
        wanted.apply(&mut key);
        let channels = key.channels.as_ref().map(|names| list(names)).transpose()?;
        let (models, ip_ranges) = (list(&key.models)?, list(&key.ip_ranges)?);
        let values = [
            id.into(),
            (&key.name).into(),
            (&channels).into(),
            (&models).into(),
            (&ip_ranges).into(),
            (&key.limits).into(),
            (&key.budget).into(),
            key.expires_at.into(),
            key.enabled.into(),
        ];
        change.execute(UPDATE, &values).await.map_err(taken(&key.name))?;
        change.commit().await?;
        Ok(key)
    }

    async fn revoke_key(&self, id: &str, now: i64) -> Result<(), StoreError> {
        let mut change = self.change("revoking a client key").await?;
        match live(&mut change, id).await {
            Err(StoreError::Revoked { .. }) => return Ok(()),
            Err(error) => return Err(error),
            Ok(_) => change.execute(REVOKE, &[id.into(), now.into()]).await?,
        };
        change.commit().await
    }

    async fn rotate_key(&self, id: &str, mac: [u8; 32], hint: &str, now: i64) -> Result<(), StoreError> {
        let mut change = self.change("rotating a client key").await?;
        live(&mut change, id).await?;
        let values = [id.into(), mac.as_slice().into(), hint.into(), now.into()];
        change.execute(ROTATE, &values).await?;
        change.commit().await
    }

    async fn touch_keys(&self, used: &[(String, i64)]) -> Result<(), StoreError> {
        let mut change = self.record("noting when client keys were used").await?;
        // In one order everywhere, so that two gateways cannot wait for each other's rows.
        let mut used: Vec<_> = used.iter().collect();
        used.sort();
        for (id, at) in used {
            change.execute(TOUCH, &[id.into(), (*at).into()]).await?;
        }
        change.commit().await
    }
}

/// The key as it is now, if it can be changed at all.
async fn live(change: &mut Change, id: &str) -> Result<StoredKey, StoreError> {
    let rows = change.rows(ONE, &[id.into()]).await?;
    let Some(row) = rows.first() else {
        return Err(StoreError::NotFound {
            what: WHAT,
            name: id.to_owned(),
        });
    };
    let key = read(row)?;
    match key.revoked_at {
        Some(_) => Err(StoreError::Revoked { id: id.to_owned() }),
        None => Ok(key),
    }
}

fn taken(name: &str) -> impl FnOnce(StoreError) -> StoreError {
    let name = name.to_owned();
    move |error| match error.is_duplicate() {
        true => StoreError::Taken { what: WHAT, name },
        false => error,
    }
}

fn read(row: &Row) -> Result<StoredKey, StoreError> {
    let channels: Option<String> = row.get("channels")?;
    let mac: Vec<u8> = row.get("mac")?;
    let enabled: i64 = row.get("enabled")?;
    Ok(StoredKey {
        id: row.get("id")?,
        name: row.get("name")?,
        mac: mac
            .try_into()
            .map_err(|_| StoreError::damaged("the hash of a client key")("it is not 32 bytes".to_owned()))?,
        hint: row.get("hint")?,
        channels: channels.as_deref().map(unlist).transpose()?,
        models: unlist(&row.get::<String>("models")?)?,
        ip_ranges: unlist(&row.get::<String>("ip_ranges")?)?,
        limits: row.get("limits")?,
        budget: row.get("budget")?,
        expires_at: row.get("expires_at")?,
        enabled: enabled != 0,
        created_at: row.get("created_at")?,
        rotated_at: row.get("rotated_at")?,
        revoked_at: row.get("revoked_at")?,
        last_used_at: row.get("last_used_at")?,
    })
}

const LISTS: &str = "a list of a client key";

fn list(items: &[String]) -> Result<String, StoreError> {
    serde_json::to_string(items).map_err(|error| StoreError::damaged(LISTS)(error.to_string()))
}

fn unlist(text: &str) -> Result<Vec<String>, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::damaged(LISTS)(error.to_string()))
}
