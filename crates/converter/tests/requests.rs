//! Golden vectors of requests: one file per case, with facts about the output as JSON pointers (`null`: absent).
//! The numbers are those of conversion.md section 20.
//!
//! Members of a case: `from`, `to`, `model`, `mode`, `dialect`, `domain` (7 unless given), `options`; `in` is the body, or `text` its
//! exact bytes; `$seal:<origin>:<kind>:<domain>:<state>` inside strings of either becomes a seal. `facts` are pointers into the
//! encoded body, `contains` and `lacks` pieces of its bytes; `dropped`, `altered`, `emulated`, `betas`, `state` are the report
//! (`emulated`, `betas` and `state` are checked when they are there); `error` is the pointer of a refusal, `message` a piece of it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests may")]

use std::path::Path;

use ai_api_converter::ir::{Opaque, State};
use ai_api_converter::{Dialect, Format, Mode, Options, Report, Source, Target, convert_request, seal};
use serde_json::Value;

fn format(case: &Value, name: &str) -> Format {
    case[name].as_str().unwrap().parse().unwrap()
}

fn dialect(case: &Value) -> Dialect {
    match case["dialect"].as_str() {
        None | Some("native") => Dialect::Native,
        Some("compat") => Dialect::Compat,
        Some("deepseek") => Dialect::DeepSeek,
        Some("vertex") => Dialect::Vertex,
        Some("anthropic-2026-10-21") => Dialect::Anthropic20261021,
        Some(other) => panic!("unknown dialect {other}"),
    }
}

fn mode(case: &Value) -> Mode {
    match case["mode"].as_str() {
        None | Some("default") => Mode::Default,
        Some("lenient") => Mode::Lenient,
        Some("strict") => Mode::Strict,
        Some(other) => panic!("unknown mode {other}"),
    }
}

/// `origin:kind:domain:state` as a seal.
fn sealed(words: &str) -> String {
    let [origin, kind, domain, state] = words.splitn(4, ':').collect::<Vec<_>>().try_into().unwrap();
    let text = state.to_owned();
    let state = match kind {
        "signature" => State::Signature(text.into()),
        "redacted" => State::Redacted(text.into()),
        "call" => State::CallSignature(text.into()),
        "part" => State::PartSignature(text.into()),
        "reasoning" => State::Reasoning {
            id: Some("rs_1".into()),
            encrypted: text.into(),
        },
        other => panic!("unknown state {other}"),
    };
    let state = Opaque {
        origin: origin.parse().unwrap(),
        domain: Some(domain.parse().unwrap()),
        state,
    };
    seal::seal(&state, None)
}

/// Replaces the seals of a body.
fn with_seals(body: &str) -> String {
    let mut out = String::new();
    let mut rest = body;
    while let Some((before, behind)) = rest.split_once("$seal:") {
        out.push_str(before);
        let end = behind.find(['"', '$', '\\']).unwrap_or(behind.len());
        out.push_str(&sealed(&behind[..end]));
        rest = &behind[end..];
    }
    out + rest
}

fn input(case: &Value) -> String {
    match case["text"].as_str() {
        Some(text) => with_seals(text),
        None => with_seals(&case["in"].to_string()),
    }
}

fn check(case: &Value) -> Result<(), String> {
    let from = format(case, "from");
    let source = Source {
        format: from,
        model: (from == Format::Gemini).then_some("x"),
        stream: false,
        array: false,
    };
    let target = Target {
        format: format(case, "to"),
        dialect: dialect(case),
        model: case["model"].as_str().unwrap(),
        domain: u32::try_from(case["domain"].as_u64().unwrap_or(7)).unwrap(),
    };
    let options = Options {
        mode: mode(case),
        default_max_tokens: case
            .pointer("/options/default_max_tokens")
            .and_then(Value::as_u64),
        ..Options::default()
    };
    let converted = convert_request(input(case).as_bytes(), &source, &target, &options);
    let converted = match (converted, case["error"].as_str()) {
        (Err(error), Some(pointer)) if error.pointer() == pointer => {
            let wanted = case["message"].as_str().unwrap_or_default();
            if error.message().contains(wanted) {
                return Ok(());
            }
            return Err(format!("the message is: {error}"));
        }
        (Err(error), _) => return Err(format!("refused: {error} at {}", error.pointer())),
        (Ok(_), Some(pointer)) => return Err(format!("was not refused at {pointer}")),
        (Ok(converted), None) => converted,
    };
    facts(case, &converted.body)?;
    reported(case, &converted.report)
}

