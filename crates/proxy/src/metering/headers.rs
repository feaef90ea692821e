//! The limits of a request as headers, in the spelling of OpenAI and of Anthropic.

use std::fmt::{self, Write as _};
use std::time::Duration;

use ai_api_converter::Format;
use bytes::BytesMut;
use http::{HeaderName, HeaderValue};
use opm_limits::{Dimension, Standing};

/// Names of a dimension's headers: its limit, what is left, when it is whole again.
type Names = [HeaderName; 3];

/// What OpenAI calls a dimension: `x-ratelimit-limit-…`, `x-ratelimit-remaining-…`, `x-ratelimit-reset-…`.
static OPENAI: [(Dimension, Names); 2] = [
    (
        Dimension::Requests,
        [
            HeaderName::from_static("x-ratelimit-limit-requests"),
            HeaderName::from_static("x-ratelimit-remaining-requests"),
            HeaderName::from_static("x-ratelimit-reset-requests"),
        ],
    ),
    (
        Dimension::Tokens,
        [
            HeaderName::from_static("x-ratelimit-limit-tokens"),
            HeaderName::from_static("x-ratelimit-remaining-tokens"),
            HeaderName::from_static("x-ratelimit-reset-tokens"),
        ],
    ),
];

/// What Anthropic calls it.
static ANTHROPIC: [(Dimension, Names); 2] = [
    (
        Dimension::Requests,
        [
            HeaderName::from_static("anthropic-ratelimit-requests-limit"),
            HeaderName::from_static("anthropic-ratelimit-requests-remaining"),
            HeaderName::from_static("anthropic-ratelimit-requests-reset"),
        ],
    ),
    (
        Dimension::Tokens,
        [
            HeaderName::from_static("anthropic-ratelimit-tokens-limit"),
            HeaderName::from_static("anthropic-ratelimit-tokens-remaining"),
            HeaderName::from_static("anthropic-ratelimit-tokens-reset"),
        ],
    ),
];

/// Headers that say what is left.
pub(crate) type Left = Vec<(&'static HeaderName, HeaderValue)>;

/// Room for the values of all headers: one piece of memory that they share.
const ROOM: usize = 256;

/// The headers for what a request stands at: per dimension the rule that has least left. Clients of Messages get both spellings,
/// all others OpenAI's. `now_ms`: milliseconds since 1970.
pub(crate) fn headers(standings: &[Standing], format: Format, now_ms: u64) -> Left {
    let mut headers = Left::with_capacity(12);
    let mut values = BytesMut::with_capacity(ROOM);
    add(&mut headers, &mut values, &OPENAI, standings, span);
    if format == Format::Messages {
        add(
            &mut headers,
            &mut values,
            &ANTHROPIC,
            standings,
            |values, reset| moment(values, now_ms, reset),
        );
    }
    headers
}

fn add(
    headers: &mut Left,
    values: &mut BytesMut,
    names: &'static [(Dimension, Names)],
    standings: &[Standing],
    reset: impl Fn(&mut BytesMut, Duration) -> Option<HeaderValue>,
) {
    for (dimension, [limit, remaining, free]) in names {
        let of = standings
            .iter()
            .filter(|standing| standing.dimension == *dimension);
        if let Some(standing) = of.min_by_key(|standing| standing.remaining) {
            let all = [
                (limit, value(values, format_args!("{}", standing.limit))),
                (remaining, value(values, format_args!("{}", standing.remaining))),
                (free, reset(values, standing.reset)),
            ];
            headers.extend(all.into_iter().filter_map(|(name, value)| Some((name, value?))));
        }
    }
}

/// As OpenAI writes it: `6m0s`, `1.5s`, `20ms`. From a minute on in whole seconds, rounded up.
fn span(values: &mut BytesMut, wait: Duration) -> Option<HeaderValue> {
    let (seconds, millis) = match (wait.as_secs(), wait.subsec_millis()) {
        (seconds, millis) if seconds >= 60 => (seconds.saturating_add(u64::from(millis > 0)), 0),
        exact => exact,
    };
    match (seconds / 3600, seconds % 3600 / 60, seconds % 60) {
        (0, 0, 0) => value(values, format_args!("{millis}ms")),
        (0, 0, rest) if millis > 0 => value(values, format_args!("{rest}.{millis:03}s")),
        (0, 0, rest) => value(values, format_args!("{rest}s")),
        (0, minutes, rest) => value(values, format_args!("{minutes}m{rest}s")),
        (hours, minutes, rest) => value(values, format_args!("{hours}h{minutes}m{rest}s")),
    }
}

/// As Anthropic writes it: RFC 3339, in whole seconds, rounded up.
fn moment(values: &mut BytesMut, now_ms: u64, wait: Duration) -> Option<HeaderValue> {
    let at = now_ms.saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
    let seconds = i64::try_from(at.div_ceil(1000)).unwrap_or(i64::MAX);
    let at = jiff::Timestamp::from_second(seconds).ok()?;
    value(values, format_args!("{at}"))
}

/// A text of a few digits and letters.
fn value(values: &mut BytesMut, text: fmt::Arguments<'_>) -> Option<HeaderValue> {
    values.write_fmt(text).ok()?;
    HeaderValue::from_maybe_shared(values.split().freeze()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(dimension: Dimension, limit: u64, remaining: u64, reset_ms: u64) -> Standing {
        Standing {
            dimension,
            limit,
            remaining,
            reset: Duration::from_millis(reset_ms),
        }
    }

    #[test]
    fn the_rule_with_least_left_speaks_for_its_dimension() {
        let standings = [
            standing(Dimension::Tokens, 1_000, 400, 60_500),
            standing(Dimension::Tokens, 9_000, 300, 1_000),
            standing(Dimension::Requests, 60, 59, 1_500),
            standing(Dimension::Concurrency, 5, 1, 0),
        ];
        let text: Vec<String> = headers(&standings, Format::Chat, 0)
            .into_iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        assert_eq!(
            text,
            [
                "x-ratelimit-limit-requests: 60",
                "x-ratelimit-remaining-requests: 59",
                "x-ratelimit-reset-requests: 1.500s",
                "x-ratelimit-limit-tokens: 9000",
                "x-ratelimit-remaining-tokens: 300",
                "x-ratelimit-reset-tokens: 1s",
            ]
        );
        let anthropic = headers(&standings, Format::Messages, 1_800_000_000_000);
        let reset = anthropic
            .iter()
            .find(|(name, _)| *name == "anthropic-ratelimit-requests-reset");
        assert_eq!(reset.unwrap().1, "2027-01-15T08:00:02Z");
        let mut values = BytesMut::new();
        for (wait, text) in [
            (3_725_000, "1h2m5s"),
            (360_000, "6m0s"),
            (60_768, "1m1s"),
            (1_500, "1.500s"),
            (20, "20ms"),
        ] {
            assert_eq!(span(&mut values, Duration::from_millis(wait)).unwrap(), text);
        }
        assert!(span(&mut values, Duration::MAX).is_some());
        assert!(moment(&mut values, 0, Duration::from_secs(1 << 31)).is_some());
    }
}
