//! Writes the audit log.

use opm_store::{AuditEntry, Store, StoreError};
use serde::Serialize;

use crate::object::json;

/// What was done to what; `detail` names no secret.
///
/// # Errors
/// [`StoreError`].
pub async fn record(
    store: &dyn Store,
    now: i64,
    actor: &str,
    (action, object): (&str, &str),
    detail: &(impl Serialize + Sync),
) -> Result<(), StoreError> {
    let entry = AuditEntry {
        at: now,
        actor: actor.to_owned(),
        action: action.to_owned(),
        object: object.to_owned(),
        detail: json(detail),
    };
    store.audit(entry).await
}
