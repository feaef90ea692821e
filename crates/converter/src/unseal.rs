//! Opens the seals that a client sent back, and puts what they hold where it was produced (conversion.md 7.4, 7.5).
//!
//! Decoders leave seals closed ([`State::Sealed`]): only here are the key, the size budget and the whole turn known. A seal that
//! cannot be opened counts as absent and is reported; the turn stays usable.

use crate::format::Format;
use crate::ir::{Block, Opaque, Request, Role, State, TextBlock, Thought, Turn};
use crate::json::Text;
use crate::report::Report;
use crate::seal::layout::{self, Sealed, Segment};
use crate::seal::{Broken, MAX_TEXT};

/// All seals of a request together, bytes of their text form (conversion.md 7.2: 4 MiB before base64).
const MAX_TOTAL: usize = 16 * MAX_TEXT;

/// Opens every seal of the request.
pub(crate) fn unseal(request: &mut Request<'_>, key: Option<&[u8; 32]>, report: &mut Report) {
    let mut opener = Opener {
        key,
        left: MAX_TOTAL,
        report,
    };
    let chat = opener.report.client() == Format::Chat;
    for turn in &mut request.turns {
        let sealed = |block: &Block<'_>| state_of(block).is_some_and(is_sealed);
        if turn.role != Role::Assistant || !turn.blocks.iter().any(sealed) {
            continue;
        }
        if chat {
            opener.rebuild(turn);
        } else {
            opener.in_place(turn);
        }
    }
}

fn state_of<'b, 'a>(block: &'b Block<'a>) -> Option<&'b Opaque<'a>> {
    match block {
        Block::Thought(thought) => thought.state.as_ref(),
        Block::ToolCall(call) => call.state.as_ref(),
        Block::Text(text) => text.state.as_ref(),
        _ => None,
    }
}

fn is_sealed(state: &Opaque<'_>) -> bool {
    matches!(state.state, State::Sealed(_))
}

/// Takes a closed seal out of its slot.
fn take_seal<'a>(slot: &mut Option<Opaque<'a>>) -> Option<std::borrow::Cow<'a, str>> {
    match slot.take() {
        Some(Opaque {
            state: State::Sealed(seal),
            ..
        }) => Some(seal),
        other => {
            *slot = other;
            None
        }
    }
}

struct Opener<'o> {
    key: Option<&'o [u8; 32]>,
    left: usize,
    report: &'o mut Report,
}

