//! Media of a generateContent request.

use super::contents::{Scene, next, text_part};
use crate::encode::parts::native_block;
use crate::error::Error;
use crate::ir::{Block, Detail, Media, MediaKind, Source};
use crate::json::Writer;
use crate::report::{Class, Report};
use crate::{Format, media};

/// How closely to look: a member of parts from Gemini 3 on.
pub(super) fn resolution(w: &mut Writer<'_>, media: &Media<'_>, scene: &Scene<'_>) {
    let level = match media.detail {
        Some(Detail::Low) => "MEDIA_RESOLUTION_LOW",
        Some(Detail::High) => "MEDIA_RESOLUTION_HIGH",
        Some(Detail::Original) => "MEDIA_RESOLUTION_ULTRA_HIGH",
        Some(Detail::Auto) | None => return,
    };
    if scene.profile.signatures {
        w.key("mediaResolution").object(|w| w.key("level").str(level));
    }
}

pub(super) fn media_part(
    w: &mut Writer<'_>,
    media: &Media<'_>,
    path: &str,
    scene: &Scene<'_>,
    report: &mut Report,
) -> Result<(), Error> {
    match &media.source {
        Source::Base64 { mime, data } => next(w).object(|w| {
            w.key("inlineData").object(|w| {
                w.key("mimeType").str(mime);
                w.key("data").text(data);
            });
            resolution(w, media, scene);
        }),
        // Gemini fetches nothing, and neither does the converter (conversion.md 6.5).
        Source::Url { .. } if report.client() != Format::Gemini => {
            report.cannot_carry(path.to_owned(), Class::Must)?;
        }
        Source::Url { url, mime } => {
            let address = url.decode();
            let guessed = match (mime.as_deref(), media.kind) {
                (Some(mime), _) => mime.to_owned(),
                (None, MediaKind::Document) if !address.contains(".txt") => "application/pdf".to_owned(),
                (None, _) => media::guess(&address).to_owned(),
            };
            next(w).object(|w| {
                w.key("fileData").object(|w| {
                    w.key("mimeType").str(&guessed);
                    w.key("fileUri").text(url);
                });
                resolution(w, media, scene);
            });
        }
        Source::File {
            id,
            owner: Format::Gemini,
        } => next(w).object(|w| {
            w.key("fileData").object(|w| w.key("fileUri").text(id));
        }),
        Source::File { .. } => report.cannot_carry(path.to_owned(), Class::Must)?,
        Source::Text(text) => text_part(
            next(w),
            &crate::encode::chat_request::envelope(media, text).into(),
        ),
        Source::Blocks(blocks) => {
            let (open, close) = crate::encode::chat_request::envelope_ends(media);
            text_part(next(w), &open.into());
            for block in blocks {
                match block {
                    Block::Text(text) => text_part(next(w), &text.text),
                    Block::Media(inner) => media_part(w, inner, path, scene, report)?,
                    Block::Native(native) => native_block(native, report)?,
                    _ => {}
                }
            }
            text_part(next(w), &close.into());
        }
    }
    Ok(())
}
