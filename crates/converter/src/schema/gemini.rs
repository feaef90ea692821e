//! What Gemini takes (conversion.md 11.4, 11.5).

use super::children;
use super::tree::Node;

/// References are followed this deep.
const MAX_DEPTH: usize = 12;
/// Nodes that one schema may grow to by inlining.
const MAX_NODES: usize = 4_000;

/// Resolves local references; what is cyclic or too much becomes an open object.
struct Inliner<'r, 'a> {
    root: &'r Node<'a>,
    nodes: usize,
    lost: bool,
}

impl<'a> Inliner<'_, 'a> {
    fn resolve(&mut self, node: Node<'a>, depth: usize) -> Node<'a> {
        self.nodes += 1;
        let Some(reference) = node
            .get("$ref")
            .and_then(Node::string)
            .map(|text| text.into_owned())
        else {
            return children(node, &mut |child| self.resolve(child, depth));
        };
        let found = lookup(self.root, &reference).cloned();
        let Some(target) = found.filter(|_| depth < MAX_DEPTH && self.nodes < MAX_NODES) else {
            self.lost = true;
            return Node::Object(vec![("type".into(), Node::text("object"))]);
        };
        let mut target = self.resolve(target, depth + 1);
        for (name, value) in node.members() {
            if matches!(name.as_ref(), "description" | "default" | "title")
                && target.get(name).is_none()
                && let Node::Object(members) = &mut target
            {
                members.push((name.clone(), value.clone()));
            }
        }
        target
    }
}

/// The node that `#/a/b` points to.
fn lookup<'n, 'a>(root: &'n Node<'a>, reference: &str) -> Option<&'n Node<'a>> {
    let path = reference.strip_prefix('#')?;
    let mut at = root;
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        at = at.get(&segment.replace("~1", "/").replace("~0", "~"))?;
    }
    Some(at)
}

fn inlined<'a>(node: Node<'a>, lost: &mut bool) -> Node<'a> {
    let root = node.clone();
    let mut without = node;
    without.remove("$defs");
    without.remove("definitions");
    let mut inliner = Inliner {
        root: &root,
        nodes: 0,
        lost: false,
    };
    let out = inliner.resolve(without, 0);
    *lost |= inliner.lost;
    out
}

/// The JSON Schema field of Gemini 2 and later.
pub(super) fn json<'a>(node: Node<'a>, lost: &mut bool) -> Node<'a> {
    let node = if has_reference(&node) {
        inlined(node, lost)
    } else {
        node
    };
    simplify(node)
}

fn has_reference(node: &Node<'_>) -> bool {
    match node {
        Node::Object(members) => members
            .iter()
            .any(|(name, value)| name == "$ref" || has_reference(value)),
        Node::Array(list) => list.iter().any(has_reference),
        Node::Leaf(_) => false,
    }
}

fn simplify(node: Node<'_>) -> Node<'_> {
    let mut node = children(node, &mut simplify);
    if let Some(value) = node.remove("const") {
        node.set("enum", Node::Array(vec![value]));
    }
    bound(&mut node, "exclusiveMinimum", "minimum", 1);
    bound(&mut node, "exclusiveMaximum", "maximum", -1);
    match node.remove("allOf") {
        Some(Node::Array(branches)) => merge(node, branches),
        _ => node,
    }
}

/// An exclusive bound of an integer is the next integer; of a number it becomes a note.
fn bound(node: &mut Node<'_>, exclusive: &str, inclusive: &'static str, step: i64) {
    let Some(value) = node.remove(exclusive) else {
        return;
    };
    let Node::Leaf(text) = &value else { return };
    match text.parse::<i64>() {
        Ok(number) if node.is_type("integer") => {
            node.set(inclusive, Node::Leaf((number + step).to_string().into()))
        }
        _ => node.note(&format!("{{{exclusive}: {text}}}")),
    }
}

/// Properties and required lists united; the first of equal members wins.
fn merge<'a>(mut node: Node<'a>, branches: Vec<Node<'a>>) -> Node<'a> {
    for branch in branches {
        let Node::Object(members) = branch else { continue };
        for (name, value) in members {
            match (name.as_ref(), value) {
                ("properties", Node::Object(more)) => {
                    let mut own = match node.remove("properties") {
                        Some(Node::Object(own)) => own,
                        _ => Vec::new(),
                    };
                    own.extend(
                        more.into_iter()
                            .filter(|(name, _)| !own.iter().any(|(known, _)| known == name))
                            .collect::<Vec<_>>(),
                    );
                    node.set("properties", Node::Object(own));
                }
                ("required", Node::Array(more)) => {
                    let mut own = match node.remove("required") {
                        Some(Node::Array(own)) => own,
                        _ => Vec::new(),
                    };
                    own.extend(more);
                    own.dedup();
                    node.set("required", Node::Array(own));
                }
                (_, value) => {
                    if node.get(&name).is_none()
                        && let Node::Object(members) = &mut node
                    {
                        members.push((name, value));
                    }
                }
            }
        }
    }
    node
}

/// Members of the old OpenAPI field; one unknown word fails the whole request there.
const OPENAPI: &[&str] = &[
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

/// The OpenAPI field of models before Gemini 2.
pub(super) fn openapi<'a>(node: Node<'a>, lost: &mut bool) -> Node<'a> {
    let node = simplify(inlined(node, lost));
    reduce(node, lost)
}

fn reduce<'a>(node: Node<'a>, lost: &mut bool) -> Node<'a> {
    let mut node = children(node, &mut |child| reduce(child, lost));
    if let Some(branches) = node.remove("oneOf") {
        node.set("anyOf", branches);
    }
    if let Some(Node::Array(types)) = node.get("type").cloned() {
        let null = Node::text("null");
        if types.contains(&null) {
            node.set("nullable", Node::Leaf("true".into()));
        }
        let mut rest: Vec<Node<'a>> = types.into_iter().filter(|kind| *kind != null).collect();
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
            (None, _) => {}
        }
    }
    if let Node::Object(members) = &mut node {
        let before = members.len();
        members.retain(|(name, _)| OPENAPI.contains(&name.as_ref()));
        *lost |= members.len() < before;
    }
    node
}
