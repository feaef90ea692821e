//! The admin API: an axum router without a server, driven by the gateway's admin listener.
//!
//! A request passes `guard.rs` (who is it, may it change anything), then its handler in `endpoint/`. Bodies are read by `body.rs`,
//! which never repeats a value in an error: it may be a secret. What both the API and the command line do with client keys stands
//! in [`keys`], what both say of usage in [`usage`]. Start reading at [`control`]: what the API needs of the running gateway.
//!
//! Invariants: without a credential nothing is said about anything, not even about what exists; a client key is shown once, when it is
//! made; a provider key never; every change stands in the audit log.

mod attempts;
pub mod audit;
mod body;
pub mod control;
mod endpoint;
mod guard;
pub mod keys;
mod object;
mod refusal;
mod router;
mod session;
pub mod usage;

pub use control::Control;
pub use endpoint::view;
pub use refusal::{ErrorBody, ErrorView};
pub use router::{Api, Clock, document, router};
