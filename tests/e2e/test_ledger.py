"""The ledger against what clients and the provider have seen: nothing lost, nothing twice."""

import collections
import concurrent.futures
import contextlib
import http.server
import json
import random
import socket
import sqlite3
import subprocess
import threading
import time
import urllib.error
import urllib.request

import pytest

from conftest import BINARY, eventually, free_port, wait_for
from provider import Provider

FINISHED, BROKEN, REFUSED, GONE = "finished", "broken", "refused", "gone"


@pytest.fixture
def provider():
    made = Provider()
    yield made
    made.close()


class Stand:
    """A gateway on one provider and one SQLite store, which can be killed and started again."""

    def __init__(self, tmp_path, provider, more=""):
        self.port, self.metrics, self.store = free_port(), free_port(), tmp_path / "opm.db"
        self.config, self.log = tmp_path / "opm.yaml", tmp_path / "log"
        self.config.write_text(
            f"version: 1\nserver: {{ listen: 127.0.0.1:{self.port} }}\nmetrics: {{ listen: 127.0.0.1:{self.metrics} }}\n"
            f"admin: {{ listen: 127.0.0.1:{free_port()} }}\nstorage: {{ url: 'sqlite:{self.store}' }}\n"
            f"channels:\n  - {{ name: one, format: openai, base_url: '{provider.url}', keys: [sk-upstream-0123456789], models: ['*'] }}\n"
            + more
        )
        self.process = None

    def start(self):
        with open(self.log, "a") as sink:
            self.process = subprocess.Popen([BINARY, "serve", "-c", self.config], stderr=sink, stdout=sink)
        wait_for(f"http://127.0.0.1:{self.port}/readyz")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.terminate()
        assert self.process.wait(30) == 0

    def rows(self):
        found = sqlite3.connect(self.store, timeout=10)
        found.row_factory = sqlite3.Row
        with found:
            return [dict(row) for row in found.execute("SELECT * FROM opm_usage")]


@pytest.fixture
def stand(tmp_path, provider):
    made = Stand(tmp_path, provider)
    yield made
    if made.process and made.process.poll() is None:
        made.kill()


def call(at, name, text, stream=True, leave_after=None, model="gpt-4o"):
    """One request over a raw socket. `leave_after`: closes after so many seconds."""
    body = json.dumps({"model": model, "stream": stream, "messages": [{"role": "user", "content": f"id={name} {text}"}]})
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nuser: {name}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
    deadline = time.monotonic() + (leave_after if leave_after is not None else 30)
    got = b""
    try:
        with socket.create_connection(("127.0.0.1", at.port), timeout=5) as line:
            line.sendall((head + body).encode())
            while True:
                left = deadline - time.monotonic()
                if left <= 0:
                    return GONE, got
                line.settimeout(left)
                piece = line.recv(65_536)
                if not piece:
                    break
                got += piece
    except TimeoutError:
        return GONE, got
    except OSError:
        return BROKEN, got
    if not got.startswith(b"HTTP/1.1 200"):
        return (REFUSED if got else BROKEN), got
    whole = b"data: [DONE]" in got if stream else got.rstrip().endswith(b"}")
    return (FINISHED if whole else BROKEN), got


def settled(rows):
    """Rows by the name of their request; every request has exactly one that settles it."""
    by_name = collections.defaultdict(list)
    for row in rows:
        by_name[row["user_name"]].append(row)
    for name, own in by_name.items():
        ends = [row for row in own if row["outcome"] != "retried"]
        assert len(ends) == 1, (name, own)
    return {name: next(row for row in own if row["outcome"] != "retried") for name, own in by_name.items()}


def calls_by_name(provider):
    by_name = collections.defaultdict(list)
    for seen in provider.calls:
        by_name[seen["id"]].append(seen)
    return by_name


def all_stored(at, count):
    return eventually(lambda: len({row["user_name"] for row in at.rows()}) >= count and at.rows(), seconds=20)


