"""Starts the real binary in front of the mock providers."""

import itertools
import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Taken out of the environment: the binary refuses variables of its own that it does not know.
BINARY = Path(os.environ.pop("OPM_TEST_BINARY", ROOT / "target" / "quick" / "opm"))
KEY = "sk-test-client-key-0123456789"
UPSTREAM_KEY = "sk-upstream-canary-0123456789"
FORMATS = ["chat", "responses", "messages", "gemini"]


# Below the ports that the system gives to connections, and none twice: what is free now must be free when a gateway starts.
PORTS = itertools.cycle(range(12_000, 32_000))
for _ in range(os.getpid() % 20_000):
    next(PORTS)


def free_port():
    for port in PORTS:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def wait_for(url, seconds=20):
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                return answer.read()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def eventually(check, seconds=5):
    """Waits until `check` gives something true; fails after the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        found = check()
        if found:
            return found
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.02)


@pytest.fixture
def redis(tmp_path):
    """A Redis of its own, without persistence."""
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    process.port = port
    process.url = f"redis://127.0.0.1:{port}/0"

    def said(*command):
        return subprocess.run(["redis-cli", "-p", str(port), *command], capture_output=True).stdout

    process.said = said
    eventually(lambda: said("ping") == b"PONG\n", seconds=10)
    yield process
    process.send_signal(signal.SIGCONT)
    process.kill()
    process.wait()


@pytest.fixture
def postgres(tmp_path):
    """A Postgres of our own from Debian's package, on a free port."""
    binaries = sorted(p for p in Path("/usr/lib/postgresql").glob("*/bin"))
    assert binaries, "Postgres is missing: apt-get install postgresql"
    data, port = tmp_path / "pg", free_port()
    data.mkdir()
    as_user = []
    if os.getuid() == 0:
        subprocess.run(["chown", "-R", "postgres", str(tmp_path)], check=True)
        for parent in [tmp_path, *tmp_path.parents][:3]:
            parent.chmod(parent.stat().st_mode | 0o755)
        as_user = ["runuser", "-u", "postgres", "--"]
    run = lambda *command: subprocess.run([*as_user, *command], check=True, capture_output=True, cwd="/")
    run(binaries[-1] / "initdb", "-D", data, "-A", "trust", "-U", "opm")
    server = subprocess.Popen(
        [*as_user, binaries[-1] / "postgres", "-D", data, "-p", str(port), "-c", "listen_addresses=127.0.0.1", "-k", str(data)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/",
    )
    eventually(lambda: subprocess.run([binaries[-1] / "pg_isready", "-h", "127.0.0.1", "-p", str(port)], capture_output=True).returncode == 0, 30)
    yield f"postgres://opm@127.0.0.1:{port}/postgres"
    subprocess.run([*as_user, binaries[-1] / "pg_ctl", "stop", "-D", data, "-m", "immediate"], capture_output=True, cwd="/")
    server.wait(timeout=30)


class Mock:
    def __init__(self, port):
        self.url = f"http://127.0.0.1:{port}"

    def requests(self):
        with urllib.request.urlopen(f"{self.url}/_mock/requests", timeout=5) as answer:
            return json.load(answer)

    def clear(self):
        urllib.request.urlopen(urllib.request.Request(f"{self.url}/_mock/requests", method="DELETE"), timeout=5).read()


class Gateway:
    def __init__(self, port, metrics_port, process):
        self.url = f"http://127.0.0.1:{port}"
        self.metrics_url = f"http://127.0.0.1:{metrics_port}/metrics"
        self.process = process


@pytest.fixture(scope="session")
def mock_server():
    port = free_port()
    process = subprocess.Popen([BINARY, "mock", "--listen", f"127.0.0.1:{port}"], stderr=subprocess.DEVNULL)
    wait_for(f"http://127.0.0.1:{port}/_mock/requests")
    yield Mock(port)
    process.kill()
    process.wait()


def write_config(path, port, metrics_port, mock_url, dead_port):
    path.write_text(f"""version: 1
server: {{ listen: 127.0.0.1:{port} }}
metrics: {{ listen: 127.0.0.1:{metrics_port} }}
channels:
  - {{ name: up-chat, format: openai, apis: [chat], base_url: '{mock_url}/v1', keys: ['{UPSTREAM_KEY}'], models: {{ 'chat/*': '*', 'gpt-*': 'gpt-*' }} }}
  - {{ name: up-responses, format: openai, apis: [responses], base_url: '{mock_url}', keys: ['{UPSTREAM_KEY}'], models: {{ 'responses/*': '*' }} }}
  - {{ name: up-messages, format: anthropic, base_url: '{mock_url}', keys: ['{UPSTREAM_KEY}'], models: {{ 'messages/*': '*', 'claude-*': 'claude-*' }} }}
  - {{ name: up-gemini, format: gemini, base_url: '{mock_url}/v1beta', keys: ['{UPSTREAM_KEY}'], models: {{ 'gemini/*': '*', 'gemini-*': 'gemini-*' }} }}
  - {{ name: dead, format: openai, apis: [chat], base_url: 'http://127.0.0.1:{dead_port}', keys: ['{UPSTREAM_KEY}'], priority: 9, models: {{ 'failover/*': '*' }} }}
  - {{ name: alive, format: anthropic, base_url: '{mock_url}', keys: ['{UPSTREAM_KEY}'], models: {{ 'failover/*': '*' }} }}
keys:
  - {{ name: tests, key: '{KEY}' }}
""")


@pytest.fixture(scope="session")
def gateway(mock_server, tmp_path_factory):
    port, metrics_port = free_port(), free_port()
    config = tmp_path_factory.mktemp("gateway") / "opm.yaml"
    write_config(config, port, metrics_port, mock_server.url, free_port())
    process = subprocess.Popen([BINARY, "serve", "-c", config], stderr=subprocess.DEVNULL)
    wait_for(f"http://127.0.0.1:{port}/readyz")
    yield Gateway(port, metrics_port, process)
    process.kill()
    process.wait()
