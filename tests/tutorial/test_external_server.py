"""The same engine over a nats-server that somebody else runs."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from adapters.nats.rights import permissions
from tests.tutorial.engine import HOST, PROGRAMS, Done, Engine, until
from tests.tutorial.keyboard import Keyboard

pytestmark = [pytest.mark.kernel, pytest.mark.slow]


@dataclass
class Operator:
    """Who runs the bus: starts and kills it."""

    engine: Engine
    port: int = 0
    process: "subprocess.Popen[bytes] | None" = field(default=None)

    def start(self) -> None:
        """The same port every time, so that the engine finds it again."""
        ports = self.engine.folder / "ports"
        ports.mkdir(exist_ok=True)
        config = self.engine.folder / "nats.conf"
        config.write_text(
            json.dumps(
                {
                    "listen": f"127.0.0.1:{self.port or -1}",
                    "ports_file_dir": str(ports),
                    "authorization": {
                        "users": [
                            {"user": "engine", "password": "a long password"},
                            {"user": "ann", "password": "a word", "permissions": permissions("ann", HOST, "operator")},
                            {"user": "bob", "password": "a word", "permissions": permissions("bob", HOST, "reader")},
                        ]
                    },
                }
            )
        )
        self.process = subprocess.Popen(
            [str(PROGRAMS / "nats-server"), "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        if not self.port:
            written = until(lambda: [*ports.glob("*.ports")], "the server says where it listens")
            self.port = until(lambda: _port(written[0]), "the port is written")

    def kill(self) -> None:
        """At once."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()


def _port(path: Path) -> int:
    try:
        (url, *_) = json.loads(path.read_text())["nats"]
    except (ValueError, KeyError):
        return 0
    return int(url.rpartition(":")[2])


@pytest.fixture
def operator(base_image: Path) -> Iterator[Operator]:
    """An engine whose configuration names an external server."""
    engine = Engine()
    operator = Operator(engine)
    operator.start()
    credentials = engine.folder / "credentials.json"
    credentials.write_text(json.dumps({"daemon": {"user": "engine", "password": "a long password"}}))
    os.chmod(credentials, 0o600)
    (engine.folder / "config.toml").write_text(
        f'nats_url = "nats://127.0.0.1:{operator.port}"\nnats_credentials = "{credentials}"\n'
    )
    try:
        engine.start()
        engine.ok("import", str(base_image), "busybox")
        yield operator
    finally:
        left = engine.close()
        operator.kill()
    assert not left, left


def test_an_external_server_carries_everything_and_may_die(operator: Operator) -> None:
    """The bus is not the record: when it is back, the engine goes on where it was."""
    engine = operator.engine
    assert engine.ok("run", "--rm", "busybox", "echo", "over there") == "over there"
    assert not (engine.run_dir / "nats").exists()
    engine.ok("run", "-d", "--name", "stays", "busybox", "sleep", "300")
    pid = engine.pid("stays")
    operator.kill()
    operator.start()
    until(lambda: engine.cli("run", "--rm", "busybox", "echo", "back").out == "back\n", "the bus is back")
    assert engine.pid("stays") == pid
    engine.ok("rm", "--force", "stays")


def test_a_command_line_on_another_host_is_answered_alike(operator: Operator) -> None:
    """Same words, same streams, same status; the log knows the user of the bus that asked."""
    engine = operator.engine

    def far(*words: str, user: str = "ann", host: str = HOST, password: str = "a word", stdin: str = "") -> Done:
        env = {"LADING_RUN_DIR": "/nowhere", "LADING_PASSWORD": password}
        return engine.cli("-H", f"nats://{user}@127.0.0.1:{operator.port}/{host}", *words, env=env, stdin=stdin)

    done = far("run", "--name", "far", "busybox", "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (done.code, done.out, done.err) == (3, "out\n", "err\n")
    assert far("run", "--rm", "-i", "busybox", "cat", stdin="through two hosts\n").out == "through two hosts\n"
    assert far("exec", "far", "true").code == 1
    assert "far" in far("ps", "-a").out
    first = json.loads(engine.ok("audit", "--format", "json", "far").splitlines()[0])
    assert first["By"] == "ann"
    env = {"LADING_HOST": f"nats://ann:a%20word@127.0.0.1:{operator.port}/{HOST}"}
    assert engine.cli("rm", "far", env=env).out == "far\n"
    _at_a_terminal(engine, env)
    wrong = far("ps", password="another")
    assert (wrong.code, len(wrong.err.splitlines())) == (1, 1)
    assert "Authorization Violation" in wrong.err
    assert "Permissions Violation" in far("ps", user="bob").err
    absent = far("ps", host="nobody")
    assert absent.code == 1
    assert "Permissions Violation" in absent.err or "does not answer" in absent.err


def _at_a_terminal(engine: Engine, env: dict[str, str]) -> None:
    """Size, resize, leaving, coming back, a second terminal, and a client that is killed: nothing differs."""
    with ExitStack() as stack:

        def sit(*words: str) -> Keyboard:
            keyboard = Keyboard([str(PROGRAMS / "lading"), *words], {**engine.environment, **env}, 30, 100)
            stack.callback(keyboard.close)
            return keyboard

        box = sit("run", "-it", "--name", "box", "-e", "PS1=$>", "busybox", "sh")
        box.sees("$>")
        box.type("stty size\r")
        box.sees("30 100\r\n")
        box.resize(40, 120)
        box.type("sleep 0.1; stty size; echo here > /made\r")
        box.sees("40 120\r\n")
        box.sees("$>")
        box.type("\x10\x11")
        assert (box.ends(), box.raw) == (0, False)
        back = sit("attach", "box")
        back.sees("$>")
        other = sit("exec", "-it", "box", "cat", "/made", "-")
        other.sees("here\r\n")
        other.kill()
        assert other.ends() == 137
        until(lambda: not other.raw, "the terminal is as it was")
        back.type("exit 4\r")
        assert (back.ends(), back.raw) == (4, False)
    assert engine.cli("logs", "box", env=env).out == engine.ok("logs", "box") + "\n"
    engine.ok("rm", "box")


@pytest.mark.parametrize("url", ["nats://127.0.0.1/box", "nats://ann@127.0.0.1", "nats://ann@/box", "nats://a.b@x/y"])
def test_an_address_that_lacks_something_is_refused(operator: Operator, url: str) -> None:
    """One line that shows what it should look like."""
    done = operator.engine.cli("-H", url, "ps")
    assert done.code == 1
    assert done.err == "the address of a daemon on another host must be nats://USER@SERVER[:PORT]/HOST\n"
