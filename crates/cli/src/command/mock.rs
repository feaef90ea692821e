//! `opm mock`: the mock providers alone.

use std::process::ExitCode;

use anyhow::Context as _;

use crate::args::Mock;

pub(super) fn run(args: &Mock) -> anyhow::Result<ExitCode> {
    let address = opm_mock::spawn(args.listen).with_context(|| format!("listening on {}", args.listen))?;
    eprintln!(
        "mock providers on http://{address}: /v1/chat/completions /v1/responses /v1/messages /v1beta/models/…; requests: /_mock/requests"
    );
    loop {
        std::thread::park();
    }
}
