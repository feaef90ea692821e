//! `prices:`.

use crate::{config, one_problem};

#[test]
fn prices_are_exact_picodollars_in_the_ledgers_own_words() {
    let text = "prices:\n- provider: openai\n  models: [\"my-*\"]\n  per_million: { input: 1.25, output: 10, cache_read: 0.125, \"input>200k\": 2.5, \"output.batch\": 5, input.flex>200000: 0.000001, reasoning.standard: 3 }\n  per_thousand: { web_search: 10 }\n  from: 2026-01-01\n- { models: local, per_million: { input: 0 } }\n";
    let expected = r#"{"rules":[{"provider":"openai","models":["my-*"],"valid_from":"2026-01-01","rates":{"input":1250000,"output":10000000,"cache_read":125000,"input>200000":2500000,"output.batch":5000000,"input.flex>200000":1,"reasoning":3000000,"web_search":10000000000}},{"models":["local"],"rates":{"input":0}}]}"#;
    assert_eq!(config(text).prices.as_deref(), Some(expected));
    for none in ["", "prices: []\n", "prices:\n"] {
        assert_eq!(config(none).prices, None);
    }
}

#[test]
fn wrong_prices_are_pointed_out() {
    let good = "per_million: { input: 1 }";
    for (members, expected) in [
        (good.to_owned(), "E005 6:3 a price needs `models`"),
        (
            "models: [m]".to_owned(),
            "E005 6:3 a price needs `input` under `per_million` | write { input: 1.25, output: 10 }",
        ),
        (
            "models: [m], per_million: { output: 1 }".to_owned(),
            "E005 6:3 a price needs `input`",
        ),
        (
            format!("models: [\"\"], {good}"),
            "E005 6:3 a price needs `models`",
        ),
        (
            format!("provider: opnai, models: [m], {good}"),
            "E004 6:15 unknown word `opnai` | did you mean `openai`?",
        ),
        (
            format!("models: [m], {good}, from: 2026-13-01"),
            "E008 6:51 `2026-13-01` is not a date",
        ),
        (
            format!("models: [m], {good}, from: 2026-01-01T00:00:00"),
            "E008 6:51",
        ),
        (
            format!("models: [m], {good}, until: 2026-01-01"),
            "E002 6:45 unknown key `until`",
        ),
        (
            format!("models: [m], {good}, per_thousand: {{ input: 1 }}"),
            "E002 6:61 `input` does not belong into `per_thousand` | put it into `per_million`",
        ),
        ("just-text".to_owned(), "E003 6:3"),
    ] {
        let members = if members.contains(':') {
            format!("{{ {members} }}")
        } else {
            members
        };
        one_problem(&format!("prices:\n- {members}\n"), expected);
    }
    for (rates, expected) in [
        (
            "outptu: 1",
            "E002 6:43 unknown class `outptu` | did you mean `output`?",
        ),
        (
            "output.bach: 1",
            "E002 6:43 unknown service tier `bach` | did you mean `batch`?",
        ),
        ("\"output>many\": 1", "E002 6:43 `many` is no number of tokens"),
        ("\"output>0\": 1", "E002 6:43 `0` is no number of tokens"),
        (
            "web_search: 10",
            "E002 6:43 `web_search` does not belong into `per_million` | put it into `per_thousand`",
        ),
        ("input.standard: 2", "E006 6:43 `input` has a price already"),
        (
            "output: 0.0000001",
            "E008 6:51 `0.0000001` is not such a number | write a plain number with at most 6 decimals",
        ),
        ("output: -1", "E008 6:51"),
        (
            "output: 1000001",
            "E008 6:51 the number is out of range | it must be between 0 and 1000000",
        ),
        ("output: ten", "E008 6:51 `ten` is not such a number"),
    ] {
        let text = format!("prices:\n- {{ models: [m], per_million: {{ input: 1, {rates} }} }}\n");
        one_problem(&text, expected);
    }
}
