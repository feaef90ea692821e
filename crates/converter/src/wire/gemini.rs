//! Wire types of generateContent requests. Both spellings of every member are read (conversion.md 4.4).

use std::borrow::Cow;

use super::{Budget, Count, object};
use crate::json::{Raw, Text};

object! {
    /// `POST …:generateContent`.
    pub struct Request {
        /// Model, in the body of some clients.
        model: Cow<'a, str> = "model",
        /// Conversation.
        contents: Contents<'a> = "contents",
        /// System text.
        system_instruction: Content<'a> = "systemInstruction" | "system_instruction",
        /// Tools.
        tools: Vec<Tool<'a>> = "tools",
        /// Tool choice.
        tool_config: ToolConfig<'a> = "toolConfig" | "tool_config",
        /// Everything else.
        generation_config: GenerationConfig<'a> = "generationConfig" | "generation_config",
        /// Labels.
        labels: Raw<'a> = "labels",
        /// Tier.
        service_tier: Cow<'a, str> = "serviceTier" | "service_tier",
        /// Keep the answer.
        store: bool = "store",
    }

    /// `speechConfig`.
    pub struct SpeechConfig {
        /// Voice.
        voice_config: VoiceConfig<'a> = "voiceConfig" | "voice_config",
    }

    /// `voiceConfig`.
    pub struct VoiceConfig {
        /// One of the vendor's voices.
        prebuilt: PrebuiltVoice<'a> = "prebuiltVoiceConfig" | "prebuilt_voice_config",
    }

    /// `prebuiltVoiceConfig`.
    pub struct PrebuiltVoice {
        /// Its name.
        voice_name: Text<'a> = "voiceName" | "voice_name",
    }

    /// One content.
    pub struct Content {
        /// user or model.
        role: Cow<'a, str> = "role",
        /// Parts.
        parts: Vec<Part<'a>> = "parts",
    }

    /// One part.
    pub struct Part {
        /// Text.
        text: Text<'a> = "text",
        /// The text is reasoning.
        thought: bool = "thought",
        /// Opaque state.
        thought_signature: Cow<'a, str> = "thoughtSignature" | "thought_signature",
        /// Inline bytes.
        inline_data: Blob<'a> = "inlineData" | "inline_data",
        /// Address.
        file_data: FileData<'a> = "fileData" | "file_data",
        /// Call.
        function_call: FunctionCall<'a> = "functionCall" | "function_call",
        /// Result.
        function_response: FunctionResponse<'a> = "functionResponse" | "function_response",
        /// How closely to look.
        media_resolution: Raw<'a> = "mediaResolution" | "media_resolution",
        /// Text of a sound.
        audio_transcription: AudioTranscription<'a> = "audioTranscription" | "audio_transcription",
    }

    /// `audioTranscription`.
    pub struct AudioTranscription {
        /// The text.
        text: Text<'a> = "text",
    }

    /// `inlineData`.
    pub struct Blob {
        /// MIME type.
        mime_type: Cow<'a, str> = "mimeType" | "mime_type",
        /// Base64.
        data: Text<'a> = "data",
        /// Name.
        display_name: Text<'a> = "displayName" | "display_name",
    }

    /// `fileData`.
    pub struct FileData {
        /// MIME type.
        mime_type: Cow<'a, str> = "mimeType" | "mime_type",
        /// Address.
        file_uri: Text<'a> = "fileUri" | "file_uri",
        /// Name.
        display_name: Text<'a> = "displayName" | "display_name",
    }

    /// `functionCall`.
    pub struct FunctionCall {
        /// Id.
        id: Cow<'a, str> = "id",
        /// Name.
        name: Cow<'a, str> = "name",
        /// Arguments.
        args: Raw<'a> = "args",
    }

    /// `functionResponse`.
    pub struct FunctionResponse {
        /// Id.
        id: Cow<'a, str> = "id",
        /// Name.
        name: Cow<'a, str> = "name",
        /// Result.
        response: Raw<'a> = "response",
        /// Media.
        parts: Vec<Part<'a>> = "parts",
        /// More answers follow.
        will_continue: bool = "willContinue" | "will_continue",
    }

    /// A tool.
    pub struct Tool {
        /// Functions.
        function_declarations: Vec<FunctionDeclaration<'a>> = "functionDeclarations" | "function_declarations",
    }

