//! Budgets in SQL; they are written in `usage.rs`.

use async_trait::async_trait;

use super::SqlStore;
use super::session::Row;
use crate::budget::{BudgetPeriod, BudgetSpent, BudgetStore};
use crate::error::StoreError;

const ONE: &str = "SELECT spent_pico_usd FROM opm_budgets WHERE subject = $1 AND period_start = $2";
const SINCE: &str = "SELECT subject, period_start, spent_pico_usd FROM opm_budgets WHERE period_start >= $1";

#[async_trait]
impl BudgetStore for SqlStore {
    async fn spent(&self, period: &BudgetPeriod) -> Result<i64, StoreError> {
        let values = [(&period.subject).into(), period.start.into()];
        let row = self.row("reading a budget", ONE, &values).await?;
        row.map_or(Ok(0), |row| row.get("spent_pico_usd"))
    }

    async fn budgets(&self, since: i64) -> Result<Vec<BudgetSpent>, StoreError> {
        let rows = self.rows("reading the budgets", SINCE, &[since.into()]).await?;
        let budgets: Result<Vec<_>, _> = rows.iter().map(read).collect();
        let mut budgets = budgets?;
        // Sorted here: databases differ in how they order text.
        budgets.sort_by(|one, other| one.period.cmp(&other.period));
        Ok(budgets)
    }
}

fn read(row: &Row) -> Result<BudgetSpent, StoreError> {
    Ok(BudgetSpent {
        period: BudgetPeriod {
            subject: row.get("subject")?,
            start: row.get("period_start")?,
        },
        pico_usd: row.get("spent_pico_usd")?,
    })
}
