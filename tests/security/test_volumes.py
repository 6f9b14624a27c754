"""Volumes: what an image, a container or another one that shares them may do about where they land and what they
hold."""

import os
import stat
from pathlib import Path

import pytest

from tests.security import prober
from tests.security.archives import link
from tests.security.conftest import INSIDE, Forge
from tests.security.test_mounts import mounts_of_host
from tests.tutorial.engine import Engine

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

TRIES = 30


@pytest.mark.parametrize("target", ["/proc", "/proc/self", "/proc/sys", "/proc/self/attr", "/proc/1/fd"])
@pytest.mark.parametrize("way", ["named", "nameless", "declared"])
def test_no_volume_is_mounted_over_or_into_proc(forge: Forge, way: str, target: str) -> None:
    """Masks would be covered, and what the engine writes there would land in the volume. A refusal leaves no volume.

    CVE-2015-3631, CVE-2019-16884.
    """
    image = forge.image(change=f"VOLUME {target}") if way == "declared" else "busybox"
    options = {"named": ("-v", f"vol:{target}"), "nameless": ("-v", target), "declared": ()}[way]
    done = forge.engine.cli("run", "--rm", *options, image, "true")
    assert done.code == 125, done
    assert forge.engine.ok("volume", "ls", "-q") == ""


@pytest.mark.parametrize("target", ["/proc", "/proc/self", "/sys", "/sys/kernel"])
def test_a_link_of_the_image_does_not_lead_a_volume_into_the_kernels_files(forge: Forge, target: str) -> None:
    """The name looks harmless until it is resolved; neither is anything copied from there."""
    image = forge.image(link("data", target))
    for place in ("/data", "/data/attr"):
        done = forge.engine.cli("run", "--rm", "-v", f"vol:{place}", image, "true")
        assert done.code == 125, (place, done)
    assert forge.engine.ok("run", "--rm", "-v", "vol:/v", "busybox", "ls", "-A", "/v") == ""


def test_who_swaps_links_in_a_shared_volume_while_another_one_starts_gets_nothing_of_the_host(
    engine: Engine, python: str, canary: Path
) -> None:
    """One container exchanges a directory and a link in a volume; the volumes of others go below it. Elsewhere they
    land where the link leads on the host, or leave directories there.

    CVE-2021-30465, CVE-2024-45310.
    """
    program = (INSIDE / "swap.py").read_text()
    engine.ok("run", "-d", "--name", "swapper", "-v", "shared:/data", python, prober.interpreter(), "-I", "-S", "-c",
              program, "/data", str(canary))
    engine.written("swapper", "swapping")
    before, started = mounts_of_host(), 0
    for number in range(TRIES):
        inner = (("-v", "inner:/data/d"), ("-v", "fresh:/data/d/new"), ("-v", "/data/d/t"))[number % 3]
        done = engine.cli("run", "--rm", "-v", "shared:/data", *inner, "busybox", "sh", "-c",
                          f"ls {canary}/hosts; cat {canary}/passwd /data/d/passwd; echo done")
        assert "intact" not in done.out, done
        started += done.out.endswith("done\n")
    assert started
    assert mounts_of_host() == before


@pytest.mark.parametrize("path", ["/data", "/data/deep", "/etc/../data"])
def test_what_a_new_volume_begins_with_is_the_images(forge: Forge, canary: Path, path: str) -> None:
    """Copied from the root file system, whatever links in the image say; elsewhere it was the host's.

    CVE-2022-23648.
    """
    image = forge.image(link("data", str(canary)), link("up", f"../../../../..{canary}"))
    for place in (path, path.replace("data", "up")):
        done = forge.engine.cli("run", "--rm", "-v", f"new:{place}", image, "sh", "-c",
                                f"cat {place}/passwd {place}/hosts {canary}/passwd; true")
        assert "intact" not in done.out, done


@pytest.mark.parametrize("path", ["/", "/../../../../proc", "relative/../../dev", "/proc", "/proc/self/fd", "/x\0y"])
def test_a_place_that_an_image_declares_is_checked_like_one_that_is_asked_for(forge: Forge, path: str) -> None:
    """It is the attacker's word: either the image is refused or its start, and no volume is made."""
    loaded = forge.load({"Cmd": ["true"], "Volumes": {path: {}}})
    started = forge.engine.cli("run", "--rm", "bad", "true")
    assert loaded.code == 1 or started.code == 125, (loaded, started)
    assert "Traceback" not in loaded.err + started.err
    assert forge.engine.ok("volume", "ls", "-q") == ""


