//! A schema as a small tree; leaves keep their source text.

use std::borrow::Cow;

use crate::json::{Kind, Raw, Reader, Writer};

/// A JSON value of a schema.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node<'a> {
    Object(Vec<(Cow<'a, str>, Node<'a>)>),
    Array(Vec<Node<'a>>),
    /// Strings, numbers, words: source text.
    Leaf(Cow<'a, str>),
}

impl<'a> Node<'a> {
    pub(super) fn text(text: &str) -> Node<'a> {
        let mut out = Vec::new();
        Writer::new(&mut out).str(text);
        Node::Leaf(String::from_utf8_lossy(&out).into_owned().into())
    }

    pub(super) fn get(&self, name: &str) -> Option<&Node<'a>> {
        match self {
            Node::Object(members) => members
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, value)| value),
            _ => None,
        }
    }

    pub(super) fn members(&self) -> &[(Cow<'a, str>, Node<'a>)] {
        match self {
            Node::Object(members) => members,
            _ => &[],
        }
    }

    /// The decoded string, if this is one.
    pub(super) fn string(&self) -> Option<Cow<'_, str>> {
        match self {
            Node::Leaf(text) => Raw(text).as_text().map(|text| text.decode()),
            _ => None,
        }
    }

    /// Is `type` this word?
    pub(super) fn is_type(&self, word: &str) -> bool {
        self.get("type")
            .and_then(Node::string)
            .is_some_and(|kind| kind == word)
    }

    /// How many values it holds.
    pub(super) fn count(&self) -> usize {
        match self {
            Node::Object(members) => 1 + members.iter().map(|(_, value)| value.count()).sum::<usize>(),
            Node::Array(list) => 1 + list.iter().map(Node::count).sum::<usize>(),
            Node::Leaf(_) => 1,
        }
    }

    /// Sets a member in place, or adds it at the end.
    pub(super) fn set(&mut self, name: &'static str, value: Node<'a>) {
        if let Node::Object(members) = self {
            match members.iter_mut().find(|(known, _)| known == name) {
                Some((_, old)) => *old = value,
                None => members.push((Cow::Borrowed(name), value)),
            }
        }
    }

    pub(super) fn remove(&mut self, name: &str) -> Option<Node<'a>> {
        let Node::Object(members) = self else { return None };
        let at = members.iter().position(|(known, _)| known == name)?;
        Some(members.remove(at).1)
    }

    /// Adds a note to the description.
    pub(super) fn note(&mut self, note: &str) {
        let before = self
            .get("description")
            .and_then(Node::string)
            .map(Cow::into_owned);
        let text = match before {
            Some(before) if before.contains(note) => return,
            Some(before) => format!("{before} {note}"),
            None => note.to_owned(),
        };
        self.set("description", Node::text(&text));
    }

    /// Source text, without needless blanks.
    pub(super) fn source(&self) -> String {
        let mut out = Vec::new();
        write(&mut Writer::new(&mut out), self);
        String::from_utf8_lossy(&out).into_owned()
    }
}

pub(super) fn parse(raw: Raw<'_>) -> Option<Node<'_>> {
    let mut reader = Reader::new(raw.get());
    read(&mut reader).ok()
}

fn read<'a>(reader: &mut Reader<'a>) -> Result<Node<'a>, crate::Error> {
    match reader.kind() {
        Kind::Object => {
            let mut members = Vec::new();
            reader.object(|reader, key| {
                members.push((key.clone(), read(reader)?));
                Ok(())
            })?;
            Ok(Node::Object(members))
        }
        Kind::Array => {
            let mut list = Vec::new();
            reader.array(|reader, _| {
                list.push(read(reader)?);
                Ok(())
            })?;
            Ok(Node::Array(list))
        }
        _ => Ok(Node::Leaf(reader.raw()?.get().into())),
    }
}

pub(super) fn write(w: &mut Writer<'_>, node: &Node<'_>) {
    match node {
        Node::Object(members) => w.object(|w| {
            for (name, value) in members {
                w.key(name);
                write(w, value);
            }
        }),
        Node::Array(list) => w.array(|w| {
            for value in list {
                w.item();
                write(w, value);
            }
        }),
        Node::Leaf(text) => w.raw(Raw(text)),
    }
}
