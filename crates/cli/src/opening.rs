//! The store at the start of the gateway.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use opm_config::{Config, Environment};
use opm_store::{Location, Store, StoreError, StoreSecrets};
use tokio::runtime::Runtime;

use crate::live::Kept;

const IN_MEMORY: &str = "sqlite::memory:";
/// How long a start waits for a database that cannot be reached, and how often it tries.
const STORE_WAIT: Duration = Duration::from_secs(30);
const STORE_RETRY: Duration = Duration::from_millis(500);

/// Opens the store that the configuration names.
pub(crate) fn open(config: &Config, runtime: &Runtime) -> anyhow::Result<Option<Kept>> {
    // Without a store, what the admin API changes lives as long as the process.
    let url = match &config.storage {
        Some(url) => url.as_str(),
        None if config.admin.token.is_some() => IN_MEMORY,
        None => return Ok(None),
    };
    let env = Environment::process();
    let location = Location::parse(url)?;
    let secrets = StoreSecrets::load(&location, env.get("OPM_KEY_PEPPER"), env.get("OPM_MASTER_KEY"))?;
    let store = runtime.block_on(reached(url, &secrets))?;
    Ok(Some(Kept {
        store,
        secrets: Arc::new(secrets),
    }))
}

/// Opens the store; a database that is not there yet is waited for: it is often started together with the gateway.
async fn reached(url: &str, secrets: &StoreSecrets) -> Result<Arc<dyn Store>, StoreError> {
    let deadline = Instant::now() + STORE_WAIT;
    let mut is_first = true;
    loop {
        let error = match opened(url, secrets).await {
            Err(error) if error.is_away() && Instant::now() < deadline => error,
            done => return done,
        };
        if std::mem::take(&mut is_first) {
            let seconds = STORE_WAIT.as_secs();
            tracing::warn!("{:#}; waiting for it, {seconds} s at most", anyhow!(error));
        }
        tokio::time::sleep(STORE_RETRY).await;
    }
}

async fn opened(url: &str, secrets: &StoreSecrets) -> Result<Arc<dyn Store>, StoreError> {
    let store = opm_store::open(url).await?;
    store
        .bind_secrets(secrets.pepper.id(), secrets.vault.id())
        .await?;
    Ok(store)
}
