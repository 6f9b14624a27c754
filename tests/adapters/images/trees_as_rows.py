"""Merged trees as rows of text: mounted by the kernel, so that nothing of ours judges itself."""

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.adapters.images.mounting import mount, umount


@contextmanager
def merged(layers: Sequence[Path], place: Path, upper: Path | None = None) -> Iterator[Path]:
    """An overlay of the layers (lowest first), writable with an `upper` that has its `work` beside it."""
    target, nothing = place / "merged", place / "nothing"
    for path in (target, nothing):
        path.mkdir(exist_ok=True)
    lower = ":".join(map(str, [*reversed(layers), nothing][: max(len(layers), 2)]))
    options = f"lowerdir={lower},redirect_dir=off,metacopy=off,index=off"
    mount("overlay", target, options + (f",upperdir={upper},workdir={upper.parent / 'work'}" if upper else ""))
    try:
        yield target
    finally:
        umount(target)


def merged_rows(layers: Sequence[Path], place: Path) -> list[list[str]]:
    """The tree as the expected files describe theirs."""
    with merged(layers, place) as root:
        return rows(root)


def rows(root: Path) -> list[list[str]]:
    """One row for everything: path, type, mode, owner, group, size, time, content, hard link group, attributes."""
    groups: dict[int, str] = {}
    paths = sorted(
        os.path.join(where, name) for where, dirs, files in os.walk(os.fsencode(root)) for name in dirs + files
    )
    return sorted(_row(path, os.path.relpath(path, os.fsencode(root)), groups) for path in paths)


def rows_of(path: Path) -> list[list[str]]:
    """The rows of an expected file."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return sorted((line.split("\t") + [""] * 10)[:10] for line in lines if not line.startswith("#"))


_KINDS = {
    stat.S_IFREG: "f",
    stat.S_IFDIR: "d",
    stat.S_IFLNK: "l",
    stat.S_IFCHR: "c",
    stat.S_IFBLK: "b",
    stat.S_IFIFO: "p",
}


def _row(path: bytes, name: bytes, groups: dict[int, str]) -> list[str]:
    status = os.lstat(path)
    kind = _KINDS[stat.S_IFMT(status.st_mode)]
    content, size = "", "-"
    if kind == "f":
        with open(path, "rb") as file:
            content, size = hashlib.sha256(file.read()).hexdigest()[:16], str(status.st_size)
    elif kind == "l":
        content = _shown(os.readlink(path))
    elif kind in "cb":
        content = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    group = groups.setdefault(status.st_ino, _shown(name)) if kind != "d" and status.st_nlink > 1 else ""
    keys = [key for key in sorted(os.listxattr(path, follow_symlinks=False)) if not key.startswith("trusted.overlay.")]
    xattrs = ";".join(f"{key}={os.getxattr(path, key, follow_symlinks=False).hex()}" for key in keys)
    return [
        _shown(name),
        kind,
        f"{stat.S_IMODE(status.st_mode):04o}",
        str(status.st_uid),
        str(status.st_gid),
        size,
        str(status.st_mtime_ns // 10**9),
        content,
        group,
        xattrs,
    ]


def _shown(text: bytes) -> str:
    return os.fsdecode(text).encode("ascii", "backslashreplace").decode().replace("\\udc", "\\x")
