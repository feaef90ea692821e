//! What requests used: the sums that questions are answered from, and where all of it is kept.

use async_trait::async_trait;
use serde::Serialize;

use crate::attempt::UsageRow;
use crate::error::StoreError;
use crate::request::RequestQuery;
use crate::used::{Used, UsedQuery};

/// Sums over attempts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct UsageSums {
    /// Attempts.
    pub attempts: i64,
    /// Requests: attempts that no other followed.
    pub requests: i64,
    /// Requests that failed, were cut, or were lost with the process: [`AttemptOutcome::is_failure`].
    ///
    /// [`AttemptOutcome::is_failure`]: crate::AttemptOutcome::is_failure
    pub failures: i64,
    /// Attempts with estimated tokens.
    pub estimated: i64,
    /// Attempts that the provider bills at a price nobody knows.
    pub unpriced: i64,
    /// Tokens read.
    pub input: i64,
    /// Tokens generated.
    pub output: i64,
    /// Part of `input` from a prompt cache.
    pub cached_input: i64,
    /// Part of `input` written to a prompt cache.
    pub cache_write: i64,
    /// Part of `output` that is reasoning.
    pub reasoning: i64,
    /// Cost in 10^-12 US dollars, of attempts with a known price; those that another followed included.
    pub cost_pico_usd: i64,
    /// Milliseconds to the first content, summed; divide by `ttft_count`.
    pub ttft_ms: i64,
    /// Attempts with content.
    pub ttft_count: i64,
    /// Milliseconds to the end of requests, summed; divide by `requests`.
    pub total_ms: i64,
}

/// [`MOST_SUM`] as a literal, for statements.
macro_rules! most_sum {
    () => {
        4000000000000000000
    };
}
pub(crate) use most_sum;

/// The most that any sum says: two of them still fit in an `i64`.
pub(crate) const MOST_SUM: i64 = most_sum!();

impl UsageSums {
    /// Adds other sums; no sum grows beyond [`MOST_SUM`].
    pub(crate) fn add(&mut self, other: &UsageSums) {
        let additions = [
            (&mut self.attempts, other.attempts),
            (&mut self.requests, other.requests),
            (&mut self.failures, other.failures),
            (&mut self.estimated, other.estimated),
            (&mut self.unpriced, other.unpriced),
            (&mut self.input, other.input),
            (&mut self.output, other.output),
            (&mut self.cached_input, other.cached_input),
            (&mut self.cache_write, other.cache_write),
            (&mut self.reasoning, other.reasoning),
            (&mut self.cost_pico_usd, other.cost_pico_usd),
            (&mut self.ttft_ms, other.ttft_ms),
            (&mut self.ttft_count, other.ttft_count),
            (&mut self.total_ms, other.total_ms),
        ];
        for (sum, addition) in additions {
            *sum = sum.saturating_add(addition).min(MOST_SUM);
        }
    }
}

/// What usage is summed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsageBy {
    /// Id of the client key.
    Key,
    /// User.
    User,
    /// Model as clients name it.
    Model,
    /// Channel.
    Channel,
    /// Spans of so many seconds, counted from `since`: days of any time zone begin where `since` does.
    Time(i64),
}

/// The sums that a question is answered from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// By minute; kept for a short time.
    Minute,
    /// By hour; kept for long.
    Hour,
}

impl Width {
    /// Its length in seconds.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        match self {
            Width::Minute => 60,
            Width::Hour => 3600,
        }
    }
}

/// A question about usage.
#[derive(Clone, Debug)]
pub struct UsageQuery {
    /// What to sum by.
    pub by: UsageBy,
    /// From which sums. Their whole spans count: `since` and `until` should be multiples of it.
    pub width: Width,
    /// Unix seconds; spans that begin then or later.
    pub since: i64,
    /// Unix seconds; spans that begin before.
    pub until: i64,
    /// Only this client key.
    pub key_id: Option<String>,
    /// Only this user.
    pub user: Option<String>,
    /// Only this model.
    pub model: Option<String>,
    /// Only this channel.
    pub channel: Option<String>,
    /// Groups at most.
    pub limit: u32,
}

/// One group of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageGroup {
    /// Key id, user, model or channel; for times the Unix second at which the span begins.
    pub name: String,
    /// Its sums.
    pub sums: UsageSums,
}

/// What may be forgotten.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Rows before, in Unix milliseconds.
    pub rows_before_ms: i64,
    /// Sums by minute before, in Unix seconds.
    pub minutes_before: i64,
    /// Sums by hour before, in Unix seconds.
    pub hours_before: i64,
    /// Budget periods that began before, in Unix seconds.
    pub budgets_before: i64,
    /// The oldest rows beyond so many, and as many sums of each width: for a store in memory. `None`: all are kept.
    pub most: Option<u32>,
}

/// Keeps usage. Does not touch the revision.
#[async_trait]
pub trait UsageStore {
    /// Records attempts, their sums and what they take from budgets, each exactly once however often a batch is given: an attempt
    /// that is known already counts no more. Up to 2,000 attempts are one transaction; after an error give the whole batch again.
    async fn record_usage(&self, batch: &[UsageRow]) -> Result<(), StoreError>;

    /// The attempts of one request, in order.
    async fn attempts(&self, request_id: &str) -> Result<Vec<UsageRow>, StoreError>;

    /// Attempts that the query selects, one page of them, in its order.
    async fn requests(&self, query: &RequestQuery) -> Result<Vec<UsageRow>, StoreError>;

    /// From which Unix second on the sums by minute are whole; before, some are forgotten.
    async fn minutes_since(&self) -> Result<i64, StoreError>;

    /// Answers a question from the sums: groups by cost, then by requests, largest first; times in their order.
    async fn usage(&self, query: &UsageQuery) -> Result<Vec<UsageGroup>, StoreError>;

    /// Shows what was used in a span of time, by whom and when, one step of one caller at a time.
    ///
    /// # Errors
    /// What was shown before stays shown.
    async fn used(&self, query: &UsedQuery, show: &mut (dyn FnMut(Used) + Send)) -> Result<(), StoreError>;

    /// Forgets what is older, in small transactions, and tells how many rows of any kind that were. An attempt given again after
    /// its row was forgotten counts anew.
    async fn forget_usage(&self, retention: &Retention) -> Result<u64, StoreError>;
}
