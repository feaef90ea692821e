//! The configuration in force: what the file (or the environment) says and what the store adds, made one, checked, and swapped as a
//! whole. A request keeps the snapshot it began with.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use opm_config::{ChannelState, ClientKey, Config, Named, Problem, Proof, Severity, add_stored};
use opm_proxy::Snapshot;
use opm_proxy::last_used::LastUsed;
use opm_routing::Live;
use opm_store::{Store, StoreError, StoreSecrets, StoredChannel, StoredKey};
use parking_lot::Mutex;

/// How often the store is asked whether something changed. A revoked key is refused everywhere within two seconds.
const POLL: Duration = Duration::from_millis(500);
/// After an error the store is asked less often.
const POLL_AFTER_ERROR: Duration = Duration::from_secs(2);

/// How often the store is told when keys were last used.
const TOUCH: Duration = Duration::from_secs(2);

/// Reads the file or the environment again.
pub(crate) type Read = dyn Fn() -> anyhow::Result<opm_config::Loaded> + Send + Sync;

/// The store and its secrets.
#[derive(Clone)]
pub(crate) struct Kept {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) secrets: Arc<StoreSecrets>,
}

/// What the store holds.
#[derive(Default)]
struct Stored {
    keys: Vec<StoredKey>,
    channels: Vec<Named>,
    states: Vec<(String, opm_store::ChannelState)>,
    routes: Option<String>,
    /// What could not be used, for the log.
    problems: Vec<String>,
}

/// What a reload did.
pub(crate) struct Reloaded {
    /// What is different now, in words.
    pub(crate) changed: Vec<String>,
    /// What does not stop the configuration.
    pub(crate) warnings: Vec<Problem>,
    /// What changed in the file but only a restart can take over.
    pub(crate) needs_restart: Vec<String>,
}

/// Makes and swaps the configuration in force.
pub(crate) struct LiveConfig {
    read: Box<Read>,
    base: Mutex<Config>,
    stored: Mutex<Arc<Stored>>,
    kept: Option<Kept>,
    live: Arc<Live>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    revision: AtomicU64,
}