fn facts(case: &Value, body: &[u8]) -> Result<(), String> {
    let text = std::str::from_utf8(body).unwrap();
    let out: Value = serde_json::from_str(text).map_err(|error| format!("{error}: {text}"))?;
    for (pointer, wanted) in case["facts"].as_object().unwrap() {
        let found = out.pointer(pointer).cloned().unwrap_or(Value::Null);
        if found != *wanted {
            return Err(format!("{pointer}: expected {wanted}, found {found}\n{out}"));
        }
    }
    for (name, wanted) in [("contains", true), ("lacks", false)] {
        for piece in case[name].as_array().into_iter().flatten() {
            let piece = piece.as_str().unwrap();
            if text.contains(piece) != wanted {
                return Err(format!("{name}: {piece}\n{text}"));
            }
        }
    }
    Ok(())
}

fn reported(case: &Value, report: &Report) -> Result<(), String> {
    let betas: Vec<_> = report.betas.iter().map(|beta| (*beta).into()).collect();
    for (name, list, always) in [
        ("dropped", &report.dropped, true),
        ("altered", &report.altered, true),
        ("emulated", &report.emulated, false),
        ("betas", &betas, false),
    ] {
        if case[name].is_null() && !always {
            continue;
        }
        // The order follows the members of the body, and whether serde_json
        // keeps theirs depends on who else is built in the same workspace.
        let mut found: Vec<String> = list.iter().map(ToString::to_string).collect();
        found.sort();
        let empty = Value::Array(Vec::new());
        let wanted = if case[name].is_null() { &empty } else { &case[name] };
        if Value::from(found.clone()) != *wanted {
            return Err(format!("{name}: expected {wanted}, found {found:?}"));
        }
    }
    let state = format!(
        "restored={},dropped={};{}",
        report.states_restored,
        report.states_dropped,
        report.state_reason.unwrap_or_default()
    );
    match case["state"].as_str() {
        Some(wanted) if wanted != state => Err(format!("state: expected {wanted}, found {state}")),
        None if report.states_dropped > 0 => Err(format!("state: {state}")),
        _ => Ok(()),
    }
}

#[test]
fn with_a_key_only_signed_seals_are_opened() {
    let state = Opaque {
        origin: Format::Messages,
        domain: Some(7),
        state: State::Signature("sig".into()),
    };
    let key = [3; 32];
    let run = |sealed: &str| {
        let body = serde_json::json!({"model": "x", "messages": [
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": "a", "reasoning_details": [{"type": "reasoning.encrypted", "data": sealed}]},
            {"role": "user", "content": "b"},
        ]});
        let source = Source {
            format: Format::Chat,
            model: None,
            stream: false,
            array: false,
        };
        let target = Target {
            format: Format::Messages,
            dialect: Dialect::Native,
            model: "claude-opus-5-5",
            domain: 7,
        };
        let options = Options {
            seal_key: Some(key),
            ..Options::default()
        };
        let converted = convert_request(body.to_string().as_bytes(), &source, &target, &options).unwrap();
        (converted.report.states_restored, converted.report.state_reason)
    };
    assert_eq!(run(&seal::seal(&state, Some(&key))), (1, None));
    assert_eq!(run(&seal::seal(&state, None)), (0, Some("bad_seal")));
}

#[test]
fn every_vector_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/request");
    let mut failed = Vec::new();
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let case: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        count += 1;
        if let Err(why) = check(&case) {
            failed.push(format!("{}: {why}", path.file_stem().unwrap().to_string_lossy()));
        }
    }
    assert!(count >= 400, "only {count} vectors were found");
    failed.sort();
    assert!(
        failed.is_empty(),
        "{} of {count} failed\n{}",
        failed.len(),
        failed.join("\n\n")
    );
}
