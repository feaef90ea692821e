//! Wire types of Chat Completions requests. What the IR cannot hold stays in `extra`.

use std::borrow::Cow;

use super::{Content, Count, object};
use crate::json::{Raw, Text};

object! {
    /// `POST /v1/chat/completions`.
    pub struct Request {
        /// Model.
        model: Cow<'a, str> = "model",
        /// Conversation.
        messages: Vec<Message<'a>> = "messages",
        /// Output limit.
        max_completion_tokens: Count = "max_completion_tokens",
        /// Output limit, old name.
        max_tokens: Count = "max_tokens",
        /// Sampling.
        temperature: Raw<'a> = "temperature",
        /// Sampling.
        top_p: Raw<'a> = "top_p",
        /// Sampling, compatible servers only.
        top_k: Raw<'a> = "top_k",
        /// Number of choices.
        n: Count = "n",
        /// String or list.
        stop: Raw<'a> = "stop",
        /// Sampling.
        frequency_penalty: Raw<'a> = "frequency_penalty",
        /// Sampling.
        presence_penalty: Raw<'a> = "presence_penalty",
        /// Sampling.
        seed: Raw<'a> = "seed",
        /// Log probabilities.
        logprobs: bool = "logprobs",
        /// Log probabilities.
        top_logprobs: Count = "top_logprobs",
        /// Structured output.
        response_format: ResponseFormat<'a> = "response_format",
        /// Tools.
        tools: Vec<Raw<'a>> = "tools",
        /// Tools, old form.
        functions: Vec<Function<'a>> = "functions",
        /// String or object.
        tool_choice: Raw<'a> = "tool_choice",
        /// String or object, old form.
        function_call: Raw<'a> = "function_call",
        /// Parallel calls.
        parallel_tool_calls: bool = "parallel_tool_calls",
        /// Reasoning level.
        reasoning_effort: Cow<'a, str> = "reasoning_effort",
        /// Verbosity.
        verbosity: Text<'a> = "verbosity",
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
        /// text, audio.
        modalities: Vec<Cow<'a, str>> = "modalities",
        /// Spoken output.
        audio: AudioOutput<'a> = "audio",
        /// Caching mode.
        prompt_cache_options: Raw<'a> = "prompt_cache_options",
        /// Search of the search models.
        web_search_options: Raw<'a> = "web_search_options",
        /// Stream.
        stream: bool = "stream",
        /// Stream options.
        stream_options: StreamOptions<'a> = "stream_options",
    }

    /// `stream_options`.
    pub struct StreamOptions {
        /// The client wants the usage chunk.
        include_usage: bool = "include_usage",
    }

    /// `audio` of a request.
    pub struct AudioOutput {
        /// wav, mp3, flac, opus, pcm16.
        format: Cow<'a, str> = "format",
        /// Name of a voice.
        voice: Raw<'a> = "voice",
    }

    /// One message.
    pub struct Message {
        /// developer, system, user, assistant, tool, function.
        role: Cow<'a, str> = "role",
        /// String or parts.
        content: Content<'a, Part<'a>> = "content",
        /// Participant.
        name: Text<'a> = "name",
        /// Calls.
        tool_calls: Vec<ToolCall<'a>> = "tool_calls",
        /// Call, old form.
        function_call: FunctionCall<'a> = "function_call",
        /// Which call this answers.
        tool_call_id: Cow<'a, str> = "tool_call_id",
        /// Refusal.
        refusal: Text<'a> = "refusal",
        /// Reasoning text (DeepSeek and others).
        reasoning_content: Text<'a> = "reasoning_content" | "reasoning",
        /// Carrier of reasoning state.
        reasoning_details: Vec<ReasoningDetail<'a>> = "reasoning_details",
    }

    /// One content part.
    pub struct Part {
        /// Its type.
        kind: Cow<'a, str> = "type",
        /// Text.
        text: Text<'a> = "text",
        /// Image.
        image_url: Raw<'a> = "image_url",
        /// Sound.
        input_audio: InputAudio<'a> = "input_audio",
        /// File.
        file: File<'a> = "file",
        /// Refusal.
        refusal: Text<'a> = "refusal",
        /// Cache marker.
        prompt_cache_breakpoint: CacheBreakpoint<'a> = "prompt_cache_breakpoint",
        /// Anthropic's cache marker, which some clients send to compatible servers.
        cache_control: CacheBreakpoint<'a> = "cache_control",
    }

