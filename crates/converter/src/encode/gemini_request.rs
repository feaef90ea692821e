//! The IR to request bodies of the gemini format.

use crate::error::{Error, ErrorKind};
use crate::ir::Request;
use crate::report::Report;
use crate::target::{Options, Target};

pub(super) fn encode(
    _request: &Request<'_>,
    _target: &Target<'_>,
    _options: &Options,
    _report: &mut Report,
) -> Result<Vec<u8>, Error> {
    Err(Error::new(
        ErrorKind::Unsupported,
        "the gemini format is not encoded yet",
    ))
}
