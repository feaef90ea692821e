"""OpenTelemetry with the real binary: what a collector receives, and what it must never receive."""

import http.client
import http.server
import json
import re
import signal
import struct
import threading

import pytest

from conftest import FORMATS, KEY, UPSTREAM_KEY, eventually, free_port
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
    return {pair[1][0].decode(): value_of(pair[2][0]) for pair in below(message, number)}


def value_of(message):
    read = {
        1: lambda v: v.decode(),
        2: bool,
        3: lambda v: v - (1 << 64) if v >> 63 else v,
        4: lambda v: struct.unpack("<d", v)[0],
        5: lambda v: [value_of(item) for item in fields(v).get(1, [])],
    }
    [(kind, [value])] = fields(message).items()
    return read[kind](value)


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
                "state": span.get(3, [b""])[0].decode(),
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
    settings = {"max_tokens": 50, "temperature": 0.5, "top_p": 0.25, "stop": ["end"]}
    body = {"model": "m", "stream": True, **settings, "user": USER, "messages": [{"role": "user", "content": PROMPT}]}
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
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.top_p": 0.25,
        "gen_ai.request.stop_sequences": ["end"],
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
        "gen_ai.response.id": "msg_mock1",
        "gen_ai.response.model": "b",
        "gen_ai.response.finish_reasons": ["end_turn"],
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
    assert all(more["gen_ai.response.model"] == "b" for more, _ in points.values())
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


# By format of the upstream: id of the mock's answers, and its words for an answer that is done and for one that met its limit.
SAYS = {
    "chat": ("chatcmpl-mock1", "stop", "length"),
    "responses": ("resp_mock1", "completed", "max_output_tokens"),
    "messages": ("msg_mock1", "end_turn", "max_tokens"),
    "gemini": ("mockresponse1", "STOP", "MAX_TOKENS"),
}


def channels(mock):
    """One channel for each format; the model `FORMAT` is served by it."""
    said = {"chat": "openai, apis: [chat, embeddings]", "responses": "openai, apis: [responses]", "messages": "anthropic", "gemini": "gemini"}
    row = "  - {{ name: up-{0}, format: {1}, base_url: '{2}', keys: ['{3}'], models: {{ {0}: real-{0} }} }}\n"
    return "channels:\n" + "".join(row.format(name, format, mock.url, UPSTREAM_KEY) for name, format in said.items())


def request_of(client, model, stream, text):
    """Path and body of one request."""
    said = [{"role": "user", "content": text}]
    if client == "gemini":
        method = "streamGenerateContent?alt=sse" if stream else "generateContent"
        return f"/v1beta/models/{model}:{method}", {"contents": [{"role": "user", "parts": [{"text": text}]}]}
    body = {"model": model, "stream": stream}
    return {
        "chat": ("/v1/chat/completions", {**body, "messages": said}),
        "responses": ("/v1/responses", {**body, "input": text}),
        "messages": ("/v1/messages", {**body, "messages": said, "max_tokens": 99}),
    }[client]


def otlp(collector, more=""):
    return f"observability: {{ otlp: {{ endpoint: '{collector.url}'{more} }} }}\n"


def test_spans_say_what_the_answer_said_of_itself_on_every_way(mock_server, serve, collector):  # noqa: F811
    at = serve(channels(mock_server) + KEYS + otlp(collector))
    wanted = {}
    for client in FORMATS:
        for upstream in FORMATS:
            for stream in (False, True):
                for word, text in ((1, "hi"), (2, "[[length]]")):
                    path, body = request_of(client, upstream, stream, text)
                    status, answer, headers = post(at, path, body, BEARER)
                    assert status == 200, answer
                    says = SAYS[upstream]
                    wanted[headers["x-gateway-request-id"]] = (says[0], f"real-{upstream}", [says[word]], client, stream)
    stop(at)
    names = ("gen_ai.response.id", "gen_ai.response.model", "gen_ai.response.finish_reasons", "opm.client.format", "gen_ai.request.stream")
    found = {span["opm.request.id"]: tuple(span.get(name) for name in names) for span in collector.spans() if "opm.request.id" in span}
    assert found == {request: (*says, stream or None) for request, (*says, stream) in wanted.items()}
    assert {more["gen_ai.response.model"] for _, more, _ in collector.points()} == {f"real-{upstream}" for upstream in FORMATS}


def test_a_failed_request_has_nothing_of_an_answer(mock_server, serve, collector):  # noqa: F811
    at = serve("channels:\n" + channel(mock_server, "a", "first-event-error") + channel(mock_server, "b", "error:500") + otlp(collector))
    assert ask(at, stream=True)[0] >= 500
    stop(at)
    assert not any(name.startswith("gen_ai.response.") for span in collector.spans() for name in span)
    assert not any("gen_ai.response.model" in more for _, more, _ in collector.points())


