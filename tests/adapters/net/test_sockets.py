"""The host's ends of published ports."""

import socket
import subprocess
from types import SimpleNamespace

import pytest

from adapters.net import sockets
from domain.network.ports import Publication

RUN = "5e" * 32, 1


def test_a_port_that_a_child_inherits_for_a_moment_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has a copy of every descriptor until it is executed: no user is told that the engine is in its own way."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as before:
        before.bind(("127.0.0.1", 0))
        before.listen()
        wanted = Publication(80, "tcp", "127.0.0.1", before.getsockname()[1])
        child = subprocess.Popen(["sleep", "60"], pass_fds=[before.fileno()])
    paused: list[float] = []

    def pause(seconds: float) -> None:
        paused.append(seconds)
        child.kill()
        child.wait()

    monkeypatch.setattr(sockets, "time", SimpleNamespace(sleep=pause))
    ports = sockets.Ports()
    with child:
        assert [binding.host_port for binding in ports.reserve(RUN, [wanted], {})] == [wanted.host_port]
    assert len(paused) == 1
    ports.release(RUN)
