//! P9 and P17 of conversion.md section 16: usage adds up in every format and comes back, and every finish word of every upstream is
//! a legal word of every client.

#![expect(clippy::unwrap_used, reason = "tests may")]

use ai_api_converter::{
    Context, Dialect, Format, Options, Source, Target, convert_request, convert_response,
};
use proptest::prelude::*;
use serde_json::{Value, json};

fn context(client: Format, upstream: Format) -> Context {
    let body = match client {
        Format::Chat => json!({"model": "m", "messages": [{"role": "user", "content": "x"}]}),
        Format::Responses => json!({"model": "m", "input": "x"}),
        Format::Messages => {
            json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]})
        }
        Format::Gemini => json!({"contents": [{"role": "user", "parts": [{"text": "x"}]}]}),
    };
    let source = Source {
        format: client,
        model: Some("m"),
        stream: false,
        array: false,
    };
    let target = Target {
        format: upstream,
        dialect: Dialect::Native,
        model: "x",
        domain: 1,
    };
    let converted = convert_request(body.to_string().as_bytes(), &source, &target, &Options::default());
    converted.unwrap().context
}

fn answer(upstream: Format, finish: &Value, usage: &Value) -> Value {
    match upstream {
        Format::Chat => {
            json!({"id": "c", "choices": [{"index": 0, "message": {"role": "assistant", "content": "a"}, "finish_reason": finish}], "usage": usage})
        }
        Format::Responses => {
            let reason = finish["reason"].clone();
            json!({"id": "r", "status": finish["status"], "incomplete_details": {"reason": reason}, "output": [{"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": [{"type": "output_text", "text": "a", "annotations": []}]}], "usage": usage})
        }
        Format::Messages => {
            json!({"id": "m", "content": [{"type": "text", "text": "a"}], "stop_reason": finish, "usage": usage})
        }
        Format::Gemini => {
            json!({"responseId": "g", "candidates": [{"content": {"parts": [{"text": "a"}]}, "finishReason": finish}], "usageMetadata": usage})
        }
    }
}

fn converted(upstream: Format, client: Format, body: &Value) -> Option<Value> {
    let answer = convert_response(body.to_string().as_bytes(), &context(client, upstream)).ok()?;
    Some(serde_json::from_slice(&answer.body).unwrap())
}

/// What each upstream says, and a word that nobody knows.
fn finishes(upstream: Format) -> Vec<Value> {
    let words: &[&str] = match upstream {
        Format::Chat => &[
            "stop",
            "length",
            "tool_calls",
            "function_call",
            "content_filter",
            "error",
            "",
            "eos",
        ],
        Format::Messages => &[
            "end_turn",
            "max_tokens",
            "stop_sequence",
            "tool_use",
            "pause_turn",
            "refusal",
            "model_context_window_exceeded",
            "compaction",
            "",
            "newer",
        ],
        Format::Gemini => &[
            "FINISH_REASON_UNSPECIFIED",
            "STOP",
            "MAX_TOKENS",
            "SAFETY",
            "RECITATION",
            "LANGUAGE",
            "OTHER",
            "BLOCKLIST",
            "PROHIBITED_CONTENT",
            "SPII",
            "MALFORMED_FUNCTION_CALL",
            "IMAGE_SAFETY",
            "IMAGE_PROHIBITED_CONTENT",
            "IMAGE_OTHER",
            "NO_IMAGE",
            "IMAGE_RECITATION",
            "UNEXPECTED_TOOL_CALL",
            "TOO_MANY_TOOL_CALLS",
            "MISSING_THOUGHT_SIGNATURE",
            "MALFORMED_RESPONSE",
            "ESCALATION",
            "PUP_LIMITED_DISABLED",
            "CONTINUATION",
            "MODEL_ARMOR",
            "NEWER",
        ],
        Format::Responses => {
            let states = [
                "completed",
                "incomplete",
                "failed",
                "cancelled",
                "queued",
                "in_progress",
                "newer",
            ];
            let reasons = [
                "max_output_tokens",
                "content_filter",
                "max_messages",
                "steered",
                "newer",
            ];
            let states = states
                .iter()
                .map(|status| json!({"status": status, "reason": null}));
            let reasons = reasons
                .iter()
                .map(|reason| json!({"status": "incomplete", "reason": reason}));
            return states.chain(reasons).collect();
        }
    };
    words
        .iter()
        .map(|word| json!(word))
        .chain([Value::Null])
        .collect()
}

