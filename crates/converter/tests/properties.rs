//! Properties that hold for any input (conversion.md section 16).

#![expect(clippy::unwrap_used, reason = "tests may")]

use ai_api_converter::json::{Raw, Reader, Text, Writer, from_str};
use ai_api_converter::stream::{Converter, Relay, RelayOptions, Stream};
use ai_api_converter::{Dialect, Format, Options, Source, Target, convert_request, estimate, scan};
use proptest::prelude::*;
use serde_json::Value;

/// JSON text in odd spellings: blanks, escapes, big numbers.
fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|value| value.to_string()),
        any::<i64>().prop_map(|value| value.to_string()),
        Just("1.10".to_owned()),
        Just("-0.5e+7".to_owned()),
        Just("123456789012345678901234567890".to_owned()),
        any::<String>().prop_map(|text| Value::String(text).to_string()),
        Just("\"\\u00e9\\ud83d\\ude00 \\/\"".to_owned()),
    ];
    leaf.prop_recursive(5, 60, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(|list| format!("[ {} ]", list.join(" ,\n"))),
            prop::collection::vec((any::<String>(), inner), 0..5).prop_map(|members| {
                let members: Vec<String> = members
                    .into_iter()
                    .map(|(name, value)| format!("{}\t: {value}", Value::String(name)))
                    .collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

fn accepts(text: &str) -> bool {
    from_str::<Raw<'_>>(text).is_ok()
}

fn options() -> Options {
    Options {
        request_id: "abc".into(),
        now: 9,
        ..Options::default()
    }
}

fn convert(body: &str, from: Format, to: Format) -> Result<String, String> {
    let source = Source {
        format: from,
        model: Some("m"),
        stream: false,
        array: false,
    };
    let target = Target {
        format: to,
        dialect: Dialect::Native,
        model: "m",
        domain: 1,
    };
    let converted = convert_request(body.as_bytes(), &source, &target, &options());
    converted
        .map(|converted| String::from_utf8(converted.body).unwrap())
        .map_err(|error| error.to_string())
}

/// A conversation in Chat's spelling: text, calls with odd arguments, results.
fn conversation() -> impl Strategy<Value = String> {
    let arguments = json().prop_map(|value| format!("{{\"a\":{value}}}"));
    let turn = (
        any::<String>(),
        prop::collection::vec((arguments, any::<String>()), 0..3),
        any::<String>(),
    );
    prop::collection::vec(turn, 1..4).prop_map(|turns| {
        let mut messages = vec![serde_json::json!({"role": "system", "content": "be brief"})];
        for (number, (question, calls, answer)) in turns.into_iter().enumerate() {
            messages.push(serde_json::json!({"role": "user", "content": format!("q{question}")}));
            if calls.is_empty() {
                messages.push(serde_json::json!({"role": "assistant", "content": format!("a{answer}")}));
                continue;
            }
            let list: Vec<Value> = calls
                .iter()
                .enumerate()
                .map(|(at, (arguments, _))| {
                    serde_json::json!({"id": format!("call_{number}_{at}"), "type": "function", "function": {"name": "f", "arguments": arguments}})
                })
                .collect();
            messages.push(serde_json::json!({"role": "assistant", "content": format!("a{answer}"), "tool_calls": list}));
            for (at, (_, result)) in calls.iter().enumerate() {
                messages.push(serde_json::json!({"role": "tool", "tool_call_id": format!("call_{number}_{at}"), "content": format!("r{result}")}));
            }
        }
        messages.push(serde_json::json!({"role": "user", "content": "end"}));
        serde_json::json!({"model": "m", "messages": messages, "temperature": 0.5, "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "string"}}}}}]}).to_string()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// The reader takes what `serde_json` takes, and keeps its text.
    #[test]
    fn the_reader_agrees_with_serde_json(text in json()) {
        prop_assert!(accepts(&text), "{}", text);
        let raw: Raw<'_> = from_str(&text).unwrap();
        prop_assert_eq!(raw.get(), text.trim());
    }

    /// Damaged JSON is refused exactly when `serde_json` refuses it (within its depth limit).
    #[test]
    fn damaged_json_is_refused_like_serde_json(text in json(), at in any::<prop::sample::Index>(), byte in 0u8..128) {
        let mut bytes = text.into_bytes();
        let at = at.index(bytes.len());
        bytes.splice(at..=at, [byte]);
        if let Ok(text) = String::from_utf8(bytes) {
            let theirs = serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok();
            prop_assert_eq!(accepts(&text), theirs, "{}", text);
        }
    }

    /// Strings come out of escapes and back into them unchanged.
    #[test]
    fn text_survives_escaping(text in any::<String>()) {
        let mut out = Vec::new();
        Writer::line(&mut out).str(&text);
        let written = String::from_utf8(out).unwrap();
        prop_assert_eq!(serde_json::from_str::<String>(&written).unwrap(), text.clone());
        prop_assert!(!written.contains(['\u{85}', '\u{2028}', '\u{2029}', '\n']), "a line end in {:?}", written);
        let read: Text<'_> = from_str(&written).unwrap();
        prop_assert_eq!(read.decode(), text);
    }

    /// P7: any bytes end in a value or an error.
    #[test]
    fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), text in json()) {
        let _ = scan::scan(&bytes);
        for body in [bytes.as_slice(), text.as_bytes(), format!("{{\"messages\":{text},\"tools\":{text},\"x\":{text}}}").as_bytes()] {
            let input = estimate::input_of(body, Format::Messages);
            prop_assert!(input.likely <= input.most, "{:?}", input);
        }
        for from in Format::ALL {
            for to in Format::ALL {
                let _ = convert(&text, from, to);
                let source = Source { format: from, model: None, stream: true, array: false };
                let target = Target { format: to, dialect: Dialect::Compat, model: "claude-haiku-4-5", domain: 1 };
                let _ = convert_request(&bytes, &source, &target, &options());
            }
            let relay = RelayOptions { format: from, hide_usage: true, array: false, model: "m".into(), rename: false, request_id: "r".into(), now: 1 };
            let mut stream = Stream::Relay(Box::new(Relay::new(relay)));
            let mut out = Vec::new();
            stream.push(&bytes, &mut out);
            stream.push(format!("data: {text}\n\n").as_bytes(), &mut out);
            stream.end(&mut out);
        }
    }

    /// P6 and P12: the same input gives the same bytes, and arguments keep their text through every format and back.
    #[test]
    fn conversations_keep_their_arguments(body in conversation()) {
        for to in [Format::Responses, Format::Messages, Format::Gemini] {
            let there = convert(&body, Format::Chat, to).unwrap();
            prop_assert_eq!(&there, &convert(&body, Format::Chat, to).unwrap());
            let back = convert(&there, to, Format::Chat).unwrap();
            let arguments = |body: &str| -> Vec<Value> {
                let body: Value = serde_json::from_str(body).unwrap();
                let messages = body["messages"].as_array().unwrap().clone();
                messages.iter().flat_map(|message| message["tool_calls"].as_array().cloned().unwrap_or_default()).map(|call| call["function"]["arguments"].clone()).collect()
            };
            prop_assert_eq!(arguments(&back), arguments(&body), "{}", there);
            let texts = |body: &str| -> Vec<Value> {
                let body: Value = serde_json::from_str(body).unwrap();
                body["messages"].as_array().unwrap().iter().filter(|message| message["role"] != "system" && message["role"] != "developer").map(|message| message["content"].clone()).collect()
            };
            prop_assert_eq!(texts(&back), texts(&body), "{}", there);
        }
    }

    /// P1: between the same formats every byte stays, whatever it means, but for the model's name.
    #[test]
    fn the_same_format_is_relayed(value in json(), tail in json()) {
        for format in Format::ALL {
            let body = format!("{{\"x\" : {value},\"model\" :\"old\" , \"messages\":{tail}}}");
            let wanted = body.replacen("\"old\"", "\"m\"", 1);
            prop_assert_eq!(convert(&body, format, format).unwrap(), wanted);
        }
    }

    /// Streams of any bytes in any split end, and never claim content that is not there.
    #[test]
    fn garbage_streams_end(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..6)) {
        for upstream in Format::ALL {
            let source = Source { format: Format::Messages, model: Some("m"), stream: true, array: false };
            let target = Target { format: upstream, dialect: Dialect::Native, model: "m", domain: 1 };
            let request = br#"{"max_tokens":1,"messages":[{"role":"user","content":"x"}]}"#;
            let context = convert_request(request, &source, &target, &options()).unwrap().context;
            let mut stream = Stream::Convert(Box::new(Converter::new(context)));
            let mut out = Vec::new();
            let mut failed = false;
            for piece in &pieces {
                failed |= stream.push(piece, &mut out).failure.is_some();
            }
            let progress = stream.end(&mut out);
            prop_assert!(failed || progress.failure.is_some());
        }
    }
}

#[test]
fn depth_is_limited_without_recursion() {
    for depth in [100, 127] {
        assert!(accepts(&("[".repeat(depth) + &"]".repeat(depth))), "{depth}");
    }
    for depth in [129, 100_000] {
        assert!(!accepts(&("[".repeat(depth) + &"]".repeat(depth))), "{depth}");
        assert!(
            !accepts(&("{\"a\":".repeat(depth) + "1" + &"}".repeat(depth))),
            "{depth}"
        );
    }
    assert!(Reader::new("\"\u{1}\"").text().is_err());
}
