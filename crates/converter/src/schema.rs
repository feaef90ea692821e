//! JSON Schema profiles: what each vendor takes of a schema (conversion.md section 11).
//!
//! A schema is read into a small tree whose leaves keep their source text; only nodes that a profile changes are written anew.

mod anthropic;
mod gemini;
mod openai;
mod openapi;
mod tree;

use std::borrow::Cow;

use crate::json::{Raw, Writer};
use tree::Node;

/// Whose rules a schema must keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Anthropic's `output_config.format` and strict tools (11.3).
    AnthropicOutput,
    /// Anthropic's tool `input_schema`: only root unions are rewritten (11.6).
    AnthropicTool,
    /// Gemini 2.0 and later: `parametersJsonSchema` (11.4).
    GeminiJson,
    /// Gemini 2.0 and later: `responseJsonSchema`, whose members are put in order (11.4).
    GeminiOutput,
    /// Gemini before 2.0 (11.5).
    GeminiOpenApi,
    /// From Gemini's OpenAPI form to JSON Schema: lower-case types, `nullable` (11.1).
    FromOpenApi,
    /// Parameters for OpenAI: an object root is made sure of, nothing else (8.1).
    Parameters,
}

/// A schema as the vendor takes it. Unchanged schemas keep their bytes. True in the second place if something was lost.
#[must_use]
pub fn rewrite(schema: Raw<'_>, profile: Profile) -> (Cow<'_, str>, bool) {
    let Some(node) = tree::parse(schema) else {
        return (Cow::Borrowed(schema.get()), false);
    };
    let mut lost = false;
    let rewritten = match profile {
        Profile::Parameters => openai::object_root(node.clone()),
        Profile::FromOpenApi => openai::from_openapi(node.clone()),
        Profile::AnthropicTool => {
            lost = anthropic::has_root_union(&node);
            anthropic::root_union(openai::object_root(node.clone()))
        }
        Profile::AnthropicOutput => anthropic::output(node.clone()),
        Profile::GeminiJson => gemini::json(node.clone(), &mut lost),
        Profile::GeminiOutput => gemini::output(node.clone(), &mut lost),
        Profile::GeminiOpenApi => openapi::reduced(node.clone(), &mut lost),
    };
    if rewritten == node {
        return (Cow::Borrowed(schema.get()), false);
    }
    let mut out = Vec::with_capacity(schema.get().len() + 64);
    tree::write(&mut Writer::new(&mut out), &rewritten);
    (Cow::Owned(String::from_utf8_lossy(&out).into_owned()), lost)
}

/// True if OpenAI accepts the schema with `strict: true` (11.2).
#[must_use]
pub fn is_openai_strict(schema: Raw<'_>) -> bool {
    tree::parse(schema).is_some_and(|node| openai::is_strict(&node, true))
}

/// Keywords whose value is a schema, a list of schemas, or a mapping of schemas.
const SINGLE: &[&str] = &[
    "items",
    "additionalProperties",
    "not",
    "contains",
    "if",
    "then",
    "else",
    "propertyNames",
];
const LISTS: &[&str] = &["anyOf", "oneOf", "allOf", "prefixItems"];
const MAPS: &[&str] = &["properties", "$defs", "definitions", "patternProperties"];

