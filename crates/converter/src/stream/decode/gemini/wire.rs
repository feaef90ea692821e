//! Chunks of streamGenerateContent.

use std::borrow::Cow;

use super::super::{Few, Whole, event};
use crate::json::{Raw, Text};

event! {
    /// A chunk.
    pub(super) struct Chunk {
        /// Candidates.
        pub(super) candidates: Few<Candidate<'a>> = "candidates",
        /// Blocked prompt.
        pub(super) prompt_feedback: PromptFeedback<'a> = "promptFeedback" | "prompt_feedback",
        /// Usage.
        pub(super) usage: Raw<'a> = "usageMetadata" | "usage_metadata",
        /// Model.
        pub(super) model: Cow<'a, str> = "modelVersion" | "model_version",
        /// Id.
        pub(super) id: Cow<'a, str> = "responseId" | "response_id",
        /// Error in a started stream.
        pub(super) error: Raw<'a> = "error",
    }

    /// One candidate.
    pub(super) struct Candidate {
        /// Number.
        pub(super) index: Whole = "index",
        /// Content.
        pub(super) content: Content<'a> = "content",
        /// Why it ended.
        pub(super) finish_reason: Cow<'a, str> = "finishReason" | "finish_reason",
        /// Sources.
        pub(super) grounding: Grounding<'a> = "groundingMetadata" | "grounding_metadata",
        /// Log probabilities.
        pub(super) logprobs: Logprobs<'a> = "logprobsResult" | "logprobs_result",
    }

    /// `content`.
    pub(super) struct Content {
        /// Parts.
        pub(super) parts: Few<Part<'a>> = "parts",
    }

    /// `promptFeedback`.
    pub(super) struct PromptFeedback {
        /// Why it was blocked.
        pub(super) block_reason: Cow<'a, str> = "blockReason" | "block_reason",
    }

    /// One part.
    pub(super) struct Part {
        /// Text.
        pub(super) text: Text<'a> = "text",
        /// The text is reasoning.
        pub(super) thought: bool = "thought",
        /// Opaque state.
        pub(super) signature: Cow<'a, str> = "thoughtSignature" | "thought_signature",
        /// Inline bytes.
        pub(super) inline_data: Blob<'a> = "inlineData" | "inline_data",
        /// Call.
        pub(super) call: FunctionCall<'a> = "functionCall" | "function_call",
    }

    /// `inlineData`.
    pub(super) struct Blob {
        /// MIME type.
        pub(super) mime: Cow<'a, str> = "mimeType" | "mime_type",
        /// Base64.
        pub(super) data: Text<'a> = "data",
    }

    /// `functionCall`; whole, or (Vertex) in pieces.
    pub(super) struct FunctionCall {
        /// Id.
        pub(super) id: Cow<'a, str> = "id",
        /// Name.
        pub(super) name: Cow<'a, str> = "name",
        /// Arguments.
        pub(super) args: Raw<'a> = "args",
        /// Pieces of arguments.
        pub(super) partial: Vec<PartialArg<'a>> = "partialArgs" | "partial_args",
        /// More of this call follows.
        pub(super) more: bool = "willContinue" | "will_continue",
    }

    /// One piece of arguments.
    pub(super) struct PartialArg {
        /// Where it belongs: `$.a.b[0]`.
        pub(super) path: Text<'a> = "jsonPath" | "json_path",
        /// A string, or more of one.
        pub(super) string: Text<'a> = "stringValue" | "string_value",
        /// A number.
        pub(super) number: Raw<'a> = "numberValue" | "number_value",
        /// A boolean.
        pub(super) boolean: bool = "boolValue" | "bool_value",
        /// `null`, however it is spelled.
        pub(super) null: Text<'a> = "nullValue" | "null_value",
        /// The string goes on.
        pub(super) more: bool = "willContinue" | "will_continue",
    }

    /// `groundingMetadata`.
    pub(super) struct Grounding {
        /// What was searched for.
        pub(super) queries: Vec<Text<'a>> = "webSearchQueries" | "web_search_queries",
        /// Sources.
        pub(super) chunks: Vec<GroundingChunk<'a>> = "groundingChunks" | "grounding_chunks",
        /// What they support.
        pub(super) supports: Vec<Support<'a>> = "groundingSupports" | "grounding_supports",
    }

    /// One source.
    pub(super) struct GroundingChunk {
        /// A web page.
        pub(super) web: Web<'a> = "web",
    }

    /// A web page.
    pub(super) struct Web {
        /// Address.
        pub(super) uri: Text<'a> = "uri",
        /// Title.
        pub(super) title: Text<'a> = "title",
    }

    /// A piece of text and its sources.
    pub(super) struct Support {
        /// The piece.
        pub(super) segment: Segment<'a> = "segment",
        /// Numbers of the sources.
        pub(super) chunks: Vec<Whole> = "groundingChunkIndices" | "grounding_chunk_indices",
    }

    /// A piece of text, in UTF-8 bytes.
    pub(super) struct Segment {
        /// From.
        pub(super) start: Whole = "startIndex" | "start_index",
        /// To.
        pub(super) end: Whole = "endIndex" | "end_index",
    }

    /// `logprobsResult`.
    pub(super) struct Logprobs {
        /// The tokens.
        pub(super) chosen: Vec<Token<'a>> = "chosenCandidates" | "chosen_candidates",
        /// The alternatives of each.
        pub(super) top: Vec<Alternatives<'a>> = "topCandidates" | "top_candidates",
    }

    /// Alternatives of one token.
    pub(super) struct Alternatives {
        /// They.
        pub(super) tokens: Vec<Token<'a>> = "candidates",
    }

    /// One token.
    pub(super) struct Token {
        /// Its text.
        pub(super) token: Text<'a> = "token",
        /// Its log probability.
        pub(super) value: Raw<'a> = "logProbability" | "log_probability",
    }
}
