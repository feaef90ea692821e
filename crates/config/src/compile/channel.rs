//! `channels:`.

use ai_api_converter::{Dialect, Format};
use opm_core::Secret;
use serde_saphyr::Spanned;

use super::limit;
use super::resilience::{breaker, health, timeouts};
use super::secret::secrets;
use super::{Defaults, Named};
use crate::base_url::BaseUrl;
use crate::config::{Channel, ChannelState, Config, Models, Timeouts, Vendor};
use crate::diagnostic::{Problem, Severity};
use crate::node::{Node, Placed, place};
use crate::resilience::Breaker;
use crate::section::Reading;

/// Built-in model rule of OpenAI (architecture.md section 6).
pub(super) const OPENAI_MODELS: &[&str] = &["gpt-*", "o1*", "o3*", "o4*", "chatgpt-*", "text-embedding-*"];

/// A channel with the defaults of its vendor.
pub(super) fn new(
    name: String,
    vendor: Vendor,
    base_url: BaseUrl,
    keys: Vec<Secret>,
    models: Models,
) -> Channel {
    let official = base_url.host == "api.openai.com";
    let formats = match vendor {
        Vendor::OpenAi if official => vec![Format::Responses, Format::Chat],
        Vendor::OpenAi => vec![Format::Chat],
        Vendor::Anthropic => vec![Format::Messages],
        Vendor::Gemini => vec![Format::Gemini],
    };
    Channel {
        name,
        vendor,
        formats,
        embeddings: vendor != Vendor::Anthropic,
        dialect: dialect_of(vendor, &base_url),
        base_url,
        keys,
        models,
        weight: 1,
        priority: 0,
        timeouts: Timeouts::default(),
        breaker: Breaker::default(),
        health: None,
        state: ChannelState::default(),
        http1: false,
        headers: Vec::new(),
        default_max_tokens: None,
        limits: crate::limit::Limits::default(),
        drains: false,
        cost_millionths: 1_000_000,
    }
}

/// What a host is known to do differently.
fn dialect_of(vendor: Vendor, url: &BaseUrl) -> Dialect {
    let host = url.host.as_str();
    match vendor {
        Vendor::OpenAi if host.ends_with("deepseek.com") => Dialect::DeepSeek,
        Vendor::OpenAi if host.ends_with("openrouter.ai") => Dialect::OpenRouter,
        Vendor::OpenAi if host.ends_with("googleapis.com") => Dialect::GoogleCompat,
        Vendor::Gemini if host.ends_with("aiplatform.googleapis.com") => Dialect::Vertex,
        _ => Dialect::Native,
    }
}

/// Most that an account can cost, in millionths of the list price: a thousand times as much.
const MULTIPLIER_MAX: u64 = 1_000_000_000;
const CHANNEL: &[&str] = &[
    "name",
    "format",
    "base_url",
    "apis",
    "keys",
    "models",
    "weight",
    "priority",
    "timeouts",
    "breaker",
    "health",
    "state",
    "dialect",
    "http",
    "headers",
    "default_max_tokens",
    "limits",
    "budget",
    "quirks",
    "cost_multiplier",
    "on_client_gone",
];
pub(super) const VENDORS: &[(&str, Vendor)] = &[
    ("openai", Vendor::OpenAi),
    ("anthropic", Vendor::Anthropic),
    ("gemini", Vendor::Gemini),
];
/// Are answers whose client has left read to their end?
const ON_CLIENT_GONE: &[(&str, bool)] = &[("cancel", false), ("drain", true)];
const STATES: &[(&str, ChannelState)] = &[
    ("enabled", ChannelState::Enabled),
    ("draining", ChannelState::Draining),
    ("disabled", ChannelState::Disabled),
];
const DIALECTS: &[(&str, Dialect)] = &[
    ("openai", Dialect::Native),
    ("anthropic", Dialect::Native),
    ("gemini", Dialect::Native),
    ("compat", Dialect::Compat),
    ("deepseek", Dialect::DeepSeek),
    ("openrouter", Dialect::OpenRouter),
    ("google-compat", Dialect::GoogleCompat),
    ("anthropic-2026-10-21", Dialect::Anthropic20261021),
    ("anthropic-compat", Dialect::AnthropicCompat),
    ("vertex", Dialect::Vertex),
];