def test_a_volume_that_is_for_reading_is_not_written(engine: Engine) -> None:
    """Whatever root in the container tries."""
    engine.ok("run", "--rm", "-v", "kept:/v", "busybox", "sh", "-c", "echo intact > /v/file")
    attempts = ("echo x >/v/file; touch /v/new; rm /v/file; chmod 777 /v/file; mount -o remount,rw /v; "
                "echo x >/v/file; ln -s x /v/l; mv /v/file /v/g; true")
    for _ in range(2):
        engine.ok("run", "--rm", "-v", "kept:/v:ro", "busybox", "sh", "-c", attempts)
    assert engine.ok("run", "--rm", "-v", "kept:/v", "busybox", "sh", "-c", "ls -A /v; cat /v/file").split() == [
        "file", "intact"]


@pytest.mark.parametrize("name", ["..", ".", "../x", "a/b", "a\nb", "-x", "x" * 300, "a\x1b[2J", "/", "_data", " "])
def test_a_volume_has_a_name_and_not_a_path(engine: Engine, name: str) -> None:
    """Also when it is to be removed."""
    before = sorted(os.listdir(engine.data))
    for verb in (("create",), ("rm",), ("inspect",)):
        assert engine.cli("volume", *verb, "--", name).code != 0, verb
    if name[0] not in "./":  # else it is a directory of the host
        assert engine.cli("run", "--rm", "-v", f"{name}:/x", "busybox", "true").code == 125
    assert sorted(os.listdir(engine.data)) == before
    assert engine.listens()


@pytest.mark.parametrize("subpath", ["..", "../..", "d/../..", "/etc", "out", "out/x", "d/out"])
def test_a_part_of_a_volume_lies_in_that_volume(engine: Engine, canary: Path, subpath: str) -> None:
    """What a container has put there may be a link to anywhere; while it runs, and for copies while it rests.

    CVE-2021-25741.
    """
    engine.ok("run", "--rm", "-v", "parts:/v", "busybox", "sh", "-c", f"mkdir -p /v/d; ln -sf {canary} /v/out; "
              f"ln -sf ../../../../../..{canary} /v/d/out")
    wish = ("--mount", f"type=volume,src=parts,dst=/x,volume-subpath={subpath}")
    done = engine.cli("run", "--rm", *wish, "busybox", "cat", "/x/passwd", "/x/hosts")
    assert done.code != 0
    assert "intact" not in done.out
    if engine.cli("create", "--name", "rests", *wish, "busybox", "sh").code == 0:
        assert "intact" not in engine.cli("cp", "rests:/x/passwd", "-").out


def test_a_device_in_a_volume_opens_no_disk(engine: Engine) -> None:
    """Made by one container, opened by another, with the rules of either; also one that an image has put there."""
    engine.ok("run", "--rm", "-v", "nodes:/v", "busybox", "sh", "-c", "mknod /v/disk b 8 0; mknod /v/mem c 1 1")
    done = engine.cli("run", "--rm", "-v", "nodes:/v", "busybox", "sh", "-c", "head -c 1 /v/disk; head -c 1 /v/mem")
    assert (done.out, done.err.lower().count("not permitted")) == ("", 2)
    engine.ok("run", "--name", "maker", "busybox", "sh", "-c", "mkdir /n; mknod /n/disk b 8 0; mkfifo /n/pipe")
    engine.ok("commit", "maker", "nodes")
    done = engine.cli("run", "--rm", "-v", "copied:/n", "nodes", "sh", "-c", "head -c 1 /n/disk; ls /n")
    assert (done.out, done.err.lower().count("not permitted")) == ("disk\npipe\n", 1)


def test_volumes_are_closed_to_other_users(engine: Engine) -> None:
    """What a container makes there for everybody is not for the host's users: set-user-ID programs, for one."""
    engine.ok("run", "--rm", "-v", "open:/v", "busybox", "sh", "-c", "cp /bin/busybox /v/; chmod 4777 /v/busybox /v")
    place = Path(engine.ok("volume", "inspect", "-f", "{{.Mountpoint}}", "open"))
    assert (place / "busybox").stat().st_mode & stat.S_ISUID
    above = (place.parent, place.parent.parent)
    assert all(not stat.S_IMODE(directory.stat().st_mode) & 0o077 for directory in above)


def test_what_is_mounted_in_a_volume_is_not_deleted_with_it(engine: Engine, canary: Path) -> None:
    """An administrator's mount is somebody's data."""
    engine.ok("volume", "create", "data")
    place = Path(engine.ok("volume", "inspect", "-f", "{{.Mountpoint}}", "data")) / "inner"
    place.mkdir()
    assert os.system(f"mount --bind {canary} {place}") == 0
    try:
        assert f"mounted on {place}" in engine.refused("volume", "rm", "data")
        assert (canary / "passwd").exists()
    finally:
        assert os.system(f"umount {place}") == 0
    engine.ok("volume", "rm", "data")
