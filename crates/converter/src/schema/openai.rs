//! Plain JSON Schema: object roots, OpenAPI's spellings, and what OpenAI calls strict.

use super::children;
use super::tree::Node;

/// Function parameters are objects; a schema that does not say so is told to.
pub(super) fn object_root(mut node: Node<'_>) -> Node<'_> {
    let typed = ["type", "$ref"].iter().any(|name| node.get(name).is_some());
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
    let kept = matches!(node.get("type"), Some(Node::Array(_)));
    if let Some(kind) = lower.filter(|_| !kept) {
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
    let union = node.get("anyOf").is_some();
    if node.remove("nullable").is_some()
        && nullable
        && union
        && let Some(Node::Array(mut branches)) = node.remove("anyOf")
    {
        let null = Node::Object(vec![("type".into(), Node::text("null"))]);
        if !branches.contains(&null) {
            branches.push(null);
        }
        node.set("anyOf", Node::Array(branches));
    }
    // An enum of a nullable node must name the null.
    if nullable && let Some(Node::Array(mut values)) = node.get("enum").cloned() {
        let null = Node::Leaf("null".into());
        if !values.contains(&null) {
            values.push(null);
            node.set("enum", Node::Array(values));
        }
    }
    if let Some(example) = node.remove("example") {
        node.set("examples", Node::Array(vec![example]));
    }
    node.remove("propertyOrdering");
    for name in [
        "minItems",
        "maxItems",
        "minLength",
        "maxLength",
        "minProperties",
        "maxProperties",
    ] {
        // Google's JSON writes 64-bit numbers as strings.
        if let Some(number) = node.get(name).and_then(Node::string)
            && number.bytes().all(|byte| byte.is_ascii_digit())
            && !number.is_empty()
        {
            let number = number.into_owned();
            node.set(name, Node::Leaf(number.into()));
        }
    }
    node
}

const REFUSED: &[&str] = &[
    "allOf",
    "oneOf",
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
    "uniqueItems",
    "minContains",
    "maxContains",
];

/// Formats of strings that OpenAI knows in strict schemas.
const FORMATS: &[&str] = &[
    "date-time",
    "time",
    "date",
    "duration",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "uuid",
];

/// Would OpenAI take this schema with `strict: true` (conversion.md 11.2)?
pub(super) fn is_strict(node: &Node<'_>, root: bool) -> bool {
    if REFUSED.iter().any(|name| node.get(name).is_some()) {
        return false;
    }
    if node
        .get("format")
        .and_then(Node::string)
        .is_some_and(|format| !FORMATS.contains(&format.as_ref()))
    {
        return false;
    }
    if let Some(reference) = node.get("$ref").and_then(Node::string) {
        return !root && (reference == "#" || reference.starts_with("#/$defs/"));
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