def test_a_thousand_clients_that_leave_at_random_moments_are_all_recorded(stand, provider):
    stand.start()
    rng = random.Random(7)
    waits = [rng.uniform(0.0, 0.12) for _ in range(1_000)]

    def one(number):
        stream = number % 4 != 0
        return call(stand, f"abort-{number}", "out=20 pace=5", stream=stream, leave_after=waits[number])[0]

    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        ends = list(pool.map(one, range(1_000)))
    assert collections.Counter(ends)[GONE] > 600, collections.Counter(ends)
    upstream = calls_by_name(provider)
    # Until the last record is stored.
    rows = settled(eventually(lambda: set(upstream) <= {row["user_name"] for row in stand.rows()} and stand.rows(), seconds=20))
    for number, end in enumerate(ends):
        name = f"abort-{number}"
        seen = upstream.get(name, [])
        row = rows.get(name)
        assert len(seen) <= 1
        # Whatever reached the provider is recorded once; what never did has at most a record without tokens.
        assert row is not None or not seen, name
        if row is None:
            continue
        if end == FINISHED:
            assert (row["outcome"], row["output"], row["input"]) == ("answered", seen[0]["output"], seen[0]["prompt"]), row
        elif seen:
            assert row["outcome"] in ("client_gone", "answered"), row
            if row["outcome"] == "client_gone":
                # The count of a whole answer may have come just before the client left.
                counted = (row["input"], row["output"]) == (seen[0]["prompt"], seen[0]["output"])
                assert counted if row["source"] == "reported" else row["input"] > 0, row
                # «word » is one token by our own count too: never more than was written.
                assert row["output"] <= seen[0]["output"] * 2, (row, seen)


def test_a_thousand_streams_that_the_provider_cuts_are_all_recorded(stand, provider):
    stand.start()
    rng = random.Random(11)
    cuts = [rng.randrange(1, 20) for _ in range(1_000)]

    def one(number):
        return call(stand, f"cut-{number}", f"out=20 cut={cuts[number]}")

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        ends = list(pool.map(one, range(1_000)))
    rows = settled(all_stored(stand, 1_000))
    assert len(rows) == 1_000
    upstream = calls_by_name(provider)
    for number, (end, got) in enumerate(ends):
        name = f"cut-{number}"
        row, seen = rows[name], upstream[name]
        tries = [own for own in stand_rows(stand, name)]
        assert len(tries) == len(seen), (tries, seen)
        if end == BROKEN:
            assert b'"error"' in got and row["outcome"] == "cut", (row, got[-300:])
            # The client has read what the record says, by our own count of words.
            read = got.count(b'"content":"word "') + got.count(b'"content": "word "')
            assert abs(row["output"] - read) <= max(2, read * 0.5), (row, read)
        else:
            assert end == REFUSED and row["outcome"] == "failed", (end, row)


_ROWS = {}


def stand_rows(at, name):
    """All rows of a request; read once per store."""
    if at.store not in _ROWS:
        by_name = collections.defaultdict(list)
        for row in at.rows():
            by_name[row["user_name"]].append(row)
        _ROWS[at.store] = by_name
    return _ROWS[at.store][name]


def test_twenty_kills_under_load_lose_nothing_and_count_nothing_twice(stand, provider):
    stand.start()
    rng = random.Random(23)
    names, ends = iter(range(1_000_000)), {}
    over = False

    def load(_):
        while not over:
            name = f"kill-{next(names)}"
            stream = rng.random() < 0.7
            ends[name] = call(stand, name, f"out={rng.randrange(2, 30)} pace=2", stream=stream)[0]
            if ends[name] != FINISHED:
                # The port is closed for a moment: no spinning.
                time.sleep(0.02)

    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        running = [pool.submit(load, number) for number in range(12)]
        for _ in range(20):
            time.sleep(rng.uniform(0.1, 0.5))
            stand.kill()
            stand.start()
        over = True
        for done in running:
            done.result()
    upstream = calls_by_name(provider)
    stand.stop()
    rows = settled(stand.rows())
    outcomes = collections.Counter(row["outcome"] for row in rows.values())
    assert collections.Counter(ends.values())[FINISHED] > 200, collections.Counter(ends.values())
    assert outcomes["crashed"] > 20, outcomes
    for name, end in ends.items():
        seen, row = upstream.get(name, []), rows.get(name)
        assert len(seen) <= 1
        # The provider was asked: START was there before.
        assert row is not None or not seen, (name, end, seen)
        if end == FINISHED:
            # The client has all of it: END was there before the last byte.
            assert (row["outcome"], row["input"], row["output"]) == ("answered", seen[0]["prompt"], seen[0]["output"]), (row, seen)
    # The sums say what the rows say.
    with sqlite3.connect(stand.store) as found:
        for width in (60, 3600):
            query = "SELECT SUM(requests), SUM(input), SUM(output), SUM(cost_pico_usd) FROM opm_usage_sums WHERE width = ?"
            sums = found.execute(query, (width,)).fetchone()
            own = list(stand.rows())
            total = lambda member: sum(row[member] or 0 for row in own)
            assert sums == (len(rows), total("input"), total("output"), total("cost_pico_usd"))


