//! Golden vectors of requests: one file per case, with facts about the output as JSON pointers (`null`: absent).
//! The numbers are those of conversion.md section 20.

#![expect(clippy::unwrap_used, reason = "tests may")]

use std::path::Path;

use ai_api_converter::{Dialect, Format, Mode, Options, Source, Target, convert_request};
use serde_json::Value;

fn format(case: &Value, name: &str) -> Format {
    case[name].as_str().unwrap().parse().unwrap()
}

fn check(case: &Value) -> Result<(), String> {
    let from = format(case, "from");
    let source = Source {
        format: from,
        model: (from == Format::Gemini).then_some("x"),
        stream: false,
        array: false,
    };
    let dialect = if case["dialect"] == "compat" {
        Dialect::Compat
    } else {
        Dialect::Native
    };
    let target = Target {
        format: format(case, "to"),
        dialect,
        model: case["model"].as_str().unwrap(),
        domain: 1,
    };
    let mode = if case["mode"] == "lenient" {
        Mode::Lenient
    } else {
        Mode::Default
    };
    let converted = convert_request(
        case["in"].to_string().as_bytes(),
        &source,
        &target,
        &Options {
            mode,
            ..Options::default()
        },
    );
    let converted = match (converted, case["error"].as_str()) {
        (Err(error), Some(pointer)) if error.pointer() == pointer => return Ok(()),
        (Err(error), _) => return Err(format!("refused: {error} at {}", error.pointer())),
        (Ok(_), Some(pointer)) => return Err(format!("was not refused at {pointer}")),
        (Ok(converted), None) => converted,
    };
    let out: Value = serde_json::from_slice(&converted.body).map_err(|error| error.to_string())?;
    for (pointer, wanted) in case["facts"].as_object().unwrap() {
        let found = out.pointer(pointer).cloned().unwrap_or(Value::Null);
        if found != *wanted {
            return Err(format!("{pointer}: expected {wanted}, found {found}\n{out}"));
        }
    }
    for (name, list) in [
        ("dropped", &converted.report.dropped),
        ("altered", &converted.report.altered),
    ] {
        // The order follows the members of the body, and whether serde_json
        // keeps theirs depends on who else is built in the same workspace.
        let mut found: Vec<String> = list.iter().map(ToString::to_string).collect();
        found.sort();
        if Value::from(found.clone()) != case[name] {
            return Err(format!("{name}: expected {}, found {found:?}", case[name]));
        }
    }
    Ok(())
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
    assert!(count >= 40, "only {count} vectors were found");
    assert!(
        failed.is_empty(),
        "{} of {count} failed\n{}",
        failed.len(),
        failed.join("\n\n")
    );
}
