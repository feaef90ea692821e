//! Pure conversion between the wire formats of four LLM APIs: OpenAI Chat Completions, OpenAI Responses, Anthropic Messages and
//! Google Gemini; requests, answers, streams and errors.
//!
//! # How it works
//! Four decoders and four encoders per direction around one intermediate form ([`ir`]) for whole bodies and one event vocabulary
//! ([`stream::event`]) for streams; never twelve pairwise converters. The same format on both sides never comes here: its bytes
//! are relayed ([`scan`] reads what routing needs, [`bound`] holds the output down, [`stream::Relay`] watches a stream).
//!
//! # What it is not
//! No I/O, no async, no clock, no randomness: time and ids come as arguments ([`Options`]). No model of prices or tokens.
//!
//! # Invariants
//! Same input, same bytes. Nothing is lost silently: what a format cannot carry is refused or stands in the [`Report`]. Numbers
//! and strings inside arguments and schemas keep their source text. Any input ends in a value or an [`Error`], never in a panic.
//!
//! Start reading at [`convert_request`], [`convert_response`] and [`stream::Stream`].

pub mod bound;
pub mod context;
mod convert;
pub mod count;
mod date;
pub mod decode;
pub mod embed;
pub mod encode;
mod error;
pub mod estimate;
pub mod failure;
mod format;
mod hosted;
pub mod ir;
pub mod json;
mod marks;
pub mod media;
pub mod models;
pub mod names;
mod particulars;
mod prepare;
pub mod profile;
mod report;
pub mod scan;
pub mod schema;
mod scrub;
pub mod seal;
mod settings;
mod shim;
mod span;
pub mod sse;
mod stop;
pub mod stream;
mod target;
mod tools;
mod unseal;
mod usage;
pub mod wire;

pub use context::Context;
pub use convert::{Answer, Converted, convert_request, convert_response, convert_response_noting};
pub use error::{Error, ErrorKind};
pub use failure::{Failure, FailureClass};
pub use format::{Dialect, Format, UnknownFormat};
pub use particulars::Particulars;
pub use report::{Class, Mode, Report};
pub use scrub::{Scrubbed, scrub, strip_state};
pub use settings::{Settings, settings};
pub use shim::CallItem;
pub use stop::Stop;
pub use target::{Options, Source, Target};
pub use usage::{ServiceTier, Usage};
