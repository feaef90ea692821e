//! Messages of a Chat request.

use super::parts::content;
use crate::decode::intake::Intake;
use crate::error::{Error, ErrorKind};
use crate::format::Format;
use crate::ir::{
    Arguments, Block, Opaque, Request, Role, State, SystemBlock, Thought, ToolCall, ToolResult, Turn,
};
use crate::json::{Raw, Text, from_str};
use crate::report::Class;
use crate::wire::chat as wire;
use std::borrow::Cow;

/// Members of messages without an effect elsewhere.
pub(super) const OF_MESSAGES: &[(&str, Class)] = &[
    ("annotations", Class::Inert),
    ("thinking_blocks", Class::Inert),
    ("provider_specific_fields", Class::Inert),
    ("audio", Class::Hint),
];

pub(super) fn messages_of<'a>(
    messages: Vec<wire::Message<'a>>,
    request: &mut Request<'a>,
    intake: &Intake,
) -> Result<(), Error> {
    let mut leading = true;
    for (index, message) in messages.into_iter().enumerate() {
        let path = format!("messages[{index}]");
        let at = |error: Error| error.under_index(index).under("messages");
        let role = message
            .role
            .clone()
            .ok_or_else(|| at(Error::at(ErrorKind::Missing, "/role", "`role` is required")))?;
        let developer = role == "developer";
        intake.extra(&path, &message.extra, OF_MESSAGES);
        match role.as_ref() {
            "system" | "developer" if leading => {
                let texts = content(message.content, &path, true, intake).map_err(at)?;
                for block in texts {
                    match block {
                        Block::Text(text) => request.system.push(SystemBlock { developer, text }),
                        _ => intake.lose(path.clone(), Class::Must),
                    }
                }
                if message.name.is_some() {
                    intake.lose(format!("{path}.name"), Class::Inert);
                }
                continue;
            }
            _ => leading = false,
        }
        let name = if role == "function" {
            None
        } else {
            message.name.clone()
        };
        let (role, blocks) = match role.as_ref() {
            "system" | "developer" => (
                Role::System,
                content(message.content, &path, true, intake).map_err(at)?,
            ),
            "user" => (
                Role::User,
                content(message.content, &path, true, intake).map_err(at)?,
            ),
            "assistant" => (Role::Assistant, assistant(message, &path, intake).map_err(at)?),
            "tool" | "function" => {
                push_result(
                    request,
                    tool_result(message, &path, role == "function", intake).map_err(at)?,
                    path,
                );
                continue;
            }
            other => {
                let known = "developer, system, user, assistant, tool";
                let text = format!(
                    "unknown role `{}`; the roles are {known}",
                    other.chars().take(40).collect::<String>()
                );
                return Err(at(Error::at(ErrorKind::Invalid, "/role", text)));
            }
        };
        request.turns.push(Turn {
            role,
            developer,
            name,
            blocks,
            path,
        });
    }
    Ok(())
}

/// Consecutive results form one turn.
pub(super) fn push_result<'a>(request: &mut Request<'a>, result: Block<'a>, path: String) {
    match request.turns.last_mut() {
        Some(turn) if turn.role == Role::Tool => turn.blocks.push(result),
        _ => request.turns.push(Turn {
            role: Role::Tool,
            developer: false,
            name: None,
            blocks: vec![result],
            path,
        }),
    }
}

pub(super) fn tool_result<'a>(
    message: wire::Message<'a>,
    path: &str,
    legacy: bool,
    intake: &Intake,
) -> Result<Block<'a>, Error> {
    let parts = content(message.content, path, true, intake)?;
    let call_id = intake.bare_id(message.tool_call_id.unwrap_or_default());
    if call_id.is_empty() && !legacy {
        return Err(Error::at(
            ErrorKind::Missing,
            "/tool_call_id",
            "a tool message needs the `tool_call_id` it answers",
        ));
    }
    Ok(Block::ToolResult(ToolResult {
        call_id,
        name: message.name.map(|name| name.decode()),
        parts,
        is_error: false,
        structured: None,
        custom: false,
        cache: None,
    }))
}

