//! Tools of a Responses request.

use crate::Format;
use crate::encode::chat_request::{grammar, parameters_of, validated_strict};
use crate::encode::parts::{declared_name, lose, tool_extras_lost, upstream_name};
use crate::error::Error;
use crate::hosted::{self, Capability};
use crate::ir::{Member, Request, Tool, ToolChoice, ToolKind};
use crate::json::{Raw, Writer};
use crate::report::{Class, Report};
use crate::target::Target;

pub(super) fn tools(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    target: &Target<'_>,
    report: &mut Report,
) -> Result<(), Error> {
    if request.tools.is_empty() {
        return Ok(());
    }
    let searches = request
        .tools
        .iter()
        .any(|tool| hosted::of(tool) == Some(Capability::ToolSearch));
    let validated = matches!(request.tool_choice, Some(ToolChoice::Validated));
    let mut namespaces: Vec<&str> = Vec::new();
    w.key("tools").begin_array();
    for tool in &request.tools {
        if let Some(capability) = hosted::of(tool).filter(|_| report.client() != Format::Responses) {
            hosted::write(w.item(), tool, capability, request, target, report)?;
            continue;
        }
        if let Some(name) = tool
            .namespace
            .as_deref()
            .filter(|_| report.client() == Format::Responses)
        {
            if !namespaces.contains(&name) {
                namespaces.push(name);
                namespace(w.item(), name, request, target, validated, searches, report)?;
            }
            continue;
        }
        tool_entry(w.item(), tool, target, validated, searches, report)?;
    }
    w.end_array();
    if let Some(choice) = &request.tool_choice {
        tool_choice(w, choice, request, target, report)?;
    }
    if let Some(parallel) = request.parallel_tool_calls {
        w.key("parallel_tool_calls").bool(parallel);
    }
    if let Some(most) = request.max_tool_calls.or_else(|| hosted::only_limit(request)) {
        w.key("max_tool_calls").u64(most);
    }
    Ok(())
}

/// The functions of one namespace.
pub(super) fn namespace(
    w: &mut Writer<'_>,
    name: &str,
    request: &Request<'_>,
    target: &Target<'_>,
    validated: bool,
    searches: bool,
    report: &mut Report,
) -> Result<(), Error> {
    w.begin_object();
    w.key("type").str("namespace");
    w.key("name").str(name);
    w.key("description").str("");
    w.key("tools").begin_array();
    for tool in request
        .tools
        .iter()
        .filter(|tool| tool.namespace.as_deref() == Some(name))
    {
        let inner = Tool {
            namespace: None,
            ..tool.clone()
        };
        tool_entry(w.item(), &inner, target, validated, searches, report)?;
    }
    w.end_array();
    w.end_object();
    Ok(())
}

pub(super) fn tool_entry(
    w: &mut Writer<'_>,
    tool: &Tool<'_>,
    target: &Target<'_>,
    validated: bool,
    searches: bool,
    report: &mut Report,
) -> Result<(), Error> {
    let name = upstream_name(&tool.name, tool.namespace.as_deref(), target);
    tool_extras_lost(tool, &[("defer_loading", tool.defer && !searches)], report)?;
    let common = |w: &mut Writer<'_>| {
        if tool.defer && searches {
            w.key("defer_loading").bool(true);
        }
        if let Some(callers) = tool.callers {
            allowed_callers(w, callers);
        }
    };
    match &tool.kind {
        ToolKind::Hosted { json, .. } => w.raw(*json),
        ToolKind::Custom { format } => w.object(|w| {
            w.key("type").str("custom");
            w.key("name").str(&name);
            if let Some(description) = &tool.description {
                w.key("description").text(description);
            }
            if let Some((syntax, definition)) = format.and_then(grammar) {
                w.key("format").object(|w| {
                    w.key("type").str("grammar");
                    w.key("syntax").text(&syntax);
                    w.key("definition").text(&definition);
                });
            }
            common(w);
        }),
        ToolKind::Function {
            parameters,
            openapi,
            strict,
        } => w.object(|w| {
            w.key("type").str("function");
            w.key("name").str(&name);
            if let Some(description) = &tool.description {
                w.key("description").text(description);
            }
            parameters_of(w.key("parameters"), *parameters, *openapi);
            // Responses is strict where nothing is said, the other formats are not.
            let checked = validated && validated_strict(*parameters, *openapi);
            if validated && !checked {
                report.dropped(Member::ToolChoice.path(report.client()));
            }
            w.key("strict").bool(checked || strict.unwrap_or(false));
            if let Some(schema) = tool.output_schema {
                w.key("output_schema").raw(schema);
            }
            common(w);
        }),
    }
    Ok(())
}

/// Who may call a tool: every code execution of Anthropic is OpenAI's `programmatic` (conversion.md 8.1).
pub(super) fn allowed_callers(w: &mut Writer<'_>, callers: Raw<'_>) {
    let list: Vec<std::borrow::Cow<'_, str>> = crate::json::from_str(callers.get()).unwrap_or_default();
    let mut words: Vec<&str> = Vec::new();
    for caller in &list {
        let word = if caller.starts_with("code_execution") {
            "programmatic"
        } else {
            caller.as_ref()
        };
        if !words.contains(&word) {
            words.push(word);
        }
    }
    if words.is_empty() {
        return;
    }
    w.key("allowed_callers").array(|w| {
        for word in words {
            w.item().str(word);
        }
    });
}

pub(super) fn tool_choice(
    w: &mut Writer<'_>,
    choice: &ToolChoice<'_>,
    request: &Request<'_>,
    target: &Target<'_>,
    report: &mut Report,
) -> Result<(), Error> {
    let kind = |name: &str| {
        let custom = request
            .tools
            .iter()
            .any(|tool| tool.name == name && matches!(tool.kind, ToolKind::Custom { .. }));
        if custom { "custom" } else { "function" }
    };
    let named = |w: &mut Writer<'_>, name: &str| {
        w.object(|w| {
            w.key("type").str(kind(name));
            w.key("name").str(&declared_name(request, name, target));
        });
    };
    match choice {
        ToolChoice::None => w.key("tool_choice").str("none"),
        ToolChoice::Auto | ToolChoice::Validated => w.key("tool_choice").str("auto"),
        ToolChoice::Any => w.key("tool_choice").str("required"),
        ToolChoice::Tool(name) => named(w.key("tool_choice"), name),
        ToolChoice::Subset { names, required } => w.key("tool_choice").object(|w| {
            w.key("type").str("allowed_tools");
            w.key("mode").str(if *required { "required" } else { "auto" });
            w.key("tools").array(|w| {
                for name in names {
                    named(w.item(), name);
                }
            });
        }),
        ToolChoice::Hosted(word) => {
            let own = report.client() == Format::Responses;
            match hosted_type(request, word).filter(|_| !own) {
                Some(kind) => w.key("tool_choice").object(|w| w.key("type").str(kind)),
                None if own => w.key("tool_choice").object(|w| w.key("type").str(word)),
                None => lose(report, true, Member::ToolChoice, Class::Must)?,
            }
        }
    }
    Ok(())
}

/// The type of a hosted tool that is forced.
pub(super) fn hosted_type(request: &Request<'_>, word: &str) -> Option<&'static str> {
    let tool = request.tools.iter().find(|tool| match &tool.kind {
        ToolKind::Hosted { kind, .. } => kind == word || tool.name == word,
        _ => false,
    })?;
    match hosted::of(tool)? {
        Capability::WebSearch | Capability::WebFetch => Some("web_search"),
        Capability::CodeExecution => Some("code_interpreter"),
        _ => None,
    }
}
