//! Data URLs and MIME types (conversion.md 6.1).

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::ir::{MediaKind, Source};
use crate::json::Text;

/// The source behind an `image_url`-like member: a data URL or an address.
#[must_use]
pub fn source<'a>(url: &Text<'a>) -> Source<'a> {
    data_url(url).unwrap_or_else(|| Source::Url {
        url: url.clone(),
        mime: None,
    })
}

/// Splits a data URL; `None` if it is none.
#[must_use]
pub fn data_url<'a>(url: &Text<'a>) -> Option<Source<'a>> {
    // Without escapes the parts are slices of the source: a megabyte of image is not copied here.
    if let Text::Escaped(inside) = url
        && memchr::memchr(b'\\', inside.as_bytes()).is_none()
    {
        return split(inside)
            .map(|(mime, base64, data)| of_parts(Cow::Borrowed(mime), base64, Cow::Borrowed(data)));
    }
    let whole = url.decode();
    let (mime, base64, data) = split(&whole)?;
    Some(of_parts(
        Cow::Owned(mime.to_owned()),
        base64,
        Cow::Owned(data.to_owned()),
    ))
}

fn split(url: &str) -> Option<(&str, bool, &str)> {
    let scheme = url.get(..5)?;
    if !scheme.eq_ignore_ascii_case("data:") {
        return None;
    }
    let (head, data) = url.get(5..)?.split_once(',')?;
    let base64 = head
        .rsplit(';')
        .next()
        .is_some_and(|last| last.trim().eq_ignore_ascii_case("base64"));
    Some((head.split(';').next().unwrap_or_default().trim(), base64, data))
}

fn of_parts<'a>(mime: Cow<'a, str>, base64: bool, data: Cow<'a, str>) -> Source<'a> {
    let data = if base64 {
        if data.bytes().any(|byte| byte.is_ascii_whitespace()) {
            Cow::Owned(data.chars().filter(|c| !c.is_ascii_whitespace()).collect())
        } else {
            data
        }
    } else {
        Cow::Owned(STANDARD.encode(percent_decode(&data)))
    };
    let mime = if mime.is_empty() {
        Cow::Borrowed(sniff(&data).unwrap_or("text/plain"))
    } else {
        repair(mime)
    };
    Source::Base64 {
        mime,
        data: Text::Plain(data),
    }
}

fn percent_decode(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        let digits = behind
            .get(..2)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(value) if byte == b'%' => {
                out.push(value);
                rest = behind.get(2..).unwrap_or_default();
            }
            _ => {
                out.push(byte);
                rest = behind;
            }
        }
    }
    out
}

/// Base64 in the standard alphabet: Google's SDKs send the URL-safe one, which the other vendors refuse.
#[must_use]
pub fn standard(data: Text<'_>) -> Text<'_> {
    let text = data.decode();
    if text.bytes().all(|byte| byte != b'-' && byte != b'_') {
        return data;
    }
    Text::from(text.replace('-', "+").replace('_', "/"))
}

/// Lower case, and the spellings that vendors reject replaced.
#[must_use]
pub fn repair(mime: Cow<'_, str>) -> Cow<'_, str> {
    if mime == "image/jpg" {
        return Cow::Borrowed("image/jpeg");
    }
    if mime.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return repair(Cow::Owned(mime.to_ascii_lowercase()));
    }
    mime
}

/// The image type that the first bytes show.
#[must_use]
pub fn sniff(base64: &str) -> Option<&'static str> {
    const STARTS: [(&str, &str); 5] = [
        ("iVBORw0KGgo", "image/png"),
        ("/9j/", "image/jpeg"),
        ("R0lGOD", "image/gif"),
        ("UklGR", "image/webp"),
        ("JVBERi0", "application/pdf"),
    ];
    STARTS
        .iter()
        .find(|(start, _)| base64.starts_with(start))
        .map(|(_, mime)| *mime)
}

/// The sound type that the first bytes show; raw samples if nothing does.
#[must_use]
pub fn sniff_audio(base64: &str) -> &'static str {
    const STARTS: [(&str, &str); 5] = [
        ("UklGR", "audio/wav"),
        ("SUQz", "audio/mp3"),
        ("//", "audio/mp3"),
        ("T2dnUw", "audio/ogg"),
        ("ZkxhQw", "audio/flac"),
    ];
    STARTS
        .iter()
        .find(|(start, _)| base64.starts_with(start))
        .map_or("audio/pcm", |(_, mime)| *mime)
}

/// What a MIME type is to a model.
#[must_use]
pub fn kind(mime: &str) -> MediaKind {
    match mime.split('/').next() {
        Some("image") => MediaKind::Image,
        Some("audio") => MediaKind::Audio,
        Some("video") => MediaKind::Video,
        _ => MediaKind::Document,
    }
}

/// A MIME type guessed from the end of an address; an image if nothing tells.
#[must_use]
pub fn guess(url: &str) -> &'static str {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let extension = path.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    match extension.as_str() {
        "png" => "image/png",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "pdf" => "application/pdf",
        "txt" => "text/plain",
        "mp3" => "audio/mp3",
        "wav" => "audio/wav",
        "mp4" => "video/mp4",
        _ => "image/jpeg",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, mime: &str, data: &str) {
        let wanted = Source::Base64 {
            mime: mime.into(),
            data: data.into(),
        };
        assert_eq!(data_url(&Text::Escaped(url)), Some(wanted), "{url}");
    }

    #[test]
    fn data_urls_are_split_and_repaired() {
        check("data:image/png;base64,iVBO", "image/png", "iVBO");
        check("DATA:image/JPG;charset=x;base64,AA AA", "image/jpeg", "AAAA");
        check("data:,a%20b", "text/plain", "YSBi");
        check("data:;base64,iVBORw0KGgo=", "image/png", "iVBORw0KGgo=");
        assert_eq!(data_url(&"https://x/y.png".into()), None);
    }
}
