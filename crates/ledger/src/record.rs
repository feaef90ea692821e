//! One record of the log: `length u32 LE · CRC-32 u32 LE · payload`. The sum covers length and payload. A payload is
//! `version u8 · kind u8 · fields`; later writers of the same version may append fields, readers ignore what follows.
//!
//! Every record holds its whole row, so none depends on another: a segment can go as soon as what it settles is stored.

use opm_core::Format;

use crate::metered::{COUNTERS, Metered, counters, present};
use crate::price::PicoUsd;
use crate::row::{Billed, Outcome, Row};
use crate::texts::{Place, Texts};
use crate::varint::{Input, put_number, put_text};

/// Version of the payload.
const VERSION: u8 = 1;
/// Bytes before the payload.
const HEAD: usize = 8;
/// Longest payload; eight texts of 256 bytes and the numbers stay below.
const MAX_PAYLOAD: usize = 4096;
/// Longest record.
pub(crate) const MAX_RECORD: usize = HEAD + MAX_PAYLOAD;

/// What is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A request was accepted and is about to be sent to a channel.
    Start(Row),
    /// A try at a channel failed; a row of its own.
    Attempt(Row),
    /// How far a running request is.
    Checkpoint(Row),
    /// The request is over: its one settled row.
    End(Row),
}

/// The four kinds of [`Event`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// [`Event::Start`]
    Start = 1,
    /// [`Event::Attempt`]
    Attempt = 2,
    /// [`Event::Checkpoint`]
    Checkpoint = 3,
    /// [`Event::End`]
    End = 4,
}

/// Whether a record of this kind has room: the last sixteenth is for ends.
pub(crate) fn has_room(kind: Kind, used: u64, limit: u64) -> bool {
    used < if kind == Kind::End {
        limit
    } else {
        limit - limit / 16
    }
}

/// What stands at the front of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Front<'b> {
    /// A whole record of `size` bytes.
    Whole {
        /// Its payload.
        payload: &'b [u8],
        /// Bytes of the record, head included.
        size: usize,
    },
    /// Perhaps the beginning of a record.
    Short,
    /// No record.
    Damaged,
}

/// The whole record of a row, ready to be appended.
#[must_use]
pub fn encode(kind: Kind, row: &Row) -> Vec<u8> {
    let mut out = Vec::with_capacity(384);
    out.extend_from_slice(&[0; HEAD]);
    out.extend_from_slice(&[VERSION, kind as u8]);
    put_row(&mut out, row);
    let length = u32::try_from(out.len() - HEAD).unwrap_or_default().to_le_bytes();
    let sum = checksum(&length, out.get(HEAD..).unwrap_or_default()).to_le_bytes();
    for (place, byte) in out.iter_mut().zip(length.into_iter().chain(sum)) {
        *place = byte;
    }
    out
}

fn checksum(length: &[u8; 4], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(length);
    hasher.update(payload);
    hasher.finalize()
}

fn put_row(out: &mut Vec<u8>, row: &Row) {
    put_text(out, &row.request_id);
    put_number(out, u64::from(row.attempt));
    put_number(out, row.started_ms);
    put_number(out, row.at_ms);
    for text in [&row.key, &row.user, &row.model, &row.upstream_model, &row.channel] {
        put_text(out, text);
    }
    out.extend_from_slice(&[
        format_byte(row.format),
        format_byte(row.upstream_format),
        row.outcome as u8,
        row.billed as u8,
    ]);
    put_number(out, u64::from(row.status));
    put_usage(out, &row.usage);
    put_optional(out, row.cost.map(|cost| cost.0));
    put_optional(out, row.ttft_ms.map(u64::from));
    put_number(out, u64::from(row.total_ms));
    put_number(out, row.held);
    put_number(out, row.held_cost);
}

fn put_usage(out: &mut Vec<u8>, usage: &Metered) {
    let counters = counters(usage.usage());
    put_number(out, u64::from(present(&counters)));
    put_number(out, u64::from(usage.bits()));
    counters
        .into_iter()
        .flatten()
        .for_each(|counter| put_number(out, counter));
}

/// 0 for nothing, 1 and the number for something.
fn put_optional(out: &mut Vec<u8>, value: Option<u64>) {
    out.push(u8::from(value.is_some()));
    value.into_iter().for_each(|value| put_number(out, value));
}

fn format_byte(format: Option<Format>) -> u8 {
    let place = format.and_then(|format| Format::ALL.iter().position(|other| *other == format));
    place.and_then(|place| u8::try_from(place + 1).ok()).unwrap_or(0)
}

