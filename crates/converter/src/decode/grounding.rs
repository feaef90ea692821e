//! Gemini's grounding and recitation metadata to citations (conversion.md 12.6, 12.8).

use crate::ir::block::Native;
use crate::ir::{Block, Citation};
use crate::json::{Raw, Text};
use crate::span;
use crate::wire::object;

object! {
    /// `groundingMetadata`.
    pub struct Grounding {
        /// Sources.
        chunks: Vec<Chunk<'a>> = "groundingChunks",
        /// Which text rests on which sources.
        supports: Vec<Support<'a>> = "groundingSupports",
        /// What was searched for.
        queries: Vec<Text<'a>> = "webSearchQueries",
        /// What Google wants to be shown.
        entry_point: Raw<'a> = "searchEntryPoint",
    }

    /// A source.
    pub struct Chunk {
        /// Web page.
        web: Place<'a> = "web",
        /// Document of the caller's own store.
        context: Place<'a> = "retrievedContext",
        /// Place on the map.
        maps: Place<'a> = "maps",
    }

    /// Address and title.
    pub struct Place {
        /// Address.
        uri: Text<'a> = "uri",
        /// Title.
        title: Text<'a> = "title",
    }

    /// A supported stretch of text.
    pub struct Support {
        /// Where.
        segment: Segment<'a> = "segment",
        /// By which sources.
        chunks: Vec<u64> = "groundingChunkIndices",
    }

    /// A stretch of text, in bytes of one part.
    pub struct Segment {
        /// Part.
        part: u64 = "partIndex",
        /// First byte.
        start: u64 = "startIndex",
        /// Behind the last byte.
        end: u64 = "endIndex",
        /// The words.
        text: Text<'a> = "text",
    }

    /// `citationMetadata`.
    pub struct Recitations {
        /// Sources. One endpoint spells the list differently.
        sources: Vec<Recitation<'a>> = "citations" | "citationSources",
    }

    /// A source whose words the model repeated.
    pub struct Recitation {
        /// First byte.
        start: u64 = "startIndex",
        /// Behind the last byte.
        end: u64 = "endIndex",
        /// Address.
        uri: Text<'a> = "uri",
        /// Title.
        title: Text<'a> = "title",
    }
}

/// Where each part of the wire ended up: block number and byte offset inside its text.
pub(super) type Places = Vec<Option<(usize, usize)>>;

/// Puts the citations of a candidate on its text blocks; the searches become a block in front.
pub(super) fn apply<'a>(
    blocks: &mut Vec<Block<'a>>,
    places: &Places,
    grounding: Option<(Raw<'a>, Grounding<'a>)>,
    recitations: Option<Recitations<'a>>,
) {
    for source in recitations.and_then(|found| found.sources).unwrap_or_default() {
        // Recitations count in the whole text.
        let citation = Citation {
            url: source.uri,
            title: source.title,
            ..Citation::default()
        };
        whole_text(blocks, source.start.unwrap_or(0), source.end, citation);
    }
    let Some((raw, grounding)) = grounding else { return };
    let chunks = grounding.chunks.unwrap_or_default();
    let mut used = vec![false; chunks.len()];
    for support in grounding.supports.unwrap_or_default() {
        let segment = support.segment.unwrap_or_default();
        for index in support.chunks.unwrap_or_default() {
            let index = usize::try_from(index).unwrap_or(usize::MAX);
            let Some(mut citation) = chunks.get(index).and_then(cited) else {
                continue;
            };
            if let Some(used) = used.get_mut(index) {
                *used = true;
            }
            citation.quote.clone_from(&segment.text);
            on_part(blocks, places, &segment, citation);
        }
    }
    // Sources that no stretch of text names still were used for the answer.
    let unused = chunks.iter().zip(used).filter(|(_, used)| !used);
    let unused: Vec<Citation<'a>> = unused.filter_map(|(chunk, _)| cited(chunk)).collect();
    if let Some(Block::Text(text)) = blocks
        .iter_mut()
        .rev()
        .find(|block| matches!(block, Block::Text(_)))
    {
        text.citations.extend(unused);
    }
    if grounding.queries.is_some_and(|queries| !queries.is_empty()) {
        blocks.insert(
            0,
            Block::Native(Native {
                format: crate::Format::Gemini,
                kind: "groundingMetadata".into(),
                json: raw,
                path: String::new(),
                must: false,
            }),
        );
    }
}

fn cited<'a>(chunk: &Chunk<'a>) -> Option<Citation<'a>> {
    if let Some(web) = chunk.web.as_ref().or(chunk.maps.as_ref()) {
        return Some(Citation {
            url: Some(web.uri.clone()?),
            title: web.title.clone(),
            ..Citation::default()
        });
    }
    let context = chunk.context.as_ref()?;
    let uri = context.uri.clone().unwrap_or_default();
    if uri.decode().starts_with("http") {
        return Some(Citation {
            url: Some(uri),
            title: context.title.clone(),
            ..Citation::default()
        });
    }
    let title = context.title.clone().unwrap_or_default();
    Some(Citation {
        file: Some((uri, title)),
        ..Citation::default()
    })
}

fn on_part<'a>(blocks: &mut [Block<'a>], places: &Places, segment: &Segment<'a>, mut citation: Citation<'a>) {
    let part = usize::try_from(segment.part.unwrap_or(0)).unwrap_or(usize::MAX);
    let place = places.get(part).copied().flatten();
    let Some((block, offset)) = place.or_else(|| places.iter().flatten().next().copied()) else {
        return;
    };
    let Some(Block::Text(text)) = blocks.get_mut(block) else {
        return;
    };
    let whole = text.text.decode();
    let at = |byte: u64| span::points_before(&whole, byte.saturating_add(offset as u64));
    citation.range = at(segment.start.unwrap_or(0))
        .zip(segment.end.and_then(at))
        .filter(|(from, to)| from <= to);
    text.citations.push(citation);
}

/// Places a citation that counts bytes over all texts together.
fn whole_text<'a>(blocks: &mut [Block<'a>], start: u64, end: Option<u64>, mut citation: Citation<'a>) {
    let mut before = 0u64;
    let mut texts = blocks.iter_mut().filter_map(|block| match block {
        Block::Text(text) => Some(text),
        _ => None,
    });
    if citation.url.is_none() {
        return;
    }
    let Some(mut text) = texts.next() else { return };
    loop {
        let whole = text.text.decode();
        let length = whole.len() as u64;
        if start >= before + length
            && let Some(next) = texts.next()
        {
            before += length;
            text = next;
            continue;
        }
        let at = |byte: u64| span::points_before(&whole, byte.saturating_sub(before));
        citation.range = at(start).zip(end.and_then(at)).filter(|(from, to)| from <= to);
        text.citations.push(citation);
        return;
    }
}
