//! `opm explain`: where a request goes, or went, and why.

use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::anyhow;
use opm_admin::control::Explanation;
use opm_admin::view::PastRequest;

use super::block_on;
use super::channels::gateway;
use crate::args::Output;
use crate::args::channels::Explain;
use crate::gateway::encode;
use crate::sheet::{say, say_part};
use crate::table::{table, time};

pub(super) fn run(args: &Explain) -> anyhow::Result<ExitCode> {
    let gateway = gateway(args.config.as_deref())?;
    let path = match &args.request {
        Some(id) => format!("explain/{}", encode(id)),
        None => format!("explain?{}", query(args)?),
    };
    let text = block_on(gateway.get(&path))?;
    if args.output() == Output::Json {
        say!("{text}");
        return Ok(ExitCode::SUCCESS);
    }
    let explanation = match &args.request {
        Some(_) => serde_json::from_str::<PastRequest>(&text)?.explanation,
        None => serde_json::from_str(&text)?,
    };
    say_part!("{}", rendered(&explanation));
    Ok(ExitCode::SUCCESS)
}

fn query(args: &Explain) -> anyhow::Result<String> {
    let mut query = format!("model={}", encode(args.model.as_deref().unwrap_or_default()));
    let given = [("format", args.client()), ("key", args.key.as_deref())];
    for (name, value) in given {
        if let Some(value) = value {
            let _ = write!(query, "&{name}={}", encode(value));
        }
    }
    for header in &args.headers {
        let pair = header.split_once('=').filter(|(name, _)| !name.is_empty());
        let (name, value) = pair.ok_or_else(|| anyhow!("--header `{header}`: write NAME=VALUE"))?;
        let _ = write!(query, "&header.{}={}", encode(name), encode(value));
    }
    Ok(query)
}

fn rendered(found: &Explanation) -> String {
    let mut out = format!("model     {}\n", found.model);
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(out, "{name:<9} {value}");
    };
    line("format", found.format.as_deref().unwrap_or("-"));
    line("key", found.key.as_deref().unwrap_or("-"));
    line("route", found.route.as_deref().unwrap_or("none matches"));
    line("strategy", &found.strategy);
    if let Some(at) = found.at {
        line("at", &time(Some(at)));
    }
    if let Some(status) = found.status {
        line("status", &status.to_string());
    }
    if found.sticky {
        line("sticky", "the first candidate knows the conversation");
    }
    if found.last_resort {
        line(
            "last",
            "all were broken or out of keys: the one that recovers first is tried",
        );
    }
    if let Some(refusal) = &found.refusal {
        line("refused", refusal);
    }
    let candidates = found.candidates.iter().enumerate().map(|(at, candidate)| {
        let place = (at + 1).to_string();
        let (channel, model) = (candidate.channel.clone(), candidate.model.clone());
        vec![
            place,
            channel,
            model,
            candidate.format.clone(),
            candidate.reason.clone(),
        ]
    });
    section(
        &mut out,
        &["", "CANDIDATE", "MODEL", "FORMAT", "REASON"],
        candidates.collect(),
    );
    let skipped = found.skipped.iter();
    let skipped = skipped.map(|skipped| vec!["-".into(), skipped.channel.clone(), skipped.reason.clone()]);
    section(&mut out, &["", "SKIPPED", "REASON"], skipped.collect());
    let attempts = found.attempts.iter().map(|attempt| {
        let status = attempt
            .status
            .map_or_else(|| "-".to_owned(), |status| status.to_string());
        let time = format!("{} ms", attempt.ms);
        vec![
            ">".into(),
            attempt.channel.clone(),
            attempt.outcome.clone(),
            status,
            time,
        ]
    });
    section(
        &mut out,
        &["", "ATTEMPT", "OUTCOME", "STATUS", "TIME"],
        attempts.collect(),
    );
    out
}

fn section(out: &mut String, head: &[&str], rows: Vec<Vec<String>>) {
    if !rows.is_empty() {
        out.push('\n');
        out.push_str(&table(head, &rows));
    }
}

#[cfg(test)]
mod tests {
    use opm_admin::control::{CandidateView, SkippedView};

    use super::*;

    #[test]
    fn an_explanation_is_readable() {
        let found = Explanation {
            model: "m".into(),
            strategy: "weighted".into(),
            candidates: vec![CandidateView {
                channel: "one".into(),
                model: "m-1".into(),
                format: "chat".into(),
                reason: "priority 1".into(),
            }],
            skipped: vec![SkippedView {
                channel: "two".into(),
                reason: "breaker open".into(),
            }],
            ..Explanation::default()
        };
        let text = rendered(&found);
        assert!(text.starts_with(
            "model     m\nformat    -\nkey       -\nroute     none matches\nstrategy  weighted\n\n"
        ));
        assert!(
            text.contains("\n1  one        m-1    chat    priority 1\n"),
            "{text}"
        );
        assert!(text.ends_with("\n-  two      breaker open\n"), "{text}");
    }
}
