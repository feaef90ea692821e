//! The IR to answers of the chat format.

use crate::context::Context;
use crate::ir::Response;

pub(super) fn encode(_response: &Response<'_>, _context: &Context) -> Vec<u8> {
    Vec::new()
}
