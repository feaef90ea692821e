//! What a stream must do beside its events: keep-alives, large events, commit and release, state that finds its way home.

#![expect(clippy::unwrap_used, reason = "tests may")]

use ai_api_converter::estimate::Estimator;
use ai_api_converter::stream::{Converter, Progress, Relay, RelayOptions, Stream};
use ai_api_converter::{
    Context, Dialect, Format, Options, Particulars, Source, Target, convert_request, convert_response,
    convert_response_noting,
};
use serde_json::{Value, json};

fn request(client: Format) -> Value {
    match client {
        Format::Chat => json!({"model": "m", "stream": true, "messages": [{"role": "user", "content": "hi"}],
            "tools": [{"type": "function", "function": {"name": "f"}}]}),
        Format::Responses => json!({"model": "m", "stream": true, "store": false, "input": "hi"}),
        Format::Messages => {
            json!({"model": "m", "stream": true, "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]})
        }
        Format::Gemini => json!({"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}),
    }
}

fn convert(body: &Value, client: Format, upstream: Format) -> (Value, Context) {
    let source = Source {
        format: client,
        model: Some("m"),
        stream: true,
        array: false,
    };
    // A model whose profile keeps everything.
    let model = if upstream == Format::Gemini {
        "gemini-3-pro"
    } else {
        "m"
    };
    let target = Target {
        format: upstream,
        dialect: Dialect::Native,
        model,
        domain: 7,
    };
    let options = Options {
        request_id: "abc".into(),
        now: 9,
        ..Options::default()
    };
    let converted = convert_request(body.to_string().as_bytes(), &source, &target, &options).unwrap();
    (
        serde_json::from_slice(&converted.body).unwrap(),
        converted.context,
    )
}

fn stream(client: Format, upstream: Format) -> Stream {
    if client == upstream {
        return relay(client, false);
    }
    Stream::Convert(Box::new(Converter::new(
        convert(&request(client), client, upstream).1,
    )))
}

fn relay(format: Format, array: bool) -> Stream {
    let options = RelayOptions {
        format,
        hide_usage: false,
        array,
        model: "m".into(),
        rename: false,
        request_id: "abc".into(),
        now: 9,
    };
    Stream::Relay(Box::new(Relay::new(options)))
}

fn text_event(format: Format, text: &str) -> String {
    match format {
        Format::Chat => format!(
            "data: {}\n\n",
            json!({"id": "c", "choices": [{"index": 0, "delta": {"content": text}}]})
        ),
        Format::Responses => format!(
            "event: response.output_text.delta\ndata: {}\n\n",
            json!({"type": "response.output_text.delta", "item_id": "x", "output_index": 0, "content_index": 0, "delta": text})
        ),
        Format::Messages => format!(
            "event: content_block_delta\ndata: {}\n\n",
            json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}})
        ),
        Format::Gemini => format!(
            "data: {}\r\n\r\n",
            json!({"candidates": [{"content": {"role": "model", "parts": [{"text": text}]}, "index": 0}], "modelVersion": "m", "responseId": "r"})
        ),
    }
}

/// wire.md 9.2: a cut stream is charged by what was seen of it, and never for less than it cost.
#[test]
fn what_was_streamed_is_estimated_on_every_way() {
    for client in Format::ALL {
        for upstream in Format::ALL {
            let mut stream = stream(client, upstream);
            let mut out = Vec::new();
            assert_eq!((stream.output_estimate(), stream.output_most()), (0, 0));
            let mut words = Estimator::default();
            for word in ["Hello", " wörld,", " 你好", " 12345"] {
                stream.push(text_event(upstream, word).as_bytes(), &mut out);
                words.add(word);
            }
            assert_eq!(stream.output_estimate(), words.tokens(), "{upstream} to {client}");
            let most = words.most()..words.most() + 25;
            assert!(
                most.contains(&stream.output_most()),
                "{upstream} to {client}: {} of {most:?}",
                stream.output_most()
            );
        }
    }
}

#[test]
fn calls_and_sounds_count_for_the_most() {
    let call = json!({"id": "c", "choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "id": "x", "function": {"name": "f", "arguments": "{}"}}]}}]});
    for client in [Format::Chat, Format::Messages] {
        let mut stream = stream(client, Format::Chat);
        stream.push(format!("data: {call}\n\n").as_bytes(), &mut Vec::new());
        assert!(
            stream.output_estimate() <= 3 && stream.output_most() >= 32 + 3,
            "{client}"
        );
    }
    let data = "A".repeat(40_000);
    let part = json!({"inlineData": {"mimeType": "audio/wav", "data": data}});
    let sound = json!({"candidates": [{"content": {"role": "model", "parts": [part]}, "index": 0}], "responseId": "r"});
    let mut stream = relay(Format::Gemini, false);
    stream.push(format!("data: {sound}\r\n\r\n").as_bytes(), &mut Vec::new());
    assert!(stream.output_most() >= 30_000 / 20, "{}", stream.output_most());
}

/// F11, F12: a sign of life is whole, in the client's own form, and never stands inside an event.
#[test]
fn keep_alives_are_what_the_clients_of_a_format_read() {
    for client in Format::ALL {
        for upstream in Format::ALL {
            let mut stream = stream(client, upstream);
            let mut out = Vec::new();
            let event = text_event(upstream, "x");
            let (half, rest) = event.split_at(event.len() / 2);
            for piece in [event.as_str(), half] {
                stream.push(piece.as_bytes(), &mut out);
            }
            let before = out.len();
            stream.keep_alive(&mut out);
            let sign = String::from_utf8(out.split_off(before)).unwrap();
            let wanted = match client {
                Format::Chat | Format::Responses => ": keep-alive\n\n",
                Format::Messages => "event: ping\ndata: {\"type\": \"ping\"}\n\n",
                Format::Gemini => &sign,
            };
            assert_eq!(sign, wanted, "{upstream} to {client}");
            if client == Format::Gemini {
                let chunk: Value = serde_json::from_str(
                    sign.strip_prefix("data: ")
                        .unwrap()
                        .strip_suffix("\r\n\r\n")
                        .unwrap(),
                )
                .unwrap();
                assert_eq!(chunk["candidates"][0]["content"]["parts"], json!([{"text": ""}]));
                assert!(chunk["modelVersion"].is_string() && chunk["responseId"].is_string());
            }
            stream.push(rest.as_bytes(), &mut out);
            let text = String::from_utf8(out).unwrap();
            assert!(!text.contains("keep-alive"), "{upstream} to {client}");
        }
    }
}

#[test]
fn keep_alives_of_an_array_are_blanks() {
    let mut stream = relay(Format::Gemini, true);
    let mut out = Vec::new();
    stream.keep_alive(&mut out);
    assert!(out.is_empty(), "nothing stands in front of the bracket");
    stream.push(
        b"[{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"x\"}]}}]}",
        &mut out,
    );
    let before = out.len();
    stream.keep_alive(&mut out);
    assert_eq!(out.split_off(before), b"\n");
}

/// F22: an inline image of 20 MB passes whole; what is larger than any event fails loudly.
#[test]
fn large_events_pass_and_absurd_ones_fail() {
    let data = "A".repeat(20 << 20);
    let image = json!({"candidates": [{"content": {"role": "model", "parts": [{"inlineData": {"mimeType": "image/png", "data": data}}]}, "finishReason": "STOP", "index": 0}]});
    let bodies = [format!("data: {image}\r\n\r\n"), format!("[{image}]")];
    for body in bodies {
        let mut stream = stream(Format::Chat, Format::Gemini);
        let mut out = Vec::new();
        for piece in body.as_bytes().chunks(16 << 10) {
            stream.push(piece, &mut out);
        }
        assert!(stream.end(&mut out).ended && out.len() > data.len());
    }
    let mut stream = stream(Format::Chat, Format::Gemini);
    let mut out = Vec::new();
    let mut last = stream.push(b"data: {\"a\":\"", &mut out);
    let piece = vec![b'A'; 1 << 20];
    for _ in 0..65 {
        last = stream.push(&piece, &mut out);
    }
    let failure = last.failure.unwrap();
    assert_eq!(failure.code, Some("upstream_event_too_large"));
    stream.fail(&failure, &mut out);
    assert!(
        String::from_utf8(out)
            .unwrap()
            .contains("upstream_event_too_large")
    );
}

/// Nothing that opens an answer commits it, in any pair (wire.md 2.6).
#[test]
fn openings_do_not_commit() {
    let openings = [
        (
            Format::Chat,
            "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":3}}\n\n",
        ),
        (
            Format::Responses,
            "data: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_1\"}}\n\ndata: {\"type\":\"response.in_progress\",\"response\":{\"id\":\"resp_1\"}}\n\n",
        ),
        (
            Format::Messages,
            "data: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\"}}\n\ndata: {\"type\":\"ping\"}\n\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
        ),
        (
            Format::Gemini,
            "data: {\"usageMetadata\":{\"promptTokenCount\":3},\"responseId\":\"r\"}\n\n",
        ),
    ];
    for (upstream, opening) in openings {
        for client in Format::ALL {
            let mut stream = stream(client, upstream);
            let mut out = Vec::new();
            let progress = stream.push(opening.as_bytes(), &mut out);
            assert_eq!(progress, Progress::default(), "{upstream} to {client}");
            if client != upstream {
                assert_eq!(String::from_utf8_lossy(&out), "", "{upstream} to {client}");
            }
            assert!(
                stream
                    .push(text_event(upstream, "x").as_bytes(), &mut out)
                    .content,
                "{upstream} to {client}"
            );
        }
    }
}

/// A held end leaves when the gateway asks for it, but not while one of several answers is still coming.
#[test]
fn the_end_is_held_for_usage_only() {
    let (_, context) = convert(
        &json!({"contents": [{"role": "user", "parts": [{"text": "hi"}]}], "generationConfig": {"candidateCount": 2}}),
        Format::Gemini,
        Format::Chat,
    );
    let mut stream = Stream::Convert(Box::new(Converter::new(context)));
    let mut out = Vec::new();
    let mut push = |index: u32, delta: Value, finish: Value| {
        let chunk =
            json!({"id": "c", "choices": [{"index": index, "delta": delta, "finish_reason": finish}]});
        stream.push(format!("data: {chunk}\n\n").as_bytes(), &mut out)
    };
    push(0, json!({"content": "a"}), Value::Null);
    push(1, json!({"content": "b"}), Value::Null);
    assert!(!push(0, json!({}), json!("stop")).held);
    assert!(push(1, json!({}), json!("stop")).held);
    assert!(stream.release(&mut out).ended);
}

fn events(out: &[u8]) -> Vec<Value> {
    let text = String::from_utf8(out.to_vec()).unwrap();
    text.lines()
        .filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok())
        .collect()
}

