//! What is shown of usage.

use opm_store::{UsageGroup, UsageRow, UsageSums};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{KeyNames, usd};

/// What usage is summed by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// Client key.
    Key,
    /// User behind the client key.
    User,
    /// Model, as clients name it.
    #[default]
    Model,
    /// Channel.
    Channel,
    /// Spans of time.
    Time,
}

impl By {
    /// All of them, with their words.
    pub const ALL: [(By, &'static str); 5] = [
        (By::Key, "key"),
        (By::User, "user"),
        (By::Model, "model"),
        (By::Channel, "channel"),
        (By::Time, "time"),
    ];

    /// The one of this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        let found = By::ALL.iter().find(|(_, known)| *known == word);
        found.map(|(by, _)| *by)
    }
}

/// Usage and cost, summed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UsageReport {
    /// What it is summed by.
    pub by: By,
    /// Unix seconds from which on it is summed: what was asked for, at the edge of the sums that answer.
    pub since: i64,
    /// Unix seconds until which it is summed, likewise.
    pub until: i64,
    /// With `by=time` the length of a span in seconds.
    pub step: Option<i64>,
    /// Seconds of the sums that answer: 60, which are kept for a short time only (`retention` in the config file), or 3600.
    pub width: i64,
    /// The whole, groups that are not shown included.
    pub total: Figures,
    /// Largest cost first, then most requests; times in their order, those without requests left out.
    pub groups: Vec<UsageGroupView>,
    /// There are more groups than were asked for.
    pub more: bool,
}

/// One group of a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UsageGroupView {
    /// Id of the client key, user, model or channel, empty where a request had none; with `by=time` the RFC 3339 time of the start.
    pub name: String,
    /// With `by=key` the name of the client key; null: it is not known, or there was none.
    pub key_name: Option<String>,
    /// With `by=time` the start of the span, Unix seconds.
    pub start: Option<i64>,
    /// Its sums.
    #[serde(flatten)]
    pub figures: Figures,
}

impl UsageGroupView {
    pub(super) fn new(group: UsageGroup, by: By, names: &KeyNames) -> Self {
        let start = group.name.parse().ok().filter(|_| by == By::Time);
        let key_name = names.name(&group.name).filter(|_| by == By::Key);
        UsageGroupView {
            key_name: key_name.map(str::to_owned),
            start,
            name: start.map_or(group.name, rfc3339),
            figures: Figures::new(&group.sums),
        }
    }
}

fn rfc3339(second: i64) -> String {
    let time = jiff::Timestamp::from_second(second);
    time.map_or_else(|_| second.to_string(), |time| time.to_string())
}

/// Sums over attempts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Figures {
    /// Requests.
    pub requests: i64,
    /// Attempts: a request has more than one if a channel failed before its first byte.
    pub attempts: i64,
    /// Requests that failed, were cut, or were lost with the process.
    pub failures: i64,
    /// Attempts with tokens that were estimated because the channel did not count them.
    pub estimated: i64,
    /// Attempts that are billed at a price nobody knows; their cost is not in `cost_usd`.
    pub unpriced: i64,
    /// Tokens read, cached ones included.
    pub input_tokens: i64,
    /// Part of `input_tokens` that was read from a prompt cache.
    pub cached_input_tokens: i64,
    /// Part of `input_tokens` that was written to a prompt cache.
    pub cache_write_tokens: i64,
    /// Tokens generated, reasoning included.
    pub output_tokens: i64,
    /// Part of `output_tokens` that is reasoning.
    pub reasoning_tokens: i64,
    /// Cost in US dollars, an exact decimal number; attempts that failed but are billed included.
    pub cost_usd: String,
    /// The same in 10^-12 US dollars: above 2^53 not exact for every reader of JSON.
    pub cost_pico_usd: i64,
    /// Mean time to the first content, milliseconds; null: there was none.
    pub average_time_to_first_token_ms: Option<i64>,
    /// Mean time of a request, milliseconds; null: there was none.
    pub average_total_ms: Option<i64>,
}

impl Figures {
    pub(super) fn new(sums: &UsageSums) -> Self {
        Figures {
            requests: sums.requests,
            attempts: sums.attempts,
            failures: sums.failures,
            estimated: sums.estimated,
            unpriced: sums.unpriced,
            input_tokens: sums.input,
            cached_input_tokens: sums.cached_input,
            cache_write_tokens: sums.cache_write,
            output_tokens: sums.output,
            reasoning_tokens: sums.reasoning,
            cost_usd: usd(sums.cost_pico_usd),
            cost_pico_usd: sums.cost_pico_usd,
            average_time_to_first_token_ms: mean(sums.ttft_ms, sums.ttft_count),
            average_total_ms: mean(sums.total_ms, sums.requests),
        }
    }
}

