//! What was used, what it cost, and what happened to a request: what both the API and the command line answer, from the store.
//!
//! Sums come from the sums that the store keeps by minute and by hour, never from rows; requests come page by page. `usage/span.rs`
//! decides which sums answer a question, `usage/view.rs` is what is shown.

mod key;
mod money;
mod request;
mod span;
mod view;

use std::fmt;

use opm_store::{Store, StoreError, UsageBy, UsageQuery, UsageSums};

pub use key::KeyNames;
pub use money::usd;
pub use request::{RequestsQuestion, request, requests};
pub use view::{By, Figures, RequestDetail, RequestList, RequestView, UsageGroupView, UsageReport};

use span::Span;

/// Groups of one answer at most, and spans of time.
pub const MOST_GROUPS: u32 = 1_000;
/// Groups of an answer that asks for no number.
pub const USUAL_GROUPS: u32 = 100;
/// How far back an answer reaches that asks for nothing else.
pub const USUAL_SINCE: &str = "7d";

/// Why a question has no answer.
#[derive(Debug)]
pub enum AskError {
    /// Something in the question is wrong.
    Member {
        /// What: `since`, `step`, `limit` …
        member: &'static str,
        /// What is wrong with it.
        why: String,
        /// What to do.
        help: String,
    },
    /// The store refused or failed.
    Store(StoreError),
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AskError::Member { member, why, help } => write!(f, "{member}: {why}; {help}"),
            AskError::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for AskError {}

impl From<StoreError> for AskError {
    fn from(error: StoreError) -> Self {
        AskError::Store(error)
    }
}

fn wrong(member: &'static str, why: impl Into<String>, help: impl Into<String>) -> AskError {
    AskError::Member {
        member,
        why: why.into(),
        help: help.into(),
    }
}

/// Whose usage is meant; what is absent excludes nothing.
#[derive(Clone, Debug, Default)]
pub struct Filters {
    /// Id or name of a client key; empty: requests without one.
    pub key: Option<String>,
    /// A user.
    pub user: Option<String>,
    /// A model, as clients name it.
    pub model: Option<String>,
    /// Name of a channel.
    pub channel: Option<String>,
}

impl Filters {
    /// The user as the store knows them.
    fn user(&self) -> Option<String> {
        let name = |user: &String| opm_core::user_name(user.as_bytes()).into_owned();
        self.user.as_ref().map(name)
    }
}

/// A question about sums.
#[derive(Clone, Debug, Default)]
pub struct UsageQuestion {
    /// What to sum by.
    pub by: By,
    /// From when on: `7d` (ago), `2026-11-24`, or an RFC 3339 time; absent: [`USUAL_SINCE`].
    pub since: Option<String>,
    /// Until when, in the same words; absent: now.
    pub until: Option<String>,
    /// Length of a span, with [`By::Time`]: `5m`, `1h`, `1d`; absent: by the length of the whole.
    pub step: Option<String>,
    /// Whose.
    pub filters: Filters,
    /// Groups at most, 1 to [`MOST_GROUPS`]; absent: [`USUAL_GROUPS`], or all spans of time.
    pub limit: Option<u32>,
}

/// Answers a question from the sums. `now` is the time in Unix seconds.
///
/// # Errors
/// [`AskError`].
pub async fn usage(store: &dyn Store, question: &UsageQuestion, now: i64) -> Result<UsageReport, AskError> {
    let by_time = question.by == By::Time;
    let usual = if by_time { MOST_GROUPS } else { USUAL_GROUPS };
    let limit = bounded(question.limit, usual, MOST_GROUPS)?;
    let span = Span::read(question, now, store.minutes_since().await?)?;
    if by_time && span.count() > i64::from(limit) {
        let why = format!("there are {} spans between `since` and `until`", span.count());
        return Err(wrong(
            "step",
            why,
            format!("at most {limit} are shown: make the step longer"),
        ));
    }
    let names = KeyNames::of(store).await?;
    let filters = &question.filters;
    let whole = UsageQuery {
        by: UsageBy::Time(span.length()),
        width: span.width,
        since: span.since,
        until: span.until,
        key_id: filters.key.as_deref().map(|key| names.id(key)),
        user: filters.user(),
        model: filters.model.clone(),
        channel: filters.channel.clone(),
        // One more tells whether there are more.
        limit: limit.saturating_add(1),
    };
    let total = store.usage(&whole).await?.into_iter().next();
    let by = match question.by {
        By::Key => UsageBy::Key,
        By::User => UsageBy::User,
        By::Model => UsageBy::Model,
        By::Channel => UsageBy::Channel,
        By::Time => UsageBy::Time(span.step),
    };
    let mut groups = store.usage(&UsageQuery { by, ..whole }).await?;
    let shown = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = groups.len() > shown;
    groups.truncate(shown);
    let total = total.map_or_else(UsageSums::default, |total| total.sums);
    let groups = groups.into_iter();
    Ok(UsageReport {
        by: question.by,
        since: span.since,
        until: span.until,
        step: by_time.then_some(span.step),
        width: span.width.seconds(),
        total: Figures::new(&total),
        groups: groups
            .map(|group| UsageGroupView::new(group, question.by, &names))
            .collect(),
        more,
    })
}

/// A number of things that is asked for.
fn bounded(asked: Option<u32>, usual: u32, most: u32) -> Result<u32, AskError> {
    let limit = asked.unwrap_or(usual);
    if (1..=most).contains(&limit) {
        return Ok(limit);
    }
    let help = format!("ask for 1 to {most}");
    Err(wrong("limit", format!("{limit} is out of bounds"), help))
}
