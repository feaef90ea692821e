//! Tool outputs of a Responses request.

use super::input::{parts, trained};
use crate::encode::chat_request::{result_string, url};
use crate::encode::parts::{joined, result_texts};
use crate::error::Error;
use crate::ir::{Block, Request, Source, ToolResult, Turn};
use crate::json::{Raw, Text, Writer};
use crate::report::Report;
use crate::shim::CallItem;
use crate::target::Target;
use crate::{Format, names};

pub(super) fn results(
    w: &mut Writer<'_>,
    turn: &Turn<'_>,
    request: &Request<'_>,
    target: &Target<'_>,
    report: &mut Report,
) -> Result<(), Error> {
    for block in &turn.blocks {
        let Block::ToolResult(result) = block else {
            continue;
        };
        if let Some(item) = result.name.as_deref().and_then(|name| trained(name, request)) {
            trained_result(w.item(), item, result);
            continue;
        }
        w.item().begin_object();
        w.key("type").str(if result.custom {
            "custom_tool_call_output"
        } else {
            "function_call_output"
        });
        w.key("call_id")
            .str(&names::call_id(&result.call_id, Format::Responses));
        if result.parts.iter().any(|part| matches!(part, Block::Media(_))) {
            let mut content = Vec::new();
            result_parts(&mut Writer::new(&mut content), result, &turn.path, target, report)?;
            w.key("output").array(|w| w.bytes().extend_from_slice(&content));
        } else {
            result_string(w.key("output"), result, false);
        }
        w.end_object();
    }
    Ok(())
}

/// The output item of a vendor-trained tool.
pub(super) fn trained_result(w: &mut Writer<'_>, item: CallItem, result: &ToolResult<'_>) {
    w.object(|w| {
        w.key("type").str(item.output_type());
        let id = names::call_id(&result.call_id, Format::Responses);
        w.key(if item == CallItem::LocalShell {
            "id"
        } else {
            "call_id"
        })
        .str(&id);
        let texts = result_texts(result);
        let screenshot = result.parts.iter().find_map(|part| match part {
            Block::Media(media) => Some(media),
            _ => None,
        });
        match (item, screenshot) {
            (CallItem::Computer, Some(media)) => w.key("output").object(|w| {
                w.key("type").str("computer_screenshot");
                match &media.source {
                    Source::File { id, .. } => w.key("file_id").text(id),
                    source => url(w.key("image_url"), source),
                }
            }),
            (CallItem::Shell, _) => {
                let text = texts.first().map(|text| text.decode()).unwrap_or_default();
                w.key("output").raw(Raw(&text));
            }
            _ if !texts.is_empty() => joined(w.key("output"), &texts, "\n"),
            _ => {}
        }
        if item == CallItem::ApplyPatch {
            w.key("status")
                .str(if result.is_error { "failed" } else { "completed" });
        }
    });
}

pub(super) fn result_parts(
    w: &mut Writer<'_>,
    result: &ToolResult<'_>,
    path: &str,
    target: &Target<'_>,
    report: &mut Report,
) -> Result<(), Error> {
    if result.is_error {
        let error = Text::from("ERROR: ");
        let mut texts = vec![&error];
        texts.extend(result_texts(result));
        w.begin_object();
        w.key("type").str("input_text");
        joined(w.key("text"), &texts, "");
        w.end_object();
        for part in result.parts.iter().filter(|part| matches!(part, Block::Media(_))) {
            parts(w, std::slice::from_ref(part), path, target, report)?;
        }
        return Ok(());
    }
    parts(w, &result.parts, path, target, report)
}
