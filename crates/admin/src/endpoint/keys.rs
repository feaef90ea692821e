//! Client keys of the store.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;

use super::channels::known_names;
use super::view::KeyList;
use crate::body::Known;
use crate::guard::Actor;
use crate::keys::{ClientKeyView, Desk, IssuedKey, KeyPatch, KeyWish};
use crate::refusal::{ErrorBody, Refusal};
use crate::router::{Answer, Inner, Shared};

fn desk<'d>(shared: &'d Inner, actor: &'d Actor) -> Desk<'d> {
    Desk {
        store: &*shared.api.store,
        actor: actor.name(),
        now: shared.now(),
    }
}

/// List client keys
#[utoipa::path(get, path = "/api/v1/keys", tag = "keys", responses(
    (status = 200, description = "All of the store, revoked ones too", body = KeyList),
    (status = 401, description = "No credential, or a wrong one", body = ErrorBody),
    (status = 503, description = "The store does not answer", body = ErrorBody),
))]
pub(crate) async fn list(State(shared): State<Shared>) -> Result<Json<KeyList>, Refusal> {
    let now = shared.now();
    let keys = shared.api.store.keys().await?.into_iter();
    let keys = keys.map(|key| ClientKeyView::new(key, now)).collect();
    Ok(Json(KeyList { keys }))
}

/// Make a client key
///
/// The answer shows the key, this once.
#[utoipa::path(post, path = "/api/v1/keys", tag = "keys", request_body = KeyWish, responses(
    (status = 201, description = "It works from now on", body = IssuedKey),
    (status = 401, description = "No credential, or a wrong one", body = ErrorBody),
    (status = 409, description = "The name is in use", body = ErrorBody),
    (status = 422, description = "Something is wrong with what was asked for", body = ErrorBody),
    (status = 503, description = "The store does not answer", body = ErrorBody),
))]
pub(crate) async fn create(
    State(shared): State<Shared>,
    actor: Actor,
    Known(wish): Known<KeyWish>,
) -> Answer<IssuedKey> {
    let channels = known_names(&shared).await?;
    let pepper = &shared.api.secrets.pepper;
    let issued = desk(&shared, &actor).create(pepper, &wish, &channels).await?;
    Ok((StatusCode::CREATED, shared.take_over().await, Json(issued)))
}

/// Show a client key, without the key
#[utoipa::path(get, path = "/api/v1/keys/{id}", tag = "keys", params(("id" = String, Path, description = "Its id")), responses(
    (status = 200, description = "The client key", body = ClientKeyView),
    (status = 401, description = "No credential, or a wrong one", body = ErrorBody),
    (status = 404, description = "There is none", body = ErrorBody),
    (status = 503, description = "The store does not answer", body = ErrorBody),
))]
pub(crate) async fn show(
    State(shared): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<ClientKeyView>, Refusal> {
    let found = shared.api.store.key(&id).await?;
    let key = found.ok_or_else(|| Refusal::not_found("client key", &id, "/api/v1/keys"))?;
    Ok(Json(ClientKeyView::new(key, shared.now())))
}

/// Change a client key
#[utoipa::path(patch, path = "/api/v1/keys/{id}", tag = "keys", request_body = KeyPatch,
    params(("id" = String, Path, description = "Its id")), responses(
    (status = 200, description = "The client key as it is now", body = ClientKeyView),
    (status = 401, description = "No credential, or a wrong one", body = ErrorBody),
    (status = 404, description = "There is none", body = ErrorBody),
    (status = 409, description = "It is revoked, or the name is in use", body = ErrorBody),
    (status = 422, description = "Something is wrong with what was asked for", body = ErrorBody),
    (status = 503, description = "The store does not answer", body = ErrorBody),
))]
pub(crate) async fn change(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    actor: Actor,
    Known(patch): Known<KeyPatch>,
) -> Answer<ClientKeyView> {
    let channels = known_names(&shared).await?;
    let key = desk(&shared, &actor).change(&id, &patch, &channels).await?;
    let view = ClientKeyView::new(key, shared.now());
    Ok((StatusCode::OK, shared.take_over().await, Json(view)))
}

/// Revoke a client key for good
///
/// It stays listed. A second time changes nothing.
#[utoipa::path(delete, path = "/api/v1/keys/{id}", tag = "keys", params(("id" = String, Path, description = "Its id")), responses(
    (status = 200, description = "It is refused from now on", body = ClientKeyView),
    (status = 401, description = "No credential, or a wrong one", body = ErrorBody),
    (status = 404, description = "There is none", body = ErrorBody),
    (status = 503, description = "The store does not answer", body = ErrorBody),
))]
pub(crate) async fn revoke(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    actor: Actor,
) -> Answer<ClientKeyView> {
    let key = desk(&shared, &actor).revoke(&id).await?;
    let view = ClientKeyView::new(key, shared.now());
    Ok((StatusCode::OK, shared.take_over().await, Json(view)))
}

/// Give a client key another secret
///
/// The former one ends at once. The answer shows the new one, this once.
#[utoipa::path(post, path = "/api/v1/keys/{id}/rotate", tag = "keys",
    params(("id" = String, Path, description = "Its id")), responses(
    (status = 200, description = "The new secret works from now on", body = IssuedKey),
    (status = 401, description = "No credential, or a wrong one", body = ErrorBody),
    (status = 404, description = "There is none", body = ErrorBody),
    (status = 409, description = "It is revoked", body = ErrorBody),
    (status = 503, description = "The store does not answer", body = ErrorBody),
))]
pub(crate) async fn rotate(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    actor: Actor,
) -> Answer<IssuedKey> {
    let pepper = &shared.api.secrets.pepper;
    let issued = desk(&shared, &actor).rotate(pepper, &id).await?;
    Ok((StatusCode::OK, shared.take_over().await, Json(issued)))
}
