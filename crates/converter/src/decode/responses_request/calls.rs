//! Calls and their outputs in a Responses request.

use super::parts::content;
use crate::decode::intake::Intake;
use crate::error::{Error, ErrorKind};
use crate::format::Format;
use crate::ir::{Arguments, Block, Media, MediaKind, Source, TextBlock, ToolCall, ToolResult};
use crate::json::{Raw, Text, from_str};
use crate::media;
use crate::shim::CallItem;
use crate::wire::responses as wire;

/// A call of a vendor-trained tool: its action or operation is the input of the shim of that name.
pub(super) fn trained_call<'a>(
    item: wire::Item<'a>,
    of: CallItem,
    intake: &Intake,
) -> Result<ToolCall<'a>, Error> {
    let missing = |member: &str| {
        let at = format!("/{member}");
        Error::at(ErrorKind::Missing, at, format!("a call item needs `{member}`"))
    };
    let id = intake.bare_id(item.call_id.ok_or_else(|| missing("call_id"))?);
    let input = item.action.or(item.actions).ok_or_else(|| missing(of.member()))?;
    let arguments = if input.is_object() {
        Arguments::Object(input)
    } else {
        Arguments::Encoded(format!("{{\"actions\":{}}}", input.get()).into())
    };
    Ok(ToolCall {
        id,
        name: of.tool().into(),
        arguments,
        namespace: None,
        state: None,
        cache: None,
    })
}

/// What a vendor-trained tool gave: a text, a list of outputs as JSON text, or a screenshot.
pub(super) fn trained_result<'a>(
    item: wire::Item<'a>,
    of: CallItem,
    intake: &Intake,
) -> Result<Block<'a>, Error> {
    let id = item.call_id.or(item.id).unwrap_or_default();
    let call_id = intake.bare_id(id);
    let text = |text: Text<'a>| {
        Block::Text(TextBlock {
            text,
            ..TextBlock::default()
        })
    };
    let parts = match item.output {
        None => Vec::new(),
        Some(raw) if of == CallItem::Computer => vec![screenshot(raw)?],
        Some(raw) => vec![text(raw.as_text().unwrap_or_else(|| raw.get().into()))],
    };
    Ok(Block::ToolResult(ToolResult {
        call_id,
        name: Some(of.tool().into()),
        parts,
        is_error: item.status.is_some_and(|status| status == "failed"),
        structured: None,
        custom: false,
        cache: None,
    }))
}

pub(super) fn screenshot(raw: Raw<'_>) -> Result<Block<'_>, Error> {
    let part: wire::Part<'_> = from_str(raw.get()).map_err(|error| error.under("output"))?;
    let source = match (part.image_url, part.file_id) {
        (Some(url), _) => media::source(&url),
        (None, Some(id)) => Source::File {
            id,
            owner: Format::Responses,
        },
        (None, None) => {
            return Err(Error::at(
                ErrorKind::Missing,
                "/output/image_url",
                "a screenshot needs its `image_url`",
            ));
        }
    };
    Ok(Block::Media(Media {
        kind: MediaKind::Image,
        source,
        detail: None,
        title: None,
        cache: None,
    }))
}

pub(super) fn tool_call<'a>(
    item: wire::Item<'a>,
    custom: bool,
    intake: &Intake,
) -> Result<ToolCall<'a>, Error> {
    let missing = |member: &str| {
        Error::at(
            ErrorKind::Missing,
            format!("/{member}"),
            format!("a call item needs `{member}`"),
        )
    };
    let id = intake.bare_id(item.call_id.ok_or_else(|| missing("call_id"))?);
    let name = item.name.ok_or_else(|| missing("name"))?;
    let arguments = if custom {
        Arguments::Freeform(item.input.and_then(Raw::as_text).unwrap_or_default())
    } else {
        match item.arguments {
            // Some clients send the object itself.
            Some(raw) if raw.is_object() => Arguments::Object(raw),
            raw => Arguments::Encoded(raw.and_then(Raw::as_text).unwrap_or_default()),
        }
    };
    Ok(ToolCall {
        id,
        name,
        arguments,
        namespace: item.namespace,
        state: None,
        cache: None,
    })
}

pub(super) fn tool_result<'a>(
    item: wire::Item<'a>,
    path: &str,
    custom: bool,
    intake: &Intake,
) -> Result<Block<'a>, Error> {
    let call_id = intake.bare_id(item.call_id.unwrap_or_default());
    let output = match item.output {
        Some(raw) => Some(from_str(raw.get()).map_err(|error: Error| error.under("output"))?),
        None => None,
    };
    let parts = content(output, path, true, intake)?;
    let name = item.name;
    Ok(Block::ToolResult(ToolResult {
        call_id,
        name,
        parts,
        is_error: false,
        structured: None,
        custom,
        cache: None,
    }))
}
