//! Wire to IR: one decoder per format and direction.

pub mod chat_request;
pub mod chat_response;
pub mod gemini_request;
pub mod gemini_response;
pub mod messages_request;
pub mod messages_response;
pub mod responses_request;
pub mod responses_response;

mod grounding;
mod intake;
mod openai;
pub(crate) mod usage;

pub(crate) use chat_response::{Logprobs as ChatLogprobs, logprobs as chat_logprobs};
pub(crate) use messages_response::{StopDetails as MessagesStopDetails, citation as messages_citation};
pub(crate) use openai::google_signature;
pub(crate) use responses_response::{Answer as ResponsesAnswer, Item as ResponsesItem};

use crate::error::{Error, ErrorKind};
use crate::format::Format;
use crate::ir::{Request, Response};
use crate::json::{Kind, Reader};
use crate::particulars::Particulars;
use crate::target::Source;
use crate::usage::Usage;
use intake::Intake;

/// Decodes a request body.
///
/// # Errors
/// Not JSON, or not a request of this format; the error points at the place.
pub fn request<'a>(body: &'a str, source: &Source<'a>) -> Result<Request<'a>, Error> {
    let mut request = counted(body, source.format)?;
    if source.format == Format::Messages && request.max_output_tokens.is_none() {
        return Err(Error::at(
            ErrorKind::Missing,
            "/max_tokens",
            "`max_tokens` is required",
        ));
    }
    if let Some(model) = source.model {
        request.model = model.into();
    }
    request.stream |= source.stream;
    Ok(request)
}

/// Decodes a body that is only to be counted: members that only generation needs may be absent.
///
/// # Errors
/// As [`request`].
pub fn counted(body: &str, format: Format) -> Result<Request<'_>, Error> {
    let intake = Intake::default();
    let mut request = match format {
        Format::Chat => chat_request::decode(body, &intake),
        Format::Responses => responses_request::decode(body, &intake),
        Format::Messages => messages_request::decode(body, &intake),
        Format::Gemini => gemini_request::decode(body, &intake),
    }?;
    intake.finish(&mut request);
    Ok(request)
}

/// Decodes a whole answer.
///
/// # Errors
/// Not JSON, or not an answer of this format.
pub fn response(body: &str, format: Format) -> Result<Response<'_>, Error> {
    match format {
        Format::Chat => chat_response::decode(body),
        Format::Responses => responses_response::decode(body),
        Format::Messages => messages_response::decode(body),
        Format::Gemini => gemini_response::decode(body),
    }
}

/// What a relay must know of a whole answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Relayed {
    /// Its usage.
    pub usage: Usage,
    /// It has the member that makes it an answer: `choices`, `output`, `content`, `candidates`.
    pub is_answer: bool,
    /// There is something in it.
    pub has_content: bool,
}

/// Looks at a whole answer that is relayed: its usage and whether it is one. The rest is only checked for syntax.
///
/// # Errors
/// Not a JSON object, or its usage cannot be read.
pub fn relayed(body: &str, format: Format) -> Result<Relayed, Error> {
    watch::<false>(body, format, &mut Particulars::default())
}

/// [`relayed`], noting on the way what the answer says of itself.
///
/// # Errors
/// As [`relayed`].
pub fn relayed_noting(body: &str, format: Format, notes: Option<&mut Particulars>) -> Result<Relayed, Error> {
    match notes {
        Some(notes) => watch::<true>(body, format, notes),
        None => relayed(body, format),
    }
}

/// Compiled twice: who wants no notes pays nothing for them.
fn watch<const NOTING: bool>(body: &str, format: Format, notes: &mut Particulars) -> Result<Relayed, Error> {
    let (content, counters) = match format {
        Format::Chat => ("choices", "usage"),
        Format::Responses => ("output", "usage"),
        Format::Messages => ("content", "usage"),
        Format::Gemini => ("candidates", "usageMetadata"),
    };
    let mut found = Relayed::default();
    let mut reader = Reader::new(body);
    reader.object(|reader, key| {
        let key: &str = key;
        if key == counters && reader.kind() == Kind::Object {
            let before = std::mem::replace(&mut found.usage, usage::read_any(reader, format)?);
            found.usage.tier = found.usage.tier.or(before.tier);
            found.usage.web_searches = found.usage.web_searches.or(before.web_searches);
            return Ok(());
        }
        // OpenAI says these beside the usage.
        if key == "tool_usage" && format == Format::Responses && reader.kind() == Kind::Object {
            let searches = usage::searches(reader)?;
            found.usage.web_searches = found.usage.web_searches.or(searches);
            return Ok(());
        }
        if key == "service_tier" && reader.kind() == Kind::String {
            let tier = crate::usage::ServiceTier::from_name(&reader.text()?.decode());
            found.usage.tier = found.usage.tier.or(tier);
            return Ok(());
        }
        if key == content && reader.kind() == Kind::Array {
            found.is_answer = true;
            return reader.array(|reader, number| {
                found.has_content = true;
                if NOTING && notes.generation(number, reader, format)? {
                    return Ok(());
                }
                reader.skip()
            });
        }
        // A prompt that Gemini blocks is answered without candidates.
        found.is_answer |= format == Format::Gemini && key == "promptFeedback";
        if NOTING && notes.member(key, reader, format)? {
            return Ok(());
        }
        reader.skip()
    })?;
    reader.finish()?;
    Ok(found)
}
