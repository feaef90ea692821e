//! The audit log.

use axum::Json;
use axum::extract::{Query, State};

use super::view::{AuditItem, AuditList};
use crate::body::check_names;
use crate::object::raw;
use crate::refusal::{ErrorBody, Refusal};
use crate::router::Shared;

const USUAL: u32 = 100;
const MOST: u32 = 1_000;

/// Who changed what, and when
#[utoipa::path(get, path = "/api/v1/audit", tag = "audit", params(
    ("limit" = Option<u32>, Query, description = "At most so many entries, 1 to 1000; absent: 100"),
    ("before" = Option<i64>, Query, description = "Only entries with a smaller id"),
), responses(
    (status = 200, description = "Newest first", body = AuditList),
    (status = 401, description = "No credential, or a wrong one", body = ErrorBody),
    (status = 422, description = "Something is wrong with the question", body = ErrorBody),
    (status = 503, description = "The store does not answer", body = ErrorBody),
))]
pub(crate) async fn list(
    State(shared): State<Shared>,
    Query(pairs): Query<Vec<(String, String)>>,
) -> Result<Json<AuditList>, Refusal> {
    let (limit, before) = read(&pairs)?;
    let records = shared.api.store.audits(limit, before).await?;
    let full = usize::try_from(limit).is_ok_and(|limit| records.len() >= limit);
    let next = records.last().map(|record| record.id).filter(|_| full);
    let entries = records.into_iter().map(|record| AuditItem {
        id: record.id,
        at: record.entry.at,
        actor: record.entry.actor,
        action: record.entry.action,
        object: record.entry.object,
        detail: raw(&record.entry.detail),
    });
    Ok(Json(AuditList {
        entries: entries.collect(),
        next,
    }))
}

fn read(pairs: &[(String, String)]) -> Result<(u32, Option<i64>), Refusal> {
    check_names(pairs.iter().map(|(name, _)| name.as_str()), &["limit", "before"])?;
    let (mut limit, mut before) = (USUAL, None);
    for (name, value) in pairs {
        if name == "before" {
            let id: Option<i64> = value.parse().ok();
            before = Some(id.ok_or_else(|| Refusal::invalid("`before`: expected the id of an entry"))?);
        } else {
            let number: Option<u32> = value.parse().ok().filter(|number| (1..=MOST).contains(number));
            limit = number.ok_or_else(|| Refusal::invalid("`limit`: expected a number from 1 to 1000"))?;
        }
    }
    Ok((limit, before))
}
