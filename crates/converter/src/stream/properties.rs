//! Properties of the hub (wire.md 10.9): any sequence of events, also a wrong one, gives a stream that strict clients read.

#[path = "../../tests/strict/mod.rs"]
mod strict;

use proptest::prelude::*;
use strict::Ending;

use super::decode::decoder;
use super::encode::{Encode, encoder};
use super::event::{BlockKind, Event, Sink, Start};
use super::normalise::{Normaliser, State};
use crate::context::{Context, ToolOrigin};
use crate::failure::Failure;
use crate::format::{Dialect, Format};
use crate::ir::{Citation, Opaque, State as Kept};
use crate::json::Text;
use crate::sse::Parser;
use crate::stop::Stop;
use crate::usage::Usage;

#[derive(Clone, Debug)]
enum Op {
    Start(u8),
    Block(u32, u32, u8),
    Text(u32, String),
    Reasoning(u32, u32, String),
    Refusal(u32, String),
    Arguments(u32, String),
    Seal(u32, u8),
    Citation(u32),
    Media(u32),
    Stop(u32),
    Usage(bool),
    Finish(u32, u8),
    End,
}

fn context(client: Format, upstream: Format) -> Context {
    let shim = ToolOrigin {
        name: "free".into(),
        namespace: None,
        custom: true,
        item: None,
    };
    Context {
        client,
        upstream,
        dialect: Dialect::Native,
        domain: 1,
        model: "m".into(),
        stream: true,
        include_usage: true,
        include_thoughts: true,
        array: false,
        include_encrypted: true,
        legacy_functions: false,
        declares_tools: true,
        tools: [("free".to_owned(), shim)].into(),
        echo: String::new(),
        seal_key: None,
        request_id: "abc".into(),
        now: 9,
        input_estimate: 5,
    }
}

fn kind(number: u8, block: u32) -> BlockKind<'static> {
    match number {
        0 => BlockKind::Text,
        1 => BlockKind::Reasoning { summary: false },
        2 => BlockKind::State,
        3 => BlockKind::Refusal,
        4 => BlockKind::Media,
        5 => BlockKind::Search,
        _ => BlockKind::Tool {
            id: if number == 6 { "" } else { "call_1" }.into(),
            name: if number == 7 {
                "free".into()
            } else {
                format!("f{block}").into()
            },
            custom: number == 8,
        },
    }
}

fn state(number: u8) -> Opaque<'static> {
    let (origin, state) = match number {
        0 => (Format::Messages, Kept::Signature("c2ln".into())),
        1 => (Format::Messages, Kept::Redacted("ZGF0YQ".into())),
        2 => (Format::Gemini, Kept::CallSignature("c2ln".into())),
        3 => (Format::Gemini, Kept::PartSignature("c2ln".into())),
        4 => (Format::Chat, Kept::Plain),
        _ => (
            Format::Responses,
            Kept::Reasoning {
                id: Some("rs_1".into()),
                encrypted: "ZW5j".into(),
            },
        ),
    };
    Opaque {
        origin,
        domain: None,
        state,
    }
}

fn stop(number: u8) -> Stop<'static> {
    match number {
        0 => Stop::EndTurn,
        1 => Stop::ToolUse,
        2 => Stop::MaxTokens,
        3 => Stop::Filtered("SAFETY".into()),
        4 => Stop::Refusal {
            category: None,
            explanation: Some("no".into()),
        },
        5 => Stop::Malformed("MALFORMED_FUNCTION_CALL".into()),
        6 => Stop::Failed("error".into()),
        7 => Stop::Pause,
        _ => Stop::Unknown("hologram".into()),
    }
}

