//! `opm check`: every problem of a configuration at once, and the limits that it sets.

use std::process::ExitCode;

use opm_config::{Config, EXIT_CONFIG, Limit, Limits, render_json};

use super::{find, report};
use crate::args::{Check, Output};
use crate::sheet::{say, say_part};
use crate::table::table;

pub(super) fn run(args: &Check) -> anyhow::Result<ExitCode> {
    let found = find(args.config.as_deref())?;
    if args.format == Output::Json {
        say!("{}", render_json(&found.loaded.problems, &found.file));
        let bad = found.loaded.config.is_none();
        return Ok(if bad {
            ExitCode::from(EXIT_CONFIG)
        } else {
            ExitCode::SUCCESS
        });
    }
    if let Some(code) = report(&found) {
        return Ok(code);
    }
    say!("{}: valid", found.file);
    if let Some(config) = &found.loaded.config {
        say_part!("{}", limits(config));
    }
    Ok(ExitCode::SUCCESS)
}

/// Every limit of a configuration, a row each; nothing if there is none.
fn limits(config: &Config) -> String {
    let row = |name: String, by: &str, whom: String, limits: &Limits| {
        vec![name, by.to_owned(), whom, limits.to_string()]
    };
    let keys = config
        .keys
        .iter()
        .map(|key| row(format!("key {}", key.name), "-", "-".to_owned(), &key.limits));
    let channels = config.channels.iter().map(|channel| {
        row(
            format!("channel {}", channel.name),
            "-",
            "-".to_owned(),
            &channel.limits,
        )
    });
    let named = config.limits.iter().map(|limit| {
        let by: Vec<&str> = limit.by.iter().map(|subject| subject.as_str()).collect();
        row(limit.name.clone(), &by.join(", "), whom(limit), &limit.limits)
    });
    let all = keys.chain(channels).chain(named);
    let nothing = Limits::default().to_string();
    let rows: Vec<Vec<String>> = all.filter(|row| row.last() != Some(&nothing)).collect();
    if rows.is_empty() {
        return String::new();
    }
    let counted = match &config.shared {
        Some(shared) => format!("all instances of `{}` together, over Redis", shared.namespace),
        None => "each instance for itself".to_owned(),
    };
    let head = ["LIMIT", "COUNTED APART BY", "FOR", "HOW MUCH"];
    format!("\n{}\ncounted by {counted}\n", table(&head, &rows))
}

/// Whom a limit concerns: `models gpt-*; users *@example.com`.
fn whom(limit: &Limit) -> String {
    let scope = &limit.scope;
    let parts = [
        ("keys", &scope.keys),
        ("users", &scope.users),
        ("models", &scope.models),
        ("channels", &scope.channels),
    ];
    let given = parts.into_iter().filter(|(_, names)| !names.is_empty());
    let shown: Vec<String> = given
        .map(|(what, names)| format!("{what} {}", names.join(", ")))
        .collect();
    if shown.is_empty() {
        "all".to_owned()
    } else {
        shown.join("; ")
    }
}
