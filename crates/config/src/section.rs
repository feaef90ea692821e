//! Reads one mapping: typed members, every problem noted, unknown keys with a suggestion.

use serde_saphyr::Spanned;

use crate::diagnostic::{Problem, Severity};
use crate::env::Environment;
use crate::node::{Node, Placed, place};
use crate::template::{Unresolved, resolve};

/// What is shared while a file is read.
pub(crate) struct Reading<'r> {
    pub(crate) env: &'r Environment,
    pub(crate) problems: Vec<Problem>,
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
        match &node.value {
            Node::List(list) => list.iter().filter_map(|item| self.text(item)).collect(),
            Node::Null => Vec::new(),
            _ => self.text(node).into_iter().collect(),
        }
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

    /// A whole number in a range.
    pub(crate) fn number(&mut self, node: &Placed, range: std::ops::RangeInclusive<i64>) -> Option<i64> {
        match &node.value {
            Node::Int(number) if range.contains(number) => Some(*number),
            Node::Int(_) => {
                let help = format!("it must be between {} and {}", range.start(), range.end());
                self.error("E008", node, "the number is out of range".into(), Some(help));
                None
            }
            other => {
                self.error(
                    "E003",
                    node,
                    format!("a whole number was expected, found {}", other.name()),
                    None,
                );
                None
            }
        }
    }

    pub(crate) fn duration(&mut self, node: &Placed) -> Option<std::time::Duration> {
        let text = self.text(node)?;
        let found = crate::units::duration(&text);
        if found.is_none() {
            let help = Some("write a number and a unit: 100ms, 3s, 10m, 1h".into());
            self.error("E008", node, format!("`{text}` is not a duration"), help);
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

/// The known word that is nearest to a typing error.
pub(crate) fn nearest<'w>(word: &str, known: &[&'w str]) -> Option<&'w str> {
    let scored = known
        .iter()
        .map(|candidate| (distance(word, candidate), *candidate));
    let (distance, found) = scored.min_by_key(|(distance, _)| *distance)?;
    (distance <= 1 + word.len() / 4).then_some(found)
}

/// Edits between two words (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut before = i;
        let mut left = i + 1;
        let mut next = vec![left];
        for (y, up) in b.iter().zip(row.iter().skip(1)) {
            let cost = before + usize::from(x != *y);
            left = cost.min(up + 1).min(left + 1);
            next.push(left);
            before = *up;
        }
        row = next;
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
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
