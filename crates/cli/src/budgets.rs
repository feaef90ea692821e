//! What the store knows of budgets, brought to the limiter: at the start, when budgets come into force, and when a shared store of limits
//! has to be told again.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use opm_config::Config;
use opm_ledger::unix_ms;
use opm_limits::Limiter;
use opm_proxy::Snapshot;
use opm_proxy::metering::{BudgetOf, Spendings};
use opm_store::StoreError;
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::live::Kept;

/// Budgets last a month at most; what began before is over.
const SINCE: i64 = 40 * 86_400;
/// How often a start asks the store, and how long it waits in between.
pub(crate) const TRIES: u32 = 3;
const AGAIN: Duration = Duration::from_secs(1);
/// How often it is looked whether the configuration has others.
const LOOK: Duration = Duration::from_millis(500);

/// Instances share a Postgres; a file is an instance's own.
pub(crate) fn has_common_store(config: &Config) -> bool {
    let url = config.storage.as_deref();
    url.is_some_and(|url| url.starts_with("postgres"))
}

/// Tells a limiter what the store knows.
pub(crate) fn tell(spendings: &Spendings, snapshot: &Snapshot, limiter: &Limiter) {
    if has_common_store(&snapshot.config) {
        spendings.tell_all(snapshot, limiter, unix_ms());
    } else {
        spendings.tell_own(snapshot, limiter, unix_ms());
    }
}

/// What the store knows of budgets, after so many tries at most.
pub(crate) async fn spendings(kept: &Kept, tries: u32) -> Result<Spendings, StoreError> {
    let since = i64::try_from(unix_ms() / 1000).unwrap_or(i64::MAX) - SINCE;
    let mut left = tries;
    let known = loop {
        match kept.store.budgets(since).await {
            Ok(known) => break known,
            Err(error) if left <= 1 => return Err(error),
            Err(error) if left == tries => {
                tracing::error!("what was spent of budgets cannot be read: {error}; it is tried again");
            }
            Err(_) => {}
        }
        left -= 1;
        sleep(AGAIN).await;
    };
    Ok(Spendings::new(known.into_iter().map(|known| {
        let of = BudgetOf {
            subject: known.period.subject,
            start: known.period.start,
        };
        (of, u64::try_from(known.pico_usd).unwrap_or(0))
    })))
}

/// Reads again what the store knows, and tells it.
async fn tell_again(limiter: &Limiter, kept: &Kept, snapshot: &ArcSwap<Snapshot>) {
    if snapshot.load().rules.has_budgets()
        && let Ok(spendings) = spendings(kept, u32::MAX).await
    {
        tell(&spendings, &snapshot.load(), limiter);
    }
}

/// Whenever an instance has ended, or the shared store of limits has lost its data, tells it what the common store knows.
pub(crate) async fn recall(limiter: Limiter, kept: Kept, snapshot: Arc<ArcSwap<Snapshot>>) {
    loop {
        let since = limiter.stale().await;
        tell_again(&limiter, &kept, &snapshot).await;
        limiter.recalled(since);
    }
}

/// Whenever a process that has gone was taken over, as after an upgrade, tells the limiter what the store knows: that one spent on.
pub(crate) async fn inherit(
    limiter: Limiter,
    kept: Kept,
    snapshot: Arc<ArcSwap<Snapshot>>,
    inherited: Arc<Notify>,
) {
    loop {
        inherited.notified().await;
        limiter.inherited();
        tell_again(&limiter, &kept, &snapshot).await;
    }
}

/// Budgets that come into force while the gateway runs: they may have been in force before it was started.
pub(crate) async fn follow(limiter: Limiter, kept: Kept, snapshot: Arc<ArcSwap<Snapshot>>) {
    let mut last = snapshot.load_full();
    let mut known: HashSet<String> = last.rules.budgets().collect();
    loop {
        sleep(LOOK).await;
        let now = snapshot.load_full();
        if Arc::ptr_eq(&now, &last) {
            continue;
        }
        let new: Vec<String> = now.rules.budgets().filter(|name| !known.contains(name)).collect();
        if !new.is_empty() {
            tell_again(&limiter, &kept, &snapshot).await;
        }
        known.extend(new);
        last = now;
    }
}
