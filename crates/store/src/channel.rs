//! Channels made at run time, and the state of every channel.

use async_trait::async_trait;

use crate::error::StoreError;
use crate::vault::SealedSecret;

/// A channel made at run time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredChannel {
    /// Its name; unique.
    pub name: String,
    /// JSON text with the members of a channel in the config file, without its provider keys; not read here.
    pub definition: String,
    /// Its provider keys, sealed for this name; those of another channel cannot be opened.
    pub provider_keys: Vec<SealedSecret>,
    /// Unix seconds of the last change.
    pub updated_at: i64,
}

/// What a channel may be used for, set by an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelState {
    /// Takes requests.
    Enabled,
    /// Ends the requests it has, takes no new ones.
    Draining,
    /// Takes none.
    Disabled,
}

const STATES: [(ChannelState, &str); 3] = [
    (ChannelState::Enabled, "enabled"),
    (ChannelState::Draining, "draining"),
    (ChannelState::Disabled, "disabled"),
];

impl ChannelState {
    /// `enabled`, `draining` or `disabled`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        STATES
            .iter()
            .find(|(state, _)| *state == self)
            .map_or("", |(_, name)| name)
    }

    /// The state of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        STATES
            .iter()
            .find(|(_, known)| *known == name)
            .map(|(state, _)| *state)
    }
}

/// Keeps channels and channel states. Every change makes the revision grow.
#[async_trait]
pub trait ChannelStore {
    /// Creates the channel or replaces it whole, provider keys too. To keep them, give back those that [`ChannelStore::channels`]
    /// returned: they are sealed and stay so.
    async fn put_channel(&self, channel: StoredChannel) -> Result<(), StoreError>;

    /// All channels made at run time, by name.
    async fn channels(&self) -> Result<Vec<StoredChannel>, StoreError>;

    /// Deletes a channel made at run time, its provider keys and its state.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    async fn delete_channel(&self, name: &str) -> Result<(), StoreError>;

    /// Sets the state of a channel, of the config file or of the store; names are not checked.
    async fn set_channel_state(&self, name: &str, state: ChannelState) -> Result<(), StoreError>;

    /// The states that were set, by channel name; all other channels are enabled.
    async fn channel_states(&self) -> Result<Vec<(String, ChannelState)>, StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_have_one_name_each() {
        for (state, name) in STATES {
            assert_eq!(
                (state.as_str(), ChannelState::from_name(name)),
                (name, Some(state))
            );
        }
        assert_eq!(ChannelState::from_name("on"), None);
    }
}
