//! What Anthropic takes (conversion.md 11.3, 11.6).

use super::children;
use super::tree::Node;

/// Keywords that stay.
const KEPT: &[&str] = &[
    "$defs",
    "definitions",
    "$ref",
    "$schema",
    "$id",
    "type",
    "title",
    "description",
    "enum",
    "const",
    "anyOf",
    "allOf",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "format",
    "minItems",
    "default",
];
const FORMATS: &[&str] = &[
    "date-time",
    "time",
    "date",
    "duration",
    "email",
    "hostname",
    "uri",
    "ipv4",
    "ipv6",
    "uuid",
];

/// Structured output and strict tools: closed objects, constraints as words.
pub(super) fn output(node: Node<'_>) -> Node<'_> {
    let mut node = children(node, &mut output);
    if node.get("$ref").is_some() {
        return reference(node);
    }
    if let Some(branches) = node.remove("oneOf") {
        node.set("anyOf", branches);
    }
    contradiction(&mut node);
    let mut notes = Vec::new();
    let names: Vec<String> = node
        .members()
        .iter()
        .map(|(name, _)| name.clone().into_owned())
        .collect();
    for name in names {
        let fits = match name.as_str() {
            "format" => node
                .get("format")
                .and_then(Node::string)
                .is_some_and(|format| FORMATS.contains(&format.as_ref())),
            "minItems" => {
                matches!(node.get("minItems"), Some(Node::Leaf(count)) if count == "0" || count == "1")
            }
            // An open map cannot be said; a closed object is what is said below.
            "additionalProperties" => matches!(node.get("additionalProperties"), Some(Node::Leaf(_))),
            known => KEPT.contains(&known),
        };
        if !fits && let Some(value) = node.remove(&name) {
            notes.push(format!("{name}: {}", value.source()));
        }
    }
    if !notes.is_empty() {
        node.note(&format!("{{{}}}", notes.join(", ")));
    }
    if node.is_type("object") || node.get("properties").is_some() {
        node.set("additionalProperties", Node::Leaf("false".into()));
    }
    node
}

/// A reference stands alone; what stood beside it is said in words, in a union of one.
fn reference(mut node: Node<'_>) -> Node<'_> {
    let mut out = Vec::new();
    for name in ["$defs", "definitions"] {
        if let Some(defs) = node.remove(name) {
            out.push((name.into(), defs));
        }
    }
    let Some(target) = node.remove("$ref") else {
        return node;
    };
    let notes: Vec<String> = node
        .members()
        .iter()
        .filter(|(name, _)| !matches!(name.as_ref(), "description" | "title" | "default" | "examples"))
        .map(|(name, value)| format!("{name}: {}", value.source()))
        .collect();
    if notes.is_empty() {
        out.push(("$ref".into(), target));
        return Node::Object(out);
    }
    let description = node.remove("description");
    let inner = Node::Object(vec![("$ref".into(), target)]);
    out.push(("anyOf".into(), Node::Array(vec![inner])));
    let mut out = Node::Object(out);
    if let Some(description) = description {
        out.set("description", description);
    }
    out.note(&format!("{{{}}}", notes.join(", ")));
    out
}

/// A type that none of the allowed values has is left out.
fn contradiction(node: &mut Node<'_>) {
    let Some(kind) = node
        .get("type")
        .and_then(Node::string)
        .map(|kind| kind.into_owned())
    else {
        return;
    };
    let values = match (node.get("enum"), node.get("const")) {
        (Some(Node::Array(list)), _) => list.clone(),
        (None, Some(value)) => vec![value.clone()],
        _ => return,
    };
    let fits = |value: &Node<'_>| match value {
        Node::Leaf(text) => match text.as_bytes().first() {
            Some(b'"') => kind == "string",
            Some(b't' | b'f') => kind == "boolean",
            Some(b'n') => kind == "null",
            _ => kind == "number" || (kind == "integer" && !text.contains(['.', 'e', 'E'])),
        },
        Node::Object(_) => kind == "object",
        Node::Array(_) => kind == "array",
    };
    if !values.is_empty() && !values.iter().all(fits) {
        node.remove("type");
    }
}

/// Does the root hold a union?
pub(super) fn has_root_union(node: &Node<'_>) -> bool {
    ["anyOf", "oneOf", "allOf"]
        .iter()
        .any(|name| node.get(name).is_some())
}

/// A union at the root of a tool's schema becomes one object with the properties of all branches.
pub(super) fn root_union(mut node: Node<'_>) -> Node<'_> {
    let Some(union) = ["anyOf", "oneOf", "allOf"]
        .into_iter()
        .find(|name| node.get(name).is_some())
    else {
        return node;
    };
    let Some(Node::Array(branches)) = node.remove(union) else {
        return node;
    };
    let mut properties = match node.remove("properties") {
        Some(Node::Object(members)) => members,
        _ => Vec::new(),
    };
    let mut names = Vec::new();
    let mut required: Option<Vec<Node<'_>>> = None;
    for branch in &branches {
        let own = branch.get("properties").map(Node::members).unwrap_or_default();
        names.push(format!(
            "{{{}}}",
            own.iter()
                .map(|(name, _)| name.as_ref())
                .collect::<Vec<_>>()
                .join(",")
        ));
        for (name, schema) in own {
            match properties.iter_mut().find(|(known, _)| known == name) {
                None => properties.push((name.clone(), schema.clone())),
                Some((_, old)) if old == schema => {}
                Some((_, old)) => {
                    *old = Node::Object(vec![(
                        "anyOf".into(),
                        Node::Array(vec![old.clone(), schema.clone()]),
                    )])
                }
            }
        }
        let wanted = match branch.get("required") {
            Some(Node::Array(list)) => list.clone(),
            _ => Vec::new(),
        };
        required = Some(match (required, union) {
            (None, _) => wanted,
            (Some(mut all), "allOf") => {
                all.extend(wanted);
                all
            }
            (Some(all), _) => all.into_iter().filter(|name| wanted.contains(name)).collect(),
        });
    }
    let mut out = Node::Object(vec![
        ("type".into(), Node::text("object")),
        ("properties".into(), Node::Object(properties)),
    ]);
    for (name, value) in node.members() {
        if name != "type"
            && let Node::Object(members) = &mut out
        {
            members.push((name.clone(), value.clone()));
        }
    }
    if let Some(required) = required.filter(|required| !required.is_empty()) {
        out.set("required", Node::Array(required));
    }
    if union != "allOf" {
        out.note(&format!("exactly one of: {}", names.join(" | ")));
    }
    out
}
