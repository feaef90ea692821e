//! The ordered candidates of a request.

use std::fmt;

use ai_api_converter::Format;
use opm_config::{Channel, ClientKey, Config, Origin, Strategy, Vendor};

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'w> {
    /// Public model name.
    pub model: &'w str,
    /// The client's format.
    pub format: Format,
    /// Who asks.
    pub key: Option<&'w ClientKey>,
    /// Only channels of the client's own format will do (pass-through endpoints).
    pub same_format: bool,
}

/// A channel that can serve the request, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its number in the configuration.
    pub channel: usize,
    /// Model name there.
    pub model: String,
    /// Format spoken there.
    pub format: Format,
}

/// Nobody serves the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoRoute {
    /// No channel serves the model.
    UnknownModel,
    /// The key may not use the model.
    ModelNotAllowed,
    /// Channels serve the model, but not with this API.
    OtherApi,
}

impl fmt::Display for NoRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NoRoute::UnknownModel => "no channel serves this model",
            NoRoute::ModelNotAllowed => "the key may not use this model",
            NoRoute::OtherApi => "no channel serves this API for this model",
        })
    }
}

/// Candidates, best first: higher priority, then the client's own format, then the strategy. `chance` gives numbers in 0..1.
///
/// # Errors
/// See [`NoRoute`].
pub fn route(
    config: &Config,
    wanted: Wanted<'_>,
    turn: u64,
    chance: &mut dyn FnMut() -> f64,
) -> Result<Vec<Candidate>, NoRoute> {
    if let Some(key) = wanted.key {
        let allowed = key.models.is_empty() || key.models.iter().any(|glob| matches(glob, wanted.model));
        if !allowed {
            return Err(NoRoute::ModelNotAllowed);
        }
    }
    let alias = config
        .aliases
        .iter()
        .find(|(alias, _)| alias == wanted.model)
        .map(|(_, model)| model.as_str());
    let model = alias.unwrap_or(wanted.model);
    let rule = config
        .rules
        .iter()
        .find(|rule| matches(&rule.model, wanted.model) || matches(&rule.model, model));
    let mut serving: Vec<Candidate> = Vec::new();
    for (number, channel) in config.channels.iter().enumerate() {
        let ruled = rule.filter(|rule| !rule.channels.is_empty());
        if ruled.is_some_and(|rule| !rule.channels.contains(&number)) || !may_use(wanted.key, number) {
            continue;
        }
        let own = rule
            .and_then(|rule| rule.models.iter().find(|(at, _)| *at == number))
            .map(|(_, model)| model.clone());
        // A rule that names the channel overrides what the channel lists.
        let name = own
            .or_else(|| channel.upstream_model(model))
            .or_else(|| ruled.map(|_| model.to_owned()));
        if let Some(model) = name {
            serving.push(Candidate {
                channel: number,
                model,
                format: format_for(channel, wanted.format),
            });
        }
    }
    if serving.is_empty() && config.origin == Origin::Transparent {
        serving.extend(transparent(config, wanted));
    }
    if serving.is_empty() {
        return Err(NoRoute::UnknownModel);
    }
    if wanted.same_format {
        serving.retain(|candidate| {
            config
                .channels
                .get(candidate.channel)
                .is_some_and(|channel| speaks(channel, wanted.format))
        });
        if serving.is_empty() {
            return Err(NoRoute::OtherApi);
        }
    }
    let strategy = rule.and_then(|rule| rule.strategy).unwrap_or(config.strategy);
    let by_rule = rule
        .map(|rule| rule.channels.as_slice())
        .filter(|channels| !channels.is_empty());
    order(
        config,
        &mut serving,
        wanted.format,
        strategy,
        by_rule,
        turn,
        chance,
    );
    Ok(serving)
}

fn matches(glob: &str, model: &str) -> bool {
    opm_config::matches_glob(glob, model)
}

fn may_use(key: Option<&ClientKey>, channel: usize) -> bool {
    key.and_then(|key| key.channels.as_ref())
        .is_none_or(|channels| channels.contains(&channel))
}