pub(super) fn assistant<'a>(
    message: wire::Message<'a>,
    path: &str,
    intake: &Intake,
) -> Result<Vec<Block<'a>>, Error> {
    let member = |name: &str| {
        let found = message.extra.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| *value)
    };
    let litellm = member("thinking_blocks");
    let signature = member("provider_specific_fields");
    let mut blocks = thoughts(
        message.reasoning_content,
        message.reasoning_details.unwrap_or_default(),
        intake,
    );
    if !blocks.iter().any(has_state) {
        let read = litellm.and_then(thinking_blocks).unwrap_or_default();
        if !read.is_empty() {
            blocks = read;
        }
    }
    let visible = content(message.content, path, false, intake)?;
    blocks.extend(
        visible
            .into_iter()
            .filter(|block| !matches!(block, Block::Text(text) if text.text.is_empty())),
    );
    if let Some(refusal) = message.refusal.filter(|refusal| !refusal.is_empty()) {
        blocks.push(Block::Refusal(refusal));
    }
    for (index, call) in message.tool_calls.unwrap_or_default().into_iter().enumerate() {
        let place = format!("{path}.tool_calls[{index}]");
        push_call(call, &mut blocks, &place, intake)
            .map_err(|error| error.under_index(index).under("tool_calls"))?;
    }
    if let Some(state) = intake.google_signature(signature)
        && let Some(Block::ToolCall(call)) = blocks
            .iter_mut()
            .find(|block| matches!(block, Block::ToolCall(_)))
        && call.state.is_none()
    {
        call.state = Some(state);
    }
    if let Some(call) = message.function_call {
        let arguments = Arguments::Encoded(call.arguments.unwrap_or_default());
        let name = call.name.unwrap_or_default();
        blocks.push(Block::ToolCall(ToolCall {
            id: Cow::Borrowed(""),
            name,
            arguments,
            namespace: None,
            state: None,
            cache: None,
        }));
    }
    Ok(blocks)
}

pub(super) fn has_state(block: &Block<'_>) -> bool {
    matches!(block, Block::Thought(Thought { state: Some(state), .. }) if state.state != State::Plain)
}

/// LiteLLM's histories carry Anthropic's blocks as they were.
pub(super) fn thinking_blocks(raw: Raw<'_>) -> Option<Vec<Block<'_>>> {
    crate::wire::object! {
        /// One of `thinking_blocks`.
        pub(crate) struct Thinking {
            /// thinking or redacted_thinking.
            kind: Cow<'a, str> = "type",
            /// Its text.
            thinking: Text<'a> = "thinking",
            /// Its signature.
            signature: Cow<'a, str> = "signature",
            /// Redacted thinking.
            data: Cow<'a, str> = "data",
        }
    }
    let list: Vec<Thinking<'_>> = from_str(raw.get()).ok()?;
    let blocks = list.into_iter().filter_map(|block| {
        let state = match (block.signature, block.data) {
            (Some(signature), _) => State::Signature(signature),
            (None, Some(data)) => State::Redacted(data),
            (None, None) => return None,
        };
        Some(Block::Thought(Thought {
            text: block
                .thinking
                .into_iter()
                .filter(|text| !text.is_empty())
                .collect(),
            summary: false,
            state: Some(Opaque {
                origin: Format::Messages,
                domain: None,
                state,
            }),
        }))
    });
    Some(blocks.collect())
}

/// Reasoning text and the seals beside it. The first state belongs to the text; the others are thoughts of their own.
pub(super) fn thoughts<'a>(
    text: Option<Text<'a>>,
    details: Vec<wire::ReasoningDetail<'a>>,
    intake: &Intake,
) -> Vec<Block<'a>> {
    let data = details.into_iter().filter_map(|detail| detail.data);
    let mut states = data.filter_map(|data| intake.opaque(data, |_| None));
    let mut thoughts = Vec::new();
    let first = states.next();
    if text.is_some() || first.is_some() {
        let state = first.or(Some(Opaque {
            origin: Format::Chat,
            domain: None,
            state: State::Plain,
        }));
        thoughts.push(Block::Thought(Thought {
            text: text.into_iter().collect(),
            summary: false,
            state,
        }));
    }
    thoughts.extend(states.map(|state| {
        Block::Thought(Thought {
            state: Some(state),
            ..Thought::default()
        })
    }));
    thoughts
}

pub(super) fn push_call<'a>(
    call: wire::ToolCall<'a>,
    blocks: &mut Vec<Block<'a>>,
    path: &str,
    intake: &Intake,
) -> Result<(), Error> {
    intake.extra(
        path,
        &call.extra,
        &[
            ("index", Class::Inert),
            ("provider_specific_fields", Class::Inert),
        ],
    );
    let (id, sealed) = intake.call_id(call.id.unwrap_or_default());
    let (name, arguments) = match (call.function, call.custom) {
        (Some(function), _) => (
            function.name,
            Arguments::Encoded(function.arguments.unwrap_or_default()),
        ),
        (None, Some(custom)) => (custom.name, Arguments::Freeform(custom.input.unwrap_or_default())),
        (None, None) => {
            return Err(Error::at(
                ErrorKind::Missing,
                "/function",
                "a tool call needs its `function`",
            ));
        }
    };
    let name =
        name.ok_or_else(|| Error::at(ErrorKind::Missing, "/function/name", "a tool call needs a name"))?;
    let other = call
        .extra
        .iter()
        .find(|(name, _)| name == "provider_specific_fields");
    // The seal carries what the model thought right before this call.
    let google = || {
        intake
            .google_signature(call.extra_content)
            .or_else(|| intake.google_signature(other.map(|(_, value)| *value)))
    };
    let state = sealed.or_else(google);
    blocks.push(Block::ToolCall(ToolCall {
        id,
        name,
        arguments,
        namespace: None,
        state,
        cache: None,
    }));
    Ok(())
}
