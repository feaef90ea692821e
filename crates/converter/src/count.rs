//! Counting tokens (conversion.md 14.2): between the counting endpoints of three vendors, and an estimate where there is none.
//!
//! | target | path | |
//! |---|---|---|
//! | Messages | `POST /v1/messages/count_tokens` | [`request`] and [`answer`] |
//! | Responses | `POST /v1/responses/input_tokens` | [`request`] and [`answer`] |
//! | Gemini | `POST …/{model}:countTokens` | [`request`] and [`answer`] |
//! | Chat | none | [`request`] gives `None`: `exact` (feature `tokenizer`) or [`estimate`] |

#[cfg(feature = "tokenizer")]
mod exact;

#[cfg(feature = "tokenizer")]
pub use exact::{exact, has_vocabulary};

use crate::convert::in_band;
use crate::decode;
use crate::encode;
use crate::error::{Error, ErrorKind};
use crate::estimate::Estimator;
use crate::failure::{Failure, FailureClass};
use crate::format::{Dialect, Format};
use crate::ir::Request;
use crate::json::{Raw, Reader, Writer, from_str};
use crate::report::Report;
use crate::target::{Options, Source, Target};
use crate::wire::object;
use crate::{Answer, Usage, prepare, unseal};

object! {
    /// The answer of any counting endpoint.
    struct Counted {
        /// Messages, Responses.
        input_tokens: u64 = "input_tokens",
        /// Gemini.
        total_tokens: u64 = "totalTokens",
        /// Gemini.
        cached: u64 = "cachedContentTokenCount",
    }

    /// The long form of Gemini's request.
    struct Wrapped {
        /// What would be sent to generate.
        request: Raw<'a> = "generateContentRequest" | "generate_content_request",
    }
}

/// A converted counting request.
#[derive(Clone, Debug)]
pub struct Counting {
    /// The upstream's body.
    pub body: Vec<u8>,
    /// What was lost.
    pub report: Report,
}

/// Members of a generating request that a counting endpoint takes; Gemini takes all in its long form.
fn counted_members(format: Format) -> &'static [&'static str] {
    match format {
        Format::Messages => &[
            "model",
            "messages",
            "system",
            "tools",
            "tool_choice",
            "thinking",
            "output_config",
            "cache_control",
            "speed",
        ],
        Format::Responses => &[
            "model",
            "input",
            "instructions",
            "tools",
            "tool_choice",
            "parallel_tool_calls",
            "reasoning",
            "text",
            "truncation",
        ],
        Format::Gemini | Format::Chat => &[
            "contents",
            "systemInstruction",
            "tools",
            "toolConfig",
            "generationConfig",
        ],
    }
}

/// Converts a counting request; `None` if the upstream's format has no counting endpoint.
///
/// # Errors
/// Not a request of the client's format, or something in it that the upstream's format cannot carry.
pub fn request(
    body: &[u8],
    source: &Source<'_>,
    target: &Target<'_>,
    options: &Options,
) -> Result<Option<Counting>, Error> {
    if target.format == Format::Chat {
        return Ok(None);
    }
    let text = text(body)?;
    let mut report = Report::new(source.format, target.format, options.mode);
    let mut request = decoded(text, source.format)?;
    if let Some(model) = source.model {
        request.model = model.into();
    }
    input_only(&mut request);
    unseal::unseal(&mut request, options.seal_key.as_ref(), &mut report);
    prepare::prepare(&mut request, target, &mut report)?;
    let whole = encode::request(&request, target, options, &mut report)?;
    let members = kept(&whole, counted_members(target.format))?;
    let mut out = Vec::with_capacity(members.len() + 64);
    let mut w = Writer::new(&mut out);
    // The Gemini API counts system text and tools only in the long form; Vertex has no long form.
    let long = target.format == Format::Gemini && target.dialect != Dialect::Vertex;
    if long {
        w.object(|w| {
            w.key("generateContentRequest").object(|w| {
                w.key("model").str(&format!("models/{}", target.model));
                w.bytes().push(b',');
                w.raw_members(&members);
            });
        });
    } else {
        w.object(|w| w.raw_members(&members));
    }
    Ok(Some(Counting { body: out, report }))
}

