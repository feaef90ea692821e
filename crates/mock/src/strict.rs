//! What each provider refuses: unknown members, wrong types, broken pairing. Returns the sentence of the 400.

use serde_json::Value;

use crate::server::Provider;

const CHAT: &[&str] = &[
    "model",
    "messages",
    "audio",
    "frequency_penalty",
    "function_call",
    "functions",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "metadata",
    "modalities",
    "moderation",
    "n",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning_effort",
    "response_format",
    "safety_identifier",
    "seed",
    "service_tier",
    "stop",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "user",
    "verbosity",
    "web_search_options",
];
const COMPLETIONS: &[&str] = &[
    "model",
    "prompt",
    "best_of",
    "echo",
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "max_tokens",
    "n",
    "presence_penalty",
    "seed",
    "stop",
    "stream",
    "stream_options",
    "suffix",
    "temperature",
    "top_p",
    "user",
];
const RESPONSES: &[&str] = &[
    "access_programs",
    "background",
    "context_management",
    "conversation",
    "image",
    "include",
    "input",
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "model",
    "moderation",
    "parallel_tool_calls",
    "previous_response_id",
    "prompt",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "reasoning",
    "safety_identifier",
    "service_tier",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "truncation",
    "user",
];
const MESSAGES: &[&str] = &[
    "model",
    "max_tokens",
    "messages",
    "system",
    "temperature",
    "top_p",
    "top_k",
    "stop_sequences",
    "thinking",
    "output_config",
    "tools",
    "tool_choice",
    "cache_control",
    "metadata",
    "service_tier",
    "stream",
    "container",
    "inference_geo",
    "diagnostics",
    "speed",
    "context_management",
    "mcp_servers",
    "output_format",
];
const GEMINI: &[&str] = &[
    "contents",
    "systemInstruction",
    "tools",
    "toolConfig",
    "generationConfig",
    "safetySettings",
    "cachedContent",
    "labels",
    "serviceTier",
    "store",
    "model",
    "continuationToken",
];
const GENERATION: &[&str] = &[
    "temperature",
    "topP",
    "topK",
    "candidateCount",
    "maxOutputTokens",
    "stopSequences",
    "responseLogprobs",
    "logprobs",
    "presencePenalty",
    "frequencyPenalty",
    "seed",
    "responseMimeType",
    "responseSchema",
    "responseJsonSchema",
    "responseModalities",
    "thinkingConfig",
    "speechConfig",
    "mediaResolution",
    "imageConfig",
    "responseFormat",
];

/// Checks a body.
pub(crate) fn check(provider: Provider, body: &Value, headers: &http::HeaderMap) -> Result<(), String> {
    match provider {
        Provider::Chat => {
            known(body, CHAT, "")?;
            chat(body)
        }
        Provider::Completions => known(body, COMPLETIONS, ""),
        Provider::Responses => {
            known(body, RESPONSES, "")?;
            responses(body)
        }
        Provider::Messages => {
            known(body, MESSAGES, "")?;
            messages(body, headers)
        }
        Provider::Gemini => {
            known(body, GEMINI, "")?;
            if let Some(config) = body.get("generationConfig") {
                known(config, GENERATION, "generationConfig.")?;
            }
            gemini(body)
        }
    }
}

fn known(body: &Value, names: &[&str], prefix: &str) -> Result<(), String> {
    let Some(members) = body.as_object() else {
        return Err("the body must be an object".into());
    };
    match members.keys().find(|name| !names.contains(&name.as_str())) {
        Some(name) => Err(format!("{prefix}{name}: Extra inputs are not permitted")),
        None => Ok(()),
    }
}

fn list<'v>(body: &'v Value, name: &str) -> &'v [Value] {
    body.get(name)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn word<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn chat(body: &Value) -> Result<(), String> {
    let mut open: Vec<String> = Vec::new();
    for (index, message) in list(body, "messages").iter().enumerate() {
        let role = word(message, "role");
        if role == "tool" {
            let id = word(message, "tool_call_id");
            let Some(at) = open.iter().position(|known| known == id) else {
                return Err(format!(
                    "messages[{index}]: tool message must follow its tool_calls"
                ));
            };
            open.remove(at);
            continue;
        }
        if !open.is_empty() {
            return Err(format!(
                "messages[{index}]: an assistant message with tool_calls must be followed by tool messages"
            ));
        }
        if !["developer", "system", "user", "assistant"].contains(&role) {
            return Err(format!("messages[{index}].role: invalid value"));
        }
        for call in list(message, "tool_calls") {
            let id = word(call, "id");
            if id.is_empty() || id.len() > 40 {
                return Err(format!(
                    "messages[{index}].tool_calls: string too long or empty id"
                ));
            }
            let function = call
                .get("function")
                .map(|function| word(function, "arguments"))
                .unwrap_or("{}");
            if serde_json::from_str::<Value>(function).is_err() {
                return Err(format!("messages[{index}].tool_calls: arguments are not JSON"));
            }
            open.push(id.to_owned());
        }
        let empty =
            message.get("content").is_none_or(Value::is_null) && list(message, "tool_calls").is_empty();
        if empty && message.get("refusal").is_none() {
            return Err(format!("messages[{index}].content: expected a string, got null"));
        }
    }
    if open.is_empty() {
        Ok(())
    } else {
        Err("tool_calls without results".into())
    }
}

