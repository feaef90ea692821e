//! Secrets of the file: texts and `{ file: PATH }`.

use opm_core::Secret;

use crate::node::{Node, Placed};
use crate::section::Reading;

/// Texts and `{ file: PATH }`; empty texts are absent keys.
pub(super) fn secrets(node: &Placed, r: &mut Reading<'_>) -> Vec<Secret> {
    let mut list = Vec::new();
    for element in r.elements(node, "keys") {
        if let Some(text) = secret(element, r).filter(|text| !text.is_empty()) {
            list.push(Secret::new(text));
        }
    }
    list
}

/// One secret, trimmed: a text or `{ file: PATH }`.
pub(super) fn secret(node: &Placed, r: &mut Reading<'_>) -> Option<String> {
    let text = match &node.value {
        Node::Map(_) => secret_file(node, r),
        _ => r.text(node),
    };
    text.map(|text| text.trim().to_owned())
}

fn secret_file(node: &Placed, r: &mut Reading<'_>) -> Option<String> {
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
