//! Messages, items and parts: which of their members are text, which are media, and which only hold them together.

use super::{Done, Walk};
use crate::error::Error;
use crate::estimate::Frame;
use crate::estimate::media::{self, Kind, decoded};
use crate::json::{Kind as Json, Reader, Text};

/// A piece of media.
#[derive(Clone, Copy)]
struct Found {
    /// `None`: the object around may know.
    kind: Option<Kind>,
    /// Its size, decoded; `None`: it is only named.
    bytes: Option<u64>,
}

/// Where an object stands.
#[derive(Clone, Copy)]
enum Holder {
    /// In a conversation.
    Turn,
    /// In a member that holds media, of a kind if the member tells.
    Media(Option<Kind>),
}

/// What is known of a part so far; the members come in any order.
#[derive(Default)]
struct Part<'a> {
    /// Its `type`.
    word: Option<Text<'a>>,
    mime: Option<Text<'a>>,
    /// `data`, `result`: base64 or text.
    data: Option<Text<'a>>,
    /// `url`: of media, or one that is shown.
    url: Option<Text<'a>>,
    /// `file_id`: of media, or of a source.
    file: bool,
    /// What is media in any case.
    found: Option<Found>,
}

impl Part<'_> {
    fn is(&self, word: &str) -> bool {
        self.word.as_ref().is_some_and(|text| text.is(word))
    }

    /// What the part says it is.
    fn kind(&self, holder: Holder) -> Option<Kind> {
        let mime = self.mime.as_ref().and_then(|mime| Kind::of_mime(&mime.decode()));
        mime.or_else(|| match holder {
            Holder::Media(kind) => kind,
            Holder::Turn => self.word.as_ref().and_then(|word| Kind::of_word(&word.decode())),
        })
    }

    fn address(&mut self, url: &Text<'_>, kind: Option<Kind>) {
        let found = data_url(url).unwrap_or(Found {
            kind: None,
            bytes: None,
        });
        self.found = Some(Found {
            kind: found.kind.or(kind),
            ..found
        });
    }
}

impl Walk {
    pub(super) fn part(&mut self, reader: &mut Reader<'_>) -> Done {
        let found = self.object(reader, Holder::Turn)?;
        self.media(found);
        Ok(())
    }

    fn media(&mut self, found: Option<Found>) {
        if let Some(Found { kind, bytes }) = found {
            let kind = kind.unwrap_or(Kind::Document);
            self.sound |= matches!(kind, Kind::Audio | Kind::Video);
            let (likely, most) = media::tokens(kind, bytes, self.upstream);
            self.sum.flat(likely, most);
        }
    }

    /// Walks an object. Media are given back, for who knows more of them.
    fn object(&mut self, reader: &mut Reader<'_>, holder: Holder) -> Result<Option<Found>, Error> {
        self.sum.add_frame(Frame::Part);
        let mut part = Part::default();
        reader.object(|reader, key| self.piece(reader, key, &mut part))?;
        Ok(self.settle(&part, holder))
    }

