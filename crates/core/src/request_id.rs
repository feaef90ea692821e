//! The gateway's own request ids.

use std::fmt;

/// `req_` and 24 base62 digits: 142 bits, unique without coordination.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RequestId(String);

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

impl RequestId {
    /// An id out of 24 random bytes.
    #[must_use]
    pub fn new(random: [u8; 24]) -> Self {
        let digits = random
            .iter()
            .map(|byte| char::from(ALPHABET.get(usize::from(byte % 62)).copied().unwrap_or(b'0')));
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
