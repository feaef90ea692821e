//! The subcommands.

mod check;
mod convert;
mod demo;
mod mock;
mod serve;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::CommandFactory as _;
use opm_config::{DEFAULT_PATHS, EXIT_CONFIG, Environment, Loaded, compile_env, compile_file, render};

use crate::args::{Args, Command, Output};

/// Runs what was typed.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command.unwrap_or(Command::Serve(args.serve)) {
        Command::Serve(serve) => serve::run(&serve),
        Command::Demo(demo) => demo::run(&demo),
        Command::Mock(mock) => mock::run(&mock),
        Command::Check(check) => check::run(&check),
        Command::Convert(convert) => convert::run(&convert),
        Command::Version(version) => {
            let name = env!("CARGO_PKG_VERSION");
            match version.format {
                Output::Text => println!("opm {name}"),
                Output::Json => println!("{{\"name\":\"opm\",\"version\":\"{name}\"}}"),
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Args::command(), "opm", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// A configuration with its text, as `serve` and `check` need it.
struct Found {
    file: String,
    source: String,
    loaded: Loaded,
}

/// Reads the named file, else the first default one, else the environment.
fn find(named: Option<&Path>) -> anyhow::Result<Found> {
    let env = Environment::process();
    let file = named
        .map(PathBuf::from)
        .or_else(|| DEFAULT_PATHS.iter().map(PathBuf::from).find(|path| path.exists()));
    let Some(path) = file else {
        return Ok(Found {
            file: "the environment".into(),
            source: String::new(),
            loaded: compile_env(&env),
        });
    };
    let source = std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let loaded = compile_file(&path, &source, &env);
    Ok(Found {
        file: path.display().to_string(),
        source,
        loaded,
    })
}

/// Shows problems; the exit code if the configuration cannot be used.
fn report(found: &Found) -> Option<ExitCode> {
    if !found.loaded.problems.is_empty() {
        eprint!("{}", render(&found.loaded.problems, &found.file, &found.source));
    }
    found.loaded.config.is_none().then(|| ExitCode::from(EXIT_CONFIG))
}
