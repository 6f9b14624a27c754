"""Networks: what they add to a start, how fast they are made, connected and answered, and what passes through them.

Both engines live in network namespaces of their own, each with its bridges, rules and proxies as it comes, so that
neither meets the other's, nor the machine's.
"""

import json
import sys
import uuid
from collections.abc import Callable

from bench.engines.docker import Docker
from bench.engines.lading import Lading
from bench.image import REFERENCE
from bench.process import Command, Failed, until
from bench.report import Row, Target, compare
from bench.samples import interleave
from bench.setting import Setting

MEGABYTES = 1500
SINK = "while :; do nc -l -p 5001 >/dev/null; done"
SEND = """
import socket, sys, time
line = socket.create_connection((sys.argv[1], int(sys.argv[2])))
block, begin = bytes(1 << 20), time.monotonic()
for _ in range(int(sys.argv[3])):
    line.sendall(block)
line.shutdown(socket.SHUT_WR)
line.recv(1)
print(time.monotonic() - begin)
"""
ASK = """
import socket, struct, time
line = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
line.connect(("127.0.0.11", 53))
line.settimeout(2)
question = struct.pack("!6H", 1, 0x100, 1, 0, 0, 0) + b"\\x06target\\0" + struct.pack("!2H", 1, 1)
for _ in range(16):
    line.send(question)
count, end = 0, time.monotonic() + 2
while time.monotonic() < end:
    line.recv(512)
    line.send(question)
    count += 1
print(count / 2)
"""
_Engine = Lading | Docker


def measure(setting: Setting) -> list[Row]:
    """Everything that the manual promises of networks."""
    engines = setting.networked
    return [
        *_starts(setting, engines),
        *_verbs(setting, engines),
        *_passing(setting, engines),
    ]


def _starts(setting: Setting, engines: list[_Engine]) -> list[Row]:
    def run(*options: str) -> dict[str, Callable[[], float]]:
        return {engine.name: engine.command("run", "--rm", *options, REFERENCE, "true") for engine in engines}

    ports = "20000-20099:20000-20099"
    cases = (
        ("run --rm on the default network", run(), 20, 0.25),
        ("run --rm -p 18080:80", run("-p", "18080:80"), 20, 0.25),
        ("run --rm -p with 100 ports", run("-p", ports), 3, 0.05),
    )
    return [row for what, contestants, rounds, limit in cases
            for row in compare(what, "ms", interleave(contestants, setting.times(rounds, least=2)),
                               Target("docker", limit))]


def _verbs(setting: Setting, engines: list[_Engine]) -> list[Row]:
    """A network is created; then a running container is connected to it; then all of it goes."""
    samples: dict[str, dict[str, list[float]]] = {"network create": {}, "network connect, running": {}}
    for engine in engines:
        engine.command("run", "-d", "--name", "still", REFERENCE, "sleep", "100000")()
    for turn in range(setting.times(10) + 1):
        for engine in engines if turn % 2 == 0 else engines[::-1]:
            name = f"bench-{uuid.uuid4().hex[:8]}"
            taken = {
                "network create": engine.command("network", "create", name)(),
                "network connect, running": engine.command("network", "connect", name, "still")(),
            }
            engine.command("network", "disconnect", name, "still")()
            engine.command("network", "rm", name)()
            for what, value in taken.items() if turn else ():
                samples[what].setdefault(engine.name, []).append(value)
    return [row for what, found in samples.items() for row in compare(what, "ms", found, Target("docker", 0.25))]


def _passing(setting: Setting, engines: list[_Engine]) -> list[Row]:
    """Bytes and questions, between two containers of one network and from the host."""
    targets = {engine.name: _prepared(engine) for engine in engines}
    between = {engine.name: _rate(engine, targets[engine.name], targets[engine.name]["address"], "5001")
               for engine in engines}
    published = {engine.name: _rate(engine, targets[engine.name], "127.0.0.1", "15001", inside=False)
                 for engine in engines}
    asked = {engine.name: _questions(engine, targets[engine.name]["asker"]) for engine in engines}
    rounds = setting.times(5)
    return [
        *compare("container to container", "MB/s", interleave(between, rounds), Target("docker", 0.95, at_most=False)),
        *compare("host to 127.0.0.1 published", "MB/s", interleave(published, rounds),
                 Target("docker", 1.0, at_most=False)),
        *compare("names of containers", "answers/s", interleave(asked, rounds), Target("docker", 0.8, at_most=False)),
    ]


def _prepared(engine: _Engine) -> dict[str, str]:
    """A network, a container on it that takes everything, and one that asks; pids and the address of the first."""
    engine.command("network", "create", "passing")()
    engine.command("run", "-d", "--name", "target", "--network", "passing", "-p", "127.0.0.1:15001:5001", REFERENCE,
                   "sh", "-c", SINK)()
    engine.command("run", "-d", "--name", "asker", "--network", "passing", REFERENCE, "sleep", "100000")()
    target, asker = json.loads(engine.command("inspect", "target", "asker").output())
    return {
        "address": target["NetworkSettings"]["Networks"]["passing"]["IPAddress"],
        "asker": str(asker["State"]["Pid"]),
        "host": str(engine.pid),
    }


def _rate(engine: _Engine, known: dict[str, str], address: str, port: str, *, inside: bool = True
          ) -> Callable[[], float]:
    pid = known["asker" if inside else "host"]
    command = _in_network(pid, SEND, address, port, str(MEGABYTES))

    def once() -> float:
        found: list[float] = []

        def passed() -> bool:  # the one before may still be at its end
            try:
                found.append(float(command.output()))
            except Failed:
                return False
            return True

        until(passed, f"bytes to pass through {engine.name}")
        return MEGABYTES / found[0]

    return once


def _questions(engine: _Engine, pid: str) -> Callable[[], float]:
    command = _in_network(pid, ASK)
    return lambda: float(command.output())


def _in_network(pid: str, script: str, *arguments: str) -> Command:
    return Command(["/usr/bin/nsenter", "-t", pid, "-n", sys.executable, "-I", "-S", "-c", script, *arguments],
                   {"PATH": "/usr/bin:/bin"})
