//! Tools of a generateContent request.

use super::camel;
use crate::decode::intake::Intake;
use crate::error::{Error, ErrorKind};
use crate::format::Format;
use crate::ir::{Tool, ToolChoice, ToolKind};
use crate::json::{Raw, from_str};
use crate::report::Class;
use crate::wire::gemini as wire;
use std::borrow::Cow;

/// Members of function declarations without an effect elsewhere (conversion.md 8.1).
pub(super) const OF_FUNCTIONS: &[(&str, Class)] = &[("behavior", Class::Inert), ("response", Class::Inert)];

pub(super) fn tools<'a>(tools: Vec<wire::Tool<'a>>, intake: &Intake) -> Result<Vec<Tool<'a>>, Error> {
    let mut list = Vec::new();
    for (index, tool) in tools.into_iter().enumerate() {
        for (number, declared) in tool
            .function_declarations
            .unwrap_or_default()
            .into_iter()
            .enumerate()
        {
            let name = declared.name.ok_or_else(|| {
                let at = format!("/tools/{index}/functionDeclarations/{number}/name");
                Error::at(ErrorKind::Missing, at, "a function needs a name")
            })?;
            let openapi = declared.parameters_json_schema.is_none() && declared.parameters.is_some();
            let parameters = declared.parameters_json_schema.or(declared.parameters);
            let kind = ToolKind::Function {
                parameters: parameters.filter(|schema| !schema.is_null()),
                openapi,
                strict: None,
            };
            let path = format!("tools[{index}].functionDeclarations[{number}]");
            intake.extra(&path, &declared.extra, OF_FUNCTIONS);
            list.push(Tool {
                description: declared.description,
                output_schema: declared.response_json_schema,
                ..Tool::new(name, kind, path)
            });
        }
        for (kind, json) in tool.extra.into_iter().filter(|(_, json)| !json.is_null()) {
            let kind = camel(kind);
            let path = format!("tools[{index}].{kind}");
            let servers = from_str::<Vec<Raw<'a>>>(json.get()).unwrap_or_default();
            if kind == "mcpServers" && !servers.is_empty() {
                for (number, server) in servers.into_iter().enumerate() {
                    list.push(hosted(kind.clone(), server, format!("{path}[{number}]")));
                }
            } else {
                list.push(hosted(kind, json, path));
            }
        }
    }
    Ok(list)
}

pub(super) fn hosted<'a>(kind: Cow<'a, str>, json: Raw<'a>, path: String) -> Tool<'a> {
    let hosted = ToolKind::Hosted {
        format: Format::Gemini,
        kind: kind.clone(),
        json,
    };
    Tool::new(kind, hosted, path)
}

pub(super) fn tool_choice(config: wire::FunctionCallingConfig<'_>) -> Option<ToolChoice<'_>> {
    let names = config.allowed_function_names.unwrap_or_default();
    let mode = config.mode.unwrap_or_default().to_ascii_uppercase();
    match (mode.as_str(), names.len()) {
        ("NONE", _) => Some(ToolChoice::None),
        ("ANY", 0) => Some(ToolChoice::Any),
        ("ANY", 1) => names.into_iter().next().map(ToolChoice::Tool),
        ("ANY", _) => Some(ToolChoice::Subset {
            names,
            required: true,
        }),
        ("VALIDATED", 0) => Some(ToolChoice::Validated),
        ("VALIDATED", _) => Some(ToolChoice::Subset {
            names,
            required: false,
        }),
        ("AUTO", _) => Some(ToolChoice::Auto),
        _ => None,
    }
}
