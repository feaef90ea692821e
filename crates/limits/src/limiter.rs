//! The limiter: what the gateway holds.

use std::future::pending;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::charge::{Ask, Charge, Refused};
use crate::reservation::Reservation;
use crate::rule::Rule;
use crate::shard::Held;
use crate::shared::{Shared, SharedProblem, SharedSettings, keeper, past};
use crate::subject::Subjects;
use crate::table::Table;
use crate::window::Window;

/// Subjects kept at most; with all of them busy in every slot this is 200 MB, usually a tenth.
pub const SUBJECTS_MAX: usize = 200_000;

/// Reserves and settles, in this process or together with others. Cheap to clone.
#[derive(Clone)]
pub struct Limiter {
    core: Arc<Core>,
}

pub(crate) struct Core {
    pub(crate) table: Table,
    secret: [u8; 16],
    shared: Option<Shared>,
}

/// Who has spent what a ledger knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spender<'s> {
    /// This instance: the ledger is its own.
    Instance,
    /// All that have a ledger in common, and each by its [name](Limiter::name) so much (the charge's unit); an empty name is for what none is
    /// known of.
    Each(&'s [(&'s str, u64)]),
}

/// How a limiter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// The shared store decides; without one always true.
    pub together: bool,
    /// How often the store was away since the start.
    pub outages: u32,
    /// Instances that lived when it answered last.
    pub instances: u64,
    /// Corrections that could not be told: their costs stayed as reserved.
    pub dropped: u64,
    /// Subjects that this process keeps.
    pub subjects: usize,
    /// Subjects of which the store has told what all instances together use.
    pub heard: usize,
}

impl Limiter {
    /// Counts in this process, for at most `subjects` subjects ([`SUBJECTS_MAX`]).
    #[must_use]
    pub fn memory(subjects: usize) -> Self {
        let secret = u128::from(random()) << 64 | u128::from(random());
        Limiter {
            core: Arc::new(Core {
                table: Table::new(subjects),
                secret: secret.to_le_bytes(),
                shared: None,
            }),
        }
    }

    /// Counts in a Redis, together with all instances of the same namespace. `now` (milliseconds since the epoch) is
    /// used until the store has told its time. A store that does not answer is no error: the rules' policies decide
    /// until it does. Must be called in a Tokio runtime.
    ///
    /// # Errors
    /// Settings that cannot work.
    pub async fn shared(settings: &SharedSettings, subjects: usize, now: u64) -> Result<Self, SharedProblem> {
        let instance = random();
        let shared = Shared::new(settings, instance, now)?;
        let core = Arc::new(Core {
            table: Table::new(subjects),
            secret: settings.subject_secret(),
            shared: Some(shared),
        });
        keeper::join(&core, instance).await;
        tokio::spawn(keeper::keep(Arc::downgrade(&core), instance, settings.timeout));
        past::keep_note(&core);
        Ok(Limiter { core })
    }

