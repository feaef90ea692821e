//! Looking through requests and attempts one by one.

use std::fmt;
use std::str::FromStr;

use crate::attempt::{AttemptOutcome, UsageRow};

/// A place among all attempts, which are ordered by their end; where that is the same, by request and number.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RowCursor {
    /// Unix milliseconds of the end.
    pub at_ms: i64,
    /// Number of the attempt in its request.
    pub attempt: i64,
    /// Id of the request.
    pub request_id: String,
}

impl RowCursor {
    /// Where an attempt stands.
    #[must_use]
    pub fn of(row: &UsageRow) -> Self {
        RowCursor {
            at_ms: row.at_ms,
            attempt: row.attempt,
            request_id: row.request_id.to_string(),
        }
    }

    /// In front of everything that ended at this Unix millisecond or later.
    #[must_use]
    pub fn before(at_ms: i64) -> Self {
        RowCursor {
            at_ms,
            attempt: i64::MIN,
            request_id: String::new(),
        }
    }
}

/// As text: `MILLISECONDS.ATTEMPT.REQUEST`, or `MILLISECONDS` alone for [`RowCursor::before`].
impl fmt::Display for RowCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == RowCursor::before(self.at_ms) {
            return write!(f, "{}", self.at_ms);
        }
        write!(f, "{}.{}.{}", self.at_ms, self.attempt, self.request_id)
    }
}

/// The text is not one of [`RowCursor`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no place in the list: give the one that an answer named, or Unix milliseconds")]
pub struct NoCursor;

impl FromStr for RowCursor {
    type Err = NoCursor;

    fn from_str(text: &str) -> Result<Self, NoCursor> {
        let number = |text: &str| text.parse::<i64>().map_err(|_| NoCursor);
        let Some((at_ms, rest)) = text.split_once('.') else {
            return Ok(RowCursor::before(number(text)?));
        };
        let (attempt, request_id) = rest.split_once('.').ok_or(NoCursor)?;
        // No id is stored with a NUL, and Postgres takes none.
        if request_id.contains('\0') {
            return Err(NoCursor);
        }
        Ok(RowCursor {
            at_ms: number(at_ms)?,
            attempt: number(attempt)?,
            request_id: request_id.to_owned(),
        })
    }
}

/// Which page of the attempts is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Page {
    /// The newest, newest first.
    #[default]
    Newest,
    /// Those before a place, newest first.
    Before(RowCursor),
    /// Those after a place, oldest first.
    After(RowCursor),
}

/// Which attempts are wanted.
#[derive(Clone, Debug, Default)]
pub struct RequestQuery {
    /// Which page of them.
    pub page: Page,
    /// At most so many, [`RequestQuery::MOST`] in any case.
    pub limit: u32,
    /// Also those that another attempt followed; otherwise one per request.
    pub attempts: bool,
    /// Unix milliseconds; attempts that ended then or later.
    pub since_ms: Option<i64>,
    /// Unix milliseconds; attempts that ended before.
    pub until_ms: Option<i64>,
    /// Only of this client key; an empty id: without one.
    pub key_id: Option<String>,
    /// Only of this user.
    pub user: Option<String>,
    /// Only for this model, as clients name it.
    pub model: Option<String>,
    /// Only at this channel.
    pub channel: Option<String>,
    /// Only with this outcome.
    pub outcome: Option<AttemptOutcome>,
    /// Only with this HTTP status or a higher one.
    pub status_from: Option<i64>,
}

impl RequestQuery {
    /// Attempts of one page at most.
    pub const MOST: u32 = 1_000;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_reads_back_from_its_text() {
        let place = RowCursor {
            at_ms: 1_795_478_400_999,
            attempt: 2,
            request_id: "req_a.b".to_owned(),
        };
        assert_eq!(place.to_string(), "1795478400999.2.req_a.b");
        for place in [
            place,
            RowCursor::before(-5),
            RowCursor {
                attempt: 0,
                ..RowCursor::before(7)
            },
        ] {
            assert_eq!(place.to_string().parse(), Ok(place));
        }
        for text in ["", "x", "1.x.req", "1.2", "1.2.a\0b", "99999999999999999999"] {
            assert_eq!(text.parse::<RowCursor>(), Err(NoCursor), "{text}");
        }
    }
}
