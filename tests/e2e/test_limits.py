"""Limits and budgets with the real binary, a real Redis, and a provider that counts for itself."""

import asyncio
import functools
import glob
import json
import os
import random
import signal
import socket
import sqlite3
import string
import subprocess
import time
import urllib.request

import pytest

from callers import Caller, crowd
from conftest import BINARY, eventually, free_port, wait_for
from provider import Provider, worst_window
from relay import Relay

KEY = "sk-test-client-key-0123456789"


@pytest.fixture
def provider():
    made = Provider()
    yield made
    made.close()


@pytest.fixture
def gateways(tmp_path, provider):
    """Starts gateways in front of the counting provider; `more` is added to their configuration."""
    started = []

    def start(more="", name="opm", channel="", env=None):
        port, metrics = free_port(), free_port()
        config = tmp_path / f"{name}.yaml"
        config.write_text(
            f"version: 1\nserver: {{ listen: 127.0.0.1:{port} }}\nmetrics: {{ listen: 127.0.0.1:{metrics} }}\n"
            f"admin: {{ listen: 127.0.0.1:{free_port()} }}\n"
            f"channels:\n  - {{ name: one, format: openai, base_url: '{provider.url}', keys: [sk-upstream-0123456789], models: ['*'] {channel} }}\n"
            + more
        )
        log = open(tmp_path / f"{name}.log", "a")
        process = subprocess.Popen([BINARY, "serve", "-c", config], stderr=log, stdout=log, env={**os.environ, **(env or {})})
        started.append(process)
        wait_for(f"http://127.0.0.1:{port}/readyz")
        process.port, process.metrics, process.config = port, metrics, config
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def key_with(limits="", budget=""):
    parts = [f"limits: {limits}" if limits else "", f"budget: {budget}" if budget else ""]
    return "keys:\n  - { name: team, key: %s, %s }\n" % (KEY, ", ".join(part for part in parts if part))


def metric(at, start):
    text = wait_for(f"http://127.0.0.1:{at.metrics}/metrics").decode()
    return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(start))


def ask(at, text="hi out=5", key=KEY, **more):
    return asyncio.run(Caller(at.port, key).ask(text, **more))


BODIES = {
    "/v1/chat/completions": {"model": "m", "messages": [{"role": "user", "content": "hi"}]},
    "/v1/responses": {"model": "m", "input": "hi"},
    "/v1/messages": {"model": "m", "max_tokens": 20, "messages": [{"role": "user", "content": "hi"}]},
    "/v1beta/models/m:generateContent": {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]},
}


def post(at, path, body, **headers):
    request = urllib.request.Request(f"http://127.0.0.1:{at.port}{path}", data=json.dumps(body).encode(), headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, {name.lower(): value for name, value in answer.headers.items()}, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, {name.lower(): value for name, value in error.headers.items()}, json.load(error)


@pytest.mark.parametrize("path", BODIES)
def test_a_refused_request_says_so_in_its_own_format(gateways, path):
    at = gateways(key_with("{ rpm: 2 }"))
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    for left in (1, 0):
        status, got, _ = post(at, path, BODIES[path], **headers)
        assert status == 200 and got["x-ratelimit-remaining-requests"] == str(left)
    status, got, body = post(at, path, BODIES[path], **headers)
    assert status == 429, body
    assert 1 <= int(got["retry-after"]) <= 62 and abs(int(got["retry-after-ms"]) / 1000 - int(got["retry-after"])) <= 1
    assert got["x-should-retry"] in ("true", "false")
    text = json.dumps(body)
    assert "key.requests" in text and "try again in" in text
    shape = {
        "/v1/chat/completions": lambda: body["error"]["code"] == "rate_limit_exceeded",
        "/v1/responses": lambda: body["error"]["code"] == "rate_limit_exceeded",
        "/v1/messages": lambda: body["type"] == "error" and body["error"]["type"] == "rate_limit_error",
        "/v1beta/models/m:generateContent": lambda: body["error"]["status"] == "RESOURCE_EXHAUSTED",
    }[path]
    assert shape(), body
    if path == "/v1/messages":
        assert got["anthropic-ratelimit-requests-limit"] == "2" and got["anthropic-ratelimit-requests-reset"].endswith("Z")
    assert metric(at, 'rate_limit_exceeded_total{limit="key.requests"}') == 1


def test_a_refusal_of_tokens_says_tokens_and_a_prompt_that_never_fits_names_the_limit(gateways):
    at = gateways(key_with("{ tpm: 600, window: 60m }"))
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}

    def ask(words, most):
        body = {"model": "m", "max_tokens": most, "messages": [{"role": "user", "content": "word " * words}]}
        return post(at, "/v1/chat/completions", body, **headers)

    status, _, body = ask(2_000, 5)
    assert status == 413 and "the limit `key.tokens` of 600 tokens" in body["error"]["message"], body
    answers = [ask(20, 300) for _ in range(20)]
    status, _, body = next(answer for answer in answers if answer[0] != 200)
    assert status == 429 and body["error"]["type"] == "tokens" and body["error"]["code"] == "rate_limit_exceeded", body


def test_waiting_exactly_as_long_as_told_is_enough(gateways, provider):
    at = gateways(key_with("{ tpm: 100, window: 4s, mode: estimate }"))

    async def run():
        caller = Caller(at.port, KEY)
        spent = 0
        while True:
            status, headers, _ = await caller.ask("one two out=18", max_tokens=18)
            if status == 429:
                break
            spent += 1
        assert spent >= 4
        wait = int(headers["retry-after-ms"]) / 1000
        assert 0.5 < wait <= 4.1, wait
        await asyncio.sleep(wait * 0.7)
        status, later, _ = await caller.ask("one two out=18", max_tokens=18)
        assert status == 429
        await asyncio.sleep(int(later["retry-after-ms"]) / 1000)
        status, _, body = await caller.ask("one two out=18", max_tokens=18)
        assert status == 200, body

    asyncio.run(run())
    assert worst_window(provider.calls, 4) <= 100


