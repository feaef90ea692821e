//! Requests one by one.

use opm_config::nearest;
use opm_store::{AttemptOutcome, Page, RequestQuery, RowCursor, Store, UsageRow};

use super::span::milliseconds;
use super::view::{RequestDetail, RequestList, RequestView};
use super::{AskError, Filters, KeyNames, bounded, usd, wrong};

/// Requests of a page that asks for no number.
const USUAL: u32 = 100;

/// A question about requests.
#[derive(Clone, Debug, Default)]
pub struct RequestsQuestion {
    /// Whose.
    pub filters: Filters,
    /// Only with this outcome; `retried` asks for attempts.
    pub outcome: Option<String>,
    /// Only with this HTTP status or a higher one.
    pub status_from: Option<i64>,
    /// Ended since: `7d` (ago), `2026-11-24`, or an RFC 3339 time.
    pub since: Option<String>,
    /// Ended before, in the same words.
    pub until: Option<String>,
    /// Older than this place in the list.
    pub before: Option<String>,
    /// Newer than this place in the list, oldest first.
    pub after: Option<String>,
    /// Also attempts that another one followed.
    pub attempts: bool,
    /// At most so many, 1 to [`RequestQuery::MOST`]; absent: 100.
    pub limit: Option<u32>,
}

impl RequestsQuestion {
    /// The same for the store. `now` is the time in Unix seconds.
    ///
    /// # Errors
    /// [`AskError::Member`].
    pub fn query(&self, names: &KeyNames, now: i64) -> Result<RequestQuery, AskError> {
        let point = |member, text: &Option<String>| {
            let text = text.as_deref();
            text.map(|text| milliseconds(member, text, now)).transpose()
        };
        let outcome = self.outcome.as_deref().map(outcome).transpose()?;
        let filters = &self.filters;
        Ok(RequestQuery {
            page: self.page()?,
            limit: bounded(self.limit, USUAL, RequestQuery::MOST)?,
            attempts: self.attempts || outcome == Some(AttemptOutcome::Retried),
            since_ms: point("since", &self.since)?,
            until_ms: point("until", &self.until)?,
            key_id: filters.key.as_deref().map(|key| names.id(key)),
            user: filters.user(),
            model: filters.model.clone(),
            channel: filters.channel.clone(),
            outcome,
            status_from: self.status_from.map(status).transpose()?,
        })
    }

    fn page(&self) -> Result<Page, AskError> {
        match (&self.before, &self.after) {
            (None, None) => Ok(Page::Newest),
            (Some(text), None) => Ok(Page::Before(place("before", text)?)),
            (None, Some(text)) => Ok(Page::After(place("after", text)?)),
            (Some(_), Some(_)) => {
                let why = "it cannot be given together with `before`";
                Err(wrong("after", why, "ask for one direction"))
            }
        }
    }
}

fn place(member: &'static str, text: &str) -> Result<RowCursor, AskError> {
    let help = "give what an answer had as `next` or `newest`, or Unix milliseconds";
    text.parse()
        .map_err(|_| wrong(member, "it is no place in the list", help))
}

fn status(status: i64) -> Result<i64, AskError> {
    if (100..=599).contains(&status) {
        return Ok(status);
    }
    let why = format!("{status} is no HTTP status");
    Err(wrong(
        "status",
        why,
        "give one from 100 to 599; those above are meant too",
    ))
}

fn outcome(word: &str) -> Result<AttemptOutcome, AskError> {
    AttemptOutcome::from_name(word).ok_or_else(|| {
        let known: Vec<_> = AttemptOutcome::ALL.iter().map(|known| known.as_str()).collect();
        let help = match nearest(word, &known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known are {}", known.join(", ")),
        };
        wrong("outcome", "no request ends so", help)
    })
}

/// One page of requests. `now` is the time in Unix seconds.
///
/// # Errors
/// [`AskError`].
pub async fn requests(
    store: &dyn Store,
    question: &RequestsQuestion,
    now: i64,
) -> Result<RequestList, AskError> {
    let names = KeyNames::of(store).await?;
    let query = question.query(&names, now)?;
    let rows = store.requests(&query).await?;
    let cursor = |row: Option<&UsageRow>| row.map(|row| RowCursor::of(row).to_string());
    let is_full = u32::try_from(rows.len()).is_ok_and(|count| count >= query.limit);
    let (next, newest) = match &query.page {
        Page::After(place) => {
            let last = cursor(rows.last()).unwrap_or_else(|| place.to_string());
            (Some(last.clone()), Some(last))
        }
        Page::Newest | Page::Before(_) => (cursor(rows.last()).filter(|_| is_full), cursor(rows.first())),
    };
    Ok(RequestList {
        requests: rows
            .into_iter()
            .map(|row| RequestView::new(row, &names))
            .collect(),
        next,
        newest,
    })
}

/// One request with its attempts; `None`: the store has no attempt of it.
///
/// # Errors
/// [`AskError::Store`].
pub async fn request(store: &dyn Store, request_id: &str) -> Result<Option<RequestDetail>, AskError> {
    let rows = store.attempts(request_id).await?;
    let Some(last) = rows.last() else {
        return Ok(None);
    };
    let costs = rows.iter().filter_map(|row| row.cost_pico_usd);
    let cost = costs.fold(0_i64, i64::saturating_add);
    let (request_id, settled) = (last.request_id.to_string(), last.outcome.is_settled());
    let names = KeyNames::of(store).await?;
    Ok(Some(RequestDetail {
        request_id,
        settled,
        cost_usd: usd(cost),
        cost_pico_usd: cost,
        attempts: rows
            .into_iter()
            .map(|row| RequestView::new(row, &names))
            .collect(),
    }))
}
