//! Names and ids that must fit an upstream's syntax: tool names, call ids, generated ids (conversion.md 8.2, 8.3, 12.1).
//! All are pure functions of their input, so that a call and its result meet again without any state.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

use crate::format::Format;
use crate::seal;

/// Marks ids that we made for Gemini calls without id; towards Gemini such an id is left out again.
pub const SYNTHETIC_CALL: &str = "call_g0";

/// What stands between a call id and the seal that rides on it (Chat clients echo only ids).
const SEAL_JOINT: &str = "__";

/// A tool name that the format accepts: the name itself, or a readable stand-in ending in a hash of it.
#[must_use]
pub fn tool_name(name: &str, format: Format) -> Cow<'_, str> {
    let limit = match format {
        Format::Chat | Format::Responses => 64,
        Format::Messages | Format::Gemini => 128,
    };
    let gemini = format == Format::Gemini;
    let allowed =
        |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-' || (gemini && (c == '.' || c == ':'));
    let bad_start = gemini && !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !bad_start && !name.is_empty() && name.len() <= limit && name.chars().all(allowed) {
        return Cow::Borrowed(name);
    }
    let mut out: String = name.chars().map(|c| if allowed(c) { c } else { '_' }).collect();
    if bad_start {
        out.insert(0, '_');
    }
    // Two names may differ only in what was replaced: the hash keeps them apart.
    out.truncate(limit - 9);
    out.push('_');
    out.extend(
        Sha256::digest(name.as_bytes())
            .iter()
            .take(4)
            .map(|byte| format!("{byte:02x}")),
    );
    Cow::Owned(out)
}

/// A call id that the upstream accepts: the id itself, or 27 characters derived from it.
#[must_use]
pub fn call_id(id: &str, format: Format) -> Cow<'_, str> {
    let (id, _) = strip_seal(id);
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let fits = match format {
        Format::Chat => id.len() <= 40,
        Format::Responses => id.len() <= 64,
        Format::Messages => id.chars().all(word),
        Format::Gemini => true,
    };
    if fits && !id.is_empty() {
        Cow::Borrowed(id)
    } else {
        Cow::Owned(format!("call_{}", hash(&[id.as_bytes()], 22)))
    }
}

/// An id for a call that came without one; the same call of the same request always gets the same.
#[must_use]
pub fn synthetic_call(request_id: &str, place: &str) -> String {
    format!(
        "{SYNTHETIC_CALL}{}",
        hash(&[request_id.as_bytes(), place.as_bytes()], 16)
    )
}

/// Splits a seal off a call id.
#[must_use]
pub fn strip_seal(id: &str) -> (&str, Option<&str>) {
    let Some(at) = id.find(seal::MARK) else {
        return (id, None);
    };
    let (head, seal) = id.split_at(at);
    match head.strip_suffix(SEAL_JOINT) {
        Some(bare) => (bare, Some(seal)),
        None => (id, None),
    }
}

/// A call id with a seal on it.
#[must_use]
pub fn with_seal(id: &str, seal: &str) -> String {
    format!("{id}{SEAL_JOINT}{seal}")
}

/// Lower-case hexadecimal digits of SHA-256.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Base62 digits of a hash over `parts`; each part is separated from the next. `digits` of 22 hold 128 bits.
#[must_use]
pub fn hash(parts: &[&[u8]], digits: usize) -> String {
    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    let bytes = digest.finalize();
    let mut value = bytes
        .iter()
        .take(16)
        .fold(0u128, |value, byte| (value << 8) | u128::from(*byte));
    let mut out = String::with_capacity(digits);
    for _ in 0..digits {
        let digit = usize::try_from(value % 62).unwrap_or(0);
        out.push(char::from(ALPHABET.get(digit).copied().unwrap_or(b'0')));
        value /= 62;
    }
    out
}

/// An id in the target's style made of the upstream's id (conversion.md 12.1): `chatcmpl-`, `resp_`, `msg_`; Gemini has none.
/// Without an upstream id it is derived from the gateway's request id.
#[must_use]
pub fn answer_id(upstream: &str, format: Format, request_id: &str) -> String {
    const PREFIXES: [&str; 3] = ["chatcmpl-", "resp_", "msg_"];
    let prefix = match format {
        Format::Chat => "chatcmpl-",
        Format::Responses => "resp_",
        Format::Messages => "msg_",
        Format::Gemini => "",
    };
    if upstream.is_empty() {
        return format!("{prefix}{}", hash(&[b"answer", request_id.as_bytes()], 22));
    }
    if !prefix.is_empty() && upstream.starts_with(prefix) {
        return upstream.to_owned();
    }
    let bare = PREFIXES
        .iter()
        .find_map(|known| upstream.strip_prefix(known))
        .unwrap_or(upstream);
    format!("{prefix}{bare}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_names_stay_and_others_get_a_hash() {
        assert_eq!(tool_name("get_weather", Format::Chat), "get_weather");
        assert_eq!(tool_name("a.b", Format::Gemini), "a.b");
        let replaced = tool_name("a.b", Format::Chat);
        assert!(replaced.starts_with("a_b_") && replaced.len() == 12, "{replaced}");
        assert_ne!(replaced, tool_name("a b", Format::Chat));
        let long = "x".repeat(70);
        assert_eq!(tool_name(&long, Format::Responses).len(), 64);
        assert_eq!(tool_name(&long, Format::Messages), long);
        assert!(tool_name("1st", Format::Gemini).starts_with("_1st_"));
    }

    #[test]
    fn long_ids_become_27_characters_and_seals_come_off() {
        let long = "call_".to_owned() + &"y".repeat(50);
        assert_eq!(call_id(&long, Format::Chat).len(), 27);
        assert_eq!(call_id(&long, Format::Responses), long);
        assert_eq!(call_id("a b", Format::Messages).len(), 27);
        let sealed = with_seal("toolu_1", "Z3dzZWFsAAAA");
        assert_eq!(call_id(&sealed, Format::Messages), "toolu_1");
        assert_eq!(strip_seal(&sealed), ("toolu_1", Some("Z3dzZWFsAAAA")));
        assert_eq!(strip_seal("call_1"), ("call_1", None));
    }

    #[test]
    fn answer_ids_change_their_prefix_only() {
        assert_eq!(answer_id("msg_01A", Format::Chat, "r"), "chatcmpl-01A");
        assert_eq!(answer_id("msg_01A", Format::Messages, "r"), "msg_01A");
        assert_eq!(
            answer_id("", Format::Responses, "r"),
            answer_id("", Format::Responses, "r")
        );
        assert_eq!(answer_id("chatcmpl-7", Format::Gemini, "r"), "7");
    }
}
