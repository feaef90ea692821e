//! The shared store: one Redis decides for all instances, by its own clock.
//!
//! One script call per request charges all its meters or none. All keys carry one hash tag (`{opm}`), so every request
//! stays in one slot of a cluster: rules join subjects (a model's limit spans all client keys), so any finer tag would
//! tear some request apart and need two steps that are not all-or-nothing. Deployments that share a Redis use
//! different namespaces.
//!
//! This process keeps a *shadow*: its own part of every meter. Alone, it decides by the shadow and its share; what it
//! admits and settles meanwhile waits in the [`Backlog`] and is told to the store before the store decides again.

mod backlog;
mod call;
mod clock;
mod eviction;
mod generation;
pub(crate) mod keeper;
mod leavers;
pub(crate) mod past;
mod spent;
mod telling;
mod trouble;

use std::collections::HashMap;
use std::hash::Hasher;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{Client, IntoConnectionInfo, RedisResult, Script};
use siphasher::sip128::{Hasher128, SipHasher24};
use tokio::sync::Notify;

use crate::charge::{Ask, PerCharge, Refused};
use crate::limiter::{Core, Health};
use crate::meter::Kept;
use crate::reservation::Reservation;
use crate::shard::Held;
use crate::share::Terms;
use crate::subject::Key;
use crate::table::Granted;
use backlog::Backlog;
use call::Answer;
use clock::by_clock_of_store;
use past::Memory;

/// How a limiter reaches its Redis.
#[derive(Clone)]
pub struct SharedSettings {
    /// `redis://host:port/db`, with credentials if needed; `rediss://` is TLS, trusting the system's roots or those of
    /// `SSL_CERT_FILE`.
    pub url: String,
    /// What all keys begin with, as the hash tag of a cluster. The same on all instances that share limits.
    pub namespace: String,
    /// How long a request waits for the store before the policies decide.
    pub timeout: Duration,
    /// How many instances there are at least; the store tells of more.
    pub instances: u64,
    /// Any text that all instances know and nobody else: it keys the names of the subjects in the store, so that
    /// nobody can choose a value that shares another one's counters.
    pub secret: String,
    /// A file of this instance, which must outlive it with what it knows of its past ([`Limiter::restore`](crate::Limiter::restore)): its
    /// name in the store, and since when it has been on its own. `None`: the store is believed to know all.
    pub memory: Option<PathBuf>,
    /// The process is not the first of this instance that runs now, but this one after it, as in an upgrade; 0: it is alone. What the others
    /// have spent they tell themselves, until [`Limiter::inherited`](crate::Limiter::inherited).
    pub beside: u32,
    /// Instances have one ledger in common: what is spent of budgets is read there again when the store has lost its data
    /// ([`Limiter::stale`](crate::Limiter::stale)).
    pub has_common_ledger: bool,
}

impl SharedSettings {
    /// The defaults: namespace `opm`, 50 ms, one instance.
    #[must_use]
    pub fn new(url: &str) -> Self {
        SharedSettings {
            url: url.to_owned(),
            namespace: "opm".to_owned(),
            timeout: Duration::from_millis(50),
            instances: 1,
            secret: String::new(),
            memory: None,
            beside: 0,
            has_common_ledger: false,
        }
    }

    pub(crate) fn subject_secret(&self) -> [u8; 16] {
        let mut hasher = SipHasher24::new();
        hasher.write(self.namespace.as_bytes());
        hasher.write(&[0xff]);
        hasher.write(self.secret.as_bytes());
        hasher.finish128().as_bytes()
    }
}

/// Why a shared limiter cannot be.
#[derive(Debug, thiserror::Error)]
pub enum SharedProblem {
    /// Not a Redis address. The text does not repeat it: it may hold a password.
    #[error("the Redis URL cannot be read; it looks like redis://host:6379/0")]
    Url,
    /// A namespace that would break the hash tag.
    #[error("the namespace of limits must be 1 to 64 letters, digits, '-', '_' or '.'")]
    Namespace,
}

/// A script with what all of them begin with.
macro_rules! script {
    ($file:literal) => {
        Script::new(concat!(include_str!("lua/head.lua"), include_str!($file)))
    };
}

struct Scripts {
    reserve: Script,
    settle: Script,
    beat: Script,
}

impl Scripts {
    fn all(&self) -> [&Script; 3] {
        [&self.reserve, &self.settle, &self.beat]
    }
}

