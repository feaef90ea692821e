//! Which pepper and master key the store is used with.

use super::SqlStore;
use super::session::Change;
use crate::error::StoreError;

/// A secret outside the store that things in it depend on.
struct Binding {
    secret: &'static str,
    what: &'static str,
    otherwise: &'static str,
    /// Counts what depends on any secret but `$1`.
    dependents: &'static str,
}

const PEPPER: Binding = Binding {
    secret: "pepper",
    what: "every client key of the store",
    otherwise: "revoke them all and start again",
    // `$1` is not needed: keys do not say under which pepper they were hashed.
    dependents: "SELECT COUNT(*) AS dependents FROM opm_client_keys WHERE revoked_at IS NULL AND $1 IS NOT NULL",
};

const MASTER: Binding = Binding {
    secret: "master key",
    what: "a provider key of the store",
    otherwise: "delete the channels made at run time and create them again",
    dependents: "SELECT COUNT(*) AS dependents FROM opm_provider_keys WHERE master_id <> $1",
};

const READ: &str = "SELECT secret_id FROM opm_bindings WHERE secret = $1";
const WRITE: &str = "INSERT INTO opm_bindings (secret, secret_id) VALUES ($1, $2) \
     ON CONFLICT (secret) DO UPDATE SET secret_id = excluded.secret_id";

pub(super) async fn bind(store: &SqlStore, pepper_id: &str, master_id: &str) -> Result<(), StoreError> {
    let mut change = store
        .record("checking the pepper and the master key against the store")
        .await?;
    one(&mut change, &PEPPER, pepper_id).await?;
    one(&mut change, &MASTER, master_id).await?;
    change.commit().await
}

async fn one(change: &mut Change, binding: &Binding, id: &str) -> Result<(), StoreError> {
    let rows = change.rows(READ, &[binding.secret.into()]).await?;
    let former: Option<String> = match rows.first() {
        Some(row) => Some(row.get("secret_id")?),
        None => None,
    };
    match former {
        Some(former) if former == id => return Ok(()),
        Some(former) if dependents(change, binding, id).await? > 0 => {
            return Err(StoreError::OtherSecret {
                what: binding.what,
                secret: binding.secret,
                expected: former,
                given: id.to_owned(),
                otherwise: binding.otherwise,
            });
        }
        Some(_) | None => {}
    }
    change.execute(WRITE, &[binding.secret.into(), id.into()]).await?;
    Ok(())
}

async fn dependents(change: &mut Change, binding: &Binding, id: &str) -> Result<i64, StoreError> {
    let rows = change.rows(binding.dependents, &[id.into()]).await?;
    rows.first().map_or(Ok(0), |row| row.get("dependents"))
}
