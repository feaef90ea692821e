"""Streams of the old `/v1/completions`: relayed as they come, with the provider's own usage in the ledger."""

import json
import sqlite3
import time
import urllib.request

import openai
import pytest

from conftest import UPSTREAM_KEY, eventually, free_port
from provider import Provider
from test_gateway import BEARER, post
from test_traffic import serve  # noqa: F401  (a fixture)

INPUT, OUTPUT = 100, 20


@pytest.fixture
def at(mock_server, serve, tmp_path):
    made = serve(stored(tmp_path, f"{mock_server.url}/v1"))
    mock_server.clear()
    return made


def stored(tmp_path, url):
    return (
        f"storage: {{ url: 'sqlite:{tmp_path}/opm.db' }}\nadmin: {{ listen: 127.0.0.1:{free_port()} }}\n"
        f"channels:\n  - {{ name: one, format: openai, base_url: '{url}', keys: ['{UPSTREAM_KEY}'], models: {{ 'm*': 'up*' }} }}\n"
        "users: { limits: { tpm: 100000 } }\n"
    )


def ask(at, prompt="hi", model="m", **more):
    return post(at, "/v1/completions", {"model": model, "prompt": prompt, "stream": True, "max_tokens": 50, **more}, BEARER)


def chunks(text):
    events = [event.removeprefix("data: ") for event in text.strip().split("\n\n")]
    assert events[-1] == "[DONE]"
    return [json.loads(event) for event in events[:-1]]


def row(tmp_path):
    def rows():
        found = sqlite3.connect(tmp_path / "opm.db", timeout=10)
        found.row_factory = sqlite3.Row
        with found:
            return [dict(row) for row in found.execute("SELECT * FROM opm_usage")]

    (found,) = eventually(rows)
    return found


def is_settled(found):
    return (found["input"], found["output"], found["estimated"], found["source"]) == (INPUT, OUTPUT, 0, "reported")


@pytest.mark.parametrize("options", [{}, {"stream_options": {"include_usage": False}}, {"stream_options": None}])
def test_usage_that_the_client_did_not_ask_for_is_for_the_ledger_alone(at, mock_server, tmp_path, options):
    status, text, headers = ask(at, **options)
    assert status == 200 and headers["content-type"].startswith("text/event-stream"), text
    assert "usage" not in text and all(chunk["choices"] for chunk in chunks(text))
    assert "".join(chunk["choices"][0]["text"] for chunk in chunks(text)) == "You said: hi (images: 0)"
    assert chunks(text)[-1]["choices"][0]["finish_reason"] == "stop"
    (sent,) = mock_server.requests()
    assert sent["body"] == {"model": "up", "prompt": "hi", "stream": True, "max_tokens": 50, "stream_options": {"include_usage": True}}
    assert is_settled(row(tmp_path)), row(tmp_path)


def test_usage_that_the_client_asked_for_is_relayed_byte_for_byte(at, mock_server, tmp_path):
    options = {"stream_options": {"include_usage": True}}
    status, text, _ = ask(at, **options)
    body = {"model": "up", "prompt": "hi", "stream": True, **options}
    request = urllib.request.Request(f"{mock_server.url}/v1/completions", json.dumps(body).encode(), {"authorization": "Bearer x"})
    assert status == 200 and text == urllib.request.urlopen(request, timeout=5).read().decode()
    assert chunks(text)[-1]["usage"]["completion_tokens"] == OUTPUT
    assert is_settled(row(tmp_path))


def test_the_official_client_reads_it_as_it_comes(at):
    client = openai.OpenAI(base_url=f"{at.url}/v1", api_key=UPSTREAM_KEY, max_retries=0)
    began, times, said = time.monotonic(), [], ""
    for chunk in client.completions.create(model="m", prompt="[[slow-chunks:100]]", stream=True):
        times.append(time.monotonic() - began)
        said += chunk.choices[0].text
    assert said == "one two three four five six seven eight nine ten"
    assert times[0] < 0.6 * times[-1] and times[-1] > 0.6, times


def test_a_broken_stream_ends_in_an_error_and_what_was_seen_is_counted(at, tmp_path):
    status, text, _ = ask(at, "[[cut]]")
    assert status == 200 and "[DONE]" not in text
    assert "error" in json.loads(text.strip().split("\n\n")[-1].removeprefix("data: "))
    found = row(tmp_path)
    assert found["estimated"] == 1 and 0 < found["output"] < OUTPUT, found


def test_an_error_before_the_first_word_is_an_error_answer(at):
    status, text, _ = ask(at, "[[first-event-error]]")
    assert status >= 500 and "error" in json.loads(text)


def test_a_provider_that_does_not_stream_is_relayed_whole(serve, tmp_path):
    provider = Provider()
    at = serve(stored(tmp_path, provider.url))
    status, text, headers = ask(at, "hi out=7")
    assert status == 200 and headers["content-type"].startswith("application/json")
    assert json.loads(text)["choices"][0]["text"] == "word " * 7
    found = row(tmp_path)
    assert (found["input"], found["output"], found["estimated"]) == (2, 7, 0)
    provider.close()
