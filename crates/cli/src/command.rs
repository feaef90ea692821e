//! The subcommands.

mod channels;
mod check;
mod convert;
mod demo;
mod explain;
mod follow;
mod keys;
mod logs;
mod mock;
mod reload;
mod serve;
mod store;
mod usage;

use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::CommandFactory as _;
use opm_config::{
    Config, DEFAULT_PATHS, EXIT_CONFIG, Environment, Loaded, Problem, Severity, compile_env, compile_file,
    render,
};

use crate::args::{Args, Command, Output};
use crate::sheet::{say, say_part};

/// Runs what was typed.
pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    match args.command.unwrap_or(Command::Serve(args.serve)) {
        Command::Serve(serve) => serve::run(&serve),
        Command::Demo(demo) => demo::run(&demo),
        Command::Mock(mock) => mock::run(&mock),
        Command::Check(check) => check::run(&check),
        Command::Convert(convert) => convert::run(&convert),
        Command::Keys(command) => keys::run(&command),
        Command::Channels(command) => channels::run(&command),
        Command::Usage(args) => usage::run(&args),
        Command::Logs(command) => logs::run(&command),
        Command::Reload(reload) => reload::run(&reload),
        Command::Explain(explain) => explain::run(&explain),
        Command::Version(version) => {
            let name = env!("CARGO_PKG_VERSION");
            match version.format {
                Output::Text => say!("opm {name}"),
                Output::Json => say!("{{\"name\":\"opm\",\"version\":\"{name}\"}}"),
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "opm", &mut script);
            say_part!("{}", String::from_utf8_lossy(&script));
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
    let bytes = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    let source = String::from_utf8_lossy(&bytes).into_owned();
    let loaded = match std::str::from_utf8(&bytes) {
        Ok(text) => compile_file(&path, text, &env),
        Err(error) => not_text(&bytes, error.valid_up_to()),
    };
    Ok(Found {
        file: path.display().to_string(),
        source,
        loaded,
    })
}

/// A file that is no text: a problem of the file, with its line, like any other.
fn not_text(bytes: &[u8], at: usize) -> Loaded {
    let before = bytes.get(..at).unwrap_or_default();
    let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
    Loaded {
        config: None,
        problems: vec![Problem {
            severity: Severity::Error,
            code: "E001",
            message: "the file is not UTF-8 text".into(),
            at: Some((line, 1, 1)),
            help: Some("save it as UTF-8".into()),
        }],
    }
}

/// Shows problems; the exit code if the configuration cannot be used.
fn report(found: &Found) -> Option<ExitCode> {
    if !found.loaded.problems.is_empty() {
        eprint!("{}", render(&found.loaded.problems, &found.file, &found.source));
    }
    found.loaded.config.is_none().then(|| ExitCode::from(EXIT_CONFIG))
}

/// The configuration does not allow what was asked for; exit code 78.
#[derive(Debug)]
pub(crate) struct NotConfigured(pub(crate) String);

impl fmt::Display for NotConfigured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotConfigured {}

/// The configuration and where it came from. Its problems are shown only if it cannot be used.
fn configuration(named: Option<&Path>) -> anyhow::Result<(Config, String)> {
    let mut found = find(named)?;
    let Some(config) = found.loaded.config.take() else {
        eprint!("{}", render(&found.loaded.problems, &found.file, &found.source));
        return Err(NotConfigured(format!("{} is not valid", found.file)).into());
    };
    Ok((config, found.file))
}

/// Runs what waits for the store or the gateway.
fn block_on<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build().context("starting the runtime")?;
    runtime.block_on(future)
}