@pytest.mark.parametrize("upstream", ["chat", "messages"])
def test_an_answer_that_broke_off_has_no_reason_to_end(mock_server, serve, collector, upstream):  # noqa: F811
    at = serve(channels(mock_server) + KEYS + otlp(collector))
    assert post(at, *request_of("chat", upstream, True, "[[cut]]"), BEARER)[0] == 200
    stop(at)
    [span] = [span for span in collector.spans() if span["name"].startswith("chat ")]
    assert (span["gen_ai.response.id"], span["gen_ai.response.model"]) == (SAYS[upstream][0], f"real-{upstream}")
    assert "gen_ai.response.finish_reasons" not in span and span["error"]


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_is_read_without_its_client_says_it_too(mock_server, serve, collector, stream):  # noqa: F811
    marker = "[[slow-chunks:100]]" if stream else "[[slow-first-byte:1500]]"
    at = serve("channels:\n" + channel(mock_server, "a", on_client_gone="drain") + otlp(collector))
    mock_server.clear()
    path, body = request_of("chat", "m", stream, marker)
    line = http.client.HTTPConnection("127.0.0.1", int(at.url.rsplit(":", 1)[1]))
    line.request("POST", path, json.dumps(body), {**BEARER, "content-type": "application/json"})
    if stream:
        line.getresponse().read(1)
    eventually(mock_server.requests)
    line.close()
    eventually(lambda: at.metric('opm_client_aborts_total{channel="a"}') == 1, seconds=15)
    stop(at)
    [span] = [span for span in collector.spans() if span["name"] == "chat m"]
    assert (span["http.response.status_code"], span["error.type"]) == (499, "cancelled")
    names = ("gen_ai.response.id", "gen_ai.response.model", "gen_ai.response.finish_reasons")
    assert [span.get(name) for name in names] == ["msg_mock1", "a", ["end_turn"]]


def test_an_endpoint_that_is_passed_through_says_what_answered(mock_server, serve, collector):  # noqa: F811
    at = serve(channels(mock_server) + KEYS + otlp(collector))
    status, answer, _ = post(at, "/v1/embeddings", {"model": "chat", "input": "hi"}, BEARER)
    assert status == 200, answer
    stop(at)
    [span] = [span for span in collector.spans() if span["name"] == "embeddings chat"]
    assert span["gen_ai.response.model"] == "real-chat" and "gen_ai.response.finish_reasons" not in span


def sent(mock):
    """`traceparent` and `tracestate` of the calls that the mock has seen."""
    return [(call["headers"].get("traceparent"), call["headers"].get("tracestate")) for call in mock.requests()]


@pytest.mark.parametrize("upstream", ["chat", "messages"])
def test_the_upstream_is_told_the_span_of_the_try(mock_server, serve, collector, upstream):  # noqa: F811
    at = serve(channels(mock_server) + KEYS + otlp(collector))
    mock_server.clear()
    path, body = request_of("chat", upstream, False, "hi")
    state = {"tracestate": "vendor=1,other=2"}
    for given in ({"traceparent": f"00-{TRACE}-{PARENT}-01", **state}, {"traceparent": f"00-{TRACE}-{PARENT}-00", **state}, state, {"traceparent": "x"}):
        assert post(at, path, body, {**BEARER, **given})[0] == 200
    stop(at)
    goes_on, unsampled, alone, unreadable = sent(mock_server)
    tries = {span["id"]: span for span in collector.spans() if span["name"].startswith("attempt")}
    for (traceparent, tracestate), trace, wanted in [(goes_on, TRACE, "vendor=1,other=2"), (alone, None, None), (unreadable, None, None)]:
        version, id, span, flags = traceparent.split("-")
        assert (version, flags, tracestate) == ("00", "01", wanted)
        assert tries[span]["trace"] == id and (trace is None) == (id != TRACE)
        assert tries[span]["state"] == (wanted or "")
    _, id, span, flags = unsampled[0].split("-")
    assert (id, flags, unsampled[1]) == (TRACE, "00", "vendor=1,other=2") and span not in tries and span != PARENT
    assert len(tries) == 3


def test_each_try_tells_its_own_span(mock_server, serve, collector):  # noqa: F811
    at = serve("channels:\n" + channel(mock_server, "a", "error:500") + channel(mock_server, "b") + "routes: { strategy: failover }\n" + otlp(collector))
    mock_server.clear()
    assert ask(at)[0] == 200
    stop(at)
    spans = collector.spans()
    told = [traceparent.split("-")[1:3] for traceparent, _ in sent(mock_server)]
    assert told == [[span["trace"], span["id"]] for span in spans if span["name"].startswith("attempt")] and len(told) == 2


def test_without_spans_trace_headers_pass_between_equals_and_nothing_is_made_up(mock_server, serve, collector):  # noqa: F811
    given = {"traceparent": f"00-{TRACE}-{PARENT}-01", "tracestate": "vendor=1"}
    for settings in ("", otlp(collector, ", traces: false")):
        at = serve(channels(mock_server) + KEYS + settings)
        mock_server.clear()
        for upstream, headers in (("chat", given), ("messages", given), ("chat", {})):
            assert post(at, *request_of("chat", upstream, False, "hi"), {**BEARER, **headers})[0] == 200
        assert sent(mock_server) == [tuple(given.values()), (None, None), (None, None)]
        stop(at)
