//! Reads one mapping: typed members, every problem noted, unknown keys with a suggestion.

mod number;

use serde_saphyr::Spanned;

use crate::diagnostic::{Problem, Severity};
use crate::env::Environment;
use crate::limit::OnFailure;
use crate::node::{Node, Placed, one_or_more, place};
use crate::template::{Unresolved, resolve};

/// What is shared while a file is read.
pub(crate) struct Reading<'r> {
    pub(crate) env: &'r Environment,
    /// The text that is read.
    pub(crate) source: &'r str,
    /// For limits that do not say.
    pub(crate) on_failure: OnFailure,
    pub(crate) problems: Vec<Problem>,
}

impl<'r> Reading<'r> {
    pub(crate) fn new(env: &'r Environment, source: &'r str) -> Self {
        Reading {
            env,
            source,
            on_failure: OnFailure::default(),
            problems: Vec::new(),
        }
    }
}

impl Reading<'_> {
    pub(crate) fn error<T>(
        &mut self,
        code: &'static str,
        at: &Spanned<T>,
        message: String,
        help: Option<String>,
    ) {
        self.problems.push(Problem {
            severity: Severity::Error,
            code,
            message,
            at: Some(place(at)),
            help,
        });
    }

    pub(crate) fn warning<T>(&mut self, code: &'static str, at: &Spanned<T>, message: String) {
        self.problems.push(Problem {
            severity: Severity::Warning,
            code,
            message,
            at: Some(place(at)),
            help: None,
        });
    }

    /// A text with its variables resolved.
    pub(crate) fn text(&mut self, node: &Placed) -> Option<String> {
        let raw = match &node.value {
            Node::Text(text) => text.clone(),
            Node::Int(number) => number.to_string(),
            other => {
                self.error(
                    "E003",
                    node,
                    format!("a text was expected, found {}", other.name()),
                    None,
                );
                return None;
            }
        };
        match resolve(&raw, self.env) {
            Ok(text) => Some(text),
            Err(Unresolved::Unset(name)) => {
                let help = format!("set it, or write ${{{name}:-}} to allow it to be absent");
                self.error(
                    "E009",
                    node,
                    format!("the environment variable {name} is not set"),
                    Some(help),
                );
                None
            }
            Err(Unresolved::LineBreak(name)) => {
                self.error(
                    "E009",
                    node,
                    format!("the value of {name} holds a line break"),
                    None,
                );
                None
            }
            Err(Unresolved::Open) => {
                self.error(
                    "E009",
                    node,
                    "`${` without `}`".into(),
                    Some("write $${ for a literal ${".into()),
                );
                None
            }
        }
    }

    /// A list of texts; one text is a list of one.
    pub(crate) fn texts(&mut self, node: &Placed) -> Vec<String> {
        let items = one_or_more(node).iter();
        items.filter_map(|item| self.text(item)).collect()
    }

    /// One of a list of words.
    pub(crate) fn word<T: Copy>(&mut self, node: &Placed, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(node)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let help = match nearest(&text, &known) {
            Some(word) => format!("did you mean `{word}`? The words are {}", known.join(", ")),
            None => format!("the words are {}", known.join(", ")),
        };
        self.error("E004", node, format!("unknown word `{text}`"), Some(help));
        None
    }

    /// `true` or `false`.
    pub(crate) fn flag(&mut self, node: &Placed) -> Option<bool> {
        if let Node::Bool(value) = node.value {
            return Some(value);
        }
        let text = format!("true or false was expected, found {}", node.value.name());
        self.error("E003", node, text, None);
        None
    }

    /// Networks: `10.0.0.0/8`, or single addresses.
    pub(crate) fn networks(&mut self, node: &Placed) -> Vec<ipnet::IpNet> {
        let mut found = Vec::new();
        for item in one_or_more(node) {
            let Some(text) = self.text(item) else { continue };
            let network = text.parse().ok().or_else(|| {
                let address: Option<std::net::IpAddr> = text.parse().ok();
                address.map(ipnet::IpNet::from)
            });
            match network {
                Some(network) => found.push(network),
                None => {
                    let help = Some("write 10.0.0.0/8, 2001:db8::/32 or one address".into());
                    self.error("E008", item, format!("`{text}` is not a network"), help);
                }
            }
        }
        found
    }

    /// Members of a mapping.
    pub(crate) fn members<'n>(&mut self, node: &'n Placed, what: &str) -> &'n [(Spanned<String>, Placed)] {
        match &node.value {
            Node::Map(members) => members,
            Node::Null => &[],
            other => {
                self.error(
                    "E003",
                    node,
                    format!("`{what}` must be a mapping, found {}", other.name()),
                    None,
                );
                &[]
            }
        }
    }

    /// Elements of a list.
    pub(crate) fn elements<'n>(&mut self, node: &'n Placed, what: &str) -> &'n [Placed] {
        match &node.value {
            Node::List(list) => list,
            Node::Null => &[],
            other => {
                self.error(
                    "E003",
                    node,
                    format!("`{what}` must be a list, found {}", other.name()),
                    None,
                );
                &[]
            }
        }
    }

    /// A key that nobody knows.
    pub(crate) fn unknown(&mut self, key: &Spanned<String>, known: &[&str]) {
        let help = match nearest(&key.value, known) {
            Some(word) => format!("did you mean `{word}`?"),
            None => format!("the keys here are {}", known.join(", ")),
        };
        self.error("E002", key, format!("unknown key `{}`", key.value), Some(help));
    }

    /// A key whose feature this version does not have: said, never silently ignored.
    pub(crate) fn inactive(&mut self, key: &Spanned<String>) {
        self.warning(
            "W001",
            key,
            format!("`{}` is understood, but has no effect in this version", key.value),
        );
    }
}

