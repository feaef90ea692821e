//! Tools of a Responses request.

use crate::decode::intake::Intake;
use crate::error::{Error, ErrorKind};
use crate::format::Format;
use crate::ir::{Tool, ToolKind};
use crate::json::{Raw, from_str};
use crate::report::Class;
use crate::wire::responses as wire;
use std::borrow::Cow;

/// Members of tools without an effect elsewhere (conversion.md 8.1).
pub(super) const OF_TOOLS: &[(&str, Class)] = &[("async", Class::Inert)];

pub(super) fn tools<'a>(tools: Vec<Raw<'a>>, intake: &Intake) -> Result<Vec<Tool<'a>>, Error> {
    let mut list = Vec::with_capacity(tools.len());
    for (index, raw) in tools.into_iter().enumerate() {
        let at = |error: Error| error.under_index(index).under("tools");
        tool(raw, None, format!("tools[{index}]"), &mut list, intake).map_err(at)?;
    }
    Ok(list)
}

pub(super) fn tool<'a>(
    raw: Raw<'a>,
    namespace: Option<Cow<'a, str>>,
    path: String,
    list: &mut Vec<Tool<'a>>,
    intake: &Intake,
) -> Result<(), Error> {
    let tool: wire::Tool<'a> = from_str(raw.get())?;
    let declared = tool.kind.unwrap_or_default();
    let name = tool.name;
    let missing = || Error::at(ErrorKind::Missing, "/name", "a tool needs a name");
    let kind = match declared.as_ref() {
        "function" => {
            let parameters = tool.parameters.filter(|schema| !schema.is_null());
            ToolKind::Function {
                parameters,
                openapi: false,
                strict: tool.strict,
            }
        }
        "custom" => ToolKind::Custom { format: tool.format },
        "namespace" => {
            for (index, inner) in tool.tools.unwrap_or_default().into_iter().enumerate() {
                self::tool(
                    inner,
                    name.clone(),
                    format!("{path}.tools[{index}]"),
                    list,
                    intake,
                )
                .map_err(|error| error.under_index(index).under("tools"))?;
            }
            return Ok(());
        }
        _ => {
            let name = name.unwrap_or_else(|| declared.clone());
            let kind = ToolKind::Hosted {
                format: Format::Responses,
                kind: declared,
                json: raw,
            };
            list.push(Tool {
                namespace,
                ..Tool::new(name, kind, path)
            });
            return Ok(());
        }
    };
    let name = name.ok_or_else(missing)?;
    intake.extra(&path, &tool.extra, OF_TOOLS);
    list.push(Tool {
        description: tool.description,
        namespace,
        defer: tool.defer_loading.unwrap_or(false),
        callers: tool.allowed_callers,
        output_schema: tool.output_schema,
        ..Tool::new(name, kind, path)
    });
    Ok(())
}