const SIGNED: &str = concat!(
    "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"t\",\"thought\":true}]},\"index\":0}]}\r\n\r\n",
    "data: {\"candidates\":[{\"content\":{\"parts\":[{\"functionCall\":{\"id\":\"x1\",\"name\":\"f\",\"args\":{}},\"thoughtSignature\":\"c2ln\"}]},\"finishReason\":\"STOP\",\"index\":0}]}\r\n\r\n",
);

/// S1: the signature of a Gemini call comes back from a Messages client's history.
#[test]
fn a_gemini_signature_survives_a_messages_client() {
    let mut stream = stream(Format::Messages, Format::Gemini);
    let mut out = Vec::new();
    stream.push(SIGNED.as_bytes(), &mut out);
    stream.end(&mut out);
    let events = events(&out);
    let of = |kind: &str| {
        events
            .iter()
            .find(|event| event["delta"]["type"] == kind)
            .unwrap()
            .clone()
    };
    let history = json!({"model": "m", "max_tokens": 9, "messages": [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": of("thinking_delta")["delta"]["thinking"], "signature": of("signature_delta")["delta"]["signature"]},
            {"type": "tool_use", "id": "x1", "name": "f", "input": {}},
        ]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "x1", "content": "r"}]},
    ]});
    let (body, _) = convert(&history, Format::Messages, Format::Gemini);
    assert!(
        body.to_string().contains("\"thoughtSignature\":\"c2ln\""),
        "{body}"
    );
}

