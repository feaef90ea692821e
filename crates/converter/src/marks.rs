//! Prompt cache markers: where they may stand, and how many (conversion.md 10.5).

use crate::format::Format;
use crate::ir::{Block, CacheMark, MediaKind, Request, Role};
use crate::report::Report;

/// Markers that a vendor takes in one request.
const MOST: usize = 4;

/// Moves and thins out markers for the upstream. Pure, and a function of the request alone: markers stay where they were as long as
/// the client's do.
pub(crate) fn settle(request: &mut Request<'_>, to: Format, report: &mut Report) {
    match to {
        Format::Chat | Format::Responses => {
            hoist(request);
            thin(markable(request), false, report);
        }
        Format::Messages => thin(all(request), true, report),
        Format::Gemini => {}
    }
}

/// May the block carry a marker on OpenAI's formats? Texts and files of everybody but the assistant.
fn takes(role: Role, block: &Block<'_>) -> bool {
    role != Role::Assistant
        && match block {
            Block::Text(_) => true,
            Block::Media(media) => media.kind == MediaKind::Document,
            _ => false,
        }
}

fn mark_of<'r>(block: &'r mut Block<'_>) -> Option<&'r mut Option<CacheMark>> {
    match block {
        Block::Text(text) => Some(&mut text.cache),
        Block::Media(media) => Some(&mut media.cache),
        Block::ToolCall(call) => Some(&mut call.cache),
        Block::ToolResult(result) => Some(&mut result.cache),
        _ => None,
    }
}

/// Markers where OpenAI takes none move to the last part in front that takes one.
fn hoist(request: &mut Request<'_>) {
    let mut last: Option<(usize, usize)> = None;
    for index in 0..request.turns.len() {
        let blocks = request.turns.get(index).map_or(0, |turn| turn.blocks.len());
        for number in 0..blocks {
            let Some(turn) = request.turns.get_mut(index) else {
                continue;
            };
            let role = turn.role;
            let Some(block) = turn.blocks.get_mut(number) else {
                continue;
            };
            if takes(role, block) {
                last = Some((index, number));
                continue;
            }
            let Some(mark) = mark_of(block).and_then(Option::take) else {
                continue;
            };
            let home = match last {
                Some((turn, block)) => request
                    .turns
                    .get_mut(turn)
                    .and_then(|turn| turn.blocks.get_mut(block))
                    .and_then(mark_of),
                None => request.system.last_mut().map(|block| &mut block.text.cache),
            };
            if let Some(home) = home {
                *home = Some(stronger(*home, mark));
            }
        }
    }
}

fn stronger(old: Option<CacheMark>, new: CacheMark) -> CacheMark {
    if old == Some(CacheMark::Long) {
        CacheMark::Long
    } else {
        new
    }
}

/// Markers of OpenAI's formats in the order of the prompt.
fn markable<'r>(request: &'r mut Request<'_>) -> Vec<&'r mut Option<CacheMark>> {
    let system = request.system.iter_mut().map(|block| &mut block.text.cache);
    let turns = request.turns.iter_mut().flat_map(|turn| {
        let role = turn.role;
        turn.blocks
            .iter_mut()
            .filter(move |block| takes(role, block))
            .filter_map(mark_of)
    });
    system.chain(turns).filter(|mark| mark.is_some()).collect()
}

/// Markers of Messages in the order of the prompt: tools, system, messages.
fn all<'r>(request: &'r mut Request<'_>) -> Vec<&'r mut Option<CacheMark>> {
    let tools = request.tools.iter_mut().map(|tool| &mut tool.cache);
    let system = request.system.iter_mut().map(|block| &mut block.text.cache);
    let turns = request
        .turns
        .iter_mut()
        .flat_map(|turn| turn.blocks.iter_mut())
        .filter_map(mark_of);
    tools
        .chain(system)
        .chain(turns)
        .filter(|mark| mark.is_some())
        .collect()
}

/// Keeps the last four. `descending`: a longer lifetime may not follow a shorter one.
fn thin(mut marks: Vec<&mut Option<CacheMark>>, descending: bool, report: &mut Report) {
    let surplus = marks.len().saturating_sub(MOST);
    for mark in marks.drain(..surplus) {
        *mark = None;
    }
    if surplus > 0 {
        report.dropped(match report.client() {
            Format::Messages => "cache_control",
            _ => "prompt_cache_breakpoint",
        });
    }
    let mut short = false;
    for mark in marks.into_iter().filter(|_| descending) {
        if short {
            *mark = Some(CacheMark::Short);
        }
        short |= *mark == Some(CacheMark::Short);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{SystemBlock, TextBlock};
    use crate::report::Mode;

    fn block(mark: Option<CacheMark>) -> SystemBlock<'static> {
        SystemBlock {
            developer: false,
            text: TextBlock {
                cache: mark,
                ..TextBlock::default()
            },
        }
    }

    #[test]
    fn four_markers_stay_and_a_longer_one_never_follows_a_shorter_one() {
        use CacheMark::{Long, Short};
        let mut request = Request {
            system: [Some(Long), Some(Long), Some(Short), None, Some(Long), Some(Long)]
                .map(block)
                .to_vec(),
            ..Request::default()
        };
        let mut report = Report::new(Format::Chat, Format::Messages, Mode::Default);
        settle(&mut request, Format::Messages, &mut report);
        let marks: Vec<_> = request.system.iter().map(|block| block.text.cache).collect();
        assert_eq!(
            marks,
            [None, Some(Long), Some(Short), None, Some(Short), Some(Short)]
        );
        assert_eq!(report.dropped, ["prompt_cache_breakpoint"]);
    }
}
