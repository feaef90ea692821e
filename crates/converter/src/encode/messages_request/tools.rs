//! Tools of a Messages request.

use super::content::cache;
use super::plan::{Form, Plan};
use crate::encode::chat_request::validated_strict;
use crate::encode::parts::{NO_PARAMETERS, declared_name, tool_extras_lost, upstream_name};
use crate::error::Error;
use crate::hosted::{self, Capability};
use crate::ir::{Block, Member, Request, Tool, ToolChoice, ToolKind};
use crate::json::{Raw, Writer};
use crate::profile::Profile;
use crate::report::{Class, Report};
use crate::target::Target;
use crate::{Format, schema};

pub(super) fn tools(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    target: &Target<'_>,
    profile: &Profile,
    plan: &Plan,
    report: &mut Report,
) -> Result<(), Error> {
    if request.tools.is_empty() {
        undeclared_tools(w, request, target, report);
        return Ok(());
    }
    let searches = request
        .tools
        .iter()
        .any(|tool| hosted::of(tool) == Some(Capability::ToolSearch));
    let context = ToolContext {
        searches,
        validated: matches!(request.tool_choice, Some(ToolChoice::Validated)),
    };
    w.key("tools").begin_array();
    for tool in &request.tools {
        if let Some(capability) = hosted::of(tool).filter(|_| report.client() != Format::Messages) {
            hosted::write(w.item(), tool, capability, request, target, report)?;
            continue;
        }
        tool_extras_lost(
            tool,
            &[
                ("output_schema", tool.output_schema.is_some()),
                ("defer_loading", tool.defer && !searches),
            ],
            report,
        )?;
        tool_entry(w.item(), tool, target, profile, &context, report);
    }
    w.end_array();
    tool_choice(w, request, target, profile, plan, report)
}

