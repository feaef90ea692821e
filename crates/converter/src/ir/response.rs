//! A whole answer, whatever format it came in.

use std::borrow::Cow;

use crate::ir::block::Block;
use crate::json::{Raw, Text};
use crate::stop::Stop;
use crate::usage::Usage;

/// An answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Response<'a> {
    /// The upstream's id; empty if it gave none.
    pub id: Cow<'a, str>,
    /// The model that the upstream reports.
    pub model: Option<Cow<'a, str>>,
    /// Seconds since 1970, if the upstream reports it.
    pub created: Option<u64>,
    /// Answers; more than one only between Chat and Gemini.
    pub candidates: Vec<Candidate<'a>>,
    /// Token counters.
    pub usage: Usage,
    /// Tier that served it, in OpenAI's words.
    pub service_tier: Option<Cow<'a, str>>,
    /// `system_fingerprint` (Chat).
    pub fingerprint: Option<Text<'a>>,
    /// What the decoder met and no other format can say, for the report.
    pub dropped: Vec<Cow<'static, str>>,
}

/// One answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Candidate<'a> {
    /// Its number.
    pub index: u64,
    /// What was said, in order.
    pub blocks: Vec<Block<'a>>,
    /// Why it ended.
    pub stop: Stop<'a>,
    /// The upstream's own word for it, for `x-gateway-native-finish`.
    pub native_stop: Option<Cow<'a, str>>,
    /// Log probabilities of the visible text.
    pub logprobs: Vec<Logprob<'a>>,
}

/// Log probability of one token; numbers as source text.
#[derive(Clone, Debug, PartialEq)]
pub struct Logprob<'a> {
    /// The token.
    pub token: Text<'a>,
    /// Its log probability.
    pub logprob: Raw<'a>,
    /// Its bytes, a list of numbers; absent: those of its UTF-8.
    pub bytes: Option<Raw<'a>>,
    /// Alternatives.
    pub top: Vec<(Text<'a>, Raw<'a>)>,
}