/// Looks at the front of `bytes`. Total: any bytes, no panic.
#[must_use]
pub fn front(bytes: &[u8]) -> Front<'_> {
    let Some((length_bytes, rest)) = bytes.split_first_chunk::<4>() else {
        return Front::Short;
    };
    let length = u32::from_le_bytes(*length_bytes) as usize;
    if !(2..=MAX_PAYLOAD).contains(&length) {
        return Front::Damaged;
    }
    let Some((sum, rest)) = rest.split_first_chunk::<4>() else {
        return Front::Short;
    };
    match rest.get(..length) {
        None => Front::Short,
        Some(payload) if checksum(length_bytes, payload) == u32::from_le_bytes(*sum) => Front::Whole {
            payload,
            size: HEAD + length,
        },
        Some(_) => Front::Damaged,
    }
}

/// Where the next whole record begins, searching from the second byte on.
#[must_use]
pub fn next_whole(bytes: &[u8]) -> Option<usize> {
    (1..bytes.len()).find(|at| matches!(bytes.get(*at..).map(front), Some(Front::Whole { .. })))
}

impl Kind {
    /// The kind that a payload says it is; `None` as for [`Event::decode`].
    #[must_use]
    pub fn of(payload: &[u8]) -> Option<Kind> {
        match payload {
            [VERSION, 1, ..] => Some(Kind::Start),
            [VERSION, 2, ..] => Some(Kind::Attempt),
            [VERSION, 3, ..] => Some(Kind::Checkpoint),
            [VERSION, 4, ..] => Some(Kind::End),
            _ => None,
        }
    }
}

impl Event {
    /// The event of a payload; `None` if a later version wrote it or it is no event. Total: any bytes, no panic.
    #[must_use]
    pub fn decode(payload: &[u8]) -> Option<Event> {
        Event::decode_sharing(payload, &mut Texts::default())
    }

    /// The same; what rows before have said is not kept twice.
    pub(crate) fn decode_sharing(payload: &[u8], texts: &mut Texts) -> Option<Event> {
        let event = match Kind::of(payload)? {
            Kind::Start => Event::Start,
            Kind::Attempt => Event::Attempt,
            Kind::Checkpoint => Event::Checkpoint,
            Kind::End => Event::End,
        };
        row(&mut Input(payload.get(2..)?), texts).map(event)
    }

    /// The row of any event.
    #[must_use]
    pub fn row(&self) -> &Row {
        match self {
            Event::Start(row) | Event::Attempt(row) | Event::Checkpoint(row) | Event::End(row) => row,
        }
    }
}

fn row(input: &mut Input<'_>, texts: &mut Texts) -> Option<Row> {
    Some(Row {
        request_id: input.text()?.into(),
        attempt: input.small()?,
        started_ms: input.number()?,
        at_ms: input.number()?,
        key: texts.share(Place::Key, input.text()?),
        user: texts.share(Place::User, input.text()?),
        model: texts.share(Place::Model, input.text()?),
        upstream_model: texts.share(Place::UpstreamModel, input.text()?),
        channel: texts.share(Place::Channel, input.text()?),
        format: format(input.byte()?)?,
        upstream_format: format(input.byte()?)?,
        outcome: *Outcome::ALL.get(usize::from(input.byte()?))?,
        billed: *Billed::ALL.get(usize::from(input.byte()?))?,
        status: input.small()?,
        usage: usage(input)?,
        cost: optional(input)?.map(PicoUsd),
        ttft_ms: match optional(input)? {
            None => None,
            Some(ttft_ms) => Some(u32::try_from(ttft_ms).ok()?),
        },
        total_ms: input.small()?,
        held: input.later()?,
        held_cost: input.later()?,
    })
}

#[expect(
    clippy::option_option,
    reason = "the outer one is the reader's failure, the inner one an absent format"
)]
fn format(byte: u8) -> Option<Option<Format>> {
    match byte.checked_sub(1) {
        None => Some(None),
        Some(place) => Format::ALL.get(usize::from(place)).map(|format| Some(*format)),
    }
}

#[expect(
    clippy::option_option,
    reason = "the outer one is the reader's failure, the inner one an absent number"
)]
fn optional(input: &mut Input<'_>) -> Option<Option<u64>> {
    match input.byte()? {
        0 => Some(None),
        1 => input.number().map(Some),
        _ => None,
    }
}

fn usage(input: &mut Input<'_>) -> Option<Metered> {
    let known: u32 = input.small()?;
    let estimated: u32 = input.small()?;
    if known >> COUNTERS != 0 || estimated & !known != 0 {
        return None;
    }
    let mut counters = [None; COUNTERS];
    for (bit, counter) in counters.iter_mut().enumerate() {
        if known >> bit & 1 == 1 {
            *counter = Some(input.number()?);
        }
    }
    Some(Metered::from_parts(counters, estimated))
}
