//! Channels, their states, and routes.

use opm_core::Secret;
use opm_store::{ChannelState, Location, StoreError, StoreSecrets, StoredChannel, Vault};

use crate::place::Place;

pub(crate) fn vault() -> Vault {
    let memory = Location::parse("sqlite::memory:").unwrap();
    StoreSecrets::load(&memory, None, None).unwrap().vault
}

pub(crate) fn channel(vault: &Vault, name: &str, secrets: &[&str]) -> StoredChannel {
    let seal = |text: &&str| vault.seal(name, &Secret::new((*text).to_owned())).unwrap();
    StoredChannel {
        name: name.to_owned(),
        definition: r#"{"format":"openai"}"#.to_owned(),
        provider_keys: secrets.iter().map(seal).collect(),
        updated_at: 10,
    }
}

pub(crate) async fn a_channel_reads_back_with_its_sealed_keys(place: Place) {
    let store = place.open().await;
    let vault = vault();
    let two = channel(&vault, "openai", &["sk-first-0123456789", "sk-second-0123456789"]);
    let none = channel(&vault, "local", &[]);
    store.put_channel(two.clone()).await.unwrap();
    store.put_channel(none.clone()).await.unwrap();
    let found = store.channels().await.unwrap();
    assert_eq!(found, [none, two]);
    let opened = vault.open("openai", &found[1].provider_keys[1]).unwrap();
    assert_eq!(opened.expose(), "sk-second-0123456789");
}

pub(crate) async fn putting_a_channel_again_replaces_it_whole(place: Place) {
    let store = place.open().await;
    let vault = vault();
    let first = channel(&vault, "openai", &["sk-first-0123456789", "sk-second-0123456789"]);
    store.put_channel(first.clone()).await.unwrap();
    let second = StoredChannel {
        definition: "{}".to_owned(),
        updated_at: 11,
        provider_keys: first.provider_keys[1..].to_vec(),
        ..first
    };
    store.put_channel(second.clone()).await.unwrap();
    assert_eq!(store.channels().await.unwrap(), [second]);
}

pub(crate) async fn a_deleted_channel_takes_its_keys_and_its_state_along(place: Place) {
    let store = place.open().await;
    let full = channel(&vault(), "openai", &["sk-first-0123456789"]);
    store.put_channel(full).await.unwrap();
    store
        .set_channel_state("openai", ChannelState::Disabled)
        .await
        .unwrap();
    store.delete_channel("openai").await.unwrap();
    assert!(store.channels().await.unwrap().is_empty());
    assert!(store.channel_states().await.unwrap().is_empty());
    let error = store.delete_channel("openai").await.unwrap_err();
    assert!(matches!(error, StoreError::NotFound { .. }), "{error}");
    let bare = channel(&vault(), "openai", &[]);
    store.put_channel(bare.clone()).await.unwrap();
    assert_eq!(store.channels().await.unwrap(), [bare]);
}

pub(crate) async fn states_hold_for_channels_of_the_config_file_too(place: Place) {
    let store = place.open().await;
    store
        .set_channel_state("b", ChannelState::Disabled)
        .await
        .unwrap();
    store
        .set_channel_state("a", ChannelState::Draining)
        .await
        .unwrap();
    store
        .set_channel_state("B", ChannelState::Disabled)
        .await
        .unwrap();
    store.set_channel_state("b", ChannelState::Enabled).await.unwrap();
    let expected = [
        ("B".to_owned(), ChannelState::Disabled),
        ("a".to_owned(), ChannelState::Draining),
        ("b".to_owned(), ChannelState::Enabled),
    ];
    assert_eq!(store.channel_states().await.unwrap(), expected);
}

pub(crate) async fn routes_are_set_and_taken_back(place: Place) {
    let store = place.open().await;
    assert_eq!(store.routes().await.unwrap(), None);
    store.delete_routes().await.unwrap();
    store.put_routes("{}").await.unwrap();
    store.put_routes(r#"{"strategy":"failover"}"#).await.unwrap();
    assert_eq!(
        store.routes().await.unwrap().as_deref(),
        Some(r#"{"strategy":"failover"}"#)
    );
    store.delete_routes().await.unwrap();
    assert_eq!(store.routes().await.unwrap(), None);
}