/// An unknown model with nothing configured: whoever speaks the client's format may know it.
fn transparent(config: &Config, wanted: Wanted<'_>) -> Option<Candidate> {
    let vendor = match wanted.format {
        Format::Chat | Format::Responses => Vendor::OpenAi,
        Format::Messages => Vendor::Anthropic,
        Format::Gemini => Vendor::Gemini,
    };
    let channel = config
        .channels
        .iter()
        .position(|channel| channel.vendor == vendor)?;
    Some(Candidate {
        channel,
        model: wanted.model.to_owned(),
        format: wanted.format,
    })
}

fn speaks(channel: &Channel, format: Format) -> bool {
    channel.formats.contains(&format)
        || (channel.vendor == Vendor::OpenAi && matches!(format, Format::Chat | Format::Responses))
}

/// The client's own format where the channel has it, else the channel's preferred one.
fn format_for(channel: &Channel, client: Format) -> Format {
    if channel.formats.contains(&client) {
        client
    } else {
        channel.formats.first().copied().unwrap_or(client)
    }
}

fn order(
    config: &Config,
    serving: &mut Vec<Candidate>,
    client: Format,
    strategy: Strategy,
    by_rule: Option<&[usize]>,
    turn: u64,
    chance: &mut dyn FnMut() -> f64,
) {
    let weight = |candidate: &Candidate| {
        config
            .channels
            .get(candidate.channel)
            .map_or(1, |channel| channel.weight)
    };
    let mut ranked: Vec<(std::cmp::Reverse<i64>, bool, f64, Candidate)> = Vec::with_capacity(serving.len());
    for candidate in serving.drain(..) {
        let priority = config
            .channels
            .get(candidate.channel)
            .map_or(0, |channel| channel.priority);
        let other_format = candidate.format != client;
        let rank = match strategy {
            // Exponential clocks: the smallest of -ln(u)/w wins with probability w / sum, and so does each next one.
            Strategy::Weighted => {
                -chance().max(f64::MIN_POSITIVE).ln() / f64::from(weight(&candidate).max(1))
            }
            Strategy::RoundRobin | Strategy::Failover => {
                let at = by_rule
                    .and_then(|channels| channels.iter().position(|channel| *channel == candidate.channel));
                f64::from(u32::try_from(at.unwrap_or(candidate.channel)).unwrap_or(u32::MAX))
            }
        };
        // A weight of 0 means: only when nobody else is left.
        let rank = if weight(&candidate) == 0 {
            f64::INFINITY
        } else {
            rank
        };
        ranked.push((std::cmp::Reverse(priority), other_format, rank, candidate));
    }
    ranked.sort_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)).then(a.2.total_cmp(&b.2)));
    if strategy == Strategy::RoundRobin {
        rotate(config, &mut ranked, turn);
    }
    serving.extend(ranked.into_iter().map(|(.., candidate)| candidate));
}

