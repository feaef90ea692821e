//! Texts, media and cache markers of a Messages request.

use super::turns::next;
use crate::Format;
use crate::error::Error;
use crate::ir::{Block, CacheMark, Media, MediaKind, Source};
use crate::json::{Raw, Text, Writer};
use crate::report::{Class, Report};

pub(super) fn cache(w: &mut Writer<'_>, mark: Option<CacheMark>) {
    match mark {
        None => {}
        Some(CacheMark::Short) => w
            .key("cache_control")
            .raw(Raw::of_const(r#"{"type":"ephemeral"}"#)),
        Some(CacheMark::Long) => w
            .key("cache_control")
            .raw(Raw::of_const(r#"{"type":"ephemeral","ttl":"1h"}"#)),
    }
}

pub(super) fn text_block(w: &mut Writer<'_>, text: &Text<'_>, mark: Option<CacheMark>) {
    w.object(|w| {
        w.key("type").str("text");
        w.key("text").text(text);
        cache(w, mark);
    });
}

pub(super) fn media_block(
    w: &mut Writer<'_>,
    media: &Media<'_>,
    path: &str,
    report: &mut Report,
) -> Result<(), Error> {
    let kind = match media.kind {
        MediaKind::Image => "image",
        MediaKind::Document => "document",
        MediaKind::Audio | MediaKind::Video => return report.cannot_carry(path.to_owned(), Class::Must),
    };
    if let (MediaKind::Image, Source::Base64 { mime, .. }) = (media.kind, &media.source)
        && !matches!(
            mime.as_ref(),
            "image/jpeg" | "image/png" | "image/gif" | "image/webp"
        )
    {
        return report.cannot_carry(path.to_owned(), Class::Must);
    }
    if matches!(&media.source, Source::File { owner, .. } if *owner != Format::Messages) {
        return report.cannot_carry(path.to_owned(), Class::Must);
    }
    next(w).object(|w| {
        w.key("type").str(kind);
        w.key("source").object(|w| source(w, media));
        if let (Some(title), MediaKind::Document) = (&media.title, media.kind) {
            w.key("title").text(title);
        }
        cache(w, media.cache);
    });
    Ok(())
}

pub(super) fn source(w: &mut Writer<'_>, media: &Media<'_>) {
    match &media.source {
        Source::Base64 { mime, data } if media.kind == MediaKind::Document && mime.starts_with("text/") => {
            w.key("type").str("text");
            w.key("media_type").str("text/plain");
            w.key("data").str(&decoded(data));
        }
        Source::Base64 { mime, data } => {
            w.key("type").str("base64");
            w.key("media_type").str(mime);
            w.key("data").text(data);
        }
        Source::Url { url, .. } => {
            w.key("type").str("url");
            w.key("url").text(url);
        }
        Source::File { id, .. } => {
            w.key("type").str("file");
            w.key("file_id").text(id);
        }
        Source::Text(text) => {
            w.key("type").str("text");
            w.key("media_type").str("text/plain");
            w.key("data").text(text);
        }
        Source::Blocks(blocks) => {
            w.key("type").str("content");
            w.key("content").array(|w| {
                for block in blocks {
                    match block {
                        Block::Text(text) => text_block(w.item(), &text.text, text.cache),
                        Block::Media(inner) if inner.kind == MediaKind::Image => w.item().object(|w| {
                            w.key("type").str("image");
                            w.key("source").object(|w| source(w, inner));
                            cache(w, inner.cache);
                        }),
                        _ => {}
                    }
                }
            });
        }
    }
}

/// Base64 of a plain text document as text.
pub(super) fn decoded(data: &Text<'_>) -> String {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(data.decode().as_bytes())
        .unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}
