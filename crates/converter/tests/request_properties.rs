//! Properties of request conversion that hold for any conversation (conversion.md section 16).

#![expect(clippy::unwrap_used, reason = "tests may")]

use ai_api_converter::json::Raw;
use ai_api_converter::{
    Dialect, Format, Mode, Options, Report, Source, Target, convert_request, decode, encode, names, schema,
};
use proptest::prelude::*;
use serde_json::{Value, json};

const MODELS: [(Format, &str); 6] = [
    (Format::Chat, "gpt-4.1"),
    (Format::Responses, "gpt-5.6"),
    (Format::Messages, "claude-haiku-4-5"),
    (Format::Messages, "claude-opus-5-5"),
    (Format::Gemini, "gemini-3-flash"),
    (Format::Gemini, "gemini-2.5-flash"),
];

fn source(format: Format) -> Source<'static> {
    Source {
        format,
        model: Some("m"),
        stream: false,
        array: false,
    }
}

fn target(format: Format, model: &'static str) -> Target<'static> {
    Target {
        format,
        dialect: Dialect::Native,
        model,
        domain: 1,
    }
}

fn convert(body: &Value, from: Format, to: &Target<'_>) -> Result<(String, Report), String> {
    let options = Options {
        mode: Mode::Lenient,
        ..Options::default()
    };
    let converted = convert_request(body.to_string().as_bytes(), &source(from), to, &options);
    converted
        .map(|converted| (String::from_utf8(converted.body).unwrap(), converted.report))
        .map_err(|error| error.to_string())
}

/// Decoder and encoder of one format.
fn itself(body: &Value, format: Format, model: &'static str) -> Value {
    let text = body.to_string();
    let request = decode::request(&text, &source(format)).unwrap();
    let mut report = Report::new(format, format, Mode::Default);
    let out = encode::request(&request, &target(format, model), &Options::default(), &mut report).unwrap();
    assert!(report.is_empty(), "{report:?}");
    serde_json::from_slice(&out).unwrap()
}

fn word() -> impl Strategy<Value = String> {
    "[a-z]{1,6}( [a-zé\"\\\\]{1,5})?"
}

/// One exchange: a question, calls with their results, an answer.
type Exchange = (String, Vec<(String, String)>, String);

fn exchanges() -> impl Strategy<Value = Vec<Exchange>> {
    let call = (word(), word());
    prop::collection::vec((word(), prop::collection::vec(call, 0..3), word()), 1..5)
}

fn chat(exchanges: &[Exchange], end: bool) -> Value {
    let mut messages = vec![json!({"role": "system", "content": "be brief"})];
    for (number, (question, calls, answer)) in exchanges.iter().enumerate() {
        messages.push(json!({"role": "user", "content": question}));
        if !calls.is_empty() {
            let list: Vec<Value> = calls
                .iter()
                .enumerate()
                .map(|(at, (argument, _))| json!({"id": format!("call_{number}_{at}"), "type": "function", "function": {"name": "f", "arguments": json!({"a": argument}).to_string()}}))
                .collect();
            messages.push(json!({"role": "assistant", "content": null, "tool_calls": list}));
            for (at, (_, result)) in calls.iter().enumerate() {
                messages.push(
                    json!({"role": "tool", "tool_call_id": format!("call_{number}_{at}"), "content": result}),
                );
            }
        }
        messages.push(json!({"role": "assistant", "content": answer}));
    }
    if end {
        messages.push(json!({"role": "user", "content": "end"}));
    }
    json!({"model": "m", "messages": messages, "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "string"}}}}}]})
}

fn member(format: Format) -> &'static str {
    match format {
        Format::Chat | Format::Messages => "messages",
        Format::Responses => "input",
        Format::Gemini => "contents",
    }
}

/// The list elements of a member as they stand in the bytes.
fn elements(body: &str, name: &str) -> Vec<String> {
    let raw: std::collections::BTreeMap<String, Box<serde_json::value::RawValue>> =
        serde_json::from_str(body).unwrap();
    let list: Vec<Box<serde_json::value::RawValue>> =
        serde_json::from_str(raw.get(name).unwrap().get()).unwrap();
    list.iter().map(|element| element.get().to_owned()).collect()
}

/// A schema out of the words that vendors treat differently.
fn any_schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!({"type": "string", "minLength": 2, "format": "uri"})),
        Just(json!({"type": ["string", "null"], "pattern": "x"})),
        Just(json!({"type": "integer", "exclusiveMinimum": 0, "maximum": 5})),
        Just(json!({"type": "number", "exclusiveMaximum": 1.5})),
        Just(json!({"const": "x"})),
        Just(json!({"enum": ["", "a", 1]})),
        Just(json!({"$ref": "#/$defs/A", "description": "d"})),
        Just(json!({"$ref": "#"})),
        Just(json!({"type": "array"})),
        Just(json!({})),
    ];
    leaf.prop_recursive(3, 24, 3, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| json!({"type": "object", "properties": {"a": a, "b": b}, "required": ["a", "b"]})),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| json!({"anyOf": [a, b, {"type": "null"}], "description": "u"})),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| json!({"oneOf": [a, b]})),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| json!({"allOf": [a, b]})),
            inner.clone().prop_map(|a| json!({"type": "array", "items": a, "minItems": 2, "uniqueItems": true})),
            inner.clone().prop_map(|a| json!({"type": "object", "additionalProperties": a})),
            inner.prop_map(|a| json!({"allOf": [a]})),
        ]
    })
    .prop_map(|schema| json!({"type": "object", "properties": {"p": schema}, "required": ["p"], "$defs": {"A": {"type": "object", "properties": {"n": {"type": "integer"}, "again": {"$ref": "#/$defs/A"}}, "required": ["n", "again"]}}}))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..ProptestConfig::default() })]

    /// P2: a body of the known part of a format comes out of decoder and encoder as it went in.
    #[test]
    fn a_known_body_survives_decoder_and_encoder(list in exchanges()) {
        let chat = chat(&list, true);
        for (format, model) in MODELS {
            let body: Value = if format == Format::Chat {
                chat.clone()
            } else {
                serde_json::from_str(&convert(&chat, Format::Chat, &target(format, model)).unwrap().0).unwrap()
            };
            let once = itself(&body, format, model);
            prop_assert_eq!(&once[member(format)], &body[member(format)], "{}", format);
            for name in ["tools", "system", "instructions", "systemInstruction", "tool_choice", "max_tokens", "generationConfig"] {
                prop_assert_eq!(&once[name], &body[name], "{} {}", format, name);
            }
            prop_assert_eq!(itself(&once, format, model), once);
        }
    }

    /// P3: what comes out of the second format says what went into it.
    #[test]
    fn the_second_hop_changes_nothing(list in exchanges()) {
        let chat = chat(&list, true);
        for (format, model) in MODELS {
            let there = convert(&chat, Format::Chat, &target(format, model)).unwrap().0;
            let there: Value = serde_json::from_str(&there).unwrap();
            for (other, other_model) in MODELS {
                if other == format || other == Format::Chat {
                    continue;
                }
                let direct = convert(&chat, Format::Chat, &target(other, other_model)).unwrap().0;
                let around = convert(&there, format, &target(other, other_model)).unwrap().0;
                let (direct, around): (Value, Value) = (serde_json::from_str(&direct).unwrap(), serde_json::from_str(&around).unwrap());
                // Gemini before 3 has no ids to keep.
                if model != "gemini-2.5-flash" {
                    prop_assert_eq!(&direct[member(other)], &around[member(other)], "{} to {}", format, other);
                }
            }
        }
    }

    /// P5: a longer conversation begins with the bytes of the shorter one.
    #[test]
    fn history_is_append_only(list in exchanges(), cut in any::<prop::sample::Index>()) {
        let cut = cut.index(list.len()) + 1;
        let (shorter, longer) = (chat(&list[..cut], false), chat(&list, true));
        for (format, model) in MODELS.into_iter().filter(|row| row.1 != "claude-opus-5-5") {
            let to = target(format, model);
            if format == Format::Chat {
                continue;
            }
            let shorter = convert(&shorter, Format::Chat, &to).unwrap().0;
            let longer = convert(&longer, Format::Chat, &to).unwrap().0;
            // The stand-in for a signature belongs to the current turn only (7.5), which is another one in the longer history.
            let stand_in = r#","thoughtSignature":"c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I=""#;
            let (shorter, longer) = (shorter.replace(stand_in, ""), longer.replace(stand_in, ""));
            let (a, b) = (elements(&shorter, member(format)), elements(&longer, member(format)));
            prop_assert!(b.starts_with(&a), "{}\n{:?}\n{:?}", format, a, b);
            let (shorter, longer): (Value, Value) = (serde_json::from_str(&shorter).unwrap(), serde_json::from_str(&longer).unwrap());
            for name in ["tools", "system", "instructions", "systemInstruction"] {
                prop_assert_eq!(&shorter[name], &longer[name]);
            }
        }
    }

    /// P6 and P7: the same bytes every time, and an error always points into the body.
    #[test]
    fn errors_point_into_the_body(list in exchanges(), at in any::<prop::sample::Index>(), junk in prop_oneof![Just(json!(1)), Just(json!([])), Just(json!({"type": "x"})), Just(json!(null)), Just(json!("s"))]) {
        let mut body = chat(&list, true);
        let messages = body["messages"].as_array_mut().unwrap();
        let at = at.index(messages.len());
        messages[at] = junk;
        for (format, model) in MODELS.into_iter().filter(|row| row.0 != Format::Chat) {
            let options = Options::default();
            let run = || convert_request(body.to_string().as_bytes(), &source(Format::Chat), &target(format, model), &options);
            match (run(), run()) {
                (Ok(a), Ok(b)) => prop_assert_eq!(a.body, b.body),
                (Err(a), Err(b)) => {
                    prop_assert_eq!(&a, &b);
                    prop_assert!(a.pointer().starts_with("/messages"), "{}", a);
                }
                _ => prop_assert!(false, "two runs differ"),
            }
        }
    }

    /// P10: ids are a pure function, distinct ones stay distinct, and every result finds its call.
    #[test]
    fn ids_stay_apart(ids in prop::collection::hash_set("[ -~]{1,90}", 2..6)) {
        for format in Format::ALL {
            let mapped: std::collections::HashSet<String> = ids.iter().map(|id| names::call_id(id, format).into_owned()).collect();
            prop_assert_eq!(mapped.len(), ids.len(), "{:?}", ids);
            for id in &ids {
                prop_assert_eq!(names::call_id(id, format), names::call_id(id, format));
            }
        }
    }

    /// P11: names of tools stay apart and come back.
    #[test]
    fn tool_names_are_a_bijection(list in prop::collection::hash_set("[a-z.:_é -]{1,90}", 1..6)) {
        let tools: Vec<Value> = list.iter().map(|name| json!({"type": "function", "function": {"name": name}})).collect();
        let body = json!({"model": "m", "messages": [{"role": "user", "content": "q"}], "tools": tools});
        for (format, model) in MODELS.into_iter().filter(|row| row.0 != Format::Chat) {
            let converted = convert_request(body.to_string().as_bytes(), &source(Format::Chat), &target(format, model), &Options::default()).unwrap();
            let mapped: std::collections::HashSet<String> = list.iter().map(|name| names::tool_name(name, format).into_owned()).collect();
            prop_assert_eq!(mapped.len(), list.len());
            for name in &list {
                let upstream = names::tool_name(name, format);
                prop_assert_eq!(converted.context.tool_name(&upstream), name);
                let text = String::from_utf8_lossy(&converted.body);
                let quoted = Value::String(upstream.into_owned()).to_string();
                prop_assert!(text.contains(&quoted), "{} in {}", quoted, text);
            }
        }
    }

    /// P13: every unknown member is in the report, once.
    #[test]
    fn unknown_members_are_reported_once(names in prop::collection::btree_set("zz[a-z]{1,5}", 1..5)) {
        let mut body = chat(&[("q".into(), vec![("a".into(), "r".into())], "b".into())], true);
        for name in &names {
            body[name.as_str()] = json!(1);
            body["messages"][1][name.as_str()] = json!({"x": 1});
        }
        for (format, model) in MODELS.into_iter().filter(|row| row.0 != Format::Chat) {
            let report = convert(&body, Format::Chat, &target(format, model)).unwrap().1;
            let mut found: Vec<String> = report.dropped.iter().map(ToString::to_string).collect();
            found.sort();
            let mut wanted: Vec<String> = names.iter().flat_map(|name| [name.clone(), format!("messages[1].{name}")]).collect();
            wanted.sort();
            prop_assert_eq!(found, wanted);
        }
    }

    /// P14: what a profile has written, it writes again; and it stays JSON of a bounded size.
    #[test]
    fn schema_profiles_are_idempotent(schema in any_schema()) {
        use schema::Profile::{AnthropicOutput, AnthropicTool, FromOpenApi, GeminiJson, GeminiOpenApi, GeminiOutput, Parameters};
        let text = schema.to_string();
        for profile in [AnthropicOutput, AnthropicTool, FromOpenApi, GeminiJson, GeminiOpenApi, GeminiOutput, Parameters] {
            let raw: Raw<'_> = ai_api_converter::json::from_str(&text).unwrap();
            let once = schema::rewrite(raw, profile).0.into_owned();
            prop_assert!(serde_json::from_str::<Value>(&once).is_ok(), "{:?} {}", profile, once);
            let again: Raw<'_> = ai_api_converter::json::from_str(&once).unwrap();
            prop_assert_eq!(schema::rewrite(again, profile).0, once.as_str(), "{:?} {}", profile, text);
            prop_assert!(once.len() <= 20_000, "{} bytes", once.len());
        }
    }
}
