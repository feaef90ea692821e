//! Calendar periods of budgets: days and months of a time zone.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

use crate::rule::RuleProblem;

/// The length of a budget's period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Every {
    /// From midnight to midnight.
    Day,
    /// From the first of a month to the next.
    Month,
}

/// Days or months of one time zone.
#[derive(Clone, Debug)]
pub struct Period {
    every: Every,
    zone: TimeZone,
}

/// One period: `start <= now < end`, milliseconds since the epoch. `start` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Its first millisecond.
    pub start: u64,
    /// The first millisecond of the next period.
    pub end: u64,
}

impl Period {
    /// Periods of an IANA time zone (`UTC`, `Asia/Shanghai`).
    ///
    /// # Errors
    /// No zone of this name.
    pub fn new(every: Every, zone: &str) -> Result<Self, RuleProblem> {
        let zone = TimeZone::get(zone).map_err(|_| RuleProblem::Zone(zone.to_owned()))?;
        Ok(Period { every, zone })
    }

    /// The period of an instant. Outside the years that the calendar knows, one period without end.
    #[must_use]
    pub fn bounds(&self, now: u64) -> Bounds {
        self.civil_bounds(now).unwrap_or(Bounds {
            start: 0,
            end: u64::MAX,
        })
    }

    fn civil_bounds(&self, now: u64) -> Option<Bounds> {
        let timestamp = Timestamp::from_millisecond(i64::try_from(now).ok()?).ok()?;
        let today = self.zone.to_datetime(timestamp).date();
        let (first, span) = match self.every {
            Every::Day => (today, Span::new().days(1)),
            Every::Month => (today.first_of_month(), Span::new().months(1)),
        };
        Some(Bounds {
            start: self.midnight(first)?,
            end: self.midnight(first.checked_add(span).ok()?)?,
        })
    }

    /// A midnight that a clock change skips is the first instant after it.
    fn midnight(&self, date: Date) -> Option<u64> {
        let start = date.to_zoned_datetime(self.zone.clone()).ok()?;
        u64::try_from(start.timestamp().as_millisecond()).ok()
    }

    /// What of the zone and the unit goes into a rule's identity.
    pub(crate) fn identity(&self) -> (&str, u8) {
        (self.zone.iana_name().unwrap_or_default(), self.every as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(every: Every, zone: &str, at: &str) -> (String, String) {
        let now: Timestamp = at.parse().unwrap();
        let bounds = Period::new(every, zone)
            .unwrap()
            .bounds(now.as_millisecond() as u64);
        let text = |ms: u64| Timestamp::from_millisecond(ms as i64).unwrap().to_string();
        (text(bounds.start), text(bounds.end))
    }

    #[test]
    fn periods_begin_at_the_midnight_of_their_zone() {
        for (every, zone, at, start, end) in [
            (
                Every::Day,
                "UTC",
                "2026-11-24T23:59:59.999Z",
                "2026-11-24T00:00:00Z",
                "2026-11-25T00:00:00Z",
            ),
            (
                Every::Day,
                "Asia/Shanghai",
                "2026-11-24T16:00:00Z",
                "2026-11-24T16:00:00Z",
                "2026-11-25T16:00:00Z",
            ),
            (
                Every::Month,
                "Asia/Shanghai",
                "2026-11-30T16:00:00Z",
                "2026-11-30T16:00:00Z",
                "2026-12-31T16:00:00Z",
            ),
            (
                Every::Month,
                "UTC",
                "2028-02-29T12:00:00Z",
                "2028-02-01T00:00:00Z",
                "2028-03-01T00:00:00Z",
            ),
            // 25 and 23 hours long.
            (
                Every::Day,
                "Europe/Berlin",
                "2026-10-25T12:00:00Z",
                "2026-10-24T22:00:00Z",
                "2026-10-25T23:00:00Z",
            ),
            (
                Every::Day,
                "Europe/Berlin",
                "2026-03-29T12:00:00Z",
                "2026-03-28T23:00:00Z",
                "2026-03-29T22:00:00Z",
            ),
            // The clocks of Beirut go forward at midnight: the day begins at 01:00.
            (
                Every::Day,
                "Asia/Beirut",
                "2026-03-29T12:00:00Z",
                "2026-03-28T22:00:00Z",
                "2026-03-29T21:00:00Z",
            ),
        ] {
            assert_eq!(bounds(every, zone, at), (start.into(), end.into()), "{zone} {at}");
        }
    }

    #[test]
    fn an_unknown_zone_is_named() {
        let problem = Period::new(Every::Day, "Mars/Olympus").unwrap_err();
        assert!(problem.to_string().contains("Mars/Olympus"));
    }
}
