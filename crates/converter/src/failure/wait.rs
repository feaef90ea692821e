//! How long an upstream asks to wait, in the order of wire.md 6.4. There is no clock here: points in time are held against the
//! upstream's own `date` header.

use std::time::Duration;

use super::document::UpstreamError;

/// Longest wait that is believed; more is cut to it (wire.md 6.4).
const MAX_WAIT: Duration = Duration::from_secs(24 * 3600);
/// What is longer than this is no wait but a mistake.
const ABSURD: Duration = Duration::from_secs(30 * 24 * 3600);

type Header<'h> = &'h dyn Fn(&str) -> Option<String>;

/// The wait that headers, details or words of an error ask for.
pub(super) fn wait(header: Header<'_>, error: &UpstreamError) -> Option<Duration> {
    let found = number(header, "retry-after-ms")
        .map(|millis| millis / 1000.0)
        .or_else(|| number(header, "retry-after"))
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .or_else(|| until(header, &header("retry-after")?))
        .or_else(|| error.retry_delay.map(Duration::from_millis))
        .or_else(|| until(header, &header("anthropic-ratelimit-unified-reset")?))
        .or_else(|| anthropic(header))
        .or_else(|| openai(header))
        .or_else(|| words(&error.message))?;
    (found <= ABSURD && !found.is_zero()).then_some(found.min(MAX_WAIT))
}

/// True if a header states the wait: not a limit of a period, then.
pub(super) fn is_stated(header: Header<'_>) -> bool {
    header("retry-after-ms").is_some() || header("retry-after").is_some()
}

fn number(header: Header<'_>, name: &str) -> Option<f64> {
    let value: f64 = header(name)?.trim().parse().ok()?;
    (value > 0.0).then_some(value)
}

/// The time from the upstream's `date` to a point in time.
fn until(header: Header<'_>, then: &str) -> Option<Duration> {
    let now = point(&header("date")?)?;
    let then = point(then)?;
    Some(Duration::from_secs(then.checked_sub(now)?))
}

/// The earliest reset of a limit that is used up.
fn anthropic(header: Header<'_>) -> Option<Duration> {
    const LIMITS: [&str; 4] = ["requests", "tokens", "input-tokens", "output-tokens"];
    let used_up = LIMITS.iter().filter(|limit| {
        header(&format!("anthropic-ratelimit-{limit}-remaining")).is_some_and(|left| left.trim() == "0")
    });
    used_up
        .filter_map(|limit| until(header, &header(&format!("anthropic-ratelimit-{limit}-reset"))?))
        .min()
}

/// The reset of a limit that is used up, or of any where the remainder is not told.
fn openai(header: Header<'_>) -> Option<Duration> {
    ["requests", "tokens"]
        .iter()
        .filter(|limit| {
            header(&format!("x-ratelimit-remaining-{limit}")).is_none_or(|left| left.trim() == "0")
        })
        .filter_map(|limit| go_duration(&header(&format!("x-ratelimit-reset-{limit}"))?))
        .map(Duration::from_millis)
        .max()
}

/// `Please try again in 1.2s.`, `Please retry in 34s.`
fn words(message: &str) -> Option<Duration> {
    let behind = ["try again in ", "retry in "]
        .iter()
        .find_map(|phrase| Some(message.split_once(phrase)?.1))?;
    let word = behind.split([' ', ',']).next()?.trim_end_matches('.');
    go_duration(word).map(Duration::from_millis)
}

/// A Go-like duration in milliseconds: `34s`, `1.5s`, `120ms`, `6m0s`.
pub(super) fn go_duration(text: &str) -> Option<u64> {
    let mut total = 0.0;
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| c.is_ascii_alphabetic())?;
        let (number, unit) = rest.split_at(end);
        let unit_end = unit
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(unit.len());
        let (unit, behind) = unit.split_at(unit_end);
        let factor = match unit {
            "ms" => 1.0,
            "s" => 1_000.0,
            "m" => 60_000.0,
            "h" => 3_600_000.0,
            "d" => 86_400_000.0,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * factor;
        rest = behind;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float cast saturates at both ends"
    )]
    let total = total.ceil() as u64;
    Some(total)
}