    /// It counts together with other instances.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.core.shared.is_some()
    }

    /// Reserves all charges or none. `now`: milliseconds since the epoch; with a shared store the store's clock counts.
    ///
    /// # Errors
    /// A limit that is reached, or a store that is away under a rule that then denies.
    pub async fn reserve(&self, charges: &[Charge<'_>], now: u64) -> Result<Reservation, Refused> {
        let asks = Ask::all(charges, &self.core.secret);
        match &self.core.shared {
            None => self
                .core
                .table
                .reserve(&asks, now, None)
                .map(|granted| Reservation::new(&self.core, granted)),
            Some(shared) => shared.reserve(&self.core, asks).await,
        }
    }

    /// The name of this instance that outlives it; `None` without [`SharedSettings::memory`].
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        let shared = self.core.shared.as_ref()?;
        Some(shared.life()).filter(|name| !name.is_empty())
    }

    /// Raises what is spent in the current period to at least `charge`'s amount, which `spender` has spent, by a ledger: at the start, and
    /// of a common ledger whenever [`Limiter::stale`] says so. The period is that of `now`.
    pub fn raise(&self, charge: &Charge<'_>, spender: Spender<'_>, now: u64) {
        let ask = Ask::of_past(charge, &self.core.secret);
        match &self.core.shared {
            None => {
                self.core.table.raise(&ask, now);
            }
            Some(shared) => shared.raise(&self.core, &ask, spender, now),
        }
        // What was reached before the start was reported then.
        self.core.table.crossing(&ask, now);
    }

    /// Waits until a common ledger is to be read and told again, because the shared store has lost its data or an instance has ended; for
    /// ever without one. To be answered by [`Limiter::recalled`] with what this returns. Only one may wait.
    pub async fn stale(&self) -> Option<u64> {
        match &self.core.shared {
            Some(shared) => shared.stale().await,
            None => pending().await,
        }
    }

    /// The common ledger was read again, and the limiter told.
    pub fn recalled(&self, since: Option<u64>) {
        if let Some(shared) = &self.core.shared {
            shared.recalled(since);
        }
    }

    /// Waits, after [`Limiter::remember`], until the shared store decides, if it answers; three seconds at most.
    pub async fn joined(&self) {
        /// For the first answer, and for being told all.
        const ANSWER: Duration = Duration::from_millis(500);
        const TOLD: Duration = Duration::from_secs(3);
        let Some(shared) = &self.core.shared else { return };
        let start = Instant::now();
        while shared.is_waited_for(start.elapsed() < ANSWER) && start.elapsed() < TOLD {
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Counts in its window what this instance admitted before it was started: the charge's amount at `at`. Exact to the slot, and no
    /// later than `now`. A shared store is told what it does not know ([`SharedSettings::memory`]). Nothing for budgets
    /// ([`Limiter::raise`]) and for concurrency.
    pub fn restore(&self, charge: &Charge<'_>, at: u64, now: u64) {
        let ask = Ask::of_past(charge, &self.core.secret);
        match &self.core.shared {
            None => {
                self.core.table.restore(&ask, at, now);
            }
            Some(shared) => shared.restore(&self.core, &ask, at, now),
        }
    }

    /// Other processes of this instance have gone, and what they used was restored and raised here: it is told from now on. To be called
    /// with [`SharedSettings::beside`], before what they have spent is raised.
    pub fn inherited(&self) {
        if let Some(shared) = &self.core.shared {
            shared.inherited();
        }
    }

    /// All that is known of the earlier lives of this instance was restored: the shared store is told what it does not know of it, and what
    /// this one admits is remembered for the next. To be called with [`SharedSettings::memory`]; nothing is told before.
    pub fn remember(&self) {
        if let Some(shared) = &self.core.shared {
            shared.remember();
        }
    }

    /// The warning thresholds (percent) of a rule that these subjects have reached in its period, each once: for the caller to report.
    /// To be asked when a cost is settled; open reservations count. Each instance reports for itself.
    #[must_use]
    pub fn crossing(&self, rule: &Arc<Rule>, subjects: &Subjects<'_>, now: u64) -> Vec<u8> {
        if !rule.warns() {
            return Vec::new();
        }
        let asks = Ask::all(&[Charge::new(rule, subjects, 0)], &self.core.secret);
        asks.iter()
            .flat_map(|ask| self.core.table.crossing(ask, now))
            .collect()
    }

    /// What a rule counts at present for these subjects (tokens, requests, pico-USD), open reservations included. With a shared store
    /// what it said at the last decision of this instance, and no less than this instance's own part.
    #[must_use]
    pub fn used(&self, rule: &Arc<Rule>, subjects: &Subjects<'_>, now: u64) -> u64 {
        let asks = Ask::all(&[Charge::new(rule, subjects, 0)], &self.core.secret);
        let used = asks.iter().map(|ask| self.core.table.used(ask, now)).max();
        rule.dimension().amount(used.unwrap_or(0))
    }

    /// How it is.
    #[must_use]
    pub fn health(&self) -> Health {
        let subjects = self.core.table.subjects();
        let alone = Health {
            together: true,
            outages: 0,
            instances: 1,
            dropped: 0,
            subjects,
            heard: 0,
        };
        let shared = self.core.shared.as_ref();
        shared.map_or(alone, |shared| shared.health(subjects))
    }
}

impl Core {
    /// The time that decides: the shared store's, if there is one.
    pub(crate) fn now(&self, now: u64) -> u64 {
        self.shared.as_ref().map_or(now, Shared::now)
    }

    /// Moves a cost to the slot that lasts for half a guard from `now` on; false if its own is not there any more.
    pub(crate) fn renew(&self, held: &mut Held, now: u64) -> bool {
        let until = |window: Window| now.saturating_add(window.guard_ms() / 2);
        let slot = held.kept.window().map(|window| window.slot(until(window)));
        let Some(slot) = slot.filter(|slot| held.amount > 0 && *slot > held.place) else {
            return true;
        };
        match &self.shared {
            None => self.table.renew(held, slot),
            Some(shared) => shared.renew(self, held, slot),
        }
    }

    pub(crate) fn shared(&self) -> Option<&Shared> {
        self.shared.as_ref()
    }

    pub(crate) fn adjust(&self, held: &Held, delta: i64) {
        match &self.shared {
            None => self.table.adjust(held, delta),
            Some(shared) => shared.adjust(self, held, delta),
        }
    }
}

/// The standard library's own random keys: 64 bits without another dependency.
fn random() -> u64 {
    RandomState::new().hash_one(0_u8)
}
