//! The gateway as a whole.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;

use super::view::Health;
use crate::control::{BreakerState, Reloaded, State as ChannelState, Status};
use crate::guard::Actor;
use crate::refusal::{ErrorBody, Refusal};
use crate::router::Shared;

/// How the gateway runs
#[utoipa::path(get, path = "/api/v1/status", tag = "gateway", responses(
    (status = 200, description = "How it runs", body = Status),
    (status = 401, description = "No credential, or a wrong one", body = ErrorBody),
))]
pub(crate) async fn status(State(shared): State<Shared>) -> Json<Status> {
    Json(shared.api.control.status())
}

/// Is the gateway well?
#[utoipa::path(get, path = "/api/v1/health", tag = "gateway", responses(
    (status = 200, description = "It is, or it drains", body = Health),
    (status = 503, description = "The store does not answer, or no channel serves", body = Health),
    (status = 401, description = "No credential, or a wrong one", body = ErrorBody),
))]
pub(crate) async fn health(State(shared): State<Shared>) -> (StatusCode, Json<Health>) {
    let store = shared.api.store.revision().await.is_ok();
    let channels = shared.api.control.channels();
    let serves = channels
        .iter()
        .filter(|channel| channel.state == ChannelState::Enabled && channel.breaker != BreakerState::Open);
    let serving = serves.count();
    let (code, status) = if !store || serving == 0 {
        (StatusCode::SERVICE_UNAVAILABLE, "failing")
    } else if shared.api.control.status().draining {
        (StatusCode::OK, "draining")
    } else {
        (StatusCode::OK, "ok")
    };
    let health = Health {
        status: status.into(),
        store,
        channels_serving: serving,
        channels: channels.len(),
    };
    (code, Json(health))
}

/// Read file and store again
///
/// Everything is put in force, or nothing is changed.
#[utoipa::path(post, path = "/api/v1/reload", tag = "gateway", responses(
    (status = 200, description = "It is in force", body = Reloaded),
    (status = 422, description = "The new configuration has errors; the former one stays", body = ErrorBody),
    (status = 401, description = "No credential, or a wrong one", body = ErrorBody),
))]
pub(crate) async fn reload(State(shared): State<Shared>, actor: Actor) -> Result<Json<Reloaded>, Refusal> {
    let outcome = shared.api.control.reload().await;
    let reloaded = outcome.map_err(|problems| Refusal::problems("the new configuration", problems))?;
    let (store, now) = (&*shared.api.store, shared.now());
    let what = ("gateway.reload", "gateway");
    crate::audit::record(store, now, actor.name(), what, &reloaded.changed).await?;
    Ok(Json(reloaded))
}

/// Take no new requests, let running ones finish
#[utoipa::path(post, path = "/api/v1/drain", tag = "gateway", responses(
    (status = 202, description = "It drains", body = Status),
    (status = 401, description = "No credential, or a wrong one", body = ErrorBody),
))]
pub(crate) async fn drain(
    State(shared): State<Shared>,
    actor: Actor,
) -> Result<(StatusCode, Json<Status>), Refusal> {
    let (store, now) = (&*shared.api.store, shared.now());
    shared.api.control.drain();
    crate::audit::record(store, now, actor.name(), ("gateway.drain", "gateway"), &()).await?;
    Ok((StatusCode::ACCEPTED, Json(shared.api.control.status())))
}

/// This description
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "gateway", responses(
    (status = 200, description = "OpenAPI 3.1", content_type = "application/json"),
    (status = 401, description = "No credential, or a wrong one", body = ErrorBody),
))]
pub(crate) async fn openapi(State(shared): State<Shared>) -> impl IntoResponse {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (kind, shared.document.clone())
}
