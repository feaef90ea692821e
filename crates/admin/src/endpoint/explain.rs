//! Why a request goes where it does.

use axum::Json;
use axum::extract::{Path, Query, State};

use super::view::PastRequest;
use crate::body::check_names;
use crate::control::{Ask, Explanation};
use crate::refusal::{ErrorBody, Refusal};
use crate::router::Shared;

const FORMATS: [&str; 4] = ["chat", "responses", "messages", "gemini"];
const HEADER: &str = "header.";

/// Where would a request go now?
///
/// Nothing is sent. Request headers that routes look at are given as `header.NAME`.
#[utoipa::path(get, path = "/api/v1/explain", tag = "explain", params(
    ("model" = String, Query, description = "Public model name"),
    ("format" = Option<String>, Query, description = "The client's format: chat (if absent), responses, messages, gemini"),
    ("key" = Option<String>, Query, description = "Id or name of the client key"),
    ("header.x-tier" = Option<String>, Query, description = "A request header; any name behind `header.`"),
), responses(
    (status = 200, description = "Where, and why", body = Explanation),
    (status = 401, description = "No credential, or a wrong one", body = ErrorBody),
    (status = 422, description = "Something is wrong with the question", body = ErrorBody),
))]
pub(crate) async fn ask(
    State(shared): State<Shared>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Json<Explanation>, Refusal> {
    Ok(Json(shared.api.control.explain(&read(pairs)?)))
}

fn read(pairs: Vec<(String, String)>) -> Result<Ask, Refusal> {
    let names = pairs.iter().map(|(name, _)| name.as_str());
    check_names(
        names.filter(|name| !name.starts_with(HEADER)),
        &["model", "format", "key"],
    )?;
    let mut ask = Ask::default();
    for (name, value) in pairs {
        match name.as_str() {
            "model" => ask.model = value,
            "format" => ask.format = Some(value),
            "key" if opm_core::client_key::parse(&value).is_some() => {
                return Err(
                    Refusal::invalid("`key`: it is a client key").help("name it by its id or its name")
                );
            }
            "key" => ask.key = Some(value),
            _ => {
                let header = name.strip_prefix(HEADER).unwrap_or_default().to_ascii_lowercase();
                ask.headers.push((header, value));
            }
        }
    }
    if ask.model.is_empty() {
        return Err(Refusal::invalid("`model` is missing").help("ask ?model=NAME"));
    }
    if ask
        .format
        .as_deref()
        .is_some_and(|format| !FORMATS.contains(&format))
    {
        let help = format!("the formats are {}", FORMATS.join(", "));
        return Err(Refusal::invalid("`format`: unknown format").help(help));
    }
    Ok(ask)
}

/// Where did a recent request go?
#[utoipa::path(get, path = "/api/v1/explain/{request_id}", tag = "explain",
    params(("request_id" = String, Path, description = "As in the header `x-request-id` of its answer")), responses(
    (status = 200, description = "Where, and why", body = PastRequest),
    (status = 401, description = "No credential, or a wrong one", body = ErrorBody),
    (status = 404, description = "It is not remembered", body = ErrorBody),
))]
pub(crate) async fn past(
    State(shared): State<Shared>,
    Path(request_id): Path<String>,
) -> Result<Json<PastRequest>, Refusal> {
    let Some(explanation) = shared.api.control.past(&request_id) else {
        let status = axum::http::StatusCode::NOT_FOUND;
        let refusal = Refusal::new(status, "not_found", "no request of this id is remembered");
        return Err(refusal.help("this gateway remembers its last requests only, since its start"));
    };
    Ok(Json(PastRequest {
        request_id,
        explanation,
    }))
}
