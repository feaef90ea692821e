//! Citations as Gemini's grounding metadata (conversion.md 12.6): sources once, and which bytes of which part rest on them.

use super::hosted::{self, Hosted};
use crate::format::Format;
use crate::ir::{Block, Candidate, Citation};
use crate::json::{Text, Writer};
use crate::span;

/// Which part of the answer each text block became.
#[derive(Debug, Default)]
pub(super) struct Cited {
    /// Part number and block number.
    texts: Vec<(u64, usize)>,
}

/// One stretch of text and the source it rests on.
struct Support {
    part: u64,
    range: (u64, u64),
    words: String,
    chunk: usize,
}

impl Cited {
    /// A text block was written as this part.
    pub(super) fn text(&mut self, part: u64, block: usize) {
        self.texts.push((part, block));
    }

    /// Writes `groundingMetadata` if there is anything to say.
    pub(super) fn write(&self, w: &mut Writer<'_>, candidate: &Candidate<'_>) {
        let mut chunks: Vec<&Citation<'_>> = Vec::new();
        let mut supports: Vec<Support> = Vec::new();
        for (part, block) in &self.texts {
            let Some(Block::Text(block)) = candidate.blocks.get(*block) else {
                continue;
            };
            let text = block.text.decode();
            for citation in &block.citations {
                if let Some(support) = support(*part, &text, citation, &mut chunks) {
                    supports.push(support);
                }
            }
        }
        let queries: Vec<Text<'_>> = candidate
            .blocks
            .iter()
            .filter_map(|block| match hosted::of_block(block) {
                Some(Hosted::Search(queries)) => Some(queries),
                _ => None,
            })
            .flatten()
            .collect();
        if chunks.is_empty() && queries.is_empty() {
            return;
        }
        w.key("groundingMetadata").object(|w| {
            if !queries.is_empty() {
                w.key("webSearchQueries")
                    .array(|w| queries.iter().for_each(|query| w.item().text(query)));
            }
            w.key("groundingChunks")
                .array(|w| chunks.iter().for_each(|source| chunk(w.item(), source)));
            w.key("groundingSupports")
                .array(|w| supports.iter().for_each(|support| support.write(w.item())));
        });
    }
}

/// Finds or adds the source; the stretch of text, if it is known.
fn support<'c, 'a>(
    part: u64,
    text: &str,
    citation: &'c Citation<'a>,
    chunks: &mut Vec<&'c Citation<'a>>,
) -> Option<Support> {
    if citation.url.is_none() && citation.file.is_none() {
        return None;
    }
    let same = |known: &&Citation<'_>| known.url == citation.url && known.file == citation.file;
    let chunk = chunks.iter().position(same).unwrap_or_else(|| {
        chunks.push(citation);
        chunks.len() - 1
    });
    // Anthropic's citations mean the whole text block.
    let whole = matches!(citation.native, Some((Format::Messages, _))).then(|| (0, span::points(text)));
    let (from, to) = citation.range.or(whole)?;
    let words = span::slice(text, from, to)?.to_owned();
    Some(Support {
        part,
        range: (span::bytes_before(text, from)?, span::bytes_before(text, to)?),
        words,
        chunk,
    })
}

fn chunk(w: &mut Writer<'_>, source: &Citation<'_>) {
    w.object(|w| match (&source.url, &source.file) {
        (Some(url), _) => w.key("web").object(|w| {
            w.key("uri").text(url);
            if let Some(title) = &source.title {
                w.key("title").text(title);
            }
        }),
        (None, Some((id, name))) => w.key("retrievedContext").object(|w| {
            w.key("uri").text(id);
            w.key("title").text(name);
        }),
        (None, None) => {}
    });
}

impl Support {
    fn write(&self, w: &mut Writer<'_>) {
        w.object(|w| {
            w.key("segment").object(|w| {
                w.key("partIndex").u64(self.part);
                w.key("startIndex").u64(self.range.0);
                w.key("endIndex").u64(self.range.1);
                w.key("text").str(&self.words);
            });
            w.key("groundingChunkIndices")
                .array(|w| w.item().u64(self.chunk as u64));
        });
    }
}
