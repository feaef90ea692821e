//! The admin API (axum) on a listener of the gateway: whole requests and answers are handed across.

use std::future::Future;
use std::pin::Pin;

use axum::body::{Body, to_bytes};
use bytes::Bytes;
use http::{Request, Response};
use opm_proxy::net::site::Site;
use tower::ServiceExt as _;

/// Largest answer of the API, bytes.
const MOST: usize = 64 << 20;

/// The admin API.
pub(crate) struct AdminSite(pub(crate) axum::Router);

impl Site for AdminSite {
    fn answer(&self, request: Request<Bytes>) -> Pin<Box<dyn Future<Output = Response<Bytes>> + Send + '_>> {
        let router = self.0.clone();
        Box::pin(async move {
            let answered = match router.oneshot(request.map(Body::from)).await {
                Ok(response) => response,
                Err(never) => match never {},
            };
            let (head, body) = answered.into_parts();
            match to_bytes(body, MOST).await {
                Ok(bytes) => Response::from_parts(head, bytes),
                Err(_) => {
                    let mut failed = Response::new(Bytes::new());
                    *failed.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
                    failed
                }
            }
        })
    }
}