def test_a_long_stream_that_the_process_does_not_survive_has_its_checkpoints(stand, provider):
    stand.start()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        running = pool.submit(call, stand, "long", "out=2000 pace=1")
        eventually(lambda: provider.calls and provider.calls[0]["output"] > 600, seconds=20)
        stand.kill()
        running.result()
    written = provider.calls[0]["output"]
    stand.start()
    row = settled(eventually(lambda: stand.rows()))["long"]
    assert row["outcome"] == "crashed" and row["source"] == "estimated", row
    # At most 256 tokens are missing, and what the provider has written since.
    assert written - 256 - 200 <= row["output"] <= written * 1.3, (row, written)


def test_the_store_may_be_away_and_nothing_is_lost(stand, provider):
    stand.start()
    lock = sqlite3.connect(stand.store, timeout=10, isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    ends = [call(stand, f"away-{number}", "out=3", stream=False)[0] for number in range(50)]
    assert ends == [FINISHED] * 50
    lock.execute("ROLLBACK")
    lock.close()
    rows = settled(all_stored(stand, 50))
    assert all(row["outcome"] == "answered" for row in rows.values())


def test_attempts_are_rows_of_their_own(tmp_path, mock_server):
    port, metrics = free_port(), free_port()
    config, store = tmp_path / "opm.yaml", tmp_path / "opm.db"
    base = f"{mock_server.url}/v1"
    config.write_text(
        f"version: 1\nserver: {{ listen: 127.0.0.1:{port} }}\nmetrics: {{ listen: 127.0.0.1:{metrics} }}\n"
        f"admin: {{ listen: 127.0.0.1:{free_port()} }}\nstorage: {{ url: 'sqlite:{store}' }}\n"
        f"channels:\n"
        f"  - {{ name: bad, format: openai, base_url: '{base}', keys: [sk-upstream-0123456789], models: {{ m: 'm@error:500' }}, priority: 2 }}\n"
        f"  - {{ name: good, format: openai, base_url: '{base}', keys: [sk-upstream-0123456789], models: ['m'] }}\n"
    )
    process = subprocess.Popen([BINARY, "serve", "-c", config], stderr=subprocess.DEVNULL)
    try:
        wait_for(f"http://127.0.0.1:{port}/readyz")
        body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}]}).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/chat/completions", data=body, headers={"user": "eve"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            name = answer.headers["x-gateway-request-id"]
        found = sqlite3.connect(store, timeout=10)
        query = "SELECT attempt, channel, status, outcome, billed, output FROM opm_usage WHERE request_id = ? ORDER BY attempt"
        rows = eventually(lambda: len(found.execute(query, (name,)).fetchall()) == 2 and found.execute(query, (name,)).fetchall())
        assert rows[0] == (1, "bad", 500, "retried", "estimated", 0)
        assert rows[1][:5] == (2, "good", 200, "answered", "yes") and rows[1][5] > 0
    finally:
        process.kill()
        process.wait()


