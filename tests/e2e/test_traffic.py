"""Channels, balancing, failover: the real gateway in front of scripted providers. Faults are scripted in the provider key or in the
upstream's model name (`@error:503`), so that one prompt meets another fault on each channel."""

import concurrent.futures
import http.server
import json
import signal
import subprocess
import threading
import time
import urllib.request

import pytest

from conftest import BINARY, KEY, eventually, free_port, wait_for
from test_gateway import BEARER, post

HEAD = "version: 1\nserver: {{ listen: 127.0.0.1:{port} }}\nmetrics: {{ listen: 127.0.0.1:{metrics} }}\n"


class Running:
    def __init__(self, process, port, metrics, config, log):
        self.process, self.config, self.log_file = process, config, log
        self.url = f"http://127.0.0.1:{port}"
        self.metrics_url = f"http://127.0.0.1:{metrics}/metrics"

    def metric(self, line):
        text = urllib.request.urlopen(self.metrics_url, timeout=5).read().decode()
        found = [row for row in text.splitlines() if row.startswith(line)]
        return float(found[0].rsplit(" ", 1)[1]) if found else 0.0

    def log(self):
        return self.log_file.read_text()


@pytest.fixture
def serve(tmp_path):
    running = []

    def start(text, **env):
        import os

        port, metrics = free_port(), free_port()
        config, log = tmp_path / f"opm-{port}.yaml", tmp_path / f"log-{port}"
        config.write_text(HEAD.format(port=port, metrics=metrics) + text)
        with open(log, "w") as sink:
            command = [BINARY, "serve", "-c", config]
            process = subprocess.Popen(command, stderr=sink, stdout=sink, env={**os.environ, **env}, cwd=tmp_path)
        running.append(process)
        wait_for(f"http://127.0.0.1:{port}/readyz")
        return Running(process, port, metrics, config, log)

    yield start
    for process in running:
        process.kill()
        process.wait()


def channel(mock, name, fault="", key="", **more):
    """A Messages channel; `fault` goes into the upstream's model name, `key` replaces its keys."""
    parts = {"name": name, "format": "anthropic", "base_url": f"'{mock.url}'", "keys": key or f"['sk-{name}-0123456789']", **more}
    parts["models"] = f"{{ m: '{name}{'@' + fault if fault else ''}' }}"
    return "  - { " + ", ".join(f"{k}: {v}" for k, v in parts.items()) + " }\n"


def ask(at, text="hi", stream=False, path="/v1/chat/completions", **more):
    body = {"model": "m", "messages": [{"role": "user", "content": text}], "stream": stream, **more}
    return post(at, path, body, BEARER)


def calls(mock):
    """Which channels were called, in order."""
    return [request["body"]["model"].split("@")[0] for request in mock.requests()]


def keys_used(mock):
    return [request["headers"]["x-api-key"] for request in mock.requests()]


# One row of promise P5 each: fault of the main channel, stream?, calls expected.
ROWS = [
    ("error:429", False, ["a", "b"]),
    ("bare-error:429", False, ["a", "a", "b"]),
    ("error:503", False, ["a", "a", "b"]),
    ("error:529", False, ["a", "a", "b"]),
    ("error:500", False, ["a", "b"]),
    ("error:502", False, ["a", "b"]),
    ("error:504", False, ["a", "b"]),
    ("error:401", False, ["a", "b"]),
    ("error:403", False, ["a", "b"]),
    ("first-event-error", True, ["a", "b"]),
    ("empty", True, ["a", "b"]),
    ("slow-first-byte:3000", False, ["a", "b"]),
]


@pytest.mark.parametrize("fault,stream,wanted", ROWS)
def test_each_row_of_promise_p5_makes_exactly_so_many_calls(mock_server, serve, fault, stream, wanted):
    at = serve(
        "channels:\n"
        + channel(mock_server, "a", fault, timeouts="{ first_byte: 500ms }")
        + channel(mock_server, "b")
        + "routes: { strategy: failover }\n"
    )
    mock_server.clear()
    status, text, _ = ask(at, stream=stream)
    assert status == 200 and "hi" in text.replace('"}}]}', ""), text
    assert calls(mock_server) == wanted


@pytest.mark.parametrize("status", [400, 404, 413, 422])
def test_the_requests_own_faults_are_not_tried_elsewhere(mock_server, serve, status):
    at = serve("channels:\n" + channel(mock_server, "a", f"error:{status}") + channel(mock_server, "b") + "routes: { strategy: failover }\n")
    mock_server.clear()
    found, _, headers = ask(at)
    assert 400 <= found < 500 and headers["x-should-retry"] == "false"
    assert calls(mock_server) == ["a"]


