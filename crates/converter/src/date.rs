//! Gemini's timestamps (RFC 3339, UTC) and OpenAI's seconds since 1970.

const DAY: u64 = 86_400;

/// Seconds since 1970 of `2026-11-24T21:56:34.123Z`. Other zones than UTC are not read: Google writes none.
pub(crate) fn seconds(text: &str) -> Option<u64> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<u64>().ok();
    let separators = [(4, '-'), (7, '-'), (10, 'T'), (13, ':'), (16, ':')];
    let bytes = text.as_bytes();
    if separators
        .iter()
        .any(|(at, c)| bytes.get(*at).copied().map(char::from) != Some(*c))
        || !text.ends_with('Z')
    {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let clock = number(11, 13)? * 3_600 + number(14, 16)? * 60 + number(17, 19)?;
    Some(days(year, month, day) * DAY + clock)
}

/// Days from 1970-01-01 to a date of the Gregorian calendar (years from March on, so that the leap day is the last).
fn days(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let of_months = (153 * month + 2) / 5 + day - 1;
    365 * year + year / 4 - year / 100 + year / 400 + of_months - 719_468
}

/// The timestamp of seconds since 1970.
pub(crate) fn rfc3339(seconds: u64) -> String {
    let seconds = seconds.min(253_402_300_799);
    let (mut day, clock) = (seconds / DAY + 719_468, seconds % DAY);
    let era = day / 146_097;
    day %= 146_097;
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let date = of_year - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 {
        (year, month + 3)
    } else {
        (year + 1, month - 9)
    };
    format!(
        "{:04}-{month:02}-{date:02}T{:02}:{:02}:{:02}Z",
        era * 400 + year,
        clock / 3_600,
        clock / 60 % 60,
        clock % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_and_seconds_agree() {
        for (text, wanted) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:34:56Z", 951_827_696),
            ("2026-11-24T21:56:34Z", 1_795_557_394),
        ] {
            assert_eq!(seconds(text), Some(wanted), "{text}");
            assert_eq!(rfc3339(wanted), text);
        }
        assert_eq!(seconds("2026-11-24T21:56:34.123456Z"), Some(1_795_557_394));
        for day in (0..40_000u64).step_by(13) {
            assert_eq!(seconds(&rfc3339(day * DAY + 5)), Some(day * DAY + 5));
        }
        for broken in ["", "yesterday", "2026-11-24", "2026-11-24T21:56:34+01:00"] {
            assert_eq!(seconds(broken), None, "{broken}");
        }
    }
}