pub(super) fn channels(node: &Placed, defaults: Defaults, config: &mut Config, r: &mut Reading<'_>) {
    for element in r.elements(node, "channels") {
        if let Some((name_at, found)) = one_channel(element, defaults, r) {
            if config.channels.iter().any(|known| known.name == found.name) {
                let (line, column, length) = name_at;
                r.problems.push(Problem {
                    severity: Severity::Error,
                    code: "E006",
                    message: format!("another channel is named `{}`", found.name),
                    at: Some((line, column, length)),
                    help: None,
                });
            }
            config.channels.push(found);
        }
    }
}

fn one_channel(
    node: &Placed,
    defaults: Defaults,
    r: &mut Reading<'_>,
) -> Option<((usize, usize, usize), Channel)> {
    let members = r.members(node, "a channel");
    let find = |name: &str| {
        members
            .iter()
            .find(|(key, _)| key.value == name)
            .map(|(_, value)| value)
    };
    let name_node = find("name");
    if name_node.is_none() {
        r.error("E005", node, "a channel needs `name`".into(), None);
    }
    let name = name_node.and_then(|node| r.text(node));
    let keys = find("keys").map(|node| secrets(node, r)).unwrap_or_default();
    let given = find("keys").is_some_and(|node| matches!(&node.value, Node::List(list) if !list.is_empty()));
    let without = given && keys.is_empty();
    let channel = build(node, name.unwrap_or_default(), keys, defaults, r)?;
    if without {
        // Without its keys it would pass the callers' own credentials on, which nobody asked for.
        let text = format!("all keys of channel `{}` are empty: it is left out", channel.name);
        r.warning("W003", node, text);
        return None;
    }
    Some((name_node.map(place)?, channel))
}

/// A channel from the store.
pub(super) fn stored(node: &Placed, named: &Named, config: &Config, r: &mut Reading<'_>) -> Option<Channel> {
    if config.channels.iter().any(|known| known.name == named.name) {
        let text = format!("another channel is named `{}`", named.name);
        r.error("E006", node, text, None);
        return None;
    }
    for (key, _) in r.members(node, "a channel") {
        if matches!(key.value.as_str(), "name" | "keys") {
            r.error(
                "E002",
                key,
                format!("`{}` does not belong into a definition", key.value),
                None,
            );
        }
    }
    build(
        node,
        named.name.clone(),
        named.keys.clone(),
        Defaults::default(),
        r,
    )
}

fn build(
    node: &Placed,
    name: String,
    keys: Vec<Secret>,
    defaults: Defaults,
    r: &mut Reading<'_>,
) -> Option<Channel> {
    let members = r.members(node, "a channel");
    let find = |name: &str| {
        members
            .iter()
            .find(|(key, _)| key.value == name)
            .map(|(_, value)| value)
    };
    for (key, _) in members {
        if !CHANNEL.contains(&key.value.as_str()) {
            r.unknown(key, CHANNEL);
        } else if key.value == "quirks" {
            r.inactive(key);
        }
    }
    if find("format").is_none() {
        r.error("E005", node, "a channel needs `format`".into(), None);
    }
    let vendor = find("format").and_then(|node| r.word(node, VENDORS));
    let base_url = match find("base_url") {
        Some(node) => base_url(node, r),
        None => vendor.and_then(|vendor| BaseUrl::parse(default_url(vendor)).ok()),
    };
    let given = find("models").map(|node| models(node, r));
    let (vendor, base_url) = (vendor?, base_url?);
    let models = match given {
        Some(models) => models?,
        None => default_models(vendor, &base_url),
    };
    let mut channel = new(name, vendor, base_url, keys, models);
    channel.timeouts = defaults.timeouts;
    channel.breaker = defaults.breaker;
    options(members, &mut channel, r);
    Some(channel)
}

fn base_url(node: &Placed, r: &mut Reading<'_>) -> Option<BaseUrl> {
    let text = r.text(node)?;
    match BaseUrl::parse(&text) {
        Ok(url) => Some(url),
        Err(why) => {
            r.error("E007", node, format!("`base_url` is not usable: {why}"), None);
            None
        }
    }
}

