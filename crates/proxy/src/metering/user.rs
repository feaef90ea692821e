//! The user behind a client key, as limits and the ledger name them.

use std::borrow::Cow;

/// Longest name that is kept as it is, bytes.
const LONGEST: usize = 128;

/// A name that is bounded and printable: others stand as their digest, so that they stay apart. Nobody named is nobody.
pub(crate) fn user(given: Option<&[u8]>) -> Cow<'_, str> {
    let given = given.unwrap_or_default().trim_ascii();
    let text = std::str::from_utf8(given).ok();
    if let Some(text) = text.filter(|text| text.len() <= LONGEST && !text.chars().any(char::is_control)) {
        return Cow::Borrowed(text);
    }
    let digest = opm_core::digest(given);
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    Cow::Owned(format!("sha256:{hex}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_are_bounded_and_stay_apart() {
        assert_eq!(user(Some(b" ada ")), "ada");
        assert_eq!(user(Some("日本".as_bytes())), "日本");
        assert_ne!(user(Some(b"\xff\xfe")), user(Some(b"\xff")));
        assert_eq!(user(None), "");
        let (one, other) = ("x".repeat(9_000), "x".repeat(9_001));
        assert_eq!(user(Some(one.as_bytes())).len(), 71);
        assert_ne!(user(Some(one.as_bytes())), user(Some(other.as_bytes())));
        assert!(user(Some(b"a\x1fb")).starts_with("sha256:"));
    }
}