    fn piece<'a>(&mut self, reader: &mut Reader<'a>, key: &str, part: &mut Part<'a>) -> Done {
        let string = reader.kind() == Json::String;
        match key {
            "type" if string => part.word = Some(reader.text()?),
            "mime_type" | "mimeType" | "media_type" if string => part.mime = Some(reader.text()?),
            "data" | "result" if string => part.data = Some(reader.text()?),
            "url" | "uri" if string => part.url = Some(reader.text()?),
            "image_url" if string => part.address(&reader.text()?, Some(Kind::Image)),
            "video_url" if string => part.address(&reader.text()?, Some(Kind::Video)),
            "file_url" | "file_uri" | "fileUri" if string => part.address(&reader.text()?, None),
            "file_data" if string => {
                let data = reader.text()?;
                let found = data_url(&data).unwrap_or(Found {
                    kind: None,
                    bytes: Some(decoded(&data)),
                });
                part.found = Some(found);
            }
            "file_id" if string => {
                part.file = true;
                reader.skip()?;
            }
            "signature" | "thoughtSignature" | "thought_signature" | "encrypted_content"
            | "encrypted_index" | "encrypted_stdout"
                if string =>
            {
                self.state(inside(&reader.text()?));
            }
            "image_url" => self.holder(reader, part, Some(Kind::Image))?,
            "video_url" => self.holder(reader, part, Some(Kind::Video))?,
            "audio_url" | "input_audio" => self.holder(reader, part, Some(Kind::Audio))?,
            "file" => self.holder(reader, part, Some(Kind::Document))?,
            "source" | "inlineData" | "inline_data" | "fileData" | "file_data" => {
                self.holder(reader, part, None)?;
            }
            "input" | "args" | "arguments" | "response" | "action" | "actions" | "operation"
            | "structured_content" => self.arguments(reader)?,
            "tools" => self.tools(reader)?,
            "role"
            | "id"
            | "call_id"
            | "tool_call_id"
            | "tool_use_id"
            | "status"
            | "phase"
            | "detail"
            | "format"
            | "cache_control"
            | "prompt_cache_breakpoint"
            | "annotations"
            | "citations"
            | "logprobs"
            | "mediaResolution"
            | "media_resolution"
            | "videoMetadata"
            | "video_metadata"
            | "object"
            | "container_id" => reader.skip()?,
            _ => self.content(reader)?,
        }
        Ok(())
    }

    /// A member that holds media, or text where it is a string (the source of a search result).
    fn holder(&mut self, reader: &mut Reader<'_>, part: &mut Part<'_>, kind: Option<Kind>) -> Done {
        if reader.kind() != Json::Object {
            return self.content(reader);
        }
        let found = self.object(reader, Holder::Media(kind))?;
        part.found = found.or(part.found);
        Ok(())
    }

    /// What a part's members were, now that all are known.
    fn settle(&mut self, part: &Part<'_>, holder: Holder) -> Option<Found> {
        let kind = part.kind(holder);
        let is_media = kind.is_some() || matches!(holder, Holder::Media(_));
        let mut found = part.found;
        if let Some(data) = &part.data {
            if part.is("redacted_thinking") || part.is("reasoning.encrypted") {
                self.state(inside(data));
            } else if part.is("text") || !(is_media || looks_like_base64(data)) {
                self.text(data);
            } else {
                found = Some(Found {
                    kind: None,
                    bytes: Some(decoded(data)),
                });
            }
        }
        if let Some(url) = &part.url {
            match data_url(url) {
                Some(data) => found = Some(data),
                None if is_media => {
                    found = found.or(Some(Found {
                        kind: None,
                        bytes: None,
                    }))
                }
                None => self.text(url),
            }
        }
        if part.file && is_media {
            found = found.or(Some(Found {
                kind: None,
                bytes: None,
            }));
        }
        found.map(|found| Found {
            kind: found.kind.or(kind),
            ..found
        })
    }
}

/// The characters of a string as they came.
pub(super) fn inside<'t>(text: &'t Text<'_>) -> &'t str {
    match text {
        Text::Escaped(inside) => inside,
        Text::Plain(text) => text,
    }
}

/// A data URL, its base64 not looked at.
fn data_url(url: &Text<'_>) -> Option<Found> {
    let (scheme, rest) = inside(url).split_at_checked(5)?;
    if !scheme.eq_ignore_ascii_case("data:") {
        return None;
    }
    let head = rest.get(..rest.len().min(200)).unwrap_or_default();
    Some(Found {
        kind: Kind::of_mime(head),
        bytes: Some(rest.len() as u64 / 4 * 3),
    })
}

/// A long text without a blank or a mark among its first characters.
fn looks_like_base64(text: &Text<'_>) -> bool {
    let head = inside(text).as_bytes().get(..64);
    head.is_some_and(|head| {
        head.iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+/-_=\\".contains(byte))
    })
}