pub(crate) struct Shared {
    client: Client,
    namespace: String,
    timeout: Duration,
    /// Names this process among the instances and its open requests.
    instance: String,
    scripts: Scripts,
    line: Mutex<Option<MultiplexedConnection>>,
    /// Why it could not be asked, as it was last said; empty once it answers.
    trouble: Mutex<String>,
    /// It was asked whether it drops keys.
    looked_at_eviction: AtomicBool,
    backlog: Mutex<Backlog>,
    /// Wakes the keeper.
    wake: Notify,
    /// An outage has just begun: ask at once.
    probe: AtomicBool,
    start: Instant,
    /// The store's clock minus `start`, in milliseconds.
    offset: AtomicI64,
    /// The clock of this machine at `start`, milliseconds since 1970.
    began: u64,
    ids: AtomicU64,
    memory: Option<Memory>,
    /// Which of several processes of this instance it is.
    beside: u32,
    /// All that is known of earlier lives was restored.
    restored: AtomicBool,
    /// Wakes the task that keeps the note.
    noting: Arc<Notify>,
    has_common_ledger: bool,
    /// Wakes who reads the common ledger.
    stale: Notify,
}

impl Shared {
    pub(crate) fn new(settings: &SharedSettings, random: u64, now: u64) -> Result<Self, SharedProblem> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let name = &settings.namespace;
        if name.is_empty() || name.len() > 64 || !name.chars().all(allowed) {
            return Err(SharedProblem::Namespace);
        }
        // If one is there already, it is this one: the gateway has no other.
        _ = rustls::crypto::ring::default_provider().install_default();
        let mut backlog = Backlog::new(settings.instances);
        backlog.of_others_here = (settings.beside > 0).then(HashMap::new);
        let memory = settings.memory.as_ref();
        let memory = memory.map(|path| Memory::of(path, random, now));
        Ok(Shared {
            client: client(&settings.url).map_err(|_| SharedProblem::Url)?,
            namespace: name.clone(),
            timeout: settings.timeout,
            instance: format!("{random:016x}"),
            scripts: Scripts {
                reserve: script!("lua/reserve.lua"),
                settle: script!("lua/settle.lua"),
                beat: script!("lua/beat.lua"),
            },
            line: Mutex::new(None),
            trouble: Mutex::default(),
            looked_at_eviction: AtomicBool::new(false),
            backlog: Mutex::new(backlog),
            wake: Notify::new(),
            probe: AtomicBool::new(false),
            start: Instant::now(),
            offset: AtomicI64::new(i64::try_from(now).unwrap_or(i64::MAX)),
            began: now,
            ids: AtomicU64::new(1),
            memory,
            beside: settings.beside,
            restored: AtomicBool::new(false),
            noting: Arc::default(),
            has_common_ledger: settings.has_common_ledger,
            stale: Notify::new(),
        })
    }

    /// How it is; of `subjects` of this process.
    pub(crate) fn health(&self, subjects: usize) -> Health {
        let backlog = self.backlog.lock();
        let (outages, instances) = backlog.outage.history();
        Health {
            together: backlog.outage.alone().is_none(),
            outages,
            instances,
            dropped: backlog.dropped,
            subjects,
            heard: backlog.heard.len(),
        }
    }

    /// Decides together with the others, or alone if the store is away.
    pub(crate) async fn reserve(
        &self,
        core: &Arc<Core>,
        asks: PerCharge<Ask>,
    ) -> Result<Reservation, Refused> {
        // A second try only if the store came back, or was found empty, in between.
        for _ in 0..2 {
            let generation = {
                let backlog = self.backlog.lock();
                if backlog.outage.alone().is_some() {
                    break;
                }
                Arc::clone(&backlog.generation)
            };
            match self.ask(core, &asks, Arc::clone(&generation)).await {
                Answer::Granted(reservation) => return Ok(*reservation),
                Answer::Refused(refused) => return Err(*refused),
                Answer::Away => self.trip(false),
                Answer::Lost => self.lost(&generation),
            }
        }
        self.reserve_alone(core, &asks)
    }

    /// Asks the store in a task of its own: if the caller leaves or the answer comes too late, the reservation that
    /// the store has made is dropped there, and with that given back.
    async fn ask(&self, core: &Arc<Core>, asks: &PerCharge<Ask>, generation: Arc<str>) -> Answer {
        /// For an answer that is here already while the runtime was busy.
        const GRACE: Duration = Duration::from_millis(5);
        let mut task = tokio::spawn(call::reserve(Arc::clone(core), asks.clone(), generation));
        for wait in [self.timeout, GRACE] {
            if let Ok(answer) = tokio::time::timeout(wait, &mut task).await {
                return answer.unwrap_or(Answer::Away);
            }
        }
        Answer::Away
    }

    fn reserve_alone(&self, core: &Arc<Core>, asks: &PerCharge<Ask>) -> Result<Reservation, Refused> {
        let mut backlog = self.backlog.lock();
        let now = self.now();
        let is_by_own_clock = backlog.clock_moved.is_none();
        let terms = Terms {
            alone: backlog.alone(),
            heard: &backlog.heard,
        };
        let mut granted: Granted = core.table.reserve(asks, now, Some(&terms))?;
        for held in &mut granted.held {
            held.is_by_own_clock = is_by_own_clock;
            self.owe(&mut backlog, held);
        }
        drop(backlog);
        self.wake.notify_one();
        Ok(Reservation::new(core, granted))
    }

    /// Notes a cost that the store does not know yet.
    fn owe(&self, backlog: &mut Backlog, held: &mut Held) {
        if held.amount == 0 {
            return;
        }
        if held.kept == Kept::Open {
            held.place = self.ids.fetch_add(1, Ordering::Relaxed);
            backlog.hold(held.key, held.place);
        } else {
            backlog.add(held, signed(held.amount), true);
        }
    }

    /// Corrects a cost in the shadow and, soon, in the store. Both under one lock, so that a restore never sees one
    /// without the other.
    pub(crate) fn adjust(&self, core: &Core, held: &Held, delta: i64) {
        let mut backlog = self.backlog.lock();
        let held = &by_clock_of_store(&backlog, held);
        core.table.adjust(held, delta);
        if held.kept == Kept::Open {
            backlog.release(held.key, held.place);
        } else {
            backlog.add(held, delta, false);
        }
        drop(backlog);
        self.wake.notify_one();
    }

    /// Moves a cost to a later slot.
    pub(crate) fn renew(&self, core: &Core, held: &mut Held, slot: u64) -> bool {
        let mut backlog = self.backlog.lock();
        *held = by_clock_of_store(&backlog, held);
        let (before, amount) = (*held, signed(held.amount));
        if !core.table.renew(held, slot) {
            return false;
        }
        backlog.add(&before, -amount, false);
        backlog.add(held, amount, true);
        drop(backlog);
        self.wake.notify_one();
        true
    }

    /// The name of this instance that outlives it; empty without one.
    pub(crate) fn life(&self) -> &str {
        self.memory.as_ref().map_or("", |memory| &memory.note.id)
    }

    /// Names its part of what is spent in a store that has lost its data; empty if it has no name. While others of its instance run, they
    /// have that of the instance.
    fn part(&self) -> String {
        let is_beside = self.backlog.lock().of_others_here.is_some();
        match self.life() {
            "" => String::new(),
            life if is_beside => format!("{life}.{}", self.beside),
            life => life.to_owned(),
        }
    }

    /// The other processes of this instance have gone, and all that they spent is known here.
    pub(crate) fn inherited(&self) {
        self.backlog.lock().of_others_here = None;
    }

    /// It is on its own, but not for long: the store answers, or may in a moment.
    pub(crate) fn is_waited_for(&self, is_early: bool) -> bool {
        let outage = &self.backlog.lock().outage;
        outage.alone().is_some() && (outage.answers() || is_early)
    }

    pub(crate) fn remember(&self) {
        self.restored.store(true, Ordering::Relaxed);
        self.noting.notify_one();
        self.wake.notify_one();
    }

    fn trip(&self, lost: bool) {
        let now = self.now();
        let began = self.backlog.lock().outage.trip(now, lost);
        if began {
            self.probe.store(true, Ordering::Relaxed);
            self.noting.notify_one();
            tracing::warn!(
                lost,
                "the shared store of limits does not answer: the rules' on_failure decides"
            );
        }
        self.wake.notify_one();
    }

    /// The store has another generation than the one the call knew.
    fn lost(&self, generation: &Arc<str>) {
        let stale = self.backlog.lock().generation == *generation;
        if stale {
            self.trip(true);
        }
    }

    /// The keys of the generation, of what is published (when, and what), and of the count of calls.
    fn common_keys(&self) -> [String; 4] {
        ["generation", "heard-at", "heard", "calls"].map(|name| self.common_key(name))
    }

    fn common_key(&self, name: &str) -> String {
        format!("{{{}}}:{name}", self.namespace)
    }

    fn key_name(&self, generation: &str, key: Key, period: Option<u64>) -> String {
        self.common_key(&generation::meter_name(generation, key, period))
    }

    /// The name of a call.
    fn call_name(&self, id: u64) -> String {
        self.common_key(&format!("call:{}", self.request_name(id)))
    }

    fn request_name(&self, id: u64) -> String {
        format!("{}:{id:x}", self.instance)
    }
}

/// A client whose calls are sent at once, each: collected by the kernel they would wait for the answer to the ones before.
fn client(url: &str) -> RedisResult<Client> {
    let settings = TcpSettings::default().set_nodelay(true);
    Client::open(url.into_connection_info()?.set_tcp_settings(settings))
}

fn signed(amount: u64) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}
