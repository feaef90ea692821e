//! Media of a Chat request, and of the texts that stand for documents.

use super::messages::{breakpoint, plain_part, text_part};
use crate::Format;
use crate::encode::parts::native_block;
use crate::error::Error;
use crate::ir::{Block, Detail, Media, MediaKind, Source, TextBlock};
use crate::json::{Text, Writer};
use crate::report::{Class, Report};
use crate::target::Target;

pub(super) fn media_part(
    w: &mut Writer<'_>,
    media: &Media<'_>,
    path: &str,
    target: &Target<'_>,
    report: &mut Report,
) -> Result<(), Error> {
    match (&media.kind, &media.source) {
        (MediaKind::Image, Source::Base64 { .. } | Source::Url { .. }) => {
            w.item().object(|w| {
                w.key("type").str("image_url");
                w.key("image_url").object(|w| {
                    url(w.key("url"), &media.source);
                    if let Some(detail) = media.detail {
                        w.key("detail").str(detail_word(detail));
                    }
                });
            });
        }
        (MediaKind::Audio, Source::Base64 { mime, data }) => {
            let Some(format) = audio_format(mime) else {
                return report.cannot_carry(path.to_owned(), Class::Must);
            };
            w.item().object(|w| {
                w.key("type").str("input_audio");
                w.key("input_audio").object(|w| {
                    w.key("data").text(data);
                    w.key("format").str(format);
                });
            });
        }
        (MediaKind::Document, Source::Base64 { .. }) => {
            w.item().object(|w| {
                w.key("type").str("file");
                w.key("file").object(|w| {
                    match &media.title {
                        Some(title) => w.key("filename").text(title),
                        None => w.key("filename").str("document.pdf"),
                    }
                    url(w.key("file_data"), &media.source);
                });
                breakpoint(w, media.cache, target);
            });
        }
        (
            // Images have no file ids in Chat.
            MediaKind::Document,
            Source::File {
                id,
                owner: Format::Chat | Format::Responses,
            },
        ) => {
            w.item().object(|w| {
                w.key("type").str("file");
                w.key("file").object(|w| w.key("file_id").text(id));
                breakpoint(w, media.cache, target);
            });
        }
        (_, Source::Text(text)) => {
            let text = TextBlock {
                text: envelope(media, text).into(),
                cache: media.cache,
                ..TextBlock::default()
            };
            text_part(w.item(), &text, target);
        }
        (_, Source::Blocks(blocks)) => {
            let (open, close) = envelope_ends(media);
            plain_part(w, &open);
            for block in blocks {
                match block {
                    Block::Text(text) => text_part(w.item(), text, target),
                    Block::Media(inner) => media_part(w, inner, path, target, report)?,
                    Block::Native(native) => native_block(native, report)?,
                    _ => {}
                }
            }
            plain_part(w, close);
        }
        _ => report.cannot_carry(path.to_owned(), Class::Must)?,
    }
    Ok(())
}

/// What Chat calls a sound; it takes two kinds.
pub(super) fn audio_format(mime: &str) -> Option<&'static str> {
    match mime.split(';').next().unwrap_or_default() {
        "audio/wav" | "audio/x-wav" | "audio/wave" | "audio/vnd.wave" => Some("wav"),
        "audio/mp3" | "audio/mpeg" | "audio/mpeg3" => Some("mp3"),
        _ => None,
    }
}

/// A plain text document in a readable envelope (conversion.md 6.1).
pub(in crate::encode) fn envelope(media: &Media<'_>, text: &Text<'_>) -> String {
    let (open, close) = envelope_ends(media);
    format!("{open}\n{}\n{close}", text.decode())
}

/// First and last line of the envelope.
pub(in crate::encode) fn envelope_ends(media: &Media<'_>) -> (String, &'static str) {
    let title = media.title.as_ref().map(Text::decode).unwrap_or_default();
    (format!("<document title=\"{title}\">"), "</document>")
}

/// An address, or a data URL.
pub(in crate::encode) fn url(w: &mut Writer<'_>, source: &Source<'_>) {
    match source {
        Source::Base64 { mime, data } => {
            w.bytes().extend_from_slice(b"\"data:");
            w.escape(mime);
            w.bytes().extend_from_slice(b";base64,");
            w.text_inside(data);
            w.bytes().push(b'"');
        }
        Source::Url { url, .. } => w.text(url),
        Source::File { id, .. } => w.text(id),
        Source::Text(_) | Source::Blocks(_) => w.str(""),
    }
}

pub(in crate::encode) fn detail_word(detail: Detail) -> &'static str {
    match detail {
        Detail::Low => "low",
        Detail::High => "high",
        Detail::Auto => "auto",
        Detail::Original => "original",
    }
}