/// Seconds since 1970 of `Sun, 06 Nov 1994 08:49:37 GMT`, `1994-11-06T08:49:37Z` or a plain number.
fn point(text: &str) -> Option<u64> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Some(seconds);
    }
    if let Some((date, time)) = text
        .split_once('T')
        .filter(|_| text.starts_with(|c: char| c.is_ascii_digit()))
    {
        let mut date = date.splitn(3, '-').map(|part| part.parse::<u64>().ok());
        let clock = time.get(..8)?;
        return seconds((date.next()??, date.next()??, date.next()??), clock);
    }
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let mut words = text.split(' ').skip(1);
    let day = words.next()?.parse().ok()?;
    let month = words.next()?;
    let month = MONTHS.iter().position(|name| *name == month)? as u64 + 1;
    let year = words.next()?.parse().ok()?;
    seconds((year, month, day), words.next()?)
}

/// Days of the Gregorian calendar and a clock as seconds since 1970.
fn seconds((year, month, day): (u64, u64, u64), clock: &str) -> Option<u64> {
    let mut parts = clock.splitn(3, ':').map(|part| part.parse::<u64>().ok());
    let (hour, minute, second) = (parts.next()??, parts.next()??, parts.next()??);
    if !(1970..10_000).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Years begin in March, so that the leap day is the last of its year.
    let shifted = if month > 2 { year } else { year - 1 };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = shifted * 365 + shifted / 4 - shifted / 100 + shifted / 400 + of_year;
    /// Days from March of the year 0 to 1970.
    const EPOCH: u64 = 719_468;
    Some((days - EPOCH) * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(headers: &[(&str, &str)], message: &str, delay: Option<u64>) -> Option<u64> {
        let header = |name: &str| {
            let found = headers.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let error = UpstreamError {
            message: message.to_owned(),
            retry_delay: delay,
            ..UpstreamError::default()
        };
        wait(&header, &error).map(|wait| u64::try_from(wait.as_millis()).unwrap_or(0))
    }

    #[test]
    fn the_order_is_headers_details_resets_words() {
        const NOW: (&str, &str) = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        let none = |headers: &[(&str, &str)]| asked(headers, "", None);
        assert_eq!(
            none(&[("retry-after-ms", "1500"), ("retry-after", "9")]),
            Some(1_500)
        );
        assert_eq!(none(&[("retry-after", "34")]), Some(34_000));
        assert_eq!(none(&[("retry-after", "0.5")]), Some(500));
        assert_eq!(
            none(&[NOW, ("retry-after", "Sun, 06 Nov 1994 08:50:00 GMT")]),
            Some(23_000)
        );
        assert_eq!(none(&[("retry-after", "Sun, 06 Nov 1994 08:50:00 GMT")]), None);
        assert_eq!(asked(&[("retry-after", "1")], "", Some(9_000)), Some(1_000));
        assert_eq!(
            asked(&[("x-ratelimit-reset-requests", "1s")], "", Some(9_000)),
            Some(9_000)
        );
        assert_eq!(
            none(&[NOW, ("anthropic-ratelimit-unified-reset", "784111787")]),
            Some(10_000)
        );
        assert_eq!(
            none(&[
                NOW,
                ("anthropic-ratelimit-requests-remaining", "0"),
                ("anthropic-ratelimit-requests-reset", "1994-11-06T08:50:37Z"),
                ("anthropic-ratelimit-tokens-remaining", "5"),
                ("anthropic-ratelimit-tokens-reset", "1994-11-06T08:49:38Z"),
            ]),
            Some(60_000)
        );
        assert_eq!(
            none(&[
                ("x-ratelimit-remaining-requests", "9"),
                ("x-ratelimit-reset-requests", "1s"),
                ("x-ratelimit-remaining-tokens", "0"),
                ("x-ratelimit-reset-tokens", "6m0s"),
            ]),
            Some(360_000)
        );
        assert_eq!(none(&[("x-ratelimit-reset-tokens", "120ms")]), Some(120));
        assert_eq!(asked(&[], "Please try again in 1.2s.", None), Some(1_200));
        assert_eq!(asked(&[], "try again in 500ms, please", None), Some(500));
        assert_eq!(asked(&[], "Please retry in 34.07s.", None), Some(34_070));
    }

    #[test]
    fn negative_and_absurd_waits_are_ignored_and_long_ones_cut() {
        let one = |value: &str| asked(&[("retry-after", value)], "", None);
        for value in ["-5", "0", "inf", "NaN", "1e300", "soon", "9999999999"] {
            assert_eq!(one(value), None, "{value}");
        }
        assert_eq!(one("86400"), Some(86_400_000));
        assert_eq!(one("100000"), Some(86_400_000));
    }

    #[test]
    fn dates_are_read() {
        assert_eq!(point("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(point("1994-11-06T08:49:37Z"), Some(784_111_777));
        assert_eq!(point("2024-02-29T00:00:00Z"), Some(1_709_164_800));
        assert_eq!(point("yesterday"), None);
    }
}
