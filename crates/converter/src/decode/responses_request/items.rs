//! Input items of a Responses request.

use super::calls::{tool_call, tool_result, trained_call, trained_result};
use super::output;
use super::parts::content;
use super::tools::tool;
use crate::decode::intake::Intake;
use crate::decode::openai::reasoning;
use crate::error::{Error, ErrorKind};
use crate::format::Format;
use crate::ir::block::Native;
use crate::ir::{Block, Opaque, Request, Role, State, SystemBlock, TextBlock, Thought, Tool, Turn};
use crate::json::{Raw, Text, from_str};
use crate::report::Class;
use crate::shim::CallItem;
use crate::wire::{Content, responses as wire};
use std::borrow::Cow;

/// Members of items without an effect elsewhere.
pub(super) const OF_ITEMS: &[(&str, Class)] = &[
    ("phase", Class::Inert),
    ("caller", Class::Inert),
    ("async", Class::Inert),
    ("created_by", Class::Inert),
    ("pending_safety_checks", Class::Inert),
    ("environment", Class::Inert),
    ("max_output_length", Class::Inert),
    ("acknowledged_safety_checks", Class::Hint),
];

pub(super) fn items<'a>(
    input: Content<'a, wire::Item<'a>>,
    request: &mut Request<'a>,
    intake: &Intake,
) -> Result<(), Error> {
    let items = match input {
        Content::Text(text) => {
            let blocks = vec![Block::Text(TextBlock {
                text,
                ..TextBlock::default()
            })];
            request.turns.push(Turn {
                role: Role::User,
                developer: false,
                name: None,
                blocks,
                path: "input".into(),
            });
            return Ok(());
        }
        Content::Parts(items) => items,
    };
    for (index, item) in items.into_iter().enumerate() {
        let at = |error: Error| error.under_index(index).under("input");
        push_item(item, format!("input[{index}]"), request, intake).map_err(at)?;
    }
    Ok(())
}

/// Items of the model up to the next user or output item form one assistant turn; outputs form one result turn.
pub(super) fn push_item<'a>(
    item: wire::Item<'a>,
    path: String,
    request: &mut Request<'a>,
    intake: &Intake,
) -> Result<(), Error> {
    let kind = item
        .kind
        .clone()
        .unwrap_or_else(|| Cow::Borrowed(if item.role.is_some() { "message" } else { "" }));
    if let Some(of) = CallItem::of_call(&kind) {
        intake.extra(&path, &item.extra, OF_ITEMS);
        let call = trained_call(item, of, intake)?;
        append(request, Role::Assistant, vec![Block::ToolCall(call)], path);
        return Ok(());
    }
    if let Some(of) = CallItem::of_output(&kind) {
        intake.extra(&path, &item.extra, OF_ITEMS);
        let result = trained_result(item, of, intake)?;
        append(request, Role::Tool, vec![result], path);
        return Ok(());
    }
    match kind.as_ref() {
        "message" => message(item, path, request, intake),
        "function_call" | "custom_tool_call" => {
            intake.extra(&path, &item.extra, OF_ITEMS);
            let call = tool_call(item, kind == "custom_tool_call", intake)?;
            append(request, Role::Assistant, vec![Block::ToolCall(call)], path);
            Ok(())
        }
        "function_call_output" | "custom_tool_call_output" => {
            intake.extra(&path, &item.extra, OF_ITEMS);
            let result = tool_result(item, &path, kind == "custom_tool_call_output", intake)?;
            append(request, Role::Tool, vec![result], path);
            Ok(())
        }
        "reasoning" => {
            append(request, Role::Assistant, vec![thought(item, intake)], path);
            Ok(())
        }
        "configuration_update" => {
            configuration(item, &path, request, intake)?;
            Ok(())
        }
        "additional_tools" => {
            append_tools(item.tools.unwrap_or_default(), &path, request, intake)?;
            Ok(())
        }
        "tool_search_output" => {
            // The found tools are declared up front; the search itself stays behind.
            append_tools(item.tools.unwrap_or_default(), &path, request, intake)?;
            append(
                request,
                Role::Assistant,
                vec![native(kind, path.clone(), false, item.raw)],
                path,
            );
            Ok(())
        }
        "" => Err(Error::at(
            ErrorKind::Missing,
            "/type",
            "an input item needs a `type`",
        )),
        "item_reference" | "compaction" | "compaction_trigger" | "mcp_approval_response" => {
            append(
                request,
                Role::User,
                vec![native(kind, path.clone(), true, item.raw)],
                path,
            );
            Ok(())
        }
        _ => {
            // Hosted calls and unknown items of the model's history.
            append(
                request,
                Role::Assistant,
                vec![native(kind, path.clone(), false, item.raw)],
                path,
            );
            Ok(())
        }
    }
}

