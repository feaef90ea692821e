//! The revision, and several handles on one store.

use std::time::Duration;

use opm_store::{AuditEntry, ChannelState, KeyChange};
use tokio::time::timeout;

use crate::channels::{channel, vault};
use crate::keys::full;
use crate::place::Place;

pub(crate) async fn the_revision_grows_with_every_change_that_gateways_must_see(place: Place) {
    let store = place.open().await;
    let mut last = store.revision().await.unwrap();
    macro_rules! grows {
        ($($call:ident($($argument:expr),*))*) => {$(
            store.$call($($argument),*).await.unwrap();
            let now = store.revision().await.unwrap();
            assert!(now > last, stringify!($call));
            last = now;
        )*};
    }
    grows! {
        create_key(full("a", "one"))
        update_key("a", KeyChange::default())
        rotate_key("a", [1; 32], "", 5)
        revoke_key("a", 5)
        put_channel(channel(&vault(), "openai", &[]))
        set_channel_state("openai", ChannelState::Draining)
        delete_channel("openai")
        put_routes("{}")
        delete_routes()
    }
    assert_eq!(store.revision().await.unwrap(), last);
}

pub(crate) async fn the_revision_stays_for_what_changes_nothing(place: Place) {
    let store = place.open().await;
    store.create_key(full("a", "one")).await.unwrap();
    store.revoke_key("a", 5).await.unwrap();
    let before = store.revision().await.unwrap();
    store.touch_keys(&[("a".to_owned(), 7)]).await.unwrap();
    store.revoke_key("a", 9).await.unwrap();
    store.delete_routes().await.unwrap();
    store.bind_secrets("p", "m").await.unwrap();
    let entry = AuditEntry {
        at: 1,
        actor: "cli".to_owned(),
        action: "key.revoke".to_owned(),
        object: "a".to_owned(),
        detail: String::new(),
    };
    store.audit(entry).await.unwrap();
    assert_eq!(store.revision().await.unwrap(), before);
}

pub(crate) async fn a_refused_change_leaves_no_trace(place: Place) {
    let store = place.open().await;
    store.create_key(full("a", "one")).await.unwrap();
    let before = (store.revision().await.unwrap(), store.keys().await.unwrap());
    store.create_key(full("b", "one")).await.unwrap_err();
    store.rotate_key("x", [1; 32], "", 5).await.unwrap_err();
    store.delete_channel("x").await.unwrap_err();
    assert_eq!(
        (store.revision().await.unwrap(), store.keys().await.unwrap()),
        before
    );
}

pub(crate) async fn a_change_of_one_handle_is_seen_by_the_other(place: Place) {
    let (gateway, command) = (place.open().await, place.open().await);
    let seen = gateway.revision().await.unwrap();
    command.create_key(full("a", "one")).await.unwrap();
    assert!(gateway.revision().await.unwrap() > seen);
    assert_eq!(gateway.keys().await.unwrap(), command.keys().await.unwrap());
}

pub(crate) async fn a_revocation_is_seen_by_the_other_handle(place: Place) {
    let (gateway, command) = (place.open().await, place.open().await);
    gateway.create_key(full("a", "one")).await.unwrap();
    let seen = gateway.revision().await.unwrap();
    command.revoke_key("a", 5).await.unwrap();
    command.close().await;
    assert!(gateway.revision().await.unwrap() > seen);
    assert!(!gateway.key("a").await.unwrap().unwrap().is_usable(1));
}

pub(crate) async fn two_handles_create_fifty_keys_at_once(place: Place) {
    let handles = [place.open().await, place.open().await];
    let before = handles[0].revision().await.unwrap();
    let tasks: Vec<_> = (0..50)
        .map(|number| {
            let store = handles[number % 2].clone();
            let name = format!("key{number}");
            tokio::spawn(async move { store.create_key(full(&name, &name)).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    for store in handles {
        assert_eq!(store.keys().await.unwrap().len(), 50);
        assert_eq!(store.revision().await.unwrap(), before + 50);
    }
}

pub(crate) async fn many_first_starts_do_not_race(place: Place) {
    let starts: Vec<_> = (0..12)
        .map(|_| {
            let url = place.url.clone();
            tokio::spawn(async move { opm_store::open(&url).await })
        })
        .collect();
    for start in starts {
        let store = start.await.unwrap().unwrap();
        assert!(store.revision().await.unwrap() > 0);
    }
}

pub(crate) async fn a_dropped_call_leaves_the_whole_change_or_none(place: Place) {
    let store = place.open().await;
    let before = store.revision().await.unwrap();
    for number in 0..60 {
        let name = format!("key{number}");
        // Dropped wherever it is by then: waiting for the connection, beginning, writing, committing.
        let limit = Duration::from_micros(50 * number);
        drop(timeout(limit, store.create_key(full(&name, &name))).await);
    }
    store.create_key(full("last", "last")).await.unwrap();
    let created = store.keys().await.unwrap().len() as u64;
    assert_eq!(store.revision().await.unwrap(), before + created);
}