fn event(op: &Op) -> Event<'_> {
    let text = |text: &'static str| Some(Text::from(text));
    match op {
        Op::Start(id) => Event::Start(Start {
            id: format!("id{id}").into(),
            model: Some("m2".into()),
            created: Some(7),
            ..Start::default()
        }),
        Op::Block(choice, block, number) => Event::BlockStart {
            choice: *choice,
            block: *block,
            kind: kind(*number, *block),
        },
        Op::Text(block, text) => Event::Text {
            block: *block,
            text: text.as_str().into(),
            logprobs: Vec::new(),
        },
        Op::Reasoning(block, part, text) => Event::Reasoning {
            block: *block,
            part: *part,
            text: text.as_str().into(),
        },
        Op::Refusal(block, text) => Event::Refusal {
            block: *block,
            text: text.as_str().into(),
        },
        Op::Arguments(block, fragment) => Event::Arguments {
            block: *block,
            fragment: fragment.as_str().into(),
        },
        Op::Seal(block, number) => Event::Seal {
            block: *block,
            state: state(*number),
        },
        Op::Citation(block) => Event::Citation {
            block: *block,
            citation: Citation {
                url: text("https://a.example"),
                title: text("A"),
                range: (*block % 2 == 0).then_some((0, 1)),
                ..Citation::default()
            },
        },
        Op::Media(block) => Event::Media {
            block: *block,
            mime: "image/png".into(),
            data: "AAAA".into(),
        },
        Op::Stop(block) => Event::BlockStop { block: *block },
        Op::Usage(last) => Event::Usage {
            usage: Usage {
                input: Some(11),
                output: Some(3),
                ..Usage::default()
            },
            last: *last,
        },
        Op::Finish(choice, number) => Event::Finish {
            choice: *choice,
            stop: stop(*number),
        },
        Op::End => Event::End,
    }
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let block = 1u32..6;
    let piece = prop_oneof![
        Just(String::new()),
        "[a-z ]{1,4}",
        Just("é\u{2028}\u{85}\"\\\n".to_owned()),
        Just("{\"a\":".to_owned()),
        Just("1}".to_owned()),
        Just("{\"input\":\"x\\u00e9\"}".to_owned()),
    ];
    let op = prop_oneof![
        1 => (0u8..2).prop_map(Op::Start),
        6 => (prop_oneof![5 => Just(0u32), 1 => Just(1)], block.clone(), 0u8..10).prop_map(|(choice, block, kind)| Op::Block(choice, block, kind)),
        6 => (block.clone(), piece.clone()).prop_map(|(block, text)| Op::Text(block, text)),
        4 => (block.clone(), 0u32..3, piece.clone()).prop_map(|(block, part, text)| Op::Reasoning(block, part, text)),
        1 => (block.clone(), piece.clone()).prop_map(|(block, text)| Op::Refusal(block, text)),
        6 => (block.clone(), piece).prop_map(|(block, text)| Op::Arguments(block, text)),
        2 => (block.clone(), 0u8..6).prop_map(|(block, state)| Op::Seal(block, state)),
        1 => block.clone().prop_map(Op::Citation),
        1 => block.clone().prop_map(Op::Media),
        4 => block.prop_map(Op::Stop),
        1 => any::<bool>().prop_map(Op::Usage),
        1 => (prop_oneof![5 => Just(0u32), 1 => Just(1)], 0u8..10).prop_map(|(choice, stop)| Op::Finish(choice, stop)),
    ];
    (prop::collection::vec(op, 0..24), any::<bool>(), any::<bool>()).prop_map(|(mut ops, finish, end)| {
        if finish {
            ops.push(Op::Finish(0, 0));
        }
        if end {
            ops.push(Op::End);
        }
        ops
    })
}

/// Sends events through the normaliser, ends the body and tells of a failure, as the gateway does.
fn run(ops: &[Op], context: &Context, encoder: &mut dyn Encode) -> (Vec<u8>, Ending) {
    let (mut state, mut out) = (State::default(), Vec::new());
    for op in ops {
        let mut sink = Normaliser {
            state: &mut state,
            encoder,
            out: &mut out,
            context,
        };
        sink.event(event(op));
    }
    state.close(encoder, &mut out, context);
    if let Some(failure) = &state.failure {
        encoder.fail(failure, &mut out);
        return (out, Ending::Error);
    }
    assert!(state.is_ended(), "neither an end nor an error");
    (out, Ending::Good)
}

/// What was said, whatever the blocks.
#[derive(Debug, Default, PartialEq)]
struct Said {
    text: String,
    reasoning: String,
    calls: Vec<(u32, String, String)>,
}

