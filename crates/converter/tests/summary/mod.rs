//! Streams in the shorthand of wire.md 5.0: one word per event, so that a vector can be read and a difference seen.

use serde_json::Value;

use crate::strict::Frame;

/// The shorthand of every frame.
pub(crate) fn summaries(format: &str, frames: &[Frame]) -> Vec<String> {
    let mut out = Vec::new();
    for frame in frames {
        match frame {
            Frame::Comment => out.push("comment".into()),
            Frame::Done => out.push("DONE".into()),
            Frame::Close => out.push("]".into()),
            Frame::Raw(value) => out.push(format!("raw gerr {}", value["error"]["code"])),
            Frame::Event(value) => match format {
                "chat" => chat(value, &mut out),
                "messages" => out.push(messages(value)),
                "gemini" => gemini(value, &mut out),
                _ => responses(value, &mut out),
            },
        }
    }
    out
}

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

/// Ids of our own making are not worth spelling out.
fn id(value: &Value) -> String {
    let (bare, sealed) = word(value)
        .split_once("__Z3dzZWFs")
        .map_or((word(value), false), |(bare, _)| (bare, true));
    let bare = if bare.starts_with("call_g0") { "*" } else { bare };
    format!("{bare}{}", if sealed { "+seal" } else { "" })
}

fn seal(value: &Value) -> &str {
    if word(value).starts_with("Z3dzZWFs") {
        "seal"
    } else {
        word(value)
    }
}

fn chat(value: &Value, out: &mut Vec<String>) {
    if value.get("error").is_some() {
        let error = &value["error"];
        return out.push(format!(
            "err {} {}",
            word(&error["type"]),
            error["code"].as_str().unwrap_or("null")
        ));
    }
    let list = value["choices"].as_array().cloned().unwrap_or_default();
    if list.is_empty() {
        let usage = &value["usage"];
        // What the upstream did not state is left out: for a reader that is 0.
        let cached = usage["prompt_tokens_details"]["cached_tokens"]
            .as_u64()
            .unwrap_or(0);
        return out.push(format!(
            "u {}/{} cached {cached}",
            usage["prompt_tokens"], usage["completion_tokens"]
        ));
    }
    for choice in &list {
        let at = choice["index"].as_u64().filter(|index| *index > 0);
        let at = at.map(|index| format!("{index}:")).unwrap_or_default();
        let delta = &choice["delta"];
        if delta.get("role").is_some() {
            out.push(format!("{at}role"));
        }
        for (member, short) in [("content", "c"), ("reasoning_content", "r"), ("refusal", "rf")] {
            if delta[member].is_string() {
                let logged = choice["logprobs"].is_object() && member == "content";
                out.push(format!(
                    "{at}{short} {}{}",
                    delta[member],
                    if logged { " +logprobs" } else { "" }
                ));
            }
        }
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            out.push(format!("{at}{}", chat_call(call)));
        }
        if let Some(call) = delta.get("function_call") {
            out.push(format!("{at}fc {} {}", call["name"], call["arguments"]));
        }
        for detail in delta["reasoning_details"].as_array().into_iter().flatten() {
            out.push(format!("{at}sig {}", seal(&detail["data"])));
        }
        for annotation in delta["annotations"].as_array().into_iter().flatten() {
            let source = &annotation["url_citation"];
            out.push(format!(
                "{at}ann {}-{} {}",
                source["start_index"],
                source["end_index"],
                word(&source["url"])
            ));
        }
        if delta["images"].is_array() {
            out.push(format!("{at}img"));
        }
        if let Some(reason) = choice["finish_reason"].as_str() {
            out.push(format!("{at}fin:{reason}"));
        }
    }
}

fn chat_call(call: &Value) -> String {
    let index = &call["index"];
    let custom = call.get("custom").is_some();
    let (body, text) = if custom {
        (&call["custom"], "input")
    } else {
        (&call["function"], "arguments")
    };
    if call.get("id").is_none() {
        return format!("t{index}+ {}", body[text]);
    }
    let kind = if custom { " custom" } else { "" };
    let google = if call.get("extra_content").is_some() {
        " google"
    } else {
        ""
    };
    let first = if body[text] == "" {
        String::new()
    } else {
        format!(" {}", body[text])
    };
    format!(
        "t{index} {} {}{kind}{google}{first}",
        id(&call["id"]),
        word(&body["name"])
    )
}

fn messages(value: &Value) -> String {
    let index = &value["index"];
    match word(&value["type"]) {
        "message_start" => {
            let usage = &value["message"]["usage"];
            format!(
                "ms {}/{}",
                usage["input_tokens"], usage["cache_read_input_tokens"]
            )
        }
        "content_block_start" => {
            let block = &value["content_block"];
            let what = match word(&block["type"]) {
                "thinking" => "think".into(),
                "redacted_thinking" => format!("red {}", seal(&block["data"])),
                "tool_use" => format!("tool {} {}", id(&block["id"]), word(&block["name"])),
                other => other.to_owned(),
            };
            format!("bs {index} {what}")
        }
        "content_block_delta" => {
            let delta = &value["delta"];
            match word(&delta["type"]) {
                "text_delta" => format!("td {index} {}", delta["text"]),
                "thinking_delta" => format!("kd {index} {}", delta["thinking"]),
                "signature_delta" => format!("sg {index} {}", seal(&delta["signature"])),
                "input_json_delta" => format!("jd {index} {}", delta["partial_json"]),
                other => format!("{other} {index}"),
            }
        }
        "content_block_stop" => format!("be {index}"),
        "message_delta" => {
            let usage = &value["usage"];
            let input = if usage.get("input_tokens").is_some() {
                format!("{}", usage["input_tokens"])
            } else {
                "-".into()
            };
            format!(
                "md {} {input}/{}",
                word(&value["delta"]["stop_reason"]),
                usage["output_tokens"]
            )
        }
        "message_stop" => "mstop".into(),
        "error" => format!("aerr {}", word(&value["error"]["type"])),
        other => other.to_owned(),
    }
}

