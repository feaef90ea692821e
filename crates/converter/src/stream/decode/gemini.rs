//! Stream events of the gemini format to hub events.

use super::Decode;
use crate::failure::Failure;
use crate::stream::event::Sink;

/// Decoder of one gemini stream.
#[derive(Debug, Default)]
pub(crate) struct Decoder {}

impl Decode for Decoder {
    fn event(&mut self, _name: Option<&str>, _data: &str, _sink: &mut dyn Sink) -> Result<(), Failure> {
        Ok(())
    }

    fn end(&mut self, _sink: &mut dyn Sink) -> Result<(), Failure> {
        Ok(())
    }
}
