//! What answers hold, beside the views of [`crate::control`] and [`crate::keys`].

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::body::Members;
use crate::control::{ChannelView, Explanation, Problem};
use crate::keys::{Amount, BudgetsDefinition, ClientKeyView, LimitsDefinition};

/// Is the gateway well?
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// `ok`, `draining` or `failing`.
    pub status: String,
    /// The store answers.
    pub store: bool,
    /// Channels that take requests.
    pub channels_serving: usize,
    /// Channels in force.
    pub channels: usize,
}

/// Client keys of the store. Those of the config file are not listed.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct KeyList {
    /// Oldest first, revoked ones too.
    pub keys: Vec<ClientKeyView>,
}

/// Channels.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ChannelList {
    /// Those in force, in the order of the configuration.
    pub channels: Vec<ChannelView>,
    /// Those of the store that are not in force, and why.
    pub broken: Vec<BrokenChannel>,
}

/// A channel of the store that is not in force.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct BrokenChannel {
    /// Its name.
    pub name: String,
    /// What is wrong; empty: it was stored a moment ago.
    pub problems: Vec<Problem>,
}

/// One channel.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ChannelDetail {
    /// Its name.
    pub name: String,
    /// How it runs; null: it is not in force.
    pub in_force: Option<ChannelView>,
    /// How it is stored; null: it is one of the config file or of the environment.
    pub stored: Option<StoredDefinition>,
}

/// A channel as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct StoredDefinition {
    /// Its members, as they were written; without its provider keys.
    #[schema(value_type = Object)]
    pub definition: Box<RawValue>,
    /// What may be shown of its provider keys.
    pub keys: Vec<String>,
    /// Last change, Unix seconds.
    pub updated_at: i64,
    /// Warnings, or why it is not in force.
    pub problems: Vec<Problem>,
}

/// A channel to be stored: the members of a channel in the config file. `${VARIABLE}` and `{file: …}` are not resolved here. The
/// documentation of the config file says more about each.
#[derive(Clone, Debug, ToSchema)]
pub struct ChannelDefinition {
    /// Its name: letters, digits, `.`, `_`, `-`. With PUT it may be left out.
    pub name: Option<String>,
    /// Whose API it speaks: `openai`, `anthropic`, `gemini`.
    pub format: String,
    /// Where it is; absent: the vendor's own address.
    pub base_url: Option<String>,
    /// For `openai`: some of `chat`, `responses`, `embeddings`.
    pub apis: Option<Vec<String>>,
    /// Names and globs, or an object of public name to upstream name.
    #[schema(value_type = Option<Object>)]
    pub models: Option<Box<RawValue>>,
    /// Its provider keys. They are write-only. Absent with PUT: the stored ones stay, as long as `format` and `base_url` stay.
    #[schema(write_only)]
    pub keys: Option<Vec<String>>,
    /// Share among equals.
    pub weight: Option<u32>,
    /// Higher first.
    pub priority: Option<i64>,
    /// What it does differently: `compat`, `deepseek`, `openrouter` …
    pub dialect: Option<String>,
    /// `auto` or `1.1`.
    pub http: Option<String>,
    /// Headers sent with every request; no credentials.
    #[schema(value_type = Option<Object>)]
    pub headers: Option<Box<RawValue>>,
    /// Output limit written where the upstream demands one and the client gave none.
    pub default_max_tokens: Option<u64>,
    /// `cancel`, or `drain`: answers whose client has left are read to their usage, for providers that bill them anyway.
    pub on_client_gone: Option<String>,
    /// `connect`, `tls`, `first_byte`, `idle`, `total`, `total_stream`.
    #[schema(value_type = Option<Object>)]
    pub timeouts: Option<Box<RawValue>>,
    /// When it is left alone for a while.
    #[schema(value_type = Option<Object>)]
    pub breaker: Option<Box<RawValue>>,
    /// How it is asked in the background whether it is well.
    #[schema(value_type = Option<Object>)]
    pub health: Option<Box<RawValue>>,
    /// What may be used of it.
    pub limits: Option<LimitsDefinition>,
    /// Money that may be used with it.
    pub budget: Option<BudgetsDefinition>,
    /// What it really costs, of the list price: `0.8`.
    pub cost_multiplier: Option<Amount>,
}

/// What to test a channel with.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TestWish {
    /// Model, by its public name; absent: one that the channel names.
    #[serde(default)]
    pub model: Option<String>,
}

impl Members for TestWish {
    const MEMBERS: &'static [&'static str] = &["model"];
}

/// Routes of the store.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RoutesView {
    /// The members of `routes` in the config file, as they were written; null: those of the config file hold.
    #[schema(value_type = Option<Object>)]
    pub definition: Option<Box<RawValue>>,
    /// Warnings, or why they are not in force.
    pub problems: Vec<Problem>,
}

/// Routes to be stored: the members of `routes` in the config file. They replace all routes of the file.
#[derive(Clone, Debug, ToSchema)]
pub struct RoutesDefinition {
    /// How equals are ordered: `weighted`, `round_robin`, `failover`, `least_connections`, `latency`.
    pub strategy: Option<String>,
    /// Public name to model.
    #[schema(value_type = Option<Object>)]
    pub aliases: Option<Box<RawValue>>,
    /// Rules, each with `match` and some of `channels`, `models`, `strategy`.
    #[schema(value_type = Option<Vec<Object>>)]
    pub rules: Option<Vec<Box<RawValue>>>,
}

/// Why a recent request went where it went.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PastRequest {
    /// Id of the request, as in the header `x-request-id`.
    pub request_id: String,
    /// Its way, in the members of a planned one.
    #[serde(flatten)]
    pub explanation: Explanation,
}

/// Entries of the audit log.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AuditList {
    /// Newest first.
    pub entries: Vec<AuditItem>,
    /// Give this as `before` for the next page; null: there is none.
    pub next: Option<i64>,
}

/// One act of an operator.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AuditItem {
    /// Grows with every entry.
    pub id: i64,
    /// Unix seconds.
    pub at: i64,
    /// Who: `admin` (by token), `dashboard` (by session), `cli`.
    pub actor: String,
    /// What was done: `key.create`, `channel.disable` …
    pub action: String,
    /// To what: an id or a name.
    pub object: String,
    /// More about it; no secrets.
    #[schema(value_type = Option<Object>)]
    pub detail: Option<Box<RawValue>>,
}

/// The admin token, for a session.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// The admin token.
    #[schema(write_only)]
    pub token: String,
}

impl Members for Login {
    const MEMBERS: &'static [&'static str] = &["token"];
}

/// A session of a browser.
#[derive(Clone, Serialize, ToSchema)]
pub struct SessionView {
    /// Has to come in the header `x-csrf-token` with every change.
    pub csrf_token: String,
    /// Unix seconds. Without requests it ends after an hour.
    pub ends_at: i64,
}
