//! What Gemini takes (conversion.md 11.4): the JSON Schema fields of Gemini 2 and later.

use std::borrow::Cow;

use super::children;
use super::tree::Node;

/// References are followed this deep.
const MAX_DEPTH: usize = 32;
/// Nodes that a small schema may grow to by inlining; larger ones may grow fourfold.
const MIN_NODES: usize = 400;

/// Resolves local references; what is cyclic or too much becomes an open node of the same type.
struct Inliner<'r, 'a> {
    root: &'r Node<'a>,
    open: Vec<String>,
    nodes: usize,
    most: usize,
    lost: bool,
}

impl<'a> Inliner<'_, 'a> {
    fn resolve(&mut self, node: Node<'a>) -> Node<'a> {
        self.nodes += 1;
        let Some(reference) = node.get("$ref").and_then(Node::string).map(Cow::into_owned) else {
            let mut cyclic = Vec::new();
            let node = properties(node, &mut |name, child| {
                let before = self.lost;
                self.lost = false;
                let child = self.resolve(child);
                if self.lost {
                    cyclic.push(name.to_owned());
                }
                self.lost |= before;
                child
            });
            let node = without_required(node, &cyclic);
            return children(node, &mut |child| self.resolve_other(child));
        };
        let target = lookup(self.root, &reference);
        let fits = self.open.len() < MAX_DEPTH && self.nodes < self.most && !self.open.contains(&reference);
        let mut out = match target {
            Some(target) if fits => {
                self.open.push(reference);
                let out = self.resolve(target.clone());
                self.open.pop();
                out
            }
            other => {
                self.lost = true;
                stub(other)
            }
        };
        beside(&mut out, &node);
        out
    }

    /// Properties were resolved already, one by one.
    fn resolve_other(&mut self, child: Node<'a>) -> Node<'a> {
        if has_reference(&child) {
            self.resolve(child)
        } else {
            child
        }
    }
}

/// What stands for a reference that is not followed.
fn stub<'a>(target: Option<&Node<'a>>) -> Node<'a> {
    match target.and_then(|target| target.get("type")) {
        Some(kind) => Node::Object(vec![("type".into(), kind.clone())]),
        None => Node::Object(vec![("type".into(), Node::text("object"))]),
    }
}

/// Siblings of a reference: words stay, constraints become a note (conversion.md 11.4).
fn beside<'a>(out: &mut Node<'a>, reference: &Node<'a>) {
    for (name, value) in reference.members() {
        match name.as_ref() {
            "$ref" | "$defs" | "definitions" => {}
            "description" | "default" | "title" => {
                if let Node::Object(members) = out {
                    members.retain(|(known, _)| known != name);
                    members.push((name.clone(), value.clone()));
                }
            }
            _ => out.note(&format!("{{{name}: {}}}", value.source())),
        }
    }
}

fn properties<'a>(mut node: Node<'a>, change: &mut dyn FnMut(&str, Node<'a>) -> Node<'a>) -> Node<'a> {
    if let Node::Object(members) = &mut node
        && let Some((_, Node::Object(list))) = members.iter_mut().find(|(name, _)| name == "properties")
    {
        let before = std::mem::take(list);
        *list = before
            .into_iter()
            .map(|(name, child)| {
                let child = change(&name, child);
                (name, child)
            })
            .collect();
    }
    node
}

/// A property that could go round in circles may be left out.
fn without_required<'a>(mut node: Node<'a>, names: &[String]) -> Node<'a> {
    if names.is_empty() {
        return node;
    }
    if let Some(Node::Array(list)) = node.get("required").cloned() {
        let kept: Vec<Node<'a>> = list
            .into_iter()
            .filter(|name| {
                !name
                    .string()
                    .is_some_and(|name| names.iter().any(|known| *known == name))
            })
            .collect();
        if kept.is_empty() {
            node.remove("required");
        } else {
            node.set("required", Node::Array(kept));
        }
    }
    node
}

/// The node that `#/a/b` points to, or the one with that `$anchor`.
fn lookup<'n, 'a>(root: &'n Node<'a>, reference: &str) -> Option<&'n Node<'a>> {
    let path = reference.strip_prefix('#')?;
    let mut at = root;
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        let name = segment.replace("~1", "/").replace("~0", "~");
        at = match at {
            Node::Array(list) => list.get(name.parse::<usize>().ok()?)?,
            node => node.get(&name)?,
        };
    }
    Some(at)
}

