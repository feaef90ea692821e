//! `opm usage`: what was used, and what it cost.

use std::process::ExitCode;

use anyhow::bail;
use opm_admin::usage::{By, Figures, Filters, KeyNames, UsageGroupView, UsageQuestion, UsageReport, usage};
use opm_config::{Proof, nearest};
use opm_core::{client_key, digest};

use super::block_on;
use super::store::{self, Opened};
use crate::args::usage::{Sheet, Usage, Whose};
use crate::control::unix_seconds;
use crate::sheet::{Paper, csv, optional};
use crate::table::{money, number, printable, span, table, time};

const WITHOUT: &str = "no usage is kept: add `storage: { url: \"sqlite:./opm.db\" }`";

pub(super) fn run(args: &Usage) -> anyhow::Result<ExitCode> {
    let (report, meant) = block_on(ask(args))?;
    let text = match args.format {
        Sheet::Json => format!("{}\n", serde_json::to_string(&report)?),
        Sheet::Csv => values(&report),
        Sheet::Table => readable(&report),
    };
    // Whoever reads no further has what he wanted.
    let _ = Paper.write(&text)?;
    notes(&report);
    meant.iter().for_each(|hint| eprintln!("{hint}"));
    Ok(ExitCode::SUCCESS)
}

/// The answer; and where there is none, what else may have been meant.
async fn ask(args: &Usage) -> anyhow::Result<(UsageReport, Vec<String>)> {
    let opened = open(args.config.as_deref()).await?;
    let question = UsageQuestion {
        by: args.by,
        since: Some(args.since.clone()),
        until: args.until.clone(),
        step: args.step.clone(),
        filters: filters(&opened, &args.whose).await?,
        limit: args.limit,
    };
    let report = usage(&*opened.store, &question, unix_seconds()).await?;
    let meant = if report.groups.is_empty() {
        meant(&opened, &question).await?
    } else {
        Vec::new()
    };
    opened.store.close().await;
    Ok((report, meant))
}

/// Channels and models that were used in that time and are called much like those that were asked for.
async fn meant(opened: &Opened, question: &UsageQuestion) -> anyhow::Result<Vec<String>> {
    let (asked, mut hints) = (&question.filters, Vec::new());
    for (by, what, name) in [
        (By::Channel, "channel", &asked.channel),
        (By::Model, "model", &asked.model),
    ] {
        let Some(name) = name else { continue };
        let used = UsageQuestion {
            by,
            step: None,
            filters: Filters::default(),
            ..question.clone()
        };
        let used = usage(&*opened.store, &used, unix_seconds()).await?;
        let used: Vec<&str> = used.groups.iter().map(|group| group.name.as_str()).collect();
        let near = nearest(name, &used).filter(|near| near != name);
        hints.extend(near.map(|near| format!("no {what} `{name}` was used: did you mean `{near}`?")));
    }
    Ok(hints)
}

/// The store with the usage.
pub(super) async fn open(named: Option<&std::path::Path>) -> anyhow::Result<Opened> {
    store::open(named, false, WITHOUT).await
}

/// Whose usage is meant. A key that nobody knows is a mistake: its usage would be nothing, which looks like an answer.
pub(super) async fn filters(opened: &Opened, whose: &Whose) -> anyhow::Result<Filters> {
    let mut filters = Filters::from(whose);
    let Some(given) = filters.key.as_deref().filter(|key| !key.is_empty()) else {
        return Ok(filters);
    };
    // A key that got lost is at hand in clear.
    let proof = Proof::Digest(digest(given));
    let by_secret = opened.config.keys.iter().find(|key| key.proof == proof);
    let given = match (by_secret, client_key::parse(given)) {
        (Some(key), _) => key.id.clone(),
        (None, Some(parsed)) => parsed.id.to_owned(),
        (None, None) => given.to_owned(),
    };
    let names = KeyNames::of(&*opened.store).await?;
    let of_the_file = opened.config.keys.iter();
    let of_the_file = of_the_file.flat_map(|key| [key.id.as_str(), key.name.as_str()]);
    let known: Vec<&str> = names.known().chain(of_the_file).collect();
    if !known.contains(&given.as_str()) && !given.starts_with("static:") {
        let help = nearest(&given, &known).map_or_else(
            || "`opm keys list` shows those of the store; write static:NAME for one that is no longer in the config file".to_owned(),
            |near| format!("did you mean `{near}`?"),
        );
        bail!("there is no client key `{given}`; {help}");
    }
    filters.key = Some(given);
    Ok(filters)
}

