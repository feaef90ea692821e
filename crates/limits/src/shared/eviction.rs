//! A store that drops keys when its memory is full forgets limits and budgets one by one, and nobody notices.

use redis::aio::MultiplexedConnection;
use redis::cmd;

/// Warns if the store may do that. Who may not ask it for its settings is not warned.
pub(super) async fn check(mut line: MultiplexedConnection) {
    let info: Result<String, _> = cmd("INFO").arg("memory").query_async(&mut line).await;
    if let Some(policy) = info.as_deref().ok().and_then(evicts) {
        tracing::warn!(
            policy,
            "the shared store of limits drops keys when its memory is full: limits and budgets would begin anew without a word; set its `maxmemory-policy` to noeviction"
        );
    }
}

/// The policy by which a store drops keys, out of `INFO memory`; `None`: it drops none, or has no bound.
fn evicts(info: &str) -> Option<&str> {
    let value = |name: &str| {
        let mut lines = info.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
    };
    let is_bounded = value("maxmemory")?.trim() != "0";
    let policy = value("maxmemory_policy")?.trim();
    Some(policy).filter(|policy| is_bounded && *policy != "noeviction")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bounded_store_that_drops_keys_is_told_of() {
        let info = |bound: &str, policy: &str| {
            format!(
                "# Memory\r\nused_memory:1\r\nmaxmemory:{bound}\r\nmaxmemory_human:x\r\nmaxmemory_policy:{policy}\r\n"
            )
        };
        assert_eq!(evicts(&info("1000", "volatile-lru")), Some("volatile-lru"));
        assert_eq!(evicts(&info("1000", "noeviction")), None);
        assert_eq!(evicts(&info("0", "allkeys-lru")), None);
        assert_eq!(evicts(""), None);
    }
}
