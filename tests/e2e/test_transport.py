"""HTTP/2 with and without TLS on both sides, reload, transparent mode, the demo."""

import json
import os
import signal
import socket
import ssl
import subprocess
import urllib.request

import h2.connection
import h2.events
import pytest
import trustme

from conftest import BINARY, KEY, UPSTREAM_KEY, eventually, free_port, wait_for, write_config
from test_gateway import BEARER, post


def http2(connection, path, body):
    """One POST over HTTP/2 with prior knowledge; status and body of the answer."""
    client = h2.connection.H2Connection()
    client.initiate_connection()
    head = [(":method", "POST"), (":scheme", "http"), (":authority", "localhost"), (":path", path)]
    client.send_headers(1, head + [("content-type", "application/json"), ("authorization", f"Bearer {KEY}")])
    data = json.dumps(body).encode()
    connection.sendall(client.data_to_send())
    for start in range(0, len(data), 16_000):
        while client.local_flow_control_window(1) < 16_000:
            client.receive_data(connection.recv(65536))
        client.send_data(1, data[start : start + 16_000], end_stream=start + 16_000 >= len(data))
        connection.sendall(client.data_to_send())
    status, answer = None, b""
    while True:
        for event in client.receive_data(connection.recv(65536)):
            if isinstance(event, h2.events.ResponseReceived):
                status = int(dict(event.headers)[b":status"])
            elif isinstance(event, h2.events.DataReceived):
                answer += event.data
                client.acknowledge_received_data(event.flow_controlled_length, 1)
            elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
                return status, answer.decode()
        connection.sendall(client.data_to_send())


class At:
    def __init__(self, port):
        self.url = f"http://127.0.0.1:{port}"


def ask(text, stream=False):
    return {"model": "messages/m", "stream": stream, "messages": [{"role": "user", "content": text}]}


def test_http2_without_tls_on_the_same_port(gateway):
    port = int(gateway.url.rsplit(":", 1)[1])
    for body in (ask("hello"), ask("x" * 500_000)):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            status, answer = http2(connection, "/v1/chat/completions", body)
        assert status == 200 and "You said" in answer
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        status, answer = http2(connection, "/v1/chat/completions", ask("[[slow-chunks:10]]", stream=True))
    assert status == 200 and answer.endswith("data: [DONE]\n\n")


@pytest.fixture
def started(mock_server, tmp_path):
    processes = []

    def start(text=None, env=None, arguments=None, ready=None):
        config = tmp_path / "opm.yaml"
        if text:
            config.write_text(text)
        command = [BINARY] + (arguments or ["serve", "-c", str(config)])
        log = open(tmp_path / "log", "w")
        process = subprocess.Popen(command, stderr=log, stdout=log, env={**os.environ, **(env or {})}, cwd=tmp_path)
        processes.append(process)
        if ready:
            wait_for(ready)
        return process, config

    yield start
    for process in processes:
        process.kill()
        process.wait()


def test_tls_with_http2_and_http1_by_alpn(mock_server, started, tmp_path):
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    certificate.private_key_pem.write_to_path(tmp_path / "key.pem")
    port, metrics_port = free_port(), free_port()
    text = tmp_path / "base.yaml"
    write_config(text, port, metrics_port, mock_server.url, free_port())
    tls = f"server: {{ listen: 127.0.0.1:{port}, tls: {{ cert: '{tmp_path}/cert.pem', key: '{tmp_path}/key.pem' }} }}"
    started(text.read_text().replace(f"server: {{ listen: 127.0.0.1:{port} }}", tls))
    wait_for(f"http://127.0.0.1:{metrics_port}/metrics")
    for protocols in (["h2"], ["http/1.1"]):
        context = ssl.create_default_context()
        authority.configure_trust(context)
        context.set_alpn_protocols(protocols)
        with socket.create_connection(("127.0.0.1", port), timeout=20) as plain:
            with context.wrap_socket(plain, server_hostname="localhost") as connection:
                assert connection.selected_alpn_protocol() == protocols[0]
                if protocols == ["h2"]:
                    status, answer = http2(connection, "/v1/chat/completions", ask("hello"))
                    assert status == 200 and "You said: hello" in answer
                    continue
                body = json.dumps(ask("hello")).encode()
                head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\nContent-Length: {len(body)}\r\n\r\n"
                connection.sendall(head.encode() + body)
                assert connection.recv(4096).startswith(b"HTTP/1.1 200")


