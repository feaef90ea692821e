//! Money as text.

const DOLLAR: u64 = 1_000_000_000_000;

/// 10^-12 US dollars as an exact decimal number of dollars, with two places at least: `0.00`, `18.40`, `0.0081125`.
#[must_use]
pub fn usd(pico: i64) -> String {
    let sign = if pico < 0 { "-" } else { "" };
    let (whole, rest) = (pico.unsigned_abs() / DOLLAR, pico.unsigned_abs() % DOLLAR);
    let places = format!("{rest:012}");
    let (cents, finer) = places.split_at(2);
    format!("{sign}{whole}.{cents}{}", finer.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::usd;

    #[test]
    fn money_is_exact() {
        for (pico, text) in [
            (0, "0.00"),
            (1, "0.000000000001"),
            (-1, "-0.000000000001"),
            (18_400_000_000_000, "18.40"),
            (8_112_500_000, "0.0081125"),
            (120_000_000_000, "0.12"),
            (i64::MAX, "9223372.036854775807"),
            (i64::MIN, "-9223372.036854775808"),
        ] {
            assert_eq!(usd(pico), text);
        }
    }
}
