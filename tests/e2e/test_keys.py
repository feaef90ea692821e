"""Client keys, the store, the admin API and its command line, with the real binary and a real SQLite file (and Postgres)."""

import concurrent.futures
import datetime
import json
import os
import subprocess
import threading
import time
import urllib.error
import urllib.request

import pytest

from conftest import BINARY, eventually, free_port, wait_for
from test_gateway import post
from test_traffic import Running, channel

TOKEN = "admin-token-0123456789"


@pytest.fixture
def gateway_of(mock_server, tmp_path):
    """Starts gateways on one configuration; all share its store."""
    started = []

    def start(storage=None, more="", env=None, name="opm"):
        port, metrics, admin = free_port(), free_port(), free_port()
        storage = storage or f"sqlite:{tmp_path}/opm.db"
        config = tmp_path / f"{name}.yaml"
        config.write_text(
            f"version: 1\nserver: {{ listen: 127.0.0.1:{port} }}\nmetrics: {{ listen: 127.0.0.1:{metrics} }}\n"
            f"admin: {{ listen: 127.0.0.1:{admin}, token: {TOKEN} }}\nstorage: {{ url: '{storage}' }}\n"
            "channels:\n" + channel(mock_server, "a") + channel(mock_server, "b") + more
        )
        log = tmp_path / f"{name}.log"
        with open(log, "w") as sink:
            process = subprocess.Popen([BINARY, "serve", "-c", config], stderr=sink, stdout=sink, env={**os.environ, **(env or {})}, cwd=tmp_path)
        started.append(process)
        wait_for(f"http://127.0.0.1:{port}/readyz")
        running = Running(process, port, metrics, config, log)
        running.admin = f"http://127.0.0.1:{admin}/api/v1"
        running.env = {**os.environ, **(env or {})}
        return running

    yield start
    for process in started:
        process.kill()
        process.wait()


def opm(at, *arguments, code=0):
    found = subprocess.run([BINARY, *arguments, "-c", at.config], capture_output=True, text=True, env=at.env, timeout=60)
    assert found.returncode == code, (found.returncode, found.stdout, found.stderr)
    return found.stdout


def admin(at, method, path, body=None, token=TOKEN):
    request = urllib.request.Request(at.admin + path, method=method, data=None if body is None else json.dumps(body).encode())
    request.add_header("content-type", "application/json")
    if token:
        request.add_header("authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            text = answer.read().decode()
            return answer.status, json.loads(text) if text else None
    except urllib.error.HTTPError as error:
        text = error.read().decode()
        return error.code, json.loads(text) if text else None


def ask(at, key, model="m", **headers):
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
    return post(at, "/v1/chat/completions", body, {"authorization": f"Bearer {key}", **headers})


def test_a_key_is_created_used_and_revoked_while_the_gateway_runs(gateway_of, tmp_path):
    at = gateway_of()
    made = json.loads(opm(at, "keys", "create", "--name", "team-a", "--format", "json"))
    assert set(made) >= {"id", "name", "key"} and made["key"].startswith("sk-opm-") and made["id"] in made["key"]
    eventually(lambda: ask(at, "anybody")[0] == 401, seconds=2)
    assert ask(at, made["key"])[0] == 200
    eventually(lambda: json.loads(opm(at, "keys", "show", made["id"], "--format", "json"))["last_used_at"])
    assert ask(at, "sk-opm-wrong")[0] == 401
    mistyped = made["key"][:-1] + ("a" if made["key"][-1] != "a" else "b")
    assert ask(at, mistyped)[0] == 401
    opm(at, "keys", "revoke", made["id"])
    eventually(lambda: ask(at, made["key"])[0] == 401, seconds=2)
    assert ask(at, "anybody")[0] == 401, "revoking the last key opens the gateway to nobody"
    raw = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file() and "opm.db" in file.name or ".ledger" in str(file) and file.is_file())
    assert made["key"].encode() not in raw and made["key"].rsplit("-", 2)[1].encode() not in raw
    assert made["key"] not in at.log()


