//! The trait that the rest of the gateway knows, and the way to one.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use crate::audit::AuditStore;
use crate::budget::BudgetStore;
use crate::channel::ChannelStore;
use crate::error::StoreError;
use crate::key::KeyStore;
use crate::location::Location;
use crate::route::RouteStore;
use crate::sql::SqlStore;
use crate::usage::UsageStore;

/// Everything that is kept. Its parts are by subject: [`KeyStore`], [`ChannelStore`], [`RouteStore`], [`AuditStore`],
/// [`UsageStore`], [`BudgetStore`].
///
/// Every method takes at most 10 seconds and then fails with [`StoreError::Late`]. A future that is dropped leaves either the whole
/// change or none of it.
#[async_trait]
pub trait Store:
    KeyStore + ChannelStore + RouteStore + AuditStore + UsageStore + BudgetStore + Debug + Send + Sync
{
    /// Grows with every change of keys, channels, channel states and routes, in the same transaction as the change. One cheap
    /// query, made for polling. Read it *before* the lists: a change in between is then seen at the next poll.
    async fn revision(&self) -> Result<u64, StoreError>;

    /// Remembers with which pepper and master key the store is used, by their ids, and refuses others while anything depends on
    /// the former ones: without this a lost pepper file would silently turn every client key into an unknown one.
    ///
    /// # Errors
    /// [`StoreError::OtherSecret`] if keys that are not revoked, or sealed provider keys, were made under another secret.
    async fn bind_secrets(&self, pepper_id: &str, master_id: &str) -> Result<(), StoreError>;

    /// Ends all connections. For SQLite this also folds the write-ahead log into the file.
    async fn close(&self);
}

/// Opens the store at `url`, creates what is missing and brings its tables up to date: `sqlite:./opm.db`, `sqlite:///var/lib/opm.db`,
/// `sqlite::memory:` (gone at the end, one process only), `postgres://user:password@host/database`.
///
/// # Errors
/// [`StoreError`]: not such a URL; not reachable; made by a newer version.
pub async fn open(url: &str) -> Result<Arc<dyn Store>, StoreError> {
    let store = SqlStore::open(&Location::parse(url)?).await?;
    Ok(Arc::new(store))
}
