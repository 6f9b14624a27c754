"""The ways out of a container that are known, tried from inside, by its first process and by one more."""

import ctypes
import json
import os
import platform
from pathlib import Path
from typing import Any

import pytest

from tests.security import prober
from tests.security.conftest import INSIDE
from tests.tutorial.engine import Engine

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

OWN = ("cgroup", "ipc", "mnt", "net", "pid", "uts")
CLOSED = {"EROFS", "EACCES", "EPERM", "ENOENT"}
NEVER_THERE = {"ENODEV", "EINVAL", "EBUSY"}
WALLS = ("as the first process", "as one more")
ADD_KEY, JOIN_SESSION, KEYCTL = 248, 1, 250


@pytest.fixture(params=WALLS)
def tried(request: pytest.FixtureRequest, engine: Engine, python: str, canary: Path) -> dict[str, Any]:
    """What came of all attempts."""
    code = (INSIDE / "walls.py").read_text()
    words = (prober.interpreter(), "-I", "-S", "-c", code, str(canary))
    if request.param == WALLS[0]:
        told: dict[str, Any] = json.loads(engine.ok("run", "--rm", python, *words))
    else:
        engine.ok("run", "-d", "--name", "walls", python, "sleep", "1000")
        told = json.loads(engine.ok("exec", "walls", *words))
    return told


def test_no_attempt_to_get_out_gets_out(tried: dict[str, Any], engine: Engine) -> None:
    """Mounts, namespaces, control groups (CVE-2022-0492, CVE-2023-25809), helper programs of the kernel, the directory
    that is held across a chroot, the kernel's links."""
    assert tried["reached"] == []
    assert tried["chroot"] == []
    assert set(tried["mounting"].values()) == {"EPERM"}
    assert tried["groups"] == []
    assert set(tried["helpers"].values()) <= CLOSED, tried["helpers"]
    assert tried["others"] == {}


def test_all_namespaces_but_that_of_users_are_the_containers_own(tried: dict[str, Any]) -> None:
    """The control groups' as well, on version 1, too."""
    ours = {name: os.readlink(f"/proc/self/ns/{name}") for name in OWN}
    assert [name for name in OWN if tried["namespaces"][name] == ours[name]] == []


def test_no_mount_is_shared_with_the_host_and_none_names_its_paths(tried: dict[str, Any], engine: Engine) -> None:
    """A shared one would carry mounts out (and in); the options of the overlay would say where the engine keeps its
    files. The kernel names the place of a file that is bound, in the file system that it comes from."""
    for line in tried["mounts"].splitlines():
        before, _, after = line.partition(" - ")
        assert "shared:" not in before, line
        assert "master:" not in before, line
        assert str(engine.folder) not in after, line
        if not before.split()[4].startswith("/etc/"):
            assert str(engine.folder) not in before, line


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers are those of x86-64")
@pytest.mark.parametrize("more", [(), ("--privileged",)], ids=["plain", "privileged"])
def test_keys_of_whoever_started_the_engine_are_out_of_reach(base_image: Path, python_image: Path,
                                                             more: tuple[str, ...]) -> None:
    """Keyrings are inherited, and whoever holds a key in one need not be asked for more. Without the filter the
    search is allowed, and finds nothing."""
    name = "lading-test-key"
    with _own_session_key(name):
        engine = Engine()
        try:
            engine.start()
            engine.ok("import", str(python_image), "python")
            engine.ok("run", "-d", "--name", "it", "python", "sleep", "1000")
            words = (prober.interpreter(), "-I", "-S", "-c", (INSIDE / "keys.py").read_text(), name)
            told = json.loads(engine.ok("exec", *more, "it", *words))
            assert set(told.values()) == ({"ENOKEY"} if more else {"EPERM"})
        finally:
            left = engine.close()
        assert not left, left


class _own_session_key:  # noqa: N801 - a context manager, used like a function
    """A session keyring of this process with one key in it; children inherit it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.syscall(KEYCTL, JOIN_SESSION, None) == -1:
            pytest.skip("the kernel gives no keyring")
        added = libc.syscall(ADD_KEY, ctypes.c_char_p(b"user"), ctypes.c_char_p(self._name.encode()),
                             ctypes.c_char_p(b"secret"), 6, -3)
        assert added != -1, os.strerror(ctypes.get_errno())

    def __exit__(self, *_: object) -> None:
        ctypes.CDLL(None).syscall(KEYCTL, JOIN_SESSION, None)


def test_a_signal_to_everybody_reaches_the_container_only(engine: Engine) -> None:
    """`kill -9 -1` as root in it."""
    before = engine.processes().roles
    engine.ok("run", "-d", "--name", "other", "busybox", "sleep", "1000")
    engine.cli("run", "--rm", "busybox", "sh", "-c", "sleep 100 & kill -9 -1; kill -9 1; true")
    engine.cli("exec", "other", "sh", "-c", "kill -9 -1")
    assert engine.processes().roles == before
    assert engine.state("other") == "running"




@pytest.mark.parametrize("place", ["etc", "run", "sbin", "usr"])
def test_a_container_cannot_prepare_its_next_start(engine: Engine, canary: Path, place: str) -> None:
    """It has replaced its own directories by links: what the engine puts there at the next start lands inside."""
    script = (f'[ -e /again ] && {{ cat /etc/hosts /{place}/hosts; exit 0; }}; mkdir -p /{place}; '
              f'mv /{place} /moved; ln -s {canary} /{place}; mkdir -p {canary}; touch /again')
    engine.ok("run", "--init", "--name", "it", "-w", f"/{place}/new/deep", "busybox", "sh", "-c", script)
    done = engine.cli("start", "-a", "it")
    assert "intact" not in done.out, done
    assert done.code == 0, done


def test_the_little_init_is_the_hosts_file_and_cannot_be_harmed(engine: Engine) -> None:
    """It is bound into every container that asks for it: neither its content nor its mode changes, by no name."""
    script = ("for f in /sbin/lading-init /proc/1/exe; do echo x >$f; chmod 0 $f; chown 1 $f; rm $f; mv $f /x; "
              "touch $f; done 2>/dev/null; umount /sbin/lading-init; head -c 4 /proc/1/exe")
    assert "ELF" in engine.ok("run", "--rm", "--init", "busybox", "sh", "-c", script)
    assert engine.ok("run", "--rm", "--init", "busybox", "echo", "again") == "again"
