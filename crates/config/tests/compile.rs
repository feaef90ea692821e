//! Files and environments become configurations, or every problem with its place.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may")]

use opm_config::{Config, Environment, Problem, Severity, compile_file};

#[path = "compile/environment.rs"]
mod environment;
#[path = "compile/limits.rs"]
mod limits;
#[path = "compile/prices.rs"]
mod prices;
#[path = "compile/server.rs"]
mod server;
#[path = "compile/shared.rs"]
mod shared;
#[path = "compile/storage.rs"]
mod storage;
#[path = "compile/stored.rs"]
mod stored;

/// Line 1 to 4 of every file here.
const HEAD: &str = "version: 1\nchannels:\n- { name: main, format: openai, base_url: 'http://up', keys: [k] }\nkeys: [{ name: team-a, key: a-key-that-is-long-enough }]\n";

fn read_with(text: &str, env: &Environment) -> opm_config::Loaded {
    compile_file("opm.yaml".as_ref(), &format!("{HEAD}{text}"), env)
}

/// A file that is right, without warnings.
fn config(text: &str) -> Config {
    let loaded = read_with(text, &Environment::default());
    assert!(loaded.problems.is_empty(), "{text}: {:?}", loaded.problems);
    loaded.config.unwrap()
}

/// The problems of a file, each as `E002 5:3 message`; help follows after ` | `.
fn problems(text: &str) -> Vec<String> {
    said(&read_with(text, &Environment::default()).problems)
}

fn said(problems: &[Problem]) -> Vec<String> {
    let line = |problem: &Problem| {
        let at = problem
            .at
            .map_or(String::new(), |(line, column, _)| format!("{line}:{column} "));
        let help = problem
            .help
            .as_ref()
            .map_or(String::new(), |help| format!(" | {help}"));
        format!("{} {at}{}{help}", problem.code, problem.message)
    };
    problems.iter().map(line).collect()
}

/// One problem, and that it is an error unless its code begins with `W`.
fn one_problem(text: &str, expected: &str) {
    let loaded = read_with(text, &Environment::default());
    let found = said(&loaded.problems);
    assert_eq!(found.len(), 1, "{text}: {found:?}");
    assert!(
        found[0].starts_with(expected),
        "{text}\nexpected {expected}\ngot      {}",
        found[0]
    );
    let is_error = loaded.problems[0].severity == Severity::Error;
    assert_eq!(is_error, expected.starts_with('E'), "{text}");
    assert_eq!(loaded.config.is_none(), is_error);
}
