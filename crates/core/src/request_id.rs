//! The gateway's own request ids.

use std::fmt;

use crate::base62;

/// `req_` and 24 base62 digits: 142 bits, unique without coordination.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RequestId(String);

impl RequestId {
    /// An id out of 24 random bytes.
    #[must_use]
    pub fn new(random: [u8; 24]) -> Self {
        let digits = random.iter().copied().map(base62::digit);
        RequestId("req_".chars().chain(digits).collect())
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
