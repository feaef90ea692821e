//! `opm usage` and `opm logs`.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand, ValueEnum};
use opm_admin::usage::{By, Filters};
use opm_store::AttemptOutcome;

use super::Scope;

/// Output of commands that list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sheet {
    /// For people
    #[value(alias = "text")]
    Table,
    /// For programs
    Json,
    /// For spreadsheets
    Csv,
}

/// Whose usage is meant.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Whose {
    /// Only this client key, by id or name; empty: only requests without one
    #[arg(long, value_name = "ID")]
    pub(crate) key: Option<String>,
    /// Only this user
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
    /// Only this model, as clients name it
    #[arg(long, value_name = "NAME")]
    pub(crate) model: Option<String>,
    /// Only this channel
    #[arg(long, value_name = "NAME")]
    pub(crate) channel: Option<String>,
}

impl From<&Whose> for Filters {
    fn from(whose: &Whose) -> Self {
        Filters {
            key: whose.key.clone(),
            user: whose.user.clone(),
            model: whose.model.clone(),
            channel: whose.channel.clone(),
        }
    }
}

fn by() -> impl TypedValueParser<Value = By> {
    let words = By::ALL.map(|(_, word)| word);
    PossibleValuesParser::new(words).map(|word| By::from_word(&word).unwrap_or_default())
}

/// Answered from the store of the configuration, whether a gateway runs on it or not. What ended in the last moments may be missing.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  opm usage\n  opm usage --by key --since 24h --channel openai\n  opm usage --by time --since 30d --step 1d --format csv -c opm.yaml"
)]
pub(crate) struct Usage {
    /// What to sum by
    #[arg(long, default_value = "model", value_parser = by())]
    pub(crate) by: By,
    /// From when on: an age (7d, 24h, 30m), a date or a time (2027-06-30T12:00:00Z)
    #[arg(long, value_name = "WHEN", default_value = opm_admin::usage::USUAL_SINCE)]
    pub(crate) since: String,
    /// Until when, in the same words [default: now]
    #[arg(long, value_name = "WHEN")]
    pub(crate) until: Option<String>,
    /// With --by time the length of a span: 5m, 1h, 1d [default: by the length of the whole]
    #[arg(long, value_name = "TIME")]
    pub(crate) step: Option<String>,
    #[command(flatten)]
    pub(crate) whose: Whose,
    /// At most so many groups, 1 to 1000 [default: 100, and all spans of time]
    #[arg(long, value_name = "COUNT")]
    pub(crate) limit: Option<u32>,
    /// Output format
    #[arg(long, value_enum, default_value = "table")]
    pub(crate) format: Sheet,
    /// Configuration file [default: as `opm serve` finds it]
    #[arg(short, long)]
    pub(crate) config: Option<PathBuf>,
}

/// Reads the store of the configuration, whether a gateway runs on it or not.
#[derive(Debug, Subcommand)]
pub(crate) enum Logs {
    /// Show the newest requests, oldest of them first, and with -f those that come
    Tail(Tail),
    /// Show one request with all its attempts
    Show(Show),
}

/// Which requests are shown.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  opm logs tail\n  opm logs tail -f --key team-a --status 400\n  opm logs tail -n 1000 --since 1h --attempts --format csv -c opm.yaml"
)]
pub(crate) struct Tail {
    /// How many of those that have ended, 0 to 1000
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub(crate) lines: u32,
    /// Go on with those that end from now on, until Ctrl-C; with --format json an object a line
    #[arg(short, long, conflicts_with = "until")]
    pub(crate) follow: bool,
    #[command(flatten)]
    pub(crate) whose: Whose,
    /// Only with this outcome
    #[arg(long, value_parser = PossibleValuesParser::new(AttemptOutcome::ALL.iter().map(|outcome| outcome.as_str())))]
    pub(crate) outcome: Option<String>,
    /// Only with this HTTP status or a higher one
    #[arg(long, value_name = "FROM", value_parser = clap::value_parser!(i64).range(100..=599))]
    pub(crate) status: Option<i64>,
    /// Also attempts that another one followed
    #[arg(long)]
    pub(crate) attempts: bool,
    /// Ended since: an age (7d, 24h, 30m), a date or a time (2027-06-30T12:00:00Z)
    #[arg(long, value_name = "WHEN")]
    pub(crate) since: Option<String>,
    /// Ended before, in the same words
    #[arg(long, value_name = "WHEN")]
    pub(crate) until: Option<String>,
    /// Output format
    #[arg(long, value_enum, default_value = "table")]
    pub(crate) format: Sheet,
    /// Configuration file [default: as `opm serve` finds it]
    #[arg(short, long)]
    pub(crate) config: Option<PathBuf>,
}

/// Which request is shown.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  opm logs show req_4fK2m9QzWcT81bXyLq0aVd3E\n  opm logs show req_4fK2m9QzWcT81bXyLq0aVd3E -c opm.yaml\n  opm logs show req_4fK2m9QzWcT81bXyLq0aVd3E --format json"
)]
pub(crate) struct Show {
    /// Id of the request, as in the header x-gateway-request-id of its answer
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) scope: Scope,
}
