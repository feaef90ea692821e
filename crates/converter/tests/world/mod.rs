//! A client and an upstream that talk through the converter, each in its own format.

use ai_api_converter::{Dialect, Format, Options, Report, Source, Target, convert_request, convert_response};
use serde_json::{Value, json};

/// Who talks. The clients echo what their SDKs echo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Client {
    /// Keeps every member of a message.
    Chat,
    /// Rebuilds messages from the members it knows: content, and id, name and arguments of calls.
    ChatIdsOnly,
    Responses,
    Messages,
    Gemini,
}

impl Client {
    pub(crate) fn format(self) -> Format {
        match self {
            Client::Chat | Client::ChatIdsOnly => Format::Chat,
            Client::Responses => Format::Responses,
            Client::Messages => Format::Messages,
            Client::Gemini => Format::Gemini,
        }
    }
}

/// A conversation.
pub(crate) struct Talk {
    client: Client,
    upstream: Format,
    key: Option<[u8; 32]>,
    /// Signature domain of the channel that is asked.
    pub(crate) domain: u32,
    messages: Vec<Value>,
    turns: usize,
}

impl Talk {
    pub(crate) fn new(client: Client, upstream: Format, key: Option<[u8; 32]>) -> Self {
        let mut talk = Talk {
            client,
            upstream,
            key,
            domain: 1,
            messages: Vec::new(),
            turns: 0,
        };
        talk.say("question 0");
        talk
    }

    fn say(&mut self, text: &str) {
        self.messages.push(match self.client {
            Client::Gemini => json!({"role": "user", "parts": [{"text": text}]}),
            _ => json!({"role": "user", "content": text}),
        });
    }

    pub(crate) fn history(&self) -> String {
        Value::from(self.messages.clone()).to_string()
    }

    /// Replaces text in the history, as a careless client would.
    pub(crate) fn edit(&mut self, from: &str, to: &str) {
        let history = self.history();
        assert!(history.contains(from), "nothing to edit in {history}");
        self.messages = serde_json::from_str(&history.replace(from, to)).unwrap();
    }

