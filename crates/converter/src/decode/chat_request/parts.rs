//! Content parts of a Chat request.

use crate::decode::intake::Intake;
use crate::decode::openai::{cache_mark, detail};
use crate::error::{Error, ErrorKind};
use crate::format::Format;
use crate::ir::{Block, Media, MediaKind, Source, TextBlock};
use crate::json::{Raw, Text, from_str};
use crate::media;
use crate::report::Class;
use crate::wire::{Content, chat as wire};
use std::borrow::Cow;

/// A string or parts. `must`: unknown parts change what the model is asked.
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
    let kind = part.kind.unwrap_or_default();
    if KNOWN_PARTS.contains(&kind.as_ref()) {
        intake.extra(&path, &part.extra, &[("annotations", Class::Inert)]);
    }
    let cache = cache_mark(
        part.prompt_cache_breakpoint
            .as_ref()
            .or(part.cache_control.as_ref()),
    );
    let missing = |member: &str| {
        Error::at(
            ErrorKind::Missing,
            format!("/{member}"),
            format!("this part needs `{member}`"),
        )
    };
    match kind.as_ref() {
        "text" => {
            let text = part.text.ok_or_else(|| missing("text"))?;
            Ok(Block::Text(TextBlock {
                text,
                cache,
                ..TextBlock::default()
            }))
        }
        "image_url" => {
            let raw = part.image_url.ok_or_else(|| missing("image_url"))?;
            let (url, word) = image_url(raw).map_err(|error| error.under("image_url"))?;
            let detail = detail(word.as_deref());
            let source = media::source(&url);
            Ok(Block::Media(Media {
                kind: MediaKind::Image,
                source,
                detail,
                title: None,
                cache,
            }))
        }
        "input_audio" => {
            let audio = part.input_audio.ok_or_else(|| missing("input_audio"))?;
            let mime = format!("audio/{}", audio.format.as_deref().unwrap_or("wav"));
            let source = Source::Base64 {
                mime: mime.into(),
                data: audio.data.ok_or_else(|| missing("input_audio/data"))?,
            };
            Ok(Block::Media(Media {
                kind: MediaKind::Audio,
                source,
                detail: None,
                title: None,
                cache,
            }))
        }
        "file" => {
            let file = part.file.ok_or_else(|| missing("file"))?;
            let source = match (file.file_data, file.file_id) {
                (Some(data), _) => media::data_url(&data).unwrap_or_else(|| Source::Base64 {
                    mime: "application/pdf".into(),
                    data,
                }),
                (None, Some(id)) => Source::File {
                    id,
                    owner: Format::Chat,
                },
                (None, None) => return Err(missing("file/file_data")),
            };
            let kind = match &source {
                Source::Base64 { mime, .. } => media::kind(mime),
                _ => MediaKind::Document,
            };
            Ok(Block::Media(Media {
                kind,
                source,
                detail: None,
                title: file.filename,
                cache,
            }))
        }
        "refusal" => Ok(Block::Refusal(part.refusal.unwrap_or_default())),
        "" => Err(missing("type")),
        _ => Ok(Block::Native(crate::ir::block::Native {
            format: Format::Chat,
            kind,
            json: part.raw,
            path,
            must,
        })),
    }
}

pub(super) const KNOWN_PARTS: &[&str] = &["text", "image_url", "input_audio", "file", "refusal"];

/// `image_url` is an object; a bare string is accepted too.
pub(super) fn image_url(raw: Raw<'_>) -> Result<(Text<'_>, Option<Cow<'_, str>>), Error> {
    if let Some(url) = raw.as_text() {
        return Ok((url, None));
    }
    let image: wire::ImageUrl<'_> = from_str(raw.get())?;
    let url = image
        .url
        .ok_or_else(|| Error::at(ErrorKind::Missing, "/url", "an image needs its `url`"))?;
    Ok((url, image.detail))
}
