//! Client keys: what the API and the command line do with them, checks and audit entries included.

mod check;
mod limits;
mod view;

use opm_core::client_key::mac;
use opm_core::{ClientKey, hint};
use opm_store::{KeyChange, MaterialError, NewKey, Pepper, Store, StoreError, StoredKey, random};
use serde_json::json;

pub use limits::{Amount, BudgetDefinition, BudgetsDefinition, Count, JsonText, LimitsDefinition};
pub use view::{ClientKeyView, IssuedKey, KeyPatch, KeyState, KeyWish};

/// Why a client key could not be made or changed.
#[derive(Debug)]
pub enum KeyError {
    /// Something that was asked for is wrong.
    Member {
        /// What: `name`, `channels`, `models`, `networks`, `expires`.
        member: &'static str,
        /// What is wrong with it.
        why: String,
        /// What to do.
        help: String,
    },
    /// `limits` or `budget` is wrong: every problem, each with its JSON pointer.
    Limits(Vec<opm_config::Problem>),
    /// The store refused or failed.
    Store(StoreError),
    /// No random bytes.
    Material(MaterialError),
}

impl std::fmt::Display for KeyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            KeyError::Member { member, why, help } => write!(f, "{member}: {why}; {help}"),
            KeyError::Limits(problems) => {
                let said = |problem: &opm_config::Problem| match &problem.help {
                    Some(help) => format!("{}; {help}", problem.message),
                    None => problem.message.clone(),
                };
                let all: Vec<String> = problems.iter().map(said).collect();
                f.write_str(&all.join("\n"))
            }
            KeyError::Store(error) => error.fmt(f),
            KeyError::Material(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for KeyError {}

impl From<StoreError> for KeyError {
    fn from(error: StoreError) -> Self {
        KeyError::Store(error)
    }
}

impl From<MaterialError> for KeyError {
    fn from(error: MaterialError) -> Self {
        KeyError::Material(error)
    }
}

/// Where client keys are made and changed.
#[derive(Clone, Copy)]
pub struct Desk<'d> {
    /// Where they are kept.
    pub store: &'d dyn Store,
    /// Who acts, for the audit log.
    pub actor: &'d str,
    /// Unix seconds.
    pub now: i64,
}

impl Desk<'_> {
    /// Makes a client key, hashed under the pepper. `channels` are the names that exist.
    ///
    /// # Errors
    /// [`KeyError`]; a key whose audit entry failed exists, but nobody has seen it.
    pub async fn create(
        &self,
        pepper: &Pepper,
        wish: &KeyWish,
        channels: &[String],
    ) -> Result<IssuedKey, KeyError> {
        let name = check::name(&wish.name)?;
        let bound = wish.channels.as_deref();
        bound.map_or(Ok(()), |bound| check::channels(bound, channels))?;
        check::models(&wish.models)?;
        let networks = check::networks(&wish.networks)?;
        let expires_at = check::expires(wish.expires.as_deref(), self.now)?;
        limits::check(wish.limits.as_ref(), wish.budget.as_ref())?;
        let text = |json: &JsonText| json.get().to_owned();
        let (limits, budget) = (wish.limits.as_ref().map(text), wish.budget.as_ref().map(text));
        let key = ClientKey::generate(&random()?);
        let text = key.secret().expose();
        let new = NewKey {
            id: key.id().to_owned(),
            name: name.clone(),
            mac: mac(pepper.key(), text),
            hint: hint(text),
            channels: wish.channels.clone(),
            models: wish.models.clone(),
            ip_ranges: networks.clone(),
            limits,
            budget,
            expires_at,
            created_at: self.now,
        };
        self.store.create_key(new).await?;
        let detail = json!({
            "name": name, "channels": wish.channels, "models": wish.models, "networks": networks, "expires_at": expires_at,
            "limits": wish.limits, "budget": wish.budget,
        });
        self.note("key.create", key.id(), &detail).await?;
        Ok(IssuedKey {
            id: key.id().to_owned(),
            name,
            hint: hint(text),
            expires_at,
            key: key.secret().clone(),
        })
    }

    /// Changes a client key; `channels` are the names that exist.
    ///
    /// # Errors
    /// [`KeyError`].
    pub async fn change(
        &self,
        id: &str,
        patch: &KeyPatch,
        channels: &[String],
    ) -> Result<StoredKey, KeyError> {
        if *patch == KeyPatch::default() {
            return Err(KeyError::Member {
                member: "the body",
                why: "nothing is to be changed".into(),
                help:
                    "name what to change: name, channels, models, networks, expires, enabled, limits, budget"
                        .into(),
            });
        }
        let bound = patch.channels.iter().flatten();
        for bound in bound {
            check::channels(bound, channels)?;
        }
        patch.models.as_deref().map_or(Ok(()), check::models)?;
        let expires = match &patch.expires {
            Some(text) => Some(check::expires(text.as_deref(), self.now)?),
            None => None,
        };
        let given = |member: &Option<Option<JsonText>>| member.clone().flatten();
        let (limits, budget) = (given(&patch.limits), given(&patch.budget));
        limits::check(limits.as_ref(), budget.as_ref())?;
        let text = |member: &Option<Option<JsonText>>| {
            let text = |json: &JsonText| json.get().to_owned();
            member.as_ref().map(|value| value.as_ref().map(text))
        };
        let change = KeyChange {
            name: patch.name.as_deref().map(check::name).transpose()?,
            channels: patch.channels.clone(),
            models: patch.models.clone(),
            ip_ranges: patch.networks.as_deref().map(check::networks).transpose()?,
            expires_at: expires,
            enabled: patch.enabled,
            limits: text(&patch.limits),
            budget: text(&patch.budget),
        };
        let key = self.store.update_key(id, change).await?;
        self.note("key.update", id, patch).await?;
        Ok(key)
    }

    /// Revokes a client key for good and returns it. A second time changes nothing.
    ///
    /// # Errors
    /// [`KeyError`].
    pub async fn revoke(&self, id: &str) -> Result<StoredKey, KeyError> {
        let before = self.find(id).await?;
        self.store.revoke_key(id, self.now).await?;
        if before.revoked_at.is_none() {
            self.note("key.revoke", id, &json!({"name": before.name})).await?;
        }
        self.find(id).await
    }

    /// Gives a client key another secret; the former one ends at once.
    ///
    /// # Errors
    /// [`KeyError`].
    pub async fn rotate(&self, pepper: &Pepper, id: &str) -> Result<IssuedKey, KeyError> {
        let stored = self.find(id).await?;
        let Some(key) = ClientKey::renew(id, &random()?) else {
            return Err(unknown(id).into());
        };
        let text = key.secret().expose();
        let (mac, hint) = (mac(pepper.key(), text), hint(text));
        self.store.rotate_key(id, mac, &hint, self.now).await?;
        self.note("key.rotate", id, &json!({"name": stored.name})).await?;
        Ok(IssuedKey {
            id: id.to_owned(),
            name: stored.name,
            hint,
            expires_at: stored.expires_at,
            key: key.secret().clone(),
        })
    }

    async fn find(&self, id: &str) -> Result<StoredKey, KeyError> {
        let found = self.store.key(id).await?;
        found.ok_or_else(|| unknown(id).into())
    }

    async fn note(
        &self,
        action: &str,
        id: &str,
        detail: &(impl serde::Serialize + Sync),
    ) -> Result<(), StoreError> {
        crate::audit::record(self.store, self.now, self.actor, (action, id), detail).await
    }
}

fn unknown(id: &str) -> StoreError {
    StoreError::NotFound {
        what: "client key",
        name: id.to_owned(),
    }
}