def test_the_environment_alone_gives_every_user_a_window(tmp_path, provider):
    port, metrics = free_port(), free_port()
    domain, upstream = provider.url.removeprefix("http://").removesuffix("/v1").split(":")
    env = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    env |= {
        "PROXY_PORT": str(port), "METRICS_PORT": str(metrics), "ENABLE_RATE_LIMITING": "true", "RATE_LIMIT_WINDOW_MIN": "1",
        "MAX_TOKENS": "200", "USER_HEADER": "X-Person", "OPENAI_DOMAIN": domain, "OPENAI_PORT": upstream, "OPENAI_TLS": "false",
        "OPENAI_API_KEY": "sk-upstream-0123456789",
    }
    process = subprocess.Popen([BINARY], env=env, cwd=tmp_path, stderr=subprocess.DEVNULL)
    try:
        wait_for(f"http://127.0.0.1:{port}/readyz")
        headers = {"content-type": "application/json"}
        body = {"model": "gpt-4o", "max_tokens": 40, "messages": [{"role": "user", "content": "hi out=40"}]}
        at = type("At", (), {"port": port, "metrics": metrics})

        def until_refused(person):
            for count in range(20):
                status, got, _ = post(at, "/v1/chat/completions", body, **headers, **{"X-Person": person})
                if status == 429:
                    return count, got
            raise AssertionError("never refused")

        count, got = until_refused("ada")
        assert 3 <= count <= 4 and got["x-ratelimit-limit-tokens"] == "200"
        assert until_refused("bob")[0] == count
        assert metric(at, 'rate_limit_exceeded_total{limit="users.tokens"}') == 2
        # Without the header all are one: nobody escapes by leaving it out.
        for _ in range(count):
            assert post(at, "/v1/chat/completions", body, **headers)[0] == 200
        assert post(at, "/v1/chat/completions", body, **headers)[0] == 429
    finally:
        process.kill()
        process.wait()


def test_strict_holds_the_answer_to_what_is_left_and_estimate_leaves_it_alone(gateways, provider):
    strict = gateways(key_with("{ tpm: 400, window: 60m }"), name="strict")
    status, _, body = ask(strict, "please write very much out=5000")
    assert status == 200 and json.loads(body)["choices"][0]["finish_reason"] == "length"
    assert provider.calls[-1]["bound"] <= 400
    ask(strict, "again out=5000")
    assert sum(call["prompt"] + call["output"] for call in provider.calls) <= 400
    before = len(provider.calls)
    status, _, _ = ask(strict, "a bound of its own out=5000", max_tokens=100_000)
    assert status in (200, 429) and all(call["bound"] <= 400 for call in provider.calls[before:])
    loose = gateways(key_with("{ tpm: 400, window: 60m, mode: estimate }"), name="loose")
    ask(loose, "please write out=300")
    assert provider.calls[-1]["bound"] is None and provider.calls[-1]["output"] == 300


def test_requests_at_the_same_time_are_limited_and_let_go_whichever_way_they_end(gateways, provider):
    at = gateways(key_with("{ concurrent: 3 }"))

    async def run():
        callers = [Caller(at.port, KEY) for _ in range(8)]
        for end in ("pace=20", "pace=20 cut=3"):
            answers = await asyncio.gather(*(caller.ask(f"out=20 {end}", stream=True) for caller in callers))
            statuses = sorted(status for status, *_ in answers)
            assert statuses.count(429) == 5, statuses
        status, *_ = await callers[0].ask("out=1")
        assert status == 200
        # Clients that leave give their place back too.
        for _ in range(3):
            reader, writer = await asyncio.open_connection("127.0.0.1", at.port)
            body = json.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": "out=500 pace=20"}]})
            head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\ncontent-length: {len(body)}\r\n\r\n"
            writer.write((head + body).encode())
            await reader.readuntil(b"word")
            writer.close()
        deadline = time.monotonic() + 2
        while (await callers[0].ask("out=1"))[0] == 429:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)

    asyncio.run(run())


def test_a_channel_at_its_limit_leaves_the_request_to_the_next(tmp_path, provider, gateways):
    other = f"  - {{ name: two, format: openai, base_url: '{provider.url}', keys: [sk-upstream-0123456789], models: {{ '*': second }}, priority: -1, limits: {{ rpm: 3 }} }}\n"
    at = gateways(other, channel=", limits: { rpm: 2 }")
    statuses = [ask(at, key=None)[0] for _ in range(7)]
    assert statuses == [200] * 5 + [429] * 2
    assert [call["key"] for call in provider.calls] == ["gpt-4o"] * 2 + ["second"] * 3
    assert metric(at, "opm_breaker_state") == 0


def test_general_limits_count_by_any_pair(gateways, provider):
    at = gateways("limits:\n  - { name: heavy, by: [user, model], models: ['gpt-*'], rpm: 1 }\n")

    def status(user, model):
        return ask(at, key=None, user=user, model=model)[0]

    assert [status("ada", "gpt-4o"), status("ada", "gpt-4o"), status("ada", "gpt-5"), status("bob", "gpt-4o")] == [200, 429, 200, 200]
    assert [status("ada", "claude-x") for _ in range(3)] == [200] * 3