    fn request(&self) -> Value {
        let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}});
        match self.client.format() {
            Format::Chat => {
                json!({"model": "m", "messages": self.messages, "tools": [{"type": "function", "function": {"name": "f", "parameters": schema}}]})
            }
            Format::Responses => {
                json!({"model": "m", "input": self.messages, "tools": [{"type": "function", "name": "f", "parameters": schema}]})
            }
            Format::Messages => {
                json!({"model": "m", "max_tokens": 4000, "messages": self.messages, "tools": [{"name": "f", "input_schema": schema}]})
            }
            Format::Gemini => {
                json!({"contents": self.messages, "tools": [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": schema}]}], "generationConfig": {"thinkingConfig": {"includeThoughts": true}}})
            }
        }
    }

    fn convert(&self) -> ai_api_converter::Converted {
        let format = self.client.format();
        let source = Source {
            format,
            model: (format == Format::Gemini).then_some("m"),
            stream: false,
            array: false,
        };
        let target = Target {
            format: self.upstream,
            dialect: if self.upstream == Format::Chat {
                Dialect::DeepSeek
            } else {
                Dialect::Native
            },
            model: match self.upstream {
                Format::Messages => "claude-opus-4-6",
                Format::Gemini => "gemini-3-pro",
                Format::Chat => "deepseek-chat",
                Format::Responses => "gpt-5.4",
            },
            domain: self.domain,
        };
        let options = Options {
            request_id: format!("req{}", self.turns),
            now: 5,
            seal_key: self.key,
            ..Options::default()
        };
        let body = self.request().to_string();
        convert_request(body.as_bytes(), &source, &target, &options)
            .unwrap_or_else(|error| panic!("{error}\n{body}"))
    }

    pub(crate) fn report(&self) -> Report {
        self.convert().report
    }

    pub(crate) fn state_reason(&self) -> Option<&'static str> {
        self.report().state_reason
    }

    /// The upstream answers; the client takes it over, runs its tools and goes on.
    pub(crate) fn answer(&mut self, native: &Value) {
        self.turns += 1;
        let context = self.convert().context;
        let body = whole(self.upstream, native, self.turns).to_string();
        let answer = convert_response(body.as_bytes(), &context)
            .unwrap_or_else(|failure| panic!("{failure:?}\n{body}"));
        let answer: Value = serde_json::from_slice(&answer.body).unwrap();
        let calls = self.echo(&answer);
        if calls.is_empty() {
            let text = format!("question {}", self.turns);
            self.say(&text);
        }
        self.results(&calls);
    }

    /// Appends the answer to the history; returns ids and names of its calls.
    fn echo(&mut self, answer: &Value) -> Vec<(Value, Value)> {
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        match self.client {
            Client::Chat | Client::ChatIdsOnly => {
                let mut message = answer["choices"][0]["message"].clone();
                if self.client == Client::ChatIdsOnly {
                    let calls: Vec<Value> = list(&message["tool_calls"])
                        .iter()
                        .map(|call| json!({"id": call["id"], "type": "function", "function": {"name": call["function"]["name"], "arguments": call["function"]["arguments"]}}))
                        .collect();
                    message = json!({"role": "assistant", "content": message["content"]});
                    if !calls.is_empty() {
                        message["tool_calls"] = json!(calls);
                    }
                }
                let calls = list(&message["tool_calls"]);
                self.messages.push(message);
                calls
                    .iter()
                    .map(|call| (call["id"].clone(), call["function"]["name"].clone()))
                    .collect()
            }
            Client::Responses => {
                let items = list(&answer["output"]);
                self.messages.extend(items.clone());
                items
                    .iter()
                    .filter(|item| item["type"] == "function_call")
                    .map(|item| (item["call_id"].clone(), item["name"].clone()))
                    .collect()
            }
            Client::Messages => {
                let content = list(&answer["content"]);
                self.messages
                    .push(json!({"role": "assistant", "content": content}));
                content
                    .iter()
                    .filter(|block| block["type"] == "tool_use")
                    .map(|block| (block["id"].clone(), block["name"].clone()))
                    .collect()
            }
            Client::Gemini => {
                let content = answer["candidates"][0]["content"].clone();
                let parts = list(&content["parts"]);
                self.messages.push(content);
                parts
                    .iter()
                    .filter_map(|part| part.get("functionCall"))
                    .map(|call| (call["id"].clone(), call["name"].clone()))
                    .collect()
            }
        }
    }

    fn results(&mut self, calls: &[(Value, Value)]) {
        if calls.is_empty() {
            return;
        }
        match self.client {
            Client::Chat | Client::ChatIdsOnly => self.messages.extend(
                calls
                    .iter()
                    .map(|(id, _)| json!({"role": "tool", "tool_call_id": id, "content": "done"})),
            ),
            Client::Responses => self.messages.extend(
                calls
                    .iter()
                    .map(|(id, _)| json!({"type": "function_call_output", "call_id": id, "output": "done"})),
            ),
            Client::Messages => {
                let blocks: Vec<Value> = calls
                    .iter()
                    .map(|(id, _)| json!({"type": "tool_result", "tool_use_id": id, "content": "done"}))
                    .collect();
                self.messages.push(json!({"role": "user", "content": blocks}));
            }
            Client::Gemini => {
                let parts: Vec<Value> = calls
                    .iter()
                    .map(|(id, name)| json!({"functionResponse": {"id": id, "name": name, "response": {"output": "done"}}}))
                    .collect();
                self.messages.push(json!({"role": "user", "parts": parts}));
            }
        }
    }

    /// The assistant's turns as the next request shows them to the upstream, in normal form.
    pub(crate) fn upstream_turns(&self) -> Vec<Value> {
        let body: Value = serde_json::from_slice(&self.convert().body).unwrap();
        let list = |name: &str| body[name].as_array().cloned().unwrap_or_default();
        match self.upstream {
            Format::Messages => list("messages")
                .into_iter()
                .filter(|message| message["role"] == "assistant")
                .map(|message| normal(Format::Messages, &message["content"]))
                .collect(),
            Format::Gemini => list("contents")
                .into_iter()
                .filter(|content| content["role"] == "model")
                .map(|content| normal(Format::Gemini, &content["parts"]))
                .collect(),
            Format::Chat => list("messages")
                .into_iter()
                .filter(|message| message["role"] == "assistant")
                .map(|message| normal(Format::Chat, &message))
                .collect(),
            Format::Responses => {
                let mut turns: Vec<Value> = Vec::new();
                let mut open: Vec<Value> = Vec::new();
                for item in list("input") {
                    let theirs = item["role"] == "user" || item["type"] == "function_call_output";
                    if !theirs {
                        open.push(item);
                    } else if !open.is_empty() {
                        turns.push(normal(Format::Responses, &Value::from(std::mem::take(&mut open))));
                    }
                }
                turns
            }
        }
    }
}