fn readable(report: &UsageReport) -> String {
    if report.groups.is_empty() {
        return String::new();
    }
    let name = word(report.by).to_uppercase();
    let by_key = report.by == By::Key;
    let numbers = [
        ">REQUESTS",
        ">FAILED",
        ">INPUT",
        ">CACHED",
        ">OUTPUT",
        ">COST USD",
        ">FIRST TOKEN",
        ">TIME",
    ];
    let names: &[&str] = if by_key { &[&name, "ID"] } else { &[&name] };
    let mut rows: Vec<Vec<String>> = report.groups.iter().map(|group| row(group, by_key)).collect();
    let mut total = vec!["total".to_owned()];
    total.resize(names.len(), String::new());
    total.extend(cells(&report.total));
    rows.push(total);
    table(&[names, &numbers].concat(), &rows)
}

fn row(group: &UsageGroupView, by_key: bool) -> Vec<String> {
    let shown = |text: &str| {
        if text.is_empty() {
            "-".to_owned()
        } else {
            printable(text)
        }
    };
    let name = group.key_name.as_ref().unwrap_or(&group.name);
    let mut row = vec![shown(name)];
    if by_key {
        row.push(shown(&group.name));
    }
    row.extend(cells(&group.figures));
    row
}

fn cells(figures: &Figures) -> Vec<String> {
    vec![
        number(figures.requests),
        number(figures.failures),
        number(figures.input_tokens),
        number(figures.cached_input_tokens),
        number(figures.output_tokens),
        money(Some(figures.cost_pico_usd)),
        span(figures.average_time_to_first_token_ms),
        span(figures.average_total_ms),
    ]
}

/// The human rest, on standard error.
fn notes(report: &UsageReport) {
    let (since, until) = (time(Some(report.since)), time(Some(report.until)));
    if report.groups.is_empty() {
        eprintln!("nothing was used from {since} to {until}");
        return;
    }
    eprintln!("from {since} to {until}");
    let figures = &report.total;
    let odd = [
        (
            figures.unpriced,
            "billed at a price nobody knows, so not in the cost",
        ),
        (
            figures.estimated,
            "with estimated tokens, which their channels did not count",
        ),
    ];
    for (count, what) in odd.into_iter().filter(|(count, _)| *count > 0) {
        eprintln!(
            "{what}: {} of {} attempts",
            number(count),
            number(figures.attempts)
        );
    }
    if report.more {
        eprintln!(
            "there are more: ask for more with --limit, or for fewer with --key, --user, --model, --channel"
        );
    }
}

/// A value of comma-separated ones: its name, and how it is found.
type Value = (&'static str, fn(&UsageGroupView) -> String);

/// Behind the name of the group.
const VALUES: [Value; 15] = [
    ("key_name", |group| group.key_name.clone().unwrap_or_default()),
    ("requests", |group| group.figures.requests.to_string()),
    ("attempts", |group| group.figures.attempts.to_string()),
    ("failures", |group| group.figures.failures.to_string()),
    ("estimated", |group| group.figures.estimated.to_string()),
    ("unpriced", |group| group.figures.unpriced.to_string()),
    ("input_tokens", |group| group.figures.input_tokens.to_string()),
    ("cached_input_tokens", |group| {
        group.figures.cached_input_tokens.to_string()
    }),
    ("cache_write_tokens", |group| {
        group.figures.cache_write_tokens.to_string()
    }),
    ("output_tokens", |group| group.figures.output_tokens.to_string()),
    ("reasoning_tokens", |group| {
        group.figures.reasoning_tokens.to_string()
    }),
    ("cost_usd", |group| group.figures.cost_usd.clone()),
    ("cost_pico_usd", |group| group.figures.cost_pico_usd.to_string()),
    ("average_time_to_first_token_ms", |group| {
        optional(group.figures.average_time_to_first_token_ms)
    }),
    ("average_total_ms", |group| {
        optional(group.figures.average_total_ms)
    }),
];

fn values(report: &UsageReport) -> String {
    let line = |first: String, rest: [String; VALUES.len()]| {
        let cells: Vec<_> = std::iter::once(first).chain(rest).collect();
        csv(&cells)
    };
    let mut out = line(
        word(report.by).to_owned(),
        VALUES.map(|(name, _)| name.to_owned()),
    );
    for group in &report.groups {
        out.push_str(&line(group.name.clone(), VALUES.map(|(_, value)| value(group))));
    }
    out
}

fn word(by: By) -> &'static str {
    let found = By::ALL.iter().find(|(known, _)| *known == by);
    found.map_or("", |(_, word)| word)
}
