"""All 16 pairs of client and upstream format with the official SDKs, sync and streaming."""

import json

import anthropic
import openai
import pytest
from google.genai import errors

from conftest import FORMATS, KEY, UPSTREAM_KEY, eventually
from sdk import TOOLS, ask, clients, with_results

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "string"}, "count": {"type": "integer"}},
    "required": ["answer", "count"],
    "additionalProperties": False,
}
CELLS = [(client, upstream) for client in FORMATS for upstream in FORMATS]
# Names that the vendors' rules know, so that profiles apply; unknown behind the OpenAI formats.
MODELS = {"chat": "gpt-mock", "responses": "gpt-mock", "messages": "claude-opus-4-6", "gemini": "gemini-3-flash"}

cells = pytest.mark.parametrize("client,upstream", CELLS, ids=[f"{c}-to-{u}" for c, u in CELLS])
streams = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


def model(upstream):
    return f"{upstream}/{MODELS[upstream]}"


@pytest.fixture(scope="session")
def sdk(gateway):
    return clients(gateway.url)


@pytest.fixture(autouse=True)
def clean(mock_server):
    mock_server.clear()


@cells
@streams
def test_text_system_and_usage(sdk, mock_server, client, upstream, stream):
    answer = ask(sdk[client], client, model(upstream), "Hello there", stream=stream, system="Be brief.")
    assert answer.text == "You said: Hello there (images: 0)"
    assert (answer.input_tokens, answer.output_tokens) == (100, 20)
    assert answer.stop in ("stop", "completed", "end_turn", "STOP")
    received = mock_server.requests()[-1]
    assert "Be brief." in received["raw"]
    assert KEY not in json.dumps(received)
    assert UPSTREAM_KEY in json.dumps(received["headers"])


@cells
@streams
def test_image(sdk, mock_server, client, upstream, stream):
    answer = ask(sdk[client], client, model(upstream), "What is this?", stream=stream, image=PNG)
    assert answer.text == "You said: What is this? (images: 1)"
    raw = mock_server.requests()[-1]["raw"]
    # Google's SDK writes the URL-safe alphabet, and a relay changes nothing.
    assert PNG in (raw.replace("-", "+").replace("_", "/") if client == upstream == "gemini" else raw)


@cells
@streams
def test_tool_loop_with_parallel_calls(sdk, client, upstream, stream):
    first = ask(sdk[client], client, model(upstream), "Weather and price?", stream=stream, tools=True)
    assert [call[1] for call in first.calls] == list(TOOLS)
    assert json.loads(first.calls[0][2]) == {"city": "Paris é", "days": 9007199254740993}
    assert json.loads(first.calls[1][2]) == {"factor": 1.1}
    assert first.stop in ("tool_calls", "completed", "tool_use", "STOP")
    history = with_results(client, first, ["sunny", "12 EUR"])
    second = ask(sdk[client], client, model(upstream), "Weather and price?", stream=stream, tools=True, history=history)
    assert second.text == "The tools said: sunny | 12 EUR"
    assert not second.calls


@cells
@streams
def test_thinking_survives_a_tool_loop(sdk, mock_server, client, upstream, stream):
    first = ask(sdk[client], client, model(upstream), "[[thinking]] Weather?", stream=stream, tools=True, thinking=True)
    assert "Let me think about this." in first.thinking
    history = with_results(client, first, ["sunny", "12 EUR"])
    second = ask(sdk[client], client, model(upstream), "[[thinking]] Weather?", stream=stream, tools=True, thinking=True, history=history)
    assert second.text == "The tools said: sunny | 12 EUR"
    raw = mock_server.requests()[-1]["raw"]
    assert "Z3dzZWFs" not in raw
    # What the vendor signed comes back to it.
    expected = {"messages": "c2lnbmF0dXJl", "gemini": "c2lnbmF0dXJl", "responses": "ZW5jcnlwdGVk"}
    if upstream in expected and not (upstream == client == "chat"):
        assert expected[upstream] in raw


