//! Layouts: the order of a turn for clients that keep texts and calls apart (Chat), and thoughts whose parts the client's format
//! cannot keep apart.
//!
//! A turn's layout travels in one or more seals, each with what came since the one before. Put together they say in which order
//! texts, thoughts and calls were produced; texts only by length and check, because the client sends them itself.

use std::borrow::Cow;

use super::{Broken, LAYOUT, Open, opened, parts, state_of, write};
use crate::format::Format;
use crate::ir::{Opaque, State, Thought};

/// One piece of a turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment<'a> {
    /// This many bytes of visible text, with their CRC-32.
    Text {
        /// Bytes of UTF-8.
        length: u32,
        /// Their check.
        check: u32,
    },
    /// The next tool call of the turn.
    Call,
    /// Reasoning.
    Thought {
        /// Its parts, in full.
        texts: Vec<Cow<'a, str>>,
        /// They are a summary.
        summary: bool,
        /// Its state, if any.
        state: Option<State<'a>>,
    },
}

impl<'a> Segment<'a> {
    /// A thought with its texts.
    #[must_use]
    pub fn thought(thought: &Thought<'a>) -> Self {
        Segment::Thought {
            texts: thought.text.iter().map(|text| text.decode()).collect(),
            summary: thought.summary,
            state: thought.state.as_ref().map(|opaque| opaque.state.clone()),
        }
    }

    /// The same segment without a borrow of its source.
    #[must_use]
    pub fn into_owned(self) -> Segment<'static> {
        match self {
            Segment::Text { length, check } => Segment::Text { length, check },
            Segment::Call => Segment::Call,
            Segment::Thought {
                texts,
                summary,
                state,
            } => Segment::Thought {
                texts: texts
                    .into_iter()
                    .map(|text| Cow::Owned(text.into_owned()))
                    .collect(),
                summary,
                state: state.map(|state| {
                    let opaque = Opaque {
                        origin: Format::Chat,
                        domain: None,
                        state,
                    };
                    opaque.into_owned().state
                }),
            },
        }
    }
}

/// A seal that was opened: one state, or a layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sealed {
    /// One state.
    State(Opaque<'static>),
    /// A layout and whose states it holds.
    Layout {
        /// Format of the vendor.
        origin: Format,
        /// Signature domain of the channel.
        domain: u32,
        /// The segments since the seal before this one.
        segments: Vec<Segment<'static>>,
    },
}

/// Seals segments. Deterministic. `texts: false` leaves the texts of thoughts out: a signature alone is enough for vendors that
/// hold the thinking in it.
#[must_use]
pub fn seal(
    segments: &[Segment<'_>],
    origin: Format,
    domain: u32,
    texts: bool,
    key: Option<&[u8; 32]>,
) -> String {
    let mut strings: Vec<Cow<'_, str>> = Vec::new();
    for segment in segments {
        match segment {
            Segment::Text { length, check } => strings.push(format!("t{length:x}.{check:x}").into()),
            Segment::Call => strings.push("c".into()),
            Segment::Thought {
                texts: parts_of,
                summary,
                state,
            } => {
                let (kind, of_state) = state.as_ref().map_or((0, Vec::new()), parts);
                let parts_of: &[Cow<'_, str>] = if texts { parts_of } else { &[] };
                let head = format!(
                    "k{}.{kind}.{}.{}",
                    u8::from(*summary),
                    of_state.len(),
                    parts_of.len()
                );
                strings.push(head.into());
                strings.extend(of_state.into_iter().map(Cow::Borrowed));
                strings.extend(parts_of.iter().map(|text| Cow::Borrowed(text.as_ref())));
            }
        }
    }
    let strings: Vec<&str> = strings.iter().map(AsRef::as_ref).collect();
    write(origin, domain, LAYOUT, &strings, key)
}

/// Opens a seal of any kind.
///
/// # Errors
/// See [`Broken`].
pub fn open(text: &str, key: Option<&[u8; 32]>) -> Result<Sealed, Broken> {
    let Open {
        origin,
        domain,
        kind,
        strings,
    } = opened(text, key)?;
    if kind == LAYOUT {
        let segments = segments(strings).ok_or(Broken::BadSeal)?;
        return Ok(Sealed::Layout {
            origin,
            domain,
            segments,
        });
    }
    let state = state_of(kind, strings).ok_or(Broken::BadSeal)?;
    Ok(Sealed::State(Opaque {
        origin,
        domain: Some(domain),
        state,
    }))
}

fn segments(strings: Vec<Cow<'static, str>>) -> Option<Vec<Segment<'static>>> {
    let mut segments = Vec::new();
    let mut strings = strings.into_iter();
    while let Some(head) = strings.next() {
        let segment = match head.as_bytes().first()? {
            b'c' => Segment::Call,
            b't' => {
                let (length, check) = head.get(1..)?.split_once('.')?;
                Segment::Text {
                    length: u32::from_str_radix(length, 16).ok()?,
                    check: u32::from_str_radix(check, 16).ok()?,
                }
            }
            b'k' => {
                let mut numbers = head.get(1..)?.split('.');
                let mut number = || numbers.next()?.parse::<usize>().ok();
                let (summary, kind, of_state, texts) = (number()?, number()?, number()?, number()?);
                let of_state: Vec<_> = strings.by_ref().take(of_state).collect();
                let state = match u8::try_from(kind).ok()? {
                    0 => None,
                    kind => Some(state_of(kind, of_state)?),
                };
                let texts: Vec<_> = strings.by_ref().take(texts).collect();
                Segment::Thought {
                    texts,
                    summary: summary == 1,
                    state,
                }
            }
            _ => return None,
        };
        segments.push(segment);
    }
    Some(segments)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<Segment<'static>> {
        vec![
            Segment::Thought {
                texts: vec!["a".into(), "b\n".into()],
                summary: true,
                state: Some(State::Reasoning {
                    id: Some("rs_1".into()),
                    encrypted: "enc".into(),
                }),
            },
            Segment::Text {
                length: 300,
                check: 0xdead_beef,
            },
            Segment::Call,
            Segment::Thought {
                texts: Vec::new(),
                summary: false,
                state: None,
            },
        ]
    }

    #[test]
    fn a_layout_comes_back_with_and_without_a_key() {
        for key in [None, Some(&[7; 32])] {
            let text = seal(&sample(), Format::Responses, 9, true, key);
            let wanted = Sealed::Layout {
                origin: Format::Responses,
                domain: 9,
                segments: sample(),
            };
            assert_eq!(open(&text, key), Ok(wanted));
        }
    }

    #[test]
    fn texts_can_be_left_out_and_states_open_too() {
        let short = seal(&sample(), Format::Responses, 9, false, None);
        assert!(short.len() < seal(&sample(), Format::Responses, 9, true, None).len());
        let state = Opaque {
            origin: Format::Messages,
            domain: Some(1),
            state: State::Signature("s".into()),
        };
        assert_eq!(
            open(&super::super::seal(&state, None), None),
            Ok(Sealed::State(state))
        );
        assert_eq!(super::super::open(&short, None), Err(Broken::BadSeal));
    }
}
