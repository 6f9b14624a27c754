"""The Docker Engine API of a whole engine: docker's own client at a terminal and in pipes, clients that vanish or stand
still, and a gateway that is killed.
"""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.tutorial.engine import Engine, alive, until
from tests.tutorial.keyboard import Keyboard

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

DETACH = "\x10\x11"
_CLIENT = shutil.which("docker") or ""
needs_client = pytest.mark.skipif(not _CLIENT, reason="needs docker's client")
Sit = Callable[..., Keyboard]


@pytest.fixture(scope="module")
def place(served: Engine) -> Iterator[Path]:
    """Where the API of the file's engine is served."""
    yield Path(served.ok("gateway", "start"))
    if served.listens():
        served.ok("gateway", "stop")


@pytest.fixture
def environment(engine: Engine, place: Path) -> dict[str, str]:
    """Of docker's client."""
    return {**engine.environment, "DOCKER_HOST": f"unix://{place}", "DOCKER_CONFIG": str(place.parent / "docker")}


@pytest.fixture
def sit(environment: dict[str, str]) -> Iterator[Sit]:
    """Sits down at a terminal and types a command line of docker's; all windows are closed at the end."""
    with ExitStack() as stack:

        def begin(*words: str, rows: int = 24, cols: int = 80) -> Keyboard:
            keyboard = Keyboard([_CLIENT, *words], environment, rows, cols)
            stack.callback(keyboard.close)
            return keyboard

        yield begin


