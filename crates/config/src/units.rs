//! Durations, sizes, counts and amounts with their units.

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

/// The largest count: up to here the limiter counts exactly, 2^53 - 1.
pub(crate) const COUNT_MAX: u64 = (1 << 53) - 1;

/// `600`, `200k`, `2M`, `1G`.
pub(crate) fn count(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    number.checked_mul(COUNTS.iter().find(|(known, _)| *known == unit)?.1)
}

const COUNTS: [(&str, u64); 4] = [("G", 1_000_000_000), ("M", 1_000_000), ("k", 1_000), ("", 1)];

/// As short as it can be read back: `200k`.
pub(crate) fn shown_count(number: u64) -> String {
    let fits = |unit: &&(&str, u64)| number >= unit.1 && number.is_multiple_of(unit.1);
    let (unit, factor) = COUNTS.iter().find(fits).unwrap_or(&("", 1));
    format!("{}{unit}", number / factor)
}

/// As short as it can be read back: `1h`.
pub(crate) fn shown_duration(duration: Duration) -> String {
    const UNITS: [(&str, u128); 4] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];
    let millis = duration.as_millis();
    let fits = |unit: &&(&str, u128)| millis >= unit.1 && millis.is_multiple_of(unit.1);
    let (unit, factor) = UNITS.iter().find(fits).unwrap_or(&("ms", 1));
    format!("{}{unit}", millis / factor)
}

/// A plain decimal number in units of 10^-`places`, exactly: `50.25` with 2 places is 5025; what is too large is `u64::MAX`. `None`
/// for anything else, and for what is finer.
pub(crate) fn decimal(text: &str, places: usize) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    let missing = places.checked_sub(fraction.len())?;
    let digits = format!("{whole}{fraction}{}", "0".repeat(missing));
    Some(digits.parse().unwrap_or(u64::MAX))
}

/// What [`decimal`] read, as people write it: `50.25`.
pub(crate) fn shown_decimal(number: u64, places: usize) -> String {
    let digits = format!("{number:0>width$}", width = places + 1);
    let (whole, fraction) = digits.split_at(digits.len() - places);
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{whole}{point}{fraction}")
}

/// A date (its first moment, UTC) or an RFC 3339 time, as seconds since 1970.
#[must_use]
pub fn moment(text: &str) -> Option<i64> {
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Some(time.as_second());
    }
    // A date with a time and no zone reads as a date too: whose midnight it would be, nobody says.
    if text.contains(['T', 't', ' ', ':']) {
        return None;
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
        for unclear in [
            "2027-06-30T12:00:00",
            "2027-06-30 12:00",
            "2027-06-30T12",
            "12:00",
            "",
        ] {
            assert_eq!(moment(unclear), None, "{unclear}");
        }
        assert_eq!(
            (duration("60"), duration("m"), bytes("3 cows")),
            (None, None, None)
        );
    }

    #[test]
    fn counts_have_suffixes_and_come_back_as_they_were() {
        for (text, number) in [
            ("1", 1),
            ("600", 600),
            ("200k", 200_000),
            ("2M", 2_000_000),
            ("3G", 3_000_000_000),
        ] {
            assert_eq!(count(text), Some(number));
            assert_eq!(shown_count(number), text);
        }
        for text in [
            "",
            "k",
            "-1",
            "1.5M",
            "2m",
            "2K",
            "99999999999999999999",
            "99999999999G",
        ] {
            assert_eq!(count(text), None, "{text}");
        }
    }

    #[test]
    fn decimals_are_exact_or_nothing() {
        for (text, places, number) in [
            ("50", 12, Some(50_000_000_000_000)),
            ("50.25", 12, Some(50_250_000_000_000)),
            ("9007199.123456789012", 12, Some(9_007_199_123_456_789_012)),
            ("0.000001", 6, Some(1)),
            ("0.0000010", 6, Some(1)),
            ("0.0000001", 6, None),
            ("007.50", 2, Some(750)),
            ("99999999999", 12, Some(u64::MAX)),
            ("1e3", 6, None),
            ("-1", 6, None),
            (".5", 6, None),
            ("5.", 6, None),
            ("", 6, None),
        ] {
            assert_eq!(decimal(text, places), number, "{text}");
        }
        assert_eq!(shown_decimal(50_250_000_000_000, 12), "50.25");
        assert_eq!(
            (shown_decimal(1, 6), shown_decimal(3_000_000, 6)),
            ("0.000001".into(), "3".into())
        );
    }

    #[test]
    fn durations_are_shown_in_their_largest_unit() {
        for text in ["7d", "1h", "90m", "45s", "1500ms"] {
            assert_eq!(shown_duration(duration(text).unwrap()), text);
        }
    }
}
