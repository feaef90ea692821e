//! The life of a request on Pingora (ARCHITECTURE.md): accept, recognize, authenticate, route, then attempts until one commits.
//!
//! One straight function per stage. [`net`] is the only place that names Pingora; [`gateway`] reads like the picture.

mod abandoned;
mod answer;
mod attempt;
mod body;
mod counting;
mod dispatch;
mod endpoint;
mod finished;
pub mod gateway;
mod headers;
pub mod history;
pub mod last_used;
mod listing;
pub mod metering;
pub mod net;
mod outgoing;
pub mod probe;
mod pump;
mod record;
mod refusal;
mod reply;
pub mod snapshot;
pub mod stage;
mod trace;
mod waiting;

pub use gateway::{Gateway, Parts};
pub use metering::Metering;
pub use snapshot::Snapshot;
