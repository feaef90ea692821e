"""OpenTelemetry with the real binary: what a collector receives, and what it must never receive."""

import http.server
import re
import signal
import struct
import threading

import pytest

from conftest import KEY, eventually, free_port
from test_gateway import BEARER, post
from test_traffic import ask, channel, serve  # noqa: F401  (a fixture)

PROMPT = "a prompt that must stay here 4711"
USER = "user-who-must-stay-here"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
KEYS = f"keys:\n  - {{ name: tests, key: '{KEY}' }}\n"


def fields(data):
    """One protobuf message: number -> values; numbers stay numbers, everything else bytes."""
    found, at = {}, 0

    def varint():
        nonlocal at
        value, shift = 0, 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        tag = varint()
        kind = tag & 7
        if kind == 0:
            value = varint()
        else:
            size = {1: 8, 5: 4}.get(kind) or varint()
            value = data[at : at + size]
            at += size
        found.setdefault(tag >> 3, []).append(value)
    return found


def below(message, *path):
    """All messages behind a path of field numbers."""
    messages = [message]
    for number in path:
        messages = [fields(inner) for outer in messages for inner in outer.get(number, [])]
    return messages


def attributes(message, number):
    read = {1: lambda v: v.decode(), 2: bool, 3: lambda v: v - (1 << 64) if v >> 63 else v, 4: lambda v: struct.unpack("<d", v)[0]}
    pairs = {}
    for pair in below(message, number):
        [(kind, [value])] = fields(pair[2][0]).items()
        pairs[pair[1][0].decode()] = read[kind](value)
    return pairs


class Collector:
    def __init__(self):
        self.requests = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.requests.append((self.path, dict(self.headers), body))
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def spans(self):
        bodies = [body for path, _, body in self.requests if path.endswith("/v1/traces")]
        return [
            {
                "name": span[5][0].decode(),
                "kind": span[6][0],
                "trace": span[1][0].hex(),
                "id": span[2][0].hex(),
                "parent": span.get(4, [b""])[0].hex(),
                "seconds": (int.from_bytes(span[8][0], "little") - int.from_bytes(span[7][0], "little")) / 1e9,
                "error": below(span, 15)[0].get(3) == [2] if 15 in span else False,
                **attributes(span, 9),
            }
            for body in bodies
            for span in below(fields(body), 1, 2, 2)
        ]

    def points(self):
        """Name of the histogram, attributes and count of each of its points."""
        bodies = [body for path, _, body in self.requests if path.endswith("/v1/metrics")]
        return [
            (metric[1][0].decode(), attributes(point, 9), int.from_bytes(point[4][0], "little"))
            for body in bodies
            for metric in below(fields(body), 1, 2, 2)
            for point in below(metric, 9, 1)
        ]


@pytest.fixture
def collector():
    running = Collector()
    yield running
    running.server.shutdown()
    running.server.server_close()


def stop(at):
    at.process.send_signal(signal.SIGTERM)
    assert at.process.wait(timeout=20) == 0


