//! Properties of output bounds: whatever the body, it is held, once is enough, and nothing else changes.

#![expect(clippy::unwrap_used, reason = "tests may")]

use ai_api_converter::bound::{OutputMember, bound_output};
use ai_api_converter::scan::{Bounding, scan};
use ai_api_converter::{Dialect, Format, Options, Source, Target, convert_request};
use proptest::prelude::*;
use serde_json::Value;

/// Values of all kinds, as source text, in odd spellings.
fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("1.10e2".to_owned()),
        "-?(0|[1-9][0-9]{0,20})",
        "\"[a-z{}:,\\[\\] ]{0,9}(\\\\\"|\\\\\\\\|\\\\u00e9|\\\\n)?[é你🙂]?\"",
        Just("\"max_tokens\\\":1\"".to_owned()),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(|list| format!("[ {} ]", list.join(" ,"))),
            prop::collection::vec((name(), inner), 0..3).prop_map(|members| object(&members)),
        ]
    })
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("max_tokens".to_owned()),
        Just("generationConfig".to_owned()),
        "[a-z]{1,3}"
    ]
}

fn object(members: &[(String, String)]) -> String {
    let members: Vec<String> = members
        .iter()
        .map(|(name, value)| format!("\"{name}\" : {value}"))
        .collect();
    format!("{{{}}}", members.join(" ,\n"))
}

/// A member that bounds the output in some format, or says something about it.
fn bounding() -> impl Strategy<Value = (String, String)> {
    let names = prop::sample::select(vec![
        "max_tokens",
        "max\\u005ftokens",
        "max_completion_tokens",
        "max_output_tokens",
    ]);
    let value = prop_oneof![
        (0u64..4000).prop_map(|n| n.to_string()),
        Just("null".to_owned()),
        Just("-1".to_owned()),
        Just("2.5e2".to_owned()),
        Just("99999999999999999999".to_owned()),
    ];
    let config = prop::collection::vec(
        (
            prop::sample::select(vec!["maxOutputTokens", "max_output_tokens", "topK", "x"]),
            value.clone(),
        ),
        0..3,
    );
    let thinking = (0u64..4000, prop::bool::ANY).prop_map(|(budget, on)| {
        let kind = if on { "enabled" } else { "adaptive" };
        format!("{{\"budget_tokens\":{budget},\"type\":\"{kind}\"}}")
    });
    prop_oneof![
        4 => (names, value).prop_map(|(name, value)| (name.to_owned(), value)),
        2 => (prop::bool::ANY, config).prop_map(|(camel, members)| {
            let members: Vec<_> = members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
            let name = if camel { "generationConfig" } else { "generation_config" };
            (name.to_owned(), object(&members))
        }),
        1 => Just(("generationConfig".to_owned(), "null".to_owned())),
        1 => thinking.prop_map(|thinking| ("thinking".to_owned(), thinking)),
        1 => Just(("prompt".to_owned(), "\"p\"".to_owned())),
    ]
}

/// Members of a body: those that are its bound, and others whose text must not change.
fn members() -> impl Strategy<Value = Vec<(String, String)>> {
    let other = (
        "[a-z]{1,4}é?".prop_filter("no member of meaning", |name| name != "n"),
        json(),
    );
    prop::collection::vec(prop_oneof![bounding(), other], 0..7)
}

fn ways() -> impl Strategy<Value = OutputMember> {
    let formats = prop::sample::select(Format::ALL.to_vec());
    let dialects = prop::sample::select(vec![Dialect::Native, Dialect::Compat]);
    (formats.clone(), formats, dialects)
        .prop_map(|(client, upstream, dialect)| OutputMember::of(client, upstream, dialect))
}

