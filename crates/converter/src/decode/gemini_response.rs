//! Answers of the gemini format to the IR.

use crate::error::{Error, ErrorKind};
use crate::ir::Response;

pub(super) fn decode(_body: &str) -> Result<Response<'_>, Error> {
    Err(Error::new(
        ErrorKind::Unsupported,
        "the gemini format is not decoded yet",
    ))
}
