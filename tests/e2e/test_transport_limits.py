"""What clients and upstreams do wrong on the wire, and what a stop or an upgrade does to what runs."""

import concurrent.futures
import gzip
import http.client
import json
import random
import resource
import signal
import socket
import ssl
import subprocess
import threading
import time
import zlib

import h2.config
import h2.connection
import h2.errors
import h2.events
import pytest
import trustme

from conftest import BINARY, KEY, UPSTREAM_KEY, eventually, free_port, wait_for, write_config
from test_gateway import BEARER, post
from test_transport import At, ask, started  # noqa: F401 (a fixture)

CHAT = {"model": "chat/m", "messages": [{"role": "user", "content": "hi"}]}
ANSWER = json.dumps(
    {
        "id": "a", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
    }
).encode()
OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(ANSWER) + ANSWER


def raw(gateway, data, seconds=5):
    """Sends bytes; everything that comes until the gateway closes."""
    port = int(gateway.url.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        connection.sendall(data)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        return answer.decode("latin1")


def head(path="/v1/chat/completions", extra="", method="POST"):
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n{extra}\r\n".encode()


def one_channel(port, metrics_port, url):
    return f"""version: 1
server: {{ listen: 127.0.0.1:{port} }}
metrics: {{ listen: 127.0.0.1:{metrics_port} }}
channels:
  - {{ name: a, format: openai, apis: [chat], base_url: '{url}/v1', keys: ['{UPSTREAM_KEY}'], models: {{ 'chat/*': '*' }} }}
keys:
  - {{ name: tests, key: '{KEY}' }}
"""


def serve(handle):
    """A server that gives each connection to `handle` in a thread; its URL."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)

    def guarded(connection):
        with connection:
            try:
                handle(connection)
            except OSError:
                pass

    def accept():
        while True:
            connection, _ = listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=guarded, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


def read_request(connection, buffer=b""):
    """Head and body of one request and what stands behind it; None at the end."""
    while b"\r\n\r\n" not in buffer:
        piece = connection.recv(65536)
        if not piece:
            return None
        buffer += piece
    top, _, rest = buffer.partition(b"\r\n\r\n")
    length = int(top.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
    while len(rest) < length:
        piece = connection.recv(65536)
        if not piece:
            return None
        rest += piece
    return top, rest[:length], rest[length:]


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()


def gateway_before(started, url, env=None):
    port, metrics_port = free_port(), free_port()
    process, _ = started(one_channel(port, metrics_port, url), env, ready=f"http://127.0.0.1:{port}/readyz")
    gateway = At(port)
    gateway.process = process
    return gateway


def test_a_silent_connection_is_closed_after_ten_seconds(gateway):
    began = time.monotonic()
    assert raw(gateway, b"", 20) == ""
    assert raw(gateway, b"GET / HT", 20) == ""
    assert 19 < time.monotonic() - began < 24


@pytest.mark.parametrize(
    "head_of, wanted",
    [
        ({"path": "/v1/chat/completions"}, ['"type":"invalid_request_error"', "x-request-id: req_"]),
        ({"path": "/v1/messages"}, ['"type":"error"', "request-id: req_"]),
        ({"path": "/v1beta/models/g:generateContent"}, ['"status":"INVALID_ARGUMENT"', "x-request-id: req_"]),
    ],
)
def test_a_malformed_head_is_refused_in_the_callers_format(gateway, head_of, wanted):
    for extra in ("X-A: b\nX-C: d\r\n", "Content-Length: 1, 1\r\n", "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n"):
        text = raw(gateway, head(extra=extra, **head_of))
        assert text.startswith("HTTP/1.1 400 "), text
        for part in [*wanted, "x-should-retry: false", "x-gateway-request-id: req_", "Connection: close"]:
            assert part in text, (part, text)


def test_a_head_that_cannot_be_read_gets_an_answer_with_our_request_id(gateway):
    for data in (b"GARBAGE\r\n\r\n", head(extra="X\0A: b\r\n")):
        text = raw(gateway, data)
        assert text.startswith("HTTP/1.1 400 ") and '"type":"invalid_request_error"' in text, text
        assert "x-gateway-request-id: req_" in text and "x-should-retry: false" in text and "Connection: close" in text, text


@pytest.mark.parametrize("target", ["*", "v1/chat/completions", "/v1/chat/completions#f"])
def test_a_strange_target_is_refused(gateway, target):
    body = json.dumps(CHAT).encode()
    text = raw(gateway, head(target, f"Content-Length: {len(body)}\r\n") + body)
    assert text.startswith("HTTP/1.1 400 ") and "request target" in text, text


@pytest.mark.parametrize("body", ["zz\r\n", "-5\r\n", "5;a\nb\r\nhello\r\n0\r\n\r\n", "5\r\nhelloXX", " 5\r\nhello\r\n0\r\n\r\n", "f" * 17 + "\r\n"])
def test_malformed_chunks_are_answered_at_once(gateway, body):
    began = time.monotonic()
    text = raw(gateway, head("/v1/messages", "Transfer-Encoding: chunked\r\n") + body.encode())
    assert text.startswith("HTTP/1.1 400 ") and '"type":"error"' in text and "chunked" in text, text
    assert time.monotonic() - began < 2


def test_a_wrong_method_is_told_the_right_one(gateway):
    for path, wanted in (("/v1/chat/completions", "allow: POST, OPTIONS"), ("/v1/models", "allow: GET, HEAD, OPTIONS")):
        text = raw(gateway, head(path, "Connection: close\r\n", "DELETE"))
        assert text.startswith("HTTP/1.1 405 ") and wanted in text, text
        text = raw(gateway, head(path, "Connection: close\r\n", "OPTIONS"))
        assert text.startswith("HTTP/1.1 204 ") and wanted in text, text
        assert text.endswith("\r\n\r\n") and "content-length" not in text, text


def test_content_codings_as_they_are_sent(gateway):
    body = json.dumps(CHAT).encode()
    bare = zlib.compressobj(wbits=-15)
    for coding, data in (
        ("deflate", bare.compress(body) + bare.flush()),
        ("deflate", zlib.compress(body)),
        ("gzip", gzip.compress(body[:20]) + gzip.compress(body[20:])),
    ):
        status, text, _ = post(gateway, "/v1/chat/completions", None, {**BEARER, "content-encoding": coding}, data)
        assert status == 200, text
    twice = zlib.compress(gzip.compress(body))
    lines = f"Content-Encoding: gzip\r\nContent-Encoding: deflate\r\nContent-Length: {len(twice)}\r\nConnection: close\r\n"
    assert raw(gateway, head(extra=lines) + twice).startswith("HTTP/1.1 200 ")
    status, _, headers = post(gateway, "/v1/chat/completions", None, {**BEARER, "content-encoding": "snappy"}, body)
    assert status == 415 and headers["accept-encoding"] == "gzip, zstd, br, deflate"


@pytest.mark.parametrize("closes", [True, False])
def test_an_upstream_that_refuses_a_large_body_early_is_heard(started, closes):
    def handle(connection):
        while b"\r\n\r\n" not in connection.recv(4096):
            pass
        text = b'{"error":{"message":"too big for me","type":"invalid_request_error"}}'
        connection.sendall(b"HTTP/1.1 413 Content Too Large\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(text) + text)
        if not closes:
            # Reads no more, until the other side leaves.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            waiting.wait(20)

    waiting = threading.Event()
    gateway = gateway_before(started, serve(handle))
    large = {**CHAT, "messages": [{"role": "user", "content": "x" * 20_000_000}]}
    for _ in range(5):
        status, text, _ = post(gateway, "/v1/chat/completions", large, BEARER)
        assert status == 413 and "too big for me" in text, text
    waiting.set()


def test_upstreams_that_close_idle_connections_cost_nobody_a_request(started):
    choose = random.Random(7)
    fates = {"kept": 0, "closed": 0, "reset": 0, "half": 0}

    def handle(connection):
        buffer, served = b"", 0
        while True:
            fate = choose.choice(["kept", "kept", "closed", "reset", "half"]) if served else "kept"
            if fate == "half":
                # Gone in the middle of a request on a connection that was used before.
                if not connection.recv(40):
                    return
                fates[fate] += 1
                return reset(connection)
            found = read_request(connection, buffer)
            if found is None:
                return
            fates[fate] += 1
            if fate == "reset":
                return reset(connection)
            buffer, served = found[2], served + 1
            connection.sendall(OK)
            if fate == "closed":
                return

    gateway = gateway_before(started, serve(handle))
    port = int(gateway.url.rsplit(":", 1)[1])
    bodies = [json.dumps({**CHAT, "messages": [{"role": "user", "content": "x" * size}]}) for size in (10, 5_000, 200_000)]

    def ask_often(worker):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        statuses = []
        for turn in range(500):
            connection.request("POST", "/v1/chat/completions", bodies[(worker + turn) % 3 if turn % 10 == 0 else 0], BEARER)
            answer = connection.getresponse()
            statuses.append((answer.status, answer.read() == ANSWER))
        return statuses

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        statuses = [status for found in pool.map(ask_often, range(4)) for status in found]
    assert statuses == [(200, True)] * 2000
    assert min(fates.values()) > 50, fates


def http2_upstream(authority, refuse):
    """An HTTP/2 upstream behind TLS. `refuse` says what becomes of the n-th request of all; its port and connections."""
    count = iter(range(1_000_000))
    connections = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    context.set_alpn_protocols(["h2"])

    def handle(plain):
        connection = context.wrap_socket(plain, server_side=True)
        server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        server.initiate_connection()
        connection.sendall(server.data_to_send())
        connections.append(connection)
        while data := connection.recv(65536):
            for event in server.receive_data(data):
                if isinstance(event, h2.events.DataReceived):
                    server.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                if not isinstance(event, h2.events.StreamEnded):
                    continue
                fate = refuse(next(count))
                if fate == "refused":
                    server.reset_stream(event.stream_id, h2.errors.ErrorCodes.REFUSED_STREAM)
                elif fate == "goaway":
                    server.close_connection(last_stream_id=max(event.stream_id - 2, 0))
                    connection.sendall(server.data_to_send())
                    return
                else:
                    server.send_headers(event.stream_id, [(":status", "200"), ("content-type", "application/json")])
                    server.send_data(event.stream_id, ANSWER, end_stream=True)
            connection.sendall(server.data_to_send())

    return int(serve(handle).rsplit(":", 1)[1]), connections


@pytest.mark.parametrize("fate", ["refused", "goaway"])
def test_http2_upstreams_that_did_nothing_are_asked_again(started, tmp_path, fate):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    upstream, connections = http2_upstream(authority, lambda number: fate if number % 3 == 1 else "answered")
    env = {"SSL_CERT_FILE": str(tmp_path / "ca.pem")}
    gateway = gateway_before(started, f"https://localhost:{upstream}", env=env)
    for _ in range(20):
        status, text, _ = post(gateway, "/v1/chat/completions", CHAT, BEARER)
        assert status == 200 and "hello" in text, text
    assert len(connections) > 1


def slow_upstream(seconds):
    """Streams: one event at once, the others after `seconds`."""

    def handle(connection):
        while read_request(connection):
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")

            def event(delta, finish="null"):
                text = f'data: {{"id":"a","object":"chat.completion.chunk","created":1,"model":"m","choices":[{{"index":0,"delta":{delta},"finish_reason":{finish}}}]}}\n\n'
                connection.sendall(f"{len(text):x}\r\n{text}\r\n".encode())

            event('{"role":"assistant","content":"one"}')
            time.sleep(seconds)
            event('{"content":"two"}')
            event("{}", '"stop"')
            connection.sendall(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")

    return serve(handle)


class Stream:
    """A stream that has begun."""

    def __init__(self, gateway, body=CHAT, path="/v1/chat/completions"):
        data = json.dumps({**body, "stream": True}).encode()
        self.connection = socket.create_connection(("127.0.0.1", int(gateway.url.rsplit(":", 1)[1])), timeout=30)
        self.connection.sendall(head(path, f"Content-Length: {len(data)}\r\n") + data)
        self.text = b""
        while b"one" not in self.text:
            piece = self.connection.recv(65536)
            assert piece, self.text
            self.text += piece

    def rest(self):
        while not self.text.endswith(b"0\r\n\r\n"):
            piece = self.connection.recv(65536)
            if not piece:
                break
            self.text += piece
        self.connection.close()
        return self.text.decode()


def test_a_stop_lets_200_streams_finish_and_leaves_at_once(started):
    gateway = gateway_before(started, slow_upstream(4))
    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        streams = list(pool.map(lambda _: Stream(gateway), range(200)))
        gateway.process.send_signal(signal.SIGTERM)
        eventually(lambda: refused(gateway))
        texts = list(pool.map(Stream.rest, streams))
    ended = time.monotonic()
    assert all("two" in text and text.endswith("data: [DONE]\n\n\r\n0\r\n\r\n") for text in texts)
    assert gateway.process.wait(5) == 0
    assert time.monotonic() - ended < 1


def refused(gateway):
    """True if a new request gets 503 or no connection."""
    try:
        return post(gateway, "/v1/chat/completions", CHAT, BEARER)[0] == 503
    except OSError:
        return True


@pytest.mark.parametrize("path, last", [("/v1/chat/completions", '"error":{'), ("/v1/messages", "event: error")])
def test_a_second_stop_tells_the_clients_what_happens(started, path, last):
    gateway = gateway_before(started, slow_upstream(60))
    stream = Stream(gateway, {**CHAT, "max_tokens": 10}, path)
    gateway.process.send_signal(signal.SIGTERM)
    eventually(lambda: refused(gateway))
    gateway.process.send_signal(signal.SIGTERM)
    text = stream.rest()
    assert last in text and "shutting down" in text and text.endswith("0\r\n\r\n"), text
    assert "[DONE]" not in text
    assert gateway.process.wait(5) == 0


def test_without_a_successor_the_listeners_are_kept(started, tmp_path):
    gateway = gateway_before(started, serve(lambda connection: [connection.sendall(OK) for _ in iter(lambda: read_request(connection), None)]))
    gateway.process.send_signal(signal.SIGQUIT)
    eventually(lambda: "SIGQUIT ignored" in (tmp_path / "log").read_text(), 15)
    assert post(gateway, "/v1/chat/completions", CHAT, BEARER)[0] == 200


def test_an_upgrade_loses_no_request_and_cuts_no_stream(started, tmp_path):
    gateway = gateway_before(started, slow_upstream(12))
    fast = serve(lambda connection: [connection.sendall(OK) for _ in iter(lambda: read_request(connection), None)])
    config = tmp_path / "opm.yaml"
    port, metrics_port = int(gateway.url.rsplit(":", 1)[1]), free_port()
    quick = f"  - {{ name: b, format: openai, apis: [chat], base_url: '{fast}/v1', keys: ['{UPSTREAM_KEY}'], models: {{ 'quick/*': '*' }} }}\nkeys:"
    config.write_text(config.read_text().replace("keys:\n", quick + "\n", 1))
    gateway.process.send_signal(signal.SIGHUP)
    quick_chat = {**CHAT, "model": "quick/m"}
    eventually(lambda: post(gateway, "/v1/chat/completions", quick_chat, BEARER)[0] == 200)
    stop = threading.Event()

    def load(kept):
        statuses, connection = [], None
        while not stop.is_set():
            connection = connection or http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            connection.request("POST", "/v1/chat/completions", json.dumps(quick_chat), BEARER)
            answer = connection.getresponse()
            answer.read()
            statuses.append(answer.status)
            if not kept:
                connection.close()
                connection = None
        return statuses

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        loads = [pool.submit(load, kept) for kept in (True, True, False, False)]
        stream = Stream(gateway)
        log = open(tmp_path / "next.log", "w")
        successor = subprocess.Popen([BINARY, "serve", "-c", config, "--upgrade"], stderr=log, stdout=log, cwd=tmp_path)
        try:
            gateway.process.send_signal(signal.SIGQUIT)
            text = stream.rest()
            ended = time.monotonic()
            assert "two" in text and "[DONE]" in text, text
            assert gateway.process.wait(5) == 0
            assert time.monotonic() - ended < 1
            stop.set()
            statuses = [status for found in loads for status in found.result()]
            assert set(statuses) == {200} and len(statuses) > 100
            assert post(gateway, "/v1/chat/completions", quick_chat, BEARER)[0] == 200
        finally:
            stop.set()
            successor.kill()
            successor.wait()


def test_unfinished_bodies_are_bounded_together(mock_server, tmp_path):
    port, metrics_port = free_port(), free_port()
    config = tmp_path / "opm.yaml"
    write_config(config, port, metrics_port, mock_server.url, free_port())
    # A quarter of the address space is the budget: 320 MiB. Half a gigabyte of it is only reserved, by the C library's arenas.
    limit = lambda: resource.setrlimit(resource.RLIMIT_AS, (5 << 28, 5 << 28))
    process = subprocess.Popen([BINARY, "serve", "-c", config], stderr=subprocess.DEVNULL, preexec_fn=limit)
    try:
        wait_for(f"http://127.0.0.1:{port}/readyz")
        gateway = At(port)
        open_, refused_ = [], []
        for _ in range(12):
            connection = socket.create_connection(("127.0.0.1", port), timeout=20)
            length = 30 << 20
            connection.sendall(head("/v1/messages", f"Content-Length: {length}\r\n") + b" " * (length - 1))
            connection.settimeout(1)
            try:
                refused_.append(connection.recv(4096).decode())
            except TimeoutError:
                open_.append(connection)
        assert len(open_) == 10 and len(refused_) == 2
        for text in refused_:
            assert text.startswith(("HTTP/1.1 503 ", "HTTP/1.1 529 ")) and "retry-after: " in text and '"type":"error"' in text, text
        with open(f"/proc/{process.pid}/status") as status:
            resident = int(next(line for line in status if line.startswith("VmRSS")).split()[1]) >> 10
        assert resident < 480, f"{resident} MiB"
        for connection in open_:
            connection.close()
        eventually(lambda: post(gateway, "/v1/messages", None, BEARER, b" " * (30 << 20))[0] == 400)
    finally:
        process.kill()
        process.wait()
