//! Content blocks of a Messages request.

use crate::decode::intake::Intake;
use crate::error::{Error, ErrorKind};
use crate::format::Format;
use crate::ir::block::Native;
use crate::ir::{
    Arguments, Block, CacheMark, Media, MediaKind, Opaque, Source, State, TextBlock, Thought, ToolCall,
    ToolResult,
};
use crate::json::{Raw, from_str};
use crate::media;
use crate::report::Class;
use crate::wire::{Content, messages as wire};
use std::borrow::Cow;

/// Members of blocks without an effect elsewhere.
pub(super) const OF_BLOCKS: &[(&str, Class)] = &[
    ("citations", Class::Inert),
    ("caller", Class::Inert),
    ("transformations", Class::Inert),
    ("context", Class::Hint),
];

/// Block types that are read; the others stay whole.
pub(super) const KNOWN_BLOCKS: &[&str] = &[
    "text",
    "image",
    "document",
    "tool_use",
    "tool_result",
    "thinking",
    "redacted_thinking",
    "search_result",
];

pub(super) fn cache(marker: Option<&wire::CacheControl<'_>>) -> Option<CacheMark> {
    marker.map(|marker| {
        if marker.ttl.as_deref() == Some("1h") {
            CacheMark::Long
        } else {
            CacheMark::Short
        }
    })
}

pub(super) fn block<'a>(
    block: wire::ContentBlock<'a>,
    path: String,
    must: bool,
    intake: &Intake,
) -> Result<Block<'a>, Error> {
    let cache = cache(block.cache_control.as_ref());
    let kind = block.kind.clone().unwrap_or_default();
    if KNOWN_BLOCKS.contains(&kind.as_ref()) {
        intake.extra(&path, &block.extra, OF_BLOCKS);
    }
    let missing = |member: &str| {
        Error::at(
            ErrorKind::Missing,
            format!("/{member}"),
            format!("this block needs `{member}`"),
        )
    };
    match kind.as_ref() {
        "text" => {
            let text = block.text.ok_or_else(|| missing("text"))?;
            Ok(Block::Text(TextBlock {
                text,
                cache,
                ..TextBlock::default()
            }))
        }
        "image" | "document" => {
            let raw = block.source.ok_or_else(|| missing("source"))?;
            let source = source(raw, &path, intake).map_err(|error| error.under("source"))?;
            let kind = if kind == "image" {
                MediaKind::Image
            } else {
                MediaKind::Document
            };
            Ok(Block::Media(Media {
                kind,
                source,
                detail: None,
                title: block.title,
                cache,
            }))
        }
        "tool_use" => Ok(Block::ToolCall(tool_call(block, cache, intake)?)),
        "tool_result" => tool_result(block, path, cache, intake),
        "thinking" => {
            let own = |signature: Cow<'a, str>| {
                let state = State::Signature(signature);
                Some(Opaque {
                    origin: Format::Messages,
                    domain: None,
                    state,
                })
            };
            let signature = block.signature.filter(|signature| !signature.is_empty());
            let state = signature.and_then(|signature| intake.opaque(signature, own));
            let text = block
                .thinking
                .into_iter()
                .filter(|text| !text.is_empty())
                .collect();
            Ok(Block::Thought(Thought {
                text,
                summary: false,
                state,
            }))
        }
        "redacted_thinking" => {
            let own = |data| {
                Some(Opaque {
                    origin: Format::Messages,
                    domain: None,
                    state: State::Redacted(data),
                })
            };
            let state = intake.opaque(block.data.ok_or_else(|| missing("data"))?, own);
            Ok(Block::Thought(Thought {
                state,
                ..Thought::default()
            }))
        }
        "search_result" => search_result(block, path, intake),
        "" => Err(missing("type")),
        _ => Ok(Block::Native(Native {
            format: Format::Messages,
            kind,
            json: block.raw,
            path,
            must,
        })),
    }
}

