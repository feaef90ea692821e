//! `opm channels`: the channels of the running gateway.

use std::path::Path;
use std::process::ExitCode;

use opm_admin::control::{BreakerState, ChannelOrigin, ChannelView, State, TestReport};
use opm_admin::view::{ChannelDetail, ChannelList};
use serde_json::json;

use super::{block_on, configuration};
use crate::args::channels::{Channels, Switch, Test};
use crate::args::{Output, Scope};
use crate::gateway::{Gateway, encode};
use crate::sheet::{say, say_part};
use crate::table::{list as on_one_line, table};

/// Exit code of a channel that is not well.
const UNWELL: u8 = 3;

pub(super) fn run(command: &Channels) -> anyhow::Result<ExitCode> {
    match command {
        Channels::List(args) => block_on(list(args)),
        Channels::Test(args) => block_on(test(args)),
        Channels::Drain(args) => block_on(switch(args, "drain")),
        Channels::Enable(args) => block_on(switch(args, "enable")),
        Channels::Disable(args) => block_on(switch(args, "disable")),
    }
}

/// The gateway that runs with a configuration.
pub(super) fn gateway(named: Option<&Path>) -> anyhow::Result<Gateway> {
    let (config, file) = configuration(named)?;
    Gateway::of(&config, &file)
}

async fn list(scope: &Scope) -> anyhow::Result<ExitCode> {
    let text = gateway(scope.config.as_deref())?.get("channels").await?;
    if scope.format == Output::Json {
        say!("{text}");
        return Ok(ExitCode::SUCCESS);
    }
    let list: ChannelList = serde_json::from_str(&text)?;
    let rows: Vec<Vec<String>> = list.channels.iter().map(row).collect();
    let head = [
        "NAME",
        "FORMAT",
        "STATE",
        "BREAKER",
        "PRIORITY",
        "WEIGHT",
        "RUNNING",
        "FIRST TOKEN",
        "KEYS",
        "ORIGIN",
        "MODELS",
    ];
    say_part!("{}", table(&head, &rows));
    for broken in list.broken {
        let why = broken
            .problems
            .iter()
            .map(|problem| problem.message.as_str())
            .collect::<Vec<_>>()
            .join("; ");
        eprintln!("channel `{}` of the store is not in force: {why}", broken.name);
    }
    Ok(ExitCode::SUCCESS)
}

fn row(channel: &ChannelView) -> Vec<String> {
    let breaker = match (channel.breaker, channel.retry_in_ms) {
        (BreakerState::Closed, _) => "closed".to_owned(),
        (BreakerState::HalfOpen, _) => "half open".to_owned(),
        (BreakerState::Open, Some(ms)) => format!("open {} s", ms.div_ceil(1_000)),
        (BreakerState::Open, None) => "open".to_owned(),
    };
    let parked = channel
        .keys
        .iter()
        .filter(|key| key.parked_for_ms.is_some())
        .count();
    let keys = match (channel.keys.len(), parked) {
        (0, _) => "caller's".to_owned(),
        (all, 0) => all.to_string(),
        (all, parked) => format!("{all}, {parked} parked"),
    };
    let first = channel.time_to_first_token_ms;
    let origin = match channel.origin {
        ChannelOrigin::File => "file",
        ChannelOrigin::Store => "store",
        ChannelOrigin::Environment => "environment",
    };
    vec![
        channel.name.clone(),
        channel.format.clone(),
        word(channel.state).to_owned(),
        breaker,
        channel.priority.to_string(),
        channel.weight.to_string(),
        channel.in_flight.to_string(),
        first.map_or_else(|| "-".to_owned(), |ms| format!("{ms} ms")),
        keys,
        origin.to_owned(),
        on_one_line(&channel.models, "-"),
    ]
}

fn word(state: State) -> &'static str {
    match state {
        State::Enabled => "enabled",
        State::Draining => "draining",
        State::Disabled => "disabled",
    }
}

async fn test(args: &Test) -> anyhow::Result<ExitCode> {
    let gateway = gateway(args.scope.config.as_deref())?;
    let body = args
        .model
        .as_ref()
        .map_or_else(String::new, |model| json!({"model": model}).to_string());
    let text = gateway
        .post(&format!("channels/{}/test", encode(&args.name)), body)
        .await?;
    let report: TestReport = serde_json::from_str(&text)?;
    match args.scope.format {
        Output::Json => say!("{text}"),
        Output::Text => say!("{}", sentence(&report)),
    }
    Ok(if report.ok {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(UNWELL)
    })
}

fn sentence(report: &TestReport) -> String {
    let model = report
        .model
        .as_ref()
        .map_or_else(String::new, |model| format!(", model {model}"));
    let first = report
        .time_to_first_token_ms
        .map_or_else(String::new, |ms| format!(", first token after {ms} ms"));
    let status = report
        .status
        .map_or_else(String::new, |status| format!(", status {status}"));
    let (word, why) = match &report.error {
        _ if report.ok => ("well", String::new()),
        Some(error) => ("not well", format!(": {error}")),
        None => ("not well", String::new()),
    };
    let (channel, total) = (&report.channel, report.total_ms);
    format!("channel {channel} is {word}{model}{status}{first}, {total} ms in all{why}")
}

async fn switch(args: &Switch, verb: &str) -> anyhow::Result<ExitCode> {
    let gateway = gateway(args.scope.config.as_deref())?;
    let path = format!("channels/{}/{verb}", encode(&args.name));
    let text = gateway.post(&path, String::new()).await?;
    if args.scope.format == Output::Json {
        say!("{text}");
        return Ok(ExitCode::SUCCESS);
    }
    let detail: ChannelDetail = serde_json::from_str(&text)?;
    match detail.in_force {
        Some(channel) => say!(
            "channel {} is {}, {} requests under way",
            channel.name,
            word(channel.state),
            channel.in_flight
        ),
        None => say!("channel {} is noted as switched; it is not in force", detail.name),
    }
    Ok(ExitCode::SUCCESS)
}
