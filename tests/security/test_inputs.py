"""Ten thousand hostile inputs through every way into one engine: whoever speaks to it gets an answer in plain words, it
lives on with as much memory as before, and nothing outside of its data root has changed.

`LADING_TEST_INPUTS` says how many; with another number than usual they are different ones each time.
"""

import json
import os
import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.examples import EXPLORING
from tests.security import nasty
from tests.security.conftest import state_of
from tests.security.speaker import Said, Speaker
from tests.tutorial.engine import PROGRAMS, Engine
from tests.tutorial.line import Line

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

USUAL = 10_000
INPUTS = int(os.environ.get("LADING_TEST_INPUTS", str(USUAL)))
HELLO = b'CONNECT {"verbose":false,"headers":true,"no_responders":true}\r\n'
STATUSES = {0, 1, 3, 125, 126, 127}
"""3: what was asked for does not run (`gateway status`)."""
PASS_ON = {b"attach", b"build", b"exec", b"run", b"start", b"wait"}
"""Verbs whose status is that of a container's program."""
GIVES_UP, HANGS = 1.0, 30.0
MORE_MEMORY = 48 << 20
TELL_BYTES = {b"attach", b"cp", b"exec", b"export", b"logs", b"run", b"save", b"start"}
"""Verbs whose output is the very bytes that a container or a file holds; a format is the user's own text, too."""
UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029]")
WRONG = re.compile(r"Traceback|internal error|failed inside|object at 0x|\bNone\b.*\bNoneType\b")
WATCHED = ("/etc", "/boot", "/srv", "/opt", "/usr/local/bin", "/usr/bin")


def few(share: float) -> Callable[[Any], Any]:
    """This share of all inputs."""
    return settings(max_examples=int(INPUTS * share), deadline=None, database=None,
                    derandomize=INPUTS == USUAL and not EXPLORING, suppress_health_check=list(HealthCheck))


class Target:
    """The engine that is spoken to, and how it was before."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine, self.folder = engine, folder
        self.speaker = Speaker(engine.socket, folder)
        self.roles = engine.processes().roles
        self.count, self.memory = 0, 0
        self.host = host()

    def __repr__(self) -> str:
        return "the engine"

    def tend(self) -> None:
        """Now and then: what may be spoken of is there, and what has piled up is gone."""
        if self.count % 200 == 0:
            self.engine.remove_all()
            if "busybox" not in self.engine.ok("images", "--format", "{{.Repository}}").split():
                self.speaker.files = {b"base": (self.folder / "base.tar").read_bytes()}
                assert self.speaker.call(b"import", b"base", b"busybox").code == 0
            self.engine.ok("create", "--name", "resting", "busybox", "true")
            self.engine.shell("trap exit TERM; while :; do sleep 1; done", name="running")
        self.count += 1
        if self.count == INPUTS // 10:
            self.memory = memory_of(self.roles["daemon"])


@pytest.fixture(scope="module")
def target(base_image: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """An engine for all of them; in the end it must be what it was."""
    folder = tmp_path_factory.mktemp("inputs")
    engine = Engine()
    try:
        engine.start()
        engine.ok("import", str(base_image), "busybox")
        (folder / "base.tar").write_bytes(base_image.read_bytes())
        engine.ok("run", "--rm", "busybox", "true")
        found = Target(engine, folder)
        yield found
        found.speaker.close()
        engine.remove_all()
    finally:
        left = engine.close()
    assert not left, left


def host() -> dict[str, Any]:
    """What programs and settings the host has."""
    return {path: state_of(Path(path)) for path in WATCHED}


def memory_of(pid: int) -> int:
    """Resident bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def judge(said: Said) -> None:
    """An answer is one, in words for people, that no terminal obeys."""
    assert said.code is None or said.code in STATUSES or PASS_ON & {*said.words}, said
    assert not WRONG.search(said.err.decode("utf-8", "replace")), said
    bytes_are_wished = any(word in TELL_BYTES or word.startswith((b"-f", b"--format")) for word in said.words)
    if not bytes_are_wished:
        text = (said.out + said.err).decode()
        assert not UNSAFE.search(text), said
    assert said.code != 125 or said.err, said