impl LiveConfig {
    /// The first configuration. With a store, what it holds is read at once: a gateway that could not see its keys must not start.
    pub(crate) async fn start(
        config: Config,
        read: Box<Read>,
        kept: Option<Kept>,
        live: Arc<Live>,
    ) -> anyhow::Result<Self> {
        let (revision, stored) = match &kept {
            Some(kept) => load(kept).await?,
            None => (0, Stored::default()),
        };
        let pepper = kept.as_ref().map(|kept| *kept.secrets.pepper.key());
        let (mut first, problems) = compose(&config, &stored);
        complain(&problems, &stored);
        first.keep_to_loopback();
        let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot::new(first, &live, pepper)));
        Ok(LiveConfig {
            read,
            base: Mutex::new(config),
            stored: Mutex::new(Arc::new(stored)),
            kept,
            live,
            snapshot,
            revision: AtomicU64::new(revision),
        })
    }

    /// The configuration in force.
    pub(crate) fn snapshot(&self) -> &Arc<ArcSwap<Snapshot>> {
        &self.snapshot
    }

    /// The store, if there is one.
    pub(crate) fn kept(&self) -> Option<&Kept> {
        self.kept.as_ref()
    }

    /// The store's revision that is in force.
    pub(crate) fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    /// Reads the file again. A broken one changes nothing.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub(crate) fn reload(&self) -> Result<Reloaded, Vec<Problem>> {
        let loaded = (self.read)().map_err(|error| vec![whole(format!("{error:#}"))])?;
        let Some(config) = loaded.config else {
            return Err(loaded.problems);
        };
        let mut base = self.base.lock();
        let needs_restart = restart_needed(&base, &config);
        let changed = differences(&base, &config);
        *base = config;
        self.swap(&base);
        Ok(Reloaded {
            changed,
            warnings: loaded.problems,
            needs_restart,
        })
    }

    /// Takes over what the store holds, if it changed; true if it did.
    ///
    /// # Errors
    /// The store cannot be read; what was in force stays.
    pub(crate) async fn refresh(&self) -> Result<bool, StoreError> {
        let Some(kept) = &self.kept else { return Ok(false) };
        if kept.store.revision().await? == self.revision() {
            return Ok(false);
        }
        let (revision, stored) = load(kept).await?;
        let base = self.base.lock();
        complain(&[], &stored);
        *self.stored.lock() = Arc::new(stored);
        self.revision.store(revision, Ordering::Release);
        self.swap(&base);
        Ok(true)
    }

    /// Was the channel made at run time?
    pub(crate) fn is_stored(&self, name: &str) -> bool {
        self.stored.lock().channels.iter().any(|named| named.name == name)
    }

    /// Every problem that a channel of the store would have.
    pub(crate) fn check_channel(&self, name: &str, definition: &str, keys: usize) -> Vec<Problem> {
        let stored = Arc::clone(&self.stored.lock());
        let mut others: Vec<Named> = stored.channels.clone();
        others.retain(|named| named.name != name);
        let mut config = self.base.lock().clone();
        // What is wrong with the others is not this one's fault.
        let _ = add_stored(&mut config, &others, None);
        let named = Named {
            name: name.to_owned(),
            definition: definition.to_owned(),
            keys: vec![opm_core::Secret::new(String::new()); keys],
        };
        add_stored(&mut config, &[named], None)
    }

    /// Every problem that routes of the store would have.
    pub(crate) fn check_routes(&self, definition: &str) -> Vec<Problem> {
        let stored = Arc::clone(&self.stored.lock());
        let mut config = self.base.lock().clone();
        let _ = add_stored(&mut config, &stored.channels, None);
        add_stored(&mut config, &[], Some(definition))
    }

    /// Follows the store for the life of the process.
    pub(crate) async fn follow_store(&self) {
        let mut well = true;
        loop {
            tokio::time::sleep(if well { POLL } else { POLL_AFTER_ERROR }).await;
            match self.refresh().await {
                Ok(changed) => {
                    if changed {
                        tracing::info!(
                            revision = self.revision(),
                            "keys and channels taken over from the store"
                        );
                    }
                    well = true;
                }
                Err(error) => {
                    if well {
                        tracing::error!("the store cannot be read; what is in force stays: {error}");
                    }
                    well = false;
                }
            }
        }
    }

    /// Tells the store when keys were last used, for the life of the process.
    pub(crate) async fn keep_last_used(&self, used: &LastUsed) {
        let Some(kept) = &self.kept else { return };
        loop {
            tokio::time::sleep(TOUCH).await;
            let batch = used.take();
            // Keys of the file are unknown to the store and passed over there. A lost note is made up by the next request.
            if !batch.is_empty()
                && let Err(error) = kept.store.touch_keys(&batch).await
            {
                tracing::warn!("when keys were last used cannot be kept: {error}");
            }
        }
    }

    fn swap(&self, base: &Config) {
        let stored = Arc::clone(&self.stored.lock());
        let (mut config, problems) = compose(base, &stored);
        complain(&problems, &stored);
        // The listener stands where it stood at the start.
        let before = self.snapshot.load();
        config.listen = before.config.listen;
        config.loopback_only = before.config.loopback_only;
        let pepper = self.kept.as_ref().map(|kept| *kept.secrets.pepper.key());
        self.snapshot
            .store(Arc::new(Snapshot::new(config, &self.live, pepper)));
    }
}

async fn load(kept: &Kept) -> Result<(u64, Stored), StoreError> {
    // Read first: a change in between is seen at the next poll.
    let revision = kept.store.revision().await?;
    let mut stored = Stored {
        keys: kept.store.keys().await?,
        states: kept.store.channel_states().await?,
        routes: kept.store.routes().await?,
        ..Stored::default()
    };
    for channel in kept.store.channels().await? {
        match unseal(&channel, &kept.secrets) {
            Ok(named) => stored.channels.push(named),
            Err(why) => stored.problems.push(why),
        }
    }
    Ok((revision, stored))
}

