//! The user behind a client key, as limits and the ledger name them.

use std::borrow::Cow;

/// Longest name that is kept as it is, bytes.
const LONGEST: usize = 128;

/// A name that is bounded and printable: others stand as their digest, so that they stay apart. Nobody named is nobody.
pub(crate) fn user(given: Option<&str>) -> Cow<'_, str> {
    let given = given.map(str::trim).unwrap_or_default();
    if given.len() <= LONGEST && !given.chars().any(char::is_control) {
        return Cow::Borrowed(given);
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
        assert_eq!(user(Some(" ada ")), "ada");
        assert_eq!(user(None), "");
        let (one, other) = ("x".repeat(9_000), "x".repeat(9_001));
        assert_eq!(user(Some(&one)).len(), 71);
        assert_ne!(user(Some(&one)), user(Some(&other)));
        assert!(user(Some("a\u{1f}b")).starts_with("sha256:"));
    }
}
