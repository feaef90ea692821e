//! Who changed what, and when.

use async_trait::async_trait;

use crate::error::StoreError;

/// One act of an operator. Never holds a secret: the caller writes names, ids and hints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Unix seconds.
    pub at: i64,
    /// Who: `admin`, `cli`, an admin token's name.
    pub actor: String,
    /// What was done: `key.create`, `channel.disable` …
    pub action: String,
    /// To what: an id or a name.
    pub object: String,
    /// JSON text or empty.
    pub detail: String,
}

/// An entry with its place in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRecord {
    /// Grows with every entry.
    pub id: i64,
    /// What happened.
    pub entry: AuditEntry,
}

/// Keeps the audit log, which only grows. Does not touch the revision.
#[async_trait]
pub trait AuditStore {
    /// Adds an entry.
    async fn audit(&self, entry: AuditEntry) -> Result<(), StoreError>;

    /// At most `limit` entries, newest first; with `before` only those with a smaller id, which gives the next page.
    async fn audits(&self, limit: u32, before: Option<i64>) -> Result<Vec<AuditRecord>, StoreError>;
}