def test_keys_are_bound_to_channels_models_networks_and_time(gateway_of, mock_server):
    at = gateway_of()

    def create(**more):
        status, made = admin(at, "POST", "/keys", more)
        assert status == 201, made
        return made["key"]

    bound = create(name="bound", channels=["b"])
    assert ask(at, bound)[0] == 200
    mock_server.clear()
    for _ in range(6):
        ask(at, bound)
    assert {request["body"]["model"] for request in mock_server.requests()} == {"b"}
    assert ask(at, create(name="models", models=["other-*"]))[0] == 403
    assert ask(at, create(name="networks", networks=["192.0.2.0/24"]))[0] == 403
    assert ask(at, create(name="local", networks=["127.0.0.0/8"]))[0] == 200
    soon = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=2)
    late = create(name="late", expires=soon.strftime("%Y-%m-%dT%H:%M:%SZ"))
    eventually(lambda: ask(at, late)[0] == 401)
    assert admin(at, "POST", "/keys", {"name": "past", "expires": "2020-01-01"})[0] == 422


def test_two_gateways_on_one_store_both_refuse_a_revoked_key_under_load(gateway_of):
    one, two = gateway_of(name="one"), gateway_of(name="two")
    key = admin(one, "POST", "/keys", {"name": "shared"})[1]
    eventually(lambda: ask(two, key["key"])[0] == 200, seconds=2)
    stop, seen = threading.Event(), []

    def load(at):
        while not stop.is_set():
            seen.append((time.monotonic(), ask(at, key["key"])[0]))

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(load, at) for at in (one, two, one, two)]
        time.sleep(0.5)
        revoked = time.monotonic()
        assert admin(one, "DELETE", f"/keys/{key['id']}")[0] in (200, 204)
        time.sleep(2.5)
        stop.set()
        [job.result() for job in jobs]
    assert {status for at, status in seen if at < revoked} == {200}
    assert {status for at, status in seen if at > revoked + 2} == {401}


def test_channels_of_the_store_are_served_at_once_and_their_keys_never_shown(gateway_of, mock_server, tmp_path):
    at = gateway_of()
    key = admin(at, "POST", "/keys", {"name": "k"})[1]["key"]
    assert ask(at, key, "new-model")[0] == 404
    secret = "sk-stored-canary-0123456789"
    body = {"name": "stored", "definition": {"format": "anthropic", "base_url": mock_server.url, "models": ["new-model"]}, "keys": [secret]}
    status, made = admin(at, "POST", "/channels", body)
    if status == 422:
        status, made = admin(at, "POST", "/channels", {"name": "stored", **body["definition"], "keys": [secret]})
    assert status in (200, 201), made
    mock_server.clear()
    assert ask(at, key, "new-model")[0] == 200
    assert mock_server.requests()[0]["headers"]["x-api-key"] == secret
    shown = json.dumps(admin(at, "GET", "/channels")[1]) + json.dumps(made)
    assert secret not in shown and "stored" in shown
    assert secret.encode() not in b"".join(file.read_bytes() for file in tmp_path.glob("opm.db*"))
    assert admin(at, "POST", "/channels/stored/disable")[0] in (200, 204)
    assert ask(at, key, "new-model")[0] == 503
    assert admin(at, "DELETE", "/channels/stored")[0] in (200, 204)
    assert ask(at, key, "new-model")[0] == 404