/// Applies `change` to every schema directly inside a schema.
fn children<'a>(node: Node<'a>, change: &mut dyn FnMut(Node<'a>) -> Node<'a>) -> Node<'a> {
    let Node::Object(members) = node else { return node };
    let members = members.into_iter().map(|(name, value)| {
        let value = match value {
            value @ Node::Object(_) if SINGLE.contains(&name.as_ref()) => change(value),
            Node::Array(list) if LISTS.contains(&name.as_ref()) => {
                Node::Array(list.into_iter().map(&mut *change).collect())
            }
            Node::Object(map) if MAPS.contains(&name.as_ref()) => Node::Object(
                map.into_iter()
                    .map(|(name, value)| (name, change(value)))
                    .collect(),
            ),
            other => other,
        };
        (name, value)
    });
    Node::Object(members.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(profile: Profile, schema: &'static str, wanted: &str) {
        let (out, _) = rewrite(Raw::of_const(schema), profile);
        assert_eq!(out, wanted, "{profile:?} {schema}");
        let again = Box::leak(out.into_owned().into_boxed_str());
        assert_eq!(
            rewrite(Raw::of_const(again), profile).0,
            wanted,
            "{profile:?} is not idempotent"
        );
    }

    #[test]
    fn unchanged_schemas_keep_their_bytes() {
        let schema = r#"{ "type" : "object", "properties": {"a": {"type":"number","minimum": 1.10}} }"#;
        check(Profile::Parameters, schema, schema);
        check(Profile::AnthropicTool, schema, schema);
        check(
            Profile::Parameters,
            r#"{"properties":{}}"#,
            r#"{"type":"object","properties":{}}"#,
        );
    }

    #[test]
    fn anthropic_output_closes_objects_and_moves_constraints_into_the_description() {
        check(
            Profile::AnthropicOutput,
            r#"{"type":"object","properties":{"a":{"type":"string","minLength":3,"description":"x"}},"required":["a"]}"#,
            r#"{"type":"object","properties":{"a":{"type":"string","description":"x {minLength: 3}"}},"required":["a"],"additionalProperties":false}"#,
        );
        check(
            Profile::AnthropicOutput,
            r#"{"oneOf":[{"type":"string","format":"uri"},{"type":"array","minItems":3}]}"#,
            r#"{"anyOf":[{"type":"string","format":"uri"},{"type":"array","description":"{minItems: 3}"}]}"#,
        );
    }

    #[test]
    fn root_unions_become_one_object_for_anthropic_tools() {
        check(
            Profile::AnthropicTool,
            r#"{"anyOf":[{"type":"object","properties":{"a":{"type":"string"}},"required":["a"]},{"type":"object","properties":{"b":{"type":"string"}}}]}"#,
            r#"{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"string"}},"description":"exactly one of: {a} | {b}"}"#,
        );
    }

    #[test]
    fn gemini_gets_references_inlined_and_bounds_folded() {
        check(
            Profile::GeminiJson,
            r##"{"type":"object","properties":{"a":{"$ref":"#/$defs/A"},"n":{"type":"integer","exclusiveMinimum":0},"c":{"const":"x"}},"$defs":{"A":{"type":"string"}}}"##,
            r#"{"type":"object","properties":{"a":{"type":"string"},"n":{"type":"integer","minimum":1},"c":{"enum":["x"]}}}"#,
        );
        check(
            Profile::GeminiOpenApi,
            r#"{"type":"object","properties":{"a":{"type":["string","null"],"pattern":"x","default":"y","examples":[1]}},"additionalProperties":false}"#,
            r#"{"type":"object","properties":{"a":{"type":"string","pattern":"x","default":"y","nullable":true}}}"#,
        );
    }

    #[test]
    fn recursive_schemas_end() {
        let schema = r##"{"type":"object","properties":{"child":{"$ref":"#"},"name":{"type":"string"}}}"##;
        for profile in [Profile::GeminiJson, Profile::GeminiOutput, Profile::GeminiOpenApi] {
            assert!(rewrite(Raw::of_const(schema), profile).0.len() <= 4 * schema.len());
        }
        let bomb = r##"{"$defs":{"a":{"properties":{"x":{"$ref":"#/$defs/b"},"y":{"$ref":"#/$defs/b"}}},"b":{"properties":{"x":{"$ref":"#/$defs/a"},"y":{"$ref":"#/$defs/a"}}}},"$ref":"#/$defs/a"}"##;
        assert!(rewrite(Raw::of_const(bomb), Profile::GeminiJson).0.len() < (1 << 20));
    }

    #[test]
    fn openapi_schemas_become_json_schema_and_strictness_is_judged() {
        check(
            Profile::FromOpenApi,
            r#"{"type":"OBJECT","properties":{"a":{"type":"STRING","nullable":true}}}"#,
            r#"{"type":"object","properties":{"a":{"type":["string","null"]}}}"#,
        );
        let strict = r#"{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}"#;
        assert!(is_openai_strict(Raw::of_const(strict)));
        assert!(!is_openai_strict(Raw::of_const(
            r#"{"type":"object","properties":{"a":{"type":"string"}},"additionalProperties":false}"#
        )));
    }
}
