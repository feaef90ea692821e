//! The arrows of ARCHITECTURE.md, held against what the crates really depend on.

#![expect(clippy::unwrap_used, reason = "tests may")]

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

const ARROWS: &[(&str, &[&str])] = &[
    ("ai-api-converter", &[]),
    ("opm-core", &["ai-api-converter"]),
    ("opm-config", &["ai-api-converter", "opm-core"]),
    ("opm-routing", &["ai-api-converter", "opm-config", "opm-core"]),
    ("opm-store", &["opm-core"]),
    ("opm-ledger", &["opm-core"]),
    ("opm-limits", &["opm-core"]),
    ("opm-telemetry", &["ai-api-converter", "opm-core"]),
    (
        "opm-proxy",
        &[
            "ai-api-converter",
            "opm-config",
            "opm-core",
            "opm-ledger",
            "opm-limits",
            "opm-routing",
            "opm-telemetry",
        ],
    ),
    (
        "opm-admin",
        &[
            "opm-core",
            "opm-config",
            "opm-routing",
            "opm-store",
            "opm-telemetry",
        ],
    ),
    ("opm-mock", &[]),
];

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn crates_depend_only_where_the_arrows_point() {
    let metadata = metadata();
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in metadata["packages"].as_array().unwrap() {
        let ours = package["dependencies"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|dependency| !dependency["path"].is_null());
        let names = ours.map(|dependency| dependency["name"].as_str().unwrap().to_owned());
        found.insert(package["name"].as_str().unwrap().to_owned(), names.collect());
    }
    assert_eq!(
        found.len(),
        ARROWS.len() + 1,
        "a crate is missing in the table: {:?}",
        found.keys()
    );
    for (name, allowed) in ARROWS {
        for used in &found[*name] {
            assert!(allowed.contains(&used.as_str()), "{name} must not use {used}");
        }
    }
}

#[test]
fn only_the_net_files_of_the_proxy_name_pingora() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../proxy/src");
    let mut folders = vec![root];
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            seen += 1;
            let inside = path.components().any(|part| part.as_os_str() == "net");
            let uses = std::fs::read_to_string(&path).unwrap().contains("pingora_");
            assert!(inside || !uses, "{} names Pingora", path.display());
        }
    }
    assert!(seen > 10);
}

#[test]
fn both_readmes_have_the_same_shape() {
    let read = |name: &str| {
        std::fs::read_to_string(
            std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
                .join("../..")
                .join(name),
        )
        .unwrap()
    };
    let shape = |text: &str| {
        let headings = text
            .lines()
            .filter(|line| line.starts_with('#'))
            .map(|line| line.chars().take_while(|c| *c == '#').count());
        (headings.collect::<Vec<_>>(), text.matches("```").count())
    };
    assert_eq!(shape(&read("README.md")), shape(&read("README.zh-CN.md")));
}
