//! Which channel serves a request: a pure function of the configuration, the caller, the model and chance.
//!
//! No clock, no I/O, no randomness except as arguments.

mod credential;
mod route;

pub use credential::{Mismatch, check_credential, provider_of};
pub use route::{Candidate, NoRoute, Wanted, route, served_models};
