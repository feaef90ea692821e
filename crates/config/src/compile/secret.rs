//! Secrets of the file: texts and `{ file: PATH }`.

use opm_core::Secret;

use crate::node::{Node, Placed};
use crate::section::Reading;

/// Texts and `{ file: PATH }`; empty texts are absent keys.
pub(super) fn secrets(node: &Placed, r: &mut Reading<'_>) -> Vec<Secret> {
    let mut list = Vec::new();
    for element in r.elements(node, "keys") {
        let text = match &element.value {
            Node::Map(_) => secret_file(element, r),
            _ => r.text(element),
        };
        if let Some(text) = text.filter(|text| !text.trim().is_empty()) {
            list.push(Secret::new(text.trim().to_owned()));
        }
    }
    list
}

pub(super) fn secret_file(node: &Placed, r: &mut Reading<'_>) -> Option<String> {
    let members = r.members(node, "a secret");
    let Some((_, path)) = members.iter().find(|(key, _)| key.value == "file") else {
        r.error(
            "E005",
            node,
            "a secret is a text or `{ file: PATH }`".into(),
            None,
        );
        return None;
    };
    let path_text = r.text(path)?;
    match std::fs::read_to_string(&path_text) {
        Ok(text) => Some(text),
        Err(error) => {
            r.error("E010", path, format!("the file cannot be read: {error}"), None);
            None
        }
    }
}
