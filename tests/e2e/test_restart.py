"""Limits over a restart: a window goes on where it was, by the provider's own count."""

import asyncio
import concurrent.futures
import os
import random
import signal
import sqlite3
import subprocess
import time
import urllib.parse

import pytest

from callers import Caller
from conftest import BINARY, eventually, free_port, wait_for
from provider import Provider, worst_window
from relay import Relay

KEY = "sk-test-client-key-0123456789"
STOPS = [signal.SIGTERM, signal.SIGKILL]


@pytest.fixture
def provider():
    made = Provider()
    yield made
    made.close()


class Stand:
    """A gateway that is stopped and started again with the same configuration and the same files."""

    def __init__(self, folder, provider, more, storage="url: 'sqlite:{folder}/opm.db'", admin="", channel=""):
        self.port, self.metrics = free_port(), free_port()
        self.config, self.log, self.process = folder / "opm.yaml", folder / "log", None
        self.config.write_text(
            f"version: 1\nserver: {{ listen: 127.0.0.1:{self.port} }}\nmetrics: {{ listen: 127.0.0.1:{self.metrics} }}\n"
            f"admin: {{ listen: 127.0.0.1:{free_port()} {admin} }}\nstorage: {{ {storage.format(folder=folder)} }}\n"
            f"channels:\n  - {{ name: one, format: openai, base_url: '{provider.url}', keys: [sk-upstream-0123456789], models: ['*'] {channel} }}\n"
            + more
        )

    def begin(self, command=None, env=None):
        with open(self.log, "a") as sink:
            command = command or [BINARY, "serve", "-c", self.config]
            self.process = subprocess.Popen(command, stderr=sink, stdout=sink, env={**os.environ, **(env or {})})

    def start(self, command=None, env=None):
        self.begin(command, env)
        wait_for(f"http://127.0.0.1:{self.port}/readyz")

    def stop(self, how):
        self.process.send_signal(how)
        self.process.wait(30)

    def restart(self, how):
        self.stop(how)
        self.start()

    def is_known(self, redis):
        """Redis has been told all that this gateway admitted."""
        name, _, alone_since, *_ = (self.config.parent / "opm.ledger/limits").read_text().split()
        return alone_since == "-" and redis.said("zscore", "{opm}:lives", name).strip() != b""

    def ask(self, text, key=KEY, **more):
        return asyncio.run(Caller(self.port, key).ask(text, **more))


@pytest.fixture
def stands(tmp_path, provider):
    made = []

    def make(*args, name="", **more):
        (tmp_path / name).mkdir(exist_ok=True)
        made.append(Stand(tmp_path / name, provider, *args, **more))
        return made[-1]

    yield make
    for stand in made:
        if stand.process is not None and stand.process.poll() is None:
            stand.process.kill()
            stand.process.wait()


def team(limits):
    return f"keys:\n  - {{ name: team, key: {KEY}, limits: {limits} }}\n"


def left(headers, of="tokens"):
    return int(headers[f"x-ratelimit-remaining-{of}"])


def cost(call):
    return call["prompt"] + call["output"]


def probe(at, **who):
    """What is left beside a very small request."""
    status, headers, _ = at.ask("hi out=1", max_tokens=1, **who)
    assert status == 200
    return left(headers)


LIMITS = {
    "key": (team("{ tpm: 1000, window: 60m }"), {}),
    "long window": (team("{ tpm: 1000, window: 4h }"), {}),
    "month": (team("{ tpm: 1000, window: 31d }"), {}),
    "user": ("users: { limits: { tpm: 1000, window: 60m } }\n" + team("{ rpm: 100 }"), {"user": "ada"}),
    "model": ("limits:\n  - { name: large, by: [model], models: ['gpt-*'], tpm: 1000, window: 60m }\n" + team("{ rpm: 100 }"), {}),
}


