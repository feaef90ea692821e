//! Whole streams through the converter: every pair, every split.

#![expect(clippy::unwrap_used, reason = "tests may")]

use ai_api_converter::stream::{Converter, Relay, RelayOptions, Stream};
use ai_api_converter::{Dialect, Failure, FailureClass, Format, Options, Source, Target, convert_request};

const CHAT: &str = concat!(
    "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":5,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}],\"usage\":null}\n\n",
    "data: {\"id\":\"chatcmpl-1\",\"choices\":[{\"index\":0,\"delta\":{\"reasoning_content\":\"thi\"},\"finish_reason\":null}],\"usage\":null}\n\n",
    "data: {\"id\":\"chatcmpl-1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hé \\u00e9\"},\"finish_reason\":null}],\"usage\":null}\n\n",
    "data: {\"id\":\"chatcmpl-1\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"call_1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]},\"finish_reason\":null}],\"usage\":null}\n\n",
    "data: {\"id\":\"chatcmpl-1\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":1,\"id\":\"call_2\",\"type\":\"function\",\"function\":{\"name\":\"g\",\"arguments\":\"{\"}}]},\"finish_reason\":null}],\"usage\":null}\n\n",
    "data: {\"id\":\"chatcmpl-1\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"{\\\"a\\\":1.10}\"}}]},\"finish_reason\":null}],\"usage\":null}\n\n",
    "data: {\"id\":\"chatcmpl-1\",\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":1,\"function\":{\"arguments\":\"}\"}}]},\"finish_reason\":null}],\"usage\":null}\n\n",
    "data: {\"id\":\"chatcmpl-1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":null}\n\n",
    "data: {\"id\":\"chatcmpl-1\",\"choices\":[],\"usage\":{\"prompt_tokens\":100,\"completion_tokens\":7,\"total_tokens\":107,\"prompt_tokens_details\":{\"cached_tokens\":90}}}\n\n",
    "data: [DONE]\n\n",
);

const MESSAGES: &str = concat!(
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":10,\"cache_read_input_tokens\":90,\"cache_creation_input_tokens\":0,\"output_tokens\":1}}}\n\n",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"thinking_delta\",\"thinking\":\"thi\"}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"signature_delta\",\"signature\":\"c2ln\"}}\n\n",
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
    "event: ping\ndata: {\"type\": \"ping\"}\n\n",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hé \\u00e9\"}}\n\n",
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":1}\n\n",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":2,\"content_block\":{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"f\",\"input\":{}}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":2,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"a\\\":1.10}\"}}\n\n",
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":2}\n\n",
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":7}}\n\n",
    "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
);

const GEMINI: &str = concat!(
    "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"thi\",\"thought\":true}],\"role\":\"model\"},\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":100,\"totalTokenCount\":100},\"modelVersion\":\"m\",\"responseId\":\"r1\"}\r\n\r\n",
    "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"Hé \\u00e9\"}],\"role\":\"model\"},\"index\":0}],\"modelVersion\":\"m\",\"responseId\":\"r1\"}\r\n\r\n",
    "data: {\"candidates\":[{\"content\":{\"parts\":[{\"functionCall\":{\"name\":\"f\",\"args\":{\"a\":1.10}},\"thoughtSignature\":\"c2ln\"},{\"functionCall\":{\"name\":\"f\",\"args\":{}}}],\"role\":\"model\"},\"finishReason\":\"STOP\",\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":100,\"candidatesTokenCount\":5,\"thoughtsTokenCount\":2,\"totalTokenCount\":107},\"modelVersion\":\"m\",\"responseId\":\"r1\"}\r\n\r\n",
);