fn gemini(value: &Value, out: &mut Vec<String>) {
    if value.get("error").is_some() {
        return out.push(format!("gerr {}", value["error"]["code"]));
    }
    for candidate in value["candidates"].as_array().into_iter().flatten() {
        let at = candidate["index"].as_u64().filter(|index| *index > 0);
        let at = at.map(|index| format!("{index}:")).unwrap_or_default();
        let sources = candidate["groundingMetadata"]["groundingSupports"].as_array();
        for support in sources.into_iter().flatten() {
            let segment = &support["segment"];
            out.push(format!(
                "{at}ground {}-{} {}",
                segment["startIndex"], segment["endIndex"], support["groundingChunkIndices"]
            ));
        }
        for part in candidate["content"]["parts"].as_array().into_iter().flatten() {
            out.push(format!("{at}{}", gemini_part(part, candidate, value)));
        }
    }
}

fn gemini_part(part: &Value, candidate: &Value, value: &Value) -> String {
    let sig = part["thoughtSignature"].as_str();
    let sig = sig
        .map(|sig| format!(" +{}", if sig.starts_with("Z3dzZWFs") { "seal" } else { sig }))
        .unwrap_or_default();
    if let Some(reason) = candidate["finishReason"].as_str() {
        let usage = &value["usageMetadata"];
        return format!(
            "g fin:{reason} u {}/{}/{}{sig}",
            usage["promptTokenCount"], usage["candidatesTokenCount"], usage["totalTokenCount"]
        );
    }
    if let Some(call) = part.get("functionCall") {
        return format!(
            "g fc {} {} {}{sig}",
            id(&call["id"]),
            word(&call["name"]),
            call["args"]
        );
    }
    if part.get("inlineData").is_some() {
        return format!("g img{sig}");
    }
    let thought = if part["thought"] == true { " th" } else { "" };
    let logged = if candidate["logprobsResult"].is_object() {
        " +logprobs"
    } else {
        ""
    };
    format!("g{thought} {}{sig}{logged}", part["text"])
}

fn responses(value: &Value, out: &mut Vec<String>) {
    let kind = word(&value["type"]);
    let at = value["output_index"].to_string();
    let item = &value["item"];
    let usage = &value["response"]["usage"];
    let counted = format!("{}/{}", usage["input_tokens"], usage["output_tokens"]);
    out.push(match kind.trim_start_matches("response.") {
        "created" => "rc".into(),
        "in_progress" => "rp".into(),
        "output_item.added" => match item["call_id"].as_str() {
            Some(_) => format!(
                "ia {at} {} {} {}",
                word(&item["type"]),
                id(&item["call_id"]),
                word(&item["name"])
            ),
            None => format!("ia {at} {}", word(&item["type"])),
        },
        "output_item.done" => {
            let state = item["encrypted_content"]
                .as_str()
                .map(|_| format!(" {}", seal(&item["encrypted_content"])));
            let query = item["action"]["query"]
                .as_str()
                .map(|query| format!(" {query:?}"));
            format!(
                "id {at} {}{}{}",
                word(&item["type"]),
                state.unwrap_or_default(),
                query.unwrap_or_default()
            )
        }
        "content_part.added" => format!(
            "pa {at} {} {}",
            value["content_index"],
            word(&value["part"]["type"])
        ),
        "content_part.done" => format!("pe {at} {}", value["content_index"]),
        "output_text.delta" => {
            let logged = value["logprobs"].as_array().is_some_and(|list| !list.is_empty());
            format!(
                "otd {at} {}{}",
                value["delta"],
                if logged { " +logprobs" } else { "" }
            )
        }
        "output_text.done" => format!("ote {at} {}", value["text"]),
        "output_text.annotation.added" => {
            let source = &value["annotation"];
            format!(
                "ann {at} {}-{} {}",
                source["start_index"],
                source["end_index"],
                word(&source["url"])
            )
        }
        "refusal.delta" => format!("rfd {at} {}", value["delta"]),
        "refusal.done" => format!("rfe {at} {}", value["refusal"]),
        "reasoning_summary_part.added" => format!("sa {at} {}", value["summary_index"]),
        "reasoning_summary_part.done" => format!("se {at} {}", value["summary_index"]),
        "reasoning_summary_text.delta" => format!("std {at} {}", value["delta"]),
        "reasoning_summary_text.done" => format!("ste {at} {}", value["text"]),
        "function_call_arguments.delta" => format!("fad {at} {}", value["delta"]),
        "function_call_arguments.done" => format!("fae {at} {}", value["arguments"]),
        "custom_tool_call_input.delta" => format!("cid {at} {}", value["delta"]),
        "custom_tool_call_input.done" => format!("cie {at} {}", value["input"]),
        "completed" => format!("rcomp {counted}"),
        "incomplete" => format!(
            "rinc {} {counted}",
            word(&value["response"]["incomplete_details"]["reason"])
        ),
        "failed" => format!("rfail {}", word(&value["response"]["error"]["code"])),
        other => format!("{other} {at}"),
    });
}
