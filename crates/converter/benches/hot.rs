//! The hot functions, for `./dev bench`: callgrind counts their instructions, which a busy machine does not change.
//!
//! Usage: `hot CASE COUNT`. The difference between two counts, divided by their difference, is the cost of one operation.

#![expect(clippy::unwrap_used, reason = "a bench whose input is wrong must stop")]

use std::hint::black_box;

use ai_api_converter::sse::Parser;
use ai_api_converter::stream::{Converter, Stream};
use ai_api_converter::{Dialect, Format, Options, Source, Target, convert_request, estimate, scan};

const EVENT: &str = "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":5,\"model\":\"gpt-x\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" word\"},\"finish_reason\":null}]}\n\n";

fn request(turns: usize) -> String {
    let mut body =
        String::from(r#"{"model":"gpt-x","stream":true,"messages":[{"role":"system","content":"Be brief."}"#);
    for turn in 0..turns {
        body.push_str(&format!(
            r#",{{"role":"user","content":"Question {turn}: {0}"}},{{"role":"assistant","content":"{0}","tool_calls":[{{"id":"call_{turn}","type":"function","function":{{"name":"f","arguments":"{{\"a\":{turn}}}"}}}}]}},{{"role":"tool","tool_call_id":"call_{turn}","content":"{0}"}}"#,
            "some words of text ".repeat(16)
        ));
    }
    body.push_str(r#"],"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{"a":{"type":"integer"}}}}}]}"#);
    body
}

/// One message of about 100 KB, made of `piece`.
fn message(piece: &str) -> String {
    let text = piece.repeat(100_000 / piece.len());
    format!(r#"{{"model":"gpt-x","messages":[{{"role":"user","content":"{text}"}}]}}"#)
}

fn input(body: &str) {
    let _ = black_box(estimate::input_of(black_box(body.as_bytes()), Format::Chat));
}

fn convert(body: &str) -> ai_api_converter::Context {
    let source = Source {
        format: Format::Chat,
        model: None,
        stream: true,
        array: false,
    };
    let target = Target {
        format: Format::Messages,
        dialect: Dialect::Native,
        model: "claude-opus-4-6",
        domain: 1,
    };
    let converted = convert_request(body.as_bytes(), &source, &target, &Options::default());
    black_box(converted.unwrap()).context
}

fn main() {
    let mut args = std::env::args().skip(1).filter(|arg| !arg.starts_with("--"));
    let case = args.next().unwrap_or_else(|| "all".into());
    let count: usize = args.next().and_then(|count| count.parse().ok()).unwrap_or(1);
    let large = request(90);
    let small = request(1);
    let prose = message("The quick brown fox jumps over the lazy dog, and nobody minds at all. ");
    let cjk = message("今天天气怎么样？我们去公园散步吧。");
    let code = message(r#"\tif (a[\"x\"] != 1) {\n\t\treturn \"no\";\n\t}\n"#);
    let media = format!(
        r#"{{"messages":[{{"role":"user","content":[{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{}"}}}}]}}]}}"#,
        "iVBORw0KGgo".repeat(9_000)
    );
    for _ in 0..count {
        match case.as_str() {
            "sse" => {
                let _ = Parser::default()
                    .push(black_box(EVENT.as_bytes()), &mut |event| black_box(event).end > 0);
            }
            "scan" => {
                let _ = black_box(scan::scan(black_box(large.as_bytes())));
            }
            "scan-1k" => {
                let _ = black_box(scan::scan(black_box(small.as_bytes())));
            }
            "input-1k" => input(&small),
            "input" => input(&large),
            "input-prose" => input(&prose),
            "input-cjk" => input(&cjk),
            "input-code" => input(&code),
            "input-media" => input(&media),
            "request" => {
                convert(black_box(&small));
            }
            "request-100k" => {
                convert(black_box(&large));
            }
            _ => {}
        }
    }
    if case == "stream" || case == "all" {
        let context = convert(&small);
        let context = ai_api_converter::Context {
            client: Format::Messages,
            upstream: Format::Chat,
            ..context
        };
        let mut stream = Stream::Convert(Box::new(Converter::new(context)));
        let mut out = Vec::with_capacity(4096);
        for _ in 0..count {
            out.clear();
            black_box(stream.push(black_box(EVENT.as_bytes()), &mut out));
        }
    }
}