/// A history with tool blocks needs `tools` (conversion.md 8.5): the names found there are declared, none may be called.
pub(super) fn undeclared_tools(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    target: &Target<'_>,
    report: &mut Report,
) {
    let mut used: Vec<String> = Vec::new();
    for block in request.turns.iter().flat_map(|turn| &turn.blocks) {
        if let Block::ToolCall(call) = block {
            let name = upstream_name(&call.name, call.namespace.as_deref(), target).into_owned();
            if !used.contains(&name) {
                used.push(name);
            }
        }
    }
    if used.is_empty() {
        return;
    }
    report.emulated(Member::Tools.path(report.client()), "history");
    w.key("tools").array(|w| {
        for name in &used {
            w.item().object(|w| {
                w.key("name").str(name);
                w.key("input_schema").raw(Raw::of_const(NO_PARAMETERS));
            });
        }
    });
    w.key("tool_choice").raw(Raw::of_const(r#"{"type":"none"}"#));
}

/// What the entry of one tool must know of the others.
pub(super) struct ToolContext {
    /// A tool search is declared: deferred tools may stay deferred.
    pub(super) searches: bool,
    /// Gemini's VALIDATED mode.
    pub(super) validated: bool,
}

pub(super) fn tool_entry(
    w: &mut Writer<'_>,
    tool: &Tool<'_>,
    target: &Target<'_>,
    profile: &Profile,
    context: &ToolContext,
    report: &mut Report,
) {
    if let ToolKind::Hosted { json, .. } = &tool.kind {
        return w.raw(*json);
    }
    let name = upstream_name(&tool.name, tool.namespace.as_deref(), target);
    w.object(|w| {
        match &tool.kind {
            ToolKind::Custom { format } => {
                report.emulated(&tool.path, "shim");
                crate::encode::chat_request::shim(w, &name, tool, *format, "input_schema");
            }
            ToolKind::Function {
                parameters,
                openapi,
                strict,
            } => {
                w.key("name").str(&name);
                if let Some(description) = &tool.description {
                    w.key("description").text(description);
                }
                // Gemini's VALIDATED means strict tools: where the schema allows it.
                let validated = context.validated && validated_strict(*parameters, *openapi);
                if context.validated && !validated {
                    report.dropped(Member::ToolChoice.path(report.client()));
                }
                let asked = *strict == Some(true) || validated;
                let strict = asked && profile.structured_output;
                if asked && !strict {
                    report.dropped(format!("{}.strict", tool.path));
                }
                input_schema(w.key("input_schema"), tool, *parameters, *openapi, strict, report);
                if strict {
                    w.key("strict").bool(true);
                }
            }
            ToolKind::Hosted { .. } => {}
        }
        if tool.defer && context.searches {
            w.key("defer_loading").bool(true);
        }
        if let Some(callers) = tool.callers {
            allowed_callers(w, callers, report);
        }
        cache(w, tool.cache);
    });
}

/// Who may call a tool: OpenAI's `programmatic` is Anthropic's code execution (conversion.md 8.1).
pub(super) fn allowed_callers(w: &mut Writer<'_>, callers: Raw<'_>, report: &Report) {
    if report.client() == Format::Messages {
        return w.key("allowed_callers").raw(callers);
    }
    let list: Vec<std::borrow::Cow<'_, str>> = crate::json::from_str(callers.get()).unwrap_or_default();
    if list.is_empty() {
        return;
    }
    w.key("allowed_callers").array(|w| {
        for caller in &list {
            w.item().str(match caller.as_ref() {
                "programmatic" => "code_execution_20260521",
                other => other,
            });
        }
    });
}

pub(super) fn input_schema(
    w: &mut Writer<'_>,
    tool: &Tool<'_>,
    parameters: Option<Raw<'_>>,
    openapi: bool,
    strict: bool,
    report: &mut Report,
) {
    let Some(parameters) = parameters else {
        return w.raw(Raw::of_const(NO_PARAMETERS));
    };
    let plain = if openapi {
        schema::rewrite(parameters, schema::Profile::FromOpenApi).0
    } else {
        parameters.get().into()
    };
    let (schema, united) = schema::rewrite(Raw(&plain), schema::Profile::AnthropicTool);
    if united {
        // A union at the root is refused: its branches became one object (conversion.md 11.6).
        report.emulated(&format!("{}.parameters", tool.path), "object");
    }
    if strict {
        let (schema, _) = schema::rewrite(Raw(&schema), schema::Profile::AnthropicOutput);
        w.raw(Raw(&schema));
    } else {
        w.raw(Raw(&schema));
    }
}

pub(super) fn tool_choice(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    target: &Target<'_>,
    profile: &Profile,
    plan: &Plan,
    report: &mut Report,
) -> Result<(), Error> {
    let path = Member::ToolChoice.path(report.client());
    let forcible = profile.forced_tools && !matches!(plan.thinking, Form::Budget(_));
    let (kind, name) = match &request.tool_choice {
        None if request.parallel_tool_calls == Some(false) => ("auto", None),
        None => return Ok(()),
        Some(ToolChoice::None) => ("none", None),
        Some(ToolChoice::Auto | ToolChoice::Validated) => ("auto", None),
        Some(ToolChoice::Any | ToolChoice::Tool(_) | ToolChoice::Hosted(_)) if !forcible => {
            report.cannot_carry(path, Class::Hint)?;
            ("auto", None)
        }
        Some(ToolChoice::Any) => ("any", None),
        Some(ToolChoice::Tool(name)) => ("tool", Some(declared_name(request, name, target))),
        Some(ToolChoice::Subset { required, .. }) => {
            report.cannot_carry(path, Class::Hint)?;
            (if *required && forcible { "any" } else { "auto" }, None)
        }
        Some(ToolChoice::Hosted(word)) => match hosted_name(request, word) {
            Some(name) => ("tool", Some(name.into())),
            None => return report.cannot_carry(path, Class::Must),
        },
    };
    w.key("tool_choice").object(|w| {
        w.key("type").str(kind);
        if let Some(name) = &name {
            w.key("name").str(name);
        }
        if let Some(parallel) = request.parallel_tool_calls.filter(|_| kind != "none") {
            w.key("disable_parallel_tool_use").bool(!parallel);
        }
    });
    Ok(())
}

/// The name of a hosted tool that is forced; tools of the client's own format keep theirs.
pub(super) fn hosted_name(request: &Request<'_>, word: &str) -> Option<String> {
    let tool = request.tools.iter().find(|tool| match &tool.kind {
        ToolKind::Hosted { format, kind, .. } => {
            kind == word
                || tool.name == word
                || (hosted::of(tool).is_some() && hosted::of(tool) == hosted::capability(*format, word))
        }
        _ => false,
    })?;
    match (&tool.kind, hosted::of(tool)) {
        (
            ToolKind::Hosted {
                format: Format::Messages,
                ..
            },
            _,
        ) => Some(tool.name.clone().into_owned()),
        (_, Some(Capability::WebSearch)) => Some("web_search".to_owned()),
        (_, Some(Capability::WebFetch)) => Some("web_fetch".to_owned()),
        (_, Some(Capability::CodeExecution)) => Some("code_execution".to_owned()),
        _ => None,
    }
}

/// MCP servers and the container stand beside the tools that use them.
pub(super) fn servers(w: &mut Writer<'_>, request: &Request<'_>, report: &mut Report) -> Result<(), Error> {
    if report.client() == Format::Messages {
        if let Some(servers) = request.mcp_servers {
            w.key("mcp_servers").raw(servers);
        }
        if let Some(container) = request.container {
            w.key("container").raw(container);
        }
        return Ok(());
    }
    hosted::mcp_servers(w, request, report);
    Ok(())
}