/// What a channel serves that says nothing about models.
fn default_models(vendor: Vendor, url: &BaseUrl) -> Models {
    let globs: &[&str] = match vendor {
        Vendor::Anthropic => &["claude*"],
        Vendor::Gemini => &["gemini*"],
        Vendor::OpenAi if url.host == "api.openai.com" => OPENAI_MODELS,
        Vendor::OpenAi => &["*"],
    };
    Models::Globs(globs.iter().map(|glob| (*glob).to_owned()).collect())
}

fn default_url(vendor: Vendor) -> &'static str {
    match vendor {
        Vendor::OpenAi => "https://api.openai.com",
        Vendor::Anthropic => "https://api.anthropic.com",
        Vendor::Gemini => "https://generativelanguage.googleapis.com",
    }
}

fn options(members: &[(Spanned<String>, Placed)], channel: &mut Channel, r: &mut Reading<'_>) {
    for (key, value) in members {
        match key.value.as_str() {
            "apis" => apis(value, channel, r),
            "weight" => {
                if let Some(weight) = r.number(value, 0..=1_000_000) {
                    channel.weight = u32::try_from(weight).unwrap_or(1);
                }
            }
            "priority" => {
                if let Some(priority) = r.number(value, -1_000_000..=1_000_000) {
                    channel.priority = priority;
                }
            }
            "timeouts" => timeouts(value, &mut channel.timeouts, r),
            "breaker" => breaker(value, &mut channel.breaker, r),
            "health" => channel.health = health(value, r),
            "state" => {
                if let Some(state) = r.word(value, STATES) {
                    channel.state = state;
                }
            }
            "dialect" => {
                if let Some(dialect) = r.word(value, DIALECTS) {
                    channel.dialect = dialect;
                }
            }
            "http" => {
                if let Some(http1) = r.word(value, &[("auto", false), ("1.1", true)]) {
                    channel.http1 = http1;
                }
            }
            "headers" => {
                for (name, value) in r.members(value, "headers") {
                    let good = |text: &str| {
                        !text.is_empty()
                            && text
                                .bytes()
                                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
                    };
                    if !good(&name.value) {
                        r.error("E008", name, format!("`{}` is no header name", name.value), None);
                    }
                    if let Some(text) = r.text(value) {
                        channel.headers.push((name.value.to_ascii_lowercase(), text));
                    }
                }
            }
            "default_max_tokens" => {
                channel.default_max_tokens = r
                    .number(value, 1..=10_000_000)
                    .and_then(|tokens| u64::try_from(tokens).ok());
            }
            "on_client_gone" => channel.drains = r.word(value, ON_CLIENT_GONE).unwrap_or(channel.drains),
            "cost_multiplier" => {
                if let Some(millionths) = r.decimal(value, 6, 0..=MULTIPLIER_MAX) {
                    channel.cost_millionths = millionths;
                }
            }
            _ => {
                limit::member(key, value, &mut channel.limits, r);
            }
        }
    }
}

fn apis(node: &Placed, channel: &mut Channel, r: &mut Reading<'_>) {
    const WORDS: &[(&str, Option<Format>)] = &[
        ("chat", Some(Format::Chat)),
        ("responses", Some(Format::Responses)),
        ("embeddings", None),
    ];
    if channel.vendor != Vendor::OpenAi {
        r.error(
            "E004",
            node,
            "`apis` is only for channels of format openai".into(),
            None,
        );
        return;
    }
    let found: Vec<Option<Format>> = r
        .elements(node, "apis")
        .iter()
        .filter_map(|item| r.word(item, WORDS))
        .collect();
    channel.embeddings = found.contains(&None);
    channel.formats = found.into_iter().flatten().collect();
    // Responses is the fuller API where both are offered.
    channel.formats.sort_by_key(|format| *format != Format::Responses);
    if channel.formats.is_empty() && !channel.embeddings {
        r.error("E005", node, "`apis` must name at least one API".into(), None);
    }
}

fn models(node: &Placed, r: &mut Reading<'_>) -> Option<Models> {
    match &node.value {
        Node::Map(members) => {
            let pairs = members
                .iter()
                .filter_map(|(key, value)| Some((key.value.clone(), r.text(value)?)));
            Some(Models::Map(pairs.collect()))
        }
        Node::List(_) | Node::Text(_) => Some(Models::Globs(r.texts(node))),
        other => {
            let text = format!("`models` is a list of names or a mapping, found {}", other.name());
            r.error("E003", node, text, None);
            None
        }
    }
}