def test_a_request_that_the_provider_has_worked_on_is_not_sent_again_unseen(stand, provider):
    stand.start()
    # Connections to the provider are kept.
    assert call(stand, "first", "out=5", stream=False)[0] == FINISHED
    end, _ = call(stand, "second", "out=80 pace=10 mute=1", stream=False)
    assert end == REFUSED
    rows = eventually(lambda: len(settled(stand.rows())) == 2 and [row for row in stand.rows() if row["user_name"] == "second"])
    assert len([one for one in provider.calls if one["id"] == "second"]) == len(rows)


@pytest.mark.parametrize("leave_after", [None, 0.3], ids=["cut", "left"])
def test_a_finished_answer_keeps_its_count_whatever_breaks_off_behind_it(stand, provider, leave_after):
    stand.start()
    for number, words in enumerate((1, 6, 40)):
        end, _ = call(stand, f"c{number}", f"out={words} hold=600", leave_after=leave_after)
        assert end == (BROKEN if leave_after is None else GONE)
    rows = settled(eventually(lambda: len(stand.rows()) == 3 and stand.rows()))
    assert [rows[f"c{number}"]["output"] for number in range(3)] == [1, 6, 40]
    assert {(row["source"], row["billed"]) for row in rows.values()} == {("reported", "yes")}


@pytest.mark.parametrize("how", ["refused", "silent"])
def test_what_never_reached_a_provider_costs_nothing(tmp_path, provider, how):
    prices = "prices:\n  - { models: ['*'], per_million: { input: 10, output: 100 } }\n"
    with socket.socket() as nobody, contextlib.ExitStack() as waiting:
        nobody.bind(("127.0.0.1", 0))
        address = nobody.getsockname()
        if how == "silent":
            # Whoever connects when its queue is full waits.
            nobody.listen(0)
            for _ in range(4):
                line = waiting.enter_context(socket.socket())
                line.setblocking(False)
                line.connect_ex(address)
        at = Stand(tmp_path, provider, prices)
        at.config.write_text(at.config.read_text().replace(provider.url, f"http://127.0.0.1:{address[1]}/v1"))
        at.start()
        try:
            for number in range(3):
                end, _ = call(at, f"c{number}", "out=4", leave_after=0.4 if how == "silent" else None)
                assert end == (GONE if how == "silent" else REFUSED)
            rows = eventually(lambda: len(settled(at.rows())) == 3 and at.rows())
            assert {(row["billed"], row["cost_pico_usd"], row["input"], row["output"]) for row in rows} == {("no", 0, 0, 0)}, rows
            assert {row["outcome"] for row in rows if row["outcome"] != "retried"} == {"client_gone" if how == "silent" else "failed"}
        finally:
            at.kill()


def test_a_whole_answer_that_the_end_of_the_process_cuts_off_is_recorded_as_such(tmp_path, provider):
    at = Stand(tmp_path, provider)
    text = at.config.read_text()
    at.config.write_text(text.replace("server: { ", "server: { drain: 1s, "))
    at.start()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        asking = pool.submit(call, at, "x", "out=100 pace=100", stream=False)
        eventually(lambda: provider.calls)
        at.stop()
        assert asking.result()[1].startswith(b"HTTP/1.1 503")
    (row,) = at.rows()
    assert (row["outcome"], row["status"], row["billed"]) == ("aborted", 503, "estimated")


def test_a_channel_can_ask_that_abandoned_answers_are_read_to_their_usage(tmp_path, provider):
    at = Stand(tmp_path, provider)
    at.config.write_text(at.config.read_text().replace("models: ['*'] }", "models: ['*'], on_client_gone: drain }"))
    at.start()
    try:
        assert call(at, "stream", "out=40 pace=5", leave_after=0.1)[0] == GONE
        assert call(at, "whole", "out=40 pace=5", stream=False, leave_after=0.1)[0] == GONE
        assert call(at, "early", "out=40 pace=5 wait=400", leave_after=0.1)[0] == GONE
        rows = settled(all_stored(at, 3))
        for name in ("stream", "whole", "early"):
            seen = calls_by_name(provider)[name][0]
            row = rows[name]
            assert seen["whole"] and row["outcome"] == "client_gone", (seen, row)
            assert (row["input"], row["output"], row["source"]) == (seen["prompt"], 40, "reported"), row
    finally:
        at.kill()


