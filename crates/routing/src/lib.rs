//! Which channel serves a request, and what follows when one fails: decisions without clock, I/O or randomness of their own.
//!
//! Start reading at [`plan`] (who may serve, in which order) and [`verdict`] (what follows a failed attempt). [`Live`] is what is known
//! of the channels beside their configuration; its methods take the time as an argument.

mod affinity;
mod breaker;
mod credential;
mod latency;
mod live;
mod models;
mod plan;
mod provider_keys;
mod retry;
mod rotation;
mod strategy;

#[cfg(test)]
mod tests;

pub use affinity::Affinity;
pub use breaker::{Admitted, Breaker, Millis, Standing};
pub use credential::{Mismatch, check_credential, provider_of};
pub use latency::PeakEwma;
pub use live::{ChannelLive, Live, UnderWay};
pub use models::served_models;
pub use plan::{Candidate, NoRoute, Offer, Plan, Skip, Wanted, World, plan};
pub use provider_keys::{Parked, ProviderKeys};
pub use retry::{Again, Counted, RetryBudget, Stage, Verdict, verdict};
pub use rotation::Rotation;
