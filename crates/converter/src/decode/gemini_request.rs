//! Request bodies of the gemini format to the IR.

use crate::error::{Error, ErrorKind};
use crate::ir::Request;

pub(super) fn decode(_body: &str) -> Result<Request<'_>, Error> {
    Err(Error::new(
        ErrorKind::Unsupported,
        "the gemini format is not decoded yet",
    ))
}
