//! `prices:`: the operator's own prices, as the ledger reads them (a test of the command holds the two together).

use ai_api_converter::json::Writer;

use super::channel::VENDORS;
use crate::config::{Config, Vendor};
use crate::node::{Node, Placed};
use crate::section::{Reading, nearest};
use crate::units::count;

const RULE: &[&str] = &["provider", "models", "per_million", "per_thousand", "from"];
/// What is counted in tokens.
const TOKENS: &[&str] = &[
    "input",
    "cache_read",
    "cache_write_short",
    "cache_write_long",
    "audio_input",
    "image_input",
    "output",
    "reasoning",
    "audio_output",
    "image_output",
];
/// What is counted one by one.
const CALLS: &[&str] = &["web_search"];
/// Service tiers; the first is meant where none is named.
const TIERS: &[&str] = &[
    "standard",
    "batch",
    "flex",
    "priority",
    "ultrafast",
    "fast",
    "us",
    "fast_us",
    "batch_us",
];

/// A unit that prices are given in, and what one of it is in picodollars per token or call.
struct Unit {
    member: &'static str,
    classes: &'static [&'static str],
    /// Decimals of a US dollar for which a picodollar is left per token or call.
    places: usize,
    /// US dollars.
    most: u64,
}

const UNITS: [Unit; 2] = [
    Unit {
        member: "per_million",
        classes: TOKENS,
        places: 6,
        most: 1_000_000,
    },
    Unit {
        member: "per_thousand",
        classes: CALLS,
        places: 9,
        most: 1_000,
    },
];

/// The rules of one entry.
#[derive(Default)]
struct Rule {
    provider: Option<Vendor>,
    models: Vec<String>,
    from: Option<String>,
    /// Name and picodollars.
    rates: Vec<(String, u64)>,
}

pub(super) fn prices(node: &Placed, config: &mut Config, r: &mut Reading<'_>) {
    let rules: Vec<Rule> = r
        .elements(node, "prices")
        .iter()
        .map(|element| rule(element, r))
        .collect();
    config.prices = (!rules.is_empty()).then(|| json(&rules));
}

fn rule(node: &Placed, r: &mut Reading<'_>) -> Rule {
    let mut found = Rule::default();
    let members = r.members(node, "a price");
    for (key, value) in members {
        match key.value.as_str() {
            "provider" => found.provider = r.word(value, VENDORS),
            "models" => found.models = r.texts(value),
            "from" => found.from = day(value, r),
            name => match UNITS.iter().find(|unit| unit.member == name) {
                Some(unit) => rates(value, unit, &mut found.rates, r),
                None => r.unknown(key, RULE),
            },
        }
    }
    let given = |name: &str| members.iter().any(|(key, _)| key.value == name);
    if !matches!(node.value, Node::Map(_)) {
        return found;
    }
    if !given("models") || found.models.iter().any(String::is_empty) {
        let help = Some("write names or patterns: models: [\"my-*\"]".into());
        r.error("E005", node, "a price needs `models`".into(), help);
    }
    // The whole entry takes the place of the built-in prices: what it leaves out would have no price and escape every budget.
    let priced = members
        .iter()
        .filter(|(key, _)| key.value == "per_million")
        .any(|(_, value)| matches!(&value.value, Node::Map(rates) if rates.iter().any(|(name, _)| name.value == "input")));
    if !priced {
        let help = Some("write { input: 1.25, output: 10 }, in US dollars; 0 if it is free".into());
        r.error(
            "E005",
            node,
            "a price needs `input` under `per_million`".into(),
            help,
        );
    }
    found
}

fn rates(node: &Placed, unit: &Unit, found: &mut Vec<(String, u64)>, r: &mut Reading<'_>) {
    for (key, value) in r.members(node, unit.member) {
        let most = unit.most * 10_u64.pow(u32::try_from(unit.places).unwrap_or(0));
        let price = r.decimal(value, unit.places, 0..=most);
        let name = match rate_name(&key.value, unit) {
            Ok(name) => name,
            Err((what, help)) => {
                r.error("E002", key, what, Some(help));
                continue;
            }
        };
        if found.iter().any(|(known, _)| *known == name) {
            r.error("E006", key, format!("`{name}` has a price already"), None);
        }
        found.push((name, price.unwrap_or(0)));
    }
}

/// `class[.tier][>tokens]` in the one way in which the ledger reads it; else what is wrong and what to do.
fn rate_name(text: &str, unit: &Unit) -> Result<String, (String, String)> {
    let (kind, above) = match text.split_once('>') {
        Some((kind, above)) => (kind.trim_end(), Some(above.trim_start())),
        None => (text, None),
    };
    let (class, tier) = kind.split_once('.').unwrap_or((kind, "standard"));
    if let Some(other) = UNITS
        .iter()
        .find(|other| other.member != unit.member && other.classes.contains(&class))
    {
        let what = format!("`{class}` does not belong into `{}`", unit.member);
        return Err((what, format!("put it into `{}`", other.member)));
    }
    known(class, unit.classes, "class")?;
    known(tier, TIERS, "service tier")?;
    let tier = if tier == "standard" {
        String::new()
    } else {
        format!(".{tier}")
    };
    let Some(above) = above else {
        return Ok(format!("{class}{tier}"));
    };
    match count(above).filter(|above| *above > 0) {
        Some(above) => Ok(format!("{class}{tier}>{above}")),
        None => {
            let help = "write class>TOKENS: input>200000 is for requests with more input tokens than these";
            Err((format!("`{above}` is no number of tokens"), help.into()))
        }
    }
}

fn known(word: &str, words: &[&str], what: &str) -> Result<(), (String, String)> {
    if words.contains(&word) {
        return Ok(());
    }
    let help = match nearest(word, words) {
        Some(near) => format!("did you mean `{near}`? The words are {}", words.join(", ")),
        None => format!("the words are {}", words.join(", ")),
    };
    Err((format!("unknown {what} `{word}`"), help))
}

fn day(node: &Placed, r: &mut Reading<'_>) -> Option<String> {
    let text = r.text(node)?;
    let day: Option<jiff::civil::Date> = text.parse().ok();
    let day = day.filter(|day| (1970..=9999).contains(&day.year()) && text.len() == "2026-01-01".len());
    if day.is_none() {
        let help = Some("write the day from which on it counts, in UTC: 2026-01-01".into());
        r.error("E008", node, format!("`{text}` is not a date"), help);
    }
    day.map(|day| day.to_string())
}

fn json(rules: &[Rule]) -> String {
    let mut out = Vec::new();
    Writer::new(&mut out).object(|w| {
        w.key("rules").array(|w| {
            for rule in rules {
                w.item().object(|w| write(rule, w));
            }
        });
    });
    String::from_utf8_lossy(&out).into_owned()
}

fn write(rule: &Rule, w: &mut Writer<'_>) {
    if let Some(provider) = rule.provider {
        w.key("provider").str(provider.as_str());
    }
    w.key("models").array(|w| {
        for model in &rule.models {
            w.item().str(model);
        }
    });
    if let Some(from) = &rule.from {
        w.key("valid_from").str(from);
    }
    w.key("rates").object(|w| {
        for (name, price) in &rule.rates {
            w.key(name).u64(*price);
        }
    });
}
