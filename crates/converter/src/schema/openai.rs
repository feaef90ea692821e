//! Plain JSON Schema: object roots, OpenAPI's spellings, and what OpenAI calls strict.

use super::children;
use super::tree::Node;

/// Function parameters are objects; a schema that does not say so is told to.
pub(super) fn object_root(mut node: Node<'_>) -> Node<'_> {
    let typed = ["type", "$ref", "anyOf", "oneOf", "allOf", "enum", "const"]
        .iter()
        .any(|name| node.get(name).is_some());
    if typed {
        return node;
    }
    if let Node::Object(members) = &mut node {
        members.insert(0, ("type".into(), Node::text("object")));
    }
    node
}

/// Upper-case types and `nullable` (conversion.md 11.1).
pub(super) fn from_openapi(node: Node<'_>) -> Node<'_> {
    let mut node = children(node, &mut from_openapi);
    let lower = node
        .get("type")
        .and_then(Node::string)
        .map(|kind| kind.to_ascii_lowercase());
    let nullable = node
        .get("nullable")
        .is_some_and(|value| *value == Node::Leaf("true".into()));
    if let Some(kind) = lower {
        let changed = node
            .get("type")
            .and_then(Node::string)
            .is_some_and(|old| old != kind);
        if nullable {
            node.set("type", Node::Array(vec![Node::text(&kind), Node::text("null")]));
        } else if changed {
            node.set("type", Node::text(&kind));
        }
    }
    node.remove("nullable");
    node
}

const REFUSED: &[&str] = &[
    "allOf",
    "not",
    "if",
    "then",
    "else",
    "dependentRequired",
    "dependentSchemas",
    "patternProperties",
    "propertyNames",
    "unevaluatedProperties",
    "unevaluatedItems",
    "default",
    "contains",
    "minProperties",
    "maxProperties",
];

/// Would OpenAI take this schema with `strict: true` (conversion.md 11.2)?
pub(super) fn is_strict(node: &Node<'_>, root: bool) -> bool {
    if REFUSED.iter().any(|name| node.get(name).is_some()) {
        return false;
    }
    if root && (!node.is_type("object") || node.get("anyOf").is_some()) {
        return false;
    }
    if let Some(properties) = node.get("properties") {
        let closed = node
            .get("additionalProperties")
            .is_some_and(|value| *value == Node::Leaf("false".into()));
        let required: Vec<String> = match node.get("required") {
            Some(Node::Array(list)) => list
                .iter()
                .filter_map(|name| name.string().map(|name| name.into_owned()))
                .collect(),
            _ => Vec::new(),
        };
        let all = properties
            .members()
            .iter()
            .all(|(name, _)| required.iter().any(|known| known == name));
        if !closed || !all {
            return false;
        }
    } else if node.is_type("object") {
        return false;
    }
    let mut strict = true;
    children(node.clone(), &mut |child| {
        strict &= is_strict(&child, false);
        child
    });
    strict
}
