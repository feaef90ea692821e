//! The `opm` command: the gateway, and what helps to run it.

mod args;
mod budgets;
mod command;
mod control;
mod gateway;
mod health;
mod live;
mod logging;
mod metering;
mod opening;
#[cfg(feature = "otel")]
mod otlp;
#[cfg(not(feature = "otel"))]
#[path = "otlp_absent.rs"]
mod otlp;
mod restore;
mod sheet;
mod site;
mod table;
mod usage_sink;
mod watch;
mod welcome;

use std::process::ExitCode;

use clap::Parser as _;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let args = args::Args::parse();
    match command::run(args) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("opm: {error:#}");
            if error.is::<command::NotConfigured>() {
                ExitCode::from(opm_config::EXIT_CONFIG)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}