/// Forgets what only matters for output, so that it is neither sent nor a reason to refuse.
fn input_only(request: &mut Request<'_>) {
    request.stream = false;
    request.stop.clear();
    request.candidates = None;
    request.logprobs = false;
    request.top_logprobs = None;
    request.max_output_tokens = None;
    request.temperature = None;
    request.top_p = None;
    request.top_k = None;
    request.frequency_penalty = None;
    request.presence_penalty = None;
    request.seed = None;
    request.metadata = None;
    request.service_tier = None;
    request.store = None;
}

/// The members of an encoded request that are wanted, as they stand.
fn kept(whole: &[u8], wanted: &[&str]) -> Result<String, Error> {
    let whole = text(whole)?;
    let mut members = String::with_capacity(whole.len());
    let mut reader = Reader::new(whole);
    reader.object(|reader, key| {
        let raw = reader.raw()?;
        if wanted.contains(&key.as_ref()) {
            if !members.is_empty() {
                members.push(',');
            }
            members.push_str(&format!("\"{key}\":{}", raw.get()));
        }
        Ok(())
    })?;
    Ok(members)
}

fn text(body: &[u8]) -> Result<&str, Error> {
    std::str::from_utf8(body).map_err(|_| Error::new(ErrorKind::Syntax, "the body is not UTF-8"))
}

/// The request inside a counting request.
fn decoded(text: &str, format: Format) -> Result<Request<'_>, Error> {
    if format == Format::Gemini {
        let wrapped: Wrapped<'_> = from_str(text)?;
        if let Some(inner) = wrapped.request.filter(|raw| raw.is_object()) {
            return decode::counted(inner.get(), format)
                .map_err(|error| error.under("generateContentRequest"));
        }
    }
    decode::counted(text, format)
}

/// Converts a counting answer to the client's shape. Its usage is empty: counting is free.
///
/// # Errors
/// Not a counting answer, or an error document.
pub fn answer(body: &[u8], client: Format) -> Result<Answer, Failure> {
    let bad = || {
        Failure::new(
            FailureClass::UpstreamBad,
            "The provider's token count could not be read.",
        )
    };
    let text = std::str::from_utf8(body).map_err(|_| bad())?;
    let counted: Option<Counted<'_>> = from_str(text).ok();
    let tokens = counted
        .as_ref()
        .and_then(|counted| counted.input_tokens.or(counted.total_tokens))
        .ok_or_else(|| in_band(text).unwrap_or_else(bad))?;
    let cached = counted.and_then(|counted| counted.cached);
    Ok(Answer {
        body: write(tokens, cached, client),
        usage: Usage::default(),
        native_finish: None,
        dropped: Vec::new(),
    })
}

/// The answer to `messages/count_tokens`, `responses/input_tokens` or `:countTokens`, estimated. `factor`: what the model has been
/// found to count for each estimated token.
///
/// # Errors
/// Not a request of this format.
pub fn estimate(body: &[u8], format: Format, factor: f64) -> Result<Vec<u8>, Error> {
    let tokens = Estimator::of_request(&decoded(text(body)?, format)?);
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a positive number of tokens, far below 2^52"
    )]
    let tokens = (tokens as f64 * factor).ceil() as u64;
    Ok(write(tokens.max(1), None, format))
}

fn write(tokens: u64, cached: Option<u64>, client: Format) -> Vec<u8> {
    let mut out = Vec::with_capacity(64);
    Writer::new(&mut out).object(|w| match client {
        Format::Gemini => {
            w.key("totalTokens").u64(tokens);
            if let Some(cached) = cached {
                w.key("cachedContentTokenCount").u64(cached);
            }
        }
        Format::Responses => {
            w.key("object").str("response.input_tokens");
            w.key("input_tokens").u64(tokens);
        }
        Format::Chat | Format::Messages => w.key("input_tokens").u64(tokens),
    });
    out
}

#[cfg(test)]
mod tests;
