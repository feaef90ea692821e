//! Windows of limits over a restart: what the store and the ledger know of the time that they still count is counted again.

use std::time::Duration;

use opm_config::{Config, Retention};
use opm_ledger::{Ledger, Replayed, unix_ms};
use opm_limits::Window;
use opm_proxy::metering::{Past, RuleBook, Used};
use opm_proxy::{Metering, Snapshot};
use opm_store::{Location, Store, StoreError, UsedFrom, UsedQuery, Width};
use tokio::time::timeout;

use crate::usage_sink::signed;

/// Longest that the start waits for the store to tell what was used.
const PATIENCE: Duration = Duration::from_secs(30);
/// A window is read in so many parts, two slots each: none takes a store long, however many attempts are in it.
const PARTS: u64 = 60;

/// Longest that an instance which shares limits remembers what it admitted: for when the shared store forgets it.
const OF_SHARED: Duration = Duration::from_secs(600);

/// Who knows what was used before the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Memory {
    /// The store keeps it; the ledger has what was not brought there yet.
    Store,
    /// The ledger: the store lives in memory, or knows what other instances used too.
    Ledger,
}

impl Memory {
    /// Of a configuration.
    pub(crate) fn of(config: &Config) -> Self {
        if is_stored(config) && config.shared.is_none() {
            Memory::Store
        } else {
            Memory::Ledger
        }
    }
}

/// The store outlives the process.
pub(crate) fn is_stored(config: &Config) -> bool {
    let location = config.storage.as_deref().map(Location::parse);
    location.is_some_and(|location| location.is_ok_and(|location| !location.is_in_memory()))
}

/// How long the ledger is to keep what the store has taken: as long as any window of the configuration counts it.
pub(crate) fn kept_in_ledger(config: &Config) -> Duration {
    let outlives = is_stored(config) || config.ledger.directory.is_some();
    if Memory::of(config) == Memory::Store || !outlives {
        return Duration::ZERO;
    }
    let windows = RuleBook::new(config).windows();
    let longest = windows
        .last()
        .map_or(0, |window| window.life_ms() + window.width_ms());
    let longest = Duration::from_millis(longest);
    match config.shared {
        Some(_) => longest.min(OF_SHARED),
        None => longest,
    }
}

/// Fills the windows from the ledger alone: before it is fed to a store that has nothing else.
pub(crate) fn from_ledger(metering: &Metering, snapshot: &Snapshot) {
    let past = Past::new(snapshot, &metering.limiter, unix_ms());
    if let Some(ledger) = counted(metering, snapshot) {
        replay(&past, ledger, Replayed::All);
    }
}

/// Fills the windows from the store, and from the ledger with what could not be brought there. A store that fails holds nothing up.
pub(crate) async fn from_store(metering: &Metering, store: &dyn Store, snapshot: &Snapshot) {
    let now = unix_ms();
    let past = Past::new(snapshot, &metering.limiter, now);
    let Some(ledger) = counted(metering, snapshot) else {
        return;
    };
    let read = read_store(&past, store, snapshot, now);
    let problem = match timeout(PATIENCE, read).await {
        Ok(Ok(())) => return replay(&past, ledger, Replayed::Unfed),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("it takes longer than {} s", PATIENCE.as_secs()),
    };
    tracing::warn!(
        "what limits count of the time before this start cannot be read from the store: callers may use up to one window too much; {problem}"
    );
    replay(&past, ledger, Replayed::All);
}

/// The ledger, if there are windows that begin empty.
fn counted<'m>(metering: &'m Metering, snapshot: &Snapshot) -> Option<&'m Ledger> {
    let ledger = metering.ledger.as_ref();
    ledger.filter(|_| !snapshot.rules.windows().is_empty())
}

fn replay(past: &Past<'_>, ledger: &Ledger, which: Replayed) {
    let shown = ledger.replay(which, |settled| past.add(&Used::from(settled), None));
    if let Err(error) = shown {
        tracing::warn!(%error, "what limits count of the time before this start cannot be read from the ledger");
    }
}