/// The known word that is nearest to a typing error, if one is near enough.
#[must_use]
pub fn nearest<'w>(word: &str, known: &[&'w str]) -> Option<&'w str> {
    let scored = known
        .iter()
        .map(|candidate| (distance(word, candidate), *candidate));
    let (distance, found) = scored.min_by_key(|(distance, _)| *distance)?;
    (distance <= 1 + word.len() / 4).then_some(found)
}

/// Edits between two words: a letter added, left out or replaced, or two neighbours swapped.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    // The row before the last, and its letter.
    let mut older: (Vec<usize>, Option<char>) = (Vec::new(), None);
    for (i, x) in a.chars().enumerate() {
        let mut left = i + 1;
        let mut next = vec![left];
        let mut y_before = None;
        for (j, (y, (before, up))) in b.iter().zip(row.iter().zip(row.iter().skip(1))).enumerate() {
            let mut cost = (before + usize::from(x != *y)).min(up + 1).min(left + 1);
            if older.1 == Some(*y) && y_before == Some(x) {
                let swapped = j.checked_sub(1).and_then(|at| older.0.get(at));
                cost = swapped.map_or(cost, |swapped| cost.min(swapped + 1));
            }
            left = cost;
            next.push(left);
            y_before = Some(*y);
        }
        older = (std::mem::replace(&mut row, next), Some(x));
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors_find_their_word() {
        assert_eq!(nearest("chanels", &["channels", "keys"]), Some("channels"));
        assert_eq!(nearest("opnai-eu", &["openai-eu", "gemini"]), Some("openai-eu"));
        assert_eq!(nearest("something", &["channels", "keys"]), None);
        assert_eq!(nearest("tmp", &["window", "tpm"]), Some("tpm"));
        assert_eq!(nearest("rmp", &["tpm", "rpm"]), Some("rpm"));
        for (a, b, edits) in [
            ("kitten", "sitting", 3),
            ("ab", "ba", 1),
            ("abcd", "badc", 2),
            ("", "abc", 3),
            ("abc", "", 3),
            ("abc", "abc", 0),
            ("ca", "abc", 3),
        ] {
            assert_eq!(distance(a, b), edits, "{a} {b}");
        }
    }
}
