"""The Docker Engine API: docker's own client against our gateway and against dockerd; what a call costs beside the same
question over the bus; what it costs to be listened to by many who hear nothing."""

import json
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from urllib.parse import quote

from bench.engines import docker
from bench.engines.lading import Lading
from bench.image import REFERENCE
from bench.process import Command, Failed, pss
from bench.report import Row, Target, bound, compare
from bench.samples import Summary, interleave, summary
from bench.setting import Setting

ARGUMENTS = ("run", "--rm", "--network", "none", REFERENCE, "true")
_LISTENERS = 1000
_CALLS = 300
_LIST = b"GET /v1.50/containers/json HTTP/1.1\r\nHost: x\r\n\r\n"
_TURNS, _SETTLED_SECONDS = 3, 3.0


def measure(setting: Setting) -> list[Row]:
    """The gateway of the engine under test."""
    place = Path(setting.lading.command("gateway", "start").output())
    try:
        return [*_run(setting, place), _call(setting, place), *_listeners(setting, place)]
    finally:
        setting.lading.command("gateway", "stop").output()


def _run(setting: Setting, place: Path) -> list[Row]:
    programs = docker.find()
    if programs is None:
        return []
    env = {**setting.lading.command().env, "DOCKER_HOST": f"unix://{place}", "DOCKER_CONFIG": str(setting.folder)}
    contestants = {"lading": Command([programs[0], *ARGUMENTS], env)}
    if setting.docker is not None:
        contestants["docker"] = setting.docker.command(*ARGUMENTS)
    samples = interleave(contestants, setting.times(40))
    return compare("docker's client: run --rm IMAGE true", "ms", samples, Target("docker", 0.3))


def _call(setting: Setting, place: Path) -> Row:
    """Each of the two on a connection that is kept; the difference of the medians, in ms."""
    with ExitStack() as stack:
        api, bus = (stack.enter_context(_connected(path)) for path in (place, place.parent / "lading.sock"))
        asked = b'{"where":{"state":"running"}}'
        question = b"PUB lading.@.q.@.containers _INBOX.@.1 %d\r\n%b\r\n" % (len(asked), asked)
        bus.sendall(b'CONNECT {"verbose":false}\r\nSUB _INBOX.@.1 1\r\n')
        contestants = {"api": lambda: _timed(api, _LIST, b"]\n"), "bus": lambda: _timed(bus, question, b"]}\r\n")}
        samples = interleave(contestants, setting.times(_CALLS, least=50))
    more = [one - other for one, other in zip(samples["api"], samples["bus"], strict=True)]
    middle = median(samples["api"]) - median(samples["bus"])
    found = Summary(len(more), middle, summary(more).p10, summary(more).p90)
    return bound("a call of the API, more than over the bus", "ms", found, 3.0)


def _timed(connection: socket.socket, question: bytes, end: bytes) -> float:
    begun = time.perf_counter_ns()
    connection.sendall(question)
    heard = b""
    while not heard.endswith(end):
        if not (piece := connection.recv(65536)):
            raise Failed(f"hung up after {question[:40]!r}")
        heard += piece
        if heard.endswith(b"PING\r\n"):
            connection.sendall(b"PONG\r\n")
    return (time.perf_counter_ns() - begun) / 1e6


def _listeners(setting: Setting, place: Path) -> list[Row]:
    """Of `GET /events`: memory when all come at once and each asks for something else (nothing is dearer), and how long
    a start and an end of a container take while they all hear of it, in turns with nobody listening."""
    count, engine = setting.times(_LISTENERS, least=100), setting.lading
    command = {"lading": engine.command(*ARGUMENTS)}
    samples: dict[str, list[float]] = {"without them": [], "lading": []}
    interleave(command, 2)
    before = _all(engine)
    with _listening(place, [json.dumps({"container": [f"c{number}"]}) for number in range(count)]):
        grown = _all(engine) - before
    for _ in range(_TURNS):
        time.sleep(_SETTLED_SECONDS)  # the gateway has done with those who left
        samples["without them"] += interleave(command, setting.times(15))["lading"]
        with _listening(place, [""] * count):
            samples["lading"] += interleave(command, setting.times(15))["lading"]
    return [
        bound(f"memory for {count} who listen to events", "MiB", Summary(1, grown, grown, grown), 0.1 * count),
        *compare("run --rm IMAGE true while they listen", "ms", samples, Target("without them", 1.05)),
    ]


@contextmanager
def _listening(place: Path, filters: Sequence[str]) -> Iterator[None]:
    """As many as there are filters, who ask at the same time, and then only keep their connections."""
    with ExitStack() as stack:
        listeners = [stack.enter_context(_connected(place)) for _ in filters]
        for listener, asked in zip(listeners, filters, strict=True):
            query = f"?filters={quote(asked)}" if asked else ""
            listener.sendall(f"GET /v1.50/events{query} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        for listener in listeners:
            if not listener.recv(4096).startswith(b"HTTP/1.1 200"):
                raise Failed("the gateway does not tell events")
        yield


def _connected(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(30)
    connection.connect(str(path))
    return connection


def _all(engine: Lading) -> float:
    found = 0.0
    for pid in engine.engine_processes():
        try:
            found += pss(pid)
        except OSError:
            continue
    return found

