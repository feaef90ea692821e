//! A request, whatever format it came in.

use std::borrow::Cow;

use crate::format::Format;
use crate::ir::block::{Block, CacheMark, Detail, TextBlock};
use crate::json::{Raw, Text};
use crate::report::Class;
use crate::shim::CallItem;

/// A request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request<'a> {
    /// Model name as the client gave it (body or path).
    pub model: Cow<'a, str>,
    /// The client wants a stream.
    pub stream: bool,
    /// Chat only: the client wants the usage chunk.
    pub include_usage: bool,
    /// The leading run of system and developer text.
    pub system: Vec<SystemBlock<'a>>,
    /// The conversation. Tool results stand in [`Role::Tool`] turns; later system text in [`Role::System`] turns.
    pub turns: Vec<Turn<'a>>,
    /// Declared tools.
    pub tools: Vec<Tool<'a>>,
    /// What the model may call.
    pub tool_choice: Option<ToolChoice<'a>>,
    /// Several calls in one turn.
    pub parallel_tool_calls: Option<bool>,
    /// Number as source text, as all sampling members.
    pub temperature: Option<Raw<'a>>,
    /// Nucleus sampling.
    pub top_p: Option<Raw<'a>>,
    /// Top-k sampling.
    pub top_k: Option<Raw<'a>>,
    /// Penalty.
    pub frequency_penalty: Option<Raw<'a>>,
    /// Penalty.
    pub presence_penalty: Option<Raw<'a>>,
    /// Seed.
    pub seed: Option<Raw<'a>>,
    /// Number of answers (`n`, `candidateCount`).
    pub candidates: Option<u64>,
    /// Output limit, tokens.
    pub max_output_tokens: Option<u64>,
    /// Stop sequences.
    pub stop: Vec<Text<'a>>,
    /// The client wants log probabilities.
    pub logprobs: bool,
    /// How many alternatives per token.
    pub top_logprobs: Option<u64>,
    /// Reasoning controls.
    pub reasoning: Reasoning,
    /// Structured output.
    pub output: OutputFormat<'a>,
    /// `low`, `medium`, `high` (OpenAI).
    pub verbosity: Option<Text<'a>>,
    /// `prompt_cache_key`.
    pub cache_key: Option<Text<'a>>,
    /// Automatic caching marker of the whole request (Anthropic's top-level `cache_control`).
    pub cache: Option<CacheMark>,
    /// End user (`user`).
    pub user: Option<Text<'a>>,
    /// `safety_identifier` or Anthropic's `metadata.user_id`.
    pub safety_identifier: Option<Text<'a>>,
    /// `metadata` object (OpenAI) or `labels` (Gemini).
    pub metadata: Option<Raw<'a>>,
    /// Service tier, in OpenAI's words: auto, default, flex, scale, priority, fast.
    pub service_tier: Option<Cow<'a, str>>,
    /// Keep the answer at the vendor.
    pub store: Option<bool>,
    /// Responses: the client asked for `reasoning.encrypted_content`.
    pub include_encrypted_reasoning: bool,
    /// Chat: the request used `functions` instead of `tools`.
    pub legacy_functions: bool,
    /// Kinds of output asked for, lower case: `text`, `audio`, `image`, `video`. Empty: text.
    pub modalities: Vec<Cow<'a, str>>,
    /// How spoken output sounds (`audio`, `speechConfig`).
    pub speech: Option<Speech<'a>>,
    /// OpenAI's `prompt_cache_options`, raw.
    pub cache_options: Option<Raw<'a>>,
    /// The earlier answer that cache diagnostics compare with (`diagnostics.previous_message_id`).
    pub compared_answer: Option<Text<'a>>,
    /// Most calls of hosted tools (Responses).
    pub max_tool_calls: Option<u64>,
    /// Responses: `include`, as it came.
    pub include: Vec<Cow<'a, str>>,
    /// Messages: `mcp_servers`, raw; the toolsets of `tools` refer to it.
    pub mcp_servers: Option<Raw<'a>>,
    /// Messages: `container`, raw.
    pub container: Option<Raw<'a>>,
    /// Gemini: how closely images are looked at that do not say so themselves.
    pub media_detail: Option<Detail>,
    /// Members inside messages, parts and tools that no member of the IR can hold.
    pub losses: Vec<Loss>,
    /// Members that only the client's format knows, with their class towards the other formats.
    pub natives: Vec<Native<'a>>,
}