def test_a_refused_connection_is_tried_once_more_and_then_elsewhere(mock_server, serve):
    dead = f"  - {{ name: a, format: anthropic, base_url: 'http://127.0.0.1:{free_port()}', keys: [sk-a-0123456789], models: ['m'] }}\n"
    at = serve("channels:\n" + dead + channel(mock_server, "b") + "routes: { strategy: failover }\n")
    mock_server.clear()
    status, _, _ = ask(at)
    assert status == 200 and calls(mock_server) == ["b"]
    assert at.metric('opm_attempts_total{channel="a",outcome="upstream_bad"}') == 2


def test_a_model_that_a_provider_lacks_is_tried_elsewhere_if_configured(mock_server, serve):
    at = serve(
        "defaults: { retry: { when: [model_not_found] } }\nchannels:\n"
        + channel(mock_server, "a", "error:404")
        + channel(mock_server, "b")
        + "routes: { strategy: failover }\n"
    )
    mock_server.clear()
    assert ask(at)[0] == 200 and calls(mock_server) == ["a", "b"]


def test_retry_after_parks_the_key_and_not_the_channel(mock_server, serve):
    keys = "['sk-one@error:429', 'sk-two-0123456789']"
    at = serve("channels:\n" + channel(mock_server, "a", key=keys))
    mock_server.clear()
    for _ in range(4):
        assert ask(at)[0] == 200
    used = keys_used(mock_server)
    assert used.count("sk-one@error:429") == 1, "seven seconds have not passed"
    assert used.count("sk-two-0123456789") == 4
    assert at.metric('opm_keys_parked{channel="a"}') == 1


def test_a_refused_key_is_parked_and_said_loudly(mock_server, serve):
    at = serve("channels:\n" + channel(mock_server, "a", key="['sk-bad@error:401', 'sk-good-0123456789']"))
    mock_server.clear()
    assert [ask(at)[0] for _ in range(3)] == [200] * 3
    assert keys_used(mock_server).count("sk-bad@error:401") == 1
    assert "refuses this key" in at.log() and "sk-bad" not in at.log()


def test_keys_of_a_channel_take_turns(mock_server, serve):
    at = serve("channels:\n" + channel(mock_server, "a", key="[sk-1-0123456789, sk-2-0123456789, sk-3-0123456789]"))
    mock_server.clear()
    for _ in range(9):
        ask(at)
    assert sorted(keys_used(mock_server).count(f"sk-{n}-0123456789") for n in (1, 2, 3)) == [3, 3, 3]


@pytest.mark.parametrize("size", [300_000, 8_000_000])
def test_long_prompts_survive_a_failover_across_formats(mock_server, serve, size):
    other = f"  - {{ name: b, format: gemini, base_url: '{mock_server.url}', keys: [sk-b-0123456789], models: {{ m: b }} }}\n"
    at = serve("channels:\n" + channel(mock_server, "a", "error:500") + other + "routes: { strategy: failover }\n")
    mock_server.clear()
    status, text, _ = ask(at, text="x" * size)
    assert status == 200 and len(json.loads(text)["choices"][0]["message"]["content"]) > size
    raw = [request["raw"] for request in mock_server.requests()]
    assert [len(body) > size for body in raw] == [True, True]


@pytest.mark.parametrize("fault", ["error:503", "bare-error:429"])
def test_whoever_was_not_asked_comes_before_a_second_try(mock_server, serve, fault):
    at = serve("channels:\n" + channel(mock_server, "a", fault) + channel(mock_server, "b", fault) + channel(mock_server, "c") + "routes: { strategy: failover }\n")
    mock_server.clear()
    assert ask(at)[0] == 200 and calls(mock_server) == ["a", "b", "c"]


def test_many_refused_keys_of_one_channel_do_not_use_up_the_attempts(mock_server, serve):
    keys = "[" + ", ".join(f"'sk-{n}@error:401'" for n in range(4)) + "]"
    at = serve("channels:\n" + channel(mock_server, "a", key=keys) + channel(mock_server, "b") + "routes: { strategy: failover }\n")
    assert ask(at)[0] == 200


