//! Content blocks of requests and responses.

use std::borrow::Cow;

use crate::format::Format;
use crate::json::{Raw, Text};

/// One piece of content, in the order of the model or the client.
#[derive(Clone, Debug, PartialEq)]
pub enum Block<'a> {
    /// Visible text.
    Text(TextBlock<'a>),
    /// An image, document, audio or video.
    Media(Media<'a>),
    /// A call of a client tool.
    ToolCall(ToolCall<'a>),
    /// The result of a client tool.
    ToolResult(ToolResult<'a>),
    /// Reasoning.
    Thought(Thought<'a>),
    /// The model's refusal text.
    Refusal(Text<'a>),
    /// A block that only its own format knows (hosted tools and their results, unknown kinds).
    Native(Native<'a>),
}

/// Visible text.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct TextBlock<'a> {
    /// The text.
    pub text: Text<'a>,
    /// Sources the text cites.
    pub citations: Vec<Citation<'a>>,
    /// Prompt cache marker.
    pub cache: Option<CacheMark>,
    /// State that the vendor bound to this text (Gemini's signature on a text part).
    pub state: Option<Opaque<'a>>,
}

/// An explicit prompt cache marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheMark {
    /// The vendor's default or short lifetime (5 minutes, 30 minutes).
    Short,
    /// The long lifetime (1 hour, 12 hours).
    Long,
}

/// An image, document, audio or video.
#[derive(Clone, Debug, PartialEq)]
pub struct Media<'a> {
    /// What it is.
    pub kind: MediaKind,
    /// Where its bytes are.
    pub source: Source<'a>,
    /// How closely the model should look.
    pub detail: Option<Detail>,
    /// File name or title.
    pub title: Option<Text<'a>>,
    /// Prompt cache marker.
    pub cache: Option<CacheMark>,
}

/// Kinds of media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MediaKind {
    /// A picture.
    Image,
    /// A PDF or text document.
    Document,
    /// Sound.
    Audio,
    /// Moving pictures.
    Video,
}

/// Resolution asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Coarse.
    Low,
    /// Fine.
    High,
    /// The vendor decides.
    Auto,
    /// As given.
    Original,
}

/// Where the bytes of a media block are.
#[derive(Clone, Debug, PartialEq)]
pub enum Source<'a> {
    /// Inline, standard base64. `mime` is lower case, `image/jpg` already repaired.
    Base64 {
        /// MIME type.
        mime: Cow<'a, str>,
        /// Base64 text.
        data: Text<'a>,
    },
    /// A remote URL, with the MIME type if the client stated one.
    Url {
        /// The address.
        url: Text<'a>,
        /// MIME type, if stated.
        mime: Option<Cow<'a, str>>,
    },
    /// A file id of a vendor's file store, valid only there.
    File {
        /// The id (or Files API URI).
        id: Text<'a>,
        /// Whose store.
        owner: Format,
    },
    /// A plain text document.
    Text(Text<'a>),
    /// A document made of blocks (Anthropic's `content` source).
    Blocks(Vec<Block<'a>>),
}

/// A call of a client tool.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolCall<'a> {
    /// Id that ties the result to it, without any seal suffix. Empty if the format gave none.
    pub id: Cow<'a, str>,
    /// Tool name as the client spelled it.
    pub name: Cow<'a, str>,
    /// Arguments.
    pub arguments: Arguments<'a>,
    /// The namespace it was declared in (Responses).
    pub namespace: Option<Cow<'a, str>>,
    /// State that the vendor bound to this call (Gemini's signature on a call part).
    pub state: Option<Opaque<'a>>,
    /// Prompt cache marker.
    pub cache: Option<CacheMark>,
}

/// Arguments of a tool call. Never parsed into numbers.
#[derive(Clone, Debug, PartialEq)]
pub enum Arguments<'a> {
    /// A JSON object as source text (Messages, Gemini).
    Object(Raw<'a>),
    /// A string that should hold a JSON object (Chat, Responses).
    Encoded(Text<'a>),
    /// Free text of a custom tool.
    Freeform(Text<'a>),
}

/// The result of a client tool.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolResult<'a> {
    /// The call's id, without any seal suffix. Empty if the format gave none.
    pub call_id: Cow<'a, str>,
    /// The tool's name where the format states it.
    pub name: Option<Cow<'a, str>>,
    /// Text and media.
    pub parts: Vec<Block<'a>>,
    /// The tool failed.
    pub is_error: bool,
    /// A JSON object given as such (Gemini's `response`).
    pub structured: Option<Raw<'a>>,
    /// The result belongs to a custom tool.
    pub custom: bool,
    /// Prompt cache marker.
    pub cache: Option<CacheMark>,
}

/// Reasoning: visible text, opaque state, or both.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Thought<'a> {
    /// Visible parts, in order. Empty when redacted.
    pub text: Vec<Text<'a>>,
    /// The parts are a summary (true) or the raw chain of thought (false).
    pub summary: bool,
    /// State that must go back to its vendor.
    pub state: Option<Opaque<'a>>,
}

/// Opaque state and whom it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opaque<'a> {
    /// Format of the vendor that made it.
    pub origin: Format,
    /// Signature domain of the channel that made it; `None` if the client brought it unsealed.
    pub domain: Option<u32>,
    /// The state.
    pub state: State<'a>,
}