pub(super) fn tool_call<'a>(
    block: wire::ContentBlock<'a>,
    cache: Option<CacheMark>,
    intake: &Intake,
) -> Result<ToolCall<'a>, Error> {
    let missing = |member: &str| {
        Error::at(
            ErrorKind::Missing,
            format!("/{member}"),
            format!("a tool_use block needs `{member}`"),
        )
    };
    let id = intake.bare_id(block.id.ok_or_else(|| missing("id"))?);
    let name = block.name.ok_or_else(|| missing("name"))?;
    let input = block.input.unwrap_or(Raw::of_const("{}"));
    if !input.is_object() {
        return Err(Error::at(
            ErrorKind::Invalid,
            "/input",
            "the input of a tool_use block must be an object",
        ));
    }
    Ok(ToolCall {
        id,
        name,
        arguments: Arguments::Object(input),
        namespace: block.toolset_name,
        state: None,
        cache,
    })
}

pub(super) fn tool_result<'a>(
    result: wire::ContentBlock<'a>,
    path: String,
    cache: Option<CacheMark>,
    intake: &Intake,
) -> Result<Block<'a>, Error> {
    let call_id = result.tool_use_id.ok_or_else(|| {
        Error::at(
            ErrorKind::Missing,
            "/tool_use_id",
            "a tool_result block needs the `tool_use_id` it answers",
        )
    })?;
    let call_id = intake.bare_id(call_id);
    let parts = nested(result.content, &path, intake)?;
    Ok(Block::ToolResult(ToolResult {
        call_id,
        name: None,
        parts,
        is_error: result.is_error.unwrap_or(false),
        structured: None,
        custom: false,
        cache,
    }))
}

pub(super) fn nested<'a>(
    content: Option<Content<'a, wire::ContentBlock<'a>>>,
    path: &str,
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
                block(part, format!("{path}.content[{index}]"), true, intake)
                    .map_err(|error| error.under_index(index).under("content"))
            });
            blocks.collect()
        }
    }
}

/// Title, source and text of a search result, as text.
pub(super) fn search_result<'a>(
    block: wire::ContentBlock<'a>,
    path: String,
    intake: &Intake,
) -> Result<Block<'a>, Error> {
    let mark = cache(block.cache_control.as_ref());
    let title = block
        .title
        .map(|title| title.decode().into_owned())
        .unwrap_or_default();
    let source = block
        .source
        .and_then(Raw::as_text)
        .map(|source| source.decode().into_owned())
        .unwrap_or_default();
    let mut text = format!("{title}\n{source}");
    for part in nested(block.content, &path, intake)? {
        if let Block::Text(part) = part {
            text.push('\n');
            text.push_str(&part.text.decode());
        }
    }
    Ok(Block::Text(TextBlock {
        text: text.into(),
        cache: mark,
        ..TextBlock::default()
    }))
}

pub(super) fn source<'a>(raw: Raw<'a>, path: &str, intake: &Intake) -> Result<Source<'a>, Error> {
    let source: wire::Source<'a> = from_str(raw.get())?;
    let missing = |member: &str| {
        Error::at(
            ErrorKind::Missing,
            format!("/{member}"),
            format!("this source needs `{member}`"),
        )
    };
    match source.kind.as_deref() {
        Some("base64") => Ok(Source::Base64 {
            mime: media::repair(source.media_type.ok_or_else(|| missing("media_type"))?),
            data: source.data.ok_or_else(|| missing("data"))?,
        }),
        Some("url") => Ok(Source::Url {
            url: source.url.ok_or_else(|| missing("url"))?,
            mime: None,
        }),
        Some("file") => Ok(Source::File {
            id: source.file_id.ok_or_else(|| missing("file_id"))?,
            owner: Format::Messages,
        }),
        Some("text") => Ok(Source::Text(source.data.ok_or_else(|| missing("data"))?)),
        Some("content") => Ok(Source::Blocks(nested(source.content, path, intake)?)),
        _ => Err(Error::at(
            ErrorKind::Invalid,
            "/type",
            "a source is base64, url, file, text or content",
        )),
    }
}