/// Weighted turns among the candidates of the first standing.
fn rotate(config: &Config, ranked: &mut [(std::cmp::Reverse<i64>, bool, f64, Candidate)], turn: u64) {
    let Some((priority, format)) = ranked.first().map(|first| (first.0, first.1)) else {
        return;
    };
    let equals = ranked
        .iter()
        .take_while(|other| (other.0, other.1) == (priority, format))
        .count();
    let Some(equals) = ranked.get_mut(..equals) else {
        return;
    };
    let weights: Vec<u64> = equals
        .iter()
        .map(|entry| {
            config
                .channels
                .get(entry.3.channel)
                .map_or(1, |channel| u64::from(channel.weight))
        })
        .collect();
    let total: u64 = weights.iter().sum();
    if total == 0 {
        return;
    }
    let mut at = turn % total;
    let first = weights.iter().position(|weight| {
        let hit = at < *weight;
        at = at.saturating_sub(*weight);
        hit
    });
    equals.rotate_left(first.unwrap_or(0));
}

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
        let vendor = config
            .channels
            .iter()
            .find(|channel| channel.upstream_model(model).is_some())
            .map(|channel| channel.vendor);
        add(alias, vendor.unwrap_or(Vendor::OpenAi));
    }
    for (number, channel) in config
        .channels
        .iter()
        .enumerate()
        .filter(|(number, _)| may_use(key, *number))
    {
        let _ = number;
        match &channel.models {
            opm_config::Models::Globs(names) => names.iter().for_each(|name| add(name, channel.vendor)),
            opm_config::Models::Map(map) => map.iter().for_each(|(name, _)| add(name, channel.vendor)),
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use opm_config::{Environment, compile_file};

    fn config(text: &str) -> Config {
        let loaded = compile_file("opm.yaml".as_ref(), text, &Environment::default());
        loaded.config.unwrap_or_else(|| panic!("{:?}", loaded.problems))
    }

    const TWO: &str = "version: 1\nchannels:\n  - { name: a, format: openai, base_url: 'http://a', models: ['m*'], weight: 3 }\n  - { name: b, format: anthropic, base_url: 'http://b', models: ['m*'], weight: 1 }\n";

    fn names(config: &Config, format: Format, model: &str, chance: &mut dyn FnMut() -> f64) -> Vec<usize> {
        let wanted = Wanted {
            model,
            format,
            key: None,
            same_format: false,
        };
        route(config, wanted, 0, chance)
            .unwrap()
            .into_iter()
            .map(|candidate| candidate.channel)
            .collect()
    }

    #[test]
    fn the_same_format_comes_first_at_equal_priority() {
        let config = config(TWO);
        for seed in 0..50 {
            let mut next = f64::from(seed) / 50.0;
            let mut chance = || {
                next = (next + 0.37) % 1.0;
                next
            };
            assert_eq!(names(&config, Format::Messages, "m1", &mut chance), [1, 0]);
            assert_eq!(names(&config, Format::Chat, "m1", &mut chance), [0, 1]);
        }
    }

    #[test]
    fn weights_converge_and_no_channel_comes_twice() {
        let text = TWO.replace("anthropic", "openai");
        let config = config(&text);
        let mut state = 1u64;
        let mut chance = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            f64::from(u32::try_from(state >> 33).unwrap()) / f64::from(1u32 << 31)
        };
        let mut first = 0;
        for _ in 0..10_000 {
            let order = names(&config, Format::Chat, "m", &mut chance);
            assert_eq!(order.len(), 2);
            assert_ne!(order[0], order[1]);
            first += usize::from(order[0] == 0);
        }
        assert!(
            (7_300..7_700).contains(&first),
            "{first} of 10000 for weight 3 of 4"
        );
    }

    #[test]
    fn round_robin_follows_the_weights_exactly() {
        let text = TWO.replace("anthropic", "openai") + "routes: { strategy: round_robin }\n";
        let config = config(&text);
        let wanted = Wanted {
            model: "m",
            format: Format::Chat,
            key: None,
            same_format: false,
        };
        let firsts: Vec<usize> = (0..8)
            .map(|turn| route(&config, wanted, turn, &mut || 0.5).unwrap()[0].channel)
            .collect();
        assert_eq!(firsts, [0, 0, 0, 1, 0, 0, 0, 1]);
    }

    #[test]
    fn unknown_models_and_forbidden_ones_are_told_apart() {
        let config = config(
            &(TWO.to_owned()
                + "keys:\n  - { name: k, key: '01234567890123456789', models: ['m1'], channels: [b] }\n"),
        );
        let wanted = |model| Wanted {
            model,
            format: Format::Chat,
            key: config.keys.first(),
            same_format: false,
        };
        assert_eq!(
            route(&config, wanted("m2"), 0, &mut || 0.5),
            Err(NoRoute::ModelNotAllowed)
        );
        let found = route(&config, wanted("m1"), 0, &mut || 0.5).unwrap();
        assert_eq!(
            (found.len(), found[0].channel, found[0].format),
            (1, 1, Format::Messages)
        );
        let anybody = Wanted {
            model: "x",
            format: Format::Chat,
            key: None,
            same_format: false,
        };
        assert_eq!(
            route(&config, anybody, 0, &mut || 0.5),
            Err(NoRoute::UnknownModel)
        );
    }

    #[test]
    fn rules_give_each_channel_its_own_model() {
        let text = TWO.to_owned()
            + "routes:\n  aliases: { smart: m9 }\n  rules:\n    - match: { model: smart }\n      channels: [b, a]\n      models: { a: gpt-x }\n      strategy: failover\n";
        let config = config(&text);
        let wanted = Wanted {
            model: "smart",
            format: Format::Gemini,
            key: None,
            same_format: false,
        };
        let found = route(&config, wanted, 0, &mut || 0.5).unwrap();
        let models: Vec<(usize, &str)> = found
            .iter()
            .map(|candidate| (candidate.channel, candidate.model.as_str()))
            .collect();
        assert_eq!(models, [(1, "m9"), (0, "gpt-x")]);
    }
}
