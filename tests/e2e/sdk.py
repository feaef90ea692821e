"""One small interface over the official SDKs: what a user of each would type."""

import json
from dataclasses import dataclass, field

import anthropic
import openai
from google import genai
from google.genai import types

from conftest import KEY

TOOLS = {
    "get_weather": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city", "days"],
        "additionalProperties": False,
    },
    "get_price": {
        "type": "object",
        "properties": {"factor": {"type": "number"}},
        "required": ["factor"],
        "additionalProperties": False,
    },
}


@dataclass
class Answer:
    text: str = ""
    thinking: str = ""
    calls: list = field(default_factory=list)
    stop: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    native: object = None


def clients(url, key=KEY):
    return {
        "chat": openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0),
        "responses": openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0),
        "messages": anthropic.Anthropic(base_url=url, api_key=key, max_retries=0),
        "gemini": genai.Client(api_key=key, http_options=types.HttpOptions(base_url=url)),
    }


def ask(client, fmt, model, text, *, stream=False, system=None, tools=False, image=None, thinking=False, schema=None, history=None):
    call = {"chat": ask_chat, "responses": ask_responses, "messages": ask_messages, "gemini": ask_gemini}[fmt]
    return call(client, model, text, stream, system, tools, image, thinking, schema, history)


def ask_chat(client, model, text, stream, system, tools, image, thinking, schema, history):
    messages = [{"role": "system", "content": system}] if system else []
    content = text
    if image:
        content = [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}}]
    messages.append({"role": "user", "content": content})
    messages += history or []
    options = {}
    if tools:
        options["tools"] = [{"type": "function", "function": {"name": n, "description": n, "parameters": s}} for n, s in TOOLS.items()]
    if thinking:
        options["reasoning_effort"] = "high"
    if schema:
        options["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}
    answer = Answer()
    if not stream:
        native = client.chat.completions.create(model=model, messages=messages, max_completion_tokens=4000, **options)
        message = native.choices[0].message
        answer.text, answer.native = message.content or "", message
        answer.thinking = getattr(message, "reasoning_content", "") or ""
        answer.calls = [(c.id, c.function.name, c.function.arguments) for c in message.tool_calls or []]
        answer.stop = native.choices[0].finish_reason
        answer.input_tokens, answer.output_tokens = native.usage.prompt_tokens, native.usage.completion_tokens
        return answer
    calls = {}
    details = []
    chunks = client.chat.completions.create(
        model=model, messages=messages, max_completion_tokens=4000, stream=True, stream_options={"include_usage": True}, **options
    )
    for chunk in chunks:
        if chunk.usage:
            answer.input_tokens, answer.output_tokens = chunk.usage.prompt_tokens, chunk.usage.completion_tokens
        for choice in chunk.choices:
            delta = choice.delta
            answer.text += delta.content or ""
            answer.thinking += getattr(delta, "reasoning_content", "") or ""
            details += getattr(delta, "reasoning_details", None) or []
            for call in delta.tool_calls or []:
                known = calls.setdefault(call.index, ["", "", ""])
                known[0] += call.id or ""
                known[1] += call.function.name or ""
                known[2] += call.function.arguments or ""
            answer.stop = choice.finish_reason or answer.stop
    answer.calls = [tuple(c) for _, c in sorted(calls.items())]
    return answer


def ask_responses(client, model, text, stream, system, tools, image, thinking, schema, history):
    content = text
    if image:
        content = [{"type": "input_text", "text": text}, {"type": "input_image", "image_url": f"data:image/png;base64,{image}"}]
    items = [{"role": "user", "content": content}] + (history or [])
    options = {"instructions": system} if system else {}
    if tools:
        options["tools"] = [{"type": "function", "name": n, "description": n, "parameters": s, "strict": False} for n, s in TOOLS.items()]
    if thinking:
        options["reasoning"] = {"effort": "high", "summary": "auto"}
        options["include"] = ["reasoning.encrypted_content"]
    if schema:
        options["text"] = {"format": {"type": "json_schema", "name": "answer", "schema": schema, "strict": True}}
    if stream:
        with client.responses.stream(model=model, input=items, store=False, **options) as events:
            streamed = "".join(e.delta for e in events if e.type == "response.output_text.delta")
            native = events.get_final_response()
        assert streamed == native.output_text
    else:
        native = client.responses.create(model=model, input=items, store=False, **options)
    answer = Answer(text=native.output_text, native=native, stop=native.status)
    for item in native.output:
        if item.type == "function_call":
            answer.calls.append((item.call_id, item.name, item.arguments))
        if item.type == "reasoning":
            answer.thinking += "".join(part.text for part in item.summary)
    answer.input_tokens, answer.output_tokens = native.usage.input_tokens, native.usage.output_tokens
    return answer


def ask_messages(client, model, text, stream, system, tools, image, thinking, schema, history):
    content = text
    if image:
        source = {"type": "base64", "media_type": "image/png", "data": image}
        content = [{"type": "text", "text": text}, {"type": "image", "source": source}]
    options = {"system": system} if system else {}
    if tools:
        options["tools"] = [{"name": n, "description": n, "input_schema": s} for n, s in TOOLS.items()]
    if thinking:
        options["thinking"] = {"type": "enabled", "budget_tokens": 2000}
    if schema:
        options["output_config"] = {"format": {"type": "json_schema", "schema": schema}}
    messages = [{"role": "user", "content": content}] + (history or [])
    if stream:
        with client.messages.stream(model=model, max_tokens=4000, messages=messages, **options) as events:
            streamed = "".join(events.text_stream)
            native = events.get_final_message()
        assert streamed == "".join(b.text for b in native.content if b.type == "text")
    else:
        native = client.messages.create(model=model, max_tokens=4000, messages=messages, **options)
    answer = Answer(native=native, stop=native.stop_reason)
    for block in native.content:
        if block.type == "text":
            answer.text += block.text
        elif block.type == "thinking":
            answer.thinking += block.thinking
        elif block.type == "tool_use":
            answer.calls.append((block.id, block.name, json.dumps(block.input)))
    usage = native.usage
    answer.input_tokens = usage.input_tokens + (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)
    answer.output_tokens = usage.output_tokens
    return answer


def ask_gemini(client, model, text, stream, system, tools, image, thinking, schema, history):
    import base64

    parts = [types.Part(text=text)]
    if image:
        parts.append(types.Part(inline_data=types.Blob(mime_type="image/png", data=base64.b64decode(image))))
    config = types.GenerateContentConfig(system_instruction=system)
    if tools:
        config.tools = [
            types.Tool(function_declarations=[types.FunctionDeclaration(name=n, description=n, parameters_json_schema=s) for n, s in TOOLS.items()])
        ]
        config.automatic_function_calling = types.AutomaticFunctionCallingConfig(disable=True)
    if thinking:
        config.thinking_config = types.ThinkingConfig(include_thoughts=True, thinking_budget=2000)
    if schema:
        config.response_mime_type = "application/json"
        config.response_json_schema = schema
    contents = [types.Content(role="user", parts=parts)] + (history or [])
    answer = Answer()
    if stream:
        chunks = list(client.models.generate_content_stream(model=model, contents=contents, config=config))
    else:
        chunks = [client.models.generate_content(model=model, contents=contents, config=config)]
    kept = []
    for chunk in chunks:
        candidate = chunk.candidates[0]
        for part in candidate.content.parts or []:
            if part.thought:
                answer.thinking += part.text or ""
            elif part.function_call:
                call = part.function_call
                answer.calls.append((call.id, call.name, json.dumps(call.args)))
            else:
                answer.text += part.text or ""
            if part.text or part.function_call or part.thought_signature:
                kept.append(part)
        answer.stop = candidate.finish_reason.value if candidate.finish_reason else answer.stop
        if chunk.usage_metadata:
            answer.input_tokens = chunk.usage_metadata.prompt_token_count or 0
            answer.output_tokens = (chunk.usage_metadata.candidates_token_count or 0) + (chunk.usage_metadata.thoughts_token_count or 0)
    answer.native = types.Content(role="model", parts=kept)
    return answer


def with_results(fmt, answer, results):
    """The history of the second turn: the assistant's answer and the results of its calls."""
    if fmt == "chat":
        assistant = {"role": "assistant", "content": answer.text or None, "tool_calls": []}
        for call_id, name, arguments in answer.calls:
            assistant["tool_calls"].append({"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}})
        return [assistant] + [{"role": "tool", "tool_call_id": c[0], "content": r} for c, r in zip(answer.calls, results)]
    if fmt == "responses":
        items = [item.model_dump(exclude_none=True) for item in answer.native.output]
        return items + [{"type": "function_call_output", "call_id": c[0], "output": r} for c, r in zip(answer.calls, results)]
    if fmt == "messages":
        blocks = [block.model_dump(exclude_none=True) for block in answer.native.content]
        replies = [{"type": "tool_result", "tool_use_id": c[0], "content": r} for c, r in zip(answer.calls, results)]
        return [{"role": "assistant", "content": blocks}, {"role": "user", "content": replies}]
    parts = []
    for (call_id, name, _), result in zip(answer.calls, results):
        parts.append(types.Part(function_response=types.FunctionResponse(id=call_id, name=name, response={"output": result})))
    return [answer.native, types.Content(role="user", parts=parts)]
