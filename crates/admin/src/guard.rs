//! Who calls: the holder of the admin token, or a browser that logged in with it. Everybody else learns nothing.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use opm_core::digest;

use crate::refusal::Refusal;
use crate::router::Shared;
use crate::session::Session;

/// Path of log-in and log-out.
pub(crate) const SESSION: &str = "/api/v1/session";
/// Name of the session's cookie.
pub(crate) const COOKIE: &str = "opm_session";
const CSRF: &str = "x-csrf-token";

/// Who calls.
#[derive(Clone, Debug)]
pub(crate) enum Actor {
    /// The holder of the token.
    Token,
    /// A browser that logged in: the session and its id.
    Browser(String, Session),
}

impl Actor {
    /// The name in the audit log.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Actor::Token => "admin",
            Actor::Browser(..) => "dashboard",
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Actor {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        // The guard put it there; without it nothing is done.
        parts.extensions.get().cloned().ok_or_else(unauthorized)
    }
}

/// Lets a request in or not, and dresses every answer.
pub(crate) async fn guard(State(shared): State<Shared>, mut request: Request, next: Next) -> Response {
    let login = request.method() == Method::POST && request.uri().path() == SESSION;
    let outcome = if login {
        check_site(request.headers()).map(|()| None)
    } else {
        authenticate(&shared, &request).map(Some)
    };
    let response = match outcome {
        Ok(actor) => {
            if let Some(actor) = actor {
                request.extensions_mut().insert(actor);
            }
            next.run(request).await
        }
        Err(refusal) => refusal.into_response(),
    };
    dress(response)
}

/// Address of the caller, if the listener told.
pub(crate) fn address(extensions: &axum::http::Extensions) -> Option<IpAddr> {
    extensions.get::<SocketAddr>().map(SocketAddr::ip)
}

pub(crate) fn unauthorized() -> Refusal {
    Refusal::new(
        StatusCode::UNAUTHORIZED,
        "unauthorized",
        "the admin token is missing or wrong",
    )
    .help("send `Authorization: Bearer TOKEN`: the token stands under `admin.token` in the config file or in OPM_ADMIN_TOKEN, else in the `.admin` file beside the store")
}

fn forbidden(message: &str) -> Refusal {
    Refusal::new(StatusCode::FORBIDDEN, "forbidden", message)
}

/// Too many wrong tokens from there.
pub(crate) fn too_many(seconds: i64) -> Refusal {
    Refusal::new(
        StatusCode::TOO_MANY_REQUESTS,
        "too_many_attempts",
        "too many wrong tokens came from there",
    )
    .help(format!("wait {seconds} s"))
    .retry_after(seconds)
}

fn authenticate(shared: &Shared, request: &Request) -> Result<Actor, Refusal> {
    if request.headers().contains_key(header::AUTHORIZATION) {
        return by_token(shared, request);
    }
    let Some(id) = cookie(request.headers())? else {
        return Err(unauthorized());
    };
    let now = (shared.api.clock)();
    let session = shared.sessions.lock().find(&id, now).ok_or_else(unauthorized)?;
    check_site(request.headers())?;
    check_browser(&session, request)?;
    Ok(Actor::Browser(id, session))
}

/// The right token always passes: whoever guesses must not be able to lock its holder out.
fn by_token(shared: &Shared, request: &Request) -> Result<Actor, Refusal> {
    let mut given = request.headers().get_all(header::AUTHORIZATION).iter();
    let token = match (given.next().and_then(|value| value.to_str().ok()), given.next()) {
        (Some(text), None) => text
            .split_once(' ')
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token.trim()),
        _ => None,
    };
    if token.is_some_and(|token| shared.api.token.matches(&digest(token))) {
        return Ok(Actor::Token);
    }
    let (from, now) = (address(request.extensions()), (shared.api.clock)());
    let mut attempts = shared.attempts.lock();
    if let Some(seconds) = attempts.wait(from, now) {
        return Err(too_many(seconds));
    }
    attempts.failed(from, now);
    Err(unauthorized())
}

/// The session's cookie; two different ones are nobody's.
fn cookie(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let lines = headers.get_all(header::COOKIE).iter();
    let pairs = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'));
    let mut ids = pairs
        .filter_map(|pair| pair.trim().split_once('='))
        .filter(|(name, _)| *name == COOKIE)
        .map(|(_, value)| value.to_owned());
    let first = ids.next();
    if ids.any(|other| Some(&other) != first.as_ref()) {
        return Err(unauthorized());
    }
    Ok(first)
}

/// A browser says where a request comes from: other sites have no business here.
fn check_site(headers: &HeaderMap) -> Result<(), Refusal> {
    match headers
        .get("sec-fetch-site")
        .map(|site| site.to_str().unwrap_or_default())
    {
        None | Some("same-origin" | "none") => Ok(()),
        Some(_) => Err(forbidden("the request comes from another site")),
    }
}

/// A session is bound to the origin of its log-in; changes need its token, which other sites cannot read.
fn check_browser(session: &Session, request: &Request) -> Result<(), Refusal> {
    let headers = request.headers();
    let origin = headers
        .get(header::ORIGIN)
        .map(|origin| origin.to_str().unwrap_or_default());
    if origin.is_some() && origin != session.origin.as_deref() {
        return Err(forbidden("the request comes from another site"));
    }
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        return Ok(());
    }
    if origin != session.origin.as_deref() {
        return Err(forbidden("a change by cookie needs the header `origin`"));
    }
    let given = headers.get(CSRF).and_then(|given| given.to_str().ok());
    if !given.is_some_and(|given| session.is_csrf(given)) {
        return Err(forbidden("a change by cookie needs the header `x-csrf-token`")
            .help("GET /api/v1/session shows the token"));
    }
    Ok(())
}

/// On every answer (reliability.md section 4): nothing is stored, nothing is run, nothing is framed.
const HEADERS: [(&str, &str); 6] = [
    ("cache-control", "no-store"),
    (
        "content-security-policy",
        "default-src 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
];

fn dress(response: Response) -> Response {
    let mut response = worded(response);
    for (name, value) in HEADERS {
        let name = HeaderName::from_static(name);
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Errors of the framework in our own form: theirs are bare texts that may repeat what was sent.
fn worded(bare: Response) -> Response {
    let status = bare.status();
    let ours =
        bare.headers().get(header::CONTENT_TYPE) == Some(&HeaderValue::from_static("application/json"));
    if ours || !(status.is_client_error() || status.is_server_error()) {
        return bare;
    }
    // The router adds the header `allow` to a 405 after this.
    let refusal = if status == StatusCode::METHOD_NOT_ALLOWED {
        Refusal::new(
            status,
            "method_not_allowed",
            "this path does not know this method",
        )
        .help("the header `allow` names those it knows")
    } else {
        Refusal::new(status, "unreadable", "the path or the query cannot be read")
            .help("GET /api/v1/openapi.json describes what there is")
    };
    refusal.into_response()
}