const RESPONSES: &str = concat!(
    "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":{\"id\":\"resp_1\",\"object\":\"response\",\"created_at\":5,\"status\":\"in_progress\",\"model\":\"m\",\"output\":[]}}\n\n",
    "event: response.output_item.added\ndata: {\"type\":\"response.output_item.added\",\"sequence_number\":1,\"output_index\":0,\"item\":{\"id\":\"rs_1\",\"type\":\"reasoning\",\"summary\":[]}}\n\n",
    "event: response.reasoning_summary_text.delta\ndata: {\"type\":\"response.reasoning_summary_text.delta\",\"sequence_number\":2,\"item_id\":\"rs_1\",\"output_index\":0,\"summary_index\":0,\"delta\":\"thi\"}\n\n",
    "event: response.output_item.done\ndata: {\"type\":\"response.output_item.done\",\"sequence_number\":3,\"output_index\":0,\"item\":{\"id\":\"rs_1\",\"type\":\"reasoning\",\"summary\":[{\"type\":\"summary_text\",\"text\":\"thi\"}],\"encrypted_content\":\"ZW5j\"}}\n\n",
    "event: response.output_item.added\ndata: {\"type\":\"response.output_item.added\",\"sequence_number\":4,\"output_index\":1,\"item\":{\"id\":\"msg_1\",\"type\":\"message\",\"status\":\"in_progress\",\"role\":\"assistant\",\"content\":[]}}\n\n",
    "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"sequence_number\":5,\"item_id\":\"msg_1\",\"output_index\":1,\"content_index\":0,\"delta\":\"Hé \\u00e9\",\"logprobs\":[]}\n\n",
    "event: response.output_text.done\ndata: {\"type\":\"response.output_text.done\",\"sequence_number\":6,\"item_id\":\"msg_1\",\"output_index\":1,\"content_index\":0,\"text\":\"Hé \\u00e9\",\"logprobs\":[]}\n\n",
    "event: response.output_item.done\ndata: {\"type\":\"response.output_item.done\",\"sequence_number\":7,\"output_index\":1,\"item\":{\"id\":\"msg_1\",\"type\":\"message\",\"status\":\"completed\",\"role\":\"assistant\",\"content\":[{\"type\":\"output_text\",\"text\":\"Hé \\u00e9\",\"annotations\":[]}]}}\n\n",
    "event: response.output_item.added\ndata: {\"type\":\"response.output_item.added\",\"sequence_number\":8,\"output_index\":2,\"item\":{\"id\":\"fc_1\",\"type\":\"function_call\",\"status\":\"in_progress\",\"call_id\":\"call_1\",\"name\":\"f\",\"arguments\":\"\"}}\n\n",
    "event: response.function_call_arguments.done\ndata: {\"type\":\"response.function_call_arguments.done\",\"sequence_number\":9,\"item_id\":\"fc_1\",\"output_index\":2,\"arguments\":\"{\\\"a\\\":1.10}\"}\n\n",
    "event: response.output_item.done\ndata: {\"type\":\"response.output_item.done\",\"sequence_number\":10,\"output_index\":2,\"item\":{\"id\":\"fc_1\",\"type\":\"function_call\",\"status\":\"completed\",\"call_id\":\"call_1\",\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1.10}\"}}\n\n",
    "event: response.completed\ndata: {\"type\":\"response.completed\",\"sequence_number\":11,\"response\":{\"id\":\"resp_1\",\"object\":\"response\",\"created_at\":5,\"status\":\"completed\",\"model\":\"m\",\"output\":[],\"usage\":{\"input_tokens\":100,\"input_tokens_details\":{\"cached_tokens\":90},\"output_tokens\":7,\"output_tokens_details\":{\"reasoning_tokens\":2},\"total_tokens\":107}}}\n\n",
);

fn upstream(format: Format) -> &'static str {
    match format {
        Format::Chat => CHAT,
        Format::Responses => RESPONSES,
        Format::Messages => MESSAGES,
        Format::Gemini => GEMINI,
    }
}

