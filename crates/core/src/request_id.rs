//! The gateway's own request ids.

use std::fmt;

use crate::base62;

/// `req_` and 24 base62 digits: 7 of the time in milliseconds, so that ids sort as their requests came (a store appends instead of
/// searching), and 17 random ones: 101 bits, unique without coordination.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RequestId(String);

impl RequestId {
    /// An id of this moment, milliseconds since 1970, out of 17 random bytes.
    #[must_use]
    pub fn new(now_ms: u64, random: [u8; 17]) -> Self {
        // Seven digits last until the year 2081.
        let mut time = [0; 7];
        let mut rest = now_ms;
        for digit in time.iter_mut().rev() {
            *digit = u8::try_from(rest % 62).unwrap_or(0);
            rest /= 62;
        }
        let mut text = String::with_capacity(28);
        text.push_str("req_");
        text.extend(time.into_iter().chain(random).map(base62::digit));
        RequestId(text)
    }

    /// With its prefix.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Without its prefix.
    #[must_use]
    pub fn bare(&self) -> &str {
        self.0.strip_prefix("req_").unwrap_or(&self.0)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_their_time() {
        let times = [
            1_795_000_000_000,
            1_795_000_000_001,
            1_795_000_000_062,
            1_800_000_000_000,
            3_500_000_000_000,
        ];
        let ids: Vec<String> = times
            .iter()
            .map(|now| RequestId::new(*now, [7; 17]).to_string())
            .collect();
        assert!(ids.is_sorted() && ids.iter().all(|id| id.len() == 28), "{ids:?}");
    }
}
