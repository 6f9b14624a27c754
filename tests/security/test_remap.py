"""Users that are others outside: root in a container that is nobody on the host."""

import json
import os
from pathlib import Path

import pytest

from tests.security import prober
from tests.security.conftest import INSIDE
from tests.tutorial.engine import Engine

pytestmark = [pytest.mark.kernel, pytest.mark.slow]


def test_root_in_a_remapped_container_is_nobody_outside(engine: Engine, python: str) -> None:
    """For the first process and for an exec; the known ways out stay closed.

    CVE-2021-21284.
    """
    engine.ok("run", "-d", "--name", "it", "--userns", "remap", python, "sh", "-c", "touch /made; exec sleep 1000")
    pid = engine.pid("it")
    uid = int(Path(f"/proc/{pid}/status").read_text().split("Uid:\t")[1].split()[0])
    assert uid > 1000
    assert engine.ok("exec", "it", "id", "-u") == "0"
    assert engine.ok("exec", "it", "cat", "/proc/self/uid_map").split()[:2] == ["0", str(uid)]
    code = (INSIDE / "walls.py").read_text()
    told = json.loads(engine.ok("exec", "it", prober.interpreter(), "-I", "-S", "-c", code, str(engine.data)))
    assert (told["reached"], told["chroot"], told["groups"], told["others"]) == ([], [], [], {})
    assert set(told["mounting"].values()) == {"EPERM"}
    assert set(told["helpers"].values()) <= {"EROFS", "EACCES", "EPERM", "ENOENT"}


def test_whoever_a_remapped_container_is_outside_cannot_enter_the_data_root(engine: Engine) -> None:
    """The numbers of its users belong to no user of the host, and own nothing there but what containers have made."""
    engine.ok("run", "-d", "--name", "it", "--userns", "remap", "busybox", "sleep", "1000")
    uid = os.stat(f"/proc/{engine.pid('it')}").st_uid
    places = [engine.data, engine.data / "store", engine.data / "state", engine.run_dir]
    assert [place for place in places if place.exists() and place.stat().st_uid == uid] == []
    assert [place for place in places if place.exists() and place.stat().st_mode & 0o007 & ~0o001] == []
