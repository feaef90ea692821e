//! Content parts of a Responses request.

use crate::decode::intake::Intake;
use crate::decode::openai::{cache_mark, detail};
use crate::error::{Error, ErrorKind};
use crate::format::Format;
use crate::ir::block::Native;
use crate::ir::{Block, Media, MediaKind, Source, TextBlock};
use crate::media;
use crate::report::Class;
use crate::wire::{Content, responses as wire};

/// Members of parts without an effect elsewhere.
pub(super) const OF_PARTS: &[(&str, Class)] = &[("annotations", Class::Inert), ("logprobs", Class::Inert)];

/// Part types that are read; the others stay whole.
pub(super) const KNOWN_PARTS: &[&str] = &[
    "input_text",
    "output_text",
    "text",
    "refusal",
    "input_image",
    "input_file",
];

pub(super) fn content<'a>(
    content: Option<Content<'a, wire::Part<'a>>>,
    path: &str,
    must: bool,
    intake: &Intake,
) -> Result<Vec<Block<'a>>, Error> {
    match content {
        None => Ok(Vec::new()),
        Some(Content::Text(text)) => Ok(vec![Block::Text(TextBlock {
            text,
            ..TextBlock::default()
        })]),
        Some(Content::Parts(parts)) => {
            let numbered = parts.into_iter().enumerate();
            let blocks = numbered.map(|(index, part)| {
                part_block(part, format!("{path}.content[{index}]"), must, intake)
                    .map_err(|error| error.under_index(index).under("content"))
            });
            blocks.collect()
        }
    }
}

pub(super) fn part_block<'a>(
    part: wire::Part<'a>,
    path: String,
    must: bool,
    intake: &Intake,
) -> Result<Block<'a>, Error> {
    let cache = cache_mark(part.prompt_cache_breakpoint.as_ref());
    let missing = |member: &str| {
        Error::at(
            ErrorKind::Missing,
            format!("/{member}"),
            format!("this part needs `{member}`"),
        )
    };
    let kind = part.kind.unwrap_or_default();
    if KNOWN_PARTS.contains(&kind.as_ref()) {
        intake.extra(&path, &part.extra, OF_PARTS);
    }
    match kind.as_ref() {
        "input_text" | "output_text" | "text" => {
            let text = part.text.ok_or_else(|| missing("text"))?;
            Ok(Block::Text(TextBlock {
                text,
                cache,
                ..TextBlock::default()
            }))
        }
        "refusal" => Ok(Block::Refusal(part.refusal.unwrap_or_default())),
        "input_image" => {
            let source = match (part.image_url, part.file_id) {
                (Some(url), _) => media::source(&url),
                (None, Some(id)) => Source::File {
                    id,
                    owner: Format::Responses,
                },
                (None, None) => return Err(missing("image_url")),
            };
            let detail = detail(part.detail.as_deref());
            Ok(Block::Media(Media {
                kind: MediaKind::Image,
                source,
                detail,
                title: None,
                cache,
            }))
        }
        "input_file" => {
            let source = match (part.file_data, part.file_url, part.file_id) {
                (Some(data), _, _) => media::data_url(&data).unwrap_or_else(|| Source::Base64 {
                    mime: "application/pdf".into(),
                    data,
                }),
                (None, Some(url), _) => Source::Url { url, mime: None },
                (None, None, Some(id)) => Source::File {
                    id,
                    owner: Format::Responses,
                },
                _ => return Err(missing("file_data")),
            };
            Ok(Block::Media(Media {
                kind: MediaKind::Document,
                source,
                detail: None,
                title: part.filename,
                cache,
            }))
        }
        "" => Err(missing("type")),
        _ => Ok(Block::Native(Native {
            format: Format::Responses,
            kind,
            json: part.raw,
            path,
            must,
        })),
    }
}
