//! What becomes of declared tools at an upstream of another format: client-run vendor tools turn into shims, vendor-run ones stay
//! if the upstream has their like, the rest is dropped and reported (conversion.md 2.3, 8.6).

use std::borrow::Cow;

use crate::error::{Error, ErrorKind};
use crate::format::Format;
use crate::hosted::{self, Capability, NoServer};
use crate::ir::{Request, Tool, ToolChoice, ToolKind};
use crate::json::Raw;
use crate::profile::profile;
use crate::report::{Class, Report, pointer};
use crate::shim::{self, CallItem};
use crate::target::Target;

/// Replaces, keeps or drops every hosted tool, and settles a choice that names one.
///
/// # Errors
/// A forced tool that the upstream lacks, an MCP server that asks for approvals, hints in strict mode.
pub(crate) fn settle(
    request: &mut Request<'_>,
    target: &Target<'_>,
    report: &mut Report,
) -> Result<(), Error> {
    let forced = forced(request);
    let tools = std::mem::take(&mut request.tools);
    let mut taken: Vec<String> = tools
        .iter()
        .filter(|tool| !matches!(tool.kind, ToolKind::Hosted { .. }))
        .map(|tool| tool.name.clone().into_owned())
        .collect();
    // Whether a tool is carried may depend on the others, so they all stand in the request while each is judged.
    request.tools.clone_from(&tools);
    let functions = !taken.is_empty();
    let mut settled = Vec::with_capacity(tools.len());
    for (index, tool) in tools.into_iter().enumerate() {
        let chosen = forced == Some(index);
        let ToolKind::Hosted { format, kind, .. } = &tool.kind else {
            settled.push(tool);
            continue;
        };
        if *format == target.format {
            settled.push(tool);
            continue;
        }
        if let Some(shims) = shims(*format, kind, &tool) {
            if chosen && let [only] = shims.as_slice() {
                request.tool_choice = Some(ToolChoice::Tool(only.name.clone()));
            }
            for shim in shims {
                if taken.contains(&shim.name.clone().into_owned()) && shim.namespace.is_none() {
                    report.cannot_carry(shim.path, Class::Hint)?;
                    continue;
                }
                taken.push(shim.name.clone().into_owned());
                report.emulated(&shim.path, "shim");
                settled.push(shim);
            }
            continue;
        }
        if carried(&tool, request, functions, target)? {
            settled.push(tool);
            continue;
        }
        if chosen {
            report.cannot_carry(choice_path(report.client()), Class::Must)?;
            request.tool_choice = None;
        }
        report.cannot_carry(tool.path, Class::Hint)?;
    }
    request.tools = settled;
    Ok(())
}

fn choice_path(client: Format) -> &'static str {
    crate::ir::Member::ToolChoice.path(client)
}

/// The tool that a hosted choice means.
fn forced(request: &Request<'_>) -> Option<usize> {
    let Some(ToolChoice::Hosted(word)) = &request.tool_choice else {
        return None;
    };
    request.tools.iter().position(|tool| match &tool.kind {
        ToolKind::Hosted { format, kind, .. } => {
            kind == word
                || tool.name == *word
                || hosted::capability(*format, kind)
                    .is_some_and(|does| hosted::capability(*format, word) == Some(does))
        }
        _ => false,
    })
}

/// The functions that stand for a client-run tool.
fn shims<'a>(format: Format, kind: &str, tool: &Tool<'a>) -> Option<Vec<Tool<'a>>> {
    let function = |name: Cow<'a, str>, description: &'static str, schema: Option<&'static str>| {
        let kind = ToolKind::Function {
            parameters: schema.map(Raw::of_const),
            openapi: false,
            strict: None,
        };
        Tool {
            description: Some(description.into()),
            cache: tool.cache,
            ..Tool::new(name, kind, tool.path.clone())
        }
    };
    if format == Format::Messages && kind.starts_with("computer_toolset") {
        let members = shim::COMPUTER_TOOLSET.iter().map(|(name, schema)| Tool {
            namespace: Some("computer".into()),
            ..function((*name).into(), "An action on the computer's screen.", *schema)
        });
        return Some(members.collect());
    }
    if !matches!(format, Format::Messages | Format::Responses) {
        return None;
    }
    let shim = shim::of(kind)?;
    let item = CallItem::of_tool(kind).filter(|_| format == Format::Responses);
    let name = match item {
        Some(item) => Cow::Borrowed(item.tool()),
        None => tool.name.clone(),
    };
    Some(vec![Tool {
        item,
        ..function(name, shim.description, Some(shim.schema))
    }])
}

/// Whether the upstream has this hosted tool.
fn carried(
    tool: &Tool<'_>,
    request: &Request<'_>,
    functions: bool,
    target: &Target<'_>,
) -> Result<bool, Error> {
    let Some(capability) = hosted::of(tool) else {
        return Ok(false);
    };
    if capability == Capability::Mcp {
        match hosted::server(tool, request) {
            Ok(_) => {}
            Err(NoServer::Unreachable) => return Ok(false),
            Err(NoServer::Approval) if target.format == Format::Chat => return Ok(false),
            Err(NoServer::Approval) => {
                let at = format!("{}/require_approval", pointer(&tool.path));
                let text = "only `\"never\"` can be carried to the upstream that serves this model";
                return Err(Error::at(ErrorKind::Unsupported, at, text));
            }
        }
    }
    // Gemini before 3, and Vertex, refuse search next to functions (conversion.md 8.6).
    let alone = target.format == Format::Gemini && functions && {
        let profile = profile(target.format, target.dialect, target.model);
        !profile.signatures || target.dialect == crate::Dialect::Vertex
    };
    Ok(!alone && hosted::carried(capability, request, target))
}
