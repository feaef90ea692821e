"""Limits that are shared over TLS: a real Redis with certificates of the test's own authority."""

import signal
import subprocess
import time

import pytest
import trustme

from conftest import eventually, free_port
from test_limits import ask, freeze_costs_once, gateways, key_with, metric, provider  # noqa: F401 (fixtures)

PASSWORD = "hunter22-of-redis"


@pytest.fixture
def tls_redis(tmp_path):
    """Starts Redis servers that speak TLS on one port and plain text on another; one user, `opm`."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    started = []

    def start(host="127.0.0.1", port=None):
        certificate = authority.issue_cert(host)
        certificate.cert_chain_pems[0].write_to_path(tmp_path / "redis.pem")
        certificate.private_key_pem.write_to_path(tmp_path / "redis.key")
        port, plain = port or free_port(), free_port()
        settings = f"""bind 127.0.0.1
port {plain}
tls-port {port}
tls-cert-file {tmp_path}/redis.pem
tls-key-file {tmp_path}/redis.key
tls-ca-cert-file {tmp_path}/ca.pem
tls-auth-clients no
save ""
appendonly no
dir {tmp_path}
user default off
user opm on >{PASSWORD} ~* &* +@all
"""
        process = subprocess.Popen(["redis-server", "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        process.stdin.write(settings.encode())
        process.stdin.close()
        started.append(process)
        process.port, process.plain = port, plain
        process.url = f"rediss://opm:{PASSWORD}@127.0.0.1:{port}/3"

        def cli(*command):
            line = ["redis-cli", "--tls", "--sni", "127.0.0.1", "--cacert", tmp_path / "ca.pem", "-p", str(port), "--user", "opm", "--pass", PASSWORD]
            return subprocess.run([*line, "--no-auth-warning", *command], capture_output=True, text=True).stdout

        process.cli = cli
        eventually(lambda: cli("ping") == "PONG\n", seconds=10)
        return process

    start.env = {"SSL_CERT_FILE": str(tmp_path / "ca.pem")}
    yield start
    for process in started:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()


def shared(url, limits):
    return f"shared: {{ redis_url: '{url}' }}\n" + key_with(limits)


def said(tmp_path, name="opm"):
    text = (tmp_path / f"{name}.log").read_text()
    assert PASSWORD not in text and "hunter22" not in text
    return text


def test_instances_share_a_limit_over_tls_with_user_password_and_database(gateways, tls_redis, tmp_path):
    redis = tls_redis()
    at = [gateways(shared(redis.url, "{ rpm: 5 }"), name=f"g{number}", env=tls_redis.env) for number in range(2)]
    assert [metric(one, "opm_limits_together") for one in at] == [1, 1]
    assert [ask(at[number % 2])[0] for number in range(6)] == [200] * 5 + [429]
    assert ask(at[0])[0] == 429 and ask(at[1])[0] == 429
    assert int(redis.cli("-n", "3", "dbsize")) >= 3 and int(redis.cli("-n", "0", "dbsize")) == 0
    for number in range(2):
        assert "cannot be asked" not in said(tmp_path, f"g{number}")


@pytest.mark.parametrize(
    ("trouble", "why"),
    [
        ("authority", "UnknownIssuer; a private CA must be in the file that SSL_CERT_FILE names"),
        ("host", "certificate not valid for name"),
        ("password", "it refuses the user or the password of the address"),
        ("no password", "it answers with ERR; are user, password and database of the address right?"),
        ("database", "it answers with ERR; are user, password and database of the address right?"),
        ("plain", "does it speak TLS on this port?"),
        ("nobody", "Connection refused"),
    ],
)
def test_a_redis_that_cannot_be_trusted_or_entered_is_told_once_and_the_policy_decides(gateways, tls_redis, tmp_path, trouble, why):
    redis = tls_redis("elsewhere.example" if trouble == "host" else "127.0.0.1")
    url = {
        "password": redis.url.replace(PASSWORD, PASSWORD[1:]),
        "no password": redis.url.replace(f"opm:{PASSWORD}@", ""),
        "database": redis.url + "999",
        "plain": redis.url.replace(str(redis.port), str(redis.plain)),
        "nobody": redis.url.replace(str(redis.port), str(free_port())),
    }.get(trouble, redis.url)
    env = {} if trouble == "authority" else tls_redis.env
    at = gateways(shared(url, "{ rpm: 5, on_failure: deny }"), env=env)
    status, headers, body = ask(at)
    assert status == 503 and b"key.requests" in body and "retry-after" in headers, (status, body)
    assert metric(at, "opm_limits_together") == 0
    # Several more probes, one each 100 ms.
    time.sleep(0.7)
    text = said(tmp_path)
    assert text.count("the shared store of limits cannot be asked") == 1 and why in text, text
    assert text.count("rules' on_failure decides") == 1, text


def test_a_frozen_redis_costs_sixty_milliseconds_once_over_tls_too(gateways, tls_redis):
    redis = tls_redis()
    at = gateways(shared(redis.url, "{ tpm: 100000, window: 60s }"), env=tls_redis.env)
    freeze_costs_once(at, redis)


def test_a_redis_that_died_is_found_again_over_tls(gateways, tls_redis, tmp_path):
    redis = tls_redis()
    at = gateways(shared(redis.url, "{ rpm: 4 }"), env=tls_redis.env)
    assert ask(at)[0] == 200
    redis.kill()
    redis.wait()
    assert [ask(at)[0] for _ in range(2)] == [200, 200]
    again = tls_redis(port=redis.port)
    eventually(lambda: metric(at, "opm_limits_together") == 1, seconds=10)
    assert [ask(at)[0] for _ in range(2)] == [200, 429]
    eventually(lambda: int(again.cli("-n", "3", "dbsize")) >= 3)
    assert said(tmp_path).count("decides again") == 1
