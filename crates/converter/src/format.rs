//! The four wire formats and their dialects.

use std::fmt;
use std::str::FromStr;

/// One of the four wire formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Format {
    /// OpenAI Chat Completions, `POST /v1/chat/completions`.
    Chat,
    /// OpenAI Responses, `POST /v1/responses`.
    Responses,
    /// Anthropic Messages, `POST /v1/messages`.
    Messages,
    /// Google Gemini `generateContent` and `streamGenerateContent`.
    Gemini,
}

impl Format {
    /// All formats, in the order of the documentation.
    pub const ALL: [Format; 4] = [Format::Chat, Format::Responses, Format::Messages, Format::Gemini];

    /// The name used in configuration, metrics and headers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Chat => "chat",
            Format::Responses => "responses",
            Format::Messages => "messages",
            Format::Gemini => "gemini",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownFormat;

impl fmt::Display for UnknownFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unknown format; the formats are chat, responses, messages, gemini")
    }
}

impl std::error::Error for UnknownFormat {}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        match text {
            "chat" | "openai" | "openai-chat" => Ok(Format::Chat),
            "responses" | "openai-responses" => Ok(Format::Responses),
            "messages" | "anthropic" => Ok(Format::Messages),
            "gemini" | "google" => Ok(Format::Gemini),
            _ => Err(UnknownFormat),
        }
    }
}

/// A named variation of a format: what an upstream that speaks the format does differently (conversion.md 3.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Dialect {
    /// The vendor's own API: OpenAI, Anthropic (`2023-06-01`), Gemini API.
    #[default]
    Native,
    /// A generic OpenAI-compatible server: `max_tokens`, `system` role, plain string contents.
    Compat,
    /// DeepSeek: `reasoning_content` must come back with tool calls.
    DeepSeek,
    /// OpenRouter: `reasoning` object, `reasoning_details`.
    OpenRouter,
    /// Google's OpenAI-compatible surface: `extra_content.google.thought_signature`.
    GoogleCompat,
    /// Anthropic with `anthropic-version: 2026-10-21`.
    Anthropic20261021,
    /// An Anthropic-compatible server of another vendor.
    AnthropicCompat,
    /// Gemini on Vertex AI.
    Vertex,
}

impl Dialect {
    /// True for the OpenAI-format dialects that know only the common subset of Chat Completions.
    #[must_use]
    pub fn is_compat(self) -> bool {
        matches!(
            self,
            Dialect::Compat | Dialect::DeepSeek | Dialect::OpenRouter | Dialect::GoogleCompat
        )
    }
}