def docker(environment: dict[str, str], *words: str, stdin: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
    """One command line of docker's client."""
    return subprocess.run([_CLIENT, *words], env=environment, input=stdin, capture_output=True, timeout=60, check=False)


def ask(place: Path, method: str, target: str, body: str | None = None) -> tuple[int, bytes]:
    """A request without docker's client: status and body."""
    with closing(http.client.HTTPConnection("engine", timeout=30)) as connection:
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(30)
        connection.sock.connect(str(place))
        connection.request(method, target, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()


@needs_client
def test_type_resize_leave_come_back_and_exit(engine: Engine, sit: Sit) -> None:
    """With docker's client as with our own: sizes, keys that leave, another terminal, the status."""
    box = sit("run", "-ti", "--name", "box", "-e", "PS1=$>", "busybox", "sh", rows=30, cols=100)
    box.sees("$>")
    box.type("stty size\r")
    box.sees("30 100\r\n")
    box.resize(40, 120)
    until(lambda: engine.ok("exec", "box", "sh", "-c", "stty size < /dev/pts/0") == "40 120", "the new size is there")
    other = sit("exec", "-ti", "box", "sh")
    other.sees("$>")
    other.type("stty size; exit 7\r")
    other.sees("24 80")
    assert other.ends() == 7
    box.type(DETACH)
    assert box.ends() == 0
    assert engine.state("box") == "running"
    again = sit("attach", "--detach-keys", "ctrl-a,d", "box")
    again.sees("$>")
    again.type("\x01d")
    again.sees("read escape sequence")
    assert again.ends() == 1  # which is what the industry's client says of an attach that was left
    back = sit("attach", "box")
    back.sees("$>")
    back.type("exit 3\r")
    assert back.ends() == 3
    again = sit("start", "-ai", "box")
    again.sees("$>")
    again.type("exit 4\r")
    assert again.ends() == 4
    asked = engine.ok("audit", "--json", "box")
    assert all(words in asked for words in ("docker run -ti", "docker exec -ti box", "docker attach", "docker start"))


@needs_client
def test_pipes_streams_and_statuses(engine: Engine, environment: dict[str, str]) -> None:
    """What goes in comes out, each output on its own, and the end of the input is one."""
    lines = b"".join(b"%d\n" % number for number in range(100_000))
    counted = docker(environment, "run", "--rm", "-i", "busybox", "sh", "-c", "cat; echo oops >&2; exit 5", stdin=lines)
    assert (counted.returncode, counted.stdout == lines, counted.stderr) == (5, True, b"oops\n")
    missing = docker(environment, "run", "--rm", "busybox", "nonsense")
    assert (missing.returncode, b"executable file not found" in missing.stderr) == (127, True)
    assert engine.everything() == []


@needs_client
def test_files_logs_and_figures(engine: Engine, environment: dict[str, str], tmp_path: Path) -> None:
    """Of one container."""
    assert docker(environment, "run", "-d", "--name", "web", "busybox", "sh", "-c",
                  "echo out; echo err >&2; exec sleep 1000").returncode == 0
    until(lambda: docker(environment, "logs", "web").stderr == b"err\n", "it has written")
    assert docker(environment, "logs", "--tail", "1", "web").stdout in (b"out\n", b"")
    (tmp_path / "note").write_text("hello")
    assert docker(environment, "cp", str(tmp_path / "note"), "web:/tmp/").returncode == 0
    assert docker(environment, "cp", "web:/tmp/note", "-").stdout.count(b"hello") == 1
    assert docker(environment, "cp", "web:/tmp/.", str(tmp_path / "content")).returncode == 0
    assert docker(environment, "cp", "web:/tmp", str(tmp_path / "whole")).returncode == 0
    assert docker(environment, "cp", "web:/", str(tmp_path / "root")).returncode == 0
    for copied in ("content/note", "whole/note", "root/tmp/note"):
        assert (tmp_path / copied).read_text() == "hello"
    assert docker(environment, "diff", "web").stdout == b"C /tmp\nA /tmp/note\n"
    assert b"web" in docker(environment, "stats", "--no-stream").stdout
    assert b"sleep 1000" in docker(environment, "top", "web").stdout
    assert docker(environment, "export", "web").stdout[257:262] == b"ustar"
    shape = ("--access", "only", "--format", "{{.By}} {{.Detail}}: {{.Command}}")
    looked = set(engine.ok("audit", *shape, "web").splitlines())
    assert {f"root {words.split()[0]}: docker {words}" for words in ("logs web", "diff web", "stats --no-stream",
                                                                     "top web")} <= looked
    assert "root ps: docker stats --no-stream" in engine.ok("audit", *shape, "host").splitlines()
    assert docker(environment, "create", "--name", "new", "-v", "/data", "busybox", "cat", "/data/note").returncode == 0
    assert docker(environment, "cp", str(tmp_path / "note"), "new:/data/").returncode == 0  # into a volume to be
    assert docker(environment, "start", "-a", "new").stdout == b"hello"
    assert docker(environment, "rm", "-v", "new").returncode == 0
    assert docker(environment, "stop", "-t", "0", "web").returncode == 0
    assert docker(environment, "wait", "web").stdout == b"137\n"
    assert docker(environment, "rm", "web").stdout == b"web\n"


@needs_client
def test_networks_links_and_what_is_missing(engine: Engine, environment: dict[str, str]) -> None:
    """What an endpoint is to have; a link that waits and goes; what is not there is told in one line, by its kind."""

    def ok(*words: str) -> str:
        done = docker(environment, *words)
        assert done.returncode == 0, (words, done.stderr)
        return done.stdout.decode()

    ok("network", "create", "shop")
    endpoint = "name=shop,alias=www,link-local-ip=169.254.8.8,driver-opt=com.docker.network.endpoint.ifname=lan0"
    ok("run", "-d", "--name", "web", "--network", endpoint, "--link", "late:db", "-e", "NONE", "busybox", "sleep", "99")
    assert "169.254.8.8/16" in ok("exec", "web", "ip", "-o", "addr", "show", "lan0")
    shown = json.loads(ok("inspect", "--format", "{{json .NetworkSettings.Networks.shop}}", "web"))
    assert (shown["Links"], shown["IPAMConfig"], shown["Aliases"]) == (
        ["late:db"], {"LinkLocalIPs": ["169.254.8.8"]}, ["www"])
    ok("run", "-d", "--name", "late", "--network", "shop", "busybox", "httpd", "-f")
    assert "Address" in ok("exec", "web", "nslookup", "db")
    assert ok("rm", "--link", "web/db") == "web/db\n"
    assert ok("top", "web", "-o", "pid,cmd").split()[:2] == ["PID", "CMD"]
    ok("rm", "-f", "web", "late")
    ok("network", "rm", "shop")
    for words, told in ((("run", "--network", "nope", "busybox", "true"), "network nope not found"),
                        (("run", "--volumes-from", "nope", "busybox", "true"), "No such container: nope"),
                        (("run", "--link", "nope:db", "busybox", "true"), "could not get container for nope")):
        done = docker(environment, *words)
        assert (done.returncode, told in done.stderr.decode()) == (125, True)
        assert b"Unable to find image" not in done.stderr
    assert docker(environment, "inspect", "u").stderr == b"Error: No such object: u\n"
    assert engine.everything() == []


@needs_client
def test_the_history_says_who_did_what_and_how_it_ended(engine: Engine, environment: dict[str, str]) -> None:
    """Each command line of docker's client that changes, runs or takes out something, with the fact that settled it."""
    lines = {
        "run -d --name web busybox sleep 99": "started",
        "exec web false": "exec-exited",
        "cp web:/etc/passwd -": "copied-out",
        "commit web site:1": "committed",
        "rename web www": "renamed",
        "pause www": "paused",
        "unpause www": "unpaused",
        "kill www": "exited",
        "start www": "started",
        "stop -t 0 www": "exited",
        "export www": "exported",
        "rm www": "removed",
    }
    for line in lines:
        assert docker(environment, *line.split()).returncode == (1 if "false" in line else 0), line
    steps = [json.loads(line) for line in engine.ok("audit", "--json", "www").splitlines()]
    asked = {step["position"]: step for step in steps if step["actor"]["command"]}
    assert {step["actor"]["user"] for step in asked.values()} == {"root"}
    settled = {(step["actor"]["command"], step["event"]) for step in asked.values()}
    settled |= {(asked[step["cause"]]["actor"]["command"], step["event"]) for step in steps if step["cause"] in asked}
    assert {(f"docker {line}", event) for line, event in lines.items()} <= settled
    (run,) = (step for step in steps if step["event"] == "exec-exited")
    assert run["data"]["code"] == 1
    assert docker(environment, "rmi", "site:1").returncode == 0
    assert engine.everything() == []


def test_a_client_that_stands_still_slows_nobody_and_leaves_nothing(engine: Engine, place: Path) -> None:
    """Neither others nor the container whose output it does not read; when it goes, all it has asked for is over."""
    script = "yes | head -c 40000000; echo done > /done; sleep 1000"
    engine.ok("run", "-d", "--name", "loud", "busybox", "sh", "-c", script)
    with ExitStack() as stack:
        for target in ("logs?follow=1&stdout=1", "stats"):
            still = stack.enter_context(socket.socket(socket.AF_UNIX))
            still.connect(str(place))
            still.sendall(f"GET /containers/loud/{target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert still.recv(16).startswith(b"HTTP/1.1 200")
        half = stack.enter_context(socket.socket(socket.AF_UNIX))
        half.connect(str(place))
        half.sendall(b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
        until(lambda: engine.cli("exec", "loud", "cat", "/done").code == 0, "it was held up by nobody")
        assert ask(place, "GET", "/_ping") == (200, b"OK")
    assert ask(place, "DELETE", "/containers/loud?force=1")[0] == 204


def test_a_gateway_that_is_killed_harms_nobody(engine: Engine, place: Path) -> None:
    """The daemon and its containers go on, and another one serves."""
    id = engine.ok("run", "-d", "--name", "web", "busybox", "sleep", "1000")
    daemon, gateway = engine.processes()["daemon"], _gateway(engine)
    with socket.socket(socket.AF_UNIX) as waiting:
        waiting.connect(str(place))
        waiting.sendall(b"POST /containers/web/wait HTTP/1.1\r\nHost: x\r\n\r\n")
        assert waiting.recv(16).startswith(b"HTTP/1.1 200")
        os.kill(gateway, signal.SIGKILL)
        until(lambda: not alive(gateway), "it is gone")
        until(lambda: waiting.recv(65536) == b"", "who waited is hung up on")
    until(lambda: _gateway(engine) not in (0, gateway) and _pings(place), "another one serves")
    assert (engine.processes()["daemon"], engine.state("web")) == (daemon, "running")
    assert ask(place, "GET", f"/containers/{id}/json")[0] == 200


def _gateway(engine: Engine) -> int:
    """Its process; 0 while there is none."""
    said = engine.cli("gateway", "status").out
    number = said.partition("(process ")[2].partition(")")[0]
    return int(number or 0)


def _pings(place: Path) -> bool:
    try:
        return ask(place, "GET", "/_ping")[0] == 200
    except (OSError, http.client.HTTPException):
        return False
