//! Tools of a Chat request.

use crate::encode::parts::{NO_PARAMETERS, declared_name, lose, tool_extras_lost, upstream_name};
use crate::error::Error;
use crate::hosted::{self, Capability};
use crate::ir::{Member, Request, Tool, ToolChoice, ToolKind};
use crate::json::{Raw, Text, Writer};
use crate::profile::Profile;
use crate::report::{Class, Report};
use crate::target::Target;
use crate::{Dialect, Format, schema};

pub(super) fn tools(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    target: &Target<'_>,
    profile: &Profile,
    report: &mut Report,
) -> Result<(), Error> {
    let (searches, tools): (Vec<&Tool<'_>>, Vec<_>) = request
        .tools
        .iter()
        .partition(|tool| hosted::of(tool) == Some(Capability::WebSearch));
    if let Some(tool) = searches.first() {
        match &tool.kind {
            ToolKind::Hosted {
                format: Format::Chat,
                json,
                ..
            } => w.key("web_search_options").raw(*json),
            _ => hosted::write(
                w.key("web_search_options"),
                tool,
                Capability::WebSearch,
                request,
                target,
                report,
            )?,
        }
    }
    if tools.is_empty() {
        if let Some(ToolChoice::Hosted(_)) = &request.tool_choice {
            lose(report, true, Member::ToolChoice, Class::Must)?;
        }
        return Ok(());
    }
    let validated = matches!(request.tool_choice, Some(ToolChoice::Validated));
    w.key("tools").begin_array();
    for tool in &tools {
        tool_extras_lost(
            tool,
            &[
                ("defer_loading", tool.defer),
                ("allowed_callers", tool.callers.is_some()),
                ("output_schema", tool.output_schema.is_some()),
            ],
            report,
        )?;
        tool_entry(w.item(), tool, target, validated, report);
    }
    w.end_array();
    if let Some(choice) = &request.tool_choice {
        tool_choice(w, choice, request, target, report)?;
    }
    match request.parallel_tool_calls {
        Some(parallel) if profile.parallel_switch => w.key("parallel_tool_calls").bool(parallel),
        parallel => lose(report, parallel == Some(false), Member::Parallel, Class::Hint)?,
    }
    Ok(())
}

/// Gemini's VALIDATED means strict tools: where the schema allows it (conversion.md 8.5).
pub(in crate::encode) fn validated_strict(parameters: Option<Raw<'_>>, openapi: bool) -> bool {
    let Some(parameters) = parameters else {
        return false;
    };
    let rules = if openapi {
        schema::Profile::FromOpenApi
    } else {
        schema::Profile::Parameters
    };
    schema::is_openai_strict(Raw(&schema::rewrite(parameters, rules).0))
}

pub(super) fn tool_entry(
    w: &mut Writer<'_>,
    tool: &Tool<'_>,
    target: &Target<'_>,
    validated: bool,
    report: &mut Report,
) {
    if let ToolKind::Hosted { json, .. } = &tool.kind {
        return w.raw(*json);
    }
    let name = upstream_name(&tool.name, tool.namespace.as_deref(), target);
    w.object(|w| match &tool.kind {
        ToolKind::Custom { format } if target.dialect == Dialect::Native => {
            w.key("type").str("custom");
            w.key("custom").object(|w| {
                w.key("name").str(&name);
                if let Some(description) = &tool.description {
                    w.key("description").text(description);
                }
                if let Some(grammar) = format.and_then(grammar) {
                    w.key("format").object(|w| {
                        w.key("type").str("grammar");
                        w.key("grammar").object(|w| {
                            w.key("syntax").text(&grammar.0);
                            w.key("definition").text(&grammar.1);
                        });
                    });
                }
            });
        }
        ToolKind::Custom { format } => {
            report.emulated(&tool.path, "shim");
            w.key("type").str("function");
            w.key("function")
                .object(|w| shim(w, &name, tool, *format, "parameters"));
        }
        ToolKind::Function {
            parameters,
            openapi,
            strict,
        } => {
            w.key("type").str("function");
            w.key("function").object(|w| {
                w.key("name").str(&name);
                if let Some(description) = &tool.description {
                    w.key("description").text(description);
                }
                parameters_of(w.key("parameters"), *parameters, *openapi);
                let wanted = if validated && validated_strict(*parameters, *openapi) {
                    Some(true)
                } else {
                    *strict
                };
                if validated && wanted != Some(true) {
                    report.dropped(Member::ToolChoice.path(report.client()));
                }
                match wanted {
                    Some(strict) if !target.dialect.is_compat() => w.key("strict").bool(strict),
                    Some(true) => report.dropped(format!("{}.strict", tool.path)),
                    _ => {}
                }
            });
        }
        ToolKind::Hosted { .. } => {}
    });
}

/// A schema as OpenAI and Anthropic take it: an object at the root.
pub(in crate::encode) fn parameters_of(w: &mut Writer<'_>, parameters: Option<Raw<'_>>, openapi: bool) {
    let Some(parameters) = parameters else {
        return w.raw(Raw::of_const(NO_PARAMETERS));
    };
    let profile = if openapi {
        schema::Profile::FromOpenApi
    } else {
        schema::Profile::Parameters
    };
    let (schema, _) = schema::rewrite(parameters, profile);
    w.raw(Raw(&schema));
}

/// Syntax and definition of a custom tool's grammar.
pub(in crate::encode) fn grammar(format: Raw<'_>) -> Option<(Text<'_>, Text<'_>)> {
    crate::wire::object! {
        /// A grammar.
        pub(crate) struct Grammar {
            /// lark or regex.
            syntax: Text<'a> = "syntax",
            /// The grammar.
            definition: Text<'a> = "definition",
        }
    }
    let grammar: Grammar<'_> = crate::json::from_str(format.get()).ok()?;
    Some((grammar.syntax?, grammar.definition?))
}

/// A free text tool as a function with one string (conversion.md 8.1).
pub(in crate::encode) fn shim(
    w: &mut Writer<'_>,
    name: &str,
    tool: &Tool<'_>,
    format: Option<Raw<'_>>,
    schema: &str,
) {
    w.key("name").str(name);
    let mut description = tool
        .description
        .as_ref()
        .map(|text| text.decode().into_owned())
        .unwrap_or_default();
    if let Some((syntax, definition)) = format.and_then(grammar) {
        let (syntax, definition) = (syntax.decode(), definition.decode());
        description.push_str(&format!(
            "\nThe input must match this {syntax} grammar:\n{definition}"
        ));
    }
    w.key("description").str(&description);
    w.key(schema).raw(Raw::of_const(
        r#"{"type":"object","properties":{"input":{"type":"string","description":"the free text input of the tool"}},"required":["input"],"additionalProperties":false}"#,
    ));
}

pub(super) fn tool_choice(
    w: &mut Writer<'_>,
    choice: &ToolChoice<'_>,
    request: &Request<'_>,
    target: &Target<'_>,
    report: &mut Report,
) -> Result<(), Error> {
    let custom = |name: &str| {
        request
            .tools
            .iter()
            .any(|tool| tool.name == name && matches!(tool.kind, ToolKind::Custom { .. }))
    };
    match choice {
        ToolChoice::None => w.key("tool_choice").str("none"),
        ToolChoice::Auto | ToolChoice::Validated => w.key("tool_choice").str("auto"),
        ToolChoice::Any => w.key("tool_choice").str("required"),
        ToolChoice::Tool(name) => w.key("tool_choice").object(|w| {
            let kind = if custom(name) && target.dialect == Dialect::Native {
                "custom"
            } else {
                "function"
            };
            w.key("type").str(kind);
            w.key(kind)
                .object(|w| w.key("name").str(&declared_name(request, name, target)));
        }),
        ToolChoice::Subset { names, required } if target.dialect == Dialect::Native => {
            w.key("tool_choice").object(|w| {
                w.key("type").str("allowed_tools");
                w.key("allowed_tools").object(|w| {
                    w.key("mode").str(if *required { "required" } else { "auto" });
                    w.key("tools").array(|w| {
                        for name in names {
                            let kind = if custom(name) { "custom" } else { "function" };
                            w.item().object(|w| {
                                w.key("type").str(kind);
                                w.key(kind)
                                    .object(|w| w.key("name").str(&declared_name(request, name, target)));
                            });
                        }
                    });
                });
            });
        }
        ToolChoice::Subset { required, .. } => {
            lose(report, true, Member::ToolChoice, Class::Hint)?;
            w.key("tool_choice")
                .str(if *required { "required" } else { "auto" });
        }
        ToolChoice::Hosted(_) => lose(report, true, Member::ToolChoice, Class::Must)?,
    }
    Ok(())
}
