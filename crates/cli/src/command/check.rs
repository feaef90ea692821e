//! `opm check`: every problem of a configuration at once.

use std::process::ExitCode;

use opm_config::{EXIT_CONFIG, render_json};

use super::{find, report};
use crate::args::{Check, Output};

pub(super) fn run(args: &Check) -> anyhow::Result<ExitCode> {
    let found = find(args.config.as_deref())?;
    if args.format == Output::Json {
        println!("{}", render_json(&found.loaded.problems, &found.file));
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
    println!("{}: valid", found.file);
    Ok(ExitCode::SUCCESS)
}
