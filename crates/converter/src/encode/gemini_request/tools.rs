//! Tools of a generateContent request.

use crate::encode::parts::{declared_name, lose, tool_extras_lost, upstream_name};
use crate::error::Error;
use crate::ir::{Member, Request, Tool, ToolChoice, ToolKind};
use crate::json::{Raw, Writer};
use crate::profile::Profile;
use crate::report::{Class, Report};
use crate::target::Target;
use crate::{Dialect, Format, hosted, schema};

pub(super) fn tools(
    w: &mut Writer<'_>,
    request: &Request<'_>,
    target: &Target<'_>,
    profile: &Profile,
    report: &mut Report,
) -> Result<(), Error> {
    if request.tools.is_empty() {
        return Ok(());
    }
    let (hosts, functions): (Vec<&Tool<'_>>, Vec<_>) = request
        .tools
        .iter()
        .partition(|tool| matches!(tool.kind, ToolKind::Hosted { .. }));
    w.key("tools").begin_array();
    if !functions.is_empty() {
        w.item().begin_object();
        w.key("functionDeclarations").begin_array();
        for tool in &functions {
            tool_extras_lost(
                tool,
                &[
                    ("defer_loading", tool.defer),
                    ("allowed_callers", tool.callers.is_some()),
                    (
                        "strict",
                        matches!(tool.kind, ToolKind::Function { strict: Some(_), .. }),
                    ),
                ],
                report,
            )?;
            declaration(w.item(), tool, target, profile, report);
        }
        w.end_array();
        w.end_object();
    }
    for tool in &hosts {
        match (&tool.kind, hosted::of(tool)) {
            (
                ToolKind::Hosted {
                    format: Format::Gemini,
                    kind,
                    json,
                },
                _,
            ) => w.item().object(|w| {
                if kind == "mcpServers" && json.is_object() {
                    w.key(kind).array(|w| w.item().raw(*json));
                } else {
                    w.key(kind).raw(*json);
                }
            }),
            (_, Some(capability)) => hosted::write(w.item(), tool, capability, request, target, report)?,
            _ => {}
        }
    }
    w.end_array();
    lose(
        report,
        request.parallel_tool_calls == Some(false),
        Member::Parallel,
        Class::Hint,
    )?;
    // Search next to functions needs a word of consent (conversion.md 8.6).
    let mixed = !hosts.is_empty()
        && !functions.is_empty()
        && profile.signatures
        && target.dialect != Dialect::Vertex
        && report.client() != Format::Gemini;
    let consent = |w: &mut Writer<'_>| {
        if mixed {
            w.key("includeServerSideToolInvocations").bool(true);
        }
    };
    let (mode, names): (&str, Vec<&str>) = match &request.tool_choice {
        None if mixed => {
            w.key("toolConfig").object(consent);
            return Ok(());
        }
        None => return Ok(()),
        Some(ToolChoice::None) => ("NONE", Vec::new()),
        Some(ToolChoice::Auto) => ("AUTO", Vec::new()),
        Some(ToolChoice::Any) => ("ANY", Vec::new()),
        Some(ToolChoice::Validated) => ("VALIDATED", Vec::new()),
        Some(ToolChoice::Tool(name)) => ("ANY", vec![name]),
        Some(ToolChoice::Subset { names, required }) => (
            if *required { "ANY" } else { "VALIDATED" },
            names.iter().map(AsRef::as_ref).collect(),
        ),
        Some(ToolChoice::Hosted(_)) => return lose(report, true, Member::ToolChoice, Class::Must),
    };
    if functions.is_empty() {
        return Ok(());
    }
    w.key("toolConfig").object(|w| {
        consent(w);
        w.key("functionCallingConfig").object(|w| {
            w.key("mode").str(mode);
            if !names.is_empty() {
                w.key("allowedFunctionNames").array(|w| {
                    for name in names {
                        w.item().str(&declared_name(request, name, target));
                    }
                });
            }
        });
    });
    Ok(())
}

pub(super) fn declaration(
    w: &mut Writer<'_>,
    tool: &Tool<'_>,
    target: &Target<'_>,
    profile: &Profile,
    report: &mut Report,
) {
    let name = upstream_name(&tool.name, tool.namespace.as_deref(), target);
    let schema_member = if profile.json_schema {
        "parametersJsonSchema"
    } else {
        "parameters"
    };
    w.object(|w| match &tool.kind {
        ToolKind::Custom { format } => {
            report.emulated(&tool.path, "shim");
            crate::encode::chat_request::shim(w, &name, tool, *format, schema_member);
        }
        ToolKind::Function {
            parameters, openapi, ..
        } => {
            w.key("name").str(&name);
            if let Some(description) = &tool.description {
                w.key("description").text(description);
            }
            let Some(parameters) = parameters.filter(|schema| has_properties(*schema)) else {
                return;
            };
            if let Some(schema) = tool.output_schema.filter(|_| profile.json_schema) {
                w.key("responseJsonSchema").raw(schema);
            }
            if *openapi {
                // The client's own Gemini schema.
                w.key("parameters").raw(parameters);
                return;
            }
            let rules = if profile.json_schema {
                schema::Profile::GeminiJson
            } else {
                schema::Profile::GeminiOpenApi
            };
            let (schema, lost) = schema::rewrite(parameters, rules);
            if lost {
                report.dropped(format!("{}.parameters", tool.path));
            }
            w.key(schema_member).raw(Raw(&schema));
        }
        ToolKind::Hosted { .. } => {}
    });
}

/// Gemini refuses an object schema without properties; such a function has no parameters.
pub(super) fn has_properties(schema: Raw<'_>) -> bool {
    let mut reader = crate::json::Reader::new(schema.get());
    let mut found = false;
    let read = reader.object(|reader, key| {
        match key.as_ref() {
            "properties" => {
                let properties = reader.raw()?;
                found |= properties.get().trim_start_matches('{').trim_start() != "}";
            }
            "anyOf" | "oneOf" | "allOf" | "$ref" | "additionalProperties" => {
                found = true;
                reader.skip()?;
            }
            _ => reader.skip()?,
        }
        Ok(())
    });
    read.is_ok() && found
}
