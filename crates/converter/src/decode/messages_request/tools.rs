//! Tools of a Messages request.

use super::blocks::cache;
use crate::decode::intake::Intake;
use crate::error::{Error, ErrorKind};
use crate::format::Format;
use crate::ir::{Tool, ToolChoice, ToolKind};
use crate::json::{Raw, from_str};
use crate::report::Class;
use crate::wire::messages as wire;

/// Members of tools without an effect elsewhere (conversion.md 8.1).
pub(super) const OF_TOOLS: &[(&str, Class)] = &[
    ("input_examples", Class::Inert),
    ("eager_input_streaming", Class::Inert),
];

pub(super) fn tools<'a>(tools: Vec<Raw<'a>>, intake: &Intake) -> Result<Vec<Tool<'a>>, Error> {
    let mut list = Vec::with_capacity(tools.len());
    for (index, raw) in tools.into_iter().enumerate() {
        let at = |error: Error| error.under_index(index).under("tools");
        list.push(tool(raw, format!("tools[{index}]"), intake).map_err(at)?);
    }
    Ok(list)
}

pub(super) fn tool<'a>(raw: Raw<'a>, path: String, intake: &Intake) -> Result<Tool<'a>, Error> {
    let tool: wire::Tool<'a> = from_str(raw.get())?;
    let missing = || Error::at(ErrorKind::Missing, "/name", "a tool needs a `name`");
    let cache = cache(tool.cache_control.as_ref());
    let hosted = tool.kind.filter(|kind| kind != "custom");
    let name = match &hosted {
        None => tool.name.ok_or_else(missing)?,
        Some(kind) => tool.name.unwrap_or_else(|| kind.clone()),
    };
    let kind = match hosted {
        Some(kind) => ToolKind::Hosted {
            format: Format::Messages,
            kind,
            json: raw,
        },
        None => {
            intake.extra(&path, &tool.extra, OF_TOOLS);
            ToolKind::Function {
                parameters: tool.input_schema.filter(|schema| !schema.is_null()),
                openapi: false,
                strict: tool.strict,
            }
        }
    };
    Ok(Tool {
        description: tool.description,
        cache,
        defer: tool.defer_loading.unwrap_or(false),
        callers: tool.allowed_callers,
        ..Tool::new(name, kind, path)
    })
}

pub(super) fn tool_choice<'a>(choice: wire::ToolChoice<'a>, tools: &[Tool<'a>]) -> Option<ToolChoice<'a>> {
    match choice.kind.as_deref()? {
        "auto" => Some(ToolChoice::Auto),
        "any" => Some(ToolChoice::Any),
        "none" => Some(ToolChoice::None),
        "tool" => {
            let name = choice.name?;
            let hosted = tools
                .iter()
                .find(|tool| tool.name == name)
                .is_some_and(|tool| matches!(tool.kind, ToolKind::Hosted { .. }));
            Some(if hosted {
                ToolChoice::Hosted(name)
            } else {
                ToolChoice::Tool(name)
            })
        }
        _ => None,
    }
}
