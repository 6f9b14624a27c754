"""Directories of the host in a container: what an image, a container, or another one that shares them may do about
where they land and what they hold."""

import os
from pathlib import Path

import pytest

from tests.security import prober
from tests.security.archives import link
from tests.security.conftest import INSIDE, Forge
from tests.tutorial.engine import Engine

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

TRIES = 40


def mounts_of_host() -> list[str]:
    """Where something is mounted, as this process sees it."""
    return sorted(line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A directory of the host that containers are to share."""
    place = tmp_path / "shared"
    place.mkdir()
    return place


@pytest.mark.parametrize("target", ["/proc", "/proc/self", "/proc/sys", "/proc/self/attr", "/proc/1/fd"])
@pytest.mark.parametrize("way", ["directory", "mount", "memory"])
def test_nothing_is_mounted_over_or_into_proc(engine: Engine, shared: Path, way: str, target: str) -> None:
    """Masks would be covered, and what the engine writes there would land in the directory.

    CVE-2015-3631, CVE-2019-16884.
    """
    options = {"directory": ("-v", f"{shared}:{target}"), "mount": ("--mount", f"type=bind,src={shared},dst={target}"),
               "memory": ("--mount", f"type=tmpfs,dst={target}")}[way]
    done = engine.cli("run", "--rm", *options, "busybox", "true")
    assert done.code == 125, done
    assert os.listdir(shared) == []


@pytest.mark.parametrize("target", ["/proc", "/proc/self", "/sys", "/sys/kernel"])
def test_a_link_of_the_image_does_not_lead_a_mount_into_the_kernels_files(
    forge: Forge, shared: Path, target: str
) -> None:
    """The name looks harmless until it is resolved."""
    image = forge.image(link("data", target))
    for options in (("-v", f"{shared}:/data"), ("-v", f"{shared}:/data/attr"), ("--tmpfs", "/data")):
        done = forge.engine.cli("run", "--rm", *options, image, "true")
        assert done.code == 125, (options, done)


@pytest.mark.parametrize("place", ["/data", "/data/new/deep", "/data/x"])
@pytest.mark.parametrize("target", ["{}", "../../../../../../..{}"])
def test_a_mount_behind_a_link_lands_in_the_container(
    forge: Forge, canary: Path, shared: Path, target: str, place: str
) -> None:
    """And makes no directory on the host."""
    image = forge.image(link("data", target.format(canary)))
    before = mounts_of_host()
    forge.engine.cli("run", "--rm", "-v", f"{shared}:{place}", image, "sh", "-c", "touch /data/x/made /data/made")
    assert mounts_of_host() == before


def test_who_swaps_links_in_a_shared_directory_while_another_one_starts_gets_nothing_of_the_host(
    engine: Engine, python: str, canary: Path, shared: Path, tmp_path: Path
) -> None:
    """One container exchanges a directory and a link; the mounts of others go below that directory. Elsewhere they land
    where the link leads on the host, or leave directories there.

    CVE-2021-30465.
    """
    inner = tmp_path / "inner"
    inner.mkdir()
    program = (INSIDE / "swap.py").read_text()
    engine.ok("run", "-d", "--name", "swapper", "-v", f"{shared}:/data", python, prober.interpreter(), "-I", "-S", "-c",
              program, "/data", str(canary))
    engine.written("swapper", "swapping")
    before, started = mounts_of_host(), 0
    for number in range(TRIES):
        below = (("-v", f"{inner}:/data/d"), ("-v", f"{inner}:/data/d/new"), ("--tmpfs", "/data/d/t"))[number % 3]
        done = engine.cli("run", "--rm", "-v", f"{shared}:/data", *below, "busybox", "sh", "-c",
                          f"ls {canary}/hosts; cat {canary}/passwd; echo done")
        assert "intact" not in done.out, done
        started += done.out.endswith("done\n")
    assert started
    assert mounts_of_host() == before


def test_a_directory_that_is_for_reading_is_not_written(engine: Engine, shared: Path) -> None:
    """Whatever root in the container tries, again and again.

    CVE-2020-1726.
    """
    (shared / "file").write_text("intact")
    attempts = ("echo x >/ro/file; touch /ro/new; rm /ro/file; chmod 777 /ro/file; mount -o remount,rw /ro; "
                "echo x >/ro/file; ln -s x /ro/l; mv /ro/file /ro/g; true")
    for _ in range(2):
        engine.ok("run", "--rm", "-v", f"{shared}:/ro:ro", "busybox", "sh", "-c", attempts)
    assert [path.name for path in shared.iterdir()] == ["file"]
    assert (shared / "file").read_text() == "intact"


def test_a_device_in_a_directory_of_the_host_opens_no_disk(engine: Engine, shared: Path) -> None:
    """Made by one container, opened by another, with the rules of either."""
    engine.ok("run", "--rm", "-v", f"{shared}:/v", "busybox", "sh", "-c", "mknod /v/disk b 8 0; mknod /v/mem c 1 1")
    done = engine.cli("run", "--rm", "-v", f"{shared}:/v", "busybox", "sh", "-c", "head -c 1 /v/disk; head -c 1 /v/mem")
    assert (done.out, done.err.lower().count("not permitted")) == ("", 2)


@pytest.mark.parametrize("propagation", ["rslave", "slave", "rprivate", "private"])
def test_a_mount_in_a_container_does_not_reach_the_host(engine: Engine, shared: Path, propagation: str) -> None:
    """Elsewhere the wish for one mount made others shared; here no container mounts for the host, not even one that
    may mount."""
    before = mounts_of_host()
    for rights in ((), ("--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined")):
        done = engine.cli("run", "--rm", *rights, "-v", f"{shared}:/x:{propagation}", "busybox", "sh", "-c",
                          "mount -t tmpfs t /x; mount -t tmpfs t /mnt; true")
        assert done.code == 0, done
    assert mounts_of_host() == before


def test_nothing_leads_from_a_mount_to_what_lies_beside_it_on_the_host(
    engine: Engine, shared: Path, canary: Path
) -> None:
    """Two dots, links, and the descriptors of the first process end at the mount."""
    (shared / "up").symlink_to("../canary")
    (shared / "whole").symlink_to(canary)
    done = engine.cli("run", "--rm", "-v", f"{shared}:/x", "busybox", "sh", "-c",
                      "cat /x/../canary/passwd /x/up/passwd /x/whole/passwd; ls -l /proc/1/fd; cd /x/..; pwd")
    assert "intact" not in done.out
    assert str(shared.parent) not in done.out
    assert done.out.endswith("\n/\n")