/// The kinds of opaque reasoning state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State<'a> {
    /// Anthropic's `thinking.signature`.
    Signature(Cow<'a, str>),
    /// Anthropic's `redacted_thinking.data`.
    Redacted(Cow<'a, str>),
    /// OpenAI's reasoning item.
    Reasoning {
        /// Item id.
        id: Option<Cow<'a, str>>,
        /// `encrypted_content`.
        encrypted: Cow<'a, str>,
    },
    /// Gemini's `thoughtSignature` (standard base64) of a call part.
    CallSignature(Cow<'a, str>),
    /// Gemini's `thoughtSignature` of a text, thought or empty part.
    PartSignature(Cow<'a, str>),
    /// Gemini's `thoughtSignature` of the text part that follows this place.
    TextSignature(Cow<'a, str>),
    /// Gemini's `thoughtSignature` of an empty part that ended the turn; the place of this state says nothing.
    TailSignature(Cow<'a, str>),
    /// DeepSeek's plain reasoning text that must be echoed; the text stands in the thought.
    Plain,
    /// A block that only its vendor understands (a server tool's call or result): its JSON.
    Native(Cow<'a, str>),
    /// A seal as the client sent it, not opened yet: what it holds is known after [`crate::unseal`].
    Sealed(Cow<'a, str>),
}

impl Opaque<'_> {
    /// The same state without a borrow of the source.
    #[must_use]
    pub fn into_owned(self) -> Opaque<'static> {
        fn own(text: Cow<'_, str>) -> Cow<'static, str> {
            Cow::Owned(text.into_owned())
        }
        let state = match self.state {
            State::Signature(text) => State::Signature(own(text)),
            State::Redacted(text) => State::Redacted(own(text)),
            State::Reasoning { id, encrypted } => State::Reasoning {
                id: id.map(own),
                encrypted: own(encrypted),
            },
            State::CallSignature(text) => State::CallSignature(own(text)),
            State::PartSignature(text) => State::PartSignature(own(text)),
            State::TextSignature(text) => State::TextSignature(own(text)),
            State::TailSignature(text) => State::TailSignature(own(text)),
            State::Plain => State::Plain,
            State::Native(json) => State::Native(own(json)),
            State::Sealed(text) => State::Sealed(own(text)),
        };
        Opaque {
            origin: self.origin,
            domain: self.domain,
            state,
        }
    }
}

/// A source that a text cites. Offsets count Unicode code points of the block's text (conversion.md 12.6).
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Citation<'a> {
    /// Address of a web source.
    pub url: Option<Text<'a>>,
    /// Title of the source.
    pub title: Option<Text<'a>>,
    /// Range in the text that cites, if known.
    pub range: Option<(u64, u64)>,
    /// The cited words.
    pub quote: Option<Text<'a>>,
    /// A file as the source: its id (OpenAI, Gemini's context) and name.
    pub file: Option<(Text<'a>, Text<'a>)>,
    /// The citation as its own format wrote it.
    pub native: Option<(Format, Raw<'a>)>,
}

/// A block that only its own format knows.
#[derive(Clone, Debug, PartialEq)]
pub struct Native<'a> {
    /// Its format.
    pub format: Format,
    /// Its `type` (or part member name).
    pub kind: Cow<'a, str>,
    /// The whole block.
    pub json: Raw<'a>,
    /// Client spelling of its place (`messages[3].content[1]`).
    pub path: String,
    /// True if dropping it changes what the model is asked (user content): class M. False for assistant history: class H.
    pub must: bool,
}
