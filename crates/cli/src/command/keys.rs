//! `opm keys`: client keys in the store of the configuration.

mod limits;

use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow, bail};
use opm_admin::keys::{ClientKeyView, Desk, IssuedKey, KeyPatch, KeyWish};
use opm_admin::view::KeyList;
use opm_config::{Environment, nearest};
use opm_core::{client_key, digest};
use opm_store::{Purpose, StoreSecrets, StoredKey};

use super::block_on;
use super::store::{self, Opened};
use crate::args::keys::{Create, Hash, Keys, One, Update};
use crate::args::{Output, Scope};
use crate::control::unix_seconds as now;
use crate::sheet::{say, say_part};
use crate::table::{list as on_one_line, table, time};

/// Shorter client keys can be guessed: as in the config file.
const MIN_KEY: usize = 20;
/// Who acts, in the audit log.
const ACTOR: &str = "cli";

pub(super) fn run(command: &Keys) -> anyhow::Result<ExitCode> {
    match command {
        Keys::Create(args) => block_on(create(args))?,
        Keys::List(args) => block_on(list(args))?,
        Keys::Show(args) => block_on(show(args))?,
        Keys::Update(args) => block_on(update(args))?,
        Keys::Revoke(args) => block_on(revoke(args))?,
        Keys::Rotate(args) => block_on(rotate(args))?,
        Keys::Hash(args) => hash(args)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Opens the store; only where a key is to be made may it be a new one.
async fn open(named: Option<&Path>, may_make: bool) -> anyhow::Result<Opened> {
    let without = "there is no place for client keys: add `storage: { url: \"sqlite:./opm.db\" }`, or write keys under `keys:` (`opm keys \
                   hash` prints their hashes)";
    store::open(named, may_make, without).await
}

impl Opened {
    /// The secrets, if they are those that the store is used with: a key made with others would be refused.
    async fn secrets(&self) -> anyhow::Result<StoreSecrets> {
        let env = Environment::process();
        let value = |purpose: Purpose| env.get(purpose.variable());
        let secrets = StoreSecrets::load(&self.location, value(Purpose::Pepper), value(Purpose::Master))?;
        let (pepper, master) = (secrets.pepper.id(), secrets.vault.id());
        self.store.bind_secrets(pepper, master).await?;
        Ok(secrets)
    }

    /// Names of all channels, of the file and of the store.
    async fn channels(&self) -> anyhow::Result<Vec<String>> {
        let mut names: Vec<String> = self
            .config
            .channels
            .iter()
            .map(|channel| channel.name.clone())
            .collect();
        names.extend(
            self.store
                .channels()
                .await?
                .into_iter()
                .map(|channel| channel.name),
        );
        Ok(names)
    }

    /// A key by its id, by its name, or by itself: a key that got lost is at hand in clear.
    async fn find(&self, given: &str) -> anyhow::Result<StoredKey> {
        let id = client_key::parse(given).map_or(given, |parsed| parsed.id);
        if let Some(key) = self.store.key(id).await? {
            return Ok(key);
        }
        let keys = self.store.keys().await?;
        // Of several keys of this name the last one, but one that is not revoked before all others.
        let by_name = keys.iter().filter(|key| key.name == given);
        if let Some(key) = by_name.max_by_key(|key| key.revoked_at.is_none()) {
            return Ok(key.clone());
        }
        let known: Vec<&str> = keys
            .iter()
            .flat_map(|key| [key.id.as_str(), key.name.as_str()])
            .collect();
        let help = nearest(id, &known).map_or_else(
            || "`opm keys list` shows them all".to_owned(),
            |known| format!("did you mean `{known}`?"),
        );
        bail!("there is no client key `{id}`; {help}")
    }
}

async fn create(args: &Create) -> anyhow::Result<()> {
    let wanted = limits::wanted(&args.limits, None, None)?;
    let opened = open(args.scope.config.as_deref(), true).await?;
    let wish = KeyWish {
        name: args.name.clone(),
        channels: (!args.channels.is_empty()).then(|| args.channels.clone()),
        models: args.models.clone(),
        networks: args.networks.clone(),
        expires: args.expires.clone(),
        limits: wanted.limits,
        budget: wanted.budget,
    };
    let (secrets, channels) = (opened.secrets().await?, opened.channels().await?);
    let issued = desk(&opened).create(&secrets.pepper, &wish, &channels).await?;
    opened.store.close().await;
    show_issued(&issued, args.scope.format)
}

fn desk(opened: &Opened) -> Desk<'_> {
    Desk {
        store: &*opened.store,
        actor: ACTOR,
        now: now(),
    }
}

fn show_issued(issued: &IssuedKey, format: Output) -> anyhow::Result<()> {
    if format == Output::Json {
        say!("{}", serde_json::to_string(issued)?);
        return Ok(());
    }
    say!("{}", issued.key.expose());
    let (id, name, end) = (&issued.id, &issued.name, time(issued.expires_at));
    let end = if issued.expires_at.is_some() {
        format!(", until {end}")
    } else {
        String::new()
    };
    eprintln!("client key {id} `{name}`{end}: it is shown this once, so keep it now");
    Ok(())
}

async fn list(scope: &Scope) -> anyhow::Result<()> {
    let opened = open(scope.config.as_deref(), false).await?;
    let (keys, now) = (opened.store.keys().await?, now());
    opened.store.close().await;
    let keys: Vec<ClientKeyView> = keys.into_iter().map(|key| ClientKeyView::new(key, now)).collect();
    if scope.format == Output::Json {
        say!("{}", serde_json::to_string(&KeyList { keys })?);
        return Ok(());
    }
    if keys.is_empty() {
        eprintln!("no client keys in the store: make one with `opm keys create --name NAME`");
        return Ok(());
    }
    let row = |key: ClientKeyView| {
        let limits = limits::shown(&key);
        vec![
            key.id,
            key.name,
            key.state.as_str().to_owned(),
            key.hint,
            key.channels
                .map_or("all".to_owned(), |channels| channels.join(", ")),
            on_one_line(&key.models, "all"),
            time(key.expires_at),
            time(key.last_used_at),
            limits,
        ]
    };
    let rows: Vec<Vec<String>> = keys.into_iter().map(row).collect();
    let head = [
        "ID",
        "NAME",
        "STATE",
        "KEY",
        "CHANNELS",
        "MODELS",
        "EXPIRES",
        "LAST USED",
        "LIMITS",
    ];
    say_part!("{}", table(&head, &rows));
    Ok(())
}

async fn show(args: &One) -> anyhow::Result<()> {
    let opened = open(args.scope.config.as_deref(), false).await?;
    let key = opened.find(&args.id).await?;
    opened.store.close().await;
    show_key(ClientKeyView::new(key, now()), args.scope.format)
}

fn show_key(key: ClientKeyView, format: Output) -> anyhow::Result<()> {
    if format == Output::Json {
        say!("{}", serde_json::to_string(&key)?);
        return Ok(());
    }
    let limits = limits::shown(&key);
    let channels = key
        .channels
        .map_or("all".to_owned(), |channels| channels.join(", "));
    let lines = [
        ("id", key.id),
        ("name", key.name),
        ("state", key.state.as_str().to_owned()),
        ("key", key.hint),
        ("channels", channels),
        ("models", on_one_line(&key.models, "all")),
        ("networks", on_one_line(&key.networks, "all")),
        ("limits", limits),
        ("expires", time(key.expires_at)),
        ("created", time(Some(key.created_at))),
        ("rotated", time(key.rotated_at)),
        ("revoked", time(key.revoked_at)),
        ("last used", time(key.last_used_at)),
    ];
    for (name, value) in lines {
        say!("{name:<10} {value}");
    }
    Ok(())
}

async fn update(args: &Update) -> anyhow::Result<()> {
    let none = !args.limits.names_limits() && args.limits.budget.is_empty();
    if none && !args.no_limits && !args.no_budget {
        bail!(
            "nothing is to be changed: give --tpm, --window, --rpm, --concurrent, --budget, --no-limits or --no-budget"
        );
    }
    let opened = open(args.scope.config.as_deref(), false).await?;
    let key = ClientKeyView::new(opened.find(&args.id).await?, now());
    let limits = key.limits.filter(|_| !args.no_limits);
    let budget = key.budget.filter(|_| !args.no_budget);
    let wanted = limits::wanted(&args.limits, limits.as_ref(), budget.as_ref())?;
    // What is not to be changed is not written again.
    let patch = KeyPatch {
        limits: (args.no_limits || args.limits.names_limits()).then_some(wanted.limits),
        budget: (args.no_budget || !args.limits.budget.is_empty()).then_some(wanted.budget),
        ..KeyPatch::default()
    };
    let key = desk(&opened).change(&key.id, &patch, &[]).await?;
    opened.store.close().await;
    let key = ClientKeyView::new(key, now());
    if args.scope.format == Output::Json {
        return show_key(key, Output::Json);
    }
    say!(
        "client key {} `{}` has limits: {}; running gateways follow within two seconds",
        key.id,
        key.name,
        limits::shown(&key)
    );
    Ok(())
}

async fn revoke(args: &One) -> anyhow::Result<()> {
    let opened = open(args.scope.config.as_deref(), false).await?;
    let key = opened.find(&args.id).await?;
    let key = desk(&opened).revoke(&key.id).await?;
    opened.store.close().await;
    if args.scope.format == Output::Json {
        return show_key(ClientKeyView::new(key, now()), Output::Json);
    }
    say!(
        "client key {} `{}` is revoked; running gateways follow within two seconds",
        key.id,
        key.name
    );
    Ok(())
}

async fn rotate(args: &One) -> anyhow::Result<()> {
    let opened = open(args.scope.config.as_deref(), false).await?;
    let key = opened.find(&args.id).await?;
    let secrets = opened.secrets().await?;
    let issued = desk(&opened).rotate(&secrets.pepper, &key.id).await?;
    opened.store.close().await;
    show_issued(&issued, args.scope.format)
}

/// The hash of what comes on standard input. A key is never an argument: those can be read by every process.
fn hash(args: &Hash) -> anyhow::Result<()> {
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .context("reading the key from standard input")?;
    let key = text.trim();
    if key.len() < MIN_KEY || key.contains(['\n', '\r']) {
        return Err(anyhow!(
            "a key is one line of at least {MIN_KEY} characters that nobody can guess, for example the output of `openssl rand -hex 32`"
        ));
    }
    let hash: String = digest(key).iter().map(|byte| format!("{byte:02x}")).collect();
    match args.format {
        Output::Text => say!("sha256:{hash}"),
        Output::Json => say!("{{\"hash\":\"sha256:{hash}\"}}"),
    }
    Ok(())
}
