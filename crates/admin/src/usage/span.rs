//! Which sums answer a question: from when to when, by which step. Pure; all times are Unix seconds.

use std::time::Duration;

use opm_config::{duration, moment};
use opm_store::Width;

use super::{AskError, By, USUAL_SINCE, UsageQuestion, wrong};

const MINUTE: i64 = 60;
const HOUR: i64 = 3_600;
const DAY: i64 = 86_400;
/// Up to this length sums by minute answer: an hour too much would tell.
const SHORT: i64 = 6 * HOUR;
/// Up to which length which step is taken, if none is asked for.
const STEPS: [(i64, i64); 2] = [(SHORT, 5 * MINUTE), (3 * DAY, HOUR)];

/// Spans of time that are summed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// Where the first one begins: a multiple of the width.
    pub(super) since: i64,
    /// What begins then or later does not count: a multiple of the width.
    pub(super) until: i64,
    /// Length of one, a multiple of the width; without [`By::Time`] the whole.
    pub(super) step: i64,
    /// From which sums.
    pub(super) width: Width,
}

/// A point in time as it was given.
#[derive(Clone, Copy)]
struct Point {
    at: i64,
    /// It was given as a date or time, not as an age.
    is_date: bool,
}

impl Span {
    /// `minutes_since`: from when on sums by minute are whole.
    pub(super) fn read(question: &UsageQuestion, now: i64, minutes_since: i64) -> Result<Self, AskError> {
        let since = point("since", question.since.as_deref().unwrap_or(USUAL_SINCE), now)?;
        let until = match &question.until {
            Some(text) => point("until", text, now)?.at,
            None => now,
        };
        if since.at >= until && question.since.is_none() {
            return Err(wrong(
                "until",
                "it is not after the usual beginning, seven days ago",
                "name an earlier `since` too",
            ));
        }
        if since.at >= until {
            return Err(wrong(
                "since",
                "it is not before `until`",
                "name an earlier time; without `until`, until now is meant",
            ));
        }
        let step = match (question.by, &question.step) {
            (By::Time, Some(text)) => Some(step(text)?),
            (By::Time, None) => Some(usual_step(until - since.at)),
            (_, Some(_)) => {
                return Err(wrong("step", "it goes with sums by time only", "ask `by` time"));
            }
            (_, None) => None,
        };
        let width = width(since, until, step, minutes_since)?;
        // An age has no place of its own among the steps: then those of the calendar count, in UTC.
        let grid = if since.is_date {
            width.seconds()
        } else {
            step.unwrap_or(width.seconds())
        };
        let first = since.at - since.at.rem_euclid(grid);
        let until = until.saturating_add((-until).rem_euclid(width.seconds()));
        Ok(Span {
            since: first,
            until,
            step: step.unwrap_or(until - first),
            width,
        })
    }

    /// Seconds in all.
    pub(super) fn length(&self) -> i64 {
        self.until - self.since
    }

    /// Number of steps.
    pub(super) fn count(&self) -> i64 {
        self.length().saturating_add(self.step - 1) / self.step
    }
}

/// `7d` (ago), a date, or an RFC 3339 time.
fn point(member: &'static str, text: &str, now: i64) -> Result<Point, AskError> {
    if let Some(at) = moment(text) {
        return Ok(Point { at, is_date: true });
    }
    match duration(text) {
        Some(age) => Ok(Point {
            at: now.saturating_sub(seconds(age)),
            is_date: false,
        }),
        None => Err(wrong(
            member,
            "it is neither an age nor a time",
            "write 7d, 24h, 30m, 2027-06-30 or 2027-06-30T12:00:00Z",
        )),
    }
}

/// Unix milliseconds of a point in time.
pub(super) fn milliseconds(member: &'static str, text: &str, now: i64) -> Result<i64, AskError> {
    Ok(point(member, text, now)?.at.saturating_mul(1_000))
}

fn seconds(duration: Duration) -> i64 {
    // A date before the calendar is as good as any.
    i64::try_from(duration.as_secs()).map_or(i64::from(u32::MAX), |seconds| seconds.min(i64::from(u32::MAX)))
}

fn step(text: &str) -> Result<i64, AskError> {
    let found = duration(text)
        .filter(|step| step.subsec_millis() == 0)
        .map(seconds);
    let whole = found.filter(|step| *step >= MINUTE && step % MINUTE == 0);
    whole.ok_or_else(|| wrong("step", "it is no number of whole minutes", "write 5m, 1h, 1d"))
}

fn usual_step(length: i64) -> i64 {
    let found = STEPS.iter().find(|(longest, _)| length <= *longest);
    found.map_or(DAY, |(_, step)| *step)
}