fn responses(body: &Value) -> Result<(), String> {
    let mut open: Vec<String> = Vec::new();
    for (index, item) in list(body, "input").iter().enumerate() {
        match word(item, "type") {
            "function_call" | "custom_tool_call" => {
                let id = word(item, "call_id");
                if id.is_empty() || id.len() > 64 {
                    return Err(format!("input[{index}].call_id: invalid"));
                }
                open.push(id.to_owned());
            }
            "function_call_output" | "custom_tool_call_output" => {
                let id = word(item, "call_id");
                let Some(at) = open.iter().position(|known| known == id) else {
                    return Err(format!(
                        "No tool call found for function call output with call_id {id}."
                    ));
                };
                open.remove(at);
            }
            "reasoning" if word(item, "encrypted_content").starts_with("Z3dzZWFs") => {
                return Err("invalid_encrypted_content".into());
            }
            "message" | "" => {
                for part in list(item, "content") {
                    let kind = word(part, "type");
                    let good = if word(item, "role") == "assistant" {
                        ["output_text", "refusal"].contains(&kind)
                    } else {
                        ["input_text", "input_image", "input_file"].contains(&kind)
                    };
                    if !good {
                        return Err(format!("input[{index}].content: invalid value '{kind}'"));
                    }
                }
            }
            _ => {}
        }
    }
    for tool in list(body, "tools") {
        if word(tool, "type") == "function" && tool.get("strict").is_none() {
            return Err("tools: strict is required".into());
        }
    }
    match open.first() {
        Some(id) => Err(format!("No tool output found for function call {id}.")),
        None => Ok(()),
    }
}

fn messages(body: &Value, headers: &http::HeaderMap) -> Result<(), String> {
    if body.get("max_tokens").and_then(Value::as_u64).is_none() {
        return Err("max_tokens: Field required".into());
    }
    let newest = headers
        .get("anthropic-version")
        .is_some_and(|version| version == "2026-10-21");
    if newest
        && ["temperature", "top_p", "top_k"]
            .iter()
            .any(|name| body.get(name).is_some())
    {
        return Err("temperature: not supported in this API version".into());
    }
    let mut open: Vec<String> = Vec::new();
    for (index, message) in list(body, "messages").iter().enumerate() {
        let blocks = list(message, "content");
        if word(message, "role") == "user" {
            for block in blocks.iter().filter(|block| word(block, "type") == "tool_result") {
                let id = word(block, "tool_use_id");
                let Some(at) = open.iter().position(|known| known == id) else {
                    return Err(format!(
                        "messages.{index}: unexpected `tool_use_id` found in `tool_result` blocks: {id}"
                    ));
                };
                open.remove(at);
            }
        }
        if !open.is_empty() {
            return Err(format!(
                "messages.{index}: `tool_use` ids were found without `tool_result` blocks immediately after"
            ));
        }
        for block in blocks {
            match word(block, "type") {
                "text" if word(block, "text").trim().is_empty() => {
                    return Err(format!("messages.{index}: text content blocks must be non-empty"));
                }
                "tool_use" => {
                    let id = word(block, "id");
                    let good = !id.is_empty()
                        && id
                            .bytes()
                            .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
                    if !good || !block.get("input").is_some_and(Value::is_object) {
                        return Err(format!("messages.{index}: invalid tool_use"));
                    }
                    open.push(id.to_owned());
                }
                "thinking"
                    if word(block, "signature").starts_with("Z3dzZWFs")
                        || word(block, "signature").is_empty() =>
                {
                    return Err(format!(
                        "messages.{index}: Invalid `signature` in `thinking` block"
                    ));
                }
                "redacted_thinking" if word(block, "data").starts_with("Z3dzZWFs") => {
                    return Err(format!(
                        "messages.{index}: Invalid `data` in `redacted_thinking` block"
                    ));
                }
                _ => {}
            }
        }
    }
    if open.is_empty() {
        Ok(())
    } else {
        Err("`tool_use` ids were found without `tool_result` blocks".into())
    }
}

fn gemini(body: &Value) -> Result<(), String> {
    let model = word(body, "model");
    let _ = model;
    let mut calls = 0usize;
    let mut before = "";
    for (index, content) in list(body, "contents").iter().enumerate() {
        let role = word(content, "role");
        if !["user", "model", ""].contains(&role) {
            return Err("Please use a valid role: user, model.".into());
        }
        let parts = list(content, "parts");
        if parts.is_empty() {
            return Err(format!("contents[{index}].parts must not be empty"));
        }
        let results = parts
            .iter()
            .filter(|part| part.get("functionResponse").is_some())
            .count();
        if calls > 0 && results != calls {
            return Err("Please ensure that the number of function response parts is equal to the number of function call parts of the function call turn.".into());
        }
        if calls == 0 && results > 0 {
            return Err(
                "Please ensure that function response turn comes immediately after a function call turn."
                    .into(),
            );
        }
        calls = parts
            .iter()
            .filter(|part| part.get("functionCall").is_some())
            .count();
        if role == "model" && before == "model" {
            return Err("contents: consecutive model turns".into());
        }
        for part in parts {
            if let Some(response) = part.get("functionResponse")
                && (!response.get("response").is_some_and(Value::is_object)
                    || word(response, "name").is_empty())
            {
                return Err(format!("contents[{index}]: invalid functionResponse"));
            }
        }
        before = role;
    }
    if calls > 0 {
        Err("function calls without responses".into())
    } else {
        Ok(())
    }
}