#[test]
fn every_finish_of_every_upstream_is_legal_for_every_client() {
    for upstream in Format::ALL {
        for finish in finishes(upstream) {
            for client in Format::ALL.into_iter().filter(|client| *client != upstream) {
                let usage = Value::Null;
                let Some(out) = converted(upstream, client, &answer(upstream, &finish, &usage)) else {
                    let failed = [
                        json!("error"),
                        json!({"status": "failed", "reason": null}),
                        json!({"status": "cancelled", "reason": null}),
                    ];
                    assert!(failed.contains(&finish), "{upstream} {finish} for {client}");
                    continue;
                };
                let (found, legal): (&Value, &[&str]) = match client {
                    Format::Chat => (
                        &out["choices"][0]["finish_reason"],
                        &["stop", "length", "tool_calls", "content_filter", "function_call"],
                    ),
                    Format::Responses => (&out["status"], &["completed", "incomplete", "failed"]),
                    Format::Messages => (
                        &out["stop_reason"],
                        &[
                            "end_turn",
                            "max_tokens",
                            "stop_sequence",
                            "tool_use",
                            "refusal",
                            "model_context_window_exceeded",
                        ],
                    ),
                    Format::Gemini => (
                        &out["candidates"][0]["finishReason"],
                        &["STOP", "MAX_TOKENS", "SAFETY", "RECITATION", "OTHER"],
                    ),
                };
                let word = found.as_str().unwrap();
                assert!(legal.contains(&word), "{upstream} {finish} for {client}: {word}");
                if word == "failed" {
                    assert!(out["error"]["code"].is_string() && out["error"]["message"].is_string());
                }
                if word == "incomplete" {
                    let reason = out["incomplete_details"]["reason"].as_str().unwrap();
                    assert!(["max_output_tokens", "content_filter"].contains(&reason));
                }
            }
        }
    }
}

/// Counters of an upstream, as it would state them.
fn usage(upstream: Format) -> BoxedStrategy<Value> {
    let count = 0u64..1_000_000;
    (count.clone(), count.clone(), count.clone(), count.clone(), count)
        .prop_map(move |(fresh, read, written, said, thought)| match upstream {
            Format::Chat => json!({"prompt_tokens": fresh + read + written, "completion_tokens": said + thought, "total_tokens": fresh + read + written + said + thought,
                "prompt_tokens_details": {"cached_tokens": read, "cache_write_tokens": written}, "completion_tokens_details": {"reasoning_tokens": thought}}),
            Format::Responses => json!({"input_tokens": fresh + read + written, "output_tokens": said + thought, "total_tokens": fresh + read + written + said + thought,
                "input_tokens_details": {"cached_tokens": read, "cache_write_tokens": written}, "output_tokens_details": {"reasoning_tokens": thought}}),
            Format::Messages => json!({"input_tokens": fresh, "cache_read_input_tokens": read, "cache_creation_input_tokens": written, "output_tokens": said + thought,
                "output_tokens_details": {"thinking_tokens": thought}}),
            Format::Gemini => json!({"promptTokenCount": fresh + read, "cachedContentTokenCount": read, "candidatesTokenCount": said, "thoughtsTokenCount": thought,
                "totalTokenCount": fresh + read + said + thought}),
        })
        .boxed()
}

fn read(format: Format, body: &Value) -> Value {
    match format {
        Format::Gemini => body["usageMetadata"].clone(),
        _ => body["usage"].clone(),
    }
}

/// Input, output and their sum where the format states it.
fn sums(format: Format, usage: &Value) -> (u64, u64, Option<u64>) {
    let number = |name: &str| usage[name].as_u64().unwrap_or(0);
    match format {
        Format::Chat => (
            number("prompt_tokens"),
            number("completion_tokens"),
            usage["total_tokens"].as_u64(),
        ),
        Format::Responses => (
            number("input_tokens"),
            number("output_tokens"),
            usage["total_tokens"].as_u64(),
        ),
        Format::Messages => (
            number("input_tokens")
                + number("cache_read_input_tokens")
                + number("cache_creation_input_tokens"),
            number("output_tokens"),
            None,
        ),
        Format::Gemini => (
            number("promptTokenCount") + number("toolUsePromptTokenCount"),
            number("candidatesTokenCount") + number("thoughtsTokenCount"),
            usage["totalTokenCount"].as_u64(),
        ),
    }
}

fn done(upstream: Format) -> Value {
    match upstream {
        Format::Chat => json!("stop"),
        Format::Responses => json!({"status": "completed", "reason": null}),
        Format::Messages => json!("end_turn"),
        Format::Gemini => json!("STOP"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn usage_adds_up_and_comes_back(all in Format::ALL.map(usage)) {
        for (upstream, stated) in Format::ALL.into_iter().zip(all) {
            let body = answer(upstream, &done(upstream), &stated);
            let (input, output, _) = sums(upstream, &stated);
            for client in Format::ALL.into_iter().filter(|client| *client != upstream) {
                let there = read(client, &converted(upstream, client, &body).unwrap());
                let (there_input, there_output, total) = sums(client, &there);
                prop_assert_eq!((there_input, there_output), (input, output), "{} for {}: {}", upstream, client, there);
                prop_assert!(total.is_none_or(|total| total == input + output));
                let again = answer(client, &done(client), &there);
                let back = read(upstream, &converted(client, upstream, &again).unwrap());
                prop_assert_eq!((sums(upstream, &back).0, sums(upstream, &back).1), (input, output));
                // Gemini has no counter for what was written to a cache.
                if client == Format::Gemini {
                    continue;
                }
                for (name, count) in stated.as_object().unwrap() {
                    prop_assert_eq!(&back[name], count, "{} of {} through {}: {}", name, upstream, client, back);
                }
            }
        }
    }
}
