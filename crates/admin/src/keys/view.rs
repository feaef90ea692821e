//! Client keys as they are asked for and shown.

use opm_core::Secret;
use opm_store::StoredKey;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::ToSchema;

use super::limits::{BudgetsDefinition, JsonText, LimitsDefinition};
use crate::body::Members;

/// A client key that is to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyWish {
    /// Who uses it; unique among keys that are not revoked, 1 to 100 characters.
    pub name: String,
    /// Names of the channels it may use; absent: all.
    #[serde(default)]
    pub channels: Option<Vec<String>>,
    /// Names and globs of the models it may ask for; empty: all.
    #[serde(default)]
    pub models: Vec<String>,
    /// Networks it may be used from (`10.0.0.0/8`, or one address); empty: all.
    #[serde(default)]
    pub networks: Vec<String>,
    /// From when on it is refused: `2027-06-30` (its first moment, UTC) or an RFC 3339 time; absent: never.
    #[serde(default)]
    pub expires: Option<String>,
    /// What may be used with it, as `limits` of a key in the config file; absent: everything.
    #[serde(default)]
    #[schema(value_type = Option<LimitsDefinition>)]
    pub limits: Option<JsonText>,
    /// Money that may be used with it, as `budget` of a key in the config file; absent: any.
    #[serde(default)]
    #[schema(value_type = Option<BudgetsDefinition>)]
    pub budget: Option<JsonText>,
}

impl Members for KeyWish {
    const MEMBERS: &'static [&'static str] = &[
        "name", "channels", "models", "networks", "expires", "limits", "budget",
    ];
}

/// What is to be changed of a client key; absent members stay as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyPatch {
    /// Another name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Other channels; null: all.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub channels: Option<Option<Vec<String>>>,
    /// Other models; empty: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<String>>,
    /// Other networks; empty: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub networks: Option<Vec<String>>,
    /// Another end; null: never.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub expires: Option<Option<String>>,
    /// False: it is refused until it is true again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Other limits, in place of all former ones; null: none.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<LimitsDefinition>)]
    pub limits: Option<Option<JsonText>>,
    /// Another budget, in place of all former ones; null: none.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<BudgetsDefinition>)]
    pub budget: Option<Option<JsonText>>,
}

impl Members for KeyPatch {
    const MEMBERS: &'static [&'static str] = &[
        "name", "channels", "models", "networks", "expires", "enabled", "limits", "budget",
    ];
}

/// Tells a member that is null from one that is absent.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// A new secret, shown this once.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct IssuedKey {
    /// Its id: not secret.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The key itself. It is shown this once and kept nowhere.
    #[serde(serialize_with = "in_clear")]
    #[schema(value_type = String)]
    pub key: Secret,
    /// What will be shown of it from now on.
    pub hint: String,
    /// Unix seconds from which on it is refused.
    pub expires_at: Option<i64>,
}

fn in_clear<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose())
}

/// May a client key be used?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum KeyState {
    /// Yes.
    Active,
    /// It is switched off.
    Disabled,
    /// Its time is over.
    Expired,
    /// It was revoked, for good.
    Revoked,
}

impl KeyState {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            KeyState::Active => "active",
            KeyState::Disabled => "disabled",
            KeyState::Expired => "expired",
            KeyState::Revoked => "revoked",
        }
    }
}

/// A client key of the store, without the key. Times are Unix seconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClientKeyView {
    /// Its id: not secret.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Prefix and last four characters.
    pub hint: String,
    /// May it be used?
    pub state: KeyState,
    /// Names of the channels it may use; null: all.
    pub channels: Option<Vec<String>>,
    /// Names and globs of the models it may ask for; empty: all.
    pub models: Vec<String>,
    /// Networks it may be used from; empty: all.
    pub networks: Vec<String>,
    /// What may be used with it, as it was written; null: everything.
    #[schema(value_type = Option<LimitsDefinition>)]
    pub limits: Option<JsonText>,
    /// Money that may be used with it, as it was written; null: any.
    #[schema(value_type = Option<BudgetsDefinition>)]
    pub budget: Option<JsonText>,
    /// From when on it is refused.
    pub expires_at: Option<i64>,
    /// When it was made.
    pub created_at: i64,
    /// When it got its secret, if that was later.
    pub rotated_at: Option<i64>,
    /// When it was revoked.
    pub revoked_at: Option<i64>,
    /// When it was last used, as last reported.
    pub last_used_at: Option<i64>,
}

impl ClientKeyView {
    /// What may be shown of a key at `now` (Unix seconds).
    #[must_use]
    pub fn new(key: StoredKey, now: i64) -> Self {
        let state = if key.revoked_at.is_some() {
            KeyState::Revoked
        } else if !key.enabled {
            KeyState::Disabled
        } else if key.is_usable(now) {
            KeyState::Active
        } else {
            KeyState::Expired
        };
        ClientKeyView {
            id: key.id,
            name: key.name,
            hint: key.hint,
            state,
            channels: key.channels,
            models: key.models,
            networks: key.ip_ranges,
            limits: key.limits.as_deref().and_then(JsonText::stored),
            budget: key.budget.as_deref().and_then(JsonText::stored),
            expires_at: key.expires_at,
            created_at: key.created_at,
            rotated_at: key.rotated_at,
            revoked_at: key.revoked_at,
            last_used_at: key.last_used_at,
        }
    }
}
