//! P4 and P8 of conversion.md section 16: an upstream's answer goes to a client of another format, comes back in that client's next
//! request as its SDK would echo it, and the upstream finds its own blocks, order and signatures.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests may"
)]

mod world;

use ai_api_converter::Format;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};
use world::{Client, Talk};

/// Text with characters that count differently in bytes, code points and UTF-16.
fn words() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z ]{1,12}".prop_map(|text| format!("w{text}.")),
        Just("Grüße 🙂 \"x\" \\ \n ok".to_owned()),
        Just("中文。".to_owned()),
    ]
}

fn arguments() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({})),
        Just(json!({"a": "é\n"})),
        any::<u32>().prop_map(|n| json!({"b": [n, null, {"c": true}], "a": "x"})),
    ]
}

fn opaque() -> impl Strategy<Value = String> {
    "[A-Za-z0-9+/]{8,40}".prop_map(|text| format!("{text}=="))
}

/// One piece of an answer, before a format spells it.
#[derive(Clone, Debug)]
enum Piece {
    Thought(Vec<String>, String),
    Redacted(String),
    Text(String),
    Call(Value),
    Hosted(String),
}

fn piece() -> impl Strategy<Value = Piece> {
    prop_oneof![
        3 => (prop::collection::vec(words(), 0..3), opaque()).prop_map(|(texts, state)| Piece::Thought(texts, state)),
        1 => opaque().prop_map(Piece::Redacted),
        3 => words().prop_map(Piece::Text),
        3 => arguments().prop_map(Piece::Call),
        1 => words().prop_map(Piece::Hosted),
    ]
}

/// A few answers, each ending in a text or a call, as real ones do.
fn answers() -> impl Strategy<Value = Vec<Vec<Piece>>> {
    let ending = prop_oneof![words().prop_map(Piece::Text), arguments().prop_map(Piece::Call)];
    let one = (prop::collection::vec(piece(), 0..6), ending).prop_map(|(mut pieces, last)| {
        pieces.push(last);
        pieces
    });
    prop::collection::vec(one, 1..4)
}

fn messages_blocks(pieces: &[Piece], turn: usize) -> Value {
    let mut out = Vec::new();
    for (index, piece) in pieces.iter().enumerate() {
        match piece {
            Piece::Thought(texts, state) => {
                out.push(json!({"type": "thinking", "thinking": texts.join("\n"), "signature": state}));
            }
            Piece::Redacted(data) => out.push(json!({"type": "redacted_thinking", "data": data})),
            Piece::Text(text) => out.push(json!({"type": "text", "text": text})),
            Piece::Call(args) => out.push(
                json!({"type": "tool_use", "id": format!("toolu_{turn}x{index}"), "name": "f", "input": args}),
            ),
            Piece::Hosted(query) => {
                let id = format!("srvtoolu_{turn}x{index}");
                out.push(json!({"type": "server_tool_use", "id": id, "name": "web_search", "input": {"query": query}}));
                out.push(json!({"type": "web_search_tool_result", "tool_use_id": id, "content": [{"type": "web_search_result", "url": "https://a", "title": "A", "encrypted_content": "zz"}]}));
            }
        }
    }
    Value::Array(out)
}