/// How spoken output sounds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Speech<'a> {
    /// Name of the voice.
    pub voice: Option<Text<'a>>,
    /// wav, mp3, pcm16 … (Chat).
    pub format: Option<Cow<'a, str>>,
}

/// A nested member that the IR has no place for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// Client spelling of its place: `messages[3].content[1].foo`.
    pub path: String,
    /// How much it matters.
    pub class: Class,
}

/// A request member without a place in the other formats.
#[derive(Clone, Debug, PartialEq)]
pub struct Native<'a> {
    /// Client spelling: `logit_bias`, `generationConfig.speechConfig`.
    pub path: Cow<'a, str>,
    /// How much it matters to formats that lack it.
    pub class: Class,
    /// Its value.
    pub value: Raw<'a>,
}

/// A block of the leading system text.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct SystemBlock<'a> {
    /// True for OpenAI's `developer` role and `instructions`, false for `system`.
    pub developer: bool,
    /// The text.
    pub text: TextBlock<'a>,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The person.
    User,
    /// The model.
    Assistant,
    /// System or developer text in the middle of the conversation.
    System,
    /// Tool results.
    Tool,
}

/// One turn: consecutive blocks of one speaker, as the client grouped them.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn<'a> {
    /// Who speaks.
    pub role: Role,
    /// System turns: `developer` was the role.
    pub developer: bool,
    /// Chat's participant name.
    pub name: Option<Text<'a>>,
    /// What is said, in order.
    pub blocks: Vec<Block<'a>>,
    /// Client spelling of its place: `messages[3]`, `input[2]`, `contents[0]`.
    pub path: String,
}

/// A declared tool.
#[derive(Clone, Debug, PartialEq)]
pub struct Tool<'a> {
    /// Name as the client spelled it.
    pub name: Cow<'a, str>,
    /// What it does.
    pub description: Option<Text<'a>>,
    /// What kind it is.
    pub kind: ToolKind<'a>,
    /// Namespace (Responses); its functions are flattened elsewhere as `<ns>__<name>`.
    pub namespace: Option<Cow<'a, str>>,
    /// Prompt cache marker.
    pub cache: Option<CacheMark>,
    /// Its definition is loaded only when a tool search finds it (`defer_loading`).
    pub defer: bool,
    /// Who may call it (`allowed_callers`), raw.
    pub callers: Option<Raw<'a>>,
    /// Schema of its result, raw.
    pub output_schema: Option<Raw<'a>>,
    /// It is the shim of a vendor-trained tool of Responses, whose calls are items of their own.
    pub item: Option<CallItem>,
    /// Client spelling of its place: `tools[3]`.
    pub path: String,
}

impl<'a> Tool<'a> {
    /// A tool with nothing but a name and a kind.
    #[must_use]
    pub fn new(name: Cow<'a, str>, kind: ToolKind<'a>, path: String) -> Tool<'a> {
        Tool {
            name,
            description: None,
            kind,
            namespace: None,
            cache: None,
            defer: false,
            callers: None,
            output_schema: None,
            item: None,
            path,
        }
    }
}

/// Kinds of tools.
#[derive(Clone, Debug, PartialEq)]
pub enum ToolKind<'a> {
    /// A function with a JSON Schema.
    Function {
        /// Schema of the arguments, raw.
        parameters: Option<Raw<'a>>,
        /// The schema is Gemini's OpenAPI form (`parameters`), not JSON Schema.
        openapi: bool,
        /// Arguments must match the schema exactly; `None` if the client did not say.
        strict: Option<bool>,
    },
    /// A tool with free text input (OpenAI custom tool); its `format` object.
    Custom {
        /// `{"type":"text"}` or a grammar, in the Responses spelling (flat).
        format: Option<Raw<'a>>,
    },
    /// A tool that the vendor runs, or a vendor-trained client tool.
    Hosted {
        /// Whose it is.
        format: Format,
        /// Its type: `web_search`, `web_search_20250305`, `googleSearch`, `bash_20250124` …
        kind: Cow<'a, str>,
        /// The whole entry.
        json: Raw<'a>,
    },
}