/// The schema without references. True in the second place if one could not be followed to its end.
pub(super) fn inlined(node: Node<'_>) -> (Node<'_>, bool) {
    if !has_reference(&node) {
        return (node, false);
    }
    let root = node.clone();
    let mut without = node;
    without.remove("$defs");
    without.remove("definitions");
    let mut inliner = Inliner {
        root: &root,
        open: vec!["#".to_owned()],
        nodes: 0,
        most: (4 * root.count()).clamp(MIN_NODES, 40_000),
        lost: false,
    };
    let out = inliner.resolve(without);
    (out, inliner.lost)
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

/// The JSON Schema field of Gemini 2 and later.
pub(super) fn json<'a>(node: Node<'a>, lost: &mut bool) -> Node<'a> {
    let (node, cut) = inlined(node);
    *lost |= cut;
    simplify(node)
}

/// The same for an answer, whose members keep their order.
pub(super) fn output<'a>(node: Node<'a>, lost: &mut bool) -> Node<'a> {
    ordered(json(node, lost))
}

fn ordered(node: Node<'_>) -> Node<'_> {
    let mut node = children(node, &mut ordered);
    let names = match node.get("properties") {
        Some(Node::Object(members)) if !members.is_empty() => {
            members.iter().map(|(name, _)| Node::text(name)).collect()
        }
        _ => return node,
    };
    if node.get("propertyOrdering").is_none() {
        node.set("propertyOrdering", Node::Array(names));
    }
    node
}

pub(super) fn simplify(node: Node<'_>) -> Node<'_> {
    let mut node = children(node, &mut simplify);
    if let Some(value) = node.remove("const") {
        node.set("enum", Node::Array(vec![value]));
    }
    bound(&mut node, "exclusiveMinimum", "minimum", 1);
    bound(&mut node, "exclusiveMaximum", "maximum", -1);
    let node = single(node, "anyOf");
    let mut node = single(node, "allOf");
    match node.remove("allOf") {
        Some(Node::Array(branches)) => merge(node, branches),
        _ => node,
    }
}

/// A list of one branch is that branch.
fn single<'a>(mut node: Node<'a>, name: &str) -> Node<'a> {
    match node.get(name) {
        Some(Node::Array(list)) if list.len() == 1 => {}
        _ => return node,
    }
    match node.remove(name) {
        Some(Node::Array(branches)) => merge(node, branches),
        _ => node,
    }
}

/// An exclusive bound of an integer is the next integer; of a number it stays as a bound, with a note.
fn bound(node: &mut Node<'_>, exclusive: &str, inclusive: &'static str, step: i64) {
    let Some(value) = node.remove(exclusive) else {
        return;
    };
    let Node::Leaf(text) = &value else { return };
    match text
        .parse::<i64>()
        .ok()
        .and_then(|number| number.checked_add(step))
    {
        Some(number) if node.is_type("integer") => {
            // The tighter of two bounds holds.
            let other = match node.get(inclusive) {
                Some(Node::Leaf(old)) => old.parse::<i64>().ok(),
                _ => None,
            };
            let number = match other {
                Some(old) if step > 0 => number.max(old),
                Some(old) => number.min(old),
                None => number,
            };
            node.set(inclusive, Node::Leaf(number.to_string().into()));
        }
        _ => {
            node.note(&format!("{{{exclusive}: {text}}}"));
            if matches!(text.as_bytes().first(), Some(b'-' | b'0'..=b'9')) && node.get(inclusive).is_none() {
                node.set(inclusive, Node::Leaf(text.clone().into_owned().into()));
            }
        }
    }
}

/// Properties and required lists united; the first of equal members wins.
fn merge<'a>(mut node: Node<'a>, branches: Vec<Node<'a>>) -> Node<'a> {
    for branch in branches {
        let Node::Object(members) = branch else { continue };
        for (name, value) in members {
            match (name.as_ref(), value) {
                ("properties", Node::Object(more)) => {
                    let mut own = match node.get("properties") {
                        Some(Node::Object(own)) => own.clone(),
                        _ => Vec::new(),
                    };
                    let new: Vec<_> = more
                        .into_iter()
                        .filter(|(name, _)| !own.iter().any(|(known, _)| known == name))
                        .collect();
                    own.extend(new);
                    node.set("properties", Node::Object(own));
                }
                ("required", Node::Array(more)) => {
                    let mut own = match node.get("required") {
                        Some(Node::Array(own)) => own.clone(),
                        _ => Vec::new(),
                    };
                    for name in more {
                        if !own.contains(&name) {
                            own.push(name);
                        }
                    }
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
