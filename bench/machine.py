"""What the figures depend on: kernel, processor, load, Python; and what must not be left on the machine."""

import os
import platform
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.image import ROOT

CGROUPS = Path("/sys/fs/cgroup")


def facts(folder: Path) -> dict[str, object]:
    """For the report."""
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "commit": _commit(),
        "kernel": platform.release(),
        "processor": processor(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")),
        "cpus": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        "file_system": file_system(folder),
        "python": platform.python_version(),
    }


def processor(cpuinfo: str) -> str:
    """The name of the first processor."""
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("model name", "Model"):
            return value.strip()
    return platform.machine()


def _commit() -> str:
    command = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def file_system(path: Path) -> str:
    """The type of the file system that holds `path`."""
    return type_of(path, Path("/proc/self/mountinfo").read_text(encoding="utf-8"))


def type_of(path: Path, mountinfo: str) -> str:
    """That of the longest mount point above the path, the last of these."""
    best, kind = "", ""
    for point, found in mounts(mountinfo):
        if path.is_relative_to(point) and len(point) >= len(best):
            best, kind = point, found
    return kind


def mounts(mountinfo: str) -> list[tuple[str, str]]:
    """(mount point, type) in the order of proc_pid_mountinfo(5); blanks in paths are written as `\\040`."""
    found = []
    for line in mountinfo.splitlines():
        front, _, back = line.partition(" - ")
        found.append((front.split()[4].replace("\\040", " "), back.split()[0]))
    return found


def mounts_below(folder: Path) -> list[str]:
    """Mount points at or below a folder, innermost first."""
    text = Path("/proc/self/mountinfo").read_text(encoding="utf-8")
    return [point for point, _ in reversed(mounts(text)) if Path(point).is_relative_to(folder)]


def groups_named(names: Iterable[str]) -> list[Path]:
    """Control groups of these names at the top of any hierarchy, with all below them, innermost first."""
    found = []
    for top in (CGROUPS, *(path for path in CGROUPS.iterdir() if path.is_dir())):
        for name in names:
            if (top / name).is_dir():
                below = [Path(path) for path, _, _ in os.walk(top / name, topdown=False)]
                found += below
    return found


@contextmanager
def fresh_file_system(point: Path, size: int = 8 << 30) -> Iterator[Path]:
    """An empty ext4 in a sparse file, mounted at a new directory. On a machine without loop devices or mkfs.ext4 it is
    an ordinary directory."""
    point.mkdir()
    image = point.with_name(f"{point.name}.img")
    mounted = False
    try:
        with image.open("wb") as file:
            file.truncate(size)
        make = ["mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", str(image)]
        mounted = _succeeds(make) and _succeeds(["mount", "-o", "loop", str(image), str(point)])
        yield point
    finally:
        if mounted:
            subprocess.run(["umount", str(point)], check=True)
        image.unlink()
        shutil.rmtree(point)


def _succeeds(argv: Sequence[str]) -> bool:
    program = shutil.which(argv[0], path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    return program is not None and not subprocess.run([program, *argv[1:]], check=False, capture_output=True).returncode


def clean(folder: Path, groups: Iterable[str]) -> list[str]:
    """Take away mounts below the folder and these control groups; returns what should not have been there any more."""
    left = []
    for point in mounts_below(folder):
        left.append(f"mount {point}")
        subprocess.run(["umount", "--lazy", point], check=False)
    for group in groups_named(groups):
        try:
            group.rmdir()
        except FileNotFoundError:
            continue  # just gone
        except OSError as error:
            left.append(f"control group {group}: {error.strerror}")
    return left
