//! The router: every endpoint behind the guard.

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::from_fn_with_state;
use opm_core::Secret;
use opm_store::{Store, StoreSecrets};
use parking_lot::Mutex;
use serde::Serialize;
use utoipa::OpenApi;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::attempts::Attempts;
use crate::control::Control;
use crate::endpoint::{audit, channels, explain, gateway, keys, requests, routes, session, usage};
use crate::guard::{COOKIE, guard};
use crate::refusal::Refusal;
use crate::session::Sessions;
use crate::{audit as log, endpoint};

/// Unix seconds.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// What the API works with.
pub struct Api {
    /// The running gateway.
    pub control: Arc<dyn Control>,
    /// Where changes are kept.
    pub store: Arc<dyn Store>,
    /// For client keys and provider keys.
    pub secrets: Arc<StoreSecrets>,
    /// Who holds it may do everything.
    pub token: Secret,
    /// The time.
    pub clock: Clock,
}

/// Header of an answer to a change that is stored but not in force yet: why.
pub(crate) const PENDING: HeaderName = HeaderName::from_static("x-opm-pending");

/// What all requests share.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) api: Api,
    pub(crate) sessions: Mutex<Sessions>,
    pub(crate) attempts: Mutex<Attempts>,
    /// The API's own description.
    pub(crate) document: String,
}

impl std::ops::Deref for Shared {
    type Target = Inner;
    fn deref(&self) -> &Inner {
        &self.0
    }
}

impl Inner {
    /// Unix seconds.
    pub(crate) fn now(&self) -> i64 {
        (self.api.clock)()
    }

    /// Notes a change that the store holds now, and puts it in force.
    pub(crate) async fn changed(
        &self,
        actor: &str,
        what: (&str, &str),
        detail: &(impl Serialize + Sync),
    ) -> Result<HeaderMap, Refusal> {
        log::record(&*self.api.store, self.now(), actor, what, detail).await?;
        Ok(self.take_over().await)
    }

    /// Puts in force what the store holds now. If that fails the store keeps the change: the answer says so in a header.
    pub(crate) async fn take_over(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Err(why) = self.api.control.refresh().await {
            tracing::warn!("admin: a change is stored but not in force yet: {why}");
            let printable = |c: char| if c == ' ' || c.is_ascii_graphic() { c } else { '?' };
            let text: String = why.chars().take(500).map(printable).collect();
            let value = HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("not yet"));
            headers.insert(PENDING, value);
        }
        headers
    }
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "opm admin API",
        description = "Keys, channels, routes, usage and state of a running opm gateway. Everything needs the admin token; nothing is \
                       said without it. Times are Unix seconds where they are numbers. An answer to a change that is stored but \
                       not in force yet has the header `x-opm-pending`, which says why; the gateway tries again by itself."
    ),
    components(schemas(crate::refusal::ErrorBody)),
    security(("token" = []), ("session" = []))
)]
struct Document;

fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(gateway::status))
        .routes(routes!(gateway::health))
        .routes(routes!(gateway::reload))
        .routes(routes!(gateway::drain))
        .routes(routes!(gateway::openapi))
        .routes(routes!(keys::list, keys::create))
        .routes(routes!(keys::show, keys::change, keys::revoke))
        .routes(routes!(keys::rotate))
        .routes(routes!(channels::list, channels::create))
        .routes(routes!(channels::show, channels::put, channels::delete))
        .routes(routes!(channels::switch::enable))
        .routes(routes!(channels::switch::disable))
        .routes(routes!(channels::switch::drain))
        .routes(routes!(channels::switch::test))
        .routes(routes!(routes::show, routes::put, routes::delete))
        .routes(routes!(explain::ask))
        .routes(routes!(explain::past))
        .routes(routes!(usage::show))
        .routes(routes!(requests::list))
        .routes(routes!(requests::show))
        .routes(routes!(audit::list))
        .routes(routes!(session::show, session::begin, session::end))
}

fn split() -> (axum::Router<Shared>, String) {
    let (router, mut document) = routes().split_for_parts();
    let components = document.components.get_or_insert_default();
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    components.add_security_scheme("token", SecurityScheme::Http(bearer));
    let cookie = ApiKey::Cookie(ApiKeyValue::with_description(
        COOKIE,
        "By POST /api/v1/session. A change needs the header `x-csrf-token` too.",
    ));
    components.add_security_scheme("session", SecurityScheme::ApiKey(cookie));
    let mut text = document.to_pretty_json().unwrap_or_default();
    text.push('\n');
    (router, text)
}

/// The OpenAPI document, as JSON text.
#[must_use]
pub fn document() -> String {
    split().1
}

/// The admin API. It trusts nothing but the credential: not the address, not the `Host` header. The listener may put the caller's
/// `std::net::SocketAddr` into the extensions of a request: then wrong tokens are counted by address.
pub fn router(api: Api) -> axum::Router {
    let (router, document) = split();
    let shared = Shared(Arc::new(Inner {
        api,
        sessions: Mutex::default(),
        attempts: Mutex::default(),
        document,
    }));
    router
        .fallback(endpoint::unknown)
        .layer(from_fn_with_state(shared.clone(), guard))
        .with_state(shared)
}

/// A status and headers in front of an answer.
pub(crate) type Answer<T> = Result<(StatusCode, HeaderMap, axum::Json<T>), Refusal>;