impl Opener<'_> {
    fn open(&mut self, seal: &str) -> Option<Sealed> {
        let opened = match self.left.checked_sub(seal.len()) {
            Some(left) => {
                self.left = left;
                layout::open(seal, self.key)
            }
            None => Err(Broken::TooLarge),
        };
        if let Err(broken) = &opened {
            self.report.state_dropped(broken.reason().unwrap_or("bad_seal"));
        }
        opened.ok()
    }

    /// Clients that keep the order of blocks: each seal is opened where it stands.
    fn in_place<'a>(&mut self, turn: &mut Turn<'a>) {
        let mut out: Vec<Block<'a>> = Vec::with_capacity(turn.blocks.len());
        let mut tail = Vec::new();
        let mut of_text = None;
        for mut block in std::mem::take(&mut turn.blocks) {
            let seal = match &mut block {
                Block::Thought(thought) => take_seal(&mut thought.state),
                Block::ToolCall(call) => take_seal(&mut call.state),
                Block::Text(text) => take_seal(&mut text.state),
                _ => None,
            };
            let opened = seal.and_then(|seal| self.open(&seal));
            let mut thoughts = opened.map(thoughts_of).unwrap_or_default();
            if let (Block::Thought(visible), [opened]) = (&block, thoughts.as_mut_slice())
                && opened.text.is_empty()
            {
                // OpenAI's reasoning text is a summary unless the seal says otherwise.
                opened.summary = visible.summary
                    || matches!(&opened.state, Some(state) if matches!(state.state, State::Reasoning { .. }));
                opened.text.clone_from(&visible.text);
            }
            let was_thought = matches!(block, Block::Thought(_));
            let opened_any = !thoughts.is_empty();
            for thought in thoughts {
                place(thought, &mut block, &mut out, &mut tail, &mut of_text);
            }
            if was_thought && opened_any || shadow(&block, &out) {
                continue;
            }
            if let Block::Text(text) = &mut block
                && text.state.is_none()
            {
                text.state = of_text.take();
            }
            out.push(block);
        }
        out.append(&mut tail);
        turn.blocks = out;
    }

    /// Chat keeps one text, one list of calls and, at best, the reasoning details: the layout says how they were mixed.
    fn rebuild<'a>(&mut self, turn: &mut Turn<'a>) {
        let mut details: Vec<Sealed> = Vec::new();
        let mut ids: Vec<Sealed> = Vec::new();
        let mut plain: Vec<Block<'a>> = Vec::new();
        // The number of the call on which each seal of an id rode.
        let mut carriers: Vec<usize> = Vec::new();
        let mut calls = 0;
        let mut visible: Vec<Text<'a>> = Vec::new();
        // Every seal on an id could be opened.
        let mut whole = true;
        for mut block in std::mem::take(&mut turn.blocks) {
            match &mut block {
                Block::Thought(thought) => {
                    if let Some(seal) = take_seal(&mut thought.state) {
                        details.extend(self.open(&seal));
                        // The visible text stands in the layout too.
                        visible.append(&mut thought.text);
                        continue;
                    }
                }
                Block::ToolCall(call) => {
                    if let Some(seal) = take_seal(&mut call.state) {
                        let opened = self.open(&seal);
                        whole &= opened.is_some();
                        carriers.extend(opened.iter().map(|_| calls));
                        ids.extend(opened);
                    }
                    calls += 1;
                }
                _ => {}
            }
            plain.push(block);
        }
        if details.is_empty() && ids.is_empty() {
            turn.blocks = plain;
            return;
        }
        let single = |sealed: &Sealed| matches!(sealed, Sealed::State(_));
        if details.iter().chain(&ids).all(single) {
            let on_ids = carriers.into_iter().zip(ids).collect();
            turn.blocks = in_front(details, on_ids, visible, plain);
            return;
        }
        // Both say the same about an untouched turn; the ids reach further, the details hold every text.
        let by_ids = mixed(&ids, &plain);
        let blocks = match mixed(&details, &plain) {
            _ if by_ids.is_none() && whole => None,
            _ if details.is_empty() => by_ids,
            blocks => blocks,
        };
        turn.blocks = blocks.unwrap_or_else(|| {
            // The client changed the turn: its state no longer belongs to it.
            self.report.state_dropped("edited_turn");
            plain
        });
    }
}

/// Seals of single states say less: a state on an id stood in front of that call, the others in front of everything.
fn in_front<'a>(
    details: Vec<Sealed>,
    on_ids: Vec<(usize, Sealed)>,
    mut visible: Vec<Text<'a>>,
    plain: Vec<Block<'a>>,
) -> Vec<Block<'a>> {
    let mut thought = |sealed: Sealed| -> Vec<Block<'a>> {
        let mut thoughts: Vec<Thought<'a>> = thoughts_of(sealed);
        if let Some(first) = thoughts.first_mut() {
            first.text.append(&mut visible);
        }
        thoughts.into_iter().map(Block::Thought).collect()
    };
    let known: Vec<&Sealed> = on_ids.iter().map(|(_, sealed)| sealed).collect();
    let unplaced: Vec<Sealed> = details
        .into_iter()
        .filter(|sealed| !known.contains(&sealed))
        .collect();
    let mut out: Vec<Block<'a>> = unplaced.into_iter().flat_map(&mut thought).collect();
    let mut on_ids = on_ids.into_iter().peekable();
    let mut calls = 0;
    for block in plain {
        if matches!(block, Block::ToolCall(_)) {
            while let Some((_, sealed)) = on_ids.next_if(|(call, _)| *call == calls) {
                out.extend(thought(sealed));
            }
            calls += 1;
        }
        out.push(block);
    }
    out
}

/// The thoughts that a seal holds.
fn thoughts_of(sealed: Sealed) -> Vec<Thought<'static>> {
    match sealed {
        Sealed::State(state) => vec![Thought {
            state: Some(state),
            ..Thought::default()
        }],
        Sealed::Layout {
            origin,
            domain,
            segments,
        } => segments
            .into_iter()
            .filter_map(|segment| thought_of(segment, origin, domain))
            .collect(),
    }
}

