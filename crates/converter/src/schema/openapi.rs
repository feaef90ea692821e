//! Gemini's old OpenAPI field (conversion.md 11.5): models before Gemini 2. One unknown word fails the whole request there.

use super::children;
use super::gemini::{inlined, simplify};
use super::tree::Node;

/// Members of the field.
const KNOWN: &[&str] = &[
    "type",
    "format",
    "title",
    "description",
    "nullable",
    "enum",
    "items",
    "minItems",
    "maxItems",
    "properties",
    "required",
    "minProperties",
    "maxProperties",
    "minLength",
    "maxLength",
    "pattern",
    "minimum",
    "maximum",
    "anyOf",
    "default",
    "example",
    "propertyOrdering",
];

const FORMATS: &[&str] = &["enum", "date-time", "int32", "int64", "float", "double"];

pub(super) fn reduced<'a>(node: Node<'a>, lost: &mut bool) -> Node<'a> {
    let (node, cut) = inlined(node);
    *lost |= cut;
    // What is pushed into the branches of a union may itself need a change; a few rounds settle it.
    let mut node = reduce(simplify(node), lost);
    for _ in 0..4 {
        let next = reduce(node.clone(), lost);
        if next == node {
            break;
        }
        node = next;
    }
    node
}

fn reduce<'a>(node: Node<'a>, lost: &mut bool) -> Node<'a> {
    if matches!(node, Node::Leaf(_)) {
        // `true` as a schema.
        return Node::Object(vec![("type".into(), Node::text("object"))]);
    }
    let mut node = children(node, &mut |child| reduce(child, lost));
    if let Some(branches) = node.remove("oneOf") {
        node.set("anyOf", branches);
    }
    types(&mut node);
    branches(&mut node);
    words(&mut node, lost);
    lists(&mut node);
    if let Some(extra) = node.remove("additionalProperties")
        && matches!(extra, Node::Object(_))
    {
        node.note(&format!("{{additionalProperties: {}}}", extra.source()));
    }
    if let Some(format) = node.get("format").and_then(Node::string)
        && !FORMATS.contains(&format.as_ref())
    {
        node.remove("format");
    }
    if let Node::Object(members) = &mut node {
        let before = members.len();
        members.retain(|(name, _)| KNOWN.contains(&name.as_ref()) || *name == "$schema");
        *lost |= members.len() < before;
        members.retain(|(name, _)| *name != "$schema");
    }
    node
}

/// A list of types is one type, or a union; `null` is a flag.
fn types(node: &mut Node<'_>) {
    let Some(Node::Array(types)) = node.get("type").cloned() else {
        return;
    };
    let null = Node::text("null");
    if types.contains(&null) {
        node.set("nullable", Node::Leaf("true".into()));
    }
    let mut rest: Vec<Node<'_>> = types.into_iter().filter(|kind| *kind != null).collect();
    match (rest.pop(), rest.is_empty()) {
        (Some(only), true) => node.set("type", only),
        (Some(last), false) => {
            rest.push(last);
            node.remove("type");
            let branches = rest
                .into_iter()
                .map(|kind| Node::Object(vec![("type".into(), kind)]));
            node.set("anyOf", Node::Array(branches.collect()));
        }
        (None, _) => {
            node.set("type", Node::text("string"));
        }
    }
}

/// A union has no siblings: a branch of `null` is a flag, title and description go into the branches (litellm#11164).
fn branches(node: &mut Node<'_>) {
    let Some(Node::Array(list)) = node.remove("anyOf") else {
        return;
    };
    // A union inside a union is one union.
    let list = list
        .into_iter()
        .flat_map(|mut branch| match branch.remove("anyOf") {
            Some(Node::Array(inner)) => inner,
            _ => vec![branch],
        });
    let (nulls, mut list): (Vec<_>, Vec<_>) = list.partition(|branch| branch.is_type("null"));
    let nullable = !nulls.is_empty() || node.get("nullable").is_some();
    let words: Vec<_> = ["title", "description"]
        .into_iter()
        .filter_map(|name| Some((name, node.get(name)?.clone())))
        .collect();
    let siblings = node.members().to_vec();
    for branch in &mut list {
        for (name, word) in &words {
            if branch.get(name).is_none() {
                branch.set(name, word.clone());
            }
        }
        // What constrained the union constrains each branch.
        for (name, value) in &siblings {
            let known = matches!(name.as_ref(), "title" | "description" | "nullable");
            if !known
                && branch.get(name).is_none()
                && let Node::Object(members) = branch
            {
                members.push((name.clone(), value.clone()));
            }
        }
        if nullable {
            branch.set("nullable", Node::Leaf("true".into()));
        }
    }
    *node = match (list.pop(), list.is_empty()) {
        (Some(only), true) => only,
        (Some(last), false) => {
            list.push(last);
            Node::Object(vec![("anyOf".into(), Node::Array(list))])
        }
        (None, _) => Node::Object(vec![
            ("type".into(), Node::text("string")),
            ("nullable".into(), Node::Leaf("true".into())),
        ]),
    };
}

/// Only strings have enums, and none of them is empty.
fn words(node: &mut Node<'_>, lost: &mut bool) {
    let Some(Node::Array(values)) = node.get("enum").cloned() else {
        return;
    };
    let all = values.len();
    let kept: Vec<Node<'_>> = values
        .into_iter()
        .filter(|value| value.string().is_some_and(|word| !word.is_empty()))
        .collect();
    *lost |= kept.len() < all;
    if kept.is_empty() {
        node.remove("enum");
        return;
    }
    if node.get("type").is_none() {
        node.set("type", Node::text("string"));
    }
    node.set("enum", Node::Array(kept));
}

/// A list says what is in it; a tuple is a list of any of its members.
fn lists(node: &mut Node<'_>) {
    let tuple = match (node.remove("prefixItems"), node.get("items").cloned()) {
        (Some(Node::Array(list)), _) | (None, Some(Node::Array(list))) => Some(list),
        _ => None,
    };
    if let Some(mut list) = tuple {
        list.dedup();
        let items = match (list.pop(), list.is_empty()) {
            (Some(only), true) => only,
            (Some(last), false) => {
                list.push(last);
                Node::Object(vec![("anyOf".into(), Node::Array(list))])
            }
            (None, _) => Node::Object(vec![("type".into(), Node::text("string"))]),
        };
        node.set("items", items);
    }
    if node.is_type("array") && node.get("items").is_none() {
        node.set("items", Node::Object(vec![("type".into(), Node::text("string"))]));
    }
}