@few(0.54)
@given(line=nasty.command_lines())
def test_every_command_line_gets_an_answer(target: Target, line: tuple[bytes, ...]) -> None:
    """Any verb with any options and arguments: a status, and a reason in plain words."""
    target.tend()
    follows = bool({word.decode("utf-8", "replace") for word in line[:2]} & nasty.FOLLOWING)
    said = target.speaker.call(*line, seconds=GIVES_UP if follows else HANGS)
    assert follows or said.code is not None, f"no answer to {line}"
    judge(said)


@few(0.01)
@given(line=nasty.command_lines())
def test_the_client_itself_says_what_is_wrong(target: Target, line: tuple[bytes, ...]) -> None:
    """The same words as arguments of the program that people start."""
    target.tend()
    argv = [str(PROGRAMS / "lading").encode(), *line]
    try:
        done = subprocess.run(argv, env=target.engine.environment, stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=GIVES_UP * 3, check=False, cwd=target.folder)
    except subprocess.TimeoutExpired:
        assert {word.decode("utf-8", "replace") for word in line[:2]} & nasty.FOLLOWING, line
        return
    judge(Said(line, done.returncode, done.stdout, done.stderr))


@few(0.30)
@given(request=nasty.requests())
def test_every_request_on_the_bus_gets_an_answer(target: Target, request: tuple[str, bytes]) -> None:
    """Wishes and questions as JSON, of the right shape with wrong values, or of any shape."""
    target.tend()
    subject, payload = request
    waits = subject.rpartition(".")[2] in {"run", "exec", "wait", "stop", "restart"}
    with closing(Line(target.engine.socket)) as line:
        try:
            answer = line.ask(subject, payload, GIVES_UP if waits else HANGS)
        except TimeoutError:
            assert waits, f"no answer to {request}"
            return
    assert isinstance(answer["ok"], bool)
    assert not WRONG.search(json.dumps(answer.get("message", ""))), (request, answer)


@few(0.09)
@given(frame=nasty.frames)
def test_no_frame_ends_more_than_its_connection(target: Target, frame: bytes) -> None:
    """On the control socket."""
    target.tend()
    with socket.socket(socket.AF_UNIX) as connection, suppress(OSError):
        connection.settimeout(5)
        connection.connect(str(target.engine.socket))
        connection.sendall(HELLO + frame + b"\r\n")


@few(0.05)
@given(data=st.data())
def test_every_archive_is_an_image_or_refused(target: Target, data: st.DataObject) -> None:
    """`import` and `load` of archives with strange entries, and of ones that are damaged.

    CVE-2021-21285.
    """
    target.tend()
    verb = data.draw(st.sampled_from([b"import", b"load"]))
    target.speaker.files = {b"file": data.draw(nasty.archives())}
    said = target.speaker.call(*((b"import", b"file", b"strange") if verb == b"import" else (b"load", b"-i", b"file")))
    assert said.code in (0, 1), said
    judge(said)


@few(0.01)
@given(data=st.data())
def test_every_context_is_built_or_refused(target: Target, data: st.DataObject) -> None:
    """`build` of Dockerfiles that nobody would write, with files that nobody would send: elsewhere a request that was
    not as expected ended the daemon (CVE-2024-23650, CVE-2026-15792)."""
    target.tend()
    target.speaker.stdin = data.draw(nasty.contexts())
    said = target.speaker.call(b"build", b"--network", b"none", b"-q", b"-", seconds=HANGS)
    assert said.code is not None, said
    judge(said)


def test_the_engine_is_what_it_was(target: Target) -> None:
    """The same processes, hardly more memory, no error in the daemon's own log, a log of events that is whole; and the
    host's programs and settings have not been touched."""
    assert target.engine.processes().roles == target.roles
    assert memory_of(target.roles["daemon"]) - target.memory < MORE_MEMORY
    assert "Traceback" not in (target.engine.data / "state" / "daemon.log").read_text(errors="replace")
    target.engine.ok("audit", "verify")
    assert target.engine.ok("run", "--rm", "busybox", "echo", "alive") == "alive"
    assert host() == target.host
