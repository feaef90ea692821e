//! What was used, and what it cost.

use axum::Json;
use axum::extract::{Query, State};

use super::question::{fill, number};
use crate::refusal::{ErrorBody, Refusal};
use crate::router::Shared;
use crate::usage::{By, UsageQuestion, UsageReport, usage};

/// Usage and cost
///
/// Summed by client key, user, model, channel or time, from sums by minute and by hour: what ended in the last moments may be missing.
#[utoipa::path(get, path = "/api/v1/usage", tag = "usage", params(
    ("by" = Option<By>, Query, description = "What to sum by: `key`, `user`, `model` (if absent), `channel`, `time`"),
    ("since" = Option<String>, Query, description = "From when on: an age (`7d`, `24h`, `30m`), a date (its first moment, UTC) or an RFC 3339 time; absent: `7d`"),
    ("until" = Option<String>, Query, description = "Until when, in the same words; absent: now"),
    ("step" = Option<String>, Query, description = "With `by=time` the length of a span, whole minutes: `5m`, `1h`, `1d`; less than an hour for the last 7 days only. Days begin where `since` is a time, else at midnight UTC. Absent: by the length of the whole"),
    ("key" = Option<String>, Query, description = "Only this client key: its id or name; empty: only requests without one"),
    ("user" = Option<String>, Query, description = "Only this user"),
    ("model" = Option<String>, Query, description = "Only this model, as clients name it"),
    ("channel" = Option<String>, Query, description = "Only this channel"),
    ("limit" = Option<u32>, Query, description = "At most so many groups, 1 to 1000; absent: 100, and 1000 spans of time"),
), responses(
    (status = 200, description = "The sums", body = UsageReport),
    (status = 401, description = "No credential, or a wrong one", body = ErrorBody),
    (status = 422, description = "Something is wrong with the question", body = ErrorBody),
    (status = 503, description = "The store does not answer", body = ErrorBody),
))]
pub(crate) async fn show(
    State(shared): State<Shared>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Json<UsageReport>, Refusal> {
    let question = read(pairs)?;
    Ok(Json(usage(&*shared.api.store, &question, shared.now()).await?))
}

fn read(pairs: Vec<(String, String)>) -> Result<UsageQuestion, Refusal> {
    let (mut question, mut by, mut limit) = (UsageQuestion::default(), None, None);
    let filters = &mut question.filters;
    let members = [
        ("by", &mut by),
        ("since", &mut question.since),
        ("until", &mut question.until),
        ("step", &mut question.step),
        ("key", &mut filters.key),
        ("user", &mut filters.user),
        ("model", &mut filters.model),
        ("channel", &mut filters.channel),
        ("limit", &mut limit),
    ];
    fill(pairs, members)?;
    if let Some(word) = by {
        let words = By::ALL.map(|(_, word)| word).join(", ");
        question.by = By::from_word(&word)
            .ok_or_else(|| Refusal::invalid("`by`: unknown word").help(format!("known here: {words}")))?;
    }
    question.limit = number("limit", limit)?;
    Ok(question)
}
