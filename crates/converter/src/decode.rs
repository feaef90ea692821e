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
use crate::target::Source;
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
