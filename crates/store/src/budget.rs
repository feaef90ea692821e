//! What was spent of budgets.

use async_trait::async_trait;

use crate::error::StoreError;

/// One period of one budget.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BudgetPeriod {
    /// Whose: `key:<id>`, `user:<key id>/<user>` … chosen by the limits.
    pub subject: String,
    /// Unix seconds at which the period began.
    pub start: i64,
}

/// What was spent in a period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetSpent {
    /// The period.
    pub period: BudgetPeriod,
    /// In 10^-12 US dollars.
    pub pico_usd: i64,
}

/// Reads budgets. They are written with the usage that spends them: [`crate::UsageStore::record_usage`].
#[async_trait]
pub trait BudgetStore {
    /// What was spent in one period.
    async fn spent(&self, period: &BudgetPeriod) -> Result<i64, StoreError>;

    /// All periods that began at `since` (Unix seconds) or later, by subject and start: what a gateway reads at its start.
    async fn budgets(&self, since: i64) -> Result<Vec<BudgetSpent>, StoreError>;
}
