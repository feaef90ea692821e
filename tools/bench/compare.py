#!/usr/bin/env python3
"""CPU time per request of opm, beside a bare Pingora `ProxyHttp` or beside itself without limits, ledger and store.

    compare.py bare  target/release/opm [--rounds 9] [--cases relay,convert,large,stream,paced]
    compare.py onoff target/release/opm [--rounds 9] [--cases relay,convert] [--on limits,store]

Every gateway has the last core for itself, upstream and callers share the first. Rounds are interleaved; the figure is the CPU time of all
threads of the gateway from /proc, so that what else runs on the machine hardly counts. Several binaries may be given: each is compared.
"""

import argparse
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time

BENCH = pathlib.Path(__file__).parent / "target/release/opm-bench"
CORES = sorted(os.sched_getaffinity(0))
# case: connections, requests of one round
CASES = {"relay": (16, 20_000), "convert": (16, 20_000), "large": (16, 5_000), "stream": (8, 1_200), "paced": (100, 200)}

OFF = """
server: {{ listen: "127.0.0.1:{port}", watch: false }}
metrics: {{ listen: "127.0.0.1:{metrics}" }}
channels:
  - {{ name: upstream, format: openai, base_url: "http://127.0.0.1:{upstream}", keys: ["sk-upstream-000000000000"], models: ["gpt-*"]{limits} }}
keys: [{{ name: team, key: "sk-bench-0123456789abcdef0123456789"{key} }}]
"""
STORE = 'storage: {{ url: "sqlite:{directory}/opm.db" }}\n'
USERS = "users: {{ limits: {{ tpm: 900000M }} }}\n"
KEY = ', limits: { tpm: 900000M, rpm: 90M, concurrent: 2000 }, budget: { usd: 9000000, per: month }'
CHANNEL = ", limits: { rpm: 90M, tpm: 900000M }"


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def pinned(core: int, *command: object, **pipes: object) -> subprocess.Popen:
    line = ["taskset", "-c", str(core), *map(str, command)]
    pipes = pipes or {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(line, env={**os.environ, "RUST_LOG": "warn"}, **pipes)


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    sys.exit(f"nothing listens on {port}")


def cpu_us(pid: int) -> dict[str, float]:
    """Microseconds by thread name."""
    spent: dict[str, float] = {}
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        name = (task / "comm").read_text().strip()
        spent[name] = spent.get(name, 0.0) + int((task / "schedstat").read_text().split()[0]) / 1000
    return spent


class Driver:
    """The upstream and its callers."""

    def __init__(self, running: list[subprocess.Popen]) -> None:
        self.port, self.running = free_port(), running
        self.process = pinned(CORES[0], BENCH, "drive", f"127.0.0.1:{self.port}", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        running.append(self.process)
        wait_for(self.port)

    def load(self, port: int, case: str, connections: int, requests: int) -> float:
        """Requests per second."""
        self.process.stdin.write(f"127.0.0.1:{port} {case} {connections} {requests}\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())


class Gateway:
    def __init__(self, driver: Driver, name: str, command: list[object], port: int):
        self.driver, self.name, self.port = driver, name, port
        self.process = pinned(CORES[-1], *command)
        driver.running.append(self.process)
        wait_for(port)

    def measure(self, case: str) -> tuple[float, dict[str, float]]:
        """CPU microseconds per request, all and by thread."""
        connections, requests = CASES[case]
        # A bare proxy knows one format: it relays what opm converts.
        asked = "relay" if case == "convert" and self.name == "bare" else case
        self.driver.load(self.port, asked, connections, max(requests // 10, connections))
        before = cpu_us(self.process.pid)
        self.driver.load(self.port, asked, connections, requests)
        # What was put off (the store's batches) belongs to the requests too.
        time.sleep(0.6)
        after = cpu_us(self.process.pid)
        spent = {name: (after[name] - before.get(name, 0.0)) / requests for name in after}
        return sum(spent.values()), spent


def opm(driver: Driver, name: str, binary: str, directory: pathlib.Path, on: list[str]) -> Gateway:
    port = free_port()
    values = {"port": port, "metrics": free_port(), "upstream": driver.port, "directory": directory, "key": "", "limits": ""}
    text = OFF
    if "limits" in on:
        text += USERS
        values.update(key=KEY, limits=CHANNEL)
    if "store" in on:
        text += STORE
    text = text.format(**values)
    directory.mkdir()
    config = directory / "opm.yaml"
    config.write_text(text)
    return Gateway(driver, name, [binary, "serve", "-c", config], port)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("what", choices=["bare", "onoff"])
    arguments.add_argument("binary", nargs="+")
    arguments.add_argument("--rounds", type=int, default=9)
    arguments.add_argument("--cases")
    arguments.add_argument("--on", default="limits,store", help="what is on: limits, store")
    arguments.add_argument("--threads", action="store_true", help="show each thread's part")
    given = arguments.parse_args()
    cases = (given.cases or ("relay,convert,large,stream,paced" if given.what == "bare" else "relay,convert")).split(",")
    with tempfile.TemporaryDirectory() as directory:
        compare(given, cases, pathlib.Path(directory))


def compare(given: argparse.Namespace, cases: list[str], directory: pathlib.Path) -> None:
    running: list[subprocess.Popen] = []
    try:
        base, gateways = start(given, directory, running)
        for case in cases:
            rounds(case, given, base, gateways)
    finally:
        for process in running:
            process.kill()
        for process in running:
            process.wait()


def start(given: argparse.Namespace, directory: pathlib.Path, running: list[subprocess.Popen]) -> tuple[list[Gateway], list[Gateway]]:
    """What is compared with, and what is compared. Each process stands in `running` as soon as it exists."""
    driver = Driver(running)
    base: list[Gateway] = []
    gateways: list[Gateway] = []
    if given.what == "bare":
        port = free_port()
        base.append(Gateway(driver, "bare", [BENCH, "bare", f"127.0.0.1:{port}", f"127.0.0.1:{driver.port}"], port))
    for number, binary in enumerate(given.binary):
        if given.what == "onoff":
            base.append(opm(driver, "off", binary, directory / f"off{number}", []))
        name = "on" if given.what == "onoff" else "opm"
        on = given.on.split(",") if name == "on" else []
        gateways.append(opm(driver, name, binary, directory / f"on{number}", on))
    return base, gateways


def rounds(case: str, given: argparse.Namespace, base: list[Gateway], gateways: list[Gateway]) -> None:
    figures: dict[int, list[float]] = {}
    threads: dict[int, list[dict[str, float]]] = {}
    everyone = base + gateways
    for turn in range(given.rounds):
        # The order changes, so that none always runs after the same one.
        for number in sorted(range(len(everyone)), key=lambda number: (number + turn) % len(everyone)):
            figure, parts = everyone[number].measure(case)
            figures.setdefault(number, []).append(figure)
            threads.setdefault(number, []).append(parts)
    for number, gateway in enumerate(everyone):
        middle = statistics.median(figures[number])
        line = f"{case:8} {gateway.name:5} {middle:8.1f} us"
        if number >= len(base):
            of = figures[number - len(base) if len(base) > 1 else 0]
            ratios = [one / other for one, other in zip(figures[number], of, strict=True)]
            line += f"   x {statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})  {given.binary[number - len(base)]}"
        print(line, flush=True)
        if given.threads:
            names = sorted({name for parts in threads[number] for name in parts})
            middles = {name: statistics.median(parts.get(name, 0.0) for parts in threads[number]) for name in names}
            print("         " + ", ".join(f"{name} {us:.1f}" for name, us in middles.items() if us >= 0.05))


if __name__ == "__main__":
    main()