fn request(format: Format) -> &'static str {
    match format {
        Format::Chat => {
            r#"{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"hi"}],"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{"a":{"type":"number"}}}}}]}"#
        }
        Format::Responses => {
            r#"{"model":"m","stream":true,"store":false,"input":"hi","tools":[{"type":"function","name":"f","parameters":{"type":"object","properties":{"a":{"type":"number"}}},"strict":false}]}"#
        }
        Format::Messages => {
            r#"{"model":"m","stream":true,"max_tokens":9,"messages":[{"role":"user","content":"hi"}],"tools":[{"name":"f","input_schema":{"type":"object","properties":{"a":{"type":"number"}}}}]}"#
        }
        Format::Gemini => {
            r#"{"contents":[{"role":"user","parts":[{"text":"hi"}]}],"tools":[{"functionDeclarations":[{"name":"f","parametersJsonSchema":{"type":"object","properties":{"a":{"type":"number"}}}}]}],"generationConfig":{"thinkingConfig":{"includeThoughts":true}}}"#
        }
    }
}

fn converter(client: Format, upstream: Format) -> Stream {
    let source = Source {
        format: client,
        model: Some("m"),
        stream: true,
        array: false,
    };
    let target = Target {
        format: upstream,
        dialect: Dialect::Native,
        model: "m",
        domain: 7,
    };
    let options = Options {
        request_id: "abc".into(),
        now: 9,
        ..Options::default()
    };
    let converted = convert_request(request(client).as_bytes(), &source, &target, &options).unwrap();
    Stream::Convert(Box::new(Converter::new(converted.context)))
}

fn run(mut stream: Stream, body: &[u8], split: usize) -> (String, bool, Option<String>) {
    let mut out = Vec::new();
    for piece in body.chunks(split) {
        let progress = stream.push(piece, &mut out);
        if let Some(failure) = progress.failure {
            return (
                String::from_utf8(out).unwrap(),
                false,
                Some(failure.message.into_owned()),
            );
        }
    }
    let progress = stream.end(&mut out);
    (
        String::from_utf8(out).unwrap(),
        progress.ended,
        progress.failure.map(|failure| failure.message.into_owned()),
    )
}

fn pairs() -> impl Iterator<Item = (Format, Format)> {
    Format::ALL
        .into_iter()
        .flat_map(|client| Format::ALL.into_iter().map(move |upstream| (client, upstream)))
}

#[test]
fn every_pair_gives_the_same_bytes_in_every_split() {
    for (client, from) in pairs() {
        let body = upstream(from).as_bytes();
        let whole = run(converter(client, from), body, body.len());
        assert!(
            whole.1,
            "{from} to {client} did not end: {:?}\n{}",
            whole.2, whole.0
        );
        for split in [1, 2, 3, 5, 17, 100, 333] {
            assert_eq!(
                run(converter(client, from), body, split),
                whole,
                "{from} to {client} in pieces of {split}"
            );
        }
        for at in 1..body.len() {
            let mut stream = converter(client, from);
            let mut out = Vec::new();
            stream.push(&body[..at], &mut out);
            stream.push(&body[at..], &mut out);
            stream.end(&mut out);
            assert_eq!(
                String::from_utf8(out).unwrap(),
                whole.0,
                "{from} to {client} cut at {at}"
            );
        }
    }
}