def test_a_streamed_request_with_a_failover_is_one_trace_without_any_content(mock_server, serve, collector):  # noqa: F811
    at = serve(
        "channels:\n" + channel(mock_server, "a", "error:500") + channel(mock_server, "b") + "routes: { strategy: failover }\n" + KEYS
        + f"observability: {{ otlp: {{ endpoint: '{collector.url}/otlp', headers: {{ x-token: 'collector-token' }}, service_name: gw }} }}\n"
    )
    body = {"model": "m", "stream": True, "max_tokens": 50, "user": USER, "messages": [{"role": "user", "content": PROMPT}]}
    headers = {**BEARER, "traceparent": f"00-{TRACE}-{PARENT}-01", "user": USER}
    status, text, answered = post(at, "/v1/chat/completions", body, headers)
    # The mock repeats the prompt: neither on its way there nor back may it show up at the collector.
    assert status == 200 and PROMPT in "".join(re.findall(r'"content":"([^"]*)"', text))
    stop(at)

    assert {path for path, _, _ in collector.requests} == {"/otlp/v1/traces", "/otlp/v1/metrics"}
    assert {sent["x-token"] for _, sent, _ in collector.requests} == {"collector-token"}
    whole, first, second = collector.spans()
    assert (whole["name"], whole["kind"], whole["trace"], whole["parent"]) == ("chat m", 3, TRACE, PARENT)
    wanted = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "m",
        "gen_ai.request.stream": True,
        "gen_ai.request.max_tokens": 50,
        "http.response.status_code": 200,
        "server.address": "127.0.0.1",
        "server.port": int(mock_server.url.rsplit(":", 1)[1]),
        "opm.api": "chat_completions",
        "opm.channel": "b",
        "opm.client.format": "chat",
        "opm.upstream.format": "messages",
        "opm.upstream.model": "b",
        "opm.key.name": "tests",
        "opm.attempts": 2,
        "opm.request.id": answered["x-gateway-request-id"],
    }
    assert {name: whole.get(name) for name in wanted} == wanted
    assert whole["gen_ai.usage.input_tokens"] > 0 and whole["gen_ai.usage.output_tokens"] > 0
    assert 0 < whole["gen_ai.response.time_to_first_chunk"] <= whole["seconds"] and not whole["error"]
    assert [(span["name"], span["trace"], span["parent"]) for span in (first, second)] == [
        ("attempt a", TRACE, whole["id"]),
        ("attempt b", TRACE, whole["id"]),
    ]
    assert (first["error.type"], first["http.response.status_code"], first["error"]) == ("server_error", 500, True)
    assert "error.type" not in second and second["seconds"] <= whole["seconds"]

    points = {(name, more.get("gen_ai.token.type")): (more, count) for name, more, count in collector.points()}
    assert set(points) == {
        ("gen_ai.client.operation.duration", None),
        ("gen_ai.client.operation.time_to_first_chunk", None),
        ("gen_ai.client.token.usage", "input"),
        ("gen_ai.client.token.usage", "output"),
        ("gen_ai.server.time_per_output_token", None),
    }
    assert all(count == 1 and more["gen_ai.request.model"] == "m" for more, count in points.values())
    for secret in [PROMPT, USER, KEY, "sk-a-0123456789", "sk-b-0123456789", "must stay", "4711"]:
        assert not any(secret.encode() in body for _, _, body in collector.requests), secret


def test_a_model_that_nobody_configured_is_no_label_and_refusals_are_spans(mock_server, serve, collector):  # noqa: F811
    at = serve(
        "channels:\n" + channel(mock_server, "a"),
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
        OTEL_SERVICE_NAME="from-the-environment",
    )
    assert post(at, "/v1/chat/completions", {"model": "made-up", "messages": [{"role": "user", "content": PROMPT}]}, BEARER)[0] == 404
    assert post(at, "/v1/models", None, BEARER, raw=b"")[0] == 405
    stop(at)
    [span] = collector.spans()
    assert (span["name"], span["error.type"], span["opm.attempts"]) == ("chat made-up", "model_not_found", 0)
    [(name, more, count)] = collector.points()
    assert (name, count) == ("gen_ai.client.operation.duration", 1)
    assert (more["gen_ai.request.model"], more["error.type"]) == ("other", "model_not_found")
    assert any(b"from-the-environment" in body for _, _, body in collector.requests)


def test_a_caller_that_does_not_sample_gets_no_spans(mock_server, serve, collector):  # noqa: F811
    at = serve("channels:\n" + channel(mock_server, "a") + f"observability: {{ otlp: {{ endpoint: '{collector.url}', metrics: false }} }}\n")
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    assert post(at, "/v1/chat/completions", body, {**BEARER, "traceparent": f"00-{TRACE}-{PARENT}-00"})[0] == 200
    assert post(at, "/v1/chat/completions", body, BEARER)[0] == 200
    stop(at)
    assert [span["trace"] != TRACE for span in collector.spans() if span["name"] == "chat m"] == [True]
    assert {path for path, _, _ in collector.requests} == {"/v1/traces"}


def test_an_absent_collector_costs_nothing_but_a_count_and_a_line(mock_server, serve):  # noqa: F811
    at = serve("channels:\n" + channel(mock_server, "a") + f"observability: {{ otlp: {{ endpoint: 'http://127.0.0.1:{free_port()}' }} }}\n")
    assert [ask(at)[0] for _ in range(3)] == [200, 200, 200]
    eventually(lambda: at.metric("opm_otel_dropped_total") == 3, seconds=20)
    assert at.log().count("does not take what is sent") == 1
    stop(at)