    /// A function.
    pub struct FunctionDeclaration {
        /// Name.
        name: Cow<'a, str> = "name",
        /// Description.
        description: Text<'a> = "description",
        /// OpenAPI schema.
        parameters: Raw<'a> = "parameters",
        /// JSON Schema.
        parameters_json_schema: Raw<'a> = "parametersJsonSchema" | "parameters_json_schema",
        /// Schema of the result.
        response_json_schema: Raw<'a> = "responseJsonSchema" | "response_json_schema",
    }

    /// `toolConfig`.
    pub struct ToolConfig {
        /// Choice.
        function_calling_config: FunctionCallingConfig<'a> = "functionCallingConfig" | "function_calling_config",
    }

    /// `functionCallingConfig`.
    pub struct FunctionCallingConfig {
        /// AUTO, ANY, NONE, VALIDATED.
        mode: Cow<'a, str> = "mode",
        /// Subset.
        allowed_function_names: Vec<Cow<'a, str>> = "allowedFunctionNames" | "allowed_function_names",
    }

    /// `generationConfig`.
    pub struct GenerationConfig {
        /// Sampling.
        temperature: Raw<'a> = "temperature",
        /// Sampling.
        top_p: Raw<'a> = "topP" | "top_p",
        /// Sampling.
        top_k: Raw<'a> = "topK" | "top_k",
        /// Answers.
        candidate_count: Count = "candidateCount" | "candidate_count",
        /// Output limit.
        max_output_tokens: Count = "maxOutputTokens" | "max_output_tokens",
        /// Stop sequences.
        stop_sequences: Vec<Text<'a>> = "stopSequences" | "stop_sequences",
        /// Log probabilities.
        response_logprobs: bool = "responseLogprobs" | "response_logprobs",
        /// Log probabilities.
        logprobs: Count = "logprobs",
        /// Sampling.
        presence_penalty: Raw<'a> = "presencePenalty" | "presence_penalty",
        /// Sampling.
        frequency_penalty: Raw<'a> = "frequencyPenalty" | "frequency_penalty",
        /// Sampling.
        seed: Raw<'a> = "seed",
        /// Structured output.
        response_mime_type: Cow<'a, str> = "responseMimeType" | "response_mime_type",
        /// OpenAPI schema.
        response_schema: Raw<'a> = "responseSchema" | "response_schema",
        /// JSON Schema.
        response_json_schema: Raw<'a> = "responseJsonSchema" | "response_json_schema" | "_responseJsonSchema",
        /// TEXT, AUDIO, IMAGE.
        response_modalities: Vec<Cow<'a, str>> = "responseModalities" | "response_modalities",
        /// Reasoning.
        thinking_config: ThinkingConfig<'a> = "thinkingConfig" | "thinking_config",
        /// Spoken output.
        speech_config: SpeechConfig<'a> = "speechConfig" | "speech_config",
        /// How closely to look.
        media_resolution: Cow<'a, str> = "mediaResolution" | "media_resolution",
        /// Structured output, another spelling.
        response_format: Raw<'a> = "responseFormat" | "response_format",
    }

    /// An entry of `responseFormat`.
    pub struct ResponseFormat {
        /// Text.
        text: TextFormat<'a> = "text",
    }

    /// `responseFormat[].text`.
    pub struct TextFormat {
        /// MIME type.
        mime_type: Cow<'a, str> = "mimeType" | "mime_type",
        /// JSON Schema.
        json_schema: Raw<'a> = "jsonSchema" | "json_schema",
        /// JSON Schema.
        schema: Raw<'a> = "schema",
    }

    /// `thinkingConfig`.
    pub struct ThinkingConfig {
        /// Show thoughts.
        include_thoughts: bool = "includeThoughts" | "include_thoughts",
        /// Tokens; -1 is dynamic.
        thinking_budget: Budget = "thinkingBudget" | "thinking_budget",
        /// Level.
        thinking_level: Cow<'a, str> = "thinkingLevel" | "thinking_level",
    }
}

/// A list of contents; one content or a bare string is accepted too.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Contents<'a>(pub Vec<Content<'a>>);

impl<'a> crate::json::Read<'a> for Contents<'a> {
    fn read(reader: &mut crate::json::Reader<'a>) -> Result<Self, crate::Error> {
        use crate::json::Kind;
        match reader.kind() {
            Kind::Object => Ok(Contents(vec![Content::read(reader)?])),
            Kind::String => {
                let part = Part {
                    text: Some(reader.text()?),
                    ..Part::default()
                };
                Ok(Contents(vec![Content {
                    parts: Some(vec![part]),
                    ..Content::default()
                }]))
            }
            _ => Vec::read(reader).map(Contents),
        }
    }
}
