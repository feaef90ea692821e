use std::sync::Arc;

use opm_core::{Format, Usage};
use opm_ledger::record::{Event, Front, Kind, encode, front, next_whole};
use opm_ledger::{Billed, Metered, Outcome, PicoUsd, Row};
use proptest::prelude::*;
use proptest::{collection, option, sample};

fn name() -> impl Strategy<Value = String> {
    "[a-z0-9:./你é-]{0,40}"
}

fn counter() -> impl Strategy<Value = Option<u64>> {
    option::of(any::<u64>())
}

prop_compose! {
    fn counters()(
        values in collection::vec(counter(), 16),
        prediction in option::of(any::<(u64, u64)>()),
    ) -> Usage {
        Usage {
            input: values[0],
            cache_read: values[1],
            cache_write: values[2],
            cache_write_short: values[3],
            cache_write_long: values[4],
            output: values[5],
            reasoning: values[6],
            tool_prompt: values[7],
            input_audio: values[8],
            output_audio: values[9],
            web_searches: values[10],
            prediction,
            input_text: values[11],
            input_image: values[12],
            output_text: values[13],
            output_image: values[14],
            web_fetches: values[15],
            tier: None,
            in_us: None,
        }
    }
}

fn metered() -> impl Strategy<Value = Metered> {
    (counters(), counters()).prop_map(|(reported, estimate)| {
        let mut metered = Metered::reported(reported);
        metered.complete(&estimate);
        metered
    })
}

prop_compose! {
    fn row()(
        (request_id, key, user, model, upstream_model, channel) in (name(), name(), name(), name(), name(), name()),
        (attempt, started_ms, at_ms, total_ms) in any::<(u32, u64, u64, u32)>(),
        (format, upstream_format) in (option::of(sample::select(&Format::ALL)), option::of(sample::select(&Format::ALL))),
        (status, ttft_ms, cost) in (any::<u16>(), option::of(any::<u32>()), counter()),
        (outcome, billed) in (sample::select(&Outcome::ALL), sample::select(&Billed::ALL)),
        (usage, held, held_cost) in (metered(), any::<u64>(), any::<u64>()),
    ) -> Row {
        Row {
            request_id: request_id.into(), attempt, started_ms, at_ms, key: key.into(), user: user.into(), model: model.into(),
            upstream_model: upstream_model.into(), channel: channel.into(), format, upstream_format, status, outcome, billed, usage, cost: cost.map(PicoUsd), held, held_cost, ttft_ms, total_ms,
        }
    }
}

fn kind() -> impl Strategy<Value = Kind> {
    sample::select(&[Kind::Start, Kind::Attempt, Kind::Checkpoint, Kind::End])
}

fn event(bytes: &[u8]) -> Option<Event> {
    match front(bytes) {
        Front::Whole { payload, size } if size == bytes.len() => Event::decode(payload),
        _ => None,
    }
}

fn kind_of(event: &Event) -> Kind {
    match event {
        Event::Start(_) => Kind::Start,
        Event::Attempt(_) => Kind::Attempt,
        Event::Checkpoint(_) => Kind::Checkpoint,
        Event::End(_) => Kind::End,
    }
}

proptest! {
    #[test]
    fn every_row_comes_back_as_it_was(row in row(), kind in kind()) {
        let decoded = event(&encode(kind, &row)).unwrap();
        prop_assert_eq!(kind_of(&decoded), kind);
        prop_assert_eq!(decoded.row(), &row);
    }

    #[test]
    fn a_record_without_what_limits_hold_is_one_of_before(row in row(), kind in kind()) {
        let row = Row { held: 0, held_cost: 0, ..row };
        let bytes = encode(kind, &row);
        // The last fields are one byte each, a zero; length and sum stand in front of the payload.
        for fields in 1..=2 {
            let decoded = Event::decode(&bytes[8..bytes.len() - fields]).unwrap();
            prop_assert_eq!(decoded.row(), &row);
        }
    }

    #[test]
    fn a_record_cut_anywhere_is_short_and_never_whole(row in row(), kind in kind()) {
        let bytes = encode(kind, &row);
        for cut in 0..bytes.len() {
            prop_assert_eq!(front(&bytes[..cut]), Front::Short, "cut at {}", cut);
        }
    }

    #[test]
    fn no_flipped_bit_goes_unnoticed(row in row(), kind in kind()) {
        let mut bytes = encode(kind, &row);
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(!matches!(front(&bytes), Front::Whole { .. }), "bit {}", bit);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in collection::vec(any::<u8>(), 0..600)) {
        let _ = front(&bytes);
        let _ = next_whole(&bytes);
        let _ = Event::decode(&bytes);
        // The same behind a valid version and kind, where the fields are read.
        let _ = Event::decode(&[&[1, 4], &bytes[..]].concat());
    }

    #[test]
    fn a_payload_with_changed_bytes_is_read_without_a_panic(row in row(), at in any::<sample::Index>(), byte: u8) {
        let mut payload = encode(Kind::End, &row)[8..].to_vec();
        let at = at.index(payload.len());
        payload[at] = byte;
        let _ = Event::decode(&payload);
    }

    #[test]
    fn the_next_record_is_found_behind_garbage(garbage in collection::vec(any::<u8>(), 1..300), row in row()) {
        let record = encode(Kind::End, &row);
        let at = next_whole(&[&garbage[..], &record].concat());
        prop_assert_eq!(at, Some(garbage.len()));
    }
}

#[test]
fn a_client_cannot_write_a_record_into_a_record() {
    let forged = encode(Kind::End, &Row::default());
    let hostile = Row {
        user: forged
            .iter()
            .map(|byte| char::from(*byte))
            .collect::<String>()
            .into(),
        model: String::from_utf8_lossy(&forged).into(),
        ..Row::default()
    };
    assert_eq!(next_whole(&encode(Kind::Start, &hostile)), None);
}

#[test]
fn later_fields_of_the_same_version_are_skipped_and_later_versions_are_left_alone() {
    let row = Row {
        request_id: "r".into(),
        ..Row::default()
    };
    let payload = &encode(Kind::End, &row)[8..];
    assert_eq!(Event::decode(&[payload, &[9, 9]].concat()), Some(Event::End(row)));
    let mut later = payload.to_vec();
    later[0] = 2;
    assert_eq!(Event::decode(&later), None);
}

#[test]
fn the_numbers_of_formats_in_records_never_change() {
    assert_eq!(
        Format::ALL.map(Format::as_str),
        ["chat", "responses", "messages", "gemini"]
    );
}

#[test]
fn the_longest_row_is_a_record() {
    let long: Arc<str> = "x".repeat(10_000).into();
    let usage = Usage {
        input: Some(u64::MAX),
        prediction: Some((u64::MAX, u64::MAX)),
        ..Usage::default()
    };
    let row = Row {
        request_id: long.clone(),
        attempt: u32::MAX,
        started_ms: u64::MAX,
        at_ms: u64::MAX,
        key: long.clone(),
        user: long.clone(),
        model: long.clone(),
        upstream_model: long.clone(),
        channel: long,
        usage: Metered::estimated(usage),
        ..Row::default()
    };
    let decoded = event(&encode(Kind::End, &row)).unwrap();
    assert_eq!(decoded.row().channel.len(), 256);
}