/// S6: what a Chat client keeps, the fields or only the ids, is enough.
#[test]
fn hidden_thinking_survives_a_chat_client() {
    let upstream = [
        json!({"type": "message_start", "message": {"id": "msg_1", "model": "m"}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "redacted_thinking", "data": "ZGF0YQ=="}}),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}}),
        json!({"type": "content_block_stop", "index": 1}),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 3}}),
        json!({"type": "message_stop"}),
    ];
    let mut stream = stream(Format::Chat, Format::Messages);
    let mut out = Vec::new();
    for event in &upstream {
        stream.push(format!("data: {event}\n\n").as_bytes(), &mut out);
    }
    let events = events(&out);
    let deltas: Vec<&Value> = events.iter().map(|event| &event["choices"][0]["delta"]).collect();
    let details = deltas
        .iter()
        .find_map(|delta| delta.get("reasoning_details"))
        .unwrap();
    let call = deltas
        .iter()
        .find_map(|delta| delta["tool_calls"][0].get("id"))
        .unwrap();
    for fields in [true, false] {
        let mut message = json!({"role": "assistant", "content": null, "tool_calls": [
            {"id": call, "type": "function", "function": {"name": "f", "arguments": "{}"}},
        ]});
        if fields {
            message["reasoning_details"] = details.clone();
        }
        let history = json!({"model": "m", "messages": [
            {"role": "user", "content": "hi"},
            message,
            {"role": "tool", "tool_call_id": call, "content": "r"},
        ]});
        let (body, _) = convert(&history, Format::Chat, Format::Messages);
        assert_eq!(
            body["messages"][1]["content"][0],
            json!({"type": "redacted_thinking", "data": "ZGF0YQ=="}),
            "{body}"
        );
        assert_eq!(body["messages"][1]["content"][1]["id"], "toolu_1");
    }
}