@pytest.mark.parametrize("how", STOPS)
@pytest.mark.parametrize("of", LIMITS)
def test_tokens_that_were_used_are_used_after_a_restart(stands, provider, of, how):
    limits, who = LIMITS[of]
    at = stands(limits)
    at.start()
    for _ in range(8):
        assert at.ask("one two out=97", max_tokens=97, **who)[0] == 200
    before = probe(at, **who)
    for _ in range(2):
        at.restart(how)
        after = probe(at, **who)
        # No more and no less than the probes have used.
        assert after == before - cost(provider.calls[-1]), (before, after)
        # The rest of the window is too little for another answer of that size.
        assert at.ask("one two out=300", max_tokens=300, **who)[0] == 429
        before = after
    assert sum(cost(call) for call in provider.calls) <= 1_000
    if of == "user":
        assert probe(at, user="bob") > 900


@pytest.mark.parametrize("how", STOPS)
def test_requests_that_were_made_are_made_after_a_restart(stands, how):
    at = stands(team("{ rpm: 10 }"), channel=", limits: { rpm: 12 }")
    at.start()
    for number in range(7):
        status, headers, _ = at.ask("hi out=1")
        assert status == 200 and left(headers, "requests") == 9 - number
    # What the provider answers with an error is given back.
    assert at.ask("hi status=400")[0] == 400
    at.restart(how)
    for number in range(3):
        status, headers, _ = at.ask("hi out=1")
        assert status == 200 and left(headers, "requests") == 2 - number, headers
    status, headers, body = at.ask("hi out=1")
    assert status == 429 and b"key.requests" in body and 30 < int(headers["retry-after"]) <= 62
    # The channel has counted too, for everybody.
    with open(at.config) as file:
        text = file.read()
    at.config.write_text(text.replace("rpm: 10", "rpm: 100"))
    at.restart(how)
    assert [at.ask("hi out=1")[0] for _ in range(3)] == [200, 200, 429]


def test_a_request_that_was_running_counts_with_all_that_it_may_have_used(stands, provider):
    at = stands(team("{ tpm: 1000, window: 60m }"))
    at.start()

    async def run():
        callers = [Caller(at.port, KEY) for _ in range(2)]
        asking = [asyncio.create_task(caller.ask("out=300 pace=40", stream=True, max_tokens=300)) for caller in callers]
        while sum(call["output"] for call in provider.calls) < 20:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(at.stop, signal.SIGKILL)
        await asyncio.gather(*asking, return_exceptions=True)

    asyncio.run(run())
    for _ in range(2):
        at.start()
        status, headers, _ = at.ask("hi out=5", max_tokens=5)
        # 300 and the upper bound of the prompt, twice.
        assert status == 200 and 100 < left(headers) < 1_000 - 2 * 301, headers
        at.stop(signal.SIGKILL)