@cells
def test_structured_output(sdk, client, upstream):
    answer = ask(sdk[client], client, model(upstream), "Answer as JSON", schema=SCHEMA)
    assert json.loads(answer.text) == {"answer": "yes", "count": 3}


@cells
@streams
def test_unicode_cut_inside_characters(sdk, client, upstream, stream):
    answer = ask(sdk[client], client, model(upstream), "[[unicode]]", stream=stream)
    assert answer.text == 'Grüße, 世界! 👩\u200d👩\u200d👧 😀 é\n"quoted" \\ and\ttab'


@cells
def test_gzip_and_stop_reasons(sdk, client, upstream):
    assert ask(sdk[client], client, model(upstream), "[[gzip]] x").text == "You said: [[gzip]] x (images: 0)"
    assert ask(sdk[client], client, model(upstream), "[[gzip]] x", stream=client != "responses").text.startswith("You said")
    assert ask(sdk[client], client, model(upstream), "[[length]]").stop in ("length", "incomplete", "max_tokens", "MAX_TOKENS")


OPENAI = {
    400: openai.BadRequestError,
    401: openai.InternalServerError,
    403: openai.InternalServerError,
    404: openai.NotFoundError,
    413: openai.APIStatusError,
    429: openai.RateLimitError,
    500: openai.InternalServerError,
    503: openai.InternalServerError,
    529: openai.InternalServerError,
}
ANTHROPIC = {
    400: anthropic.BadRequestError,
    401: anthropic.InternalServerError,
    403: anthropic.InternalServerError,
    404: anthropic.NotFoundError,
    413: anthropic.RequestTooLargeError,
    429: anthropic.RateLimitError,
    500: anthropic.InternalServerError,
    503: anthropic.InternalServerError,
    529: anthropic.InternalServerError,
}


def error_of(fmt, status):
    if fmt == "gemini":
        return errors.ClientError if status in (400, 404, 413, 429) else errors.ServerError
    return (ANTHROPIC if fmt == "messages" else OPENAI)[status]


@cells
@streams
@pytest.mark.parametrize("status", sorted(OPENAI))
def test_errors_raise_the_right_class(sdk, client, upstream, stream, status):
    with pytest.raises(error_of(client, status)) as caught:
        ask(sdk[client], client, model(upstream), f"[[error:{status}]]", stream=stream)
    text = str(caught.value)
    assert UPSTREAM_KEY not in text and "127.0.0.1" not in text
    if status == 429 and client in ("chat", "responses", "messages"):
        assert caught.value.response.headers["retry-after"] == "7"


@cells
def test_an_error_as_first_event_is_an_http_error(sdk, client, upstream):
    expected = errors.ServerError if client == "gemini" else (anthropic if client == "messages" else openai).InternalServerError
    with pytest.raises(expected):
        ask(sdk[client], client, model(upstream), "[[first-event-error]]", stream=True)


@cells
@pytest.mark.parametrize("scenario", ["mid-stream-error", "cut", "empty"])
def test_a_broken_stream_never_ends_silently(sdk, client, upstream, scenario):
    failures = (openai.APIError, anthropic.APIError, errors.APIError, RuntimeError)
    with pytest.raises(failures):
        ask(sdk[client], client, model(upstream), f"[[{scenario}]]", stream=True)


@cells
def test_a_client_that_leaves_cancels_the_upstream(sdk, mock_server, client, upstream):
    name = model(upstream)
    text = "[[slow-chunks:300]]"
    if client == "chat":
        stream = sdk[client].chat.completions.create(model=name, messages=[{"role": "user", "content": text}], stream=True)
        next(iter(stream))
        stream.close()
    elif client == "responses":
        stream = sdk[client].responses.create(model=name, input=text, stream=True)
        next(iter(stream))
        stream.close()
    elif client == "messages":
        with sdk[client].messages.stream(model=name, max_tokens=4000, messages=[{"role": "user", "content": text}]) as stream:
            next(iter(stream))
    else:
        stream = sdk[client].models.generate_content_stream(model=name, contents=text)
        next(stream)
        stream.close()
    eventually(lambda: mock_server.requests()[-1]["closed_early"], seconds=2)