impl Said {
    fn take(&mut self, event: &Event<'_>) {
        let visible = |text: &Text<'_>| text.decode().replace('\n', "");
        match event {
            Event::BlockStart {
                block,
                kind: BlockKind::Tool { name, .. },
                ..
            } => self
                .calls
                .push((*block, name.clone().into_owned(), String::new())),
            Event::Text { text, .. } => self.text.push_str(&visible(text)),
            Event::Reasoning { text, .. } => self.reasoning.push_str(&visible(text)),
            Event::Arguments { block, fragment } => {
                if let Some(call) = self.calls.iter_mut().find(|call| call.0 == *block) {
                    call.2.push_str(&fragment.decode());
                }
            }
            _ => {}
        }
    }

    /// Blocks are numbered anew by every decoder, and calls may end in another order than they began.
    fn sorted(mut self) -> Self {
        self.calls.iter_mut().for_each(|call| call.0 = 0);
        self.calls.sort();
        self
    }
}

impl Sink for Said {
    fn event(&mut self, event: Event<'_>) {
        self.take(&event);
    }
}

impl Encode for Said {
    fn event(&mut self, event: Event<'_>, _out: &mut Vec<u8>) {
        self.take(&event);
    }

    fn settle(&mut self, _out: &mut Vec<u8>) {}

    fn fail(&mut self, _failure: &Failure, _out: &mut Vec<u8>) {}

    fn keep_alive(&mut self, _out: &mut Vec<u8>) {}
}

/// A right answer: blocks one after another, arguments that are objects.
fn answer() -> impl Strategy<Value = Vec<Op>> {
    let pieces = || prop::collection::vec("[a-zé你 ]{1,5}", 1..4);
    let block = prop_oneof![
        pieces().prop_map(|texts| (0u8, texts)),
        pieces().prop_map(|texts| (1u8, texts)),
        pieces().prop_map(|texts| {
            let mut arguments = vec!["{\"a\":\"".to_owned()];
            arguments.extend(texts);
            arguments.push("\",\"n\":1.10}".to_owned());
            (6u8, arguments)
        }),
        Just((6u8, Vec::new())),
    ];
    prop::collection::vec(block, 1..6).prop_map(|blocks| {
        let mut ops = vec![Op::Start(1)];
        for (number, (kind, texts)) in blocks.into_iter().enumerate() {
            let block = u32::try_from(number).unwrap() + 1;
            ops.push(Op::Block(0, block, kind));
            ops.extend(texts.into_iter().map(|text| match kind {
                0 => Op::Text(block, text),
                1 => Op::Reasoning(block, 0, text),
                _ => Op::Arguments(block, text),
            }));
            ops.push(Op::Stop(block));
        }
        ops.extend([Op::Finish(0, 0), Op::Usage(true), Op::End]);
        ops
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    /// P3 and P6: whatever comes, the client gets a balanced stream with exactly one end.
    #[test]
    fn any_events_give_a_stream_that_strict_clients_read(ops in ops()) {
        for client in Format::ALL {
            for array in [false, true] {
                let context = Context { array, ..context(client, Format::Chat) };
                let mut encoder = encoder(&context);
                let (out, ending) = run(&ops, &context, encoder.as_mut());
                let out = String::from_utf8(out).unwrap();
                if let Err(why) = strict::check(client.as_str(), &out, ending) {
                    return Err(TestCaseError::fail(format!("{client}: {why}")));
                }
            }
        }
    }

    /// P4 and P5: nothing that was said is lost on the way through a format.
    #[test]
    fn what_was_said_comes_back(ops in answer()) {
        for format in Format::ALL {
            let context = context(format, format);
            let mut before = Said::default();
            run(&ops, &context, &mut before);
            let mut encoder = encoder(&context);
            let (out, _) = run(&ops, &context, encoder.as_mut());
            let (mut after, mut decoder) = (Said::default(), decoder(&context));
            Parser::default().push(&out, &mut |event| {
                if event.data == "[DONE]" {
                    decoder.done(&mut after).unwrap();
                } else {
                    decoder.event(event.name, event.data, &mut after).unwrap();
                }
                true
            }).unwrap();
            prop_assert_eq!(after.sorted(), before.sorted(), "{}:\n{}", format, String::from_utf8_lossy(&out));
        }
    }
}
