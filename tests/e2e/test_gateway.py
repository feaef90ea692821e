"""What is not about a pair of formats: the user's own examples, failover, bad input, limits, metrics, shutdown."""

import asyncio
import gzip
import http.client
import json
import signal
import socket
import subprocess
import urllib.error
import urllib.request

import anthropic
import openai
import pytest

from conftest import BINARY, KEY, UPSTREAM_KEY, eventually, free_port, wait_for, write_config
from sdk import ask, clients


def lower(headers):
    """Names of headers have no case."""
    return {name.lower(): value for name, value in headers.items()}


def post(gateway, path, body, headers=None, raw=None):
    data = raw if raw is not None else json.dumps(body).encode()
    request = urllib.request.Request(gateway.url + path, data=data, headers={"content-type": "application/json", **(headers or {})})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode(), lower(answer.headers)
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(), lower(error.headers)


BEARER = {"authorization": f"Bearer {KEY}"}


def test_curl_chat_stream(gateway):
    body = {"model": "gpt-4", "messages": [{"role": "user", "content": "Hello"}], "stream": True}
    status, text, headers = post(gateway, "/v1/chat/completions", body, BEARER)
    assert status == 200 and headers["content-type"].startswith("text/event-stream")
    assert text.endswith("data: [DONE]\n\n") and "usage" not in text


def test_curl_messages(gateway):
    body = {"model": "claude-3", "max_tokens": 100, "messages": [{"role": "user", "content": "Hello"}]}
    status, text, _ = post(gateway, "/v1/messages", body, {"x-api-key": KEY, "anthropic-version": "2023-06-01"})
    assert status == 200 and json.loads(text)["type"] == "message"


def test_curl_gemini(gateway):
    body = {"contents": [{"parts": [{"text": "Hello"}]}]}
    status, text, _ = post(gateway, "/v1beta/models/gemini-pro:generateContent", body, {"x-goog-api-key": KEY})
    assert status == 200 and json.loads(text)["candidates"][0]["finishReason"] == "STOP"
    status, text, _ = post(gateway, f"/v1/models/gemini-pro:generateContent?key={KEY}", body)
    assert status == 200


def test_openai_sdk_without_v1_in_the_base_url(gateway):
    client = openai.OpenAI(base_url=gateway.url, api_key=KEY, default_headers={"user": "user1"}, max_retries=0)
    answer = client.chat.completions.create(model="gpt-4", messages=[{"role": "user", "content": "Hello"}])
    assert answer.choices[0].message.content == "You said: Hello (images: 0)"


def test_async_clients(gateway):
    async def run():
        client = openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, max_retries=0)
        other = anthropic.AsyncAnthropic(base_url=gateway.url, api_key=KEY, max_retries=0)
        calls = [client.chat.completions.create(model="messages/m", messages=[{"role": "user", "content": f"n{n}"}]) for n in range(20)]
        calls += [other.messages.create(model="chat/m", max_tokens=9, messages=[{"role": "user", "content": f"n{n}"}]) for n in range(20)]
        answers = await asyncio.gather(*calls)
        return [a.choices[0].message.content for a in answers[:20]] + [a.content[0].text for a in answers[20:]]

    expected = [f"You said: n{n} (images: 0)" for n in range(20)]
    assert asyncio.run(run()) == expected * 2


def test_failover_across_formats_before_the_first_byte(gateway, mock_server):
    client = clients(gateway.url)["chat"]
    for stream in (False, True):
        answer = ask(client, "chat", "failover/m", "Hello", stream=stream)
        assert answer.text == "You said: Hello (images: 0)"
    assert mock_server.requests()[-1]["path"] == "/v1/messages"


def test_model_lists_take_the_callers_shape(gateway):
    assert "gpt-4" not in [m.id for m in clients(gateway.url)["chat"].models.list()]
    request = urllib.request.Request(f"{gateway.url}/v1/models", headers={"x-goog-api-key": KEY})
    assert "models" in json.load(urllib.request.urlopen(request))
    request = urllib.request.Request(f"{gateway.url}/v1/models", headers={"x-api-key": KEY, "anthropic-version": "2023-06-01"})
    assert json.load(urllib.request.urlopen(request))["has_more"] is False