/// What the model may or must call.
#[derive(Clone, Debug, PartialEq)]
pub enum ToolChoice<'a> {
    /// Nothing.
    None,
    /// What it likes.
    Auto,
    /// At least one.
    Any,
    /// This one.
    Tool(Cow<'a, str>),
    /// One of these; `required` says whether it must call at all.
    Subset {
        /// Tool names.
        names: Vec<Cow<'a, str>>,
        /// It must call one of them.
        required: bool,
    },
    /// Gemini's VALIDATED mode without names.
    Validated,
    /// A hosted tool is forced: its type.
    Hosted(Cow<'a, str>),
}

/// Reasoning controls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Reasoning {
    /// How much.
    pub depth: ReasoningDepth,
    /// An effort given beside the depth (Anthropic's `output_config.effort` beside `thinking`).
    pub effort: Option<Effort>,
    /// Whether the client sees it.
    pub show: Show,
    /// How detailed a summary (Responses).
    pub summary: Option<Summary>,
}

/// How detailed a reasoning summary is (Responses).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Summary {
    /// The vendor decides.
    Auto,
    /// Short.
    Concise,
    /// Long.
    Detailed,
}

impl Summary {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Summary::Auto => "auto",
            Summary::Concise => "concise",
            Summary::Detailed => "detailed",
        }
    }
}

/// How much to reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ReasoningDepth {
    /// The client did not say.
    #[default]
    Unset,
    /// A level.
    Effort(Effort),
    /// A budget in tokens.
    Budget(u64),
    /// The model decides (Gemini −1, Anthropic adaptive).
    Dynamic,
    /// Switched off (`disabled`, budget 0, effort none).
    Off,
}

/// Reasoning levels, lowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effort {
    /// No reasoning.
    None,
    /// Least.
    Minimal,
    /// Low.
    Low,
    /// Medium.
    Medium,
    /// High.
    High,
    /// Extra high.
    XHigh,
    /// Most.
    Max,
}

impl Effort {
    /// The word on the wire of Chat, Responses and Messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Effort::None => "none",
            Effort::Minimal => "minimal",
            Effort::Low => "low",
            Effort::Medium => "medium",
            Effort::High => "high",
            Effort::XHigh => "xhigh",
            Effort::Max => "max",
        }
    }

    /// Reads the word, in any case.
    #[must_use]
    pub fn parse(word: &str) -> Option<Effort> {
        const ALL: [Effort; 7] = [
            Effort::None,
            Effort::Minimal,
            Effort::Low,
            Effort::Medium,
            Effort::High,
            Effort::XHigh,
            Effort::Max,
        ];
        ALL.into_iter()
            .find(|effort| effort.as_str().eq_ignore_ascii_case(word))
    }
}

/// Whether reasoning text is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Show {
    /// The vendor's default.
    #[default]
    Default,
    /// A summary is shown.
    Summary,
    /// Nothing is shown.
    Hidden,
}

/// Structured output.
#[derive(Clone, Debug, PartialEq, Default)]
pub enum OutputFormat<'a> {
    /// Text.
    #[default]
    Text,
    /// Any JSON object.
    JsonObject,
    /// JSON by a schema.
    JsonSchema {
        /// Name (OpenAI).
        name: Option<Text<'a>>,
        /// Description (OpenAI).
        description: Option<Text<'a>>,
        /// The schema, raw.
        schema: Raw<'a>,
        /// The schema is Gemini's OpenAPI form (`responseSchema`).
        openapi: bool,
        /// Strictness (OpenAI); `None` if the client did not say.
        strict: Option<bool>,
    },
}
