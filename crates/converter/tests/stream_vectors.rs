//! Golden vectors of streams: one file per case. `steps` pairs what the upstream sends with what leaves at once for it, in the
//! shorthand of wire.md 5.0 (see `summary`); `end` is what leaves when the body ends. The numbers are those of wire.md 10.
//!
//! Every vector runs whole, byte by byte, and cut in two at every place: the bytes must be the same. What comes out is held
//! against validators as strict as the strictest client.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may")]

mod strict;
mod summary;

use std::path::Path;

use ai_api_converter::stream::{Converter, Progress, Relay, RelayOptions, Stream};
use ai_api_converter::{Dialect, Format, Options, Source, Target, convert_request};
use serde_json::{Value, json};
use strict::{Ending, frames};

/// The client's request, if the vector does not bring its own: everything is switched on.
fn request(client: &str) -> Value {
    let schema = json!({"type": "object", "properties": {"a": {"type": "number"}}});
    match client {
        "chat" => json!({
            "model": "m", "stream": true, "stream_options": {"include_usage": true},
            "messages": [{"role": "user", "content": "hi"}],
            "tools": [{"type": "function", "function": {"name": "f", "parameters": schema}}],
        }),
        "responses" => json!({
            "model": "m", "stream": true, "store": false, "input": "hi",
            "include": ["reasoning.encrypted_content"],
            "tools": [{"type": "function", "name": "f", "parameters": schema, "strict": false}],
        }),
        "messages" => json!({
            "model": "m", "stream": true, "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}],
            "tools": [{"name": "f", "input_schema": schema}],
        }),
        _ => json!({
            "contents": [{"role": "user", "parts": [{"text": "hi"}]}],
            "tools": [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": schema}]}],
            "generationConfig": {"thinkingConfig": {"includeThoughts": true}},
        }),
    }
}

struct Case {
    json: Value,
    from: String,
    to: String,
}

impl Case {
    fn read(path: &Path) -> Case {
        let json: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let text = |name: &str| json[name].as_str().unwrap().to_owned();
        Case {
            from: text("from"),
            to: text("to"),
            json,
        }
    }

    fn flag(&self, name: &str) -> bool {
        self.json[name] == true
    }

    fn stream(&self) -> Stream {
        let (from, to): (Format, Format) = (self.from.parse().unwrap(), self.to.parse().unwrap());
        if from == to {
            return Stream::Relay(Box::new(Relay::new(RelayOptions {
                format: from,
                hide_usage: self.flag("hide_usage"),
                array: self.flag("array"),
                model: "alias".into(),
                rename: self.flag("rename"),
                request_id: "abc".into(),
                now: 9,
            })));
        }
        let body = match &self.json["request"] {
            Value::Null => request(&self.to),
            own => own.clone(),
        };
        let source = Source {
            format: to,
            model: Some("m"),
            stream: true,
            array: self.flag("array"),
        };
        let target = Target {
            format: from,
            dialect: Dialect::Native,
            model: "m",
            domain: 7,
        };
        let options = Options {
            request_id: "abc".into(),
            now: 9,
            ..Options::default()
        };
        let converted = convert_request(body.to_string().as_bytes(), &source, &target, &options).unwrap();
        Stream::Convert(Box::new(Converter::new(converted.context)))
    }

    /// The bytes of one step: an event in the upstream's framing, or text as it stands.
    fn bytes(&self, input: &Value) -> String {
        match input {
            Value::String(text) => text.clone(),
            Value::Array(list) => list.iter().map(|input| self.bytes(input)).collect(),
            event if self.from == "gemini" => format!("data: {event}\r\n\r\n"),
            event if self.from == "chat" => format!("data: {event}\n\n"),
            event => format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap()),
        }
    }

    fn steps(&self) -> impl Iterator<Item = (String, &Value)> {
        let steps = self.json["steps"].as_array().unwrap();
        steps.iter().map(|step| (self.bytes(&step[0]), &step[1]))
    }
}

/// What a run gave.
#[derive(Debug, PartialEq)]
struct Outcome {
    out: String,
    ended: bool,
    failure: Option<(String, Option<&'static str>)>,
}

/// One stream under test.
struct Run {
    stream: Stream,
    out: Vec<u8>,
    last: Progress,
}

impl Run {
    fn new(case: &Case) -> Run {
        Run {
            stream: case.stream(),
            out: Vec::new(),
            last: Progress::default(),
        }
    }

    /// Pushes as the gateway does: a failure ends the stream with the client's in-band error.
    fn push(&mut self, bytes: &[u8]) {
        if self.last.failure.is_none() && !self.last.ended {
            self.last = self.stream.push(bytes, &mut self.out);
            self.tell();
        }
    }

    fn end(&mut self, release: bool) {
        if self.last.failure.is_none() && !self.last.ended {
            self.last = if release {
                self.stream.release(&mut self.out)
            } else {
                self.stream.end(&mut self.out)
            };
            self.tell();
        }
    }

    fn tell(&mut self) {
        if let Some(failure) = &self.last.failure {
            self.stream.fail(failure, &mut self.out);
        }
    }