fn unseal(channel: &StoredChannel, secrets: &StoreSecrets) -> Result<Named, String> {
    let keys: Result<Vec<_>, _> = channel
        .provider_keys
        .iter()
        .map(|sealed| secrets.vault.open(&channel.name, sealed))
        .collect();
    let keys = keys.map_err(|error| format!("channel `{}` is left out: {error}", channel.name))?;
    Ok(Named {
        name: channel.name.clone(),
        definition: channel.definition.clone(),
        keys,
    })
}

/// The file's configuration with what the store adds.
fn compose(base: &Config, stored: &Stored) -> (Config, Vec<Problem>) {
    let mut config = base.clone();
    let mut problems = add_stored(&mut config, &stored.channels, stored.routes.as_deref());
    for (name, state) in &stored.states {
        let state = match state {
            opm_store::ChannelState::Enabled => ChannelState::Enabled,
            opm_store::ChannelState::Draining => ChannelState::Draining,
            opm_store::ChannelState::Disabled => ChannelState::Disabled,
        };
        let named = config.channels.iter_mut().filter(|channel| channel.name == *name);
        named.for_each(|channel| channel.state = state);
    }
    let usable = stored.keys.iter().filter(|key| key.revoked_at.is_none());
    let keys: Vec<ClientKey> = usable
        .map(|key| client_key(key, &config, &mut problems))
        .collect();
    config.keys.extend(keys);
    let revoked = stored.keys.iter().filter(|key| key.revoked_at.is_some());
    config.revoked_keys = revoked.map(|key| (key.id.clone(), key.name.clone())).collect();
    // Where keys were ever issued, revoking the last one must not open the gateway to everybody.
    config.keys_required = !config.keys.is_empty() || !stored.keys.is_empty();
    (config, problems)
}

fn client_key(key: &StoredKey, config: &Config, problems: &mut Vec<Problem>) -> ClientKey {
    let number = |name: &String| config.channel_number(name);
    let networks: Option<Vec<ipnet::IpNet>> = key.ip_ranges.iter().map(|range| range.parse().ok()).collect();
    let limits = config.stored_limits(key.limits.as_deref(), key.budget.as_deref());
    let limits = limits.map_err(|wrong| {
        problems.extend(wrong.into_iter().map(|problem| Problem {
            message: format!("client key {}: {}", key.id, problem.message),
            ..problem
        }));
    });
    ClientKey {
        id: key.id.clone(),
        name: key.name.clone(),
        proof: Proof::Mac(key.mac),
        channels: key
            .channels
            .as_ref()
            .map(|names| names.iter().filter_map(number).collect()),
        models: key.models.clone(),
        // A range that cannot be read must not mean «from everywhere», nor a limit that cannot be read «no limit».
        enabled: key.enabled && networks.is_some() && limits.is_ok(),
        networks: networks.unwrap_or_default(),
        expires: key.expires_at,
        limits: limits.unwrap_or_default(),
    }
}

fn complain(problems: &[Problem], stored: &Stored) {
    for problem in problems
        .iter()
        .filter(|problem| problem.severity == Severity::Error)
    {
        tracing::error!(
            code = problem.code,
            "from the store, not used: {}",
            problem.message
        );
    }
    for problem in &stored.problems {
        tracing::error!("{problem}");
    }
}

fn whole(message: String) -> Problem {
    Problem {
        severity: Severity::Error,
        code: "E010",
        message,
        at: None,
        help: None,
    }
}

/// What only a restart takes over.
fn restart_needed(before: &Config, after: &Config) -> Vec<String> {
    let checks = [
        ("server.listen", before.listen != after.listen),
        ("server.tls", before.tls != after.tls),
        ("metrics.listen", before.metrics_listen != after.metrics_listen),
        ("admin.listen", before.admin.listen != after.admin.listen),
        ("storage.url", before.storage != after.storage),
        ("shared", before.shared != after.shared),
        ("storage.ledger", before.ledger != after.ledger),
        ("observability.otlp", before.otlp != after.otlp),
    ];
    let changed = checks.into_iter().filter(|(_, changed)| *changed);
    changed.map(|(name, _)| name.to_owned()).collect()
}

