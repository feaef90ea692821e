//! Channels: of the store to be made and changed, of all origins to be switched and tested.

mod definition;
pub(crate) mod switch;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use opm_store::StoredChannel;
use serde_json::json;

use super::routes::placeless;
use super::view::{BrokenChannel, ChannelDefinition, ChannelDetail, ChannelList, StoredDefinition};
use crate::control::{ChannelOrigin, ChannelView};
use crate::guard::Actor;
use crate::object::{Object, raw};
use crate::refusal::{ErrorBody, Refusal};
use crate::router::{Answer, Inner, Shared};
use definition::{Draft, names_channel};

/// Names of all channels, in force or stored.
pub(super) async fn known_names(shared: &Inner) -> Result<Vec<String>, Refusal> {
    let mut names: Vec<String> = shared
        .api
        .control
        .channels()
        .into_iter()
        .map(|channel| channel.name)
        .collect();
    for stored in shared.api.store.channels().await? {
        if !names.contains(&stored.name) {
            names.push(stored.name);
        }
    }
    Ok(names)
}

fn in_force(shared: &Inner, name: &str) -> Option<ChannelView> {
    let channels = shared.api.control.channels();
    channels.into_iter().find(|channel| channel.name == name)
}

async fn stored(shared: &Inner, name: &str) -> Result<Option<StoredChannel>, Refusal> {
    let channels = shared.api.store.channels().await?;
    Ok(channels.into_iter().find(|channel| channel.name == name))
}

fn not_found(name: &str) -> Refusal {
    Refusal::not_found("channel", name, "/api/v1/channels")
}

/// A channel that was not defined here is not changed here.
fn check_origin(shared: &Inner, name: &str) -> Result<(), Refusal> {
    let place = match in_force(shared, name).map(|channel| channel.origin) {
        None | Some(ChannelOrigin::Store) => return Ok(()),
        Some(ChannelOrigin::File) => "the config file",
        Some(ChannelOrigin::Environment) => "the environment",
    };
    let text =
        format!("channel `{name}` stands in {place}: it can be switched here, not replaced or deleted");
    Err(Refusal::conflict("channel_of_file", text).help(format!("change {place}, or take another name")))
}

fn detail(shared: &Inner, name: &str, stored: Option<&StoredChannel>) -> ChannelDetail {
    let view = |stored: &StoredChannel| {
        let hints = stored.provider_keys.iter().map(|key| key.hint.clone());
        let count = stored.provider_keys.len();
        let problems = shared.api.control.check_channel(name, &stored.definition, count);
        Some(StoredDefinition {
            definition: raw(&stored.definition).or_else(|| raw("{}"))?,
            keys: hints.collect(),
            updated_at: stored.updated_at,
            problems: placeless(problems),
        })
    };
    ChannelDetail {
        name: name.to_owned(),
        in_force: in_force(shared, name),
        stored: stored.and_then(view),
    }
}

/// List channels
#[utoipa::path(get, path = "/api/v1/channels", tag = "channels", responses(
    (status = 200, description = "All channels with their live state", body = ChannelList),
    (status = 401, description = "No credential, or a wrong one", body = ErrorBody),
    (status = 503, description = "The store does not answer", body = ErrorBody),
))]
pub(crate) async fn list(State(shared): State<Shared>) -> Result<Json<ChannelList>, Refusal> {
    let channels = shared.api.control.channels();
    let mut broken = Vec::new();
    for stored in shared.api.store.channels().await? {
        let is_this =
            |channel: &ChannelView| channel.name == stored.name && channel.origin == ChannelOrigin::Store;
        if !channels.iter().any(is_this) {
            let count = stored.provider_keys.len();
            let check = shared
                .api
                .control
                .check_channel(&stored.name, &stored.definition, count);
            broken.push(BrokenChannel {
                problems: placeless(check),
                name: stored.name,
            });
        }
    }
    Ok(Json(ChannelList { channels, broken }))
}

/// Show a channel
#[utoipa::path(get, path = "/api/v1/channels/{name}", tag = "channels",
    params(("name" = String, Path, description = "Its name")), responses(
    (status = 200, description = "The channel", body = ChannelDetail),
    (status = 401, description = "No credential, or a wrong one", body = ErrorBody),
    (status = 404, description = "There is none", body = ErrorBody),
    (status = 503, description = "The store does not answer", body = ErrorBody),
))]
pub(crate) async fn show(
    State(shared): State<Shared>,
    Path(name): Path<String>,
) -> Result<Json<ChannelDetail>, Refusal> {
    let stored = stored(&shared, &name).await?;
    let detail = detail(&shared, &name, stored.as_ref());
    if detail.in_force.is_none() && detail.stored.is_none() {
        return Err(not_found(&name));
    }
    Ok(Json(detail))
}

