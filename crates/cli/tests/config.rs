//! What the configuration makes for other crates, held against what they read; and the examples in the documentation.

#![expect(clippy::unwrap_used, reason = "tests may")]

use std::path::Path;

use opm_config::{Config, Environment, compile_file};
use opm_core::Usage;
use opm_ledger::{Prices, Rule, Tier, Tokens};

const VARIABLES: [&str; 2] = ["OPENAI_API_KEY", "TEAM_A_KEY"];

fn read(text: &str) -> Config {
    let env = Environment::new(VARIABLES.map(|name| (name, "a-value-that-is-long-enough")));
    let loaded = compile_file("opm.yaml".as_ref(), text, &env);
    assert!(loaded.problems.is_empty(), "{:?}", loaded.problems);
    loaded.config.unwrap()
}

fn rules(prices: &str) -> Vec<Rule> {
    let text = format!("channels: [{{ name: a, format: openai }}]\nprices:\n{prices}");
    Rule::list(&read(&text).prices.unwrap()).unwrap()
}

#[test]
fn the_ledger_reads_every_price_that_the_configuration_knows() {
    let tokens = [
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
    let mut members = Vec::new();
    for class in tokens {
        for tier in ["", ".batch", ".flex", ".priority", ".ultrafast"] {
            members.push(format!("\"{class}{tier}\": 1.25"));
            members.push(format!("\"{class}{tier}>200k\": 2.5"));
        }
    }
    let text = format!(
        "- models: [\"*\"]\n  per_million: {{ {} }}\n  per_thousand: {{ web_search: 10 }}\n",
        members.join(", ")
    );
    let rules = rules(&text);
    assert_eq!(rules.len(), 1);
    // Nothing was left out or read as something else.
    let (mut shown, mut asked) = (
        Vec::new(),
        vec![("web_search.standard".to_owned(), 10_000_000_000)],
    );
    for rate in rules.first().unwrap().rates() {
        let above = if rate.above > 0 {
            format!(">{}", rate.above)
        } else {
            String::new()
        };
        shown.push((
            format!("{}.{}{above}", rate.class.as_str(), rate.tier.as_str()),
            rate.price.0,
        ));
    }
    for class in tokens {
        for tier in ["standard", "batch", "flex", "priority", "ultrafast"] {
            asked.push((format!("{class}.{tier}"), 1_250_000));
            asked.push((format!("{class}.{tier}>200000"), 2_500_000));
        }
    }
    shown.sort();
    asked.sort();
    assert_eq!(shown, asked);
}

#[test]
fn a_price_of_the_configuration_counts_from_its_day_and_for_its_provider() {
    let text = "- { provider: openai, models: [\"my-*\"], per_million: { input: 1.25, output: 10 }, from: 2026-01-01 }\n";
    let prices = Prices::new(rules(text)).unwrap();
    let usage = Usage {
        input: Some(1_000_000),
        output: Some(100_000),
        ..Usage::default()
    };
    let cost = |provider, at_ms| {
        let cost = prices.cost(&Tokens::from(&usage), provider, "my-model", Tier::Standard, at_ms);
        cost.map(|cost| cost.total.to_string())
    };
    // 2026-01-01T00:00:00Z.
    let day = 1_767_225_600_000;
    assert_eq!(cost("openai", day), Some("$2.25".to_owned()));
    assert_eq!((cost("openai", day - 1), cost("anthropic", day)), (None, None));
}

#[test]
fn the_examples_of_limits_in_both_readmes_are_valid_and_the_same() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let found = ["README.md", "README.zh-CN.md"].map(|name| {
        let text = std::fs::read_to_string(root.join(name)).unwrap();
        let mut blocks = text
            .split("```yaml\n")
            .skip(1)
            .filter_map(|block| block.split("```").next());
        let block = blocks.find(|block| block.contains("\nlimits:")).unwrap();
        let config = read(block);
        Rule::list(config.prices.as_deref().unwrap()).unwrap();
        (
            config.limits,
            config.prices,
            config.keys.first().unwrap().limits.clone(),
        )
    });
    let [english, chinese] = &found;
    assert_eq!(english, chinese);
    assert_eq!(english.0.len(), 2);
}
