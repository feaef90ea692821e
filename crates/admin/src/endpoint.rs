//! The endpoints, one file per subject.

pub(crate) mod audit;
pub(crate) mod channels;
pub(crate) mod explain;
pub(crate) mod gateway;
pub(crate) mod keys;
mod question;
pub(crate) mod requests;
pub(crate) mod routes;
pub(crate) mod session;
pub(crate) mod usage;
pub mod view;

use axum::http::{StatusCode, Uri};

use crate::refusal::Refusal;

/// Everything else.
pub(crate) async fn unknown(uri: Uri) -> Refusal {
    let path: String = uri.path().chars().take(100).collect();
    Refusal::new(
        StatusCode::NOT_FOUND,
        "not_found",
        format!("nothing is at `{path}`"),
    )
    .help("GET /api/v1/openapi.json describes what there is")
}
