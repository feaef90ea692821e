//! Secrets: provider keys and client keys.

use std::fmt;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::client_key;

/// A secret. Printing it shows a hint (`sk-…3f2a`), never the secret; its memory is wiped when it goes.
#[derive(Clone)]
pub struct Secret {
    text: Zeroizing<String>,
    digest: [u8; 32],
}

impl Secret {
    /// Wraps a secret.
    #[must_use]
    pub fn new(text: String) -> Self {
        let digest = digest(&text);
        Secret {
            text: Zeroizing::new(text),
            digest,
        }
    }

    /// The secret itself, for the one place that sends it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// A number that tells secrets apart and says nothing about them: for tables that must not hold them.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let mut first = [0; 8];
        first
            .iter_mut()
            .zip(&self.digest)
            .for_each(|(to, from)| *to = *from);
        u64::from_le_bytes(first)
    }

    /// True if `given` is the digest of this secret. The time does not depend on where they differ.
    #[must_use]
    pub fn matches(&self, given: &[u8; 32]) -> bool {
        client_key::same(&self.digest, given)
    }
}

/// SHA-256 of a text that may be a secret: made once per request, compared with every key.
#[must_use]
pub fn digest(text: impl AsRef<[u8]>) -> [u8; 32] {
    Sha256::digest(text.as_ref()).into()
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.matches(&other.digest)
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hint(&self.text))
    }
}

/// What may be shown of a secret: its family prefix and its last four characters. Short secrets show nothing.
#[must_use]
pub fn hint(secret: &str) -> String {
    const PREFIXES: [&str; 6] = ["sk-opm-", "sk-ant-", "sk-proj-", "sk-or-", "sk-", "AIza"];
    let prefix = PREFIXES
        .into_iter()
        .find(|prefix| secret.starts_with(prefix))
        .unwrap_or_default();
    let length = secret.chars().count();
    if length < 16 {
        return format!("{prefix}…");
    }
    let tail: String = secret.chars().skip(length - 4).collect();
    format!("{prefix}…{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_show_a_hint_only() {
        let secret = Secret::new("sk-ant-0123456789abcdef91c0".into());
        assert_eq!(format!("{secret:?}"), "sk-ant-…91c0");
        assert_eq!(hint("short"), "…");
        assert!(
            secret.matches(&digest("sk-ant-0123456789abcdef91c0")) && !secret.matches(&digest("sk-ant-"))
        );
    }
}
