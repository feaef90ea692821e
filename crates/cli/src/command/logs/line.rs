//! Requests as lines.

use opm_admin::usage::RequestView;

use crate::args::usage::Sheet;
use crate::sheet::{csv, optional};
use crate::table::{Columns, money, number, printable, span, time};

const HEAD: [&str; 15] = [
    "ENDED",
    ">STATUS",
    "OUTCOME",
    "FORMAT",
    "MODEL",
    "CHANNEL",
    ">ATTEMPT",
    "KEY",
    ">INPUT",
    ">CACHED",
    ">OUTPUT",
    ">COST USD",
    ">FIRST TOKEN",
    ">TIME",
    "REQUEST",
];

/// A value of comma-separated ones: its name, and how it is found.
type Value = (&'static str, fn(&RequestView) -> String);

const VALUES: [Value; 25] = [
    ("request_id", |row| row.request_id.clone()),
    ("attempt", |row| row.attempt.to_string()),
    ("outcome", |row| row.outcome.clone()),
    ("status", |row| row.status.to_string()),
    ("started_ms", |row| row.started_ms.to_string()),
    ("ended_ms", |row| row.ended_ms.to_string()),
    ("key_id", |row| row.key_id.clone()),
    ("key_name", |row| row.key_name.clone().unwrap_or_default()),
    ("user", |row| row.user.clone()),
    ("model", |row| row.model.clone()),
    ("upstream_model", |row| row.upstream_model.clone()),
    ("channel", |row| row.channel.clone()),
    ("format", |row| row.format.clone()),
    ("upstream_format", |row| row.upstream_format.clone()),
    ("billed", |row| row.billed.clone()),
    ("usage_source", |row| row.usage_source.clone()),
    ("input_tokens", |row| row.input_tokens.to_string()),
    ("cached_input_tokens", |row| row.cached_input_tokens.to_string()),
    ("cache_write_tokens", |row| row.cache_write_tokens.to_string()),
    ("output_tokens", |row| row.output_tokens.to_string()),
    ("reasoning_tokens", |row| row.reasoning_tokens.to_string()),
    ("cost_usd", |row| row.cost_usd.clone().unwrap_or_default()),
    ("cost_pico_usd", |row| optional(row.cost_pico_usd)),
    ("time_to_first_token_ms", |row| {
        optional(row.time_to_first_token_ms)
    }),
    ("total_ms", |row| row.total_ms.to_string()),
];

/// Turns rows into text, batch after batch.
pub(super) struct Lines {
    format: Sheet,
    columns: Columns,
    begun: bool,
}

impl Lines {
    pub(super) fn new(format: Sheet) -> Self {
        Lines {
            format,
            columns: Columns::new(&HEAD),
            begun: false,
        }
    }

    /// The lines of these rows, the first time with their names above.
    pub(super) fn text(&mut self, rows: &[RequestView]) -> Result<String, serde_json::Error> {
        let begins = !std::mem::replace(&mut self.begun, true);
        match self.format {
            Sheet::Json => {
                let lines = rows.iter().map(serde_json::to_string);
                lines.map(|line| line.map(|line| line + "\n")).collect()
            }
            Sheet::Csv => {
                let head = begins.then(|| csv(&VALUES.map(|(name, _)| name.to_owned())));
                let line = |row| csv(&VALUES.map(|(_, value)| value(row)));
                Ok(head.into_iter().chain(rows.iter().map(line)).collect())
            }
            Sheet::Table => {
                let rows: Vec<_> = rows.iter().map(cells).collect();
                rows.iter().for_each(|row| self.columns.fit(row));
                let head = begins.then(|| self.columns.head());
                let lines = rows.iter().map(|row| self.columns.line(row));
                Ok(head.into_iter().chain(lines).collect())
            }
        }
    }
}

/// Two words with an arrow, one where they are the same.
pub(super) fn arrow(from: &str, to: &str) -> String {
    match (from, to) {
        ("", "") => "-".to_owned(),
        (from, "") => printable(from),
        ("", to) => printable(to),
        (from, to) if from == to => printable(from),
        (from, to) => format!("{} → {}", printable(from), printable(to)),
    }
}

/// A text of somebody else, or a dash.
pub(super) fn shown(text: &str) -> String {
    if text.is_empty() {
        "-".to_owned()
    } else {
        printable(text)
    }
}

/// A number of tokens; `~` in front of one that may be an estimate.
pub(super) fn tokens(row: &RequestView, count: i64) -> String {
    let about = if row.usage_source == "reported" { "" } else { "~" };
    format!("{about}{}", number(count))
}

pub(super) fn status(status: i64) -> String {
    if status == 0 {
        "-".to_owned()
    } else {
        status.to_string()
    }
}

fn cells(row: &RequestView) -> Vec<String> {
    vec![
        time(Some(row.ended_ms.div_euclid(1_000))),
        status(row.status),
        row.outcome.clone(),
        arrow(&row.format, &row.upstream_format),
        arrow(&row.model, &row.upstream_model),
        shown(&row.channel),
        row.attempt.to_string(),
        shown(row.key_name.as_ref().unwrap_or(&row.key_id)),
        tokens(row, row.input_tokens),
        number(row.cached_input_tokens),
        tokens(row, row.output_tokens),
        money(row.cost_pico_usd),
        span(row.time_to_first_token_ms),
        span(Some(row.total_ms)),
        printable(&row.request_id),
    ]
}