    /// `image_url`.
    pub struct ImageUrl {
        /// Address or data URL.
        url: Text<'a> = "url",
        /// Detail.
        detail: Cow<'a, str> = "detail",
    }

    /// `input_audio`.
    pub struct InputAudio {
        /// Base64.
        data: Text<'a> = "data",
        /// wav or mp3.
        format: Cow<'a, str> = "format",
    }

    /// `file`.
    pub struct File {
        /// Data URL.
        file_data: Text<'a> = "file_data",
        /// Id.
        file_id: Text<'a> = "file_id",
        /// Name.
        filename: Text<'a> = "filename",
    }

    /// A cache marker.
    pub struct CacheBreakpoint {
        /// Lifetime.
        ttl: Cow<'a, str> = "ttl",
    }

    /// `reasoning_details[]`.
    pub struct ReasoningDetail {
        /// `reasoning.encrypted`, `reasoning.text` …
        kind: Cow<'a, str> = "type",
        /// Opaque data.
        data: Cow<'a, str> = "data",
    }

    /// A tool call.
    pub struct ToolCall {
        /// Id.
        id: Cow<'a, str> = "id",
        /// function or custom.
        kind: Cow<'a, str> = "type",
        /// Function.
        function: FunctionCall<'a> = "function",
        /// Custom tool.
        custom: CustomCall<'a> = "custom",
        /// Google's signature.
        extra_content: Raw<'a> = "extra_content",
    }

    /// A function call.
    pub struct FunctionCall {
        /// Name.
        name: Cow<'a, str> = "name",
        /// Arguments.
        arguments: Text<'a> = "arguments",
    }

    /// A custom tool's call.
    pub struct CustomCall {
        /// Name.
        name: Cow<'a, str> = "name",
        /// Input.
        input: Text<'a> = "input",
    }

    /// A tool entry.
    pub struct Tool {
        /// function or custom.
        kind: Cow<'a, str> = "type",
        /// Function.
        function: Function<'a> = "function",
        /// Custom.
        custom: Custom<'a> = "custom",
        /// Cache marker some clients send.
        cache_control: CacheBreakpoint<'a> = "cache_control",
    }

    /// A function's declaration.
    pub struct Function {
        /// Name.
        name: Cow<'a, str> = "name",
        /// Description.
        description: Text<'a> = "description",
        /// Schema.
        parameters: Raw<'a> = "parameters",
        /// Strict.
        strict: bool = "strict",
    }

    /// A custom tool's declaration.
    pub struct Custom {
        /// Name.
        name: Cow<'a, str> = "name",
        /// Description.
        description: Text<'a> = "description",
        /// Format.
        format: Raw<'a> = "format",
    }

    /// `response_format`.
    pub struct ResponseFormat {
        /// text, json_object, json_schema.
        kind: Cow<'a, str> = "type",
        /// Schema.
        json_schema: JsonSchema<'a> = "json_schema",
    }

    /// `response_format.json_schema`.
    pub struct JsonSchema {
        /// Name.
        name: Text<'a> = "name",
        /// Description.
        description: Text<'a> = "description",
        /// Schema.
        schema: Raw<'a> = "schema",
        /// Strict.
        strict: bool = "strict",
    }

    /// An object with a name, as `tool_choice` and `function_call` take it.
    pub struct Choice {
        /// Type.
        kind: Cow<'a, str> = "type",
        /// Name (Responses, `function_call`).
        name: Cow<'a, str> = "name",
        /// Function.
        function: Named<'a> = "function",
        /// Custom tool.
        custom: Named<'a> = "custom",
        /// Subset.
        allowed_tools: Allowed<'a> = "allowed_tools",
        /// Subset (Responses).
        mode: Cow<'a, str> = "mode",
        /// Subset (Responses).
        tools: Vec<Choice<'a>> = "tools",
    }

    /// A name.
    pub struct Named {
        /// Name.
        name: Cow<'a, str> = "name",
    }

    /// `allowed_tools`.
    pub struct Allowed {
        /// auto or required.
        mode: Cow<'a, str> = "mode",
        /// The tools.
        tools: Vec<Choice<'a>> = "tools",
    }
}