/// Reasoning effort and output format that change in the middle: the last one is the one in force (conversion.md 5.8).
pub(super) fn configuration<'a>(
    item: wire::Item<'a>,
    path: &str,
    request: &mut Request<'a>,
    intake: &Intake,
) -> Result<(), Error> {
    intake.extra(path, &item.extra, OF_ITEMS);
    if let Some(raw) = item.reasoning {
        let controls: wire::Reasoning<'a> = from_str(raw.get()).map_err(|error| error.under("reasoning"))?;
        let place = format!("{path}.reasoning.effort");
        let changed = reasoning(controls.effort.as_deref(), request.reasoning.show, &place, intake);
        if changed.depth != crate::ir::ReasoningDepth::Unset {
            request.reasoning.depth = changed.depth;
        }
    }
    if let Some(raw) = item.text {
        let text: wire::TextConfig<'a> = from_str(raw.get()).map_err(|error| error.under("text"))?;
        if text.format.is_some() {
            request.output = output(text.format)?;
        }
        request.verbosity = text.verbosity.or(request.verbosity.take());
    }
    Ok(())
}

/// Tools that a later item adds stand behind the declared ones, so that the earlier list stays a prefix.
pub(super) fn append_tools<'a>(
    tools: Vec<Raw<'a>>,
    path: &str,
    request: &mut Request<'a>,
    intake: &Intake,
) -> Result<(), Error> {
    let mut list = Vec::with_capacity(tools.len());
    for (index, raw) in tools.into_iter().enumerate() {
        tool(raw, None, format!("{path}.tools[{index}]"), &mut list, intake)
            .map_err(|error| error.under_index(index).under("tools"))?;
    }
    for tool in list {
        let same = |known: &Tool<'_>| known.name == tool.name && known.namespace == tool.namespace;
        if !request.tools.iter().any(same) {
            request.tools.push(tool);
        }
    }
    Ok(())
}

pub(super) fn native<'a>(kind: Cow<'a, str>, path: String, must: bool, json: Raw<'a>) -> Block<'a> {
    Block::Native(Native {
        format: Format::Responses,
        kind,
        json,
        path,
        must,
    })
}

pub(super) fn append<'a>(request: &mut Request<'a>, role: Role, blocks: Vec<Block<'a>>, path: String) {
    match request.turns.last_mut() {
        Some(turn) if turn.role == role && role != Role::User => turn.blocks.extend(blocks),
        _ => request.turns.push(Turn {
            role,
            developer: false,
            name: None,
            blocks,
            path,
        }),
    }
}

pub(super) fn message<'a>(
    item: wire::Item<'a>,
    path: String,
    request: &mut Request<'a>,
    intake: &Intake,
) -> Result<(), Error> {
    intake.extra(&path, &item.extra, OF_ITEMS);
    let role = item.role.as_deref().unwrap_or_default().to_owned();
    let must = role != "assistant";
    let blocks = content(item.content, &path, must, intake)?;
    let developer = role == "developer";
    match role.as_str() {
        "system" | "developer" if request.turns.is_empty() => {
            for block in blocks {
                match block {
                    Block::Text(text) => request.system.push(SystemBlock { developer, text }),
                    _ => intake.lose(path.clone(), Class::Must),
                }
            }
        }
        "system" | "developer" => {
            request.turns.push(Turn {
                role: Role::System,
                developer,
                name: None,
                blocks,
                path,
            });
        }
        "user" => request.turns.push(Turn {
            role: Role::User,
            developer: false,
            name: None,
            blocks,
            path,
        }),
        "assistant" => append(request, Role::Assistant, blocks, path),
        other => {
            let other: String = other.chars().take(40).collect();
            let text = format!("unknown role `{other}`; the roles are user, assistant, system, developer");
            return Err(Error::at(ErrorKind::Invalid, "/role", text));
        }
    }
    Ok(())
}

pub(super) fn thought<'a>(item: wire::Item<'a>, intake: &Intake) -> Block<'a> {
    let id = item.id;
    let own = |encrypted| {
        Some(Opaque {
            origin: Format::Responses,
            domain: None,
            state: State::Reasoning { id, encrypted },
        })
    };
    let state = item
        .encrypted_content
        .filter(|data| !data.is_empty())
        .and_then(|data| intake.opaque(data, own));
    let raw = match item.content {
        Some(Content::Parts(parts)) => parts.into_iter().filter_map(|part| part.text).collect(),
        Some(Content::Text(text)) => vec![text],
        None => Vec::new(),
    };
    let summary: Vec<Text<'_>> = item
        .summary
        .unwrap_or_default()
        .into_iter()
        .filter_map(|part| part.text)
        .collect();
    let is_summary = raw.is_empty();
    Block::Thought(Thought {
        text: if is_summary { summary } else { raw },
        summary: is_summary,
        state,
    })
}
