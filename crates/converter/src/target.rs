//! Where a converted request goes, and how strict the conversion is.

use crate::format::{Dialect, Format};
use crate::report::Mode;

/// The upstream of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target<'t> {
    /// Format the upstream speaks.
    pub format: Format,
    /// Its variation.
    pub dialect: Dialect,
    /// Model name at the upstream.
    pub model: &'t str,
    /// Signature domain of the channel: state made there is valid only there (conversion.md 7.2).
    pub domain: u32,
}

/// Settings of a conversion; from the channel and the request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// What happens to members without an equivalent.
    pub mode: Mode,
    /// Output limit written for Messages upstreams when the client gave none; `None`: the model's maximum.
    pub default_max_tokens: Option<u64>,
    /// Most output tokens that may be asked for, thinking included: a limiter's word. Only Messages upstreams need it, whose limit is
    /// otherwise raised to make room for a thinking budget; the body itself is held by [`crate::bound::bound_output`].
    pub max_output: Option<u64>,
    /// Key of the seals; `None`: seals are checked by CRC only.
    pub seal_key: Option<[u8; 32]>,
    /// The gateway's own request id without prefix (base62); makes generated ids unique and reproducible.
    pub request_id: String,
    /// Arrival time, seconds since 1970; for `created` members the upstream does not give.
    pub now: u64,
}

/// What the client sent besides its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source<'s> {
    /// Format the client speaks.
    pub format: Format,
    /// Model from the path (Gemini, Azure); the body's `model` otherwise.
    pub model: Option<&'s str>,
    /// Gemini: the method was `streamGenerateContent`. The other formats say it in the body.
    pub stream: bool,
    /// Gemini: the stream is a JSON array, not `alt=sse`.
    pub array: bool,
}
