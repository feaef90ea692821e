//! Durations and sizes with their units.

use std::time::Duration;

/// `100ms`, `3s`, `10m`, `1h`, `7d`.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split(text)?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.checked_mul(millis).map(Duration::from_millis)
}

/// `32MiB`, `64KiB`, `1GiB`, `1000B`, or plain bytes.
pub(crate) fn bytes(text: &str) -> Option<usize> {
    let (number, unit) = split(text)?;
    let factor: u64 = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "KB" => 1_000,
        "MB" => 1_000_000,
        _ => return None,
    };
    number
        .checked_mul(factor)
        .and_then(|bytes| usize::try_from(bytes).ok())
}

/// A date (its first moment, UTC) or an RFC 3339 time, as seconds since 1970.
#[must_use]
pub fn moment(text: &str) -> Option<i64> {
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Some(time.as_second());
    }
    let date: jiff::civil::Date = text.parse().ok()?;
    let midnight = date.at(0, 0, 0, 0);
    jiff::tz::Offset::UTC
        .to_timestamp(midnight)
        .ok()
        .map(jiff::Timestamp::as_second)
}

fn split(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read_and_nonsense_is_not() {
        assert_eq!(duration("60m"), Some(Duration::from_secs(3600)));
        assert_eq!(duration("100ms"), Some(Duration::from_millis(100)));
        assert_eq!(bytes("32MiB"), Some(32 << 20));
        assert_eq!(bytes("1000"), Some(1000));
        assert_eq!(moment("2027-06-30T12:00:00Z"), Some(1_814_356_800));
        assert_eq!(moment("2027-06-30"), Some(1_814_313_600));
        assert_eq!(
            (duration("60"), duration("m"), bytes("3 cows")),
            (None, None, None)
        );
    }
}