@pytest.mark.parametrize("shared", [False, True])
def test_a_long_prompt_is_estimated_roughly_only_where_there_is_room_to_spare(gateways, redis, provider, tmp_path, shared):
    text = "lorem ipsum dolor 12. " * 3000
    left = {}

    def storage(name):
        return f"storage: {{ url: 'sqlite:{tmp_path}/{name}.db' }}\n"

    for number, (name, limit) in enumerate((("wide", 4_000_000), ("narrow", 100_000), ("small", 20_000))):
        provider.clear()
        limits = f"shared: {{ redis_url: 'redis://127.0.0.1:{redis.port}/{number}' }}\n" if shared else ""
        at = gateways(limits + storage(name) + key_with(f"{{ tpm: {limit}, window: 10m }}"), name=name)
        status, headers, body = ask(at, text + "out=7", max_tokens=10, user=name)
        assert status == (413 if name == "small" else 200), body
        if status == 413:
            continue
        left[name] = limit - int(headers["x-ratelimit-remaining-tokens"])
        # What the provider has counted stands in its place then.
        ask(at, "hi out=1", max_tokens=1, user="after")
        _, headers, _ = ask(at, "hi out=1", max_tokens=1, user="after")
        used = limit - int(headers["x-ratelimit-remaining-tokens"])
        assert sum(call["prompt"] + call["output"] for call in provider.calls) <= used + 100
        # What the provider does not count stays on record as well estimated as without limits.
        assert ask(at, text + "out=7 nousage=1", max_tokens=10, user="unseen")[0] == 200
    # With Redis never roughly: what others hold is not known before it has answered.
    assert (left["wide"] >= len(text) + 10) == (not shared) and 12_000 < left["narrow"] < len(text), left
    bare = gateways(storage("bare"), name="bare")
    assert ask(bare, text + "out=7 nousage=1", key=None, max_tokens=10, user="bare")[0] == 200

    def unseen(name):
        found = sqlite3.connect(tmp_path / f"{name}.db", timeout=10).execute("SELECT input FROM opm_usage WHERE source <> 'reported'")
        return found.fetchall()

    inputs = [eventually(lambda name=name: unseen(name)) for name in ("wide", "narrow", "bare")]
    assert inputs[0] == inputs[1] == inputs[2] and len(inputs[0]) == 1, inputs


PRICES = "prices:\n  - { provider: openai, models: [priced], per_million: { input: 10, output: 100 } }\n"
PROSE = "The quick brown fox jumps over the lazy dog. "

LONG_PROMPTS = {
    "prose": (PROSE * 1300, {}, 16_384),
    "numbers": ("".join(f"{number}, " for number in range(10_000, 17_000)), {"max_tokens": 300}, 300),
    "digits": ("7" * 200, {"max_tokens": 10}, 10),
    "short": (PROSE * 400, {"max_tokens": 20}, 20),
}


@pytest.mark.parametrize("limit", [60_000, 100_000, 900_000, 1_100_000, 9_000_000])
def test_long_prompts_get_as_much_output_as_short_ones(gateways, provider, limit):
    for name, (text, asked, bound) in LONG_PROMPTS.items():
        at = gateways(key_with(f"{{ tpm: {limit} }}"), name=name)
        status, _, body = ask(at, text + " out=1", **asked)
        assert (status, provider.calls[-1]["bound"]) == (200, bound), (name, body)


def test_a_rule_that_only_expects_does_not_shorten_answers(gateways, provider):
    budgets = "[{ usd: 50, per: day }, { usd: 200, per: month, action: warn }]"
    prices = PRICES.replace("priced", "gpt-4o")
    at = gateways(prices + key_with("{ tpm: 900k }", budgets) + "users: { limits: { tpm: 800k, mode: estimate } }\n")
    for text in ("hi", PROSE * 300, PROSE * 700):
        assert ask(at, f"{text} out=1")[0] == 200
        assert provider.calls[-1]["bound"] == 16_384


def test_a_long_prompt_that_fails_over_to_a_dearer_channel_keeps_as_much_output_as_if_well_estimated(gateways, provider):
    prices = "".join(f"  - {{ provider: openai, models: [{model}], per_million: {{ input: {price}, output: 10 }} }}\n" for model, price in (("cheap", 1), ("dear", 3)))
    two = f"  - {{ name: two, format: openai, base_url: '{provider.url}', keys: [sk-upstream-0123456789], models: {{ cheap: dear }}, priority: -1, limits: {{ tpm: 80k }} }}\n"
    bounds = []
    for limit in ("9M", "300k"):
        at = gateways(two + "prices:\n" + prices + key_with(f"{{ tpm: {limit} }}", "{ usd: 9, per: day }"), name=limit)
        status, _, body = ask(at, PROSE * 1000 + " out=1 failing=cheap", model="cheap", max_tokens=40_000)
        assert status == 200 and provider.calls[-1]["key"] == "dear", body
        bounds.append(provider.calls[-1]["bound"])
    assert bounds[0] == bounds[1] > 30_000, bounds


def test_a_prompt_that_nobody_counted_costs_what_is_well_estimated(gateways, provider, tmp_path):
    costs = []
    for name, budget in (("wide", 100), ("narrow", 1)):
        storage = f"storage: {{ url: 'sqlite:{tmp_path}/{name}.db' }}\n"
        at = gateways(PRICES + storage + key_with("{ tpm: 9M }", f"{{ usd: {budget}, per: day }}"), name=name)

        async def leave(port=at.port, calls=len(provider.calls)):
            asking = asyncio.create_task(Caller(port, KEY).ask(PROSE * 1000 + " think=20000", model="priced", max_tokens=10, stream=True))
            while len(provider.calls) == calls:
                await asyncio.sleep(0.02)
            asking.cancel()

        asyncio.run(asyncio.wait_for(leave(), 10))

        def row(name=name):
            query = "SELECT input, cost_pico_usd, held FROM opm_usage"
            return sqlite3.connect(tmp_path / f"{name}.db", timeout=10).execute(query).fetchall()

        costs.append(eventually(row))
    (wide,), (narrow,) = costs
    assert wide[0] == narrow[0] and abs(wide[1] - narrow[1]) <= 2_000 and wide[2] == narrow[2], costs