/// Start and end of an answer in a format, with an id, a model and a reason to end.
fn beginning_and_end(format: Format) -> (String, &'static str) {
    let event = |name: &str, json: serde_json::Value| format!("event: {name}\ndata: {json}\n\n");
    match format {
        Format::Chat => {
            let chunk = |delta: serde_json::Value, reason: Option<&str>| json!({"id": "id1", "model": "real", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]});
            let begin = chunk(json!({"content": "x"}), None);
            let end = chunk(json!({}), Some("length"));
            (
                format!("data: {begin}\n\ndata: {end}\n\ndata: [DONE]\n\n"),
                "length",
            )
        }
        Format::Responses => {
            let head = |status: &str| json!({"id": "id1", "model": "real", "status": status, "output": [], "incomplete_details": {"reason": "max_output_tokens"}});
            let begin = json!({"type": "response.created", "response": head("in_progress")});
            let end = json!({"type": "response.incomplete", "response": head("incomplete")});
            let text = event("response.created", begin)
                + &text_event(format, "x")
                + &event("response.incomplete", end);
            (text, "max_output_tokens")
        }
        Format::Messages => {
            let message =
                json!({"id": "id1", "model": "real", "usage": {"input_tokens": 1, "output_tokens": 1}});
            let delta = json!({"type": "message_delta", "delta": {"stop_reason": "pause_turn"}, "usage": {"output_tokens": 2}});
            let text = event(
                "message_start",
                json!({"type": "message_start", "message": message}),
            ) + &text_event(format, "x")
                + &event("message_delta", delta)
                + &event("message_stop", json!({"type": "message_stop"}));
            (text, "pause_turn")
        }
        Format::Gemini => {
            let chunk = |text: &str, reason: Option<&str>| json!({"responseId": "id1", "modelVersion": "real", "candidates": [{"content": {"parts": [{"text": text}]}, "finishReason": reason}]});
            let (begin, end) = (chunk("x", None), chunk("y", Some("TOO_MANY_TOOL_CALLS")));
            (
                format!("data: {begin}\r\n\r\ndata: {end}\r\n\r\n"),
                "TOO_MANY_TOOL_CALLS",
            )
        }
    }
}