def tls_mock(authority, port, target, protocols):
    """A TLS front for the mock: a thread that terminates TLS and copies bytes."""
    import threading

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    context.set_alpn_protocols(protocols)
    listener = socket.create_server(("127.0.0.1", port))
    seen = []

    def copy(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        finally:
            for end in (source, sink):
                try:
                    end.close()
                except OSError:
                    pass

    def serve():
        while True:
            try:
                plain, _ = listener.accept()
                secure = context.wrap_socket(plain, server_side=True)
            except (OSError, ssl.SSLError):
                if listener.fileno() < 0:
                    return
                continue
            seen.append(secure.selected_alpn_protocol())
            other = socket.create_connection(("127.0.0.1", target))
            threading.Thread(target=copy, args=(secure, other), daemon=True).start()
            threading.Thread(target=copy, args=(other, secure), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    return listener, seen


@pytest.mark.parametrize("protocol", ["h2", "http/1.1"])
def test_upstreams_over_tls_speak_http2_or_http1(mock_server, started, tmp_path, protocol):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    tls_port, port, metrics_port = free_port(), free_port(), free_port()
    listener, seen = tls_mock(authority, tls_port, int(mock_server.url.rsplit(":", 1)[1]), [protocol])
    started(
        f"""version: 1
server: {{ listen: 127.0.0.1:{port} }}
metrics: {{ listen: 127.0.0.1:{metrics_port} }}
channels:
  - {{ name: a, format: anthropic, base_url: 'https://localhost:{tls_port}', keys: ['{UPSTREAM_KEY}'], models: {{ 'messages/*': '*' }} }}
""",
        env={"SSL_CERT_FILE": str(tmp_path / "ca.pem")},
        ready=f"http://127.0.0.1:{port}/readyz",
    )
    here = At(port)
    for _ in range(3):
        for stream in (False, True):
            status, text, _ = post(here, "/v1/chat/completions", ask("hello", stream), BEARER)
            assert status == 200, text
            assert "hello" in text or stream
    assert seen and set(seen) == {protocol} and len(seen) <= 2
    listener.close()


def test_an_untrusted_certificate_is_never_accepted(mock_server, started, tmp_path):
    trusted, other = trustme.CA(), trustme.CA()
    trusted.cert_pem.write_to_path(tmp_path / "ca.pem")
    tls_port, port, metrics_port = free_port(), free_port(), free_port()
    listener, _ = tls_mock(other, tls_port, int(mock_server.url.rsplit(":", 1)[1]), ["http/1.1"])
    started(
        f"""version: 1
server: {{ listen: 127.0.0.1:{port} }}
metrics: {{ listen: 127.0.0.1:{metrics_port} }}
channels:
  - {{ name: a, format: anthropic, base_url: 'https://localhost:{tls_port}', keys: ['{UPSTREAM_KEY}'], models: ['m'] }}
""",
        env={"SSL_CERT_FILE": str(tmp_path / "ca.pem")},
        ready=f"http://127.0.0.1:{port}/readyz",
    )

    here = At(port)
    mock_server.clear()
    status, text, _ = post(here, "/v1/messages", {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": "x"}]}, BEARER)
    assert status == 502 and json.loads(text)["error"]["type"] == "api_error"
    assert mock_server.requests() == []
    listener.close()


def test_sighup_reloads_and_a_broken_file_changes_nothing(mock_server, started, tmp_path):
    port, metrics_port = free_port(), free_port()
    text = tmp_path / "base.yaml"
    write_config(text, port, metrics_port, mock_server.url, free_port())
    first = text.read_text()
    process, config = started(first, ready=f"http://127.0.0.1:{port}/readyz")

    here = At(port)
    said = lambda name: post(here, "/v1/chat/completions", {**ask("x"), "model": name}, BEARER)[0]
    assert said("new/m") == 404
    config.write_text(first.replace("'messages/*': '*'", "'messages/*': '*', 'new/*': '*'"))
    process.send_signal(signal.SIGHUP)
    eventually(lambda: said("new/m") == 200)
    config.write_text("version: 1\nchanels: []\n")
    process.send_signal(signal.SIGHUP)
    eventually(lambda: "the old one stays" in (tmp_path / "log").read_text())
    assert said("new/m") == 200


def test_demo_serves_all_formats_without_a_key(started):
    port, metrics_port = free_port(), free_port()
    started(
        arguments=["demo", "--listen", f"127.0.0.1:{port}", "--metrics", f"127.0.0.1:{metrics_port}"],
        ready=f"http://127.0.0.1:{port}/readyz",
    )

    here = At(port)
    for model in ("gpt-5.6-luna", "claude-opus-5-5", "gemini-3-pro"):
        status, text, _ = post(here, "/v1/messages", {"model": model, "max_tokens": 64, "messages": [{"role": "user", "content": "hi"}]})
        assert status == 200 and "You said: hi" in text, text


def test_transparent_mode_keeps_credentials_with_their_provider(started):
    port, metrics_port = free_port(), free_port()
    clean = {name: "" for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY", "OPENAI_DOMAIN")}
    started(
        arguments=["serve"],
        env={**clean, "PROXY_PORT": str(port), "METRICS_PORT": str(metrics_port)},
        ready=f"http://127.0.0.1:{port}/readyz",
    )

    here = At(port)
    body = {"model": "gpt-4", "messages": [{"role": "user", "content": "x"}]}
    status, text, _ = post(here, "/v1/chat/completions", body, {"authorization": "Bearer sk-ant-api03-canary"})
    assert status == 401 and "anthropic" in text and "canary" not in text


def test_environment_channels_and_ports(mock_server, started):
    port, metrics_port = free_port(), free_port()
    host, upstream_port = mock_server.url.removeprefix("http://").split(":")
    started(
        arguments=["serve"],
        env={
            "PROXY_PORT": str(port), "METRICS_PORT": str(metrics_port), "OPENAI_DOMAIN": host, "OPENAI_PORT": upstream_port,
            "OPENAI_TLS": "false", "OPENAI_API_KEY": UPSTREAM_KEY,
        },
        ready=f"http://127.0.0.1:{port}/readyz",
    )

    here = At(port)
    status, text, _ = post(here, "/v1/chat/completions", {"model": "gpt-4", "messages": [{"role": "user", "content": "hi"}]})
    assert status == 200 and "You said: hi" in text
    assert urllib.request.urlopen(f"http://127.0.0.1:{metrics_port}/metrics").status == 200


@pytest.mark.parametrize("text, said", [(None, b"No such file"), ("garbage", b"holds no certificate")])
def test_a_file_of_authorities_that_holds_none_is_an_error_at_the_start(tmp_path, text, said):
    path = tmp_path / "ca.pem"
    if text is not None:
        path.write_text(text)
    env = {**os.environ, "SSL_CERT_FILE": str(path), "OPENAI_API_KEY": "sk-0123456789abcdef0123"}
    ended = subprocess.run([BINARY, "serve"], env=env, cwd=tmp_path, capture_output=True, timeout=20, check=False)
    assert ended.returncode == 78 and b"SSL_CERT_FILE" in ended.stderr and said in ended.stderr, ended
    assert b"panicked" not in ended.stderr
