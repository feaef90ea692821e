//! Routes of the store.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};

use super::view::{RoutesDefinition, RoutesView};
use crate::control::Problem;
use crate::guard::Actor;
use crate::object::{Object, raw};
use crate::refusal::{ErrorBody, Refusal};
use crate::router::{Answer, Shared};

/// Problems without places: a body sent to the API has no lines worth naming.
pub(super) fn placeless(problems: Vec<Problem>) -> Vec<Problem> {
    let without = |problem: Problem| Problem {
        line: None,
        column: None,
        ..problem
    };
    problems.into_iter().map(without).collect()
}

/// Show the routes of the store
#[utoipa::path(get, path = "/api/v1/routes", tag = "routes", responses(
    (status = 200, description = "The routes", body = RoutesView),
    (status = 401, description = "No credential, or a wrong one", body = ErrorBody),
    (status = 503, description = "The store does not answer", body = ErrorBody),
))]
pub(crate) async fn show(State(shared): State<Shared>) -> Result<Json<RoutesView>, Refusal> {
    let stored = shared.api.store.routes().await?;
    let problems = stored
        .as_deref()
        .map(|text| shared.api.control.check_routes(text));
    Ok(Json(RoutesView {
        definition: stored.as_deref().and_then(raw),
        problems: placeless(problems.unwrap_or_default()),
    }))
}

/// Set the routes
///
/// They replace all routes of the config file.
#[utoipa::path(put, path = "/api/v1/routes", tag = "routes", request_body = RoutesDefinition, responses(
    (status = 200, description = "They hold from now on", body = RoutesView),
    (status = 401, description = "No credential, or a wrong one", body = ErrorBody),
    (status = 422, description = "They cannot be used; nothing was changed", body = ErrorBody),
    (status = 503, description = "The store does not answer", body = ErrorBody),
))]
pub(crate) async fn put(State(shared): State<Shared>, actor: Actor, body: Object) -> Answer<RoutesView> {
    let text = body.text();
    let problems = placeless(shared.api.control.check_routes(&text));
    if problems.iter().any(Problem::is_error) {
        return Err(Refusal::problems("the routes", problems));
    }
    shared.api.store.put_routes(&text).await?;
    let definition = raw(&text);
    let headers = shared
        .changed(actor.name(), ("routes.put", "routes"), &definition)
        .await?;
    let view = RoutesView { definition, problems };
    Ok((StatusCode::OK, headers, Json(view)))
}

/// Go back to the routes of the config file
#[utoipa::path(delete, path = "/api/v1/routes", tag = "routes", responses(
    (status = 204, description = "Those of the config file hold"),
    (status = 401, description = "No credential, or a wrong one", body = ErrorBody),
    (status = 503, description = "The store does not answer", body = ErrorBody),
))]
pub(crate) async fn delete(
    State(shared): State<Shared>,
    actor: Actor,
) -> Result<(StatusCode, HeaderMap), Refusal> {
    shared.api.store.delete_routes().await?;
    let headers = shared
        .changed(actor.name(), ("routes.delete", "routes"), &())
        .await?;
    Ok((StatusCode::NO_CONTENT, headers))
}
