//! The entry points: whole requests and whole answers.

use crate::context::Context;
use crate::error::{Error, ErrorKind};
use crate::failure::{Failure, FailureClass};
use crate::report::Report;
use crate::target::{Options, Source, Target};
use crate::usage::Usage;
use crate::{decode, encode, prepare};

/// A converted request.
#[derive(Clone, Debug)]
pub struct Converted {
    /// The upstream's body.
    pub body: Vec<u8>,
    /// What the way back needs.
    pub context: Context,
    /// What was lost.
    pub report: Report,
}

/// A converted answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The client's body.
    pub body: Vec<u8>,
    /// Token usage.
    pub usage: Usage,
    /// The upstream's own finish reason, if its mapping is not one to one.
    pub native_finish: Option<String>,
}

/// Converts a request body between two formats.
///
/// # Errors
/// The body is not a request of the client's format, or holds something of class M that the upstream cannot carry.
pub fn convert_request(
    body: &[u8],
    source: &Source<'_>,
    target: &Target<'_>,
    options: &Options,
) -> Result<Converted, Error> {
    let text = std::str::from_utf8(body).map_err(|error| {
        Error::new(
            ErrorKind::Syntax,
            format!("the body is not UTF-8 at byte {}", error.valid_up_to()),
        )
    })?;
    let mut report = Report::new(source.format, target.format, options.mode);
    let mut request = decode::request(text, source)?;
    prepare::prepare(&mut request, &mut report)?;
    let body = encode::request(&request, target, options, &mut report)?;
    let context = prepare::context(&request, source, target, options);
    Ok(Converted {
        body,
        context,
        report,
    })
}

/// Converts a whole answer back to the client's format.
///
/// # Errors
/// The upstream's body is not an answer, or says that it failed.
pub fn convert_response(body: &[u8], context: &Context) -> Result<Answer, Failure> {
    let text = std::str::from_utf8(body)
        .map_err(|_| Failure::new(FailureClass::UpstreamBad, "the upstream's answer is not UTF-8"))?;
    let response = decode::response(text, context.upstream).map_err(|_| {
        Failure::new(
            FailureClass::UpstreamBad,
            "the upstream's answer could not be read",
        )
    })?;
    Ok(Answer {
        body: encode::response(&response, context),
        usage: response.usage,
        native_finish: None,
    })
}