CASES = [
    ("/v1/chat/completions", "{broken", 400, "error"),
    ("/v1/chat/completions", {"messages": []}, 400, "/model"),
    ("/v1/chat/completions", {"model": "nobody", "messages": [{"role": "user", "content": "x"}]}, 404, "nobody"),
    ("/v1/chat/completions", {"model": "messages/m", "messages": [{"role": "wizard", "content": "x"}]}, 400, "/messages/0/role"),
    ("/v1/chat/completions", {"model": "messages/m", "max_tokens": -5, "messages": [{"role": "user", "content": "x"}]}, 400, "/max_tokens"),
    ("/v1/messages", {"model": "chat/m", "max_tokens": 1.5, "messages": [{"role": "user", "content": "x"}]}, 400, "/max_tokens"),
    ("/v1/chat/completions", {"model": "messages/m", "messages": [{"role": "tool", "tool_call_id": "c1", "content": "x"}]}, 400, "/messages/0"),
    ("/v1/chat/completions", {"model": "gemini/m", "messages": [{"role": "user", "content": [{"type": "hologram"}]}]}, 400, "hologram|content"),
    ("/v1/messages", {"model": "chat/m", "messages": [{"role": "user", "content": "x"}]}, 400, "/max_tokens"),
    ("/v1/responses", {"model": "chat/m", "input": "x", "previous_response_id": "r"}, 400, "previous_response_id"),
    ("/v1beta/models/chat%2Fm:generateContent", {}, 400, "/contents"),
    ("/v1/unknown/path", {"x": 1}, 404, "Unknown path"),
]


@pytest.mark.parametrize("path,body,status,said", CASES)
def test_bad_input_says_what_and_where(gateway, path, body, status, said):
    raw = body.encode() if isinstance(body, str) else None
    got, text, headers = post(gateway, path, body, BEARER, raw)
    assert got == status, text
    assert any(word in text for word in said.split("|")), text
    assert headers["x-should-retry"] == "false"
    error = json.loads(text)
    assert ("type" in error) == path.endswith("/messages")


def test_too_deep_too_large_and_wrong_key(gateway):
    deep = b'{"model":"messages/m","messages":' + b"[" * 5000 + b"]" * 5000 + b"}"
    assert post(gateway, "/v1/chat/completions", None, BEARER, deep)[0] == 400
    large = b'{"model":"messages/m","messages":"' + b"x" * (33 << 20) + b'"}'
    status, text, _ = post(gateway, "/v1/messages", None, BEARER, large)
    assert status == 413 and json.loads(text)["error"]["type"] == "request_too_large"
    for headers in ({}, {"authorization": "Bearer wrong-wrong-wrong-wrong"}, {"x-api-key": "wrong-wrong-wrong-wrong"}):
        status, text, _ = post(gateway, "/v1/messages", {"model": "m"}, headers)
        assert status == 401 and json.loads(text)["error"]["type"] == "authentication_error"


def test_large_and_compressed_bodies(gateway, mock_server):
    body = {"model": "messages/m", "messages": [{"role": "user", "content": "x" * 5_000_000}]}
    status, text, _ = post(gateway, "/v1/chat/completions", body, BEARER)
    assert status == 200 and len(json.loads(text)["choices"][0]["message"]["content"]) > 5_000_000
    small = json.dumps({"model": "messages/m", "messages": [{"role": "user", "content": "packed"}]}).encode()
    headers = {**BEARER, "content-encoding": "gzip"}
    status, text, _ = post(gateway, "/v1/chat/completions", None, headers, gzip.compress(small))
    assert status == 200 and "packed" in text
    bomb = gzip.compress(b'{"model":"' + b"0" * (200 << 20) + b'"}')
    assert post(gateway, "/v1/chat/completions", None, headers, bomb)[0] == 413
    assert post(gateway, "/v1/chat/completions", None, {**BEARER, "content-encoding": "snappy"}, b"x")[0] == 415


def test_nothing_of_the_upstream_leaks(gateway):
    for path, body in (
        ("/v1/chat/completions", {"model": "chat/m", "messages": [{"role": "user", "content": "x"}]}),
        ("/v1/chat/completions", {"model": "messages/m", "messages": [{"role": "user", "content": "x"}]}),
    ):
        _, text, headers = post(gateway, path, body, BEARER)
        names = {name.lower() for name in headers}
        assert not names & {"set-cookie", "openai-organization"}
        assert UPSTREAM_KEY not in text + json.dumps(headers)


