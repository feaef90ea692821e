//! The audit log.

use opm_store::AuditEntry;

use crate::place::Place;

fn entry(at: i64) -> AuditEntry {
    AuditEntry {
        at,
        actor: "admin".to_owned(),
        action: "key.create".to_owned(),
        object: "id000001".to_owned(),
        detail: String::new(),
    }
}

pub(crate) async fn entries_come_newest_first_in_pages(place: Place) {
    let store = place.open().await;
    for at in 1..=5 {
        store.audit(entry(at)).await.unwrap();
    }
    let first = store.audits(2, None).await.unwrap();
    let entries: Vec<_> = first.iter().map(|record| record.entry.clone()).collect();
    assert_eq!(entries, [entry(5), entry(4)]);
    let next = store.audits(10, Some(first[1].id)).await.unwrap();
    let times: Vec<_> = next.iter().map(|record| record.entry.at).collect();
    assert_eq!(times, [3, 2, 1]);
    assert!(store.audits(10, Some(next[2].id)).await.unwrap().is_empty());
}
