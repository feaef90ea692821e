//! Log-in and log-out of browsers.

use axum::Json;
use axum::extract::State;
use axum::http::{Extensions, HeaderMap, HeaderValue, StatusCode, Uri, header};
use opm_core::digest;

use super::view::{Login, SessionView};
use crate::body::Known;
use crate::guard::{Actor, COOKIE, address, too_many, unauthorized};
use crate::refusal::{ErrorBody, Refusal};
use crate::router::{Answer, Shared};
use crate::session::{LIFE, Session};

/// Log in
///
/// The answer sets the cookie `opm_session`. Every change by cookie needs the header `x-csrf-token`, and comes from the same origin.
#[utoipa::path(post, path = "/api/v1/session", tag = "session", request_body = Login, security(()), responses(
    (status = 201, description = "Logged in", body = SessionView),
    (status = 401, description = "The token is wrong", body = ErrorBody),
    (status = 403, description = "The request comes from another site", body = ErrorBody),
    (status = 429, description = "Too many wrong tokens", body = ErrorBody),
))]
pub(crate) async fn begin(
    State(shared): State<Shared>,
    uri: Uri,
    extensions: Extensions,
    sent: HeaderMap,
    Known(login): Known<Login>,
) -> Answer<SessionView> {
    let (now, from) = (shared.now(), address(&extensions));
    if let Some(seconds) = shared.attempts.lock().wait(from, now) {
        return Err(too_many(seconds));
    }
    if !shared.api.token.matches(&digest(login.token.trim())) {
        shared.attempts.lock().failed(from, now);
        return Err(unauthorized());
    }
    let random = opm_store::random::<64>()?;
    let (store, what) = (&*shared.api.store, ("session.begin", COOKIE));
    crate::audit::record(store, now, "dashboard", what, &()).await?;
    let text = |name| sent.get(name).and_then(|value| value.to_str().ok());
    let origin = text(header::ORIGIN).map(str::to_owned);
    let secure = uri.scheme_str() == Some("https")
        || text(header::HeaderName::from_static("x-forwarded-proto")) == Some("https")
        || origin
            .as_deref()
            .is_some_and(|origin| origin.starts_with("https://"));
    let (id, session) = shared.sessions.lock().begin(&random, origin, now);
    let headers = set_cookie(&id, LIFE, secure);
    Ok((StatusCode::CREATED, headers, Json(view(&session))))
}

/// The session of this browser
#[utoipa::path(get, path = "/api/v1/session", tag = "session", security(("session" = [])), responses(
    (status = 200, description = "The session", body = SessionView),
    (status = 401, description = "Not logged in", body = ErrorBody),
    (status = 404, description = "The request came with the token, not with a session", body = ErrorBody),
))]
pub(crate) async fn show(actor: Actor) -> Result<Json<SessionView>, Refusal> {
    match actor {
        Actor::Browser(_, session) => Ok(Json(view(&session))),
        Actor::Token => Err(no_session()),
    }
}

/// Log out
#[utoipa::path(delete, path = "/api/v1/session", tag = "session", security(("session" = [])), responses(
    (status = 204, description = "Logged out"),
    (status = 401, description = "Not logged in", body = ErrorBody),
    (status = 404, description = "The request came with the token, not with a session", body = ErrorBody),
))]
pub(crate) async fn end(
    State(shared): State<Shared>,
    actor: Actor,
) -> Result<(StatusCode, HeaderMap), Refusal> {
    let Actor::Browser(id, _) = actor else {
        return Err(no_session());
    };
    shared.sessions.lock().end(&id);
    Ok((StatusCode::NO_CONTENT, set_cookie("", 0, false)))
}

fn no_session() -> Refusal {
    Refusal::new(
        StatusCode::NOT_FOUND,
        "not_found",
        "there is no session: the request came with the token",
    )
    .help("log in with POST /api/v1/session")
}

fn view(session: &Session) -> SessionView {
    SessionView {
        csrf_token: session.csrf().to_owned(),
        ends_at: session.ends_at,
    }
}

fn set_cookie(id: &str, seconds: i64, secure: bool) -> HeaderMap {
    let secure = if secure { "; Secure" } else { "" };
    let text = format!("{COOKIE}={id}; HttpOnly; SameSite=Strict; Path=/; Max-Age={seconds}{secure}");
    let value = HeaderValue::from_str(&text).ok();
    value
        .map(|value| (header::SET_COOKIE, value))
        .into_iter()
        .collect()
}