/// Sums by minute where the question is finer than an hour, and where they are few.
fn width(since: Point, until: i64, step: Option<i64>, minutes_since: i64) -> Result<Width, AskError> {
    let minute = since.at - since.at.rem_euclid(MINUTE);
    let (kept, length) = (minute >= minutes_since, until - since.at);
    if step.is_some_and(|step| step % HOUR != 0) {
        if kept {
            return Ok(Width::Minute);
        }
        let why = "sums by minute do not reach back so far";
        return Err(wrong(
            "step",
            why,
            "ask for 1h or a multiple of it, or for a later `since`",
        ));
    }
    // Days of a zone that is not whole hours away begin within an hour.
    let within_hour = since.is_date && since.at % HOUR != 0;
    if kept && (length <= SHORT || within_hour) {
        return Ok(Width::Minute);
    }
    Ok(Width::Hour)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-24 15:25:40 UTC.
    const NOW: i64 = 1_795_533_940;
    /// 2026-11-24 00:00 UTC.
    const TODAY: i64 = 1_795_478_400;

    fn read(by: By, since: &str, until: &str, step: &str) -> Result<Span, AskError> {
        let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let question = UsageQuestion {
            by,
            since: given(since),
            until: given(until),
            step: given(step),
            ..UsageQuestion::default()
        };
        Span::read(&question, NOW, NOW - 7 * DAY)
    }

    fn span(since: i64, until: i64, step: i64, width: Width) -> Span {
        Span {
            since: TODAY + since,
            until: TODAY + until,
            step,
            width,
        }
    }

    #[test]
    fn a_week_is_answered_by_the_hour_and_a_short_time_by_the_minute() {
        let week = read(By::Key, "", "", "").unwrap();
        let first = 15 * HOUR - 7 * DAY;
        assert_eq!(week, span(first, 16 * HOUR, 16 * HOUR - first, Width::Hour));
        let hour = read(By::Model, "1h", "", "").unwrap();
        let (first, last) = (14 * HOUR + 25 * MINUTE, 15 * HOUR + 26 * MINUTE);
        assert_eq!(hour, span(first, last, last - first, Width::Minute));
        // A short time long ago: only hours are left of it.
        let old = read(By::Key, "2026-10-01T00:00:00Z", "2026-10-01T01:30:00Z", "").unwrap();
        assert_eq!((old.width, old.length()), (Width::Hour, 2 * HOUR));
    }

    #[test]
    fn what_is_forgotten_by_the_minute_is_answered_by_the_hour() {
        let question = UsageQuestion {
            since: Some("2h".to_owned()),
            ..UsageQuestion::default()
        };
        let read = |minutes_since| Span::read(&question, NOW, minutes_since).unwrap().width;
        assert_eq!(read(i64::MIN), Width::Minute);
        assert_eq!(read(NOW - 2 * HOUR - 40), Width::Minute, "the minute of `since`");
        assert_eq!(read(NOW - 2 * HOUR), Width::Hour);
        assert_eq!(read(i64::MAX), Width::Hour);
    }

    #[test]
    fn days_are_those_of_the_calendar_or_begin_where_a_date_says() {
        let days = read(By::Time, "7d", "", "1d").unwrap();
        assert_eq!(days, span(-7 * DAY, 16 * HOUR, DAY, Width::Hour));
        assert_eq!(days.count(), 8);
        let shanghai = read(By::Time, "2026-11-17T00:00:00+08:00", "", "1d").unwrap();
        assert_eq!(shanghai, span(-7 * DAY - 8 * HOUR, 16 * HOUR, DAY, Width::Hour));
        let delhi = read(
            By::Time,
            "2026-11-20T00:00:00+05:30",
            "2026-11-24T00:00:00+05:30",
            "1d",
        )
        .unwrap();
        let first = -4 * DAY - 330 * MINUTE;
        assert_eq!(delhi, span(first, -330 * MINUTE, DAY, Width::Minute));
        assert_eq!(delhi.count(), 4);
    }

    #[test]
    fn the_step_goes_with_the_length() {
        for (since, step, width) in [
            ("6h", 5 * MINUTE, Width::Minute),
            ("24h", HOUR, Width::Hour),
            ("3d", HOUR, Width::Hour),
            ("30d", DAY, Width::Hour),
        ] {
            let found = read(By::Time, since, "", "").unwrap();
            assert_eq!((found.step, found.width), (step, width), "{since}");
            assert!(found.count() <= 400, "{since}");
        }
        assert_eq!(read(By::Time, "24h", "", "90m").unwrap().width, Width::Minute);
    }

    #[test]
    fn what_cannot_be_answered_says_why() {
        for (by, since, until, step, member) in [
            (By::Key, "yesterday", "", "", "since"),
            (By::Key, "7", "", "", "since"),
            (By::Key, "", "2026-13-01", "", "until"),
            (By::Key, "2030-01-01", "", "", "since"),
            (By::Key, "1h", "1h", "", "since"),
            (By::Key, "", "", "1h", "step"),
            (By::Time, "", "", "30s", "step"),
            (By::Time, "", "", "90s", "step"),
            (By::Time, "", "", "60001ms", "step"),
            (By::Time, "", "", "0h", "step"),
            (By::Time, "30d", "", "5m", "step"),
        ] {
            let error = read(by, since, until, step).unwrap_err();
            assert!(
                matches!(error, AskError::Member { member: found, .. } if found == member),
                "{since} {until} {step}: {error}"
            );
        }
    }

    #[test]
    fn the_ends_of_the_calendar_do_not_overflow() {
        for since in ["213503982334d", "-009999-06-01T00:00:00Z"] {
            let found = read(By::Time, since, "9999-12-30", "1h").unwrap();
            assert!(found.since < found.until && found.count() > 1_000, "{since}");
        }
    }
}
