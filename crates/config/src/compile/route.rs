//! `routes:`.

use serde_saphyr::Spanned;

use crate::config::{Config, Match, Rule, Strategy};
use crate::node::{Node, Placed};
use crate::section::{Reading, nearest};

const STRATEGIES: &[(&str, Strategy)] = &[
    ("weighted", Strategy::Weighted),
    ("round_robin", Strategy::RoundRobin),
    ("failover", Strategy::Failover),
    ("least_connections", Strategy::LeastConnections),
    ("latency", Strategy::Latency),
];
/// Understood, but served as `weighted` until costs are known.
const LATER: &[&str] = &["cost"];

fn strategy(node: &Placed, r: &mut Reading<'_>) -> Option<Strategy> {
    if let Node::Text(text) = &node.value
        && LATER.contains(&text.as_str())
    {
        r.warning(
            "W001",
            node,
            format!("`{text}` has no effect in this version; `weighted` is used"),
        );
        return Some(Strategy::Weighted);
    }
    r.word(node, STRATEGIES)
}

pub(super) fn routes(node: &Placed, config: &mut Config, r: &mut Reading<'_>) {
    for (key, value) in r.members(node, "routes") {
        match key.value.as_str() {
            "strategy" => config.strategy = strategy(value, r).unwrap_or_default(),
            "aliases" => {
                for (alias, model) in r.members(value, "aliases") {
                    if let Some(model) = r.text(model) {
                        config.aliases.push((alias.value.clone(), model));
                    }
                }
            }
            "rules" => {
                for element in r.elements(value, "rules") {
                    if let Some(found) = rule(element, config, r) {
                        config.rules.push(found);
                    }
                }
            }
            _ => r.unknown(key, &["strategy", "aliases", "rules"]),
        }
    }
}

fn rule(node: &Placed, config: &Config, r: &mut Reading<'_>) -> Option<Rule> {
    let mut found = Rule::default();
    for (key, value) in r.members(node, "a rule") {
        match key.value.as_str() {
            "match" => found.matches = matches(value, r),
            "channels" => found.channels = channel_list(value, config, r),
            "models" => {
                for (name, model) in r.members(value, "models") {
                    let at = channel_number(&name.value, config);
                    match (at, r.text(model)) {
                        (Some(at), Some(model)) => found.models.push((at, model)),
                        (None, _) => unknown_channel(name, config, r),
                        _ => {}
                    }
                }
            }
            "strategy" => found.strategy = strategy(value, r),
            _ => r.unknown(key, &["match", "channels", "models", "strategy"]),
        }
    }
    if found.matches == Match::default() {
        let help = Some("write `match: { model: \"gpt-*\" }`; header and key match too".into());
        r.error("E005", node, "a rule needs `match`".into(), help);
        return None;
    }
    Some(found)
}

fn matches(node: &Placed, r: &mut Reading<'_>) -> Match {
    let mut found = Match::default();
    for (key, value) in r.members(node, "match") {
        match key.value.as_str() {
            "model" => found.model = r.text(value),
            "key" => found.key = r.text(value),
            "header" => {
                for (name, value) in r.members(value, "header") {
                    if let Some(text) = r.text(value) {
                        found.headers.push((name.value.to_ascii_lowercase(), text));
                    }
                }
            }
            _ => r.unknown(key, &["model", "header", "key"]),
        }
    }
    found
}

fn channel_number(name: &str, config: &Config) -> Option<usize> {
    config.channels.iter().position(|channel| channel.name == name)
}

fn unknown_channel<T: AsRef<str>>(at: &Spanned<T>, config: &Config, r: &mut Reading<'_>) {
    let name = at.value.as_ref();
    let known: Vec<&str> = config
        .channels
        .iter()
        .map(|channel| channel.name.as_str())
        .collect();
    let help = match nearest(name, &known) {
        Some(known) => format!("did you mean `{known}`?"),
        None => format!("the channels are {}", known.join(", ")),
    };
    r.error("E012", at, format!("no channel is named `{name}`"), Some(help));
}

pub(super) fn channel_list(node: &Placed, config: &Config, r: &mut Reading<'_>) -> Vec<usize> {
    let mut list = Vec::new();
    for element in r.elements(node, "channels") {
        let Some(name) = r.text(element) else { continue };
        match channel_number(&name, config) {
            Some(at) => list.push(at),
            None => {
                let named = Spanned {
                    value: name,
                    referenced: element.referenced,
                    defined: element.defined,
                };
                unknown_channel(&named, config, r);
            }
        }
    }
    list
}
