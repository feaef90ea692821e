//! What every crate of the gateway shares: secrets that cannot be printed, client keys, names of users, and request ids. No I/O, no
//! clock, no async.

mod base62;
pub mod client_key;
mod request_id;
mod secret;
mod user;

pub use ai_api_converter::{Format, ServiceTier, Usage};
pub use client_key::ClientKey;
pub use request_id::RequestId;
pub use secret::{Secret, digest, hint};
pub use user::user_name;