fn responses_items(pieces: &[Piece], turn: usize) -> Value {
    let mut out = Vec::new();
    for (index, piece) in pieces.iter().enumerate() {
        match piece {
            Piece::Thought(texts, state) => {
                let summary: Vec<Value> = texts
                    .iter()
                    .map(|text| json!({"type": "summary_text", "text": text}))
                    .collect();
                out.push(json!({"type": "reasoning", "id": format!("rs_{turn}x{index}"), "summary": summary, "encrypted_content": state}));
            }
            Piece::Redacted(data) => {
                let content = json!([{"type": "reasoning_text", "text": "raw"}]);
                out.push(json!({"type": "reasoning", "id": format!("rs_{turn}x{index}"), "summary": [], "content": content, "encrypted_content": data}));
            }
            Piece::Text(text) => out.push(
                json!({"type": "message", "id": format!("msg_{turn}x{index}"), "status": "completed", "role": "assistant", "content": [{"type": "output_text", "text": text, "annotations": []}]}),
            ),
            Piece::Call(args) => out.push(
                json!({"type": "function_call", "id": format!("fc_{turn}x{index}"), "status": "completed", "call_id": format!("call_{turn}x{index}"), "name": "f", "arguments": args.to_string()}),
            ),
            Piece::Hosted(query) => out.push(
                json!({"type": "web_search_call", "id": format!("ws_{turn}x{index}"), "status": "completed", "action": {"type": "search", "query": query}}),
            ),
        }
    }
    Value::Array(out)
}

/// Gemini signs the first call of a step, or the last part; unsigned thoughts and texts stand alone.
fn gemini_parts(pieces: &[Piece], turn: usize) -> Value {
    let mut out: Vec<Value> = Vec::new();
    let mut signed = false;
    for (index, piece) in pieces.iter().enumerate() {
        match piece {
            Piece::Thought(texts, _) => {
                let unsigned =
                    |part: &Value| part["thought"] == true && part.get("thoughtSignature").is_none();
                if !texts.is_empty() && !out.last().is_some_and(unsigned) {
                    out.push(json!({"text": texts.join("\n"), "thought": true}));
                }
            }
            Piece::Redacted(state) => {
                out.push(json!({"text": "seen", "thought": true, "thoughtSignature": state}))
            }
            Piece::Text(text) => {
                let mut part = json!({"text": text});
                if index + 1 == pieces.len() && !signed {
                    part["thoughtSignature"] = json!("dGV4dA==");
                }
                out.push(part);
            }
            Piece::Call(args) => {
                let mut part =
                    json!({"functionCall": {"id": format!("g{turn}x{index}"), "name": "f", "args": args}});
                if !signed {
                    part["thoughtSignature"] = json!("Y2FsbA==");
                    signed = true;
                }
                out.push(part);
            }
            Piece::Hosted(code) => {
                out.push(json!({"executableCode": {"language": "PYTHON", "code": code}}));
                out.push(json!({"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}}));
            }
        }
    }
    Value::Array(out)
}

/// DeepSeek: one reasoning text, one content, calls.
fn chat_message(pieces: &[Piece], turn: usize) -> Value {
    let mut reasoning = String::new();
    let mut content = String::new();
    let mut calls = Vec::new();
    for (index, piece) in pieces.iter().enumerate() {
        match piece {
            Piece::Thought(texts, _) => reasoning.push_str(&texts.concat()),
            Piece::Text(text) => content.push_str(text),
            Piece::Call(args) => calls.push(
                json!({"id": format!("call_{turn}x{index}"), "type": "function", "function": {"name": "f", "arguments": args.to_string()}}),
            ),
            _ => {}
        }
    }
    let mut message = json!({"role": "assistant", "content": content});
    if !reasoning.is_empty() {
        message["reasoning_content"] = json!(reasoning);
    }
    if !calls.is_empty() {
        message["tool_calls"] = json!(calls);
    }
    message
}

fn spelled(upstream: Format, pieces: &[Piece], turn: usize) -> Value {
    match upstream {
        Format::Messages => messages_blocks(pieces, turn),
        Format::Responses => responses_items(pieces, turn),
        Format::Gemini => gemini_parts(pieces, turn),
        Format::Chat => chat_message(pieces, turn),
    }
}

fn forget_unsigned_thoughts(parts: &mut Value) {
    let unsigned = |part: &Value| part["thought"] == true && part.get("thoughtSignature").is_none();
    parts.as_array_mut().unwrap().retain(|part| !unsigned(part));
}

/// Plays a conversation through and checks what the upstream sees of its own turns each time.
fn play(client: Client, upstream: Format, turns: &[Value], key: Option<[u8; 32]>) {
    let mut talk = Talk::new(client, upstream, key);
    for (index, native) in turns.iter().enumerate() {
        talk.answer(native);
        let report = talk.report();
        assert!(
            report.dropped.is_empty() && report.states_dropped == 0,
            "{client:?} client, {upstream} upstream: {report:?}"
        );
        let mut seen = talk.upstream_turns();
        let mut wanted: Vec<Value> = turns[..=index]
            .iter()
            .map(|native| world::normal(upstream, native))
            .collect();
        if client == Client::ChatIdsOnly && upstream == Format::Gemini {
            // Thoughts without a signature are not worth a long id; Gemini does not ask for them.
            seen.iter_mut().for_each(forget_unsigned_thoughts);
            wanted.iter_mut().for_each(forget_unsigned_thoughts);
        }
        assert_eq!(
            seen,
            wanted,
            "{client:?} client, {upstream} upstream, turn {index}\nhistory: {}",
            talk.history()
        );
    }
}

const CLIENTS: [Client; 5] = [
    Client::Chat,
    Client::ChatIdsOnly,
    Client::Responses,
    Client::Messages,
    Client::Gemini,
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, max_shrink_iters: 300, ..ProptestConfig::default() })]

    #[test]
    fn every_upstream_finds_its_own_turns(answers in answers(), signed in any::<bool>(), cut in any::<Index>()) {
        let key = signed.then_some([7; 32]);
        for upstream in Format::ALL {
            let turns: Vec<Value> = answers.iter().enumerate().map(|(turn, pieces)| spelled(upstream, pieces, turn)).collect();
            for client in CLIENTS {
                if client.format() == upstream || (client == Client::ChatIdsOnly) {
                    continue;
                }
                play(client, upstream, &turns, key);
            }
            // A client that keeps only ids can carry what stands in front of a call: so each of its turns ends in one.
            if upstream != Format::Chat {
                let turns: Vec<Value> = answers.iter().enumerate().map(|(turn, pieces)| {
                    let mut pieces = pieces.clone();
                    pieces.push(Piece::Call(json!({"last": cut.index(9)})));
                    spelled(upstream, &pieces, turn)
                }).collect();
                play(Client::ChatIdsOnly, upstream, &turns, key);
            }
        }
    }
}

