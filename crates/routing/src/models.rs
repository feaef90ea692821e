//! The models that a caller may see.

use opm_config::{Channel, ChannelState, ClientKey, Config, Models, Vendor};

use crate::plan::matches;

/// Well-known models: what a channel that names globs only (`gpt-*`) is listed with. A list for people and agents who look; what is
/// served is decided by the globs, not by it (conversion.md section 15, as of 2026-11).
const KNOWN: &[&str] = &[
    "gpt-4o",
    "gpt-4.1",
    "gpt-5",
    "gpt-5-mini",
    "gpt-5.1",
    "gpt-5.4-mini",
    "gpt-5.5",
    "gpt-5.6-luna",
    "gpt-5.6-sol",
    "gpt-6-luna",
    "gpt-6-sol",
    "o3",
    "o4-mini",
    "text-embedding-3-small",
    "text-embedding-3-large",
    "claude-haiku-4-5",
    "claude-sonnet-4-5",
    "claude-sonnet-4-6",
    "claude-opus-4-6",
    "claude-opus-4-8",
    "claude-sonnet-5",
    "claude-opus-5",
    "claude-haiku-5-5",
    "claude-sonnet-5-5",
    "claude-opus-5-5",
    "gemini-2.5-flash",
    "gemini-2.5-flash-lite",
    "gemini-2.5-pro",
    "gemini-3-flash",
    "gemini-3-pro",
    "gemini-embedding-001",
];

/// The vendor of a model that is served to a key although no list names it: a glob or a route covers it.
#[must_use]
pub fn serves_model(config: &Config, key: Option<&ClientKey>, name: &str) -> Option<Vendor> {
    let allowed =
        key.is_none_or(|key| key.models.is_empty() || key.models.iter().any(|glob| matches(glob, name)));
    let alias = config.aliases.iter().find(|(alias, _)| alias == name);
    let model = alias.map_or(name, |(_, model)| model.as_str());
    usable(config, key)
        .find(|channel| allowed && channel.upstream_model(model).is_some())
        .map(|channel| channel.vendor)
}

/// Channels that a key may use and that are switched on.
fn usable<'c>(config: &'c Config, key: Option<&'c ClientKey>) -> impl Iterator<Item = &'c Channel> {
    let bound = key.and_then(|key| key.channels.as_ref());
    let numbered = config.channels.iter().enumerate();
    numbered
        .filter(move |(number, _)| bound.is_none_or(|channels| channels.contains(number)))
        .map(|(_, channel)| channel)
        .filter(|channel| channel.state == ChannelState::Enabled)
}

/// Names that a key may see in a model list: configured names, and well-known ones that a glob covers; each once.
#[must_use]
pub fn served_models(config: &Config, key: Option<&ClientKey>) -> Vec<(String, Vendor)> {
    let mut list: Vec<(String, Vendor)> = Vec::new();
    let mut add = |name: &str, vendor| {
        let allowed =
            key.is_none_or(|key| key.models.is_empty() || key.models.iter().any(|glob| matches(glob, name)));
        if !name.contains('*') && allowed && !list.iter().any(|(known, _)| known == name) {
            list.push((name.to_owned(), vendor));
        }
    };
    for (alias, model) in &config.aliases {
        let serving = config
            .channels
            .iter()
            .find(|channel| channel.upstream_model(model).is_some());
        add(alias, serving.map_or(Vendor::OpenAi, |channel| channel.vendor));
    }
    for channel in usable(config, key) {
        match &channel.models {
            Models::Globs(names) => {
                names.iter().for_each(|name| add(name, channel.vendor));
                let known = KNOWN.iter().filter(|name| belongs(name, channel.vendor));
                let covered = known.filter(|name| names.iter().any(|glob| matches(glob, name)));
                covered.for_each(|name| add(name, channel.vendor));
            }
            Models::Map(map) => map.iter().for_each(|(name, _)| add(name, channel.vendor)),
        }
    }
    list
}

/// A channel for everything (`*`) is listed with its own vendor's models only.
fn belongs(model: &str, vendor: Vendor) -> bool {
    match vendor {
        Vendor::Anthropic => model.starts_with("claude"),
        Vendor::Gemini => model.starts_with("gemini"),
        Vendor::OpenAi => !model.starts_with("claude") && !model.starts_with("gemini"),
    }
}
