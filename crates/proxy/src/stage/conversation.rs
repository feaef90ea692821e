//! Which conversation a request belongs to, so that its turns find their prompt cache and reasoning state on one channel
//! (wire.md 8.5). A hint: nothing breaks when it is wrong.

use std::hash::BuildHasher as _;

use ai_api_converter::scan::Scan;
use foldhash::quality::FixedState;
use http::HeaderMap;

/// Headers in which agents name their session.
const SESSIONS: &[&str] = &[
    "x-claude-code-session-id",
    "session-id",
    "session_id",
    "thread-id",
    "x-session-affinity",
    "x-session-id",
];

/// Of an opening, so many bytes of its start and of its end tell conversations apart: hashing megabytes would cost as much as
/// relaying them.
const WEIGHED: usize = 16 * 1024;

/// A conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conversation {
    /// A hash that its turns share. Of another client key it is another.
    pub hash: u64,
    /// Where it was served before matters: it is named, or it has gone on for more than one turn. First turns that only look alike
    /// are spread like all others.
    pub follows: bool,
}

/// The conversation of a request, if it shows one.
#[must_use]
pub fn conversation(
    headers: &HeaderMap,
    scan: &Scan<'_>,
    body: &[u8],
    key: Option<&str>,
) -> Option<Conversation> {
    // One pass over the few headers there are; of several names the first in the list counts.
    let session = headers
        .iter()
        .filter_map(|(name, value)| {
            let rank = SESSIONS.iter().position(|known| *known == name.as_str())?;
            Some((rank, value.as_bytes()))
        })
        .min_by_key(|(rank, _)| *rank)
        .map(|(_, value)| value);
    let named = scan.cache_key.as_deref().map(str::as_bytes).or(session);
    let (part, follows) = match named.filter(|name| !name.is_empty()) {
        Some(name) => (name, true),
        None => (body.get(scan.opening.clone()?)?, scan.continues),
    };
    // Fast, and not safe from whoever looks for collisions: they would only share a hint.
    let start = part.get(..WEIGHED).unwrap_or(part);
    let end = part.get(part.len().saturating_sub(WEIGHED)..);
    let told = (key, scan.model.as_deref(), part.len(), start, end);
    Some(Conversation {
        hash: FixedState::default().hash_one(told),
        follows,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ai_api_converter::scan::scan;

    fn of(body: &str, header: Option<(&'static str, &str)>) -> Option<Conversation> {
        let mut headers = HeaderMap::new();
        if let Some((name, value)) = header {
            headers.insert(name, value.parse().unwrap());
        }
        conversation(&headers, &scan(body.as_bytes()).unwrap(), body.as_bytes(), None)
    }

    #[test]
    fn later_turns_are_recognized_by_their_opening() {
        let first =
            r#"{"model":"m","messages":[{"role":"system","content":"s"},{"role":"user","content":"a"}]}"#;
        let second = r#"{"model":"m","messages":[{"role":"system","content":"s"},{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"user","content":"c"}]}"#;
        let other = first.replace("\"a\"", "\"z\"");
        let (first, second, other) = (
            of(first, None).unwrap(),
            of(second, None).unwrap(),
            of(&other, None).unwrap(),
        );
        assert_eq!(first.hash, second.hash);
        assert_ne!(first.hash, other.hash);
        assert!(!first.follows && second.follows);
    }

    #[test]
    fn a_named_session_follows_from_its_first_turn_on() {
        let body = r#"{"model":"m","input":"x"}"#;
        assert_eq!(of(body, None), None);
        assert!(of(body, Some(("session-id", "s1"))).unwrap().follows);
        let keyed = r#"{"model":"m","input":"x","prompt_cache_key":"t1"}"#;
        assert!(of(keyed, None).unwrap().follows);
        assert_ne!(of(keyed, None), of(body, Some(("session-id", "s1"))));
    }
}
