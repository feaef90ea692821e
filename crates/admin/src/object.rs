//! A JSON object whose members keep their order and their text: definitions are stored as they were written, and the order of
//! `models` and `aliases` means something.

use std::fmt;

use serde::de::{DeserializeOwned, Deserializer, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::refusal::Refusal;

/// Members of a JSON object, in their order.
#[derive(Debug, Default)]
pub(crate) struct Object(Vec<(String, Box<RawValue>)>);

impl Object {
    /// Reads a JSON text; a member given twice is an error.
    pub(crate) fn read(text: &[u8]) -> Result<Self, Refusal> {
        // A tree of it first: that bounds its depth, and two members of one name are seen by whoever reads the part.
        let refused = |error: serde_json::Error| {
            let (line, column) = (error.line(), error.column());
            let why = match error.classify() {
                // The visitor's own texts; serde's repeat values.
                serde_json::error::Category::Data => "it is not an object, or a member stands in it twice",
                _ => "it is not JSON, or nested too deeply",
            };
            Refusal::invalid(format!(
                "the body cannot be read at line {line}, column {column}: {why}"
            ))
            .help("send one JSON object")
        };
        serde_json::from_slice::<serde_json::Value>(text).map_err(refused)?;
        serde_json::from_slice(text).map_err(refused)
    }

    /// Takes a member out.
    pub(crate) fn remove(&mut self, name: &str) -> Option<Box<RawValue>> {
        let at = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.remove(at).1)
    }

    /// Names of its members.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// A member, read. Errors name it and never repeat its value.
    pub(crate) fn member<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Refusal> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| read_member(name, value)).transpose()
    }

    /// As JSON text.
    pub(crate) fn text(&self) -> String {
        let mut text = String::from("{");
        for (at, (name, value)) in self.0.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            // A text is always JSON.
            let name = serde_json::to_string(name).unwrap_or_default();
            text.push_str(comma);
            text.push_str(&name);
            text.push(':');
            text.push_str(value.get());
        }
        text.push('}');
        text
    }
}

/// Reads the value of a member. Errors name the member and never repeat its value.
pub(crate) fn read_member<T: DeserializeOwned>(name: &str, value: &RawValue) -> Result<T, Refusal> {
    let mut reader = serde_json::Deserializer::from_str(value.get());
    serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = match error.path().to_string().as_str() {
            "." => name.to_owned(),
            inner => format!("{name}.{inner}"),
        };
        wrong(&path, error.inner())
    })
}

/// What serde says, without the value it found.
pub(crate) fn wrong(path: &str, error: &serde_json::Error) -> Refusal {
    let text = error.to_string();
    let known = ["missing field ", "unknown field ", "duplicate field "];
    if known.iter().any(|start| text.starts_with(start)) {
        // These name members only.
        let text = text
            .rsplit_once(" at line ")
            .map_or(text.as_str(), |(head, _)| head);
        return Refusal::invalid(text);
    }
    let expected = text
        .rsplit_once("expected ")
        .map_or("another type of value", |(_, rest)| rest);
    let expected = expected
        .rsplit_once(" at line ")
        .map_or(expected, |(head, _)| head);
    Refusal::invalid(format!("`{path}`: expected {expected}"))
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut members: Vec<(String, Box<RawValue>)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    if members.iter().any(|(known, _)| *known == name) {
                        return Err(A::Error::custom("a member stands in it twice"));
                    }
                    members.push((name, value));
                }
                Ok(Object(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// A raw JSON text as a value of an answer.
pub(crate) fn raw(text: &str) -> Option<Box<RawValue>> {
    RawValue::from_string(text.to_owned()).ok()
}

/// JSON text of a value that cannot fail to be JSON.
pub(crate) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_order_and_their_text() {
        let text = br#"{"z":1.50,"models":{"b":"x","a":"y"},"a":"\u00e9"}"#;
        let mut object = Object::read(text).unwrap();
        assert_eq!(object.text().as_bytes(), text);
        assert_eq!(object.remove("models").unwrap().get(), r#"{"b":"x","a":"y"}"#);
        assert_eq!(object.text(), r#"{"z":1.50,"a":"\u00e9"}"#);
    }

    #[test]
    fn what_is_no_object_or_has_a_member_twice_is_refused() {
        for text in ["[1]", "\"sk-secret\"", "{", "", r#"{"a":1,"a":"sk-secret"}"#] {
            let refusal = format!("{:?}", Object::read(text.as_bytes()).unwrap_err());
            assert!(!refusal.contains("sk-secret"), "{refusal}");
        }
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(500), "]".repeat(500));
        assert!(Object::read(deep.as_bytes()).is_err());
    }

    #[test]
    fn errors_name_the_member_and_not_its_value() {
        let object = Object::read(br#"{"keys":["a",{"sk-secret":"sk-secret"}],"n":"sk-secret"}"#).unwrap();
        let error = format!("{:?}", object.member::<Vec<String>>("keys").unwrap_err());
        assert!(
            error.contains("`keys.[1]`: expected a string") && !error.contains("sk-secret"),
            "{error}"
        );
        let error = format!("{:?}", object.member::<u32>("n").unwrap_err());
        assert!(
            error.contains("`n`: expected u32") && !error.contains("sk-secret"),
            "{error}"
        );
    }
}
