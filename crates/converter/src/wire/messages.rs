//! Wire types of Messages requests. What the IR cannot hold stays in `extra`.

use std::borrow::Cow;

use super::{Content, Count, object};
use crate::json::{Raw, Text};

object! {
    /// `POST /v1/messages`.
    pub struct Request {
        /// Model.
        model: Cow<'a, str> = "model",
        /// Output limit.
        max_tokens: Count = "max_tokens",
        /// Conversation.
        messages: Vec<Message<'a>> = "messages",
        /// System text.
        system: Content<'a, ContentBlock<'a>> = "system",
        /// Sampling.
        temperature: Raw<'a> = "temperature",
        /// Sampling.
        top_p: Raw<'a> = "top_p",
        /// Sampling.
        top_k: Raw<'a> = "top_k",
        /// Stop sequences.
        stop_sequences: Vec<Text<'a>> = "stop_sequences",
        /// Thinking.
        thinking: Thinking<'a> = "thinking",
        /// Effort and format.
        output_config: OutputConfig<'a> = "output_config",
        /// Tools.
        tools: Vec<Raw<'a>> = "tools",
        /// Tool choice.
        tool_choice: ToolChoice<'a> = "tool_choice",
        /// Automatic caching.
        cache_control: CacheControl<'a> = "cache_control",
        /// End user.
        metadata: Metadata<'a> = "metadata",
        /// Tier.
        service_tier: Cow<'a, str> = "service_tier",
        /// Stream.
        stream: bool = "stream",
        /// MCP servers (beta).
        mcp_servers: Raw<'a> = "mcp_servers",
        /// Container of code execution.
        container: Raw<'a> = "container",
        /// Cache diagnostics.
        diagnostics: Diagnostics<'a> = "diagnostics",
        /// Where it may be served.
        inference_geo: Cow<'a, str> = "inference_geo",
        /// standard or fast.
        speed: Cow<'a, str> = "speed",
    }

    /// `diagnostics`.
    pub struct Diagnostics {
        /// The answer to compare with.
        previous_message_id: Text<'a> = "previous_message_id",
    }

    /// One message.
    pub struct Message {
        /// user, assistant, system.
        role: Cow<'a, str> = "role",
        /// String or blocks.
        content: Content<'a, ContentBlock<'a>> = "content",
        /// System messages (beta): effort from here on.
        output_config: OutputConfig<'a> = "output_config",
        /// System messages (beta): shown for one turn only.
        clear_at: Cow<'a, str> = "clear_at",
    }

    /// One content block.
    pub struct ContentBlock {
        /// Its type.
        kind: Cow<'a, str> = "type",
        /// Text.
        text: Text<'a> = "text",
        /// Source of an image or document.
        source: Raw<'a> = "source",
        /// Title.
        title: Text<'a> = "title",
        /// Id of a tool use.
        id: Cow<'a, str> = "id",
        /// Tool name.
        name: Cow<'a, str> = "name",
        /// Tool input.
        input: Raw<'a> = "input",
        /// Which tool use this answers.
        tool_use_id: Cow<'a, str> = "tool_use_id",
        /// Result.
        content: Content<'a, ContentBlock<'a>> = "content",
        /// The tool failed.
        is_error: bool = "is_error",
        /// Thinking text.
        thinking: Text<'a> = "thinking",
        /// Signature.
        signature: Cow<'a, str> = "signature",
        /// Redacted thinking.
        data: Cow<'a, str> = "data",
        /// Cache marker.
        cache_control: CacheControl<'a> = "cache_control",
        /// Toolset that the called tool is a member of.
        toolset_name: Cow<'a, str> = "toolset_name",
        /// Added or removed tool (beta).
        tool: Raw<'a> = "tool",
    }

    /// A source.
    pub struct Source {
        /// base64, url, file, text, content.
        kind: Cow<'a, str> = "type",
        /// MIME type.
        media_type: Cow<'a, str> = "media_type",
        /// Base64 or text.
        data: Text<'a> = "data",
        /// Address.
        url: Text<'a> = "url",
        /// File id.
        file_id: Text<'a> = "file_id",
        /// Content source.
        content: Content<'a, ContentBlock<'a>> = "content",
    }

    /// A cache marker.
    pub struct CacheControl {
        /// 5m or 1h.
        ttl: Cow<'a, str> = "ttl",
    }

    /// `thinking`.
    pub struct Thinking {
        /// enabled, disabled, adaptive, between_tools.
        kind: Cow<'a, str> = "type",
        /// Tokens.
        budget_tokens: Count = "budget_tokens",
        /// summarized or omitted.
        display: Cow<'a, str> = "display",
    }

    /// `output_config`.
    pub struct OutputConfig {
        /// Level.
        effort: Cow<'a, str> = "effort",
        /// Structured output.
        format: OutputFormat<'a> = "format",
    }

    /// `output_config.format`.
    pub struct OutputFormat {
        /// json_schema.
        kind: Cow<'a, str> = "type",
        /// Schema.
        schema: Raw<'a> = "schema",
    }

    /// A tool.
    pub struct Tool {
        /// custom or a vendor tool.
        kind: Cow<'a, str> = "type",
        /// Name.
        name: Cow<'a, str> = "name",
        /// Description.
        description: Text<'a> = "description",
        /// Schema.
        input_schema: Raw<'a> = "input_schema",
        /// Strict.
        strict: bool = "strict",
        /// Cache marker.
        cache_control: CacheControl<'a> = "cache_control",
        /// Loaded when a search finds it.
        defer_loading: bool = "defer_loading",
        /// Who may call it.
        allowed_callers: Raw<'a> = "allowed_callers",
    }

    /// `tool_choice`.
    pub struct ToolChoice {
        /// auto, any, tool, none.
        kind: Cow<'a, str> = "type",
        /// Tool name.
        name: Cow<'a, str> = "name",
        /// One call at most.
        disable_parallel_tool_use: bool = "disable_parallel_tool_use",
    }

    /// `metadata`.
    pub struct Metadata {
        /// End user.
        user_id: Text<'a> = "user_id",
    }
}