/// Make a channel
#[utoipa::path(post, path = "/api/v1/channels", tag = "channels", request_body = ChannelDefinition, responses(
    (status = 201, description = "It serves from now on", body = ChannelDetail),
    (status = 401, description = "No credential, or a wrong one", body = ErrorBody),
    (status = 409, description = "The name is in use", body = ErrorBody),
    (status = 422, description = "It cannot be used; nothing was changed", body = ErrorBody),
    (status = 503, description = "The store does not answer", body = ErrorBody),
))]
pub(crate) async fn create(
    State(shared): State<Shared>,
    actor: Actor,
    mut body: Object,
) -> Answer<ChannelDetail> {
    let name: Option<String> = body.member("name")?;
    let name = name.ok_or_else(|| Refusal::invalid("`name` is missing").help("name the channel"))?;
    body.remove("name");
    if in_force(&shared, &name).is_some() || stored(&shared, &name).await?.is_some() {
        let text = format!("channel `{name}` exists already");
        return Err(Refusal::conflict("taken", text).help("take another name, or replace it with PUT"));
    }
    save(&shared, &actor, &name, body).await
}

/// Make or replace a channel
///
/// It is idempotent. A channel of the config file cannot be replaced.
#[utoipa::path(put, path = "/api/v1/channels/{name}", tag = "channels", request_body = ChannelDefinition,
    params(("name" = String, Path, description = "Its name")), responses(
    (status = 200, description = "It was replaced", body = ChannelDetail),
    (status = 201, description = "It is new", body = ChannelDetail),
    (status = 401, description = "No credential, or a wrong one", body = ErrorBody),
    (status = 409, description = "It is a channel of the config file", body = ErrorBody),
    (status = 422, description = "It cannot be used; nothing was changed", body = ErrorBody),
    (status = 503, description = "The store does not answer", body = ErrorBody),
))]
pub(crate) async fn put(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    actor: Actor,
    mut body: Object,
) -> Answer<ChannelDetail> {
    let inside: Option<String> = body.member("name")?;
    if inside.is_some_and(|inside| inside != name) {
        return Err(Refusal::invalid("`name` differs from the one in the path").help("leave it out"));
    }
    body.remove("name");
    save(&shared, &actor, &name, body).await
}

async fn save(shared: &Shared, actor: &Actor, name: &str, body: Object) -> Answer<ChannelDetail> {
    check_origin(shared, name)?;
    let former = stored(shared, name).await?;
    let draft = Draft::read(name, body, former.as_ref())?;
    let problems = shared
        .api
        .control
        .check_channel(name, &draft.definition, draft.keys());
    if problems.iter().any(crate::control::Problem::is_error) {
        return Err(Refusal::problems("the channel", placeless(problems)));
    }
    let channel = draft.seal(name, &shared.api.secrets.vault, shared.now())?;
    shared.api.store.put_channel(channel.clone()).await?;
    let hints: Vec<&str> = channel
        .provider_keys
        .iter()
        .map(|key| key.hint.as_str())
        .collect();
    let note = json!({"definition": raw(&channel.definition), "keys": hints});
    let headers = shared.changed(actor.name(), ("channel.put", name), &note).await?;
    let status = if former.is_some() {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    Ok((status, headers, Json(detail(shared, name, Some(&channel)))))
}

/// Delete a channel and its provider keys
#[utoipa::path(delete, path = "/api/v1/channels/{name}", tag = "channels",
    params(("name" = String, Path, description = "Its name")), responses(
    (status = 204, description = "It is gone; its running requests finish"),
    (status = 401, description = "No credential, or a wrong one", body = ErrorBody),
    (status = 404, description = "There is none", body = ErrorBody),
    (status = 409, description = "It is a channel of the config file, or routes of the store name it", body = ErrorBody),
    (status = 503, description = "The store does not answer", body = ErrorBody),
))]
pub(crate) async fn delete(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    actor: Actor,
) -> Result<(StatusCode, HeaderMap), Refusal> {
    check_origin(&shared, &name)?;
    if stored(&shared, &name).await?.is_none() {
        return Err(not_found(&name));
    }
    // Routes that name a channel which does not exist could not be used as a whole.
    let routes = shared.api.store.routes().await?;
    if routes.is_some_and(|routes| names_channel(&routes, &name)) {
        let text = format!("the routes of the store name channel `{name}`");
        return Err(Refusal::conflict("in_use", text).help("change them first: PUT /api/v1/routes"));
    }
    shared.api.store.delete_channel(&name).await?;
    let headers = shared
        .changed(actor.name(), ("channel.delete", &name), &())
        .await?;
    Ok((StatusCode::NO_CONTENT, headers))
}
