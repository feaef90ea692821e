//! One request with all its attempts, for people.

use opm_admin::usage::{RequestDetail, RequestView};

use super::line::{arrow, shown, status, tokens};
use crate::table::{Columns, money, number, printable, span, table};

pub(super) fn readable(found: &RequestDetail) -> String {
    let Some(last) = found.attempts.last() else {
        return String::new();
    };
    let outcome = if found.settled {
        format!("{}, status {}", last.outcome, status(last.status))
    } else {
        "not yet: these attempts failed so far".to_owned()
    };
    let lines = [
        ("request", printable(&found.request_id)),
        ("key", key(last)),
        ("user", shown(&last.user)),
        ("model", shown(&last.model)),
        ("format", shown(&last.format)),
        ("started", moment(last.started_ms)),
        ("outcome", outcome),
        ("time", times(last)),
        ("tokens", counts(last)),
        ("cost", cost(found)),
    ];
    let mut columns = Columns::new(&["", ""]);
    let lines: Vec<_> = lines.map(|(name, value)| vec![name.to_owned(), value]).into();
    lines.iter().for_each(|line| columns.fit(line));
    let mut out: String = lines.iter().map(|line| columns.line(line)).collect();
    out.push('\n');
    out.push_str(&attempts(found));
    out
}

fn attempts(found: &RequestDetail) -> String {
    let head = [
        ">ATTEMPT",
        "ENDED",
        "CHANNEL",
        "MODEL",
        "FORMAT",
        "OUTCOME",
        ">STATUS",
        "BILLED",
        ">INPUT",
        ">OUTPUT",
        ">COST USD",
        ">FIRST TOKEN",
        ">TIME",
    ];
    let row = |attempt: &RequestView| {
        vec![
            attempt.attempt.to_string(),
            moment(attempt.ended_ms),
            shown(&attempt.channel),
            shown(&attempt.upstream_model),
            arrow(&attempt.format, &attempt.upstream_format),
            attempt.outcome.clone(),
            status(attempt.status),
            attempt.billed.clone(),
            tokens(attempt, attempt.input_tokens),
            tokens(attempt, attempt.output_tokens),
            money(attempt.cost_pico_usd),
            span(attempt.time_to_first_token_ms),
            span(Some(attempt.total_ms)),
        ]
    };
    table(&head, &found.attempts.iter().map(row).collect::<Vec<_>>())
}

fn key(row: &RequestView) -> String {
    match &row.key_name {
        Some(name) if !row.key_id.starts_with("static:") => format!("{} ({})", printable(name), row.key_id),
        Some(name) => printable(name),
        None => shown(&row.key_id),
    }
}

fn times(row: &RequestView) -> String {
    let first = match row.time_to_first_token_ms {
        Some(ms) => format!(", first token after {}", span(Some(ms))),
        None => String::new(),
    };
    format!("{} in all{first}", span(Some(row.total_ms)))
}

fn counts(row: &RequestView) -> String {
    let (input, output) = (number(row.input_tokens), number(row.output_tokens));
    let (cached, written) = (number(row.cached_input_tokens), number(row.cache_write_tokens));
    let reasoning = number(row.reasoning_tokens);
    let source = match row.usage_source.as_str() {
        "reported" => "counted by the channel",
        "partial" => "some of them estimated",
        _ => "estimated",
    };
    format!(
        "{input} in ({cached} from the cache, {written} into it), {output} out ({reasoning} reasoning); {source}"
    )
}

/// The exact cost, and what is not in it.
fn cost(found: &RequestDetail) -> String {
    let unknown = |row: &&RequestView| row.cost_usd.is_none() && row.billed != "no";
    let unknown = found.attempts.iter().filter(unknown).count();
    let priced = found.attempts.iter().any(|row| row.cost_usd.is_some());
    match (priced, unknown) {
        (_, 0) => format!("{} USD", found.cost_usd),
        (false, _) => "not known: the model has no price".to_owned(),
        (true, unknown) => format!(
            "{} USD, without {unknown} of {} attempts, whose price nobody knows",
            found.cost_usd,
            found.attempts.len()
        ),
    }
}

/// Unix milliseconds as a date and time, UTC.
fn moment(ms: i64) -> String {
    let time = jiff::Timestamp::from_millisecond(ms);
    time.map_or_else(|_| "-".to_owned(), |time| format!("{time:.3}"))
}
