//! A budget for the request bodies that are held in memory, over all requests (reliability.md section 4).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The budget is never smaller, bytes: two bodies of the largest size fit.
const LEAST: usize = 64 << 20;
/// A quarter of the memory that the process may use.
const SHARE: usize = 4;

/// Bytes that the bodies of all requests may hold together. Cheap to clone.
#[derive(Clone, Debug)]
pub struct BodyBudget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limit: usize,
    used: AtomicUsize,
}

/// The budget is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl BodyBudget {
    /// So many bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        BodyBudget(Arc::new(Inner {
            limit,
            used: AtomicUsize::new(0),
        }))
    }

    /// A quarter of what the process may use: of its control group, of its address space or of the machine, whichever is least;
    /// at least 64 MiB.
    #[must_use]
    pub fn of_memory() -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let group = read("/proc/self/cgroup")
            .lines()
            .find_map(|line| line.strip_prefix("0::").map(str::to_owned));
        let group = group.unwrap_or_default();
        let limits = [
            number(&read(&format!("/sys/fs/cgroup{group}/memory.max"))),
            number(&read("/sys/fs/cgroup/memory.max")),
            number(&read("/sys/fs/cgroup/memory/memory.limit_in_bytes")),
            address_space(&read("/proc/self/limits")),
            machine(&read("/proc/meminfo")),
        ];
        let memory = limits.into_iter().flatten().min().unwrap_or_default();
        BodyBudget::new((memory / SHARE).max(LEAST))
    }

    /// A share of the budget, empty at first.
    #[must_use]
    pub fn share(&self) -> Share {
        Share {
            budget: self.clone(),
            held: 0,
        }
    }

    /// Bytes in use.
    #[must_use]
    pub fn used(&self) -> usize {
        self.0.used.load(Ordering::Relaxed)
    }
}

/// What one request holds of the budget; given back when it is dropped.
#[derive(Debug)]
pub struct Share {
    budget: BodyBudget,
    held: usize,
}

impl Share {
    /// Holds so many bytes from now on, if they are more than before.
    ///
    /// # Errors
    /// The budget does not have them.
    pub fn grow_to(&mut self, bytes: usize) -> Result<(), Full> {
        let more = bytes.saturating_sub(self.held);
        if more == 0 {
            return Ok(());
        }
        let Inner { limit, used } = &*self.budget.0;
        let fits = |used: usize| used.checked_add(more).filter(|sum| sum <= limit);
        used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
            .map_err(|_| Full)?;
        self.held = bytes;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.0.used.fetch_sub(self.held, Ordering::Relaxed);
    }
}

/// `max` means no limit.
fn number(text: &str) -> Option<usize> {
    text.trim().parse().ok()
}

fn address_space(limits: &str) -> Option<usize> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max address space"))?;
    number(line.split_whitespace().next()?)
}

fn machine(meminfo: &str) -> Option<usize> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    number(line.trim().strip_suffix("kB")?).map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_bounded_together_and_given_back() {
        let budget = BodyBudget::new(100);
        let (mut one, mut two) = (budget.share(), budget.share());
        assert_eq!(one.grow_to(60), Ok(()));
        assert_eq!(two.grow_to(41), Err(Full));
        assert_eq!(two.grow_to(40), Ok(()));
        assert_eq!(one.grow_to(50), Ok(()), "less than before is free");
        assert_eq!(budget.used(), 100);
        drop(one);
        assert_eq!(two.grow_to(usize::MAX), Err(Full));
        assert_eq!(two.grow_to(100), Ok(()));
        drop(two);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn memory_limits_are_read_as_the_kernel_writes_them() {
        assert_eq!(number("max\n"), None);
        assert_eq!(number("1073741824\n"), Some(1 << 30));
        assert_eq!(machine("MemFree: 1 kB\nMemTotal:       2048 kB\n"), Some(2 << 20));
        assert_eq!(machine("MemTotal:       2048 kB\n"), Some(2 << 20));
        let limits =
            "Limit  Soft Limit  Hard Limit  Units\nMax address space  1073741824  unlimited  bytes\n";
        assert_eq!(address_space(limits), Some(1 << 30));
        assert_eq!(address_space(&limits.replace("1073741824", "unlimited")), None);
        assert!(BodyBudget::of_memory().0.limit >= LEAST);
    }
}