fn thinking(text: &str, signature: &str) -> Value {
    json!({"type": "thinking", "thinking": text, "signature": signature})
}

fn tool_use(id: &str) -> Value {
    json!({"type": "tool_use", "id": id, "name": "f", "input": {}})
}

/// N1 and O65.
#[test]
fn interleaved_thinking_comes_back_in_order_even_if_only_ids_do() {
    let turn = json!([
        thinking("one", "s1"),
        tool_use("toolu_1"),
        thinking("two", "s2"),
        tool_use("toolu_2")
    ]);
    for client in CLIENTS
        .into_iter()
        .filter(|client| client.format() != Format::Messages)
    {
        play(client, Format::Messages, std::slice::from_ref(&turn), None);
    }
}

/// N3: four parallel calls with one signature come back with one signature.
#[test]
fn one_signature_stays_one() {
    let mut parts =
        vec![json!({"functionCall": {"id": "a", "name": "f", "args": {}}, "thoughtSignature": "c2ln"})];
    for id in ["b", "c", "d"] {
        parts.push(json!({"functionCall": {"id": id, "name": "f", "args": {}}}));
    }
    for client in CLIENTS
        .into_iter()
        .filter(|client| client.format() != Format::Gemini)
    {
        play(client, Format::Gemini, &[json!(parts)], None);
    }
}

