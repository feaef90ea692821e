//! Wire types of Responses requests. What the IR cannot hold stays in `extra`.

use std::borrow::Cow;

use super::{Content, Count, object};
use crate::json::{Raw, Text};
use crate::wire::chat::CacheBreakpoint;

object! {
    /// `POST /v1/responses`.
    pub struct Request {
        /// Model.
        model: Cow<'a, str> = "model",
        /// Conversation: a string or items.
        input: Content<'a, Item<'a>> = "input",
        /// System text.
        instructions: Text<'a> = "instructions",
        /// Output limit.
        max_output_tokens: Count = "max_output_tokens",
        /// Sampling.
        temperature: Raw<'a> = "temperature",
        /// Sampling.
        top_p: Raw<'a> = "top_p",
        /// Log probabilities.
        top_logprobs: Count = "top_logprobs",
        /// Tools.
        tools: Vec<Raw<'a>> = "tools",
        /// Choice.
        tool_choice: Raw<'a> = "tool_choice",
        /// Parallel calls.
        parallel_tool_calls: bool = "parallel_tool_calls",
        /// Reasoning.
        reasoning: Reasoning<'a> = "reasoning",
        /// Format and verbosity.
        text: TextConfig<'a> = "text",
        /// What to add to the answer.
        include: Vec<Cow<'a, str>> = "include",
        /// Metadata.
        metadata: Raw<'a> = "metadata",
        /// End user.
        user: Text<'a> = "user",
        /// End user.
        safety_identifier: Text<'a> = "safety_identifier",
        /// Cache key.
        prompt_cache_key: Text<'a> = "prompt_cache_key",
        /// Tier.
        service_tier: Cow<'a, str> = "service_tier",
        /// Keep the answer.
        store: bool = "store",
        /// Stream.
        stream: bool = "stream",
        /// Stream options.
        stream_options: Raw<'a> = "stream_options",
        /// Most calls of hosted tools.
        max_tool_calls: Count = "max_tool_calls",
        /// Caching mode.
        prompt_cache_options: Raw<'a> = "prompt_cache_options",
        /// auto or disabled.
        truncation: Cow<'a, str> = "truncation",
        /// Answer later.
        background: bool = "background",
    }

    /// `reasoning`.
    pub struct Reasoning {
        /// Level.
        effort: Cow<'a, str> = "effort",
        /// Show a summary.
        summary: Cow<'a, str> = "summary" | "generate_summary",
        /// Which reasoning of the history is read.
        context: Raw<'a> = "context",
        /// standard or pro.
        mode: Raw<'a> = "mode",
    }

    /// `text`.
    pub struct TextConfig {
        /// Structured output.
        format: TextFormat<'a> = "format",
        /// Verbosity.
        verbosity: Text<'a> = "verbosity",
    }

    /// `text.format`.
    pub struct TextFormat {
        /// text, json_object, json_schema.
        kind: Cow<'a, str> = "type",
        /// Name.
        name: Text<'a> = "name",
        /// Description.
        description: Text<'a> = "description",
        /// Schema.
        schema: Raw<'a> = "schema",
        /// Strict.
        strict: bool = "strict",
    }

    /// One input item; all kinds in one.
    pub struct Item {
        /// Its type; messages may leave it out.
        kind: Cow<'a, str> = "type",
        /// Message role.
        role: Cow<'a, str> = "role",
        /// Message content, or reasoning text.
        content: Content<'a, Part<'a>> = "content",
        /// Item id.
        id: Cow<'a, str> = "id",
        /// Call id.
        call_id: Cow<'a, str> = "call_id",
        /// Tool name.
        name: Cow<'a, str> = "name",
        /// Namespace.
        namespace: Cow<'a, str> = "namespace",
        /// Arguments.
        arguments: Raw<'a> = "arguments",
        /// Custom tool input.
        input: Raw<'a> = "input",
        /// Result; an object for computer calls.
        output: Raw<'a> = "output",
        /// What a vendor-trained tool is to do.
        action: Raw<'a> = "action" | "operation",
        /// What a computer is to do, several steps.
        actions: Raw<'a> = "actions",
        /// How a call or a patch ended.
        status: Cow<'a, str> = "status",
        /// Added or found tools.
        tools: Vec<Raw<'a>> = "tools",
        /// Changed reasoning controls.
        reasoning: Raw<'a> = "reasoning",
        /// Changed format.
        text: Raw<'a> = "text",
        /// Reasoning summary.
        summary: Vec<Part<'a>> = "summary",
        /// Opaque state.
        encrypted_content: Cow<'a, str> = "encrypted_content",
    }

    /// One content part.
    pub struct Part {
        /// Its type.
        kind: Cow<'a, str> = "type",
        /// Text.
        text: Text<'a> = "text",
        /// Refusal.
        refusal: Text<'a> = "refusal",
        /// Image address.
        image_url: Text<'a> = "image_url",
        /// Detail.
        detail: Cow<'a, str> = "detail",
        /// File id.
        file_id: Text<'a> = "file_id",
        /// File data.
        file_data: Text<'a> = "file_data",
        /// File address.
        file_url: Text<'a> = "file_url",
        /// File name.
        filename: Text<'a> = "filename",
        /// Cache marker.
        prompt_cache_breakpoint: CacheBreakpoint<'a> = "prompt_cache_breakpoint",
    }

    /// A tool.
    pub struct Tool {
        /// function, custom, namespace, or hosted.
        kind: Cow<'a, str> = "type",
        /// Name.
        name: Cow<'a, str> = "name",
        /// Description.
        description: Text<'a> = "description",
        /// Schema.
        parameters: Raw<'a> = "parameters",
        /// Strict.
        strict: bool = "strict",
        /// Custom format.
        format: Raw<'a> = "format",
        /// Functions of a namespace.
        tools: Vec<Raw<'a>> = "tools",
        /// Loaded when a search finds it.
        defer_loading: bool = "defer_loading",
        /// Who may call it.
        allowed_callers: Raw<'a> = "allowed_callers",
        /// Schema of the result.
        output_schema: Raw<'a> = "output_schema",
    }
}