/// The document without what bounds the output.
fn without_bounds(body: &[u8]) -> Value {
    let mut body: Value = serde_json::from_slice(body).unwrap();
    let members = body.as_object_mut().unwrap();
    for name in ["max_tokens", "max_completion_tokens", "max_output_tokens"] {
        members.remove(name);
    }
    for name in ["generationConfig", "generation_config"] {
        if let Some(config) = members.get_mut(name).and_then(Value::as_object_mut) {
            config.remove("maxOutputTokens");
            config.remove("max_output_tokens");
        }
        if members.get(name).is_some_and(|config| {
            config.is_null() || config.as_object().is_some_and(serde_json::Map::is_empty)
        }) {
            members.remove(name);
        }
    }
    if let Some(thinking) = members.get_mut("thinking").and_then(Value::as_object_mut) {
        thinking.remove("budget_tokens");
    }
    body
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn a_body_is_held_once_and_for_all_and_nothing_else_changes(members in members(), way in ways(), most in 0u64..3000) {
        let body = format!(" {}\n", object(&members));
        let found = scan(body.as_bytes()).unwrap();
        let given = way.given(&found);
        match bound_output(body.as_bytes(), &found, way, most) {
            Err(little) => prop_assert!(little.least > most, "{}", body),
            Ok(None) => prop_assert!(given.is_some_and(|given| given <= most.max(16)), "{}", body),
            Ok(Some(held)) => {
                prop_assert!(given.is_none_or(|given| given > most), "{}", body);
                let again = scan(&held).unwrap();
                let text = String::from_utf8_lossy(&held);
                prop_assert!(way.given(&again).is_some_and(|given| given <= most), "{} became {}", body, text);
                prop_assert_eq!(bound_output(&held, &again, way, most), Ok(None), "twice: {}", text);
                prop_assert_eq!(without_bounds(&held), without_bounds(body.as_bytes()), "{}", text);
                // Every other byte stays: the texts between the edits are there, in their order.
                let mut rest: &[u8] = &held;
                for (name, value) in members.iter().filter(|(name, value)| !is_bound(name, value)) {
                    let piece = format!("\"{name}\" : {value}");
                    let at = find(rest, piece.as_bytes());
                    prop_assert!(at.is_some(), "{} is gone from {}", piece, text);
                    rest = &rest[at.unwrap() + piece.len()..];
                }
                let edges = held.starts_with(&body.as_bytes()[..2]) && held.ends_with(b"\n");
                prop_assert!(edges, "{}", text);
            }
        }
    }

    /// A budget that fitted below the limit still does.
    #[test]
    fn thinking_stays_valid(budget in 1024u64..5000, above in 1u64..5000, most in 1u64..9000) {
        let body = format!(r#"{{"thinking":{{"budget_tokens":{budget},"type":"enabled"}},"max_tokens":{}}}"#, budget + above);
        let way = OutputMember::of(Format::Messages, Format::Messages, Dialect::Native);
        let held = bound_output(body.as_bytes(), &scan(body.as_bytes()).unwrap(), way, most);
        let Ok(held) = held else {
            prop_assert!(most < 1025);
            return Ok(());
        };
        let held = held.unwrap_or_else(|| body.into_bytes());
        let found = scan(&held).unwrap();
        let of = |member| found.bounds.iter().find(|bound| bound.member == member).unwrap().tokens.unwrap();
        let (budget, limit) = (of(Bounding::ThinkingBudget), of(Bounding::MaxTokens));
        prop_assert!(limit <= most && 1024 <= budget && budget < limit, "{} {}", budget, limit);
    }

    /// What a conversion asks for stays within the bound of the body, where the vendor takes so little.
    #[test]
    fn conversions_stay_within_the_bound(most in 16u64..40_000, effort in prop::sample::select(vec!["low", "high"]), model in prop::sample::select(vec!["claude-haiku-4-5", "claude-opus-4-6", "gpt-5", "gemini-2.5-flash"])) {
        let body = format!(r#"{{"model":"m","reasoning_effort":"{effort}","messages":[{{"role":"user","content":"q"}}]}}"#);
        for upstream in [Format::Responses, Format::Messages, Format::Gemini] {
            let way = OutputMember::of(Format::Chat, upstream, Dialect::Native);
            let held = bound_output(body.as_bytes(), &scan(body.as_bytes()).unwrap(), way, most).unwrap().unwrap();
            let source = Source { format: Format::Chat, model: None, stream: false, array: false };
            let target = Target { format: upstream, dialect: Dialect::Native, model, domain: 1 };
            let options = Options { max_output: Some(most), ..Options::default() };
            let converted = convert_request(&held, &source, &target, &options).unwrap();
            let sent = scan(&converted.body).unwrap();
            let out = OutputMember::of(upstream, upstream, Dialect::Native).given(&sent);
            prop_assert_eq!(out, Some(most), "{}", String::from_utf8_lossy(&converted.body));
        }
    }
}

fn is_bound(name: &str, value: &str) -> bool {
    let bounds = [
        "max_tokens",
        "max\\u005ftokens",
        "max_completion_tokens",
        "max_output_tokens",
        "generationConfig",
        "generation_config",
        "thinking",
    ];
    bounds.contains(&name) && !value.is_empty()
}

fn find(text: &[u8], piece: &[u8]) -> Option<usize> {
    text.windows(piece.len()).position(|window| window == piece)
}