/// A whole answer around the upstream's own content.
fn whole(upstream: Format, native: &Value, turn: usize) -> Value {
    match upstream {
        Format::Messages => {
            json!({"id": format!("msg_{turn}"), "type": "message", "role": "assistant", "model": "m", "content": native, "stop_reason": "end_turn", "usage": {"input_tokens": 1, "output_tokens": 1}})
        }
        Format::Responses => {
            json!({"id": format!("resp_{turn}"), "object": "response", "status": "completed", "model": "m", "output": native})
        }
        Format::Gemini => {
            json!({"responseId": format!("g{turn}"), "candidates": [{"content": {"role": "model", "parts": native}, "finishReason": "STOP"}]})
        }
        Format::Chat => {
            json!({"id": format!("chatcmpl-{turn}"), "choices": [{"index": 0, "message": native, "finish_reason": "stop"}]})
        }
    }
}

/// What two spellings of the same turn have in common: neighbouring texts are one text, ids of items that the vendor does not ask
/// for are left out.
pub(crate) fn normal(upstream: Format, native: &Value) -> Value {
    if upstream == Format::Chat {
        let mut message = native.clone();
        // DeepSeek wants its reasoning back only beside calls, and then always.
        let calls = message.get("tool_calls").is_some();
        let reasoning = message["reasoning_content"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let members = message.as_object_mut().unwrap();
        members.remove("reasoning_content");
        if calls {
            members.insert("reasoning_content".into(), json!(reasoning));
        }
        return message;
    }
    let mut out: Vec<Value> = Vec::new();
    for block in native.as_array().unwrap() {
        let mut block = block.clone();
        if upstream == Format::Responses {
            if block["type"] == "message" {
                let text = match &block["content"] {
                    Value::Array(parts) => parts[0]["text"].clone(),
                    text => text.clone(),
                };
                block = json!({"type": "message", "role": "assistant", "content": text});
            }
            if block["type"] == "function_call" {
                let members = block.as_object_mut().unwrap();
                members.remove("id");
                members.remove("status");
            }
        }
        let member = if upstream == Format::Responses {
            "content"
        } else {
            "text"
        };
        let mergeable = |block: &Value| match upstream {
            Format::Messages => block["type"] == "text",
            Format::Responses => block["type"] == "message",
            _ => block.as_object().unwrap().len() == 1 && block.get("text").is_some(),
        };
        match out.last_mut() {
            Some(last) if mergeable(last) && mergeable(&block) => {
                let joined = format!(
                    "{}{}",
                    last[member].as_str().unwrap(),
                    block[member].as_str().unwrap()
                );
                last[member] = json!(joined);
            }
            _ => out.push(block),
        }
    }
    Value::Array(out)
}
