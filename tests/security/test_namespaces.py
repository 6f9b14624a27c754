"""Namespaces that are shared because somebody wished it: what else comes with that."""

import json
import os
from typing import Any

import pytest

from tests.security import prober
from tests.security.conftest import INSIDE
from tests.tutorial.engine import Engine, until

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

KINDS = ("cgroup", "ipc", "mnt", "net", "pid", "uts")


def spaces_of(engine: Engine, name: str) -> dict[str, str]:
    """By the links of its first process, as the host sees them."""
    pid = engine.pid(name)
    return {kind: os.readlink(f"/proc/{pid}/ns/{kind}") for kind in KINDS}


@pytest.mark.parametrize("kind", ["pid", "ipc", "uts"])
def test_one_namespace_of_the_host_is_that_one(engine: Engine, kind: str) -> None:
    """All others are the container's own; an exec joins the same."""
    engine.ok("run", "-d", "--name", "it", f"--{kind}", "host", "busybox", "sleep", "1000")
    ours = {name: os.readlink(f"/proc/self/ns/{name}") for name in KINDS}
    found = spaces_of(engine, "it")
    assert {name for name, target in ours.items() if found[name] == target} == {kind}
    said = engine.ok("exec", "it", "readlink", f"/proc/self/ns/{kind}")
    assert said == ours[kind]


def test_who_sees_the_hosts_processes_sees_nothing_in_those_of_the_engine(engine: Engine, python: str) -> None:
    """`--pid host`: neither environment nor memory, program, root, working directory or descriptors of any of them."""
    code = (INSIDE / "spy.py").read_text()
    engine.ok("run", "-d", "--name", "spy", "--pid", "host", python, prober.interpreter(), "-I", "-S", "-c", code)
    until(lambda: engine.cli("exec", "spy", "ls", "/ready").code == 0, "it looks")
    roles = engine.processes().roles
    for pid in roles.values():
        for what in ("environ", "maps", "mem", "exe", "root/etc/passwd"):
            assert engine.cli("exec", "spy", "head", "-c", "1", f"/proc/{pid}/{what}").out == "", (pid, what)
        for what in ("root", "cwd", "exe", "fd/0", "fd/2", "fd/4", "ns/mnt"):
            assert engine.cli("exec", "spy", "readlink", f"/proc/{pid}/{what}").out == "", (pid, what)
    engine.ok("exec", "spy", "touch", "/stop")
    until(lambda: engine.state("spy") == "exited", "it has ended")
    told: dict[str, Any] = json.loads(engine.ok("logs", "spy"))
    assert "opened" not in told["found"]
    assert not [text for text in told["found"].get("environ", []) if str(engine.folder) in text]


@pytest.mark.parametrize("mode", ["container:nosuch", "container:", "container:../x", "x", "host\n", "container:it:x"])
@pytest.mark.parametrize("kind", ["pid", "ipc", "uts", "cgroupns", "userns"])
def test_a_mode_that_is_none_is_refused(engine: Engine, kind: str, mode: str) -> None:
    """Not taken for the default."""
    assert engine.cli("run", "--rm", f"--{kind}", mode, "busybox", "true").code == 125
    assert engine.everything() == []
