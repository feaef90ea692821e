//! The user behind a client key, as limits and the ledger name them.

use std::borrow::Cow;

/// Longest name that is kept as it is, bytes.
const LONGEST: usize = 128;

/// The name of a user as it is counted, recorded and looked for: bounded and printable. Others stand as their digest, so that they stay
/// apart. A name that has this form already is unchanged.
#[must_use]
pub fn user_name(given: &[u8]) -> Cow<'_, str> {
    let given = given.trim_ascii();
    let text = std::str::from_utf8(given).ok();
    if let Some(text) = text.filter(|text| text.len() <= LONGEST && !text.chars().any(char::is_control)) {
        return Cow::Borrowed(text);
    }
    let digest = crate::digest(given);
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    Cow::Owned(format!("sha256:{hex}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_are_bounded_and_stay_apart() {
        assert_eq!(user_name(b" ada "), "ada");
        assert_eq!(user_name("日本".as_bytes()), "日本");
        assert_ne!(user_name(b"\xff\xfe"), user_name(b"\xff"));
        assert_eq!(user_name(b""), "");
        let (one, other) = ("x".repeat(9_000), "x".repeat(9_001));
        assert_eq!(user_name(one.as_bytes()).len(), 71);
        assert_ne!(user_name(one.as_bytes()), user_name(other.as_bytes()));
        let hidden = user_name(b"a\x1fb");
        assert!(hidden.starts_with("sha256:"));
        assert_eq!(user_name(hidden.as_bytes()), hidden);
    }
}