def test_explain_says_why_before_and_after(gateway_of):
    at = gateway_of(more="  - { name: other, format: openai, base_url: 'http://127.0.0.1:1', keys: [k-0123456789], models: [x] }\n")
    key = admin(at, "POST", "/keys", {"name": "k"})[1]["key"]
    status, why = admin(at, "GET", "/explain?model=m")
    assert status == 200
    assert sorted(found["channel"] for found in why["candidates"]) == ["a", "b"]
    assert why["skipped"] == [{"channel": "other", "reason": "it does not serve the model"}]
    opm(at, "channels", "drain", "a")
    why = admin(at, "GET", "/explain?model=m")[1]
    assert [found["channel"] for found in why["candidates"]] == ["b"]
    assert {"channel": "a", "reason": "it is draining"} in why["skipped"]
    headers = ask(at, key)[2]
    # A request is remembered when it is over, a moment after its answer.
    path = f"/explain/{headers['x-gateway-request-id']}"
    past = eventually(lambda: (found := admin(at, "GET", path))[0] == 200 and found[1])
    assert "attempts" in past, past
    assert past["attempts"][0]["channel"] == "b" and past["attempts"][0]["outcome"] == "ok" and past["status"] == 200
    text = opm(at, "explain", "--model", "m")
    assert "draining" in text


def test_channels_are_listed_tested_and_switched_on_the_command_line(gateway_of):
    at = gateway_of()
    listed = json.loads(opm(at, "channels", "list", "--format", "json"))
    names = [found["name"] for found in (listed["channels"] if isinstance(listed, dict) else listed)]
    assert names == ["a", "b"]
    report = json.loads(opm(at, "channels", "test", "a", "--format", "json"))
    assert report["ok"] and report["status"] == 200 and report["models"] == ["mock-model"] and report["time_to_first_token_ms"] is not None
    opm(at, "channels", "disable", "a")
    opm(at, "channels", "enable", "a")
    assert "reloaded" in opm(at, "reload").lower() or opm(at, "reload") is not None


def test_the_admin_api_is_closed_without_a_credential(gateway_of, mock_server, tmp_path):
    at = gateway_of()
    for path in ("/status", "/keys", "/channels", "/explain?model=m", "/openapi.json", "/nothing"):
        assert admin(at, "GET", path, token=None)[0] == 401, path
        assert admin(at, "GET", path, token="wrong-token-0123456789")[0] in (401, 429), path
    # Without a token and without a store nobody could prove to be the operator: it is not served at all.
    port, metrics, closed = free_port(), free_port(), free_port()
    config = tmp_path / "closed.yaml"
    config.write_text(
        f"version: 1\nserver: {{ listen: 127.0.0.1:{port} }}\nmetrics: {{ listen: 127.0.0.1:{metrics} }}\nadmin: {{ listen: 127.0.0.1:{closed} }}\nchannels:\n"
        + channel(mock_server, "a")
    )
    process = subprocess.Popen([BINARY, "serve", "-c", config], stderr=subprocess.DEVNULL)
    try:
        wait_for(f"http://127.0.0.1:{port}/readyz")
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(f"http://127.0.0.1:{closed}/api/v1/status", timeout=2)
    finally:
        process.kill()
        process.wait()


def test_draining_by_the_api_makes_it_not_ready(gateway_of):
    at = gateway_of()
    assert admin(at, "POST", "/drain")[0] in (200, 202, 204)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{at.url}/readyz", timeout=5)
    assert refused.value.code == 503
    assert ask(at, "x")[0] == 503


def test_postgres_keeps_keys_for_several_gateways(postgres, gateway_of):
    env = {"OPM_KEY_PEPPER": "pepper-0123456789-abcdefghijklmnop-XYZ", "OPM_MASTER_KEY": "master-0123456789-abcdefghijklmnop-XYZ"}
    one, two = gateway_of(storage=postgres, env=env, name="one"), gateway_of(storage=postgres, env=env, name="two")
    key = json.loads(opm(one, "keys", "create", "--name", "pg", "--format", "json"))
    eventually(lambda: ask(one, key["key"])[0] == 200 and ask(two, key["key"])[0] == 200, seconds=2)
    opm(two, "keys", "revoke", key["id"])
    eventually(lambda: ask(one, key["key"])[0] == 401 and ask(two, key["key"])[0] == 401, seconds=2)