#[test]
fn every_pair_carries_text_reasoning_arguments_and_usage() {
    for (client, from) in pairs() {
        let (out, _, _) = run(converter(client, from), upstream(from).as_bytes(), 1000);
        assert!(
            out.contains("H\u{e9} \\u00e9"),
            "{from} to {client} lost text:\n{out}"
        );
        assert!(out.contains("thi"), "{from} to {client} lost reasoning:\n{out}");
        let arguments = out.contains(r#"{\"a\":1.10}"#) || out.contains(r#"{"a":1.10}"#);
        assert!(arguments, "{from} to {client} lost arguments:\n{out}");
        let (reason, total) = match client {
            Format::Chat => ("\"finish_reason\":\"tool_calls\"", "\"total_tokens\":107"),
            Format::Responses => ("\"response.completed\"", "\"total_tokens\":107"),
            Format::Messages => ("\"stop_reason\":\"tool_use\"", "\"output_tokens\":7"),
            Format::Gemini => ("\"finishReason\":\"STOP\"", "\"totalTokenCount\":107"),
        };
        assert!(
            out.contains(reason) && out.contains(total),
            "{from} to {client}:\n{out}"
        );
        for event in out.split("\n\n").filter_map(|event| event.split("data: ").nth(1)) {
            let data = event.trim();
            assert!(
                data == "[DONE]" || serde_json::from_str::<serde_json::Value>(data).is_ok(),
                "{from} to {client}: {data}"
            );
        }
    }
}

#[test]
fn a_stream_cut_anywhere_is_never_a_silent_success() {
    for (client, from) in pairs() {
        let body = upstream(from).as_bytes();
        for at in 1..body.len() {
            let (_, ended, failure) = run(converter(client, from), &body[..at], 1000);
            assert!(
                ended != failure.is_some(),
                "{from} to {client} cut at {at}: ended {ended}, {failure:?}"
            );
            let last = String::from_utf8_lossy(&body[..at]).into_owned();
            let said = last.contains("\"finish_reason\":\"stop\"")
                || last.contains("finishReason")
                || last.contains("message_delta")
                || last.contains("response.completed");
            assert!(
                !ended || said,
                "{from} to {client} cut at {at} was taken for complete"
            );
        }
    }
}

fn relay(format: Format, hide_usage: bool) -> Stream {
    let options = RelayOptions {
        format,
        hide_usage,
        array: false,
        model: "m".into(),
        rename: false,
        request_id: "abc".into(),
        now: 9,
    };
    Stream::Relay(Box::new(Relay::new(options)))
}

#[test]
fn a_relay_changes_no_byte_and_knows_the_usage() {
    for format in Format::ALL {
        let body = upstream(format);
        for split in [1, 7, 1000] {
            let mut stream = relay(format, false);
            let mut out = Vec::new();
            body.as_bytes().chunks(split).for_each(|piece| {
                stream.push(piece, &mut out);
            });
            let progress = stream.end(&mut out);
            assert!(
                progress.ended && progress.failure.is_none(),
                "{format} {progress:?}"
            );
            assert_eq!(
                String::from_utf8(out).unwrap(),
                body,
                "{format} in pieces of {split}"
            );
            assert_eq!(stream.usage().input, Some(100), "{format}");
            assert_eq!(stream.usage().output, Some(7), "{format}");
        }
    }
}

/// A stream of `/v1/completions` that was asked for usage.
const COMPLETIONS: &str = "data: {\"id\":\"cmpl-1\",\"object\":\"text_completion\",\"choices\":[{\"text\":\"Hel\",\"index\":0,\"logprobs\":null,\"finish_reason\":null}],\"usage\":null}\n\n\
data: {\"id\":\"cmpl-1\",\"object\":\"text_completion\",\"choices\":[{\"text\":\"lo\",\"index\":0,\"logprobs\":null,\"finish_reason\":null}],\"usage\":null}\n\n\
data: {\"id\":\"cmpl-1\",\"object\":\"text_completion\",\"choices\":[{\"text\":\"\",\"index\":0,\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":null}\n\n\
data: {\"id\":\"cmpl-1\",\"object\":\"text_completion\",\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":5}}\n\n\
data: [DONE]\n\n";

#[test]
fn old_completions_are_relayed_as_chat_is() {
    for split in [1, 50, 5_000] {
        let (out, ended, _) = run(relay(Format::Chat, false), COMPLETIONS.as_bytes(), split);
        assert!(ended && out == COMPLETIONS, "{out}");
        let (out, ended, _) = run(relay(Format::Chat, true), COMPLETIONS.as_bytes(), split);
        let wanted: String = COMPLETIONS
            .replace(",\"usage\":null", "")
            .split_inclusive("\n\n")
            .filter(|event| !event.contains("usage"))
            .collect();
        assert!(ended && out == wanted, "{out}");
    }
    let mut stream = relay(Format::Chat, true);
    let (first, rest) = COMPLETIONS.split_at(COMPLETIONS.find("\n\n").unwrap() + 2);
    let mut out = Vec::new();
    let progress = stream.push(first.as_bytes(), &mut out);
    assert!(
        progress.content && stream.output_estimate() > 0,
        "the first text is content"
    );
    stream.push(rest.as_bytes(), &mut out);
    assert_eq!((stream.usage().input, stream.usage().output), (Some(3), Some(2)));
    let mut cut = relay(Format::Chat, true);
    cut.push(first.as_bytes(), &mut out);
    assert!(cut.end(&mut out).failure.is_some());
}