def test_a_provider_that_repeats_its_key_does_not_show_it_to_the_caller(mock_server, serve):
    class Echo(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["content-length"]))
            text = json.dumps({"error": {"message": f"bad thing with {self.headers['authorization']}", "type": "invalid_request_error"}}).encode()
            self.send_response(400)
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            pass

    upstream = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    secret = "sk-echoed-canary-0123456789"
    at = serve(f"channels:\n  - {{ name: a, format: openai, base_url: 'http://127.0.0.1:{upstream.server_port}', keys: ['{secret}'], models: [m] }}\n")
    status, text, _ = ask(at)
    upstream.shutdown()
    assert status == 400 and "bad thing" in text and secret not in text and secret not in at.log()


def test_conversations_that_stay_take_nobodys_turn(mock_server, serve):
    at = serve("channels:\n" + "".join(channel(mock_server, name) for name in "abcd") + "routes: { strategy: round_robin }\n")
    mock_server.clear()
    for number in range(16):
        for _ in range(4):
            ask(at, prompt_cache_key=f"thread-{number}")
    shares = [calls(mock_server).count(name) for name in "abcd"]
    assert shares == [16, 16, 16, 16], shares


def test_an_outage_of_everything_is_not_multiplied(mock_server, serve):
    at = serve("channels:\n" + channel(mock_server, "a", "error:500") + channel(mock_server, "b", "error:503"))
    mock_server.clear()
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda _: ask(at)[0], range(400)))
    assert set(found) <= {500, 502, 503}
    called = len(mock_server.requests())
    assert called <= 480, f"{called} calls for 400 requests"
    states = [at.metric(f'opm_breaker_state{{channel="{name}"}}') for name in "ab"]
    assert states == [2, 2]


def test_a_broken_channel_is_left_alone_and_probed_by_one_request(mock_server, serve):
    short = "{ failures: 3, open_for: 1s..1s }"
    at = serve("channels:\n" + channel(mock_server, "a", "error:500", breaker=short) + channel(mock_server, "b") + "routes: { strategy: failover }\n")
    mock_server.clear()
    for _ in range(8):
        assert ask(at)[0] == 200
    assert calls(mock_server).count("a") == 3
    eventually(lambda: (ask(at), calls(mock_server).count("a") == 4)[1])
    ask(at)
    assert calls(mock_server).count("a") == 4, "the probe failed: the pause begins again"


def test_background_probes_find_what_no_request_has_found(mock_server, serve):
    at = serve(
        "channels:\n"
        + channel(mock_server, "a", key="['sk-ill@error:503']", health="{ interval: 300ms }", breaker="{ failures: 2 }")
        + channel(mock_server, "b", health="{ interval: 300ms }")
    )
    eventually(lambda: at.metric('opm_breaker_state{channel="a"}') == 2)
    assert at.metric('opm_breaker_state{channel="b"}') == 0
    mock_server.clear()
    assert ask(at)[0] == 200 and calls_of_chat(mock_server) == ["b"]


def calls_of_chat(mock):
    return [request["body"]["model"].split("@")[0] for request in mock.requests() if request["path"].endswith("/messages")]


@pytest.mark.parametrize("strategy", ["round_robin", "weighted", "least_connections", "latency", "failover"])
def test_each_strategy_spreads_as_it_says(mock_server, serve, strategy):
    at = serve("channels:\n" + channel(mock_server, "a", weight=3) + channel(mock_server, "b", weight=1) + f"routes: {{ strategy: {strategy} }}\n")
    mock_server.clear()
    for _ in range(200):
        assert ask(at)[0] == 200
    share = calls(mock_server).count("a")
    bounds = {"round_robin": (150, 150), "weighted": (125, 175), "failover": (200, 200)}
    low, high = bounds.get(strategy, (20, 180))
    assert low <= share <= high, share


def test_least_connections_counts_streams_until_they_end(mock_server, serve):
    at = serve("channels:\n" + channel(mock_server, "a") + channel(mock_server, "b") + "routes: { strategy: least_connections }\n")
    mock_server.clear()
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        running = [pool.submit(ask, at, "[[slow-chunks:100]]", True) for _ in range(20)]
        eventually(lambda: len(mock_server.requests()) == 20)
        assert [at.metric(f'opm_in_flight{{channel="{name}"}}') for name in "ab"] == [10, 10]
        assert all(job.result()[0] == 200 for job in running)
    assert [at.metric(f'opm_in_flight{{channel="{name}"}}') for name in "ab"] == [0, 0]