def redis_limits(redis, tpm, window, more=""):
    return f"shared: {{ redis_url: '{redis.url}' }}\n" + key_with(f"{{ tpm: {tpm}, window: {window}{more} }}")


def clock_off_by(seconds):
    """The environment of a process whose wall clock is wrong."""
    (library,) = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
    return {"LD_PRELOAD": library, "FAKETIME": f"{seconds:+d}s", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


def clock_of(at):
    """What a gateway takes for the time: its request ids begin with it, in milliseconds, to the base of 62."""
    _, headers, _ = post(at, "/v1/chat/completions", {}, authorization=f"Bearer {KEY}")
    digits = string.digits + string.ascii_uppercase + string.ascii_lowercase
    return functools.reduce(lambda sum, digit: sum * 62 + digits.index(digit), headers["x-gateway-request-id"][4:11], 0) / 1000


@pytest.mark.parametrize("shape", ["steady", "bursty", "edge"])
def test_no_trailing_window_is_ever_over_the_limit_with_three_instances_and_a_skewed_clock(gateways, redis, provider, shape):
    limit, window = 12_000, 6
    skews = {"steady": [0, 0, 41], "bursty": [0, 0, -41], "edge": [0, 3, -4]}[shape]
    started = [
        gateways(redis_limits(redis, limit, f"{window}s"), name=f"g{number}", env=clock_off_by(skew) if skew else None)
        for number, skew in enumerate(skews)
    ]
    for at, skew in zip(started, skews, strict=True):
        assert abs(clock_of(at) - time.time() - skew) < 1.5, "the clock is not as wrong as it should be"
    ports = [at.port for at in started]
    rng = random.Random(5)
    began = time.monotonic()

    async def one(caller, number):
        if shape == "bursty" and int((time.monotonic() - began) / 1.5) % 2:
            await asyncio.sleep(0.05)
            return 0
        if shape == "edge":
            # Comes back at the very moment at which it is told that there is room.
            status, headers, _ = await caller.ask(f"id={number} out={rng.randrange(5, 60)}", max_tokens=60)
            if status == 429:
                await asyncio.sleep(min(int(headers["retry-after-ms"]) / 1000, 2))
            return status
        status, headers, _ = await caller.ask(f"id={number} out={rng.randrange(5, 60)}", max_tokens=60)
        if status == 429:
            await asyncio.sleep(rng.uniform(0.02, 0.2))
        return status

    seconds = 3.2 * window
    statuses = asyncio.run(crowd(ports, seconds, one, 200, KEY))
    assert statuses.count(429) > 50 and not set(statuses) - {0, 200, 429}
    worst = worst_window(provider.calls, window)
    # An instance that gets no answer from Redis in time decides by its share, and the provider notes a call when its loop comes to it: a
    # failure says whether that happened, and how late the loop was.
    assert worst <= limit, (worst, limit, provider.lag, [metric(at, "opm_limits_outages_total") for at in started])
    if shape == "steady":
        # Two whole windows in the middle.
        inside = [call for call in provider.calls if window <= call["at"] - began < 3 * window]
        used = sum(call["prompt"] + call["output"] for call in inside)
        assert used >= 0.97 * 2 * limit, used / (2 * limit)


def test_an_admission_that_the_store_tells_late_counts_when_it_is_sent(gateways, redis, provider):
    relay = Relay(redis.port)
    limit, window = 2_000, 2
    at = gateways(f"shared: {{ redis_url: 'redis://127.0.0.1:{relay.port}/0', timeout: 1s }}\n" + key_with(f"{{ tpm: {limit}, window: {window}s }}"))

    async def one(caller, number):
        # At first, and then not any more: what is admitted next reaches the provider sooner.
        relay.held = 0.1 if time.monotonic() - began < 0.5 else 0
        status, headers, _ = await caller.ask("out=39", max_tokens=39)
        if status == 429:
            await asyncio.sleep(int(headers["retry-after-ms"]) / 1000)
        return status

    # From now on Redis knows the script.
    assert ask(at, "out=1")[0] == 200
    began = time.monotonic()
    statuses = asyncio.run(crowd([at.port], 5, one, 60, KEY))
    assert statuses.count(200) > 60 and statuses.count(429) > 50 and metric(at, "opm_limits_outages_total") == 0
    relay.close()
    worst = worst_window(provider.calls, window)
    assert worst <= limit, (worst, limit)


def test_a_distant_store_decides_from_the_first_request_on(gateways, redis, provider):
    relay = Relay(redis.port)
    relay.held = 0.03
    at = gateways(f"shared: {{ redis_url: 'redis://127.0.0.1:{relay.port}/0' }}\n" + key_with("{ tpm: 1000, window: 60s }"))
    assert (metric(at, "opm_limits_together"), metric(at, "opm_limits_outages_total")) == (1, 0)
    assert ask(at)[0] == 200 and metric(at, "opm_limits_outages_total") == 0
    relay.close()


def freeze_costs_once(at, redis):
    async def run():
        caller = Caller(at.port, KEY)
        for _ in range(20):
            assert (await caller.ask("out=2", max_tokens=5))[0] == 200
        redis.send_signal(signal.SIGSTOP)
        times = []
        for _ in range(50):
            began = time.monotonic()
            status, *_ = await caller.ask("out=2", max_tokens=5)
            times.append(time.monotonic() - began)
            assert status == 200
        assert times[0] < 0.1, times[0]
        assert sorted(times[1:])[45] < 0.02, times
        assert metric(at, "opm_limits_together") == 0
        redis.send_signal(signal.SIGCONT)
        while metric(at, "opm_limits_together") == 0:
            assert (await caller.ask("out=2", max_tokens=5))[0] == 200
            await asyncio.sleep(0.05)
        assert (await caller.ask("out=2", max_tokens=5))[0] == 200

    asyncio.run(asyncio.wait_for(run(), 60))


def test_a_frozen_redis_costs_sixty_milliseconds_once_and_the_policy_decides(gateways, redis, provider):
    freeze_costs_once(gateways(redis_limits(redis, 100_000, "60s")), redis)


def test_deny_refuses_while_redis_is_away_and_allow_does_not(gateways, redis, provider):
    text = redis_limits(redis, 100_000, "60s", ", on_failure: deny") + f"users: {{ limits: {{ rpm: 1000, on_failure: allow }} }}\n"
    at = gateways(text)
    assert ask(at)[0] == 200
    redis.send_signal(signal.SIGSTOP)
    status, headers, body = ask(at)
    assert status == 503 and b"key.tokens" in body and "retry-after" in headers, (status, body)
    redis.send_signal(signal.SIGCONT)
    eventually(lambda: ask(at)[0] == 200, seconds=10)


def test_stopping_and_emptying_redis_under_load_lets_nothing_through_twice(gateways, redis, provider):
    limit, window = 9_000, 5
    ports = [gateways(redis_limits(redis, limit, f"{window}s"), name=f"g{number}").port for number in range(3)]
    rng = random.Random(9)

    async def one(caller, number):
        status, *_ = await caller.ask(f"id={number} out={rng.randrange(5, 40)}", max_tokens=40)
        if status != 200:
            await asyncio.sleep(rng.uniform(0.02, 0.2))
        return status

    async def trouble():
        await asyncio.sleep(3)
        redis.send_signal(signal.SIGSTOP)
        await asyncio.sleep(2)
        redis.send_signal(signal.SIGCONT)
        await asyncio.sleep(3)
        await asyncio.to_thread(redis.said, "flushall")

    async def run():
        found, _ = await asyncio.gather(crowd(ports, 14, one, 100, KEY), trouble())
        return found

    statuses = asyncio.run(run())
    assert statuses.count(200) > 100 and not set(statuses) - {200, 429}
    worst = worst_window(provider.calls, window)
    assert worst <= limit, (worst, limit)


def spent(provider):
    """In millionths of a dollar."""
    return sum(call["prompt"] * 10 + call["output"] * 100 for call in provider.calls)


def test_a_strict_budget_is_not_a_cent_over_and_survives_a_restart(gateways, provider, tmp_path):
    storage = f"storage: {{ url: 'sqlite:{tmp_path}/opm.db' }}\n"
    # 0.05 $ are 50,000 millionths: 500 output tokens.
    text = PRICES + storage + key_with(budget="{ usd: 0.05, per: day }")
    at = gateways(text)

    async def one(caller, number):
        status, *_ = await caller.ask(f"id={number} out={5 + number % 20}", max_tokens=25, model="priced")
        if status != 200:
            await asyncio.sleep(0.02)
        return status

    statuses = asyncio.run(crowd([at.port], 2, one, 30, KEY))
    assert set(statuses) == {200, 429}, set(statuses)
    assert 0.9 * 50_000 < spent(provider) <= 50_000
    # No shorter than what was refused at last, or there may be room for it.
    status, headers, body = ask(at, "id=99 out=25", model="priced", max_tokens=25)
    assert status == 429 and b"key.budget" in body and b"insufficient_quota" in body
    assert metric(at, "opm_budget_crossed_total") >= 1
    labels = '{limit="key.budget",subject="static:team",period="day UTC"}'
    assert metric(at, "opm_budget_limit_usd" + labels) == 0.05
    told = metric(at, "opm_budget_spent_usd" + labels)
    assert told == pytest.approx(spent(provider) / 1e6, abs=1e-6)
    at.terminate()
    at.wait(20)
    again = gateways(text, name="again")
    assert metric(again, "opm_budget_spent_usd" + labels) == pytest.approx(told)
    statuses = asyncio.run(crowd([again.port], 1, one, 10, KEY))
    assert spent(provider) <= 50_000 and 429 in statuses
    # A model without a price cannot be counted, so a budget that must hold does not let it through.
    status, _, body = ask(again, "out=1", model="nobody-knows")
    assert status == 403 and b"no known price" in body


def test_a_failover_to_a_model_without_a_price_says_what_failed_before(gateways, provider, tmp_path):
    other = f"  - {{ name: two, format: openai, base_url: '{provider.url}', keys: [sk-upstream-0123456789], models: {{ priced: mystery }}, priority: -1 }}\n"
    third = f"  - {{ name: three, format: openai, base_url: '{provider.url}', keys: [sk-upstream-0123456789], models: {{ priced: priced }}, priority: -2 }}\n"
    budget = PRICES + key_with(budget="{ usd: 5, per: day }")
    for name, more, asked in (("short", other, ["priced"] * 2), ("long", other + third, ["priced"] * 3)):
        at = gateways(more + budget, name=name)
        provider.clear()
        status, _, body = ask(at, "hi status=503", model="priced", max_tokens=5)
        assert status == 503 and b"larger than" not in body, (status, body)
        assert [call["key"] for call in provider.calls][: len(asked)] == asked
        log = (tmp_path / f"{name}.log").read_text()
        assert "the channel is passed over: its model has no known price" in log and "mystery" in log, log


def test_a_channel_whose_model_has_no_price_leaves_a_budgeted_request_to_the_next(gateways, provider):
    first = f"  - {{ name: first, format: openai, base_url: '{provider.url}', keys: [sk-upstream-0123456789], models: {{ priced: mystery }}, priority: 1 }}\n"
    at = gateways(first + PRICES + key_with(budget="{ usd: 5, per: day }"))
    status, _, body = ask(at, "out=2", model="priced", max_tokens=5)
    assert status == 200, body
    assert [call["key"] for call in provider.calls] == ["priced"]


@pytest.mark.parametrize("priority", [1, -1])
def test_a_limit_that_passes_is_told_before_a_model_without_a_price(gateways, provider, priority):
    first = f"  - {{ name: dear, format: openai, base_url: '{provider.url}', keys: [sk-upstream-0123456789], models: ['*'], priority: {priority}, budget: {{ usd: 5, per: day }} }}\n"
    at = gateways(first + key_with("{ rpm: 100 }"), channel=", limits: { rpm: 1 }")
    assert ask(at, model="mystery")[0] == 200
    status, headers, body = ask(at, model="mystery")
    assert status == 429 and b"channel.requests" in body, (status, body)
    assert headers["x-ratelimit-limit-requests"] == "1" and 1 <= int(headers["retry-after"]) <= 62


def test_the_headers_are_of_who_answered_or_of_the_limit_that_is_told(gateways, provider):
    def other(name, priority, more=""):
        return f"  - {{ name: {name}, format: openai, base_url: '{provider.url}', keys: [sk-upstream-0123456789], models: ['*'], priority: {priority} {more} }}\n"

    at = gateways(other("free", -1) + key_with("{ rpm: 100 }"), channel=", limits: { rpm: 1 }")
    ask(at)
    status, headers, _ = ask(at)
    assert status == 200 and len(provider.calls) == 2
    assert (headers["x-ratelimit-limit-requests"], headers["x-ratelimit-remaining-requests"]) == ("100", "98")
    # Of two channels that are full, the one that lets the request pass first.
    first = other("first", 1, ", limits: { rpm: 2 }")
    at = gateways(first + key_with("{ concurrent: 9 }"), channel=", limits: { rpm: 1 }", name="both")
    for _ in range(3):
        assert ask(at)[0] == 200
    status, headers, body = ask(at)
    assert status == 429 and b"of 2 requests per minute" in body, (status, body)
    assert headers["x-ratelimit-limit-requests"] == "2"


def test_a_budget_that_only_warns_lets_pass_and_says_so(gateways, provider):
    at = gateways(PRICES + key_with(budget="{ usd: 0.001, per: month, tz: Asia/Shanghai, action: warn }"))
    assert [ask(at, "out=10", model="priced")[0] for _ in range(5)] == [200] * 5
    # The first answer passes all of them at once.
    for percent in (80, 100):
        assert metric(at, f'opm_budget_crossed_total{{limit="key.budget",percent="{percent}"}}') == 1


@pytest.mark.parametrize("how, steps", [("action: warn", [(2000, 0, 0), (2000, 1, 0), (2000, 1, 1)]), ("mode: estimate", [(2600, 1, 0)])])
def test_a_threshold_that_only_the_real_cost_reaches_is_told_once(gateways, provider, tmp_path, how, steps):
    # Expected are the 512 tokens of a model that nobody knows; it writes more.
    text = PRICES + key_with(budget=f"{{ usd: 0.5, per: day, {how}, at: [50%, 100%] }}") + f"storage: {{ url: 'sqlite:{tmp_path}/opm.db' }}\n"
    at = gateways(text)
    told = lambda at, percent: metric(at, f'opm_budget_crossed_total{{limit="key.budget",percent="{percent}"}}')
    for out, half, whole in steps:
        status, _, body = ask(at, f"out={out}", model="priced")
        assert status == 200, body
        assert (told(at, 50), told(at, 100)) == (half, whole)
    assert (tmp_path / "opm.log").read_text().count("a budget has reached a threshold") == sum(steps[-1][1:])
    at.terminate()
    at.wait(20)
    again = gateways(text, name="again")
    ask(again, "out=5", model="priced")
    assert (told(again, 50), told(again, 100)) == (0, 0), "it was told before the restart"


def test_invented_users_neither_grow_metrics_nor_shut_out_who_is_known(gateways, provider):
    at = gateways("users: { limits: { tpm: 1k, window: 60m } }\n")

    async def run():
        callers = [Caller(at.port) for _ in range(50)]
        await callers[0].ask("out=1", user="known", max_tokens=2)
        before = wait_for(f"http://127.0.0.1:{at.metrics}/metrics").decode().count("\n")

        async def flood(number):
            for name in range(100):
                user = f"{number}-{name}-" + "x" * (4_000 if name % 10 == 0 else 5)
                status, *_ = await callers[number].ask("out=1", user=user, max_tokens=2)
                assert status == 200, status

        await asyncio.gather(*(flood(number) for number in range(50)))
        after = wait_for(f"http://127.0.0.1:{at.metrics}/metrics").decode().count("\n")
        assert after - before < 10
        assert (await callers[0].ask("out=1", user="known", max_tokens=2))[0] == 200

    asyncio.run(run())
    assert metric(at, "opm_limits_subjects") >= 4_000


async def leave(at, text, after, stream=False, **more):
    """A client that closes its connection after so many seconds."""
    reader, writer = await asyncio.open_connection("127.0.0.1", at.port)
    body = json.dumps({"model": "priced", "stream": stream, "messages": [{"role": "user", "content": text}], **more})
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write((head + body).encode())
    try:
        first = await asyncio.wait_for(reader.readuntil(b"\r\n"), after)
        refused = b" 200 " not in first
    except TimeoutError:
        refused = False
    writer.close()
    return refused


@pytest.mark.parametrize("case", ["completions", "no usage", "left whole", "left thinking", "cut whole"])
def test_a_strict_limit_holds_whatever_happens_to_the_answer(gateways, provider, case):
    at = gateways(PRICES + key_with("{ tpm: 1000, window: 60m }", "{ usd: 0.09, per: day }"))

    async def run():
        caller = Caller(at.port, KEY)
        refused = 0
        for _ in range(30):
            if case == "completions":
                ask_for = {"prompt": "hi out=100", "model": "priced"}
                status, _, _ = await asyncio.to_thread(post, at, "/v1/completions", ask_for | {"max_tokens": 300}, authorization=f"Bearer {KEY}")
                refused += status == 429
            elif case == "no usage":
                status, *_ = await caller.ask("hi out=100 nousage=1", model="priced", max_tokens=100)
                refused += status == 429
            elif case == "left whole":
                refused += await leave(at, "hi out=100 pace=2", 0.1, max_tokens=100)
            elif case == "left thinking":
                refused += await leave(at, "hi out=100 think=300", 0.1, stream=True, max_tokens=100)
            else:
                try:
                    status, *_ = await caller.ask("hi out=100 cut=1", model="priced", max_tokens=100)
                except (ConnectionError, asyncio.IncompleteReadError):
                    status = 0
                refused += status == 429
        assert refused >= 15, refused

    asyncio.run(run())
    assert len(provider.calls) >= 2
    # What was made of it upstream, also where nobody was told.
    made = sum(call["prompt"] + (100 if "left" in case else call["output"]) for call in provider.calls)
    cost = sum(call["prompt"] * 10 + (100 if "left" in case else call["output"]) * 100 for call in provider.calls)
    assert made <= 1_000 and cost <= 90_000, (made, cost)


def test_what_an_earlier_try_may_have_used_stays_counted(gateways, provider):
    other = f"  - {{ name: two, format: openai, base_url: '{provider.url}', keys: [sk-upstream-0123456789], models: ['*'], priority: -1 }}\n"
    at = gateways(other + key_with("{ tpm: 1000, window: 60m, rpm: 100 }"))

    async def run():
        caller, statuses = Caller(at.port, KEY), []
        for _ in range(12):
            statuses.append((await caller.ask("hi out=100 cut=1", max_tokens=100))[0])
        return statuses

    statuses = asyncio.run(run())
    assert statuses[-1] == 429 and len(provider.calls) > 3
    assert sum(call["prompt"] + call["output"] for call in provider.calls) <= 1_000


@pytest.mark.parametrize("shared", [False, True], ids=["memory", "redis"])
def test_a_try_that_comes_late_counts_when_it_comes(gateways, provider, redis, shared):
    first = f"  - {{ name: first, format: openai, base_url: '{provider.url}', keys: [sk-upstream-0123456789], models: {{ m: late }}, priority: 1 }}\n"
    limits = "{ tpm: 1000, window: 2s }"
    at = gateways(first + (redis_limits(redis, 1000, "2s") if shared else key_with(limits)))

    async def run():
        callers = [Caller(at.port, KEY) for _ in range(4)]
        # Admitted at once, sent to the second channel 1.7 s later; then two more, when the first slot has left its window.
        early = [asyncio.create_task(caller.ask("late=1700 out=400", model="m", max_tokens=400)) for caller in callers[:2]]
        await asyncio.sleep(2.15)
        late = [asyncio.create_task(caller.ask("late=0 out=400", model="m", max_tokens=400)) for caller in callers[2:]]
        return [(await task)[0] for task in early + late]

    statuses = asyncio.run(run())
    assert statuses[:2] == [200, 200] and statuses.count(429) >= 1, statuses
    answered = [call for call in provider.calls if call["key"] != "late"]
    assert worst_window(answered, 2) <= 1000, answered


@pytest.mark.parametrize("shared", [False, True], ids=["memory", "redis"])
def test_a_failover_to_a_dearer_channel_reserves_anew(gateways, redis, provider, shared):
    dear = f"  - {{ name: two, format: openai, base_url: '{provider.url}', keys: [sk-upstream-0123456789], models: {{ priced: dear }}, priority: -1 }}\n"
    prices = PRICES + "  - { provider: openai, models: [dear], per_million: { input: 30, output: 300 } }\n"
    store = f"shared: {{ redis_url: '{redis.url}' }}\n" if shared else ""
    at = gateways(dear + store + prices + key_with("{ rpm: 2, tpm: 900, concurrent: 1 }", "{ usd: 5, per: day }"))
    for left, bound in ((1, 20), (0, 300)):

        def failed_over(bound=bound):
            # Redis may hear late that the one before has ended.
            got = ask(at, f"hi failing=priced out={bound}", model="priced", max_tokens=bound)
            return got[0] != 429 and got

        status, headers, body = eventually(failed_over)
        assert status == 200 and headers["x-ratelimit-remaining-requests"] == str(left), (status, body, headers)
        assert "x-ratelimit-remaining-tokens" in headers
        assert [call["bound"] for call in provider.calls[-2:]] == [bound, bound], (status, body)
    assert [call["key"] for call in provider.calls] == ["priced", "dear"] * 2
    made = sum(call["prompt"] * 30 + call["output"] * 300 for call in provider.calls if call["key"] == "dear")
    assert made > 300 and eventually(lambda: made / 1e6 <= metric(at, "opm_budget_spent_usd") < 2 * made / 1e6)


def test_failed_requests_cost_nothing(gateways, provider):
    at = gateways(PRICES + key_with("{ tpm: 1000, window: 60m }", "{ usd: 0.05, per: day }"))
    for status in (400, 500, 503, 429):
        for _ in range(10):
            assert ask(at, f"hi status={status}", model="priced", max_tokens=100)[0] not in (200,), status
    status, headers, _ = ask(at, "hi out=3", model="priced", max_tokens=100)
    assert status == 200 and int(headers["x-ratelimit-remaining-tokens"]) > 700, headers


def test_users_of_every_script_are_counted_apart(gateways, provider):
    at = gateways("users: { limits: { rpm: 1 } }\n")
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}

    def status(name):
        request = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: {len(json.dumps(body))}\r\n".encode()
        request += b"user: " + name + b"\r\nconnection: close\r\n\r\n" + json.dumps(body).encode()
        with socket.create_connection(("127.0.0.1", at.port), timeout=5) as line:
            line.sendall(request)
            return int(line.recv(65_536).split()[1])

    names = ["日本".encode(), "中文".encode(), "Жанна".encode(), "José".encode(), b"\xff\xfe", b"\xff", b"ada"]
    assert [status(name) for name in names] == [200] * len(names)
    assert [status(name) for name in names] == [429] * len(names)