#[test]
fn usage_that_was_not_asked_for_is_taken_out_of_a_chat_relay() {
    let (out, ended, _) = run(relay(Format::Chat, true), CHAT.as_bytes(), 50);
    assert!(
        ended && !out.contains("usage") && !out.contains("\"choices\":[]"),
        "{out}"
    );
    assert!(out.ends_with("data: [DONE]\n\n"));
    assert_eq!(out.matches("data: ").count(), CHAT.matches("data: ").count() - 1);
}

#[test]
fn nothing_is_committed_before_content_and_first_errors_are_failures() {
    let first: [(Format, &str); 4] = [
        (
            Format::Chat,
            "data: {\"error\":{\"message\":\"x\",\"type\":\"server_error\"}}\n\n",
        ),
        (
            Format::Messages,
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"x\"}}\n\n",
        ),
        (
            Format::Gemini,
            "data: {\"error\":{\"code\":503,\"message\":\"x\",\"status\":\"UNAVAILABLE\"}}\r\n\r\n",
        ),
        (
            Format::Responses,
            "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_1\"}}\n\nevent: response.failed\ndata: {\"type\":\"response.failed\",\"response\":{\"id\":\"resp_1\",\"error\":{\"code\":\"server_is_overloaded\",\"message\":\"x\"}}}\n\n",
        ),
    ];
    for (format, body) in first {
        for client in Format::ALL {
            for mut stream in [converter(client, format), relay(format, false)] {
                let mut out = Vec::new();
                let progress = stream.push(body.as_bytes(), &mut out);
                assert!(
                    !progress.content && progress.failure.is_some(),
                    "{format} to {client}: {progress:?}"
                );
            }
        }
    }
    let mut empty = relay(Format::Chat, false);
    assert!(empty.end(&mut Vec::new()).failure.is_some());
}

#[test]
fn interleaved_calls_become_blocks_one_after_another() {
    let (out, _, _) = run(converter(Format::Messages, Format::Chat), CHAT.as_bytes(), 1000);
    let kinds: Vec<&str> = out
        .lines()
        .filter_map(|line| line.strip_prefix("event: content_block_"))
        .collect();
    let starts = kinds.iter().filter(|kind| **kind == "start").count();
    assert_eq!(starts, 4, "{out}");
    let mut open = 0;
    for kind in kinds {
        match kind {
            "start" => open += 1,
            "stop" => open -= 1,
            _ => {}
        }
        assert!((0..=1).contains(&open), "{out}");
    }
}

#[test]
fn a_client_that_has_its_last_word_is_told_nothing_more() {
    let body = "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"x\"}}]}\n\n\
        data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n\
        data: {\"id\":\"c\",\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":1}}\n\n";
    for (client, last) in [
        (Format::Responses, "response.completed"),
        (Format::Gemini, "finishReason"),
        (Format::Messages, "message_stop"),
    ] {
        let mut stream = converter(client, Format::Chat);
        let mut out = Vec::new();
        // The upstream holds its own last word back.
        let progress = stream.push(body.as_bytes(), &mut out);
        let told = String::from_utf8(out.clone()).unwrap();
        assert_eq!(progress.terminal, told.contains(last), "{client:?}: {told}");
        out.clear();
        let failure = Failure::new(FailureClass::UpstreamBad, "It broke off.");
        stream.fail(&failure, &mut out);
        assert_eq!(out.is_empty(), progress.terminal, "{client:?}");
    }
    let mut stream = relay(Format::Chat, false);
    let mut out = Vec::new();
    let progress = stream.push(CHAT.as_bytes(), &mut out);
    assert!(progress.terminal);
    out.clear();
    stream.fail(
        &Failure::new(FailureClass::UpstreamBad, "It broke off."),
        &mut out,
    );
    assert!(out.is_empty());
}