def test_a_named_conversation_stays_where_it_was_and_moves_when_it_must(mock_server, serve):
    at = serve("channels:\n" + "".join(channel(mock_server, name) for name in "abcd"))
    mock_server.clear()
    for _ in range(12):
        ask(at, prompt_cache_key="thread-1")
    homes = set(calls(mock_server))
    assert len(homes) == 1
    mock_server.clear()
    for number in range(40):
        ask(at, prompt_cache_key=f"thread-{number}")
    assert len(set(calls(mock_server))) == 4, "other conversations are spread"


def test_routes_by_header_give_each_channel_its_own_model(mock_server, serve):
    rules = "routes:\n  rules:\n    - { match: { header: { x-tier: batch } }, channels: [b], models: { b: cheap } }\n"
    at = serve("channels:\n" + channel(mock_server, "a", priority=9) + channel(mock_server, "b") + rules)
    mock_server.clear()
    ask(at)
    body = {"model": "m", "messages": [{"role": "user", "content": "x"}]}
    post(at, "/v1/chat/completions", body, {**BEARER, "x-tier": "batch"})
    assert calls(mock_server) == ["a", "cheap"]


def test_the_total_time_of_a_request_is_bounded_also_in_a_stream(mock_server, serve):
    at = serve("channels:\n" + channel(mock_server, "a", timeouts="{ total: 2s }"))
    began = time.monotonic()
    status, text, _ = ask(at, "[[slow-chunks:300]]", stream=True)
    assert status == 200 and '"error"' in text and "[DONE]" not in text
    status, text, _ = ask(at, "[[slow-first-byte:5000]]")
    assert status == 504
    assert time.monotonic() - began < 6


def test_a_hundred_reloads_under_load_with_broken_files_among_them(mock_server, serve):
    text = "channels:\n" + channel(mock_server, "a") + channel(mock_server, "b")
    at = serve(text)
    good = at.config.read_text()
    failed, stop = [], threading.Event()

    def load():
        while not stop.is_set():
            status, answer, _ = ask(at)
            if status != 200:
                failed.append((status, answer))

    threads = [threading.Thread(target=load) for _ in range(4)]
    [thread.start() for thread in threads]
    try:
        for number in range(100):
            at.config.write_text(good if number % 3 else good + "chanels: []\n")
            at.process.send_signal(signal.SIGHUP)
            time.sleep(0.01)
    finally:
        stop.set()
        [thread.join() for thread in threads]
    assert failed == []
    assert "the old one stays" in at.log()


def test_a_changed_file_is_taken_over_by_itself(mock_server, serve):
    at = serve("channels:\n" + channel(mock_server, "a"))
    assert ask(at, model="new")[0] == 404
    at.config.write_text(at.config.read_text().replace("models: { m:", "models: { new: a, m:"))
    eventually(lambda: ask(at, model="new")[0] == 200)
    at.config.write_text("version: 1\nchanels: []\n")
    eventually(lambda: "the old one stays" in at.log())
    assert ask(at, model="new")[0] == 200


def test_the_log_has_one_line_a_request_with_its_attempts(mock_server, serve):
    at = serve("channels:\n" + channel(mock_server, "a", "error:500") + channel(mock_server, "b") + "routes: { strategy: failover }\n")
    _, _, headers = ask(at, "a prompt that no log may hold")
    line = eventually(lambda: [row for row in at.log().splitlines() if headers["x-gateway-request-id"] in row and '"request"' in row])[0]
    entry = json.loads(line)
    assert entry["attempts"] == 2 and entry["tried"].startswith("a:server_error:500:") and " b:ok:200:" in entry["tried"]
    assert "a prompt" not in at.log() and KEY not in at.log()


def test_sound_is_passed_through_as_sound(serve):
    sound = bytes(range(256)) * 40

    class Speaker(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("content-type", "audio/mpeg")
            self.send_header("content-length", str(len(sound)))
            self.end_headers()
            self.wfile.write(sound)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Speaker)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_port}"
        at = serve(f"channels:\n  - {{ name: a, format: openai, base_url: '{url}', keys: [sk-upstream-0123456789], models: ['*'] }}\n")
        body = json.dumps({"model": "tts-1", "input": "hi", "voice": "alloy"}).encode()
        request = urllib.request.Request(at.url + "/v1/audio/speech", data=body, headers={"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.headers["content-type"] == "audio/mpeg" and answer.read() == sound
    finally:
        server.shutdown()