def test_ambiguous_framing_is_refused(gateway):
    port = int(gateway.url.rsplit(":", 1)[1])
    for head in (
        b"POST /v1/messages HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/messages HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/messages HTTP/1.1\r\nHost: a/admin?x=\r\nContent-Length: 0\r\n\r\n",
        b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            client.sendall(head)
            assert client.recv(64).startswith(b"HTTP/1.1 400"), head


def test_a_stale_kept_connection_and_pipelines_of_requests(gateway):
    connection = http.client.HTTPConnection(gateway.url.removeprefix("http://"), timeout=10)
    body = json.dumps({"model": "messages/m", "messages": [{"role": "user", "content": "x"}]})
    for _ in range(50):
        connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json", **BEARER})
        answer = connection.getresponse()
        assert answer.status == 200 and b"You said" in answer.read()


def test_gemini_without_sse_is_one_json_array(gateway):
    body = {"contents": [{"parts": [{"text": "Hello"}]}]}
    headers = {"x-goog-api-key": KEY}
    for upstream in ("chat", "responses", "messages", "gemini"):
        status, text, got = post(gateway, f"/v1beta/models/{upstream}%2Fm:streamGenerateContent", body, headers)
        assert status == 200 and got["content-type"].startswith("application/json"), text
        chunks = json.loads(text)
        assert "".join(p.get("text", "") for c in chunks for p in c["candidates"][0]["content"]["parts"]) == "You said: Hello (images: 0)"
    status, text, _ = post(gateway, "/v1beta/models/chat%2Fm:streamGenerateContent", {"contents": [{"parts": [{"text": "[[cut]]"}]}]}, headers)
    assert "error" in json.loads(text)[-1]


def test_tokens_are_counted_or_estimated(gateway):
    body = {"messages": [{"role": "user", "content": "some words to count"}]}
    status, text, headers = post(gateway, "/v1/messages/count_tokens", {"model": "messages/m", **body}, BEARER)
    assert status == 200 and json.loads(text)["input_tokens"] == 42
    status, text, headers = post(gateway, "/v1/messages/count_tokens", {"model": "chat/m", **body}, BEARER)
    assert status == 200 and json.loads(text)["input_tokens"] > 3 and headers["x-gateway-token-count"] == "estimated"
    # OpenAI's newer models have a public vocabulary: three tokens and a role, two words, three for the answer.
    exact = {"model": "chat/gpt-5", "messages": [{"role": "user", "content": "hello world"}]}
    status, text, headers = post(gateway, "/v1/messages/count_tokens", exact, BEARER)
    assert status == 200 and json.loads(text)["input_tokens"] == 9 and headers["x-gateway-token-count"] == "estimated"
    # An OpenAI host that has no such endpoint answers 404: counted here. A model that it does not know stays its answer.
    for path, asked in (("/v1/messages/count_tokens", body), ("/v1/responses/input_tokens", {"input": "some words to count"})):
        status, text, headers = post(gateway, path, {"model": "responses/m", **asked}, BEARER)
        assert status == 200 and json.loads(text)["input_tokens"] > 3 and headers["x-gateway-token-count"] == "estimated", text
    contents = {"contents": [{"parts": [{"text": "some words to count"}]}]}
    for name, wanted in (("gemini", lambda n: n == 42), ("messages", lambda n: n > 3)):
        status, text, _ = post(gateway, f"/v1beta/models/{name}%2Fm:countTokens", contents, BEARER)
        assert status == 200 and wanted(json.loads(text)["totalTokens"]), text


def test_metrics_name_what_happened(gateway):
    post(gateway, "/v1/chat/completions", {"model": "messages/m", "messages": [{"role": "user", "content": "x"}]}, BEARER)
    text = eventually(lambda: urllib.request.urlopen(gateway.metrics_url).read().decode())
    for name in ("http_requests_total", "http_request_duration_seconds_bucket", "token_usage_total", "opm_overhead_seconds_bucket", "opm_streams_open 0"):
        assert name in text, name
    assert 'channel="up-messages"' in text


def test_sigterm_lets_streams_finish_and_leaves(mock_server, tmp_path):
    port, metrics_port = free_port(), free_port()
    config = tmp_path / "opm.yaml"
    write_config(config, port, metrics_port, mock_server.url, free_port())
    process = subprocess.Popen([BINARY, "serve", "-c", config], stderr=subprocess.DEVNULL)
    try:
        wait_for(f"http://127.0.0.1:{port}/readyz")
        client = clients(f"http://127.0.0.1:{port}")["chat"]
        messages = [{"role": "user", "content": "[[slow-chunks:100]]"}]
        stream = client.chat.completions.create(model="messages/m", messages=messages, stream=True)
        parts = [next(stream)]
        process.send_signal(signal.SIGTERM)
        parts += list(stream)
        text = "".join(part.choices[0].delta.content or "" for part in parts if part.choices)
        assert text.endswith("nine ten")
        assert process.wait(timeout=5) == 0
    finally:
        process.kill()


def test_check_shows_every_mistake_with_its_place(tmp_path):
    config = tmp_path / "opm.yaml"
    config.write_text("""version: 1
serve: {}
channels:
  - name: openai-eu
    format: opanai
    keys: ["${NOT_SET_ANYWHERE}"]
  - { name: b, format: anthropic, base_url: 'ftp://x' }
keys:
  - { name: k, key: short, channels: [opnai-eu] }
""")
    found = subprocess.run([BINARY, "check", "-c", config], capture_output=True, text=True)
    assert found.returncode == 78
    for said in ("E002", "E004", "E009", "E007", "E011", f"{config}:2:1", "did you mean `server`?", "did you mean `openai`?"):
        assert said in found.stderr, (said, found.stderr)
    found = subprocess.run([BINARY, "check", "-c", config, "--format", "json"], capture_output=True, text=True)
    assert found.returncode == 78 and json.loads(found.stdout)["valid"] is False
