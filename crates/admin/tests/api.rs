//! The admin API, driven through its router with a fake gateway and a store in memory.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests may"
)]

#[path = "api/access.rs"]
mod access;
#[path = "api/channels.rs"]
mod channels;
#[path = "api/fake.rs"]
mod fake;
#[path = "api/gateway.rs"]
mod gateway;
#[path = "api/keys.rs"]
mod keys;
#[path = "api/session.rs"]
mod session;
#[path = "api/usage.rs"]
mod usage;
