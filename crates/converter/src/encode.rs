//! IR to wire: one encoder per format and direction.

pub mod chat_request;
pub mod chat_response;
pub mod gemini_request;
pub mod gemini_response;
pub mod messages_request;
pub mod messages_response;
pub mod responses_request;
pub mod responses_response;

pub(crate) mod answer;
pub(crate) mod chain;
mod grounding;
mod hosted;
mod parts;
pub(crate) mod usage;

pub(crate) use chat_response as chat;
pub(crate) use gemini_response as gemini;
pub(crate) use messages_response as messages;
pub(crate) use parts::{is_object as is_json, upstream_name};
pub(crate) use responses_response as responses;

use crate::context::Context;
use crate::error::Error;
use crate::format::Format;
use crate::ir::{Request, Response};
use crate::report::Report;
use crate::target::{Options, Target};

/// Encodes a request for an upstream.
///
/// # Errors
/// A member of class M has no equivalent there.
pub fn request(
    request: &Request<'_>,
    target: &Target<'_>,
    options: &Options,
    report: &mut Report,
) -> Result<Vec<u8>, Error> {
    match target.format {
        Format::Chat => chat_request::encode(request, target, options, report),
        Format::Responses => responses_request::encode(request, target, options, report),
        Format::Messages => messages_request::encode(request, target, options, report),
        Format::Gemini => gemini_request::encode(request, target, options, report),
    }
}

/// Encodes a whole answer for the client.
#[must_use]
pub fn response(response: &Response<'_>, context: &Context) -> Vec<u8> {
    match context.client {
        Format::Chat => chat_response::encode(response, context),
        Format::Responses => responses_response::encode(response, context),
        Format::Messages => messages_response::encode(response, context),
        Format::Gemini => gemini_response::encode(response, context),
    }
}