async fn read_store(
    past: &Past<'_>,
    store: &dyn Store,
    snapshot: &Snapshot,
    now: u64,
) -> Result<(), StoreError> {
    for window in snapshot.rules.windows() {
        for (since_ms, until_ms) in parts(window, now) {
            let query = UsedQuery {
                from: source(window, &snapshot.config.retention),
                since_ms,
                until_ms,
                step_ms: signed(window.width_ms()),
            };
            let mut show = |used| past.add(&used_in(window, &used), Some(window));
            store.used(&query, &mut show).await?;
        }
    }
    Ok(())
}

/// The store's answer, at the last millisecond of its slot.
fn used_in(window: Window, used: &opm_store::Used) -> Used<'_> {
    let count = |value: i64| u64::try_from(value).unwrap_or(0);
    Used {
        key: &used.key_id,
        user: &used.user,
        model: &used.model,
        channel: &used.channel,
        at_ms: count(used.step_start_ms).saturating_add(window.width_ms() - 1),
        tokens: count(used.tokens),
        requests: count(used.requests),
    }
}

/// Sums where they are no coarser than the slots of the window, or where they are all that is kept: there are far fewer.
fn source(window: Window, retention: &Retention) -> UsedFrom {
    let is_fine = |width: Width| signed(window.width_ms()) >= width.seconds() * 1000;
    let has_minutes = retention.minutes.as_millis() >= u128::from(window.life_ms());
    if !is_fine(Width::Minute) {
        UsedFrom::Attempts
    } else if !is_fine(Width::Hour) && has_minutes {
        UsedFrom::Sums(Width::Minute)
    } else {
        UsedFrom::Sums(Width::Hour)
    }
}

/// The time that a window still counts, the newest part first: if the store is slow, what counts longest is there.
fn parts(window: Window, now: u64) -> Vec<(i64, i64)> {
    let length = window.life_ms().saturating_add(window.width_ms());
    let back = |part: u64| signed(now.saturating_sub(length.saturating_mul(part) / PARTS));
    let of = |part: u64| match part {
        // By a clock that was ahead, something may have ended later than now.
        0 => (back(1), i64::MAX),
        _ => (back(part + 1), back(part)),
    };
    (0..PARTS).map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(seconds: u64) -> Window {
        Window::new(Duration::from_secs(seconds)).unwrap()
    }

    #[test]
    fn what_is_read_is_no_coarser_than_the_slots_while_it_is_kept() {
        let kept = Retention::default();
        let short = Retention {
            minutes: Duration::from_secs(3_600),
            ..kept
        };
        use UsedFrom::{Attempts, Sums};
        for (seconds, retention, from) in [
            (10, kept, Attempts),
            (7_199, kept, Attempts),
            (7_200, kept, Sums(Width::Minute)),
            (7_200, short, Sums(Width::Hour)),
            (86_400, kept, Sums(Width::Minute)),
            (5 * 86_400, kept, Sums(Width::Hour)),
            (31 * 86_400, kept, Sums(Width::Hour)),
        ] {
            assert_eq!(source(window(seconds), &retention), from, "{seconds} s");
        }
    }

    #[test]
    fn the_parts_lie_side_by_side_and_reach_over_all_that_counts() {
        const NOW: u64 = 1_800_000_000_000;
        let window = window(3_600);
        let parts = parts(window, NOW);
        assert_eq!(parts.len(), 60);
        assert_eq!(parts[0].1, i64::MAX);
        assert!(parts.windows(2).all(|pair| pair[0].0 == pair[1].1), "{parts:?}");
        let oldest = u64::try_from(parts[59].0).unwrap();
        assert!(window.gone_at(window.slot(oldest)) <= NOW + window.width_ms());
        assert!(window.gone_at(window.slot(oldest - 1)) <= NOW);
    }

    #[test]
    fn a_store_in_memory_remembers_nothing() {
        let mut config = Config::clone(
            &opm_config::compile_env(&opm_config::Environment::default())
                .config
                .unwrap(),
        );
        for (url, memory) in [
            (None, Memory::Ledger),
            (Some("sqlite::memory:"), Memory::Ledger),
            (Some("sqlite:./opm.db"), Memory::Store),
            (Some("postgres://gateway@db/opm"), Memory::Store),
        ] {
            config.storage = url.map(str::to_owned);
            assert_eq!(Memory::of(&config), memory, "{url:?}");
        }
    }
}
