//! Gemini's sources as citations, its log probabilities (conversion.md 12.6, 12.7).

use super::wire::{Grounding, Logprobs, Support, Web};
use super::{Candidate, Kind};
use crate::ir::{Citation, Logprob};
use crate::json::{Text, Writer};
use crate::stream::event::{BlockId, BlockKind, Event, Sink};

impl Candidate {
    /// Sources of the text so far: the search that found them, and what each supports.
    pub(super) fn ground(&mut self, sources: Grounding<'_>, next: &mut BlockId, sink: &mut dyn Sink) {
        for query in sources.queries.unwrap_or_default() {
            let block = self.begin(BlockKind::Search, next, sink);
            let mut arguments = Vec::new();
            Writer::new(&mut arguments).object(|w| w.key("query").text(&query));
            let fragment = String::from_utf8_lossy(&arguments).into_owned().into();
            sink.event(Event::Arguments { block, fragment });
            sink.event(Event::BlockStop { block });
        }
        let pages: Vec<Option<Web<'_>>> = sources
            .chunks
            .unwrap_or_default()
            .into_iter()
            .map(|chunk| chunk.web)
            .collect();
        let supports = sources.supports.unwrap_or_default();
        if supports.is_empty() {
            for page in pages.iter().flatten() {
                self.cite(page, None, sink);
            }
        }
        for support in supports {
            let range = self.range(&support);
            let cited = support.chunks.unwrap_or_default().into_iter();
            for at in cited.filter_map(|index| usize::try_from(index.0?).ok()) {
                if let Some(Some(page)) = pages.get(at) {
                    self.cite(page, range, sink);
                }
            }
        }
    }

    /// Bytes of the answer as code points of the text block under way.
    fn range(&self, support: &Support<'_>) -> Option<(u64, u64)> {
        let segment = support.segment.as_ref()?;
        let start = segment.start.and_then(|start| start.0).unwrap_or(0);
        let start = self.text.to_points(start)?.checked_sub(self.block_at)?;
        let end = self.text.to_points(segment.end?.0?)?.checked_sub(self.block_at)?;
        Some((start, end))
    }

    fn cite(&self, page: &Web<'_>, range: Option<(u64, u64)>, sink: &mut dyn Sink) {
        if let Some((block, Kind::Text)) = self.current {
            let citation = Citation {
                url: page.uri.clone(),
                title: page.title.clone(),
                range,
                ..Citation::default()
            };
            sink.event(Event::Citation { block, citation });
        }
    }
}

/// Tokens with their alternatives.
pub(super) fn logprobs(wire: Option<Logprobs<'_>>) -> Vec<Logprob<'_>> {
    let Some(wire) = wire else { return Vec::new() };
    let mut alternatives = wire.top.unwrap_or_default().into_iter();
    let chosen = wire.chosen.unwrap_or_default().into_iter();
    chosen
        .filter_map(|token| {
            let top = alternatives
                .next()
                .and_then(|list| list.tokens)
                .unwrap_or_default();
            let pairs = top.into_iter().filter_map(|token| token.token.zip(token.value));
            let (token, logprob): (Text<'_>, _) = token.token.zip(token.value)?;
            Some(Logprob {
                token,
                logprob,
                bytes: None,
                top: pairs.collect(),
            })
        })
        .collect()
}
