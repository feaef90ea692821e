//! What requests may use and what they have used: limits, prices, the ledger. Each request has an [`Account`].

pub(crate) mod account;
mod budget;
pub(crate) mod headers;
mod learned;
mod need;
mod past;
pub(crate) mod refused;
pub(crate) mod rules;
mod spendings;
mod spent;

use std::sync::Arc;

use opm_ledger::Ledger;
use opm_limits::Limiter;
use tokio::sync::Semaphore;

pub use budget::{BudgetOf, budgets_of};
pub use learned::Learned;
pub use past::{Past, Used};
pub use rules::RuleBook;
pub use spendings::Spendings;
pub use spent::Spent;

/// What all requests share.
#[derive(Clone)]
pub struct Metering {
    /// Counts against the limits.
    pub limiter: Limiter,
    /// Records every request; `None`: nothing is kept.
    pub ledger: Option<Ledger>,
    /// What the models have used so far.
    pub learned: Arc<Learned>,
    /// Answers that are read to their end although their client has left.
    pub drains: Arc<Semaphore>,
}

impl Metering {
    /// Counts in this process and records nothing.
    #[must_use]
    pub fn in_memory() -> Self {
        Metering {
            limiter: Limiter::memory(opm_limits::SUBJECTS_MAX),
            ledger: None,
            learned: Arc::default(),
            drains: drains(),
        }
    }
}

/// Places for answers without a client.
#[must_use]
pub fn drains() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(crate::abandoned::DRAINS))
}
