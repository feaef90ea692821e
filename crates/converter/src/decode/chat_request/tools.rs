//! Tools of a Chat request.

use crate::decode::intake::Intake;
use crate::decode::openai::cache_mark;
use crate::error::{Error, ErrorKind};
use crate::format::Format;
use crate::ir::{Tool, ToolKind};
use crate::json::{Raw, from_str};
use crate::wire::chat as wire;
use std::borrow::Cow;

pub(super) fn tools<'a>(
    tools: Vec<Raw<'a>>,
    functions: Vec<wire::Function<'a>>,
    intake: &Intake,
) -> Result<Vec<Tool<'a>>, Error> {
    let mut list = Vec::with_capacity(tools.len() + functions.len());
    for (index, raw) in tools.into_iter().enumerate() {
        let at = |error: Error| error.under_index(index).under("tools");
        list.push(tool(raw, format!("tools[{index}]"), intake).map_err(at)?);
    }
    for (index, declared) in functions.into_iter().enumerate() {
        let at = |error: Error| error.under_index(index).under("functions");
        list.push(function(declared, None, format!("functions[{index}]"), intake).map_err(at)?);
    }
    Ok(list)
}

pub(super) fn tool<'a>(raw: Raw<'a>, path: String, intake: &Intake) -> Result<Tool<'a>, Error> {
    let tool: wire::Tool<'a> = from_str(raw.get())?;
    let cache = cache_mark(tool.cache_control.as_ref());
    if let Some(declared) = tool.function {
        intake.extra(&path, &tool.extra, &[]);
        return function(declared, cache, path, intake).map_err(|error| error.under("function"));
    }
    if let Some(custom) = tool.custom {
        let name = custom
            .name
            .ok_or_else(|| Error::at(ErrorKind::Missing, "/custom/name", "a tool needs a name"))?;
        let format = custom.format.map(flat_format).transpose()?.flatten();
        intake.extra(&path, &custom.extra, &[]);
        return Ok(Tool {
            description: custom.description,
            cache,
            ..Tool::new(name, ToolKind::Custom { format }, path)
        });
    }
    let kind = tool
        .kind
        .ok_or_else(|| Error::at(ErrorKind::Missing, "/type", "a tool needs a `type`"))?;
    let name = kind.clone();
    let kind = ToolKind::Hosted {
        format: Format::Chat,
        kind,
        json: raw,
    };
    Ok(Tool {
        cache,
        ..Tool::new(name, kind, path)
    })
}

/// Chat nests a grammar one level deeper than Responses; the IR keeps the inner object, which has both members.
pub(super) fn flat_format(raw: Raw<'_>) -> Result<Option<Raw<'_>>, Error> {
    crate::wire::object! {
        /// `custom.format`.
        pub(crate) struct Format {
            /// text or grammar.
            kind: Cow<'a, str> = "type",
            /// The grammar.
            grammar: Raw<'a> = "grammar",
        }
    }
    let format: Format<'_> = from_str(raw.get())?;
    Ok(format.grammar)
}

pub(super) fn function<'a>(
    function: wire::Function<'a>,
    cache: Option<crate::ir::CacheMark>,
    path: String,
    intake: &Intake,
) -> Result<Tool<'a>, Error> {
    intake.extra(&path, &function.extra, &[]);
    let name = function
        .name
        .ok_or_else(|| Error::at(ErrorKind::Missing, "/name", "a function needs a name"))?;
    let parameters = function.parameters.filter(|schema| !schema.is_null());
    let kind = ToolKind::Function {
        parameters,
        openapi: false,
        strict: function.strict,
    };
    Ok(Tool {
        description: function.description,
        cache,
        ..Tool::new(name, kind, path)
    })
}