/// Rounded to the nearest.
fn mean(sum: i64, count: i64) -> Option<i64> {
    sum.saturating_add(count / 2).checked_div(count)
}

/// Requests, one page of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RequestList {
    /// Newest first; with `after` oldest first.
    pub requests: Vec<RequestView>,
    /// Give this as `before` (or, where `after` was given, as `after`) for the next page; null: there is none. With `after` there is
    /// always one.
    pub next: Option<String>,
    /// Give this as `after` for what comes later than this page; null: it is empty.
    pub newest: Option<String>,
}

/// One request by the attempt that settled it, or one attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RequestView {
    /// Id of the request, as in the header `x-gateway-request-id` of its answer.
    pub request_id: String,
    /// Number of the attempt; 0: no channel was tried.
    pub attempt: i64,
    /// `answered`, `failed`, `cut`, `client_gone`, `crashed`, `aborted`; `retried`: another attempt followed.
    pub outcome: String,
    /// HTTP status that the client got, with `retried` that of the channel; 0: there was none.
    pub status: i64,
    /// Unix milliseconds at which the request was accepted.
    pub started_ms: i64,
    /// Unix milliseconds of the end.
    pub ended_ms: i64,
    /// Id of the client key; empty: none.
    pub key_id: String,
    /// Name of the client key; null: it is not known, or there was none.
    pub key_name: Option<String>,
    /// The user behind the client key; empty: not known.
    pub user: String,
    /// The model, as the client named it.
    pub model: String,
    /// The model that the channel was asked for.
    pub upstream_model: String,
    /// Name of the channel; empty: none was tried.
    pub channel: String,
    /// The client's format.
    pub format: String,
    /// The channel's format; empty: none was tried.
    pub upstream_format: String,
    /// Does the provider bill it: `no`, `yes`, `estimated` (probably).
    pub billed: String,
    /// Where the tokens come from: `reported` by the channel, `partial`, `estimated`.
    pub usage_source: String,
    /// Tokens read, cached ones included.
    pub input_tokens: i64,
    /// Part of `input_tokens` that was read from a prompt cache.
    pub cached_input_tokens: i64,
    /// Part of `input_tokens` that was written to a prompt cache.
    pub cache_write_tokens: i64,
    /// Tokens generated, reasoning included.
    pub output_tokens: i64,
    /// Part of `output_tokens` that is reasoning.
    pub reasoning_tokens: i64,
    /// Cost in US dollars, an exact decimal number; null: the price is not known.
    pub cost_usd: Option<String>,
    /// The same in 10^-12 US dollars.
    pub cost_pico_usd: Option<i64>,
    /// Milliseconds to the first content; null: none came.
    pub time_to_first_token_ms: Option<i64>,
    /// Milliseconds to the end.
    pub total_ms: i64,
}

impl RequestView {
    /// What is shown of a row.
    #[must_use]
    pub fn new(row: UsageRow, names: &KeyNames) -> Self {
        RequestView {
            key_name: names.name(&row.key_id).map(str::to_owned),
            request_id: row.request_id.to_string(),
            attempt: row.attempt,
            outcome: row.outcome.as_str().to_owned(),
            status: row.status,
            started_ms: row.started_ms,
            ended_ms: row.at_ms,
            key_id: row.key_id.to_string(),
            user: row.user.to_string(),
            model: row.model.to_string(),
            upstream_model: row.upstream_model.to_string(),
            channel: row.channel.to_string(),
            format: row.format.to_string(),
            upstream_format: row.upstream_format.to_string(),
            billed: row.billed.as_str().to_owned(),
            usage_source: row.source.as_str().to_owned(),
            input_tokens: row.input,
            cached_input_tokens: row.cached_input,
            cache_write_tokens: row.cache_write,
            output_tokens: row.output,
            reasoning_tokens: row.reasoning,
            cost_usd: row.cost_pico_usd.map(usd),
            cost_pico_usd: row.cost_pico_usd,
            time_to_first_token_ms: row.ttft_ms,
            total_ms: row.total_ms,
        }
    }
}

/// One request with all its attempts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RequestDetail {
    /// Its id.
    pub request_id: String,
    /// It has ended; otherwise it runs, and these are the attempts that failed so far.
    pub settled: bool,
    /// Cost of all attempts with a known price in US dollars, an exact decimal number.
    pub cost_usd: String,
    /// The same in 10^-12 US dollars.
    pub cost_pico_usd: i64,
    /// In their order; the last one settled the request.
    pub attempts: Vec<RequestView>,
}
