"""Containers that were given more: what they still have of their own, and what of the engine they do not reach."""

import json
import os
from pathlib import Path

import pytest

from tests.security.conftest import Look
from tests.security.test_walls import OWN
from tests.tutorial.engine import Engine

pytestmark = [pytest.mark.kernel, pytest.mark.slow]


def test_a_privileged_container_has_everything_but_the_hosts_namespaces(engine: Engine) -> None:
    """All capabilities that the engine has, none of them inheritable, no filter; the first process and an exec."""
    engine.ok("run", "-d", "--name", "it", "--privileged", "busybox", "sleep", "1000")
    spaces = {name: os.readlink(f"/proc/self/ns/{name}") for name in OWN if name != "cgroup"}
    for pid in ("1", "self"):
        said = engine.ok("exec", "it", "cat", f"/proc/{pid}/status")
        status = dict(line.split(":\t", 1) for line in said.splitlines() if ":\t" in line)
        assert (status["CapInh"], status["CapAmb"], status["Seccomp"]) == ("0" * 16, "0" * 16, "0")
        assert status["CapEff"] == status["CapBnd"]
        for name, ours in spaces.items():
            assert engine.ok("exec", "it", "readlink", f"/proc/{pid}/ns/{name}") != ours


def test_what_a_privileged_container_mounts_stays_in_it(engine: Engine, tmp_path: Path) -> None:
    """No mount of it is shared with the host, also not where the host's was."""
    before = Path("/proc/self/mountinfo").read_text().count("\n")
    engine.ok("run", "--rm", "--privileged", "busybox", "sh", "-c",
              "mkdir /x; mount -t tmpfs t /x; mount -t tmpfs t /mnt 2>/dev/null; mount -o remount,rw /sys; true")
    assert Path("/proc/self/mountinfo").read_text().count("\n") == before


def test_a_privileged_container_gets_no_word_with_the_engine(engine: Engine, look: Look) -> None:
    """It may be as good as root on the host; the sockets are not in its view, and nothing of the engine is open."""
    sockets = [str(engine.socket), str(engine.run_dir / "warden.sock")]
    told = look("network", json.dumps(sockets), json.dumps(["daemon"]), options=("--privileged",))
    assert told["unix"] == []
    assert told["buses"] == {}
    said = engine.ok("run", "--rm", "--privileged", "busybox", "ls", "-l", "/proc/self/fd").splitlines()
    targets = {line.split()[8]: line.split()[-1].partition(":")[0] for line in said if "->" in line}
    assert {name: targets[name] for name in ("0", "1", "2")} == {"0": "/dev/null", "1": "pipe", "2": "pipe"}
    assert set(targets) <= {"0", "1", "2", "3"}


def test_open_paths_open_paths_and_nothing_else(engine: Engine) -> None:
    """`systempaths=unconfined` leaves capabilities, filter, devices and namespaces as they are."""
    script = ("cat /proc/self/status; mknod /disk b 8 0; head -c 1 /disk && echo disk; "
              "mount -t tmpfs t /mnt && echo mounted")
    said = engine.cli("run", "--rm", "--security-opt", "systempaths=unconfined", "busybox", "sh", "-c", script).out
    assert "CapEff:\t00000000a80425fb" in said
    assert "Seccomp:\t2" in said
    assert "disk" not in said
    assert "mounted" not in said
