//! Tool results of a Chat request.

use super::media::media_part;
use crate::encode::parts::{ATTACHED, result_texts};
use crate::error::Error;
use crate::ir::{Block, Media, ToolResult, Turn};
use crate::json::{Text, Writer};
use crate::report::Report;
use crate::target::Target;
use crate::{Format, names};

/// Tool messages, and behind the whole run one user message with the media that they cannot hold.
pub(super) fn results(
    w: &mut Writer<'_>,
    turn: &Turn<'_>,
    target: &Target<'_>,
    report: &mut Report,
) -> Result<(), Error> {
    let mut hoisted: Vec<(&ToolResult<'_>, &Media<'_>)> = Vec::new();
    for block in &turn.blocks {
        let Block::ToolResult(result) = block else {
            continue;
        };
        let media = result.parts.iter().filter_map(|part| {
            if let Block::Media(media) = part {
                Some(media)
            } else {
                None
            }
        });
        let before = hoisted.len();
        hoisted.extend(media.map(|media| (result, media)));
        w.item().object(|w| {
            w.key("role").str("tool");
            w.key("tool_call_id")
                .str(&names::call_id(&result.call_id, Format::Chat));
            result_string(w.key("content"), result, hoisted.len() > before);
        });
    }
    if hoisted.is_empty() {
        return Ok(());
    }
    w.item().begin_object();
    w.key("role").str("user");
    w.key("content").begin_array();
    for (result, media) in hoisted {
        w.item().object(|w| {
            w.key("type").str("text");
            w.key("text").str(&format!(
                "[media from tool call {}]",
                names::call_id(&result.call_id, Format::Chat)
            ));
        });
        media_part(w, media, &turn.path, target, report)?;
    }
    w.end_array();
    w.end_object();
    Ok(())
}

/// A result as one string.
pub(in crate::encode) fn result_string(w: &mut Writer<'_>, result: &ToolResult<'_>, media: bool) {
    if let Some(structured) = result.structured {
        return w.raw_as_str(structured);
    }
    let error = Text::from("ERROR: ");
    let attached = Text::from(ATTACHED);
    let mut texts = result_texts(result);
    if media {
        texts.push(&attached);
    }
    w.bytes().push(b'"');
    if result.is_error {
        w.text_inside(&error);
    }
    for (index, text) in texts.iter().enumerate() {
        if index > 0 {
            w.escape("\n");
        }
        w.text_inside(text);
    }
    w.bytes().push(b'"');
}
