//! Client keys.

use opm_store::{KeyChange, NewKey, StoreError, StoredKey};

use crate::place::Place;

/// A key that sets everything.
pub(crate) fn full(id: &str, name: &str) -> NewKey {
    NewKey {
        id: id.to_owned(),
        name: name.to_owned(),
        mac: [7; 32],
        hint: "sk-opm-…abcd".to_owned(),
        channels: Some(vec!["openai".to_owned(), "渠道".to_owned()]),
        models: vec!["gpt-*".to_owned()],
        ip_ranges: vec!["10.0.0.0/8".to_owned()],
        limits: Some(r#"{"rpm":600}"#.to_owned()),
        budget: Some(r#"{"usd":50}"#.to_owned()),
        expires_at: Some(2_000),
        created_at: 1_000,
    }
}

fn stored(key: &NewKey) -> StoredKey {
    StoredKey {
        id: key.id.clone(),
        name: key.name.clone(),
        mac: key.mac,
        hint: key.hint.clone(),
        channels: key.channels.clone(),
        models: key.models.clone(),
        ip_ranges: key.ip_ranges.clone(),
        limits: key.limits.clone(),
        budget: key.budget.clone(),
        expires_at: key.expires_at,
        enabled: true,
        created_at: key.created_at,
        rotated_at: None,
        revoked_at: None,
        last_used_at: None,
    }
}

pub(crate) async fn a_key_reads_back_as_it_was_created(place: Place) {
    let store = place.open().await;
    let key = full("id000001", "team");
    store.create_key(key.clone()).await.unwrap();
    assert_eq!(store.key("id000001").await.unwrap(), Some(stored(&key)));
    assert_eq!(store.key("id000002").await.unwrap(), None);
    let bare = NewKey {
        channels: None,
        models: vec![],
        ip_ranges: vec![],
        limits: None,
        budget: None,
        expires_at: None,
        ..full("id000002", "bare")
    };
    store.create_key(bare.clone()).await.unwrap();
    assert_eq!(store.key("id000002").await.unwrap(), Some(stored(&bare)));
}

pub(crate) async fn keys_are_listed_oldest_first(place: Place) {
    let store = place.open().await;
    for (id, created_at) in [("b", 2), ("a", 3), ("c", 1)] {
        let key = NewKey {
            created_at,
            ..full(id, id)
        };
        store.create_key(key).await.unwrap();
    }
    let ids: Vec<_> = store
        .keys()
        .await
        .unwrap()
        .into_iter()
        .map(|key| key.id)
        .collect();
    assert_eq!(ids, ["c", "b", "a"]);
}

pub(crate) async fn a_live_name_is_taken_and_free_again_after_revocation(place: Place) {
    let store = place.open().await;
    store.create_key(full("a", "team")).await.unwrap();
    let error = store.create_key(full("b", "team")).await.unwrap_err();
    assert!(
        matches!(&error, StoreError::Taken { name, .. } if name == "team"),
        "{error}"
    );
    store.create_key(full("c", "other")).await.unwrap();
    let rename = KeyChange {
        name: Some("team".to_owned()),
        ..KeyChange::default()
    };
    let error = store.update_key("c", rename).await.unwrap_err();
    assert!(matches!(error, StoreError::Taken { .. }), "{error}");
    store.revoke_key("a", 5).await.unwrap();
    store.create_key(full("b", "team")).await.unwrap();
}

pub(crate) async fn an_id_is_never_used_twice(place: Place) {
    let store = place.open().await;
    store.create_key(full("a", "one")).await.unwrap();
    store.revoke_key("a", 5).await.unwrap();
    let error = store.create_key(full("a", "two")).await.unwrap_err();
    assert!(matches!(error, StoreError::Taken { .. }), "{error}");
}

pub(crate) async fn a_change_touches_only_what_it_names(place: Place) {
    let store = place.open().await;
    let key = full("a", "one");
    store.create_key(key.clone()).await.unwrap();
    let change = KeyChange {
        name: Some("two".to_owned()),
        enabled: Some(false),
        ..KeyChange::default()
    };
    let expected = StoredKey {
        name: "two".to_owned(),
        enabled: false,
        ..stored(&key)
    };
    assert_eq!(store.update_key("a", change).await.unwrap(), expected);
    assert_eq!(store.key("a").await.unwrap(), Some(expected));
}

pub(crate) async fn a_change_can_clear_what_was_set(place: Place) {
    let store = place.open().await;
    let key = full("a", "one");
    store.create_key(key.clone()).await.unwrap();
    let change = KeyChange {
        channels: Some(None),
        models: Some(vec![]),
        ip_ranges: Some(vec![]),
        limits: Some(None),
        budget: Some(None),
        expires_at: Some(None),
        ..KeyChange::default()
    };
    let expected = StoredKey {
        channels: None,
        models: vec![],
        ip_ranges: vec![],
        limits: None,
        budget: None,
        expires_at: None,
        ..stored(&key)
    };
    assert_eq!(store.update_key("a", change).await.unwrap(), expected);
    assert_eq!(store.key("a").await.unwrap(), Some(expected));
}

pub(crate) async fn changing_an_unknown_or_revoked_key_says_so(place: Place) {
    let store = place.open().await;
    store.create_key(full("a", "one")).await.unwrap();
    store.revoke_key("a", 5).await.unwrap();
    let change = KeyChange::default;
    let unknown = |error| matches!(error, StoreError::NotFound { .. });
    let revoked = |error| matches!(error, StoreError::Revoked { .. });
    assert!(unknown(store.update_key("x", change()).await.unwrap_err()));
    assert!(unknown(store.revoke_key("x", 5).await.unwrap_err()));
    assert!(unknown(store.rotate_key("x", [1; 32], "", 5).await.unwrap_err()));
    assert!(revoked(store.update_key("a", change()).await.unwrap_err()));
    assert!(revoked(store.rotate_key("a", [1; 32], "", 5).await.unwrap_err()));
}

pub(crate) async fn a_revoked_key_stays_listed_and_is_never_usable(place: Place) {
    let store = place.open().await;
    store.create_key(full("a", "one")).await.unwrap();
    assert!(store.key("a").await.unwrap().unwrap().is_usable(1_999));
    assert!(
        !store.key("a").await.unwrap().unwrap().is_usable(2_000),
        "expired"
    );
    store.revoke_key("a", 1_500).await.unwrap();
    let keys = store.keys().await.unwrap();
    assert_eq!(keys[0].revoked_at, Some(1_500));
    assert!(!keys[0].is_usable(1_400));
}

pub(crate) async fn revoking_twice_keeps_the_first_time(place: Place) {
    let store = place.open().await;
    store.create_key(full("a", "one")).await.unwrap();
    store.revoke_key("a", 5).await.unwrap();
    store.revoke_key("a", 9).await.unwrap();
    assert_eq!(store.key("a").await.unwrap().unwrap().revoked_at, Some(5));
}

pub(crate) async fn rotation_replaces_the_hash_and_nothing_else(place: Place) {
    let store = place.open().await;
    let key = full("a", "one");
    store.create_key(key.clone()).await.unwrap();
    store.rotate_key("a", [9; 32], "sk-opm-…wxyz", 50).await.unwrap();
    let expected = StoredKey {
        mac: [9; 32],
        hint: "sk-opm-…wxyz".to_owned(),
        rotated_at: Some(50),
        ..stored(&key)
    };
    assert_eq!(store.key("a").await.unwrap(), Some(expected));
}

pub(crate) async fn last_use_only_moves_forward(place: Place) {
    let store = place.open().await;
    store.create_key(full("a", "one")).await.unwrap();
    store.create_key(full("b", "two")).await.unwrap();
    let used = |id: &str, at| (id.to_owned(), at);
    store
        .touch_keys(&[used("b", 7), used("a", 30), used("x", 1)])
        .await
        .unwrap();
    store.touch_keys(&[used("a", 20), used("b", 8)]).await.unwrap();
    store.touch_keys(&[]).await.unwrap();
    let last = |key: Option<StoredKey>| key.unwrap().last_used_at;
    assert_eq!(last(store.key("a").await.unwrap()), Some(30));
    assert_eq!(last(store.key("b").await.unwrap()), Some(8));
}

pub(crate) async fn hostile_text_is_only_text(place: Place) {
    let store = place.open().await;
    let text = "'; DROP TABLE opm_client_keys; -- $1 ? \" \\ \n 渠道 🦀";
    let key = NewKey {
        models: vec![text.to_owned()],
        ..full("a", text)
    };
    store.create_key(key.clone()).await.unwrap();
    assert_eq!(store.key("a").await.unwrap(), Some(stored(&key)));
    assert_eq!(store.key(text).await.unwrap(), None);
}

pub(crate) async fn fifty_keys_are_created_at_once(place: Place) {
    let store = place.open().await;
    let before = store.revision().await.unwrap();
    let tasks: Vec<_> = (0..50)
        .map(|number| {
            let store = store.clone();
            let name = format!("key{number}");
            tokio::spawn(async move { store.create_key(full(&name, &name)).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(store.keys().await.unwrap().len(), 50);
    assert_eq!(store.revision().await.unwrap(), before + 50);
}
