//! The audit log in SQL.

use async_trait::async_trait;

use super::SqlStore;
use super::session::Row;
use crate::audit::{AuditEntry, AuditRecord, AuditStore};
use crate::error::StoreError;

const ADD: &str = "INSERT INTO opm_audit (at, actor, action, object, detail) VALUES ($1, $2, $3, $4, $5)";
const LIST: &str =
    "SELECT id, at, actor, action, object, detail FROM opm_audit WHERE id < $1 ORDER BY id DESC LIMIT $2";

#[async_trait]
impl AuditStore for SqlStore {
    async fn audit(&self, entry: AuditEntry) -> Result<(), StoreError> {
        let mut change = self.record("writing to the audit log").await?;
        let values = [
            entry.at.into(),
            (&entry.actor).into(),
            (&entry.action).into(),
            (&entry.object).into(),
            (&entry.detail).into(),
        ];
        change.execute(ADD, &values).await?;
        change.commit().await
    }

    async fn audits(&self, limit: u32, before: Option<i64>) -> Result<Vec<AuditRecord>, StoreError> {
        let values = [before.unwrap_or(i64::MAX).into(), i64::from(limit).into()];
        let rows = self.rows("reading the audit log", LIST, &values).await?;
        rows.iter().map(read).collect()
    }
}

fn read(row: &Row) -> Result<AuditRecord, StoreError> {
    Ok(AuditRecord {
        id: row.get("id")?,
        entry: AuditEntry {
            at: row.get("at")?,
            actor: row.get("actor")?,
            action: row.get("action")?,
            object: row.get("object")?,
            detail: row.get("detail")?,
        },
    })
}
