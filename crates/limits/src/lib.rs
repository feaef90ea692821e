//! Limits that are never exceeded: sliding windows, concurrency, budgets; in one process or across many.
//!
//! *Reserve* before the call, *settle* with the provider's usage, *release* on every other exit. All dimensions of a
//! request are decided in one step: it is charged everywhere or nowhere.
//!
//! Invariants, each held by a test:
//! - The sum over any trailing window, by the time of admission, never exceeds the limit in [`Mode::Strict`]
//!   ([`Window`] says how).
//! - A [`Reservation`] ends in exactly one way; being dropped is one.
//! - Memory is bounded: subjects are 128-bit hashes, their number is capped, a refused request stores nothing.
//! - A shared store that hangs costs a request its timeout once; then the rules' [`OnFailure`] decides.
//!
//! What is promised of a shared store that fails, and what is not:
//! - Frozen or dead for all: instances admit their share of what is free; their sum stays within the limit. What others
//!   used an instance knows from its own questions and from the heartbeats, which are a tenth of a second apart: what they
//!   admitted of a subject since then, less an eighth of the limit, may be admitted again, once.
//!   With more than 200,000 subjects in use, one that an instance has not heard of counts as used but for an eighth.
//! - Unreachable for one instance only: the others do not know, and the one may add its share (1/n) to the limit.
//! - Emptied (`FLUSHALL`, a restart without persistence): the next call of each instance notices by the *generation*
//!   key. For a second, or until all have told their parts, they decide alone; nobody starts from zero. Lost are the parts
//!   of instances that have ended meanwhile, until they are started again; of budgets that instances have one ledger of
//!   ([`Spender::Each`]) others tell them. Redis must not evict (`maxmemory-policy noeviction`).
//! - Taken back to older data (a snapshot that is loaded after a crash, a replica that lagged): noticed by the count of its calls, of
//!   which an instance that was there knows more, and treated as emptied. An instance that was down too notes the count every ten
//!   seconds ([`SharedSettings::memory`]).
//! - Started while the store is away: it knows what it admitted before ([`Limiter::restore`]), and nothing of others but their
//!   number ([`SharedSettings::instances`]). Until the store has told its time, its own clock
//!   counts; what it admitted by that is moved then to when it was.
//! - Thawed after a freeze: calls it had received are charged late and given back; those older than 30 s age out.
//! - An instance that dies: its windows age out, its running requests after 60 s, its unsettled budgets stay charged.
//!
//! The decision part ([`Window`], [`Ring`], [`Rule`], [`Period`]) is pure: time is an argument, milliseconds since the
//! epoch. Only the shared store has a clock, the server's; the callers' clocks do not matter to it. Start reading at
//! [`Limiter`].

mod charge;
mod grant;
mod heard;
mod limiter;
mod meter;
mod outage;
mod period;
mod reservation;
mod ring;
mod rule;
mod shard;
mod share;
mod shared;
mod subject;
mod table;
mod window;

pub use charge::{Cause, Charge, Refused, Standing};
pub use limiter::{Health, Limiter, SUBJECTS_MAX, Spender};
pub use period::{Bounds, Every, Period};
pub use reservation::{Actual, Reservation};
pub use ring::Ring;
pub use rule::{AtLimit, Dimension, Mode, OnFailure, Over, Rule, RuleProblem};
pub use shared::{SharedProblem, SharedSettings};
pub use subject::{SubjectKind, SubjectKinds, Subjects};
pub use window::{SLOTS, Window};