#[test]
fn a_stream_says_its_id_model_and_reasons_on_every_way_to_who_asks() {
    for client in Format::ALL {
        for upstream in Format::ALL {
            let (text, reason) = beginning_and_end(upstream);
            let run = |asked: bool| {
                let (mut stream, mut out) = (stream(client, upstream), Vec::new());
                if asked {
                    stream.take_notes();
                }
                stream.push(text.as_bytes(), &mut out);
                let progress = stream.end(&mut out);
                assert!(progress.ended, "{upstream} to {client}: {progress:?}");
                (stream.particulars(), out)
            };
            let (noted, out) = run(true);
            let noted = noted.unwrap();
            assert_eq!(
                (noted.id.as_deref(), noted.model.as_deref()),
                (Some("id1"), Some("real")),
                "{upstream} to {client}"
            );
            assert_eq!(
                noted.finishes().collect::<Vec<_>>(),
                [reason],
                "{upstream} to {client}"
            );
            assert_eq!(run(false), (None, out), "{upstream} to {client}");
        }
    }
}

#[test]
fn several_answers_have_several_reasons_in_their_order() {
    let end = |choice: u32, reason: &str| {
        let choice = json!({"index": choice, "delta": {"content": "x"}, "finish_reason": reason});
        format!("data: {}\n\n", json!({"id": "c", "choices": [choice]}))
    };
    let text = end(1, "length") + &end(0, "stop") + "data: [DONE]\n\n";
    for client in Format::ALL {
        let mut stream = stream(client, Format::Chat);
        stream.take_notes();
        stream.push(text.as_bytes(), &mut Vec::new());
        let noted = stream.particulars().unwrap();
        // The upstream made both, although some clients are shown one only.
        assert_eq!(
            noted.finishes().collect::<Vec<_>>(),
            ["stop", "length"],
            "{client}"
        );
    }
}

#[test]
fn a_whole_answer_in_place_of_a_stream_says_it_too() {
    let whole = r#"{"id":"c","model":"real","choices":[{"index":0,"message":{"content":"x"},"finish_reason":"length"}]}"#;
    for client in Format::ALL {
        let (mut stream, mut out) = (stream(client, Format::Chat), Vec::new());
        stream.take_notes();
        stream.push(whole.as_bytes(), &mut out);
        assert!(stream.end(&mut out).ended, "{client}");
        let noted = stream.particulars().unwrap();
        assert_eq!(
            (noted.id.as_deref(), noted.model.as_deref()),
            (Some("c"), Some("real")),
            "{client}"
        );
        assert_eq!(noted.finishes().collect::<Vec<_>>(), ["length"], "{client}");
    }
}

/// What the client is told is settled by what the answer holds; the notes keep the upstream's own word.
#[test]
fn a_converted_answer_is_noted_in_the_words_of_its_upstream() {
    let call = json!({"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let choice = json!({"index": 0, "message": {"tool_calls": [call]}, "finish_reason": "stop"});
    let body = json!({"id": "id1", "model": "real", "choices": [choice]}).to_string();
    for client in [Format::Responses, Format::Messages, Format::Gemini] {
        let context = convert(&request(client), client, Format::Chat).1;
        let mut noted = Particulars::default();
        let answer = convert_response_noting(body.as_bytes(), &context, Some(&mut noted)).unwrap();
        assert_eq!(
            (noted.id.as_deref(), noted.model.as_deref()),
            (Some("id1"), Some("real")),
            "{client}"
        );
        assert_eq!(noted.finishes().collect::<Vec<_>>(), ["stop"], "{client}");
        assert_eq!(
            answer.body,
            convert_response(body.as_bytes(), &context).unwrap().body
        );
    }
}