/// O64: three steps of a tool loop; each step's first call keeps its signature, ids that Gemini did not give stay absent.
#[test]
fn a_tool_loop_with_gemini_replays_what_it_said() {
    let step = |n: usize| {
        json!([
            {"text": format!("thinking {n}"), "thought": true},
            {"functionCall": {"name": "f", "args": {"n": n}}, "thoughtSignature": format!("c2ln{n}A==")},
            {"functionCall": {"name": "f", "args": {"n": n, "second": true}}}
        ])
    };
    for client in CLIENTS
        .into_iter()
        .filter(|client| client.format() != Format::Gemini)
    {
        play(client, Format::Gemini, &[step(1), step(2), step(3)], None);
    }
}

/// Thinking longer than an id may be: the signature still comes back, the text does not have to.
#[test]
fn a_long_thought_rides_on_an_id_without_its_text() {
    let long = "x".repeat(10_000);
    let mut talk = Talk::new(Client::ChatIdsOnly, Format::Messages, None);
    talk.answer(&json!([
        thinking(&long, "s1"),
        {"type": "text", "text": "so"},
        tool_use("toolu_1")
    ]));
    let seen = talk.upstream_turns();
    assert_eq!(seen[0][0], thinking("", "s1"));
    assert_eq!(seen[0][1]["text"], "so");
    assert!(talk.history().len() < 8_000, "the id grew too long");
}

/// A client that edits a turn loses the turn's state, not the turn.
#[test]
fn an_edited_turn_loses_its_state_and_says_so() {
    let mut talk = Talk::new(Client::Chat, Format::Messages, None);
    talk.answer(&json!([thinking("a", "s1"), {"type": "text", "text": "said"}, tool_use("toolu_1")]));
    talk.edit("\"said\"", "\"edited\"");
    assert_eq!(
        talk.upstream_turns(),
        [json!([{"type": "text", "text": "edited"}, tool_use("toolu_1")])]
    );
    assert_eq!(talk.state_reason(), Some("edited_turn"));
}

/// N18 and N58: a damaged seal counts as absent, and the report says why.
#[test]
fn a_damaged_seal_counts_as_absent() {
    for (client, from, to) in [
        (Client::Messages, "Z3dzZWFs", "Z3dzZWFsA"),
        (Client::Responses, "Z3dzZWFs", "Z3dzZWFsA"),
        (Client::ChatIdsOnly, "Z3dzZWFs", "Z3dzZWFsA"),
    ] {
        let upstream = if client == Client::Messages {
            Format::Responses
        } else {
            Format::Messages
        };
        let mut talk = Talk::new(client, upstream, None);
        talk.answer(&spelled(
            upstream,
            &[
                Piece::Thought(vec!["a".into()], "c2ln".into()),
                Piece::Call(json!({})),
            ],
            0,
        ));
        talk.edit(from, to);
        let seen = talk.upstream_turns();
        assert_eq!(seen[0].as_array().unwrap().len(), 1, "{client:?} {seen:?}");
        assert_eq!(talk.state_reason(), Some("bad_seal"), "{client:?}");
    }
}

/// State made by one channel is not sent to another account.
#[test]
fn state_of_another_account_is_dropped() {
    for client in [
        Client::Chat,
        Client::ChatIdsOnly,
        Client::Responses,
        Client::Gemini,
    ] {
        let mut talk = Talk::new(client, Format::Messages, None);
        talk.answer(&json!([thinking("a", "s1"), tool_use("toolu_1")]));
        talk.domain = 2;
        assert_eq!(
            talk.upstream_turns(),
            [json!([tool_use("toolu_1")])],
            "{client:?}"
        );
        assert_eq!(talk.state_reason(), Some("foreign_domain"), "{client:?}");
    }
}

/// Prose that begins like a seal is prose.
#[test]
fn prose_is_never_taken_for_a_seal() {
    let turn = json!([{"type": "text", "text": "Z3dzZWFs is base64"}, tool_use("toolu_1")]);
    for client in CLIENTS
        .into_iter()
        .filter(|client| client.format() != Format::Messages)
    {
        play(client, Format::Messages, std::slice::from_ref(&turn), None);
    }
}
