//! The store of a configuration, for commands that work on it beside the gateway.

use std::path::Path;
use std::sync::Arc;

use anyhow::bail;
use opm_config::Config;
use opm_store::{Location, Store};

use super::{NotConfigured, configuration};

/// A store and the configuration that names it.
pub(super) struct Opened {
    pub(super) config: Config,
    pub(super) store: Arc<dyn Store>,
    pub(super) location: Location,
}

/// Opens it. Without one the sentence ends in `without`: what does not work so, and what to do. Only if `may_make` may it be a new one.
pub(super) async fn open(named: Option<&Path>, may_make: bool, without: &str) -> anyhow::Result<Opened> {
    let (config, file) = configuration(named)?;
    let Some(url) = &config.storage else {
        return Err(NotConfigured(format!("{file} names no store, so {without}")).into());
    };
    let location = Location::parse(url)?;
    if location.to_string() == "sqlite::memory:" {
        let text = "the store lives in the memory of the gateway: use its admin API, or name a file: `storage: { url: \"sqlite:./opm.db\" }`";
        return Err(NotConfigured(text.to_owned()).into());
    }
    check_file(&location, may_make)?;
    let store = opm_store::open(url).await?;
    Ok(Opened {
        config,
        store,
        location,
    })
}

/// A store that is not there is mostly the gateway's, looked for in another folder.
fn check_file(location: &Location, may_make: bool) -> anyhow::Result<()> {
    let missing = |path: &&Path| !path.try_exists().unwrap_or(true);
    let Some(path) = location.file().filter(missing) else {
        return Ok(());
    };
    let shown = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let shown = shown.display();
    if !may_make {
        bail!(
            "there is no store at {shown}: call this in the folder where the gateway runs, or name the file by its whole path"
        );
    }
    eprintln!("opm: making a new store at {shown}");
    Ok(())
}
