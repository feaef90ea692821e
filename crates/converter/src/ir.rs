//! The one intermediate form between the four wire formats (conversion.md 3.3).
//!
//! It is a superset of the four: block order is the model's order, nothing is merged, tool arguments and schemas stay raw text.
//! Decoders build it, encoders read it; neither knows the other side. What no member here can hold travels as [`request::Native`]
//! (request members) or [`block::Native`] (content) under its own name, so that every loss can be reported.

pub mod block;
pub mod member;
pub mod request;
pub mod response;

pub use block::TextBlock;
pub use block::{
    Arguments, Block, CacheMark, Citation, Detail, Media, MediaKind, Opaque, Source, State, Thought,
    ToolCall, ToolResult,
};
pub use member::Member;
pub use request::{
    Effort, Loss, OutputFormat, Reasoning, ReasoningDepth, Request, Role, Show, Speech, Summary, SystemBlock,
    Tool, ToolChoice, ToolKind, Turn,
};
pub use response::{Candidate, Logprob, Response};