def test_what_nobody_counted_costs_what_its_tokens_do_and_budgets_keep_what_was_reserved(tmp_path, provider):
    prices = "prices:\n  - { models: ['*'], per_million: { input: 10, output: 100 } }\n"
    at = Stand(tmp_path, provider, prices + "limits:\n  - { name: all, by: [], budget: { usd: 100, per: day } }\n")
    at.start()
    try:
        assert call(at, "silent", "out=80 pace=10 mute=1", stream=False)[0] == REFUSED
        assert call(at, "left", "out=80 pace=10", stream=False, leave_after=0.2)[0] == GONE
        with concurrent.futures.ThreadPoolExecutor() as pool:
            pool.submit(call, at, "killed", "out=80 pace=10", False)
            eventually(lambda: len(provider.calls) >= 3)
            at.kill()
        at.start()
        rows = eventually(lambda: len(settled(at.rows())) == 3 and at.rows())
    finally:
        at.kill()
    assert {row["outcome"] for row in rows} >= {"failed", "client_gone", "crashed"}
    for row in rows:
        assert row["cost_pico_usd"] == row["input"] * 10_000_000 + row["output"] * 100_000_000, row
    (spent,) = sqlite3.connect(at.store).execute("SELECT SUM(spent_pico_usd) FROM opm_budgets").fetchone()
    # Each may have written all that the model can.
    assert spent > 3 * 16_000 * 100_000_000 > 10 * sum(row["cost_pico_usd"] for row in rows)


@pytest.fixture
def odd_provider():
    """Speaks sounds, judges texts for nothing, and embeds a hundred texts at a time: the third time it fails."""
    batches = []

    class Odd(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            status, answer = 200, {"results": []}
            if "batchEmbedContents" in self.path:
                batches.append(len(asked["requests"]))
                status = 200 if len(batches) < 3 else 500
                vectors = [{"values": [0.5]}] * batches[-1]
                answer = {"embeddings": vectors, "usageMetadata": {"promptTokenCount": 3 * batches[-1]}}
            data = b"sound" if "speech" in self.path else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-type", "audio/mpeg" if data == b"sound" else "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Odd)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()


def test_what_has_no_count_or_only_a_part_of_it_is_recorded_as_far_as_it_goes(tmp_path, provider, odd_provider):
    prices = "prices:\n  - { models: ['*'], per_million: { input: 10, output: 100 } }\n"
    at = Stand(tmp_path, provider, prices)
    channel = f"  - {{ name: two, format: gemini, base_url: 'http://127.0.0.1:{odd_provider}', keys: [AIza-0123456789], models: ['text-*'] }}\n"
    text = at.config.read_text().replace(f"'{provider.url}'", f"'http://127.0.0.1:{odd_provider}/v1'").replace("models: ['*'] }\nprices", "models: ['tts*', 'omni*'] }\n" + channel + "prices")
    at.config.write_text(text)
    at.start()

    def ask(path, body, status=200):
        request = urllib.request.Request(f"http://127.0.0.1:{at.port}/v1/{path}", json.dumps(body).encode(), {"content-type": "application/json"})
        try:
            assert urllib.request.urlopen(request, timeout=10).status == status
        except urllib.error.HTTPError as error:
            assert error.code >= 500 and status != 200, error.read()

    try:
        ask("audio/speech", {"model": "tts-1", "input": "hi", "voice": "alloy"})
        ask("moderations", {"model": "omni-moderation-latest", "input": "hi"})
        ask("embeddings", {"model": "text-embedding", "input": ["hi"] * 250}, status=502)
        rows = eventually(lambda: len(rows := at.rows()) >= 3 and rows)
    finally:
        at.kill()
    found = {row["model"]: (row["billed"], row["source"], row["input"], row["cost_pico_usd"]) for row in rows}
    assert found["tts-1"] == ("yes", "reported", 0, None)
    assert found["omni-moderation-latest"] == ("no", "reported", 0, 0)
    assert found["text-embedding"] == ("yes", "reported", 600, 6_000_000_000)