def test_an_instance_that_never_saw_redis_keeps_to_its_share(gateways, redis, provider):
    redis.kill()
    redis.wait()
    text = f"shared: {{ redis_url: '{redis.url}', instances: 3 }}\n" + key_with("{ rpm: 9 }")
    at = gateways(text)
    assert [ask(at)[0] for _ in range(4)] == [200, 200, 200, 429]


def test_small_limits_can_be_used_up(gateways, provider):
    at = gateways(key_with("{ tpm: 200, window: 60m }"))
    for _ in range(30):
        if ask(at, "one two out=3", max_tokens=10)[0] == 429:
            break
    used = sum(call["prompt"] + call["output"] for call in provider.calls)
    assert 110 <= used <= 200, used


def test_a_crash_does_not_give_a_budget_back(gateways, provider, tmp_path):
    storage = f"storage: {{ url: 'sqlite:{tmp_path}/opm.db' }}\n"
    text = PRICES + storage + key_with(budget="{ usd: 0.05, per: day }")
    for round_ in range(3):
        at = gateways(text, name=f"g{round_}")

        async def run():
            asks = [leave(at, "hi out=100 pace=10", 5, max_tokens=100) for _ in range(10)]
            running = asyncio.gather(*asks, return_exceptions=True)
            await asyncio.sleep(0.3)
            at.kill()
            await running

        asyncio.run(run())
        at.wait()
    # Ten requests of 100 tokens at 100 $ per million are 0.1 $: half of them were let through, once.
    assert sum(call["output"] for call in provider.calls) * 100 <= 50_000


