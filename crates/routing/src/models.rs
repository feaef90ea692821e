//! The models that a caller may see.

use opm_config::{ChannelState, ClientKey, Config, Models, Vendor};

use crate::plan::matches;

/// Names that a key may see in a model list: configured names, no globs, each once.
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
    let bound = key.and_then(|key| key.channels.as_ref());
    for (number, channel) in config.channels.iter().enumerate() {
        let usable = bound.is_none_or(|channels| channels.contains(&number));
        if !usable || channel.state != ChannelState::Enabled {
            continue;
        }
        match &channel.models {
            Models::Globs(names) => names.iter().for_each(|name| add(name, channel.vendor)),
            Models::Map(map) => map.iter().for_each(|(name, _)| add(name, channel.vendor)),
        }
    }
    list
}
