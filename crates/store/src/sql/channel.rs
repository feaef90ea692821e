//! Channels and their states in SQL.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::SqlStore;
use super::session::Row;
use crate::channel::{ChannelState, ChannelStore, StoredChannel};
use crate::error::StoreError;
use crate::vault::SealedSecret;

const PUT: &str = "INSERT INTO opm_channels (name, definition, updated_at) VALUES ($1, $2, $3) \
     ON CONFLICT (name) DO UPDATE SET definition = excluded.definition, updated_at = excluded.updated_at";
const CLEAR_KEYS: &str = "DELETE FROM opm_provider_keys WHERE channel = $1";
const PUT_KEY: &str = "INSERT INTO opm_provider_keys (channel, position, master_id, nonce, ciphertext, hint, fingerprint) \
     VALUES ($1, $2, $3, $4, $5, $6, $7)";
/// One query, so that a channel and its keys are of the same moment.
const LIST: &str = "SELECT c.name, c.definition, c.updated_at, k.master_id, k.nonce, k.ciphertext, k.hint, k.fingerprint \
     FROM opm_channels c LEFT JOIN opm_provider_keys k ON k.channel = c.name ORDER BY c.name, k.position";
const DELETE: &str = "DELETE FROM opm_channels WHERE name = $1";
const DELETE_STATE: &str = "DELETE FROM opm_channel_states WHERE name = $1";
const SET_STATE: &str = "INSERT INTO opm_channel_states (name, state) VALUES ($1, $2) \
     ON CONFLICT (name) DO UPDATE SET state = excluded.state";
const STATES: &str = "SELECT name, state FROM opm_channel_states";

#[async_trait]
impl ChannelStore for SqlStore {
    async fn put_channel(&self, channel: StoredChannel) -> Result<(), StoreError> {
        let mut change = self.change("storing a channel").await?;
        let name = channel.name.as_str();
        let values = [
            name.into(),
            (&channel.definition).into(),
            channel.updated_at.into(),
        ];
        change.execute(PUT, &values).await?;
        change.execute(CLEAR_KEYS, &[name.into()]).await?;
        for (position, key) in (0_i64..).zip(&channel.provider_keys) {
            let values = [
                name.into(),
                position.into(),
                (&key.master_id).into(),
                key.nonce.as_slice().into(),
                key.ciphertext.as_slice().into(),
                (&key.hint).into(),
                (&key.fingerprint).into(),
            ];
            change.execute(PUT_KEY, &values).await?;
        }
        change.commit().await
    }

    async fn channels(&self) -> Result<Vec<StoredChannel>, StoreError> {
        let rows = self.rows("reading the channels", LIST, &[]).await?;
        let mut channels: BTreeMap<String, StoredChannel> = BTreeMap::new();
        for row in &rows {
            let channel = read(row)?;
            let known = channels.entry(channel.name.clone()).or_insert(channel);
            known.provider_keys.extend(read_key(row)?);
        }
        Ok(channels.into_values().collect())
    }

    async fn delete_channel(&self, name: &str) -> Result<(), StoreError> {
        let mut change = self.change("deleting a channel").await?;
        if change.execute(DELETE, &[name.into()]).await? == 0 {
            return Err(StoreError::NotFound {
                what: "channel made at run time",
                name: name.to_owned(),
            });
        }
        // A later channel of the same name is another one.
        change.execute(DELETE_STATE, &[name.into()]).await?;
        change.commit().await
    }

    async fn set_channel_state(&self, name: &str, state: ChannelState) -> Result<(), StoreError> {
        let mut change = self.change("setting the state of a channel").await?;
        let values = [name.into(), state.as_str().into()];
        change.execute(SET_STATE, &values).await?;
        change.commit().await
    }

    async fn channel_states(&self) -> Result<Vec<(String, ChannelState)>, StoreError> {
        let rows = self.rows("reading the channel states", STATES, &[]).await?;
        // Sorted here: databases differ in how they order text.
        let states: Result<BTreeMap<_, _>, _> = rows.iter().map(read_state).collect();
        Ok(states?.into_iter().collect())
    }
}

fn read(row: &Row) -> Result<StoredChannel, StoreError> {
    Ok(StoredChannel {
        name: row.get("name")?,
        definition: row.get("definition")?,
        provider_keys: Vec::new(),
        updated_at: row.get("updated_at")?,
    })
}

/// The provider key of a row; a channel without one has a row of NULLs.
fn read_key(row: &Row) -> Result<Option<SealedSecret>, StoreError> {
    let Some(nonce) = row.get::<Option<Vec<u8>>>("nonce")? else {
        return Ok(None);
    };
    Ok(Some(SealedSecret {
        master_id: row.get("master_id")?,
        nonce: nonce
            .try_into()
            .map_err(|_| StoreError::damaged("a provider key")("its nonce is not 24 bytes".to_owned()))?,
        ciphertext: row.get("ciphertext")?,
        hint: row.get("hint")?,
        fingerprint: row.get("fingerprint")?,
    }))
}

fn read_state(row: &Row) -> Result<(String, ChannelState), StoreError> {
    let state: String = row.get("state")?;
    let Some(state) = ChannelState::from_name(&state) else {
        return Err(StoreError::damaged("the state of a channel")(format!(
            "`{state}` is none"
        )));
    };
    Ok((row.get("name")?, state))
}