def test_a_restart_does_not_give_back_what_nobody_could_count(gateways, provider, tmp_path):
    storage = f"storage: {{ url: 'sqlite:{tmp_path}/opm.db' }}\n"
    text = PRICES + storage + key_with(budget="{ usd: 0.05, per: day }")
    for life in range(3):
        at = gateways(text, name=f"g{life}")
        for _ in range(8):
            ask(at, "hi out=100 cut=1", model="priced", max_tokens=100)
        at.terminate()
        at.wait(20)
    assert spent(provider) <= 50_000, spent(provider)


@pytest.mark.parametrize("case", ["streams that were left", "attempts that failed"])
def test_a_restart_does_not_give_back_what_a_budget_holds(gateways, provider, tmp_path, case):
    storage = f"storage: {{ url: 'sqlite:{tmp_path}/opm.db' }}\n"
    other = f"  - {{ name: two, format: openai, base_url: '{provider.url}', keys: [sk-upstream-0123456789], models: ['*'], priority: -1 }}\n"
    text = other + PRICES + storage + key_with(budget="{ usd: 1, per: day }")
    at = gateways(text)
    spent = lambda at: metric(at, "opm_budget_spent_usd")

    async def run():
        for _ in range(4):
            if case == "streams that were left":
                await leave(at, "hi out=300 pace=5", 0.3, stream=True, max_tokens=300)
            else:
                # The second channel breaks off too: what both may have used counts.
                await Caller(at.port, KEY).ask("hi out=50 cut=1", model="priced", max_tokens=50)

    asyncio.run(run())
    # What runs holds all of it for a moment.
    eventually(lambda: metric(at, "opm_streams_open") == 0)
    before = spent(at)
    assert before > 0.02
    for name in ("again", "and again"):
        at.terminate()
        at.wait(20)
        at = gateways(text, name=name)
        assert spent(at) == pytest.approx(before), name


def test_a_long_prompt_does_not_break_a_strict_limit(gateways, provider):
    for number, (limit, words) in enumerate([(1_000, 950), (20_000, 19_500)]):
        at = gateways(key_with(f"{{ tpm: {limit}, window: 60m }}"), name=f"g{number}")
        before = len(provider.calls)
        ask(at, "q z x " * (words // 3) + "out=900")
        assert sum(call["prompt"] + call["output"] for call in provider.calls[before:]) <= limit