    fn outcome(self) -> Outcome {
        let failure = self
            .last
            .failure
            .map(|failure| (format!("{:?}", failure.class), failure.code));
        Outcome {
            out: String::from_utf8(self.out).unwrap(),
            ended: self.last.ended,
            failure,
        }
    }
}

fn whole(case: &Case, pieces: impl IntoIterator<Item = Vec<u8>>) -> Outcome {
    let mut run = Run::new(case);
    for piece in pieces {
        run.push(&piece);
    }
    run.end(case.flag("release"));
    run.outcome()
}

/// Bodies up to this size are cut at every place; longer ones, which are many small events, at every seventh; all byte by byte.
const EVERY_PLACE: usize = 1_200;

/// Any split gives the same bytes (P1).
fn splits(case: &Case) -> Result<Outcome, String> {
    let body: String = case.steps().map(|(bytes, _)| bytes).collect();
    let body = body.as_bytes();
    let expected = whole(case, [body.to_vec()]);
    let single = whole(case, body.iter().map(|byte| vec![*byte]));
    if single != expected {
        return Err(format!("byte by byte:\n{single:?}\nexpected:\n{expected:?}"));
    }
    for at in (1..body.len()).step_by(if body.len() > EVERY_PLACE { 7 } else { 1 }) {
        let cut = whole(case, [body[..at].to_vec(), body[at..].to_vec()]);
        if cut != expected {
            return Err(format!("cut at {at}:\n{cut:?}\nexpected:\n{expected:?}"));
        }
    }
    Ok(expected)
}

fn expect(what: &str, found: &Value, wanted: &Value) -> Result<(), String> {
    if found == wanted {
        return Ok(());
    }
    Err(format!("{what}:\n  expected {wanted}\n  found    {found}"))
}

/// Every step lets go exactly what the vector says (P7).
fn check(case: &Case) -> Result<(), String> {
    let mut run = Run::new(case);
    let said = |out: &[u8], from: usize| -> Result<Value, String> {
        let text = std::str::from_utf8(&out[from..]).unwrap();
        if case.flag("array") || case.flag("exact") {
            return Ok(text.into());
        }
        Ok(summary::summaries(&case.to, &frames(&case.to, text)?).into())
    };
    let mut committed = false;
    for (number, (bytes, wanted)) in case.steps().enumerate() {
        let from = run.out.len();
        run.push(bytes.as_bytes());
        expect(&format!("step {number}"), &said(&run.out, from)?, wanted)?;
        if !committed && run.last.content {
            committed = true;
            if let Some(wanted) = case.json.get("commit") {
                expect("commit at step", &number.into(), wanted)?;
            }
        }
    }
    if let Some(wanted) = case.json.get("held") {
        expect("held", &run.last.held.into(), wanted)?;
    }
    let from = run.out.len();
    run.end(case.flag("release"));
    expect("end", &said(&run.out, from)?, &case.json["end"])?;
    if let Some(wanted) = case.json.get("usage") {
        let usage = run.stream.usage();
        let found = json!([usage.input, usage.output, usage.cache_read, usage.reasoning]);
        expect("usage", &found, wanted)?;
    }
    let failed = run.last.failure.is_some();
    let outcome = splits(case)?;
    let class = outcome.failure.as_ref().map(|(class, code)| json!([class, code]));
    expect("failure", &class.unwrap_or_default(), &case.json["failure"])?;
    for pointer in case.json["facts"].as_object().into_iter().flatten() {
        fact(case, &outcome.out, pointer.0, pointer.1)?;
    }
    let ending = if failed { Ending::Error } else { Ending::Good };
    if case.from != case.to {
        strict::check(&case.to, &outcome.out, ending)?;
    }
    Ok(())
}

/// `N/pointer`: a member of the N-th event of the output.
fn fact(case: &Case, out: &str, place: &str, wanted: &Value) -> Result<(), String> {
    let (number, pointer) = place.split_once('/').unwrap();
    let events: Vec<Value> = frames(&case.to, out)?
        .into_iter()
        .map(|frame| match frame {
            strict::Frame::Event(value) | strict::Frame::Raw(value) => value,
            _ => Value::Null,
        })
        .collect();
    let event = events.get(number.parse::<usize>().unwrap());
    let found = event.and_then(|event| event.pointer(&format!("/{pointer}")));
    let found = found.cloned().unwrap_or_default();
    expect(place, &found, wanted)
}

#[test]
fn every_vector_holds_in_every_split() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/stream");
    let paths: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    let count = paths.len();
    let failing = |paths: &[std::path::PathBuf]| -> Vec<String> {
        let name = |path: &Path| path.file_stem().unwrap().to_string_lossy().into_owned();
        let failed = paths
            .iter()
            .filter_map(|path| Some((path, check(&Case::read(path)).err()?)));
        failed
            .map(|(path, why)| format!("{}: {why}", name(path)))
            .collect()
    };
    let mut failed: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = paths
            .chunks(count.div_ceil(4))
            .map(|paths| scope.spawn(move || failing(paths)))
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    assert!(count >= 100, "only {count} vectors were found");
    failed.sort();
    assert!(
        failed.is_empty(),
        "{} of {count} failed\n{}",
        failed.len(),
        failed.join("\n\n")
    );
}
