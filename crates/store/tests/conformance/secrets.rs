//! The pepper and the master key that a store is used with.

use opm_store::StoreError;

use crate::channels::{channel, vault};
use crate::keys::full;
use crate::place::Place;

pub(crate) async fn the_same_secrets_bind_again(place: Place) {
    let store = place.open().await;
    store.bind_secrets("p1", "m1").await.unwrap();
    store.create_key(full("a", "one")).await.unwrap();
    store.bind_secrets("p1", "m1").await.unwrap();
}

pub(crate) async fn another_pepper_is_refused_while_keys_depend_on_it(place: Place) {
    let store = place.open().await;
    store.bind_secrets("p1", "m1").await.unwrap();
    store.bind_secrets("p2", "m1").await.unwrap();
    store.create_key(full("a", "one")).await.unwrap();
    let error = store.bind_secrets("p3", "m1").await.unwrap_err();
    let StoreError::OtherSecret { expected, given, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!((expected.as_str(), given.as_str()), ("p2", "p3"));
    store.revoke_key("a", 5).await.unwrap();
    store.bind_secrets("p3", "m1").await.unwrap();
}

pub(crate) async fn another_master_key_is_refused_while_provider_keys_depend_on_it(place: Place) {
    let store = place.open().await;
    let vault = vault();
    store.bind_secrets("p1", vault.id()).await.unwrap();
    let full = channel(&vault, "openai", &["sk-first-0123456789"]);
    store.put_channel(full).await.unwrap();
    let error = store.bind_secrets("p1", "other").await.unwrap_err();
    assert!(matches!(error, StoreError::OtherSecret { .. }), "{error}");
    store.bind_secrets("p1", vault.id()).await.unwrap();
    store.delete_channel("openai").await.unwrap();
    store.bind_secrets("p1", "other").await.unwrap();
}
