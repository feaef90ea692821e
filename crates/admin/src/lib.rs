//! The admin API: an axum router without a server, driven by the gateway's admin listener.
//!
//! Start reading at [`control`]: what the API needs of the running gateway.

pub mod control;

pub use control::Control;
