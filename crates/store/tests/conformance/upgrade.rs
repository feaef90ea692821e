//! Stores that another version of this program left behind.

use opm_store::{Billed, StoreError, UsageSource};

use crate::place::Place;

/// A version of the tables as it was released, and rows that such a version wrote.
struct Older {
    name: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
    rows: &'static str,
}

macro_rules! older {
    ($name:literal) => {
        Older {
            name: $name,
            sqlite: include_str!(concat!("../../migrations/sqlite/", $name, ".sql")),
            postgres: include_str!(concat!("../../migrations/postgres/", $name, ".sql")),
            rows: include_str!(concat!("older/", $name, ".sql")),
        }
    };
}

/// Every version; the rows of all earlier ones are kept as the tables move on.
const OLDER: &[Older] = &[
    older!("0001_keys_channels_routes_audit"),
    older!("0002_usage"),
    older!("0003_requests"),
];

const TABLE: &str =
    "CREATE TABLE IF NOT EXISTS opm_migrations (version BIGINT PRIMARY KEY, name TEXT NOT NULL);";

/// Makes the tables as version `version` had them, each with its rows.
async fn make(place: &Place, version: usize) {
    place.script(TABLE, TABLE).await;
    for (number, older) in (1..=version).zip(OLDER) {
        place.script(older.sqlite, older.postgres).await;
        place.script(older.rows, older.rows).await;
        let applied = format!("INSERT INTO opm_migrations VALUES ({number}, '{}');", older.name);
        place.script(&applied, &applied).await;
    }
}

pub(crate) async fn tables_of_every_older_version_are_brought_up_to_date(place: Place) {
    for version in 1..=OLDER.len() {
        let place = place.sibling(version).await;
        make(&place, version).await;
        let store = place.open().await;
        let keys = store.keys().await.unwrap();
        assert_eq!(keys.len(), 1);
        assert_eq!(
            (keys[0].name.as_str(), keys[0].mac),
            ("from version 1", [0xab; 32])
        );
        assert_eq!(store.revision().await.unwrap(), 42);
        assert_eq!(store.channels().await.unwrap()[0].provider_keys.len(), 1);
        assert_eq!(store.audits(10, None).await.unwrap().len(), 1);
        let attempts = store.attempts("req_old").await.unwrap();
        assert_eq!(attempts.len(), usize::from(version >= 2));
        if let [attempt] = &attempts[..] {
            let found = (attempt.started_ms, attempt.billed, attempt.source);
            assert_eq!(found, (995, Billed::Yes, UsageSource::Reported));
            assert_eq!(attempt.upstream_format, "".into());
        }
        assert_eq!(
            store.attempts("req_3").await.unwrap().len(),
            usize::from(version >= 3)
        );
        // A second start finds nothing to do.
        store.close().await;
        assert_eq!(place.open().await.keys().await.unwrap(), keys);
    }
}

pub(crate) async fn tables_of_a_newer_version_are_refused(place: Place) {
    place.open().await.close().await;
    let newer = "INSERT INTO opm_migrations VALUES (9999, 'from the future');";
    place.script(newer, newer).await;
    let error = opm_store::open(&place.url).await.unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 9999, .. }), "{error}");
}
