//! Reads JSON bodies: bounded, of a known type, with known members only.

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use opm_config::nearest;
use serde::de::DeserializeOwned;

use crate::object::{Object, wrong};
use crate::refusal::Refusal;

/// Largest body, bytes.
pub(crate) const MOST: usize = 1 << 20;

/// A body whose members are known.
pub(crate) trait Members: DeserializeOwned {
    /// Their names.
    const MEMBERS: &'static [&'static str];
}

/// The body, read. An absent body is an empty object.
#[derive(Debug)]
pub(crate) struct Known<T>(pub(crate) T);

impl<S: Sync, T: Members> FromRequest<S> for Known<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        let object = object(request).await?;
        check_names(object.names(), T::MEMBERS)?;
        let text = object.text();
        let mut reader = serde_json::Deserializer::from_str(&text);
        let read = serde_path_to_error::deserialize(&mut reader);
        read.map(Known)
            .map_err(|error| wrong(&error.path().to_string(), error.inner()))
    }
}

impl<S: Sync> FromRequest<S> for Object {
    type Rejection = Refusal;

    async fn from_request(request: Request, _: &S) -> Result<Self, Refusal> {
        object(request).await
    }
}

async fn object(request: Request) -> Result<Object, Refusal> {
    let (head, body) = request.into_parts();
    let bytes = read(body).await?;
    if bytes.is_empty() {
        return Ok(Object::default());
    }
    if !is_json(&head.headers) {
        let refusal = Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "not_json",
            "the body is not declared as JSON",
        );
        return Err(refusal.help("send `content-type: application/json`"));
    }
    Object::read(&bytes)
}

async fn read(body: Body) -> Result<Bytes, Refusal> {
    to_bytes(body, MOST).await.map_err(|_| {
        let text = "the body is larger than 1 MiB, or broke off";
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", text)
    })
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let essence = kind.and_then(|kind| kind.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}

/// Refuses the first name that is not known, with a suggestion.
pub(crate) fn check_names<'n>(
    mut names: impl Iterator<Item = &'n str>,
    known: &[&str],
) -> Result<(), Refusal> {
    let Some(name) = names.find(|name| !known.contains(name)) else {
        return Ok(());
    };
    let help = match (nearest(name, known), known.is_empty()) {
        (Some(word), _) => format!("did you mean `{word}`?"),
        (None, true) => "nothing is expected here".to_owned(),
        (None, false) => format!("known here: {}", known.join(", ")),
    };
    // Somebody may have put a secret where a name belongs.
    let shown: String = name.chars().take(24).collect();
    Err(Refusal::invalid(format!("unknown member `{shown}`")).help(help))
}
