//! Switches channels of every origin, and tests them.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use opm_store::ChannelState;

use super::{detail, in_force, not_found, stored};
use crate::body::Known;
use crate::control::TestReport;
use crate::endpoint::view::{ChannelDetail, TestWish};
use crate::guard::Actor;
use crate::refusal::{ErrorBody, Refusal};
use crate::router::{Answer, Shared};

async fn switch(
    shared: &Shared,
    actor: &Actor,
    name: &str,
    (action, state): (&str, ChannelState),
) -> Answer<ChannelDetail> {
    let stored = stored(shared, name).await?;
    if in_force(shared, name).is_none() && stored.is_none() {
        return Err(not_found(name));
    }
    shared.api.store.set_channel_state(name, state).await?;
    let headers = shared.changed(actor.name(), (action, name), &()).await?;
    Ok((
        StatusCode::OK,
        headers,
        Json(detail(shared, name, stored.as_ref())),
    ))
}

/// Let a channel take requests
#[utoipa::path(post, path = "/api/v1/channels/{name}/enable", tag = "channels",
    params(("name" = String, Path, description = "Its name")), responses(
    (status = 200, description = "It takes requests", body = ChannelDetail),
    (status = 401, description = "No credential, or a wrong one", body = ErrorBody),
    (status = 404, description = "There is none", body = ErrorBody),
    (status = 503, description = "The store does not answer", body = ErrorBody),
))]
pub(crate) async fn enable(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    actor: Actor,
) -> Answer<ChannelDetail> {
    let what = ("channel.enable", ChannelState::Enabled);
    switch(&shared, &actor, &name, what).await
}

/// Let a channel take no requests
#[utoipa::path(post, path = "/api/v1/channels/{name}/disable", tag = "channels",
    params(("name" = String, Path, description = "Its name")), responses(
    (status = 200, description = "It takes none", body = ChannelDetail),
    (status = 401, description = "No credential, or a wrong one", body = ErrorBody),
    (status = 404, description = "There is none", body = ErrorBody),
    (status = 503, description = "The store does not answer", body = ErrorBody),
))]
pub(crate) async fn disable(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    actor: Actor,
) -> Answer<ChannelDetail> {
    let what = ("channel.disable", ChannelState::Disabled);
    switch(&shared, &actor, &name, what).await
}

/// Let a channel finish what it has
///
/// It gets nothing new, and stays so until it is enabled.
#[utoipa::path(post, path = "/api/v1/channels/{name}/drain", tag = "channels",
    params(("name" = String, Path, description = "Its name")), responses(
    (status = 200, description = "It gets nothing new", body = ChannelDetail),
    (status = 401, description = "No credential, or a wrong one", body = ErrorBody),
    (status = 404, description = "There is none", body = ErrorBody),
    (status = 503, description = "The store does not answer", body = ErrorBody),
))]
pub(crate) async fn drain(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    actor: Actor,
) -> Answer<ChannelDetail> {
    let what = ("channel.drain", ChannelState::Draining);
    switch(&shared, &actor, &name, what).await
}

/// Send a small request to a channel
///
/// It costs a few tokens. A channel that fails is an answer of status 200 with `ok` false.
#[utoipa::path(post, path = "/api/v1/channels/{name}/test", tag = "channels", request_body = TestWish,
    params(("name" = String, Path, description = "Its name")), responses(
    (status = 200, description = "What it answered", body = TestReport),
    (status = 401, description = "No credential, or a wrong one", body = ErrorBody),
    (status = 404, description = "There is none", body = ErrorBody),
))]
pub(crate) async fn test(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    _: Actor,
    Known(wish): Known<TestWish>,
) -> Result<Json<TestReport>, Refusal> {
    let report = shared.api.control.test(&name, wish.model.as_deref()).await;
    report.map(Json).ok_or_else(|| not_found(&name))
}