fn thought_of(segment: Segment<'static>, origin: Format, domain: u32) -> Option<Thought<'static>> {
    let Segment::Thought {
        texts,
        summary,
        state,
    } = segment
    else {
        return None;
    };
    Some(Thought {
        text: texts.into_iter().map(Text::from).collect(),
        summary,
        // A thought without state is still its vendor's.
        state: Some(Opaque {
            origin,
            domain: Some(domain),
            state: state.unwrap_or(State::Plain),
        }),
    })
}

/// Puts an opened thought where its state belongs: on the call or text that follows, at the end, or here.
fn place<'a>(
    thought: Thought<'a>,
    block: &mut Block<'a>,
    out: &mut Vec<Block<'a>>,
    tail: &mut Vec<Block<'a>>,
    of_text: &mut Option<Opaque<'a>>,
) {
    let Thought { text, summary, state } = thought;
    match (state, block) {
        (
            Some(Opaque {
                origin,
                domain,
                state: State::TailSignature(signature),
            }),
            _,
        ) => tail.push(Block::Thought(Thought {
            text,
            summary,
            state: Some(Opaque {
                origin,
                domain,
                state: State::PartSignature(signature),
            }),
        })),
        (
            Some(Opaque {
                origin,
                domain,
                state: State::TextSignature(signature),
            }),
            block,
        ) => {
            let state = Some(Opaque {
                origin,
                domain,
                state: State::PartSignature(signature),
            });
            match block {
                Block::Text(text) => text.state = state,
                _ => *of_text = state,
            }
        }
        (Some(state), Block::ToolCall(call)) if matches!(state.state, State::CallSignature(_)) => {
            call.state = Some(state);
        }
        (state, _) => out.push(Block::Thought(Thought { text, summary, state })),
    }
}

/// True for a block that only shows what a restored block in front of it holds: a search call that stands for the vendor's own.
fn shadow(block: &Block<'_>, out: &[Block<'_>]) -> bool {
    let restored = matches!(
        out.last(),
        Some(Block::Thought(Thought { state: Some(state), .. })) if matches!(state.state, State::Native(_))
    );
    restored && matches!(block, Block::Native(native) if !native.must)
}

/// The turn in its own order; `None` if text or calls are not the ones that were sealed.
fn mixed<'a>(chain: &[Sealed], plain: &[Block<'a>]) -> Option<Vec<Block<'a>>> {
    let texts = plain.iter().filter_map(|block| match block {
        Block::Text(text) => Some(text.text.decode()),
        _ => None,
    });
    let text: String = texts.collect();
    let mut rest = text.as_str();
    let mut calls = plain.iter().filter(|block| matches!(block, Block::ToolCall(_)));
    let mut out: Vec<Block<'a>> = plain
        .iter()
        .filter(|block| !matches!(block, Block::Text(_) | Block::ToolCall(_) | Block::Thought(_)))
        .cloned()
        .collect();
    let mut of_next: Option<Opaque<'a>> = None;
    let mut tail = Vec::new();
    for sealed in chain {
        let (origin, domain, segments) = match sealed {
            Sealed::State(state) => {
                // A single state: it belongs in front of what comes next.
                out.push(Block::Thought(Thought {
                    state: Some(state.clone()),
                    ..Thought::default()
                }));
                continue;
            }
            Sealed::Layout {
                origin,
                domain,
                segments,
            } => (*origin, *domain, segments),
        };
        for segment in segments {
            match segment {
                Segment::Text { length, check } => {
                    let (head, behind) = rest.split_at_checked(usize::try_from(*length).ok()?)?;
                    if crc32fast::hash(head.as_bytes()) != *check {
                        return None;
                    }
                    rest = behind;
                    out.push(text_block(head, of_next.take()));
                }
                Segment::Call => {
                    let mut call = calls.next()?.clone();
                    if let Block::ToolCall(call) = &mut call
                        && of_next.is_some()
                    {
                        call.state = of_next.take();
                    }
                    out.push(call);
                }
                Segment::Thought { .. } => {
                    let thought = thought_of(segment.clone(), origin, domain)?;
                    let mut nothing = Block::Refusal(Text::default());
                    match &thought.state {
                        Some(state) if matches!(state.state, State::CallSignature(_)) => {
                            of_next.clone_from(&thought.state);
                        }
                        _ => place(thought, &mut nothing, &mut out, &mut tail, &mut of_next),
                    }
                }
            }
        }
    }
    if !rest.is_empty() {
        out.push(text_block(rest, of_next.take()));
    }
    for call in calls {
        let mut call = call.clone();
        if let Block::ToolCall(call) = &mut call
            && of_next.is_some()
        {
            call.state = of_next.take();
        }
        out.push(call);
    }
    out.append(&mut tail);
    Some(out)
}

fn text_block<'a>(text: &str, state: Option<Opaque<'a>>) -> Block<'a> {
    Block::Text(TextBlock {
        text: Text::from(text.to_owned()),
        state,
        ..TextBlock::default()
    })
}
