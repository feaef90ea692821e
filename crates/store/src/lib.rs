//! What the gateway keeps: client keys, channels and routes made at run time, the audit log, usage and budgets.
//!
//! [`Store`] is a trait of domain methods; [`open`] gives the one for a URL: SQLite, embedded and the default, or Postgres for several
//! gateways. The SQL text is shared (both take `$1`), the values are whole numbers, texts and bytes, and what differs between the
//! two sits in `sql/sqlite.rs`, `sql/postgres.rs` and the migrations. One conformance suite holds for all of them.
//!
//! It is *not* on the path of a request: gateways keep a snapshot in memory, poll [`Store::revision`] and read again when it has
//! grown. It reads no clock and no environment; times are arguments in Unix seconds.
//!
//! Invariants: a client key is stored only as a keyed hash and a provider key only sealed (`vault.rs`); the pepper and the
//! master key never lie in the store; every query is a constant text, so nothing a client sent can become SQL; a write that
//! gateways must see and the growth of the revision are one transaction.
//!
//! Start reading at `store.rs`, then `sql.rs`.

mod attempt;
mod audit;
mod budget;
mod channel;
mod error;
mod key;
mod ledger;
mod line;
mod location;
mod material;
mod request;
mod route;
mod secret_file;
mod sql;
mod store;
mod usage;
mod used;
mod vault;

pub use attempt::{AttemptOutcome, Billed, UsageRow, UsageSource};
pub use audit::{AuditEntry, AuditRecord, AuditStore};
pub use budget::{BudgetPeriod, BudgetSpent, BudgetStore};
pub use channel::{ChannelState, ChannelStore, StoredChannel};
pub use error::StoreError;
pub use key::{KeyChange, KeyStore, NewKey, StoredKey};
pub use location::Location;
pub use material::{MaterialError, Pepper, Purpose, StoreSecrets, admin_token, random};
pub use request::{NoCursor, Page, RequestQuery, RowCursor};
pub use route::RouteStore;
pub use store::{Store, open};
pub use usage::{Retention, UsageBy, UsageGroup, UsageQuery, UsageStore, UsageSums, Width};
pub use used::{Used, UsedFrom, UsedQuery};
pub use vault::{SealedSecret, Vault, VaultError};
