//! Citations as Gemini's `groundingMetadata`, log probabilities as its `logprobsResult` (conversion.md 12.6, 12.7).

use crate::ir::{Citation, Logprob};
use crate::json::{Text, Writer};
use crate::stream::event::BlockId;
use crate::stream::position::Position;

/// The sources of one answer and where its text cites them.
#[derive(Debug, Default)]
pub(super) struct Grounding {
    /// The text of the answer.
    text: Position,
    /// The text block under way and where it began, in code points and bytes.
    block: Option<(BlockId, u64, u64)>,
    sources: Vec<Source>,
}

#[derive(Debug)]
struct Source {
    url: String,
    title: String,
    /// UTF-8 bytes of the answer's text.
    range: Option<(u64, u64)>,
}

impl Grounding {
    /// A text block begins.
    pub(super) fn begin(&mut self, block: BlockId) {
        self.block = Some((block, self.text.points(), self.text.bytes()));
    }

    /// More text of it.
    pub(super) fn add(&mut self, text: &Text<'_>) {
        self.text.add(text);
    }

    /// A source; without a range the whole block so far cites it.
    pub(super) fn cite(&mut self, block: BlockId, citation: &Citation<'_>) {
        let Some(url) = &citation.url else { return };
        let (points, bytes) = match self.block {
            Some((known, points, bytes)) if known == block => (points, bytes),
            _ => (0, 0),
        };
        let range = match citation.range {
            Some((start, end)) => self
                .text
                .to_bytes(points + start)
                .zip(self.text.to_bytes(points + end)),
            None => Some((bytes, self.text.bytes())).filter(|(start, end)| start < end),
        };
        self.sources.push(Source {
            url: url.decode().into_owned(),
            title: citation
                .title
                .as_ref()
                .map(|title| title.decode().into_owned())
                .unwrap_or_default(),
            range,
        });
    }

    /// Writes `groundingMetadata`, if there is any source.
    pub(super) fn write(&self, w: &mut Writer<'_>) {
        if self.sources.is_empty() {
            return;
        }
        w.key("groundingMetadata").object(|w| {
            w.key("groundingChunks").array(|w| {
                for source in &self.sources {
                    w.item().object(|w| {
                        w.key("web").object(|w| {
                            w.key("uri").str(&source.url);
                            w.key("title").str(&source.title);
                        });
                    });
                }
            });
            w.key("groundingSupports").array(|w| {
                let cited = self.sources.iter().enumerate();
                for (index, (start, end)) in cited.filter_map(|(at, source)| Some((at, source.range?))) {
                    w.item().object(|w| {
                        w.key("segment").object(|w| {
                            w.key("startIndex").u64(start);
                            w.key("endIndex").u64(end);
                        });
                        w.key("groundingChunkIndices")
                            .array(|w| w.item().u64(index as u64));
                    });
                }
            });
        });
    }
}

/// Writes `logprobsResult`, if there are any.
pub(super) fn logprobs(w: &mut Writer<'_>, tokens: &[Logprob<'_>]) {
    if tokens.is_empty() {
        return;
    }
    w.key("logprobsResult").object(|w| {
        w.key("chosenCandidates").array(|w| {
            for token in tokens {
                w.item().object(|w| {
                    w.key("token").text(&token.token);
                    w.key("logProbability").raw(token.logprob);
                });
            }
        });
        w.key("topCandidates").array(|w| {
            for token in tokens {
                w.item().object(|w| {
                    w.key("candidates").array(|w| {
                        for (alternative, value) in &token.top {
                            w.item().object(|w| {
                                w.key("token").text(alternative);
                                w.key("logProbability").raw(*value);
                            });
                        }
                    });
                });
            }
        });
    });
}