@pytest.mark.parametrize("how", STOPS)
def test_no_trailing_window_is_over_the_limit_however_often_the_gateway_is_restarted(stands, provider, how):
    limit, window = 6_000, 10
    at = stands(team(f"{{ tpm: {limit}, window: {window}s }}"))
    at.start()
    rng = random.Random(3)
    over = False
    statuses = []

    async def work(number):
        caller = Caller(at.port, KEY)
        while not over:
            try:
                status, *_ = await caller.ask(f"id={number} out={rng.randrange(5, 60)} pace=1", stream=bool(number % 2), max_tokens=60)
                statuses.append(status)
            except (OSError, asyncio.IncompleteReadError):
                status = 0
            if status != 200:
                await asyncio.sleep(rng.uniform(0.02, 0.1))

    async def run():
        nonlocal over
        working = [asyncio.create_task(work(number)) for number in range(20)]
        until = time.monotonic() + 2.2 * window
        while time.monotonic() < until:
            seen = len(statuses)
            while len(statuses) < seen + 60 and time.monotonic() < until:
                await asyncio.sleep(0.05)
            await asyncio.to_thread(at.restart, how)
        over = True
        await asyncio.gather(*working)

    asyncio.run(run())
    assert statuses.count(429) > 50 and statuses.count(200) > 100 and not set(statuses) - {0, 200, 429, 503}
    worst = worst_window(provider.calls, window)
    assert 0.6 * limit < worst <= limit, (worst, limit)
    # When the window has passed all of it is there again; until then what is refused uses nothing.
    assert at.ask("hi out=1", max_tokens=9 * limit // 10)[0] == 429
    eventually(lambda: at.ask("hi out=1", max_tokens=9 * limit // 10)[0] == 200, seconds=window + 5)


@pytest.mark.parametrize("how", STOPS)
@pytest.mark.parametrize("admin", ["", ", token: admin-token-0123456789abcdef"], ids=["no store", "store in memory"])
def test_the_ledger_alone_is_enough_without_a_store(stands, provider, how, admin):
    at = stands(team("{ tpm: 1000, window: 60m }"), storage="ledger: {folder}/ledger", admin=admin)
    at.start()
    for _ in range(8):
        assert at.ask("one two out=97", max_tokens=97)[0] == 200
    before = probe(at)
    for _ in range(3):
        at.restart(how)
        after = probe(at)
        assert after == before - cost(provider.calls[-1]), (before, after)
        before = after


def shared(redis):
    return f"shared: {{ redis_url: '{redis.url}' }}\n"


def emptied_after(at, redis, how):
    at.restart(how)
    redis.said("flushall")


def emptied_while_down(at, redis, how):
    at.stop(how)
    redis.said("flushall")
    at.start()


def emptied_before(at, redis, how):
    redis.said("flushall")
    at.restart(how)


def emptied_and_begun_again(at, redis, how):
    """A start that is cut off has told a part of it, or all."""
    at.stop(how)
    redis.said("flushall")
    for _ in range(4):
        at.start()
        at.stop(how)
    at.start()


def untouched(at, redis, how):
    at.restart(how)


def comes_to_count(at, provider, beside=0):
    """Waits until all that was used of 1,000 tokens is counted, and no more than that and `beside`. For a moment after a restart the gateway may be more
    careful: it is alone, and the one before counts as another instance."""
    # What a probe reserves: how much that is, the gateway learns.
    least, most = 60, 80

    def counts():
        time.sleep(0.2)
        used = sum(cost(call) for call in provider.calls)
        status, headers, _ = at.ask("hi out=1", max_tokens=1)
        assert status == 429 or left(headers) <= 1_000 - used - least, (headers, used)
        return status == 200 and left(headers) >= 1_000 - used - most - beside

    eventually(counts, seconds=15)


@pytest.mark.parametrize("how", STOPS)
@pytest.mark.parametrize("event", [untouched, emptied_after, emptied_while_down, emptied_before, emptied_and_begun_again])
def test_neither_a_restart_nor_an_emptied_redis_gives_back_what_was_used(stands, redis, provider, event, how):
    at = stands(shared(redis) + team("{ tpm: 1000, window: 5m }"))
    at.start()
    for _ in range(8):
        assert at.ask("one two out=97", max_tokens=97)[0] == 200
    for _ in range(2):
        event(at, redis, how)
        # A gateway that is killed may not have told the store what the last answers really used.
        comes_to_count(at, provider, beside=80)
        # Until the store has been told all, and that is noted.
        eventually(lambda: at.is_known(redis))


def test_what_was_admitted_without_redis_counts_after_a_restart_and_when_it_is_back(stands, redis, provider):
    at = stands(shared(redis) + team("{ tpm: 1000, window: 5m }"))
    at.start()
    probe(at)
    redis.send_signal(signal.SIGSTOP)
    for _ in range(7):
        assert at.ask("one two out=97", max_tokens=97)[0] == 200
    at.restart(signal.SIGKILL)
    assert probe(at) <= 1_000 - 7 * 99
    assert at.ask("one two out=400", max_tokens=400)[0] == 429
    at.stop(signal.SIGKILL)
    redis.send_signal(signal.SIGCONT)
    at.start()
    # The frozen store had received the question of the first of them, and nobody is there to take it back.
    comes_to_count(at, provider, beside=97 + 80)


@pytest.mark.parametrize("how", STOPS)
def test_a_restart_beside_redis_neither_gives_back_nor_takes_what_was_spent(stands, redis, provider, how):
    prices = "prices:\n  - { provider: openai, models: [priced], per_million: { input: 10, output: 100 } }\n"
    at = stands(shared(redis) + prices + f"keys:\n  - {{ name: team, key: {KEY}, budget: {{ usd: 0.05, per: day }} }}\n")
    at.start()
    served = 0
    for _ in range(3):
        for _ in range(2):
            served += at.ask("one two out=60", model="priced", max_tokens=60)[0] == 200
        at.restart(how)
    # Six cost some 0.036 $ together.
    assert served == 6
    assert at.ask("one two out=200", model="priced", max_tokens=200)[0] == 429


def test_a_budget_that_is_set_again_after_a_restart_knows_what_was_spent(stands, provider):
    prices = "prices:\n  - { provider: openai, models: [priced], per_million: { input: 10, output: 100 } }\n"
    budget = ", budget: { usd: 0.05, per: day }"
    at = stands(prices + f"keys:\n  - {{ name: team, key: {KEY} {budget} }}\n")
    at.start()
    for _ in range(6):
        assert at.ask("one two out=60", model="priced", max_tokens=60)[0] == 200
    at.stop(signal.SIGTERM)
    text = at.config.read_text()
    at.config.write_text(text.replace(budget, ""))
    at.start()
    at.config.write_text(text)

    def spent():
        lines = wait_for(f"http://127.0.0.1:{at.metrics}/metrics").decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith("opm_budget_spent_usd{"))

    used = sum(10 * call["prompt"] + 100 * call["output"] for call in provider.calls) / 1e6
    eventually(lambda: abs(spent() - used) < 1e-9, seconds=15)
    for _ in range(4):
        at.ask("one two out=60", model="priced", max_tokens=60)
    assert sum(10 * call["prompt"] + 100 * call["output"] for call in provider.calls) <= 50_000


def test_a_common_store_makes_good_what_an_emptied_redis_forgot_of_gateways_that_have_ended(stands, redis, postgres, provider, tmp_path, monkeypatch):
    monkeypatch.setenv("OPM_KEY_PEPPER", "pepper-0123456789-abcdefghijklmnop-XYZ")
    monkeypatch.setenv("OPM_MASTER_KEY", "master-0123456789-abcdefghijklmnop-XYZ")
    prices = "prices:\n  - { provider: openai, models: [priced], per_million: { input: 10, output: 100 } }\n"
    budget = f"keys:\n  - {{ name: team, key: {KEY}, budget: {{ usd: 0.05, per: day }} }}\n"

    def started(name):
        at = stands(shared(redis) + prices + budget, storage=f"url: '{postgres}', ledger: {tmp_path}/{name}/ledger", name=name)
        at.start()
        return at

    def spends(at, times):
        for _ in range(times):
            assert at.ask("one two out=50", model="priced", max_tokens=50)[0] == 200

    def in_redis():
        budgets = [name for name in redis.said("keys", "{opm}:*").decode().split() if name.count(":") == 2]
        return sum(int(redis.said("get", name)) for name in budgets)

    def emptied():
        returned = [(at, at.log.read_text().count("limits decides again")) for at in (one, two)]
        redis.said("flushall")
        # Each tells what it has spent, and what the ended one had: all of it once.
        eventually(lambda: all(at.log.read_text().count("limits decides again") > before for at, before in returned), seconds=15)
        assert in_redis() == spent

    one, ended = started("one"), started("ended")
    spends(ended, 3)
    ended.stop(signal.SIGTERM)
    two = started("two")
    spends(one, 3)
    # In 10^-9 dollars; what was reserved has been given back.
    spent = sum(10 * call["prompt"] + 100 * call["output"] for call in provider.calls) * 1_000
    eventually(lambda: in_redis() == spent)
    for _ in range(3):
        emptied()
    one.restart(signal.SIGTERM)
    emptied()
    for at in [one, two] * 5:
        at.ask("one two out=50", model="priced", max_tokens=50)
    assert sum(10 * call["prompt"] + 100 * call["output"] for call in provider.calls) <= 50_000


def test_a_database_that_is_not_there_yet_is_waited_for(stands, postgres, provider, monkeypatch):
    monkeypatch.setenv("OPM_KEY_PEPPER", "pepper-0123456789-abcdefghijklmnop-XYZ")
    monkeypatch.setenv("OPM_MASTER_KEY", "master-0123456789-abcdefghijklmnop-XYZ")
    there, port = urllib.parse.urlsplit(postgres), free_port()
    url = there._replace(netloc=f"opm:secret-of-the-store@127.0.0.1:{port}").geturl()
    at = stands(team("{ tpm: 9k }"), storage=f"url: '{url}', ledger: {{folder}}/ledger")
    at.begin()
    eventually(lambda: "waiting for it, 30 s at most" in at.log.read_text())
    relay = Relay(there.port, at=port)
    wait_for(f"http://127.0.0.1:{at.port}/readyz")
    assert probe(at) is not None
    assert at.log.read_text().count("waiting for it") == 1 and "secret-of-the-store" not in at.log.read_text()
    at.stop(signal.SIGTERM)
    relay.close()


def test_a_store_that_fails_holds_no_start_up_and_the_ledger_counts_instead(stands, provider, tmp_path):
    at = stands(team("{ tpm: 1000, window: 60m }"))
    at.start()
    with sqlite3.connect(tmp_path / "opm.db", timeout=10) as store:
        store.execute("ALTER TABLE opm_usage RENAME TO away")
    for _ in range(8):
        assert at.ask("one two out=97", max_tokens=97)[0] == 200
    before = probe(at)
    at.restart(signal.SIGKILL)
    assert probe(at) == before - cost(provider.calls[-1])
    assert "cannot be read from the store" in at.log.read_text()


def test_the_environment_alone_remembers_in_the_store_that_it_names(stands, provider, tmp_path):
    at = stands("")
    domain, upstream = provider.url.removeprefix("http://").removesuffix("/v1").split(":")
    env = {name: "" for name in os.environ if name.endswith("_API_KEY")} | {
        "PROXY_PORT": str(at.port), "METRICS_PORT": str(free_port()), "ENABLE_RATE_LIMITING": "true", "RATE_LIMIT_WINDOW_MIN": "1",
        "MAX_TOKENS": "200", "USER_HEADER": "user", "OPENAI_DOMAIN": domain, "OPENAI_PORT": upstream, "OPENAI_TLS": "false",
        "OPENAI_API_KEY": "sk-upstream-0123456789", "OPM_STORAGE_URL": f"sqlite:{tmp_path}/env.db",
    }
    command = [BINARY, "serve"]

    def until_refused(user):
        for count in range(20):
            if at.ask("hi out=40", key=None, user=user, max_tokens=40)[0] == 429:
                return count
        raise AssertionError("never refused")

    at.start(command, env)
    most = until_refused("ada")
    assert most >= 3
    for how in STOPS:
        at.stop(how)
        at.start(command, env)
        assert until_refused("ada") == 0
    assert until_refused("bob") == most


@pytest.mark.parametrize("limit", ["budget: { usd: 0.01, per: day }", "limits: { tpm: 100, window: 5m }"], ids=["budget", "window"])
def test_an_upgrade_passes_on_what_the_old_process_used_until_its_end(stands, redis, provider, limit):
    prices = "prices:\n  - { provider: openai, models: [priced], per_million: { input: 10, output: 100 } }\n"
    at = stands(shared(redis) + prices + f"keys:\n  - {{ name: team, key: {KEY}, {limit} }}\n")
    at.start()
    old = at.process
    with concurrent.futures.ThreadPoolExecutor() as pool:
        # Some 0.006 $, or what is left of a hundred tokens beside the upper bound of the prompt.
        long = pool.submit(at.ask, "one two out=60 pace=50", model="priced", max_tokens=60, stream=True)
        eventually(lambda: provider.calls)
        at.begin([BINARY, "serve", "-c", at.config, "--upgrade"])
        old.send_signal(signal.SIGQUIT)
        assert long.result()[0] == 200 and old.wait(30) == 0
    wait_for(f"http://127.0.0.1:{at.port}/readyz")
    eventually(lambda: "took over the ledger" in at.log.read_text(), seconds=10)
    before = at.log.read_text().count("limits decides again")
    redis.said("flushall")
    eventually(lambda: at.log.read_text().count("limits decides again") > before, seconds=15)
    status, _, body = at.ask("one two out=60", model="priced", max_tokens=60)
    assert status == 429, body
    assert at.ask("one two out=5", model="priced", max_tokens=5)[0] == 200
