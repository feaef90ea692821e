//! `opm reload`: the running gateway reads its configuration again.

use std::process::ExitCode;

use opm_admin::control::{Problem, Reloaded};
use opm_config::EXIT_CONFIG;

use super::block_on;
use super::channels::gateway;
use crate::args::{Output, Scope};
use crate::gateway::Refused;
use crate::sheet::say;

pub(super) fn run(scope: &Scope) -> anyhow::Result<ExitCode> {
    let gateway = gateway(scope.config.as_deref())?;
    let text = match block_on(gateway.post("reload", String::new())) {
        Ok(text) => text,
        Err(error) => return refused(error, scope.format),
    };
    if scope.format == Output::Json {
        say!("{text}");
        return Ok(ExitCode::SUCCESS);
    }
    let reloaded: Reloaded = serde_json::from_str(&text)?;
    for change in &reloaded.changed {
        say!("{change}");
    }
    if reloaded.changed.is_empty() {
        say!("nothing changed");
    }
    for warning in &reloaded.warnings {
        eprint!("{}", rendered(warning));
    }
    for what in &reloaded.needs_restart {
        eprintln!("takes effect after a restart only: {what}");
    }
    Ok(ExitCode::SUCCESS)
}

/// A configuration that is not valid: every problem, and exit code 78. The former one stays in force.
fn refused(error: anyhow::Error, format: Output) -> anyhow::Result<ExitCode> {
    let Some(Refused(view)) = error
        .downcast_ref::<Refused>()
        .filter(|refused| !refused.0.problems.is_empty())
    else {
        return Err(error);
    };
    match format {
        Output::Json => say!("{}", serde_json::to_string(view)?),
        Output::Text => view
            .problems
            .iter()
            .for_each(|problem| eprint!("{}", rendered(problem))),
    }
    eprintln!("opm: the new configuration is not valid; the former one stays in force");
    Ok(ExitCode::from(EXIT_CONFIG))
}

fn rendered(problem: &Problem) -> String {
    let word = if problem.is_error() { "error" } else { "warning" };
    let place = match (problem.line, problem.column) {
        (Some(line), Some(column)) => format!("\n --> line {line}, column {column}"),
        _ => String::new(),
    };
    let help = problem
        .help
        .as_ref()
        .map_or_else(String::new, |help| format!("\n  = help: {help}"));
    format!("{word}[{}]: {}{place}{help}\n", problem.code, problem.message)
}
