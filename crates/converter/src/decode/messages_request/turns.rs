//! Turns of a Messages request.

use super::blocks::block;
use super::tools::tool;
use crate::decode::intake::Intake;
use crate::error::{Error, ErrorKind};
use crate::ir::{Block, Effort, ReasoningDepth, Request, Role, TextBlock, ToolKind, Turn};
use crate::report::Class;
use crate::wire::{Content, messages as wire};

/// Results first as a turn of their own, then what the user said beside them.
pub(super) fn turn<'a>(
    message: wire::Message<'a>,
    path: String,
    request: &mut Request<'a>,
    intake: &Intake,
) -> Result<(), Error> {
    let role = match message.role.as_deref() {
        Some("user") => Role::User,
        Some("assistant") => Role::Assistant,
        Some("system") => Role::System,
        Some(other) => {
            let other: String = other.chars().take(40).collect();
            let text = format!("unknown role `{other}`; the roles are user, assistant, system");
            return Err(Error::at(ErrorKind::Invalid, "/role", text));
        }
        None => return Err(Error::at(ErrorKind::Missing, "/role", "`role` is required")),
    };
    intake.extra(&path, &message.extra, &[]);
    if role == Role::System {
        if message.clear_at.as_deref() == Some("next_user_message") {
            // It stays in place: taking it away later would change the prefix (conversion.md 5.8).
            intake.lose(format!("{path}.clear_at"), Class::Hint);
        }
        if let Some(config) = &message.output_config {
            let path = format!("{path}.output_config");
            effort_update(config, path, request, intake);
        }
    }
    let content = match message.content {
        Some(content) => content,
        // A system message may carry nothing but an effort (beta).
        None if role == Role::System => return Ok(()),
        None => return Err(Error::at(ErrorKind::Missing, "/content", "`content` is required")),
    };
    let blocks = match content {
        Content::Text(text) => vec![Block::Text(TextBlock {
            text,
            ..TextBlock::default()
        })],
        Content::Parts(parts) => {
            let must = role == Role::User;
            let numbered = parts.into_iter().enumerate();
            let blocks: Result<Vec<_>, Error> = numbered
                .map(|(index, part)| {
                    let path = format!("{path}.content[{index}]");
                    if role == Role::System && tool_change(&part, &path, request, intake)? {
                        return Ok(None);
                    }
                    block(part, path, must, intake).map(Some)
                })
                .enumerate()
                .map(|(index, block)| block.map_err(|error| error.under_index(index).under("content")))
                .collect();
            blocks?.into_iter().flatten().collect()
        }
    };
    let (results, others): (Vec<_>, Vec<_>) = blocks
        .into_iter()
        .partition(|block| role == Role::User && matches!(block, Block::ToolResult(_)));
    let mut push = |role, blocks: Vec<Block<'a>>| {
        request.turns.push(Turn {
            role,
            developer: false,
            name: None,
            blocks,
            path: path.clone(),
        });
    };
    if !results.is_empty() {
        push(Role::Tool, results);
        if others.is_empty() {
            return Ok(());
        }
    }
    push(role, others);
    Ok(())
}

/// An effort in the middle of the conversation: the last one is the one in force.
pub(super) fn effort_update(
    config: &wire::OutputConfig<'_>,
    path: String,
    request: &mut Request<'_>,
    intake: &Intake,
) {
    match config.effort.as_deref().and_then(Effort::parse) {
        Some(effort) => {
            request.reasoning.effort = Some(effort);
            if let ReasoningDepth::Effort(_) = request.reasoning.depth {
                request.reasoning.depth = ReasoningDepth::Effort(effort);
            }
        }
        None => intake.lose(path, Class::Hint),
    }
}

/// `tool_addition` appends to the tools; a removed tool stays declared (conversion.md 5.8). True if it was such a block.
pub(super) fn tool_change<'a>(
    part: &wire::ContentBlock<'a>,
    path: &str,
    request: &mut Request<'a>,
    intake: &Intake,
) -> Result<bool, Error> {
    match part.kind.as_deref() {
        Some("tool_addition") => {
            if let Some(raw) = part.tool.filter(|raw| raw.is_object()) {
                let tool = tool(raw, format!("{path}.tool"), intake).map_err(|error| error.under("tool"))?;
                let known = request.tools.iter().any(|known| known.name == tool.name);
                if !known && !matches!(&tool.kind, ToolKind::Hosted { kind, .. } if kind == "tool_reference")
                {
                    request.tools.push(tool);
                }
            }
            Ok(true)
        }
        Some("tool_removal") => {
            intake.lose(path.to_owned(), Class::Hint);
            Ok(true)
        }
        _ => Ok(false),
    }
}
