//! `opm demo`: the gateway in front of built-in mock providers.

use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use opm_config::{Environment, compile_file};

use super::serve;
use crate::args::Demo;
use crate::logging::{self, LogFormat};
use crate::welcome::example;

pub(super) fn run(args: &Demo) -> anyhow::Result<ExitCode> {
    let mock = opm_mock::spawn(([127, 0, 0, 1], 0).into()).context("starting the mock providers")?;
    let text = format!(
        "version: 1\nserver: {{ listen: {} }}\nmetrics: {{ listen: {} }}\nchannels:\n\
         - {{ name: demo-openai, format: openai, apis: [chat, responses, embeddings], base_url: 'http://{mock}', keys: [demo-key], models: ['gpt-*'] }}\n\
         - {{ name: demo-anthropic, format: anthropic, base_url: 'http://{mock}', keys: [demo-key], models: ['claude*'] }}\n\
         - {{ name: demo-gemini, format: gemini, base_url: 'http://{mock}', keys: [demo-key], models: ['gemini*'] }}\n",
        args.listen, args.metrics,
    );
    let loaded = compile_file("demo".as_ref(), &text, &Environment::default());
    let config = loaded
        .config
        .ok_or_else(|| anyhow!("the demo's configuration is not valid: {:?}", loaded.problems))?;
    eprintln!("  demo    mock providers on http://{mock}: any key is accepted, nothing leaves this machine");
    for model in ["gpt-5.6-luna", "claude-opus-5-5", "gemini-3-pro"] {
        eprint!("{}", example(&config, model));
    }
    logging::start(LogFormat::Auto);
    let again = move || Ok(compile_file("demo".as_ref(), &text, &Environment::default()));
    serve::start(config, (false, LogFormat::Auto), Box::new(again))
}
