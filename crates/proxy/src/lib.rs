//! The life of a request on Pingora (ARCHITECTURE.md): accept, recognize, authenticate, route, then attempts until one commits.
//!
//! One straight function per stage. [`net`] is the only place that names Pingora; [`gateway`] reads like the picture.

mod attempt;
mod body;
pub mod gateway;
pub mod net;
mod outgoing;
mod pump;
mod reply;
pub mod snapshot;
pub mod stage;

pub use gateway::Gateway;
pub use snapshot::Snapshot;
