//! What happened to requests.

use axum::Json;
use axum::extract::{Path, Query, State};

use super::question::{fill, flag, number};
use crate::refusal::{ErrorBody, Refusal};
use crate::router::Shared;
use crate::usage::{self, RequestDetail, RequestList, RequestsQuestion};

/// Characters of an unknown id that are repeated.
const SHOWN: usize = 64;

/// List requests
///
/// Each by the attempt that settled it. A request is listed a moment after its end, and not always in that order: who follows with
/// `after` goes back some seconds (Unix milliseconds are a place too) and passes over what it has seen.
#[utoipa::path(get, path = "/api/v1/requests", tag = "usage", params(
    ("key" = Option<String>, Query, description = "Only of this client key: its id or name; empty: only without one"),
    ("user" = Option<String>, Query, description = "Only of this user"),
    ("model" = Option<String>, Query, description = "Only for this model, as clients name it"),
    ("channel" = Option<String>, Query, description = "Only at this channel"),
    ("outcome" = Option<String>, Query, description = "Only with this outcome: `answered`, `failed`, `cut`, `client_gone`, `crashed`, `aborted`, or attempts that are `retried`"),
    ("status" = Option<i64>, Query, description = "Only with this HTTP status or a higher one, 100 to 599"),
    ("since" = Option<String>, Query, description = "Ended since: an age (`7d`, `24h`, `30m`), a date (its first moment, UTC) or an RFC 3339 time"),
    ("until" = Option<String>, Query, description = "Ended before, in the same words"),
    ("before" = Option<String>, Query, description = "The page after the one whose `next` this is"),
    ("after" = Option<String>, Query, description = "What ended after this place, oldest first: a `next`, a `newest`, or Unix milliseconds"),
    ("attempts" = Option<bool>, Query, description = "`true`: also attempts that another one followed"),
    ("limit" = Option<u32>, Query, description = "At most so many, 1 to 1000; absent: 100"),
), responses(
    (status = 200, description = "One page", body = RequestList),
    (status = 401, description = "No credential, or a wrong one", body = ErrorBody),
    (status = 422, description = "Something is wrong with the question", body = ErrorBody),
    (status = 503, description = "The store does not answer", body = ErrorBody),
))]
pub(crate) async fn list(
    State(shared): State<Shared>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Json<RequestList>, Refusal> {
    let question = read(pairs)?;
    let list = usage::requests(&*shared.api.store, &question, shared.now()).await?;
    Ok(Json(list))
}

fn read(pairs: Vec<(String, String)>) -> Result<RequestsQuestion, Refusal> {
    let mut question = RequestsQuestion::default();
    let (mut status, mut attempts, mut limit) = (None, None, None);
    let filters = &mut question.filters;
    let members = [
        ("key", &mut filters.key),
        ("user", &mut filters.user),
        ("model", &mut filters.model),
        ("channel", &mut filters.channel),
        ("outcome", &mut question.outcome),
        ("status", &mut status),
        ("since", &mut question.since),
        ("until", &mut question.until),
        ("before", &mut question.before),
        ("after", &mut question.after),
        ("attempts", &mut attempts),
        ("limit", &mut limit),
    ];
    fill(pairs, members)?;
    question.status_from = number("status", status)?;
    question.attempts = flag("attempts", attempts)?;
    question.limit = number("limit", limit)?;
    Ok(question)
}

/// Show a request with all its attempts
#[utoipa::path(get, path = "/api/v1/requests/{request_id}", tag = "usage",
    params(("request_id" = String, Path, description = "As in the header `x-gateway-request-id` of its answer")), responses(
    (status = 200, description = "Its attempts", body = RequestDetail),
    (status = 401, description = "No credential, or a wrong one", body = ErrorBody),
    (status = 404, description = "The store has none of it: it runs its first attempt, or was forgotten", body = ErrorBody),
    (status = 503, description = "The store does not answer", body = ErrorBody),
))]
pub(crate) async fn show(
    State(shared): State<Shared>,
    Path(request_id): Path<String>,
) -> Result<Json<RequestDetail>, Refusal> {
    match usage::request(&*shared.api.store, &request_id).await? {
        Some(detail) => Ok(Json(detail)),
        None => {
            let shown: String = request_id.chars().take(SHOWN).collect();
            Err(Refusal::not_found("request", &shown, "/api/v1/requests"))
        }
    }
}
