//! Subjects: for whom something is counted, as keys that hold none of the caller's text.

use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher24};

use crate::rule::Rule;

/// A kind of subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SubjectKind {
    /// The client key.
    Key = 1,
    /// The person behind it.
    User = 2,
    /// The model as the client names it.
    Model = 4,
    /// The upstream account.
    Channel = 8,
}

/// A set of subject kinds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubjectKinds(u8);

impl SubjectKinds {
    /// True if the kind is one of them.
    #[must_use]
    pub fn contains(self, kind: SubjectKind) -> bool {
        self.0 & kind as u8 != 0
    }

    pub(crate) fn bits(self) -> u8 {
        self.0
    }

    /// Callers cannot make new ones up: they are of client keys and channels alone.
    pub(crate) fn are_configured(self) -> bool {
        !self.contains(SubjectKind::User) && !self.contains(SubjectKind::Model)
    }
}

impl FromIterator<SubjectKind> for SubjectKinds {
    fn from_iter<I: IntoIterator<Item = SubjectKind>>(kinds: I) -> Self {
        SubjectKinds(kinds.into_iter().fold(0, |bits, kind| bits | kind as u8))
    }
}

/// Who makes a request. What is not known (no user header, no channel yet) is `None`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Subjects<'a> {
    /// The client key's id.
    pub key: Option<&'a str>,
    /// The user.
    pub user: Option<&'a str>,
    /// The model.
    pub model: Option<&'a str>,
    /// The channel.
    pub channel: Option<&'a str>,
}

impl<'a> Subjects<'a> {
    fn values(&self) -> [(SubjectKind, Option<&'a str>); 4] {
        [
            (SubjectKind::Key, self.key),
            (SubjectKind::User, self.user),
            (SubjectKind::Model, self.model),
            (SubjectKind::Channel, self.channel),
        ]
    }

    /// True if everything is known by which the rule counts.
    #[must_use]
    pub fn known_to(&self, rule: &Rule) -> bool {
        self.values()
            .iter()
            .all(|(kind, value)| value.is_some() || !rule.subjects().contains(*kind))
    }
}

/// 128 bits that stand for a rule and the values of its subjects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key(pub(crate) u128);

impl Key {
    /// Keyed, so that nobody without the secret can build a value that shares another one's counters.
    pub(crate) fn new(secret: &[u8; 16], rule: &Rule, subjects: &Subjects<'_>) -> Self {
        let mut hasher = SipHasher24::new_with_key(secret);
        hasher.write(&rule.tag().to_le_bytes());
        for (kind, value) in subjects.values() {
            if rule.subjects().contains(kind) {
                // The length in front keeps ("ab", "c") and ("a", "bc") apart; no value is not an empty one.
                let length = value.map_or(u64::MAX, |value| value.len() as u64);
                hasher.write(&length.to_le_bytes());
                hasher.write(value.unwrap_or_default().as_bytes());
            }
        }
        Key(hasher.finish128().as_u128())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::{Dimension, Over};

    fn key(kinds: &[SubjectKind], subjects: Subjects<'_>) -> Key {
        let rule = Rule::new("r", Dimension::Concurrency, 1, Over::Open)
            .unwrap()
            .by(kinds);
        Key::new(&[7; 16], &rule, &subjects)
    }

    #[test]
    fn keys_differ_by_every_value_of_the_rule_and_by_nothing_else() {
        use SubjectKind::{Key, User};
        let of = |key, user, model| Subjects {
            key,
            user,
            model,
            channel: None,
        };
        let base = key(&[Key, User], of(Some("ab"), Some("c"), None));
        assert_eq!(base, key(&[Key, User], of(Some("ab"), Some("c"), Some("gpt"))));
        assert_ne!(base, key(&[Key, User], of(Some("a"), Some("bc"), None)));
        assert_ne!(base, key(&[Key], of(Some("ab"), Some("c"), None)));
        assert_ne!(
            key(&[User], of(None, None, None)),
            key(&[User], of(None, Some(""), None))
        );
    }

    #[test]
    fn a_rule_applies_where_its_subjects_are_known() {
        let rule = Rule::new("r", Dimension::Concurrency, 1, Over::Open).unwrap();
        let rule = rule.by(&[SubjectKind::Key, SubjectKind::User]);
        let subjects = Subjects {
            key: Some("k"),
            ..Subjects::default()
        };
        assert!(!subjects.known_to(&rule));
        assert!(
            Subjects {
                user: Some("u"),
                ..subjects
            }
            .known_to(&rule)
        );
    }
}