/// Channels and keys that came, went or changed, by name.
fn differences(before: &Config, after: &Config) -> Vec<String> {
    let mut list = Vec::new();
    let shown = |config: &Config| -> Vec<(String, String)> {
        let channels = config.channels.iter().map(|channel| {
            // Debug shows hints of secrets; fingerprints tell them apart.
            let keys: Vec<u64> = channel.keys.iter().map(opm_core::Secret::fingerprint).collect();
            (
                format!("channel {}", channel.name),
                format!("{channel:?}{keys:?}"),
            )
        });
        let keys = config.keys.iter().map(|key| {
            let proof = match key.proof {
                Proof::Digest(bytes) | Proof::Mac(bytes) => bytes,
            };
            (format!("key {}", key.name), format!("{key:?}{proof:?}"))
        });
        let routes = format!(
            "{:?}{:?}{:?}{:?}",
            config.strategy, config.aliases, config.rules, config.retry
        );
        channels
            .chain(keys)
            .chain([("routes".to_owned(), routes)])
            .chain([("limits".to_owned(), format!("{:?}", config.limits))])
            .chain([("prices".to_owned(), format!("{:?}", config.prices))])
            .collect()
    };
    let (before, after) = (shown(before), shown(after));
    for (name, text) in &after {
        match before.iter().find(|(known, _)| known == name) {
            None => list.push(format!("{name} added")),
            Some((_, old)) if old != text => list.push(format!("{name} changed")),
            Some(_) => {}
        }
    }
    let gone = before
        .iter()
        .filter(|(name, _)| !after.iter().any(|(known, _)| known == name));
    list.extend(gone.map(|(name, _)| format!("{name} removed")));
    list
}

#[cfg(test)]
mod tests {
    use opm_config::{Environment, compile_file};

    use super::*;

    fn stored(limits: Option<&str>, budget: Option<&str>) -> StoredKey {
        StoredKey {
            id: "4fK2m9Qz".into(),
            name: "team-a".into(),
            mac: [0; 32],
            hint: String::new(),
            channels: None,
            models: Vec::new(),
            ip_ranges: Vec::new(),
            limits: limits.map(Into::into),
            budget: budget.map(Into::into),
            expires_at: None,
            enabled: true,
            created_at: 0,
            rotated_at: None,
            revoked_at: None,
            last_used_at: None,
        }
    }

    /// The one client key of the store, in force, and what is wrong.
    fn composed(key: StoredKey) -> (ClientKey, Vec<Problem>) {
        let text = "channels: [{ name: a, format: openai, keys: [k] }]\nshared: { on_failure: deny }\n";
        let base = compile_file("f".as_ref(), text, &Environment::default())
            .config
            .unwrap();
        let stored = Stored {
            keys: vec![key],
            ..Stored::default()
        };
        let (config, problems) = compose(&base, &stored);
        (config.keys.into_iter().next().unwrap(), problems)
    }

    #[test]
    fn limits_of_stored_keys_come_into_force() {
        let (key, problems) = composed(stored(Some(r#"{"rpm":5}"#), Some(r#"{"usd":1,"per":"day"}"#)));
        assert!(key.enabled && problems.is_empty(), "{problems:?}");
        assert_eq!((key.limits.requests, key.limits.budgets.len()), (Some(5), 1));
        assert_eq!(key.limits.on_failure, opm_config::OnFailure::Deny);
    }

    #[test]
    fn a_stored_key_whose_limits_cannot_be_read_is_refused_and_the_log_says_why() {
        for (limits, budget, why) in [
            (
                Some(r#"{"rpm":0}"#),
                None,
                "client key 4fK2m9Qz: /limits/rpm: the number is out of range",
            ),
            (Some("{"), None, "client key 4fK2m9Qz: /limits: "),
            (
                None,
                Some(r#"{"usd":1}"#),
                "client key 4fK2m9Qz: /budget: a budget needs `per`",
            ),
        ] {
            let (key, problems) = composed(stored(limits, budget));
            assert!(!key.enabled, "{limits:?} {budget:?}");
            assert!(key.check(0, None).is_err());
            let said = problems.first().unwrap();
            assert!(
                said.message.starts_with(why) && said.severity == Severity::Error,
                "{}",
                said.message
            );
        }
    }
}
